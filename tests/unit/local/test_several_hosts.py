"""K-means and PCA whose rows lie on several hosts, against the same on one, and against scikit-learn."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from sklearn.cluster import KMeans
from sklearn.datasets import make_blobs

from sagespark.codecs.matrix import Matrix
from sagespark.local.containers import kmeans_hosts, pca_fit
from sagespark.local.containers.contract import ClientError
from sagespark.local.containers.kmeans_stream import fit_stream
from sagespark.local.containers.nearest import Centres
from sagespark.local.containers.reservoir import Reservoir
from support.programs import as_csr
from support.together import on_hosts

K = 6
KMEANS: dict[str, Any] = {
    "k": K,
    "feature_dim": 8,
    "local_lloyd_num_trials": 4,
    "local_lloyd_init_method": "kmeans++",
    "local_lloyd_max_iter": 300,
    "local_lloyd_tol": 1e-4,
    "extra_center_factor": 5,
    "mini_batch_size": 500,
    "half_life_time_size": 0,
    "init_method": "kmeans++",
    "epochs": 2,
}
PCA: dict[str, Any] = {
    "feature_dim": 8,
    "num_components": 3,
    "mini_batch_size": 100,
    "subtract_mean": True,
    "algorithm_mode": "regular",
    "extra_components": -1,
}


@pytest.fixture(scope="module")
def rows() -> NDArray[np.float32]:
    # Far from zero, as float32 does not like it.
    return make_blobs(3000, 8, centers=K, cluster_std=1.5, random_state=4)[0].astype(np.float32) + 300


def shares(rows: NDArray[np.float32], size: int) -> list[list[Matrix]]:
    """Divide rows unevenly over hosts; the last one gets none, and the second's are sparse."""
    cuts = np.array_split(rows, [len(rows) // 5])
    given: list[list[Matrix]] = [[cuts[0]], [as_csr(cuts[1])]]
    return [*given, *([] for _ in range(size - 2))]


def inertia(rows: Matrix, centres: NDArray[Any]) -> float:
    return float(Centres(centres).closest(rows)[1].sum())


@pytest.mark.parametrize(("init", "trials"), [("kmeans++", 4), ("random", 30)])
def test_lloyd_on_hosts_is_as_good_as_scikit_learn_on_one(rows: NDArray[np.float32], init: str, trials: int) -> None:
    values = KMEANS | {"local_lloyd_init_method": init, "local_lloyd_num_trials": trials}
    parts = shares(rows, 3)
    found = on_hosts(3, lambda host: kmeans_hosts.fit(parts[host.rank], values, 7, 1, host))
    for other in found[1:]:
        np.testing.assert_array_equal(other.centres, found[0].centres)
    one = KMeans(K, n_init=10, random_state=0).fit(rows)
    # Both at the best of well separated clusters: the same centres but for their order and float32's last digits.
    order = Centres(one.cluster_centers_).closest(found[0].centres)[0]
    assert sorted(order) == list(range(K))
    np.testing.assert_allclose(found[0].centres, one.cluster_centers_[order], rtol=1e-5)
    assert inertia(rows, found[0].centres) == pytest.approx(one.inertia_, rel=1e-4)


def test_wide_sparse_rows_stay_sparse() -> None:
    random = np.random.default_rng(0)
    dense = np.zeros((200, 2000), np.float32)
    dense[np.arange(200), random.integers(0, 5, 200)] = 5 + random.random(200)
    halves = [as_csr(dense[:80]), as_csr(dense[80:])]
    values = KMEANS | {"k": 5, "feature_dim": 2000}
    found = on_hosts(2, lambda host: kmeans_hosts.fit([halves[host.rank]], values, 3, 1, host))
    one = KMeans(5, n_init=10, random_state=0).fit(dense)
    assert inertia(dense, found[0].centres) <= 1.01 * one.inertia_


def test_a_centre_that_loses_its_rows_finds_others() -> None:
    rows = np.concatenate([np.zeros((50, 2)), np.full((50, 2), 10.0), [[100.0, 100.0]]]).astype(np.float32)

    def work(host: Any) -> NDArray[Any]:
        mine = kmeans_hosts.Rows([rows[host.rank :: 2]], 2, host, 1)
        # The last centre is nobody's nearest.
        start = np.array([[0.0, 0.0], [10.0, 10.0], [1e6, 1e6]])
        return kmeans_hosts._lloyd(mine, start, 20, 0.0)[0].centres

    centres = on_hosts(2, work)[0]
    np.testing.assert_allclose(sorted(map(tuple, centres)), [(0, 0), (10, 10), (100, 100)], atol=1e-5)


def test_fewer_different_rows_than_centres_end_too() -> None:
    rows = np.repeat(np.eye(3, dtype=np.float32), 4, axis=0)
    values = KMEANS | {"k": 5, "feature_dim": 3}
    found = on_hosts(2, lambda host: kmeans_hosts.fit([rows[host.rank :: 2]], values, 1, 1, host))[0]
    assert inertia(rows, found.centres) < 1e-9
    with pytest.raises(ClientError, match="holds 4 rows, but k is 5"):
        on_hosts(2, lambda host: kmeans_hosts.fit([rows[:2]], values, 1, 1, host))


def test_streams_on_hosts_are_joined_before_they_are_reduced(rows: NDArray[np.float32]) -> None:
    def work(host: Any) -> Any:
        return fit_stream(lambda: [rows[host.rank :: 2]] if host.rank < 2 else [], KMEANS, 5, lambda *_: None, host)

    found = on_hosts(3, work)
    np.testing.assert_array_equal(found[0].centres, found[2].centres)
    alone = fit_stream(lambda: [rows], KMEANS, 5, lambda *_: None)
    assert inertia(rows, found[0].centres) == pytest.approx(inertia(rows, alone.centres), rel=0.02)


@pytest.mark.parametrize("mode", ["regular", "randomized"])
@pytest.mark.parametrize("centred", [True, False])
def test_pca_on_hosts_gives_the_components_of_one(rows: NDArray[np.float32], mode: str, centred: bool) -> None:
    values = PCA | {"algorithm_mode": mode, "subtract_mean": centred}
    parts = shares(rows, 3)
    found = on_hosts(3, lambda host: pca_fit.fit(lambda: parts[host.rank], values, 1, 1 << 30, host))
    one = pca_fit.fit(lambda: [rows], values, 1, 1 << 30)
    for each in found:
        # Sparse rows far from zero lose digits of float64: see sagespark.local.containers.scatter.
        np.testing.assert_allclose(each.singular, one.singular, rtol=1e-6)
        np.testing.assert_allclose(each.vectors, one.vectors, atol=1e-5)
        assert (each.mean is None) is not centred
        if centred:
            np.testing.assert_allclose(each.mean, one.mean, rtol=1e-12)
        assert (each.rows, each.total) == (3000, pytest.approx(one.total, rel=1e-9))


def test_a_reservoir_of_all_hosts_holds_every_row_as_often() -> None:
    """The first host has four fifths of the rows, the second a fifth and those sparse, the third none."""
    rows = np.arange(100, dtype=np.float32)[:, np.newaxis]
    counts = np.zeros(100)
    for seed in range(300):

        def work(host: Any, seed: int = seed) -> tuple[Any, Any, int]:
            kept = Reservoir(20, np.random.default_rng([seed, host.rank]))
            if host.rank < 2:
                mine = rows[:80] if host.rank == 0 else rows[80:]
                kept.add(mine if host.rank == 0 else csr_matrix(mine), mine[:, 0] * 2)
            kept.join(host, (np.empty((0, 1), np.float32), np.empty(0, np.float32)))
            return *kept.rows(), kept.seen

        found = on_hosts(3, work)
        points, beside, seen = found[0]
        assert (points.shape, seen) == ((20, 1), 100)
        for other in found[1:]:
            assert (other[0] != points).nnz == 0
        np.testing.assert_array_equal(points.toarray()[:, 0] * 2, beside)
        counts[points.toarray()[:, 0].astype(int)] += 1
    # 300 draws of one in five: 60 each, of a deviation of 6.9; the first host's rows as often as the second's.
    assert counts.std() == pytest.approx(6.9, rel=0.25)
    assert counts[:80].mean() == pytest.approx(60, abs=1.5)
