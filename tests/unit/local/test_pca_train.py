"""The training and serving programs of PCA under the ``/opt/ml`` contract, run inside this process."""

from __future__ import annotations

import json
import logging
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn import decomposition

from sagespark.algorithms.pca import PCA
from sagespark.codecs import ndarray
from sagespark.codecs.matrix import Mixed
from sagespark.codecs.registry import codec
from sagespark.local.containers import contract, pca_serve, pca_train, serving
from sagespark.local.containers.contract import ClientError
from sagespark.local.containers.projection import Projection
from support.asgi import ask
from support.programs import RECORDIO, Program, as_csr, encode, metrics

HPS = {"feature_dim": 10, "num_components": 3, "mini_batch_size": 100}
JSON, LINES, CSV = "application/json", "application/jsonlines", "text/csv"


@pytest.fixture
def rows() -> NDArray[np.float32]:
    random = np.random.default_rng(8)
    return (random.normal(size=(500, 10)) * np.arange(10, 0, -1) + 3).astype(np.float32)


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> Program:
    caplog.set_level(logging.INFO)
    return Program(pca_train.train, tmp_path, monkeypatch)


def train(program: Program, *arguments: Any, **options: Any) -> dict[str, NDArray[np.float32]]:
    arrays = program.run(*arguments, **options)
    assert isinstance(arrays, dict)
    return arrays


def alone(rows: NDArray[np.float32], k: int = 3) -> decomposition.PCA:
    return decomposition.PCA(k, svd_solver="full").fit(rows.astype(np.float64))


def test_the_artifact_is_aws_own(program: Program, rows: NDArray[np.float32], caplog: pytest.LogCaptureFixture) -> None:
    """As AWS's container writes it: s (k,) increasing, v (d, k), mean (1, d)."""
    arrays = train(program, HPS, {"b/2": encode(rows[:200]), "a/1": encode(as_csr(rows[200:]))}, encode(rows[:50]))
    expected = alone(rows)
    assert {name: array.shape for name, array in arrays.items()} == {"s": (3,), "v": (10, 3), "mean": (1, 10)}
    assert (np.diff(arrays["s"]) > 0).all()
    np.testing.assert_allclose(arrays["s"][::-1], expected.singular_values_, rtol=1e-6)
    np.testing.assert_allclose(arrays["v"][:, ::-1], expected.components_.T, atol=1e-6)
    np.testing.assert_allclose(arrays["mean"][0], expected.mean_, rtol=1e-6)
    found = metrics(PCA, caplog.text)
    assert found["train:total_squares"] == pytest.approx(rows.astype(np.float64).var(axis=0).sum() * 500, rel=1e-9)
    left = rows[:50] - expected.inverse_transform(expected.transform(rows[:50]))
    assert found["test:reconstruction_msd"] == pytest.approx((left**2).sum() / 50, rel=1e-6)
    assert found["train:progress"] == 100
    assert found["train:throughput"] > 0
    assert "500 rows of 10 features" in caplog.text


def test_without_the_mean_the_artifact_has_none(
    program: Program, rows: NDArray[np.float32], caplog: pytest.LogCaptureFixture
) -> None:
    arrays = train(program, HPS | {"subtract_mean": "false"}, {"part": encode(rows)})
    assert set(arrays) == {"s", "v"}
    np.testing.assert_allclose(arrays["s"][::-1], np.linalg.svd(rows, compute_uv=False)[:3], rtol=1e-5)
    assert "Test data is not provided." in caplog.text


@pytest.mark.parametrize("content_type", ["text/csv", "text/csv; label_size=0", "text/csv;label_size=1"])
def test_csv(program: Program, rows: NDArray[np.float32], content_type: str) -> None:
    labels = np.arange(500, dtype=np.float32) if content_type.endswith("1") else None
    body = bytes(codec(CSV).encode(rows, labels))
    arrays = train(program, HPS, {"part.csv": body}, content_type=content_type)
    np.testing.assert_allclose(arrays["s"][::-1], alone(rows).singular_values_, rtol=1e-6)


