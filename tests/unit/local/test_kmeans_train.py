"""The training program of K-means under the ``/opt/ml`` contract, run inside this process."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import threadpoolctl
from numpy.typing import NDArray
from scipy import sparse
from sklearn.cluster import KMeans

from sagespark.algorithms.kmeans import KMEANS
from sagespark.codecs.matrix import Matrix, Mixed
from sagespark.codecs.registry import codec
from sagespark.local.containers import contract, kmeans_train
from sagespark.local.containers.contract import ClientError
from support.programs import Program, as_csr, encode, metrics

Job = Callable[..., NDArray[np.float32]]


@pytest.fixture
def rows() -> NDArray[np.float32]:
    return np.random.default_rng(8).random((500, 10), dtype=np.float32)


@pytest.fixture
def job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> Job:
    """Return a function that runs a job and returns its centres."""
    caplog.set_level(logging.INFO)
    program = Program(kmeans_train.train, tmp_path, monkeypatch)

    def run(*arguments: Any, **options: Any) -> NDArray[np.float32]:
        (centres,) = program.run(*arguments, **options)
        assert isinstance(centres, np.ndarray)
        return centres

    return run


def scikit_learn(rows: Any, **changed: Any) -> KMeans:
    with threadpoolctl.threadpool_limits(1):
        return KMeans(**{"n_clusters": 5, "random_state": 11, "n_init": "auto"} | changed).fit(rows)


HPS = {"k": 5, "feature_dim": 10, "extra_center_factor": 1}


def test_dense_rows_give_scikit_learns_centres(
    job: Job, rows: NDArray[np.float32], caplog: pytest.LogCaptureFixture
) -> None:
    centres = job(HPS | {"eval_metrics": '["msd","ssd"]'}, {"part": encode(rows)}, encode(rows[:50]))
    model = scikit_learn(rows)
    np.testing.assert_allclose(centres, model.cluster_centers_, rtol=1e-6)
    found = metrics(KMEANS, caplog.text)
    assert found["train:ssd"] == pytest.approx(model.inertia_, rel=1e-5)
    assert found["train:msd"] == pytest.approx(model.inertia_ / 500, rel=1e-5)
    assert found["train:iterations"] == model.n_iter_
    assert found["test:msd"] == pytest.approx(-model.score(rows[:50]) / 50, rel=1e-5)
    assert found["test:ssd"] == pytest.approx(-model.score(rows[:50]), rel=1e-5)
    assert found["train:progress"] == 100
    assert found["train:throughput"] > 0
    assert (
        "Scheme: scikit-learn's KMeans on all rows: extra_center_factor is 1, and 4 copies of them fit" in caplog.text
    )
    assert "Threads: 1, seed: 11" in caplog.text
    assert f"Cluster sizes: {np.bincount(model.labels_).tolist()}" in caplog.text


@pytest.mark.parametrize(
    ("wire", "arguments"),
    [
        ({"local_lloyd_init_method": "random", "local_lloyd_num_trials": "3"}, {"init": "random", "n_init": 3}),
        ({"local_lloyd_init_method": "random"}, {"init": "random", "n_init": "auto"}),
        ({"local_lloyd_max_iter": "2"}, {"max_iter": 2}),
        ({"local_lloyd_tol": "0.1"}, {"tol": 0.1}),
        ({"extra_center_factor": "auto"}, {}),
    ],
)
def test_hyperparameters_are_scikit_learns_arguments(
    job: Job, rows: NDArray[np.float32], wire: dict[str, str], arguments: dict[str, Any]
) -> None:
    centres = job(HPS | wire, {"part": encode(rows)})
    np.testing.assert_allclose(centres, scikit_learn(rows, **arguments).cluster_centers_, rtol=1e-6)


def test_sparse_rows_are_trained_as_csr_and_force_dense_is_honoured(
    job: Job, rows: NDArray[np.float32], caplog: pytest.LogCaptureFixture
) -> None:
    dense = (rows * (np.random.default_rng(0).random(rows.shape) < 0.3)).astype(np.float32)
    centres = job(HPS, {"part": encode(as_csr(dense))})
    np.testing.assert_allclose(centres, scikit_learn(sparse.csr_matrix(dense)).cluster_centers_, rtol=1e-6)
    assert "csr_matrix" in caplog.text
    centres = job(HPS | {"force_dense": "True"}, {"part": encode(as_csr(dense))})
    np.testing.assert_allclose(centres, scikit_learn(dense).cluster_centers_, rtol=1e-6)


def test_rows_that_mix_dense_and_sparse_are_trained_as_csr(job: Job, rows: NDArray[np.float32]) -> None:
    dense = (rows * (np.random.default_rng(0).random(rows.shape) < 0.3)).astype(np.float32)
    is_sparse = np.random.default_rng(1).random(len(rows)) < 0.5
    mixed = Mixed(is_sparse, dense[~is_sparse], as_csr(dense[is_sparse]))
    centres = job(HPS, {"part": encode(mixed)})
    np.testing.assert_allclose(centres, scikit_learn(sparse.csr_matrix(dense)).cluster_centers_, rtol=1e-6)


def test_files_are_read_in_the_manifests_order(job: Job, rows: NDArray[np.float32]) -> None:
    files = {"b/2": encode(rows[:200]), "a/1": encode(rows[200:])}
    centres = job(HPS | {"local_lloyd_max_iter": 1}, files, order=["b/2", "a/1"])
    np.testing.assert_allclose(centres, scikit_learn(rows, max_iter=1).cluster_centers_, rtol=1e-6)


@pytest.mark.parametrize("content_type", ["text/csv", "text/csv; label_size=0", "text/csv;label_size=1"])
def test_csv(job: Job, rows: NDArray[np.float32], content_type: str) -> None:
    labels = np.arange(500, dtype=np.float32) if content_type.endswith("1") else None
    body = bytes(codec("text/csv").encode(rows, labels))
    centres = job(HPS, {"part.csv": body}, content_type=content_type)
    np.testing.assert_allclose(centres, scikit_learn(rows).cluster_centers_, rtol=1e-6)


def test_large_csv_is_read_in_whole_lines(job: Job, rows: NDArray[np.float32], monkeypatch: pytest.MonkeyPatch) -> None:
    from sagespark.local.containers import channels

    monkeypatch.setattr(channels, "BLOCK_BYTES", 1000)
    body = bytes(codec("text/csv").encode(rows)).rstrip(b"\n")
    centres = job(HPS, {"part.csv": body}, content_type="text/csv")
    np.testing.assert_allclose(centres, scikit_learn(rows).cluster_centers_, rtol=1e-6)


@pytest.mark.parametrize("factor", ["auto", "1"])
def test_data_that_does_not_fit_is_streamed(
    job: Job,
    rows: NDArray[np.float32],
    factor: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(contract, "available_memory", lambda: 4 * rows.nbytes - 1)
    wanted = HPS | {"extra_center_factor": factor, "epochs": 3, "mini_batch_size": 100}
    centres = job(wanted, {"part": encode(rows)})
    assert centres.shape == (5, 10)
    assert f"mini-batches of 100 rows: extra_center_factor is {factor}, but 4 copies of the rows do not" in caplog.text
    assert metrics(KMEANS, caplog.text)["train:ssd"] < 1.25 * scikit_learn(rows).inertia_


def test_sparse_rows_are_made_dense_in_bounded_blocks(
    job: Job, rows: NDArray[np.float32], monkeypatch: pytest.MonkeyPatch
) -> None:
    from sagespark.local.containers import channels

    monkeypatch.setattr(channels, "DENSE_BYTES", 10 * 4 * 7)
    made: list[tuple[int, int]] = []
    dense_of = channels.dense

    def watched(features: Matrix) -> NDArray[np.float32]:
        made.append(features.shape)
        return dense_of(features)

    monkeypatch.setattr(channels, "dense", watched)
    is_sparse = np.arange(500) % 2 == 0
    mixed = Mixed(is_sparse, rows[~is_sparse], as_csr(rows[is_sparse]))
    centres = job(HPS | {"force_dense": "True"}, {"part": encode(mixed)})
    np.testing.assert_allclose(centres, scikit_learn(rows).cluster_centers_, rtol=1e-6)
    assert max(n for n, _ in made) == 7


def test_a_factor_above_one_streams(job: Job, rows: NDArray[np.float32], caplog: pytest.LogCaptureFixture) -> None:
    job(HPS | {"extra_center_factor": 6, "epochs": 2}, {"part": encode(rows)})
    assert "Scheme: streaming" in caplog.text
    assert metrics(KMEANS, caplog.text)["train:ssd"] < 1.15 * scikit_learn(rows).inertia_


def test_without_a_seed_one_is_drawn_and_told(
    job: Job, rows: NDArray[np.float32], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.delenv("SAGESPARK_SEED")
    centres = job(HPS, {"part": encode(rows)})
    seed = int(re.findall(r"seed: (\d+)", caplog.text)[-1])
    np.testing.assert_allclose(centres, scikit_learn(rows, random_state=seed).cluster_centers_, rtol=1e-6)


def with_value(rows: NDArray[np.float32], value: float) -> NDArray[np.float32]:
    changed = rows.copy()
    changed[321, 4] = value
    return changed


def test_more_clusters_than_rows_of_a_stream(job: Job, rows: NDArray[np.float32]) -> None:
    with pytest.raises(ClientError, match="the train channel holds 500 rows, but k is 501"):
        job(HPS | {"k": 501, "extra_center_factor": 2}, {"part": encode(rows)})


def test_a_row_that_is_not_finite_is_named(job: Job, rows: NDArray[np.float32]) -> None:
    with pytest.raises(ClientError, match="file 'part': row 321 holds -inf"):
        job(HPS, {"part": encode(with_value(rows, -np.inf))})


def test_a_mixed_row_that_is_not_finite_is_named(job: Job, rows: NDArray[np.float32]) -> None:
    is_sparse = np.arange(500) % 3 == 0
    for position in (321, 322):
        broken = rows.copy()
        broken[position, 9] = np.inf
        mixed = Mixed(is_sparse, broken[~is_sparse], as_csr(broken[is_sparse]))
        with pytest.raises(ClientError, match=f"row {position} holds inf"):
            job(HPS, {"part": encode(mixed)})


def test_a_channel_without_files(job: Job) -> None:
    with pytest.raises(ClientError, match="the train channel holds no file"):
        job(HPS, {})


@pytest.mark.parametrize("text", ["x", "2147483648"])
def test_a_seed_out_of_range(job: Job, rows: NDArray[np.float32], text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SAGESPARK_SEED", text)
    with pytest.raises(ClientError, match="SAGESPARK_SEED must be an integer in 0"):
        job(HPS, {"part": encode(rows)})


def test_threads_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setenv("SAGESPARK_THREADS", "3")
    assert contract.threads() == 3
    monkeypatch.delenv("SAGESPARK_THREADS")
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    assert contract.threads() == 2
    monkeypatch.delenv("OMP_NUM_THREADS")
    assert contract.threads() >= 1


def test_available_memory_is_some_of_the_machines() -> None:
    total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    assert 0 < contract.available_memory() <= total
