"""AWS's streaming scheme: as good as scikit-learn's K-means on data that has clusters."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import sparse
from sklearn.cluster import KMeans
from sklearn.datasets import make_blobs

from sagespark.algorithms.kmeans import KMEANS
from sagespark.codecs.matrix import Csr, Matrix, Mixed
from sagespark.local.containers.channels import gather
from sagespark.local.containers.contract import ClientError
from sagespark.local.containers.kmeans_stream import _move, fit_stream, mini_batches
from sagespark.local.containers.nearest import Centres


def values(**changed: Any) -> dict[str, Any]:
    wire = {"feature_dim": "8", "k": "6", "mini_batch_size": "500", "extra_center_factor": "5"}
    return KMEANS.parse({**wire, **{name: str(value) for name, value in changed.items()}})


def blobs(n: int = 6000) -> NDArray[np.float32]:
    rows, _ = make_blobs(n, n_features=8, centers=6, cluster_std=0.7, random_state=4)
    return rows.astype(np.float32)


def inertia(rows: Matrix, centres: NDArray[np.float64]) -> float:
    _, distances = Centres(centres).nearest(rows)
    return float(distances @ distances)


def cut(rows: NDArray[np.float32], size: int = 777) -> Iterable[Matrix]:
    return (rows[start : start + size] for start in range(0, len(rows), size))


@pytest.mark.parametrize("init", ["random", "kmeans++"])
@pytest.mark.parametrize("half_life", [0, 3000])
def test_it_is_nearly_as_good_as_scikit_learn(init: str, half_life: int) -> None:
    rows = blobs()
    best = KMeans(6, n_init=5, random_state=0).fit(rows).inertia_
    epochs: list[tuple[int, float, int]] = []
    found = fit_stream(
        lambda: cut(rows),
        values(init_method=init, half_life_time_size=half_life, epochs=2),
        seed=1,
        on_epoch=lambda *told: epochs.append(told),
    )
    assert found.centres.shape == (6, 8)
    assert found.iterations >= 1
    assert inertia(rows, found.centres) < 1.1 * best
    assert [(epoch, count) for epoch, _, count in epochs] == [(0, 6000), (1, 6000)]
    assert epochs[1][1] <= epochs[0][1]


def test_the_seed_decides() -> None:
    rows = blobs(1500)
    first, again, other = (fit_stream(lambda: cut(rows), values(), seed, lambda *_: None).centres for seed in (7, 7, 8))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_how_the_files_are_cut_changes_nothing() -> None:
    rows = blobs(1500)
    whole, pieces = (
        fit_stream(lambda size=size: cut(rows, size), values(), 3, lambda *_: None).centres for size in (1500, 41)
    )
    np.testing.assert_allclose(whole, pieces, rtol=1e-12)


def test_sparse_rows_give_what_dense_rows_give() -> None:
    dense = blobs(1500) * (np.random.default_rng(0).random((1500, 8)) < 0.6).astype(np.float32)
    matrix = sparse.csr_matrix(dense)
    csr = Csr(matrix.indptr.astype(np.int64), matrix.indices.astype(np.int64), matrix.data, 8)
    centres = [fit_stream(lambda rows=rows: [rows], values(), 3, lambda *_: None).centres for rows in (dense, csr)]
    np.testing.assert_allclose(centres[0], centres[1], rtol=1e-6)


def test_an_old_row_weighs_a_half_after_the_half_life() -> None:
    # One centre: 4 rows at 0, then 4 rows at 1 with a half life of 4: (4/2 * 0 + 4 * 1) / (4/2 + 4).
    centres, weights = np.zeros((1, 1)), np.zeros(1)
    for value in (0.0, 1.0):
        batch = np.full((4, 1), value, np.float32)
        centres, weights = _move(batch, np.zeros(4, np.intp), centres, weights, half_life=4)
    np.testing.assert_allclose(centres, [[4 / 6]])
    np.testing.assert_allclose(weights, [6.0])
    kept, _ = _move(np.full((4, 1), 1.0, np.float32), np.zeros(4, np.intp), np.zeros((1, 1)), np.array([4.0]), 0)
    np.testing.assert_allclose(kept, [[0.5]])


def test_fewer_rows_than_centres_are_kept_as_they_are_and_fewer_than_k_refused() -> None:
    rows = blobs(20)
    found = fit_stream(lambda: cut(rows), values(extra_center_factor=10), 0, lambda *_: None)
    assert found.centres.shape == (6, 8)
    with pytest.raises(ClientError, match="5 rows, but k is 6"):
        fit_stream(lambda: cut(rows[:5]), values(), 0, lambda *_: None)
    with pytest.raises(ClientError, match="no row"):
        fit_stream(list, values(), 0, lambda *_: None)


def test_mini_batches_keep_rows_order_and_size() -> None:
    rows = np.arange(46, dtype=np.float32).reshape(23, 2)
    batches = list(mini_batches(cut(rows, 5), 8))
    assert [batch.shape[0] for batch in batches] == [8, 8, 7]
    np.testing.assert_array_equal(np.concatenate([np.asarray(b) for b in batches]), rows)


def test_mixed_rows_are_gathered_in_order() -> None:
    dense = np.arange(12, dtype=np.float32).reshape(4, 3)
    is_sparse = np.array([True, False, True, False])
    matrix = sparse.csr_matrix(dense[is_sparse])
    csr = Csr(matrix.indptr.astype(np.int64), matrix.indices.astype(np.int64), matrix.data, 3)
    gathered = gather([Mixed(is_sparse, dense[~is_sparse], csr), dense])
    assert sparse.issparse(gathered)
    assert gathered.indices.dtype == np.int32
    np.testing.assert_array_equal(gathered.toarray(), np.concatenate([dense, dense]))
    assert isinstance(gather([dense, dense]), np.ndarray)