@pytest.mark.parametrize(("memory", "words"), [(1 << 30, "kept in memory"), (39_999, "read again for each pass")])
def test_randomized_reads_what_does_not_fit_again(
    program: Program,
    rows: NDArray[np.float32],
    memory: int,
    words: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(contract, "available_memory", lambda: memory)
    is_sparse = np.arange(500) % 3 == 0
    mixed = Mixed(is_sparse, rows[~is_sparse], as_csr(rows[is_sparse]))
    arrays = train(program, HPS | {"algorithm_mode": "randomized"}, {"part": encode(mixed)})
    np.testing.assert_allclose(arrays["v"][:, ::-1], alone(rows).components_.T, atol=1e-6)
    assert f"Rows are {words}" in caplog.text


@pytest.mark.parametrize(
    ("changed", "text"),
    [
        ({"num_components": 0}, "k (num_components) must be an integer >= 1, but got 0"),
        ({"feature_dim": 9}, "rows from 0 on have 10 features, but feature_dim is 9"),
        ({"epochs": 2}, "Unknown hyperparameter 'epochs'"),
    ],
)
def test_what_the_user_got_wrong(
    program: Program, rows: NDArray[np.float32], changed: dict[str, Any], text: str
) -> None:
    with pytest.raises(ClientError, match=re.escape(text)):
        program.run(HPS | changed, {"part": encode(rows)})


def test_channels_without_rows_and_unknown_ones(program: Program, rows: NDArray[np.float32]) -> None:
    with pytest.raises(ClientError, match="the train channel holds no row"):
        program.run(HPS, {"part": b""})
    with pytest.raises(ClientError, match="the test channel holds no row"):
        program.run(HPS, {"part": encode(rows)}, b"")
    path = program.folder / "input" / "config" / "inputdataconfig.json"
    path.write_text('{"train": {}, "validation": {}}')
    with pytest.raises(ClientError, match="unknown channel 'validation'; pca reads 'train' and 'test'"):
        pca_train.train()


# -- serving ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def app(program: Program, rows: NDArray[np.float32], monkeypatch: pytest.MonkeyPatch) -> serving.ServingApp:
    """What the serving program serves after training."""
    program.run(HPS, {"part": encode(rows)})
    made: list[serving.ServingApp] = []
    monkeypatch.setattr(serving, "serve", lambda make: made.append(make()))
    pca_serve.main()
    return made[0]


def test_projections_in_every_format_in_aws_order(app: serving.ServingApp, rows: NDArray[np.float32]) -> None:
    expected = alone(rows).transform(rows[:4].astype(np.float64))[:, ::-1]
    for kind, name in ((RECORDIO, "dense"), (RECORDIO, "sparse"), (CSV, "dense"), (JSON, "dense"), (LINES, "dense")):
        body = bytes(codec(kind).encode(rows[:4] if name == "dense" else as_csr(rows[:4])))
        for accept in (RECORDIO, JSON, LINES, CSV):
            status, answered, answer = ask(app, "POST", "/invocations", body, content_type=kind, accept=accept)
            assert (status, answered) == (200, accept)
            if accept == CSV:
                given = np.loadtxt(answer.decode().splitlines(), delimiter=",")
            else:
                given = codec(accept).decode_predictions(answer, ["projection"])["projection"]
            np.testing.assert_allclose(given, expected, atol=1e-4, err_msg=f"{kind} {name} -> {accept}")


def test_the_documentations_answers(app: serving.ServingApp) -> None:
    """PCA-in-formats: {"projections": [{"projection": [...]}, ...]}, and one object per line."""
    body = b"1,2,3,4,5,6,7,8,9,10\n0,0,0,0,0,0,0,0,0,0\n"
    _, _, answer = ask(app, "POST", "/invocations", body, content_type=CSV, accept=JSON)
    found = json.loads(answer)
    assert list(found) == ["projections"]
    assert [list(row) for row in found["projections"]] == [["projection"], ["projection"]]
    assert len(found["projections"][0]["projection"]) == 3
    _, _, lines = ask(app, "POST", "/invocations", body, content_type=CSV, accept=LINES)
    assert [json.loads(line) for line in lines.splitlines()] == found["projections"]


def test_another_width_is_refused(app: serving.ServingApp) -> None:
    assert ask(app, "POST", "/invocations", b"1,2\n", content_type=CSV)[0] == 400


def test_a_model_file_of_another_algorithm_is_refused(program: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    (program.folder / "model").mkdir()
    (program.folder / "model" / "model_algo-1").write_bytes(ndarray.dump_list([np.zeros((2, 2), np.float32)]))
    monkeypatch.setattr(serving, "serve", lambda make: make())
    with pytest.raises(ValueError, match="an NDArray dictionary with an array 'v'"):
        pca_serve.main()


def test_a_rows_kind_changes_no_projection(rows: NDArray[np.float32]) -> None:
    found = alone(rows)
    projection = Projection(found.components_.T, found.mean_)
    is_sparse = np.arange(500) % 3 == 0
    dense = projection.project(rows)
    mixed = Mixed(is_sparse, rows[~is_sparse], as_csr(rows[is_sparse]))
    for matrix in (as_csr(rows), mixed):
        np.testing.assert_array_equal(projection.project(matrix).astype(np.float32), dense.astype(np.float32))
        assert projection.residual(matrix) == pytest.approx(projection.residual(rows), rel=1e-9)
