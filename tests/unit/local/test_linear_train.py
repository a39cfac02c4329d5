"""The training and serving programs of the linear learner under the ``/opt/ml`` contract, run inside this process."""

from __future__ import annotations

import json
import logging
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.datasets import load_breast_cancer, load_diabetes, load_iris

from sagespark.algorithms.linear_learner import LINEAR_LEARNER
from sagespark.codecs import mxmodel
from sagespark.codecs.registry import codec
from sagespark.core.errors import CodecError
from sagespark.local.containers import linear_learner_serve, linear_learner_train, serving
from sagespark.local.containers.contract import ClientError
from sagespark.local.containers.linear_model import LinearModel
from support.asgi import ask
from support.programs import RECORDIO, Program, as_csr, metrics

JSON, LINES, CSV = "application/json", "application/jsonlines", "text/csv"
FEW = {"epochs": 30, "mini_batch_size": 50, "num_models": 4}


class LinearProgram(Program):
    """The training program, whose artifact is a ZIP."""

    def run_on(self, *arguments: Any, **channels: Any) -> LinearModel:
        """Run a job and return its model."""
        return LinearModel.load(self.run_channels(*arguments, **channels))


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> LinearProgram:
    caplog.set_level(logging.INFO)
    return LinearProgram(linear_learner_train.train, tmp_path, monkeypatch)


def encode(features: Any, labels: NDArray[Any], kind: str = RECORDIO) -> bytes:
    return bytes(codec(kind).encode(features, labels.astype(np.float32)))


def cancer() -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    features, labels = load_breast_cancer(return_X_y=True)
    return features.astype(np.float32), labels.astype(np.float32)


def test_two_classes(program: LinearProgram, caplog: pytest.LogCaptureFixture) -> None:
    features, labels = cancer()
    model = program.run_on(
        {"predictor_type": "binary_classifier", "feature_dim": 30, **FEW},
        train=encode(features[:300], labels[:300]),
        validation=encode(features[300:450], labels[300:450]),
        test=encode(as_csr(features[450:]), labels[450:]),
    )
    assert (model.predictor, model.loss, model.weights.shape, model.bias.shape) == (
        "binary_classifier", "logistic", (1, 30), (1,),
    )  # fmt: skip
    found = metrics(LINEAR_LEARNER, caplog.text)
    for channel, rows in {"train": slice(300), "validation": slice(300, 450), "test": slice(450, None)}.items():
        answers = model.answers(features[rows])
        score, called = answers["score"].astype(float), answers["predicted_label"]
        y = labels[rows]
        assert found[f"{channel}:binary_classification_accuracy"] == pytest.approx((called == y).mean())
        assert found[f"{channel}:recall"] == pytest.approx(called[y == 1].mean())
        assert found[f"{channel}:precision"] == pytest.approx(y[called == 1].mean())
        assert {f"{channel}:binary_f_beta", f"{channel}:roc_auc_score"} <= set(found)
        final = "test:objective_loss" if channel == "test" else f"{channel}:objective_loss:final"
        chance = np.clip(np.where(y == 1, score, 1 - score), 1e-12, 1)
        assert found[final] == pytest.approx(-np.log(chance).mean(), rel=1e-3)
    assert {"train:objective_loss", "validation:objective_loss", "train:progress", "train:throughput"} <= set(found)
    assert found["test:binary_classification_accuracy"] > 0.93
    assert "Best model found for hyperparameters:" in caplog.text
    assert "epoch=0, train binary_classification_cross_entropy_objective <loss>=" in caplog.text


def test_several_classes_and_feature_dim_auto(program: LinearProgram, caplog: pytest.LogCaptureFixture) -> None:
    features, labels = load_iris(return_X_y=True)
    body = encode(features, labels, CSV)
    hyperparameters = {"predictor_type": "multiclass_classifier", "num_classes": 3, "accuracy_top_k": 2, **FEW}
    model = program.run_on(hyperparameters, content_type=CSV, train=body, test=body)
    assert model.weights.shape == (3, 4)
    found = metrics(LINEAR_LEARNER, caplog.text)
    called = model.answers(features.astype(np.float32))["predicted_label"]
    assert found["test:multiclass_accuracy"] == pytest.approx((called == labels).mean())
    assert found["test:multiclass_accuracy"] > 0.9
    names = ("multiclass_top_k_accuracy", "dcg", "macro_recall", "macro_precision", "macro_f_beta", "objective_loss")
    assert {f"test:{name}" for name in names} <= set(found)
    assert found["test:multiclass_top_k_accuracy"] >= found["test:multiclass_accuracy"]


