"""The search for neighbours: against scikit-learn, and its approximations against the exact one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import sparse
from sklearn.datasets import load_digits
from sklearn.neighbors import NearestNeighbors

from sagespark.local.containers import neighbours
from sagespark.local.containers.knn_model import Neighbours, commonest
from sagespark.local.containers.neighbours import build, nprobe, padded
from sagespark.local.containers.reduction import projection

VALUES = {"index_type": "faiss.Flat", "index_metric": "L2", "faiss_index_ivf_nlists": "auto", "faiss_index_pq_m": 8}


def index(points: Any, **changed: Any) -> tuple[Any, NDArray[np.intp]]:
    return build(points, VALUES | changed, seed=3)


@pytest.fixture(scope="module")
def digits() -> NDArray[np.float32]:
    return load_digits().data.astype(np.float32)


@pytest.fixture(scope="module")
def cloud() -> NDArray[np.float32]:
    return np.random.default_rng(1).normal(size=(3000, 6)).astype(np.float32)


@pytest.mark.parametrize(("metric", "theirs"), [("L2", "euclidean"), ("COSINE", "cosine")])
@pytest.mark.parametrize("kept", ["dense", "sparse"])
@pytest.mark.parametrize("asked", ["dense", "sparse"])
def test_exact_as_scikit_learn(digits: NDArray[np.float32], metric: str, theirs: str, kept: str, asked: str) -> None:
    points, rows = digits[:1500], digits[1500:]
    expected, at = NearestNeighbors(n_neighbors=7, metric=theirs, algorithm="brute").fit(
        points.astype(np.float64)
    ).kneighbors(rows.astype(np.float64))  # fmt: skip
    found, _ = index(points if kept == "dense" else sparse.csr_matrix(points), index_metric=metric)
    positions, distances = found.search(rows if asked == "dense" else sparse.csr_matrix(rows), 7)
    np.testing.assert_allclose(distances, expected, atol=1e-6)
    # Pixels are whole numbers: some distances are equal, and scikit-learn does not say which row comes first then.
    assert (positions == at).mean() > 0.98
    if metric == "L2":
        there = np.linalg.norm(points[positions].astype(np.float64) - rows[:, np.newaxis], axis=2)
        np.testing.assert_allclose(there, expected, atol=1e-6)


def test_inner_products(digits: NDArray[np.float32]) -> None:
    points, rows = digits[:1500], digits[1500:]
    found, _ = index(points, index_metric="INNER_PRODUCT")
    positions, distances = found.search(rows, 5)
    products = rows.astype(np.float64) @ points.T.astype(np.float64)
    np.testing.assert_array_equal(-np.sort(-products, axis=1)[:, :5], -distances)
    np.testing.assert_array_equal(np.take_along_axis(products, positions, axis=1), -distances)


def test_rows_near_each_other_and_far_from_zero_keep_their_digits() -> None:
    points = (1e4 + np.array([[0.0], [0.01], [0.03]])).astype(np.float32)
    found, _ = index(points)
    positions, distances = found.search(points[1:2], 3)
    assert positions.tolist() == [[1, 0, 2]]
    expected = np.abs(points.astype(np.float64).ravel() - float(points[1, 0]))[[1, 0, 2]]
    np.testing.assert_allclose(distances[0], expected, rtol=1e-12)


@given(st.integers(1, 6), st.lists(st.lists(st.integers(-2, 2), min_size=2, max_size=2), min_size=6, max_size=15))
@settings(max_examples=40, deadline=None)
def test_of_equal_distances_the_earlier_row_is_nearer(k: int, rows: list[list[int]]) -> None:
    points = np.array(rows, np.float32)
    found, _ = index(points)
    positions, distances = found.search(points, k)
    for at, x in enumerate(points):
        far = np.linalg.norm(points.astype(np.float64) - x, axis=1)
        order = np.lexsort((np.arange(len(points)), far))[:k]
        assert positions[at].tolist() == order.tolist()
        np.testing.assert_allclose(distances[at], far[order], rtol=1e-12)


@pytest.mark.parametrize("metric", ["L2", "COSINE", "INNER_PRODUCT"])
def test_cells_find_most_neighbours_and_all_where_all_are_looked_at(
    cloud: NDArray[np.float32], metric: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    exact, _ = index(cloud, index_metric=metric)
    expected, distances = exact.search(cloud[:200], 10)
    found, order = index(cloud, index_metric=metric, index_type="faiss.IVFFlat")
    assert len(found.centres) == 54
    assert sorted(order) == list(range(3000))
    positions, near = found.search(cloud[:200], 10)
    recall = np.mean([len(set(order[p]) & set(e)) / 10 for p, e in zip(positions, expected, strict=True)])
    assert recall > 0.9
    assert (near >= distances - 1e-6).all()
    monkeypatch.setattr(neighbours, "nprobe", lambda lists: lists)
    positions, near = found.search(cloud[:200], 10)
    np.testing.assert_allclose(near, distances, atol=1e-9)
    assert (order[positions] == expected).mean() > 0.999


def test_quantised_rows_are_nearly_as_near(digits: NDArray[np.float32]) -> None:
    points, rows = digits[:1500], digits[1500:]
    _, distances = index(points)[0].search(rows, 5)
    found, order = index(points, index_type="faiss.IVFPQ", faiss_index_pq_m=16, faiss_index_ivf_nlists=8)
    assert found.points is None
    assert found.codes.shape == (1500, 16)
    positions, near = found.search(rows, 5)
    true = np.linalg.norm(points[order[positions]].astype(np.float64) - rows[:, np.newaxis], axis=2)
    # The distances are told to a few percent, and the rows found are a few percent farther than the nearest ones.
    assert np.median(np.abs(near - true) / true) < 0.1
    assert np.median(true.mean(axis=1) / distances.mean(axis=1)) < 1.1
    # By hand: what the codes stand for.
    cell = np.searchsorted(found.offsets, np.arange(1500), side="right") - 1
    decoded = found.centres[cell] + np.concatenate([found.codebooks[j][found.codes[:, j]] for j in range(16)], axis=1)
    np.testing.assert_allclose(near, np.linalg.norm(decoded[positions] - rows[:, np.newaxis], axis=2), rtol=1e-4)


def test_codes_of_few_different_rows_are_exact() -> None:
    """Fewer places than centres: every row is its own code."""
    points = np.random.default_rng(2).integers(0, 4, (300, 6)).astype(np.float32)
    found, order = index(points, index_type="faiss.IVFPQ", faiss_index_pq_m=4, faiss_index_ivf_nlists=1)
    rows = padded(points, 4)
    assert rows.shape == (300, 8)
    _, near = found.search(rows, 300)
    exact, _ = index(points)
    np.testing.assert_allclose(near, exact.search(points, 300)[1], atol=1e-5)
    assert sorted(order) == list(range(300))


def test_more_cells_are_looked_at_where_these_hold_too_few_rows() -> None:
    points = np.array([[0.0], [0.1], [100.0], [200.0], [300.0], [400.0]], np.float32)
    found, order = index(points, index_type="faiss.IVFFlat", faiss_index_ivf_nlists=5)
    positions, distances = found.search(np.array([[0.0]]), 6)
    assert order[positions[0]].tolist() == [0, 1, 2, 3, 4, 5]
    np.testing.assert_allclose(distances[0], points.ravel(), rtol=1e-6)
    assert [nprobe(n) for n in (1, 4, 5, 100)] == [1, 2, 3, 10]


@pytest.mark.parametrize("cells", [1 << 22, 100, 1])
def test_the_size_of_pieces_changes_nothing(
    cloud: NDArray[np.float32], cells: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    found, _ = index(cloud[:200])
    positions, distances = found.search(cloud[200:230], 4)
    monkeypatch.setattr(neighbours, "_CELLS", cells)
    again = found.search(cloud[200:230], 4)
    np.testing.assert_array_equal(again[0], positions)
    np.testing.assert_array_equal(again[1], distances)


def test_a_row_of_zeros_has_no_direction() -> None:
    points = np.array([[0, 0], [1, 0], [0, 2]], np.float32)
    found, _ = index(points, index_metric="COSINE")
    positions, distances = found.search(np.array([[3, 0]], np.float32), 3)
    assert positions.tolist() == [[1, 0, 2]]
    np.testing.assert_allclose(distances, [[0, 1, 1]])


@pytest.mark.parametrize("kind", ["sign", "fjlt"])
@pytest.mark.parametrize(("width", "target"), [(100, 60), (64, 63), (3, 2)])
def test_projections_keep_distances(kind: str, width: int, target: int) -> None:
    random = np.random.default_rng(4)
    matrix = projection(kind, width, target, random)
    assert matrix.shape == (width, target)
    np.testing.assert_allclose(np.abs(matrix), 1 / target**0.5, rtol=1e-6)
    rows = random.normal(size=(200, width))
    ratio = np.linalg.norm(rows @ matrix, axis=1) / np.linalg.norm(rows, axis=1)
    assert (ratio**2).mean() == pytest.approx(1, abs=0.15)
    if width == 64:
        # Columns of a Hadamard matrix are orthogonal: nearly all of the length is kept.
        assert kind == "sign" or ratio.std() < 0.02


@given(st.lists(st.lists(st.integers(0, 3), min_size=5, max_size=5), min_size=1, max_size=8))
def test_the_commonest_label(rows: list[list[int]]) -> None:
    labels = np.array(rows, np.float32)
    expected = [np.bincount(row).argmax() for row in rows]
    assert commonest(labels).tolist() == expected


@pytest.mark.parametrize("kind", ["faiss.Flat", "faiss.IVFFlat", "faiss.IVFPQ"])
def test_an_artifact_is_the_same_model(cloud: NDArray[np.float32], kind: str) -> None:
    found, order = index(cloud[:300], index_type=kind, faiss_index_pq_m=4)
    labels = (cloud[:300, 0] > 0).astype(np.float32)[order]
    model = Neighbours(found, labels, 5, True, 6)
    again = Neighbours.of(model.arrays())
    for name, values in model.predict(cloud[300:400]).items():
        np.testing.assert_array_equal(again.predict(cloud[300:400])[name], values)
    with pytest.raises(ValueError, match="has the arrays settings, labels, and points or codes"):
        Neighbours.of({"labels": labels})
