"""The nearest centre, against scikit-learn's ``predict`` and ``transform``."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import sparse
from sklearn.cluster import KMeans

from sagespark.codecs.matrix import Csr, Mixed
from sagespark.local.containers.nearest import MAX_DENSE_WIDTH, Centres


def as_csr(matrix: sparse.csr_matrix) -> Csr:
    matrix.sort_indices()
    return Csr(matrix.indptr.astype(np.int64), matrix.indices.astype(np.int64), matrix.data, matrix.shape[1])


def brute_force(rows: NDArray[np.float64], centres: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.linalg.norm(rows[:, None, :] - centres[None, :, :], axis=2)


def test_dense_labels_are_those_of_scikit_learn() -> None:
    rows = np.random.default_rng(0).random((5000, 20), dtype=np.float32)
    model = KMeans(12, n_init=1, random_state=0).fit(rows)
    labels, distances = Centres(model.cluster_centers_).nearest(rows)
    np.testing.assert_array_equal(labels, model.predict(rows))
    np.testing.assert_allclose(distances, model.transform(rows).min(axis=1), rtol=1e-5)


@pytest.mark.parametrize("width", [MAX_DENSE_WIDTH, MAX_DENSE_WIDTH + 1, 20_000])
def test_sparse_labels_are_those_of_scikit_learn(width: int) -> None:
    rows = sparse.random(600, width, 30 / width, format="csr", dtype=np.float32, random_state=1)
    model = KMeans(5, n_init=1, random_state=0).fit(rows)
    labels, distances = Centres(model.cluster_centers_).nearest(as_csr(rows))
    np.testing.assert_array_equal(labels, model.predict(rows))
    np.testing.assert_allclose(distances, model.transform(rows).min(axis=1), rtol=1e-4, atol=1e-6)


def test_a_tie_goes_to_the_first_centre_as_in_scikit_learn() -> None:
    centres = np.array([[0.0, 0.0], [2.0, 0.0], [0.0, 2.0]], np.float32)
    rows = np.array([[1.0, 0.0], [1.0, 1.0], [0.0, 1.0], [2.0, 2.0]], np.float32)
    model = KMeans(3, init=centres, n_init=1, max_iter=1).fit(centres)
    labels, _ = Centres(model.cluster_centers_).nearest(rows)
    np.testing.assert_array_equal(labels, [0, 0, 0, 1])
    np.testing.assert_array_equal(labels, model.predict(rows))


def test_a_row_on_its_centre_has_distance_zero_far_from_the_origin() -> None:
    centres = np.array([[1e6, 1e6 + 1], [1e6, 1e6]], np.float32)
    labels, distances = Centres(centres).nearest(centres)
    np.testing.assert_array_equal(labels, [0, 1])
    np.testing.assert_array_equal(distances, [0.0, 0.0])


def test_wide_sparse_rows_stay_sparse() -> None:
    # Dense, these rows would take 4 TB.
    width, n = 10_000_000, 50_000
    indices = np.arange(n, dtype=np.int64) * 7
    rows = Csr(np.arange(n + 1, dtype=np.int64), indices, np.ones(n, np.float32), width)
    centres = np.zeros((2, width), np.float32)
    centres[1, indices[:100]] = 1.0
    labels, distances = Centres(centres).nearest(rows)
    # With one entry in common a row is nearer to centre 0 (distance 1) than to centre 1 (distance sqrt(99)).
    np.testing.assert_array_equal(labels, np.zeros(n))
    np.testing.assert_allclose(distances, np.ones(n))


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    n=st.integers(0, 30),
    k=st.integers(1, 6),
    width=st.sampled_from([1, 3, 50, MAX_DENSE_WIDTH + 5]),
    share=st.floats(0, 1),
)
def test_the_kind_of_a_row_changes_no_answer(seed: int, n: int, k: int, width: int, share: float) -> None:
    rng = np.random.default_rng(seed)
    dense = np.round(rng.normal(size=(n, width)), 3).astype(np.float32) * (rng.random((n, width)) < 0.4)
    dense = dense.astype(np.float32)
    centres = rng.normal(size=(k, width)).astype(np.float32)
    is_sparse = rng.random(n) < share
    mixed = Mixed(is_sparse, dense[~is_sparse], as_csr(sparse.csr_matrix(dense[is_sparse])))
    expected = brute_force(dense.astype(np.float64), centres.astype(np.float64))
    for rows in (dense, as_csr(sparse.csr_matrix(dense)), mixed):
        labels, distances = Centres(centres).nearest(rows)
        np.testing.assert_array_equal(labels, expected.argmin(axis=1))
        np.testing.assert_allclose(distances, expected.min(axis=1), rtol=1e-9)