def test_a_regressor(program: LinearProgram, caplog: pytest.LogCaptureFixture) -> None:
    features, labels = load_diabetes(return_X_y=True)
    features = features.astype(np.float32)
    body = encode(features, labels)
    model = program.run_on({"predictor_type": "regressor", **FEW}, train=body, test=body)
    found = metrics(LINEAR_LEARNER, caplog.text)
    error = model.answers(features)["score"] - labels
    assert found["test:mse"] == pytest.approx((error**2).mean(), rel=1e-4)
    assert found["test:absolute_loss"] == pytest.approx(np.abs(error).mean(), rel=1e-4)
    assert found["test:mse"] < 0.6 * labels.var()


@pytest.mark.parametrize(
    ("criterion", "target"),
    [("precision_at_target_recall", {"target_recall": 0.9}), ("recall_at_target_precision", {"target_precision": 0.9})],
)
def test_the_threshold_reaches_its_target(
    program: LinearProgram, criterion: str, target: dict[str, float], caplog: pytest.LogCaptureFixture
) -> None:
    features, labels = cancer()
    # Few features, so that classes overlap.
    body = encode(features[:, :2], labels)
    chosen = {"binary_classifier_model_selection_criteria": criterion, **target}
    model = program.run_on({"predictor_type": "binary_classifier", **FEW, **chosen}, train=body)
    assert model.cut != 0
    found = metrics(LINEAR_LEARNER, caplog.text)
    reached = found["train:recall" if "recall" in target.popitem()[0] else "train:precision"]
    assert 0.9 <= reached < 0.96


@pytest.mark.parametrize(
    ("given", "early"), [({}, False), ({"binary_classifier_model_selection_criteria": "accuracy"}, True)]
)
def test_a_criterion_that_is_given_ends_training(
    program: LinearProgram, given: dict[str, str], early: bool, caplog: pytest.LogCaptureFixture
) -> None:
    features, labels = cancer()
    slow = {"predictor_type": "binary_classifier", "num_models": 1, "learning_rate": 0.02, "epochs": 30, "wd": 0}
    body = encode(features, labels)
    program.run_on({**slow, **given, "use_lr_scheduler": "False"}, train=body, validation=body)
    assert ("Early stop condition met" in caplog.text) == early


def test_a_tuning_job_trains_one_model(program: LinearProgram, caplog: pytest.LogCaptureFixture) -> None:
    features, labels = cancer()
    told = {
        "predictor_type": "binary_classifier",
        **FEW,
        "_tuning_objective_metric": "test:recall",
        "learning_rate": 0.2,
    }
    program.run_on(told, train=encode(features, labels))
    best = json.loads(re.findall(r"Best model found for hyperparameters: (.*)", caplog.text)[0])
    assert best["learning_rate"] == 0.2
    assert best["wd"] == 0


@pytest.mark.parametrize(
    ("changed", "text"),
    [
        ({"predictor_type": "classifier"}, "predictorType (predictor_type) must be"),
        ({"feature_dim": 29}, "have 30 features, but feature_dim is 29"),
        ({"epochs": 0}, "maxIter (epochs) must be an integer >= 1"),
        ({"wdd": 1}, "Unknown hyperparameter 'wdd' (did you mean 'wd'?)"),
    ],
)
def test_what_the_user_got_wrong(program: LinearProgram, changed: dict[str, Any], text: str) -> None:
    features, labels = cancer()
    with pytest.raises(ClientError, match=re.escape(text)):
        program.run_on({"predictor_type": "binary_classifier", **FEW, **changed}, train=encode(features, labels))


def test_a_validation_channel_without_rows(program: LinearProgram) -> None:
    features, labels = cancer()
    given = {"predictor_type": "binary_classifier", **FEW}
    with pytest.raises(ClientError, match="the validation channel holds no row"):
        program.run_on(given, train=encode(features, labels), validation=b"")


# -- serving ----------------------------------------------------------------------------------------------------------


