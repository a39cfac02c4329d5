"""The serving program of XGBoost, asked inside this process, against XGBoost itself and AWS's forms of answers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xgboost
from numpy.typing import NDArray
from sklearn.datasets import load_iris

from sagespark.codecs.registry import codec
from sagespark.local.containers.xgboost_answers import BATCH_VARIABLE, OUTPUT_VARIABLE, XGBoostApp, load
from support.asgi import ask
from support.programs import RECORDIO, as_csr

CSV, JSON, LINES, LIBSVM = "text/csv", "application/json", "application/jsonlines", "text/libsvm"
X, Y = load_iris(return_X_y=True)
X = X.astype(np.float32)


def trained(objective: str, booster: str = "gbtree") -> xgboost.Booster:
    y = Y if objective.startswith("multi:") else (Y == 2).astype(int)
    params: dict[str, Any] = {"objective": objective, "booster": booster, "max_depth": 2, "nthread": 1}
    if objective.startswith("multi:"):
        params["num_class"] = 3
    return xgboost.train(params, xgboost.DMatrix(X, y), 4)


def app_of(booster: xgboost.Booster, folder: Path) -> XGBoostApp:
    (folder / "xgboost-model").write_bytes(booster.save_raw("ubj"))
    return XGBoostApp(load(folder), 1)


@pytest.fixture(params=["binary:logistic", "multi:softprob", "multi:softmax", "reg:squarederror", "count:poisson"])
def served(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[XGBoostApp, NDArray[Any]]:
    booster = trained(request.param)
    return app_of(booster, tmp_path), booster.predict(xgboost.DMatrix(X))


def invoke(app: XGBoostApp, body: bytes, form: str | None = CSV, accept: str | None = None) -> tuple[int, str, bytes]:
    return ask(app, "POST", "/invocations", body, content_type=form, accept=accept)


def rows(form: str) -> bytes:
    if form == LIBSVM:
        return bytes(codec(LIBSVM).encode(X))
    return bytes(codec(form).encode(X))


@pytest.mark.parametrize("form", [CSV, LIBSVM, "text/x-libsvm", RECORDIO])
def test_every_request_format_gives_the_librarys_predictions(
    served: tuple[XGBoostApp, NDArray[Any]], form: str
) -> None:
    app, expected = served
    status, kind, body = invoke(app, rows(LIBSVM if "libsvm" in form else form), form, JSON)
    assert (status, kind) == (200, JSON)
    found = np.array([p["score"] for p in json.loads(body)["predictions"]])
    np.testing.assert_allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize("accept", [LINES, RECORDIO])
def test_every_other_answer_format(served: tuple[XGBoostApp, NDArray[Any]], accept: str) -> None:
    app, expected = served
    status, kind, body = invoke(app, rows(CSV), CSV, accept)
    assert (status, kind) == (200, accept)
    np.testing.assert_allclose(codec(accept).decode_predictions(body, ["score"])["score"], expected, atol=1e-6)


@pytest.mark.parametrize("accept", [CSV, None, "*/*"])
def test_csv_answers_are_one_line(served: tuple[XGBoostApp, NDArray[Any]], accept: str | None) -> None:
    """Numbers joined by commas; of several classes each, lists as Python writes them (AWS keeps that for its users)."""
    app, expected = served
    status, kind, body = invoke(app, rows(CSV), CSV, accept)
    assert (status, kind) == (200, CSV)
    assert b"\n" not in body
    np.testing.assert_allclose(np.array(json.loads(f"[{body.decode()}]")), expected, atol=1e-6)


def test_batch_transform_gets_a_line_per_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(BATCH_VARIABLE, "true")
    app = app_of(trained("multi:softprob"), tmp_path)
    lines = invoke(app, rows(CSV))[2].decode().splitlines()
    assert len(lines) == 150
    assert len(json.loads(lines[0])) == 3


def test_sparse_rows_lack_what_they_do_not_hold(tmp_path: Path) -> None:
    booster = trained("binary:logistic")
    app = app_of(booster, tmp_path)
    rows = np.where(X > 1.5, X, 0)
    missing = booster.predict(xgboost.DMatrix(np.where(X > 1.5, X, np.nan)))
    for form in (RECORDIO, LIBSVM):
        body = invoke(app, bytes(codec(form).encode(as_csr(rows))), form, LINES)[2]
        np.testing.assert_allclose(codec(LINES).decode_predictions(body, ["score"])["score"], missing, atol=1e-6)
    dense = invoke(app, bytes(codec(CSV).encode(rows)), CSV, LINES)[2]
    zeros = booster.predict(xgboost.DMatrix(rows))
    np.testing.assert_allclose(codec(LINES).decode_predictions(dense, ["score"])["score"], zeros, atol=1e-6)
    assert np.abs(zeros - missing).max() > 0.01


def test_libsvm_that_counts_from_one_is_shifted_as_aws_does(tmp_path: Path) -> None:
    booster = trained("binary:logistic")
    app = app_of(booster, tmp_path)
    one = invoke(app, b"1:5.1 2:3.5 3:1.4 4:0.2\n", LIBSVM)
    assert one == invoke(app, b"7 0:5.1 1:3.5 2:1.4 3:0.2", LIBSVM)
    assert float(one[2]) == pytest.approx(booster.predict(xgboost.DMatrix(X[:1]))[0], abs=1e-6)


@pytest.mark.parametrize(("booster", "objective"), [("gblinear", "binary:logistic"), ("dart", "reg:squarederror")])
def test_other_boosters(tmp_path: Path, booster: str, objective: str) -> None:
    model = trained(objective, booster)
    body = invoke(app_of(model, tmp_path), rows(RECORDIO), RECORDIO, LINES)[2]
    expected = model.predict(xgboost.DMatrix(X))
    np.testing.assert_allclose(codec(LINES).decode_predictions(body, ["score"])["score"], expected, atol=1e-6)


@pytest.mark.parametrize(
    ("body", "form", "accept", "status", "words"),
    [
        (b"1,2,3,x", CSV, None, 400, b"'x' is no number"),
        (b"1,2,3", CSV, None, 400, b"4 features, but has 3 cells"),
        (b"0:1 9:2", LIBSVM, None, 400, b"the rows have 10 features, but the model takes 4"),
        (b"0:1 0-2", LIBSVM, None, 400, b"line 1: '0-2' must be an entry"),
        (b"junk", RECORDIO, None, 400, b"magic"),
        (b"{}", JSON, None, 415, b"send text/csv, text/libsvm"),
        (b"1,2,3,4", CSV, "image/png", 406, b"accept one of text/csv, application/x-recordio-protobuf"),
        (b"", CSV, None, 204, b""),
    ],
)
def test_what_is_refused_says_why(
    tmp_path: Path, body: bytes, form: str, accept: str | None, status: int, words: bytes
) -> None:
    app = app_of(trained("binary:logistic"), tmp_path)
    found = invoke(app, body, form, accept)
    assert found[0] == status
    assert words in found[2]


def test_selectable_inference(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """AWS's "selectable inference": fields by SAGEMAKER_INFERENCE_OUTPUT, NaN where the objective has none."""
    monkeypatch.setenv(OUTPUT_VARIABLE, "predicted_label, probabilities,labels,probability,raw_score,predicted_score")
    booster = trained("binary:logistic")
    app = app_of(booster, tmp_path)
    p = booster.predict(xgboost.DMatrix(X))
    found = [json.loads(line) for line in invoke(app, rows(CSV), CSV, LINES)[2].splitlines()]
    assert [f["predicted_label"] for f in found] == (p > 0.5).astype(float).tolist()
    np.testing.assert_allclose([f["probabilities"] for f in found], np.column_stack([1 - p, p]), atol=1e-6)
    assert found[0]["labels"] == [0, 1]
    assert found[0]["predicted_score"] is None
    first = invoke(app, rows(CSV), CSV, CSV)[2].decode().splitlines()[0]
    assert first.startswith('0.0,"[0.8')
    monkeypatch.setenv(OUTPUT_VARIABLE, "predicted_label,probability,raw_scores")
    booster = trained("multi:softprob")
    app = app_of(booster, tmp_path)
    p = booster.predict(xgboost.DMatrix(X))
    fields = codec(RECORDIO).decode_predictions(
        invoke(app, rows(CSV), CSV, RECORDIO)[2], ["predicted_label", "probability", "raw_scores"]
    )
    np.testing.assert_array_equal(fields["predicted_label"], p.argmax(axis=1))
    np.testing.assert_allclose(fields["probability"], p.max(axis=1), atol=1e-6)
    monkeypatch.setenv(OUTPUT_VARIABLE, "predicted_score")
    status, _, body = invoke(app_of(trained("count:poisson"), tmp_path), rows(CSV))
    assert status == 400
    assert b"'count:poisson' is not supported for selectable inference" in body


def test_the_artifacts_of_others(tmp_path: Path) -> None:
    """A model in XGBoost's JSON under another name is read; a pickle, which runs what it holds, is not."""
    booster = trained("binary:logistic")
    (tmp_path / "model.json").write_bytes(booster.save_raw("json"))
    assert load(tmp_path).num_features() == 4
    (tmp_path / ".hidden").write_bytes(b"")
    (tmp_path / "model.json").write_bytes(b"\x80\x04K\x01.")
    with pytest.raises(ValueError, match=r"'model.json' is no model in XGBoost's own format"):
        load(tmp_path)
    (tmp_path / "other").write_bytes(b"")
    with pytest.raises(ValueError, match="must hold a file 'xgboost-model', but it holds"):
        load(tmp_path)