def served(program: LinearProgram, model: LinearModel, monkeypatch: pytest.MonkeyPatch) -> serving.ServingApp:
    (program.folder / "model").mkdir()
    (program.folder / "model" / "model_algo-1").write_bytes(model.dump())
    made: list[serving.ServingApp] = []
    monkeypatch.setattr(serving, "serve", lambda make: made.append(make()))
    linear_learner_serve.main()
    return made[0]


BINARY = LinearModel(
    np.array([[1.0, -2, 0]], np.float32), np.array([0.5], np.float32), "binary_classifier", "logistic", 1
)
SEVERAL = LinearModel(np.eye(3, dtype=np.float32), np.zeros(3, np.float32), "multiclass_classifier", "softmax_loss")
NUMBER = LinearModel(np.ones((1, 3), np.float32), np.array([2.0], np.float32), "regressor", "squared_loss")
ROWS = np.array([[1, 0, 3], [0, 2, 0]], np.float32)


def test_answers_in_every_format(program: LinearProgram, monkeypatch: pytest.MonkeyPatch) -> None:
    app = served(program, BINARY, monkeypatch)
    expected = {"score": 1 / (1 + np.exp([-1.5, 3.5])), "predicted_label": [1, 0]}
    for kind in (RECORDIO, CSV, JSON, LINES):
        for rows in (ROWS, as_csr(ROWS)) if kind != CSV else (ROWS,):
            body = bytes(codec(kind).encode(rows))
            for accept in (RECORDIO, JSON, LINES, CSV):
                status, answered, answer = ask(app, "POST", "/invocations", body, content_type=kind, accept=accept)
                assert (status, answered) == (200, accept)
                given = codec(accept).decode_predictions(answer, ["score", "predicted_label"])
                for name, values in expected.items():
                    np.testing.assert_allclose(given[name], values, rtol=1e-6)


def test_the_documentations_answers(program: LinearProgram, monkeypatch: pytest.MonkeyPatch) -> None:
    """LL-in-formats: score and predicted_label; several classes have a score each; a regressor has the score alone."""
    body = bytes(codec(CSV).encode(ROWS))
    for model, score, called in ((SEVERAL, list, 2), (NUMBER, float, None), (BINARY, float, 1)):
        for path in (program.folder / "model").glob("*"):
            path.unlink()
            (program.folder / "model").rmdir()
        app = served(program, model, monkeypatch)
        _, _, answer = ask(app, "POST", "/invocations", body, content_type=CSV, accept=JSON)
        rows = json.loads(answer)["predictions"]
        assert list(rows[0]) == (["score"] if called is None else ["score", "predicted_label"])
        assert isinstance(rows[0]["score"], score)
        assert rows[0].get("predicted_label") == called


def test_hinge_answers_margins() -> None:
    model = LinearModel(BINARY.weights, BINARY.bias, "binary_classifier", "hinge_loss", 0.0)
    np.testing.assert_allclose(model.answers(ROWS)["score"], [1.5, -3.5])


@pytest.mark.parametrize("model", [BINARY, SEVERAL, NUMBER], ids=["binary", "several", "number"])
def test_the_artifact_holds_everything(model: LinearModel) -> None:
    again = LinearModel.load(model.dump())
    assert (again.predictor, again.loss, again.cut) == (model.predictor, model.loss, model.cut)
    np.testing.assert_array_equal(again.weights, model.weights)
    # Without what AWS does not document the symbol still tells what it is.
    arrays, nodes, _ = mxmodel.load(model.dump(), symbol="mx-mod-symbol.json", params="mx-mod-0000.params")
    bare = mxmodel.dump(nodes, arrays, symbol="mx-mod-symbol.json", params="mx-mod-0000.params")
    assert LinearModel.load(bare).predictor == model.predictor


def test_other_artifacts_are_refused() -> None:
    names = {"symbol": "mx-mod-symbol.json", "params": "mx-mod-0000.params"}
    with pytest.raises(CodecError, match="an array fc0_weight of two dimensions, but this file has v"):
        LinearModel.load(mxmodel.dump([], {"v": np.zeros((2, 2), np.float32)}, **names))
    arrays = {"fc0_weight": np.zeros((2, 2), np.float32), "fc0_bias": np.zeros(3, np.float32)}
    with pytest.raises(CodecError, match="2 rows of weights have 3 intercepts"):
        LinearModel.load(mxmodel.dump([], arrays, **names))
