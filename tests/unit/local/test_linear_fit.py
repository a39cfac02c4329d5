"""The linear learner against scikit-learn, loss by loss.

Tolerances: where the loss is smooth, weights agree to 1e-5 with all rows in every mini-batch and a rate that falls to
nothing; where it has corners its optimum may be flat, and the objective is at most 1e-3 above scikit-learn's.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.optimize import check_grad
from sklearn import linear_model, svm
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits
from sklearn.preprocessing import StandardScaler

from sagespark.algorithms.linear_learner import LOSSES, MULTICLASS
from sagespark.codecs.matrix import Mixed
from sagespark.local.containers.collective import Collective
from sagespark.local.containers.contract import ClientError
from sagespark.local.containers.linear_fit import fit
from sagespark.local.containers.linear_losses import loss_of
from sagespark.local.containers.linear_search import candidates
from support.linear import ALONE, BINARY, EXACT, PENALTY, REGRESSOR, rows, train, values
from support.programs import as_csr
from support.together import LOOPBACK, free_port


def cancer() -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float64]]:
    features, labels = load_breast_cancer(return_X_y=True)
    features = features.astype(np.float32)
    return features, labels, StandardScaler().fit_transform(features.astype(np.float64))


def diabetes() -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float64], NDArray[np.float64]]:
    features, labels = load_diabetes(return_X_y=True)
    features = features.astype(np.float32)
    scaled = StandardScaler().fit_transform(features.astype(np.float64))
    return features, labels, scaled, (labels - labels.mean()) / labels.std()


# -- losses -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "loss"), [(kind, loss) for kind, losses in LOSSES.items() for loss in losses])
def test_slopes_are_those_of_the_values(kind: str, loss: str) -> None:
    random = np.random.default_rng(0)
    function = loss_of(values(3, predictor_type=kind, loss=loss, num_classes=4, quantile=0.3, huber_delta=0.7))
    # MLlib and MXNet halve squares; AWS's log does not.
    half = 0.5 if "squared" in loss else 1.0
    for _ in range(20):
        if kind == MULTICLASS:
            label, point = np.array([2.0]), random.normal(size=4)
            shaped: Callable[[Any], Any] = lambda p: p.reshape(1, 4, 1)  # noqa: E731 - one of two shapes
        else:
            label = np.array([float(random.integers(0, 2)) if kind == "binary_classifier" else random.normal()])
            point = random.normal(size=1)
            shaped = lambda p: p.reshape(1, 1)  # noqa: E731 - one of two shapes
        error = check_grad(
            lambda p, label=label, shaped=shaped: half * function(shaped(p), label)[0].sum(),
            lambda p, label=label, shaped=shaped: function(shaped(p), label)[1].ravel(),
            point,
        )
        assert error < 1e-5


@pytest.mark.parametrize("optimizer", ["adam", "rmsprop"])
def test_logistic(optimizer: str) -> None:
    features, labels, scaled = cancer()
    found = train(features, labels, optimizer=optimizer, **BINARY)
    alone = linear_model.LogisticRegression(C=1 / (PENALTY * len(labels)), tol=1e-10, max_iter=10_000)
    alone.fit(scaled, labels)
    np.testing.assert_allclose(found.weights[:-1, 0], alone.coef_[0], atol=1e-5)
    np.testing.assert_allclose(found.weights[-1], alone.intercept_, atol=1e-5)
    # The same model for rows as they are.
    weights, bias = found.of(0)
    margins = features.astype(np.float64) @ weights[:, 0] + bias[0]
    np.testing.assert_allclose(margins, alone.decision_function(scaled), atol=1e-3)


def test_sgd() -> None:
    features, labels, scaled = cancer()
    found = train(features, labels, optimizer="sgd", learning_rate=0.2, momentum=0.95, **BINARY)
    alone = linear_model.LogisticRegression(C=1 / (PENALTY * len(labels)), tol=1e-10, max_iter=10_000)
    alone.fit(scaled, labels)
    np.testing.assert_allclose(found.weights[:-1, 0], alone.coef_[0], atol=2e-3)


def test_hinge_is_that_of_linear_svc() -> None:
    features, labels, scaled = cancer()
    found = train(features, labels, loss="hinge_loss", **BINARY)
    alone = svm.LinearSVC(C=1 / (PENALTY * len(labels)), loss="hinge", intercept_scaling=100, max_iter=1_000_000)
    alone.fit(scaled, labels)
    sign = 2 * labels - 1

    def objective(weights: Any, bias: float) -> float:
        return np.maximum(0, 1 - sign * (scaled @ weights + bias)).mean() + PENALTY / 2 * (weights @ weights)

    ours = objective(found.weights[:-1, 0], found.weights[-1, 0])
    assert ours <= objective(alone.coef_[0], alone.intercept_[0]) * (1 + 1e-3)


def test_l1_makes_weights_zero() -> None:
    features, labels, scaled = cancer()
    found = train(features, labels, wd=0, l1=PENALTY, **BINARY)
    alone = linear_model.LogisticRegression(
        C=1 / (PENALTY * len(labels)), l1_ratio=1, solver="saga", tol=1e-6, max_iter=20_000
    ).fit(scaled, labels)

    def objective(weights: Any, bias: float) -> float:
        margin = scaled @ weights + bias
        return (np.logaddexp(0, margin) - labels * margin).mean() + PENALTY * np.abs(weights).sum()

    weights = found.weights[:-1, 0]
    ours = objective(weights, found.weights[-1, 0])
    assert ours <= objective(alone.coef_[0], alone.intercept_[0]) * (1 + 1e-2)
    assert abs(int((weights == 0).sum()) - int((alone.coef_ == 0).sum())) <= 4


def test_squared() -> None:
    features, labels, scaled, normal = diabetes()
    found = train(features, labels, **REGRESSOR)
    alone = linear_model.Ridge(alpha=PENALTY * len(labels)).fit(scaled, normal)
    np.testing.assert_allclose(found.weights[:-1, 0], alone.coef_, atol=1e-5)
    weights, bias = found.of(0)
    predicted = features.astype(np.float64) @ weights[:, 0] + bias[0]
    np.testing.assert_allclose(predicted, alone.predict(scaled) * labels.std() + labels.mean(), atol=1e-2)


def test_eps_insensitive_squares() -> None:
    features, labels, scaled, normal = diabetes()
    found = train(features, labels, loss="eps_insensitive_squared_loss", loss_insensitivity=0.3, **REGRESSOR)
    alone = svm.LinearSVR(
        epsilon=0.3, C=0.5 / (PENALTY * len(labels)), loss="squared_epsilon_insensitive", intercept_scaling=100,
        tol=1e-8, max_iter=1_000_000, dual=True,
    ).fit(scaled, normal)  # fmt: skip
    np.testing.assert_allclose(found.weights[:-1, 0], alone.coef_, atol=1e-4)


@pytest.mark.parametrize(
    ("changed", "cost", "alone"),
    [
        (
            {"loss": "absolute_loss", "wd": 0},
            lambda e: np.abs(e),
            lambda n: linear_model.QuantileRegressor(quantile=0.5, alpha=0),
        ),
        (
            {"loss": "quantile_loss", "quantile": 0.8, "wd": 0},
            lambda e: np.maximum(-0.8 * e, 0.2 * e),
            lambda n: linear_model.QuantileRegressor(quantile=0.8, alpha=0),
        ),
        (
            {"loss": "eps_insensitive_absolute_loss", "loss_insensitivity": 0.3},
            lambda e: np.maximum(0, np.abs(e) - 0.3),
            lambda n: svm.LinearSVR(epsilon=0.3, C=1 / (PENALTY * n), intercept_scaling=100, max_iter=1_000_000),
        ),
        (
            {"loss": "huber_loss", "huber_delta": 0.5},
            lambda e: np.where(np.abs(e) <= 0.5, e * e / 2, 0.5 * (np.abs(e) - 0.25)),
            lambda n: linear_model.SGDRegressor(
                loss="huber", epsilon=0.5, alpha=PENALTY, max_iter=1000, tol=None, eta0=0.01, average=True
            ),
        ),
    ],
    ids=["absolute", "quantile", "eps", "huber"],
)
def test_losses_with_corners(changed: dict[str, Any], cost: Any, alone: Any) -> None:
    features, labels, scaled, normal = diabetes()
    found = train(features, labels, **changed, **REGRESSOR)
    theirs = alone(len(labels)).fit(scaled, normal)
    wd = changed.get("wd", PENALTY)

    def objective(weights: Any, bias: float) -> float:
        return cost(scaled @ weights + bias - normal).mean() + wd / 2 * (weights @ weights)

    ours = objective(found.weights[:-1, 0], found.weights[-1, 0])
    assert ours <= objective(theirs.coef_, np.ravel(theirs.intercept_)[0]) * (1 + 1e-3)


def test_softmax() -> None:
    features, labels = load_digits(return_X_y=True)
    features, labels = features[:600].astype(np.float32), labels[:600]
    found = train(features, labels, predictor_type=MULTICLASS, num_classes=10, epochs=800)
    deviation = features.std(axis=0)
    scaled = (features - features.mean(axis=0)) / np.where(deviation > 0, deviation, 1)
    alone = linear_model.LogisticRegression(C=1 / (PENALTY * len(labels)), tol=1e-8, max_iter=10_000)
    alone.fit(scaled, labels)
    margins = scaled @ found.weights[:-1] + found.weights[-1]
    shares = np.exp(margins - margins.max(axis=1, keepdims=True))
    np.testing.assert_allclose(shares / shares.sum(axis=1, keepdims=True), alone.predict_proba(scaled), atol=2e-3)


# -- weights of classes -----------------------------------------------------------------------------------------------


def test_positive_examples_weigh_more() -> None:
    features, labels, scaled = cancer()
    for told, weight in (("4.0", 4.0), ("balanced", (labels == 0).sum() / (labels == 1).sum())):
        found = train(features, labels, positive_example_weight_mult=told, **BINARY)
        alone = linear_model.LogisticRegression(
            C=1 / (PENALTY * len(labels)), class_weight={0: 1, 1: weight}, tol=1e-10, max_iter=10_000
        ).fit(scaled, labels)
        np.testing.assert_allclose(found.weights[:-1, 0], alone.coef_[0], atol=5e-3)


def test_balanced_classes() -> None:
    features, labels = load_digits(n_class=3, return_X_y=True)
    features = features.astype(np.float32)
    few = (labels != 2) | (np.arange(len(labels)) % 5 == 0)
    features, labels = features[few], labels[few]
    found = train(
        features, labels, predictor_type=MULTICLASS, num_classes=3, balance_multiclass_weights="True", epochs=800
    )
    deviation = features.std(axis=0)
    scaled = (features - features.mean(axis=0)) / np.where(deviation > 0, deviation, 1)
    alone = linear_model.LogisticRegression(
        C=1 / (PENALTY * len(labels)), class_weight="balanced", tol=1e-8, max_iter=10_000
    ).fit(scaled, labels)
    margins = scaled @ found.weights[:-1] + found.weights[-1]
    shares = np.exp(margins - margins.max(axis=1, keepdims=True))
    np.testing.assert_allclose(shares / shares.sum(axis=1, keepdims=True), alone.predict_proba(scaled), atol=2e-3)


# -- data -------------------------------------------------------------------------------------------------------------


def test_a_rows_kind_changes_nothing() -> None:
    features, labels, _ = cancer()
    features[np.random.default_rng(0).random(features.shape) < 0.5] = 0
    is_sparse = np.arange(len(labels)) % 3 == 0
    mixed = Mixed(is_sparse, features[~is_sparse], as_csr(features[is_sparse]))
    settings = {"epochs": 20, "mini_batch_size": 64, **BINARY}
    dense = train(features, labels, **settings)
    for other in (as_csr(features), mixed):
        np.testing.assert_allclose(train(other, labels, **settings).weights, dense.weights, atol=1e-9)


def test_rows_that_do_not_fit_are_read_again_for_each_epoch() -> None:
    features, labels, _ = cancer()
    given = values(30, **{**EXACT, "epochs": 300, **BINARY})
    kept, read = rows(features, labels), rows(features, labels, memory=1)
    assert (kept.kept is not None, read.kept) == (True, None)
    found = [fit(each, None, given, 1, ALONE).weights for each in (kept, read)]
    np.testing.assert_allclose(*found, atol=1e-9)


@pytest.mark.parametrize("changed", [{"normalize_data": "False"}, {"unbias_data": "False"}, {"use_bias": "False"}])
def test_scaling_and_intercept(changed: dict[str, str]) -> None:
    random = np.random.default_rng(2)
    features = (random.normal(size=(2000, 4)) * [1, 2, 0.5, 1] + [1, 0, -1, 2]).astype(np.float32)
    labels = features @ [1.0, -2, 3, 0.5] + (0 if "use_bias" in changed else 7) + 0.1 * random.normal(size=2000)
    if "use_bias" in changed:
        changed = {**changed, "unbias_data": "False"}
    found = train(features, labels, **{"wd": 0, **changed, **REGRESSOR})
    weights, bias = found.of(0)
    alone = linear_model.LinearRegression(fit_intercept="use_bias" not in changed).fit(features, labels)
    np.testing.assert_allclose(weights[:, 0], alone.coef_, atol=1e-3)
    np.testing.assert_allclose(bias[0], alone.intercept_, atol=1e-3)


def test_a_constant_feature_is_left_alone() -> None:
    features, labels, _, _ = diabetes()
    features = np.column_stack([features, np.full(len(features), 1e6, np.float32)])
    weights, bias = train(features, labels, epochs=50, **REGRESSOR).of(0)
    assert np.isfinite(weights).all()
    assert np.isfinite(bias).all()


# -- models, epochs ---------------------------------------------------------------------------------------------------


def test_the_models_are_a_grid_of_what_is_auto() -> None:
    given = values(5, **BINARY)
    grid = candidates(given, 6, 1, 2.0)
    assert len(grid) == 32
    assert len({tuple(grid.describe(i).values()) for i in range(32)}) == 32
    assert len(candidates(values(5, learning_rate=0.1, wd=0, l1=0, **BINARY), 6, 1, 2.0)) == 1
    assert len(candidates(values(5, num_models=40, **BINARY), 6, 1, 2.0)) == 40
    one = candidates(values(5, num_models=1, **BINARY), 6, 1, 2.0)
    assert one.describe(0) == {"learning_rate": 0.03, "wd": 0, "l1": 0, "positive_example_weight_mult": 1}
    weighed = candidates(values(5, positive_example_weight_mult="auto", **BINARY), 6, 1, 2.0)
    assert set(weighed.positive) == {1.0, 2.0}
    assert len(candidates(values(10**6, **BINARY), 10**6, 1, 2.0)) == 4


def test_models_side_by_side_are_models_alone() -> None:
    features, labels, _ = cancer()
    several = train(features, labels, num_models=4, learning_rate="auto", epochs=1000, **BINARY)
    one = train(features, labels, num_models=1, learning_rate=0.1, epochs=1000, **BINARY)
    assert several.models.rate[1] == 0.1
    np.testing.assert_allclose(several.weights[:, 1], one.weights[:, 0], atol=1e-3)


def test_training_ends_early_and_the_best_epoch_of_the_validation_rows_is_kept() -> None:
    features, labels, _ = cancer()
    seen: list[tuple[int, str, float]] = []
    given = values(30, num_models=1, learning_rate=0.5, wd=0, l1=0, epochs=200, mini_batch_size=50,
                   early_stopping_patience=2, use_lr_scheduler="False", **BINARY)  # fmt: skip
    held = rows(features[400:], labels[400:])
    found = fit(rows(features[:400], labels[:400]), held, given, 1, ALONE, lambda *told: seen.append(told))
    losses = [value for _, channel, value in seen if channel == "validation"]
    assert len(losses) < 200
    weights, bias = found.of(0)
    margins = features[400:].astype(np.float64) @ weights[:, 0] + bias[0]
    kept = (np.logaddexp(0, margins) - labels[400:] * margins).mean()
    assert kept == pytest.approx(min(losses), rel=1e-5)
    best = int(np.argmin(losses))
    assert len(losses) - best >= 2


@pytest.mark.parametrize(
    ("criterion", "told", "held", "early"),
    [("accuracy", True, True, True), ("f1", True, True, True), ("recall_at_target_precision", True, True, True),
     ("accuracy", False, True, False), ("loss_function", True, True, False), ("accuracy", True, False, False)],
)  # fmt: skip
def test_training_ends_by_the_criterion_that_was_given(criterion: str, told: bool, held: bool, early: bool) -> None:
    """Of a loss that falls slowly to the end, and a criterion that is soon as good as it gets."""
    features, labels, _ = cancer()
    given = values(30, num_models=1, learning_rate=0.01, wd=0, l1=0, epochs=25, mini_batch_size=200,
                   early_stopping_patience=3, binary_classifier_model_selection_criteria=criterion,
                   use_lr_scheduler="False", **BINARY)  # fmt: skip
    seen: list[tuple[int, str, float]] = []
    validation = rows(features[400:], labels[400:]) if held else None
    fit(rows(features[:400], labels[:400]), validation, given, 1, ALONE, lambda *t: seen.append(t), by_criterion=told)
    epochs = 1 + max(epoch for epoch, *_ in seen)
    assert 4 <= epochs < 25 if early else epochs == 25


@pytest.mark.parametrize(
    ("labels", "changed", "text"),
    [
        ([0, 1, 2], BINARY, "channel 'train' has the label 2; the labels of a binary_classifier of 2 classes"),
        ([1, 1, 1], BINARY, "every label of the train channel is 1; a binary_classifier needs rows of both classes"),
        ([0, 1, 0.5], BINARY, "has the label 0.5"),
        ([0, 1, 3], {"predictor_type": MULTICLASS, "num_classes": 3}, "whole numbers from 0 to 2"),
        ([], REGRESSOR, "the train channel holds no row"),
        ([1e30, -1e30, 3e38], {**REGRESSOR, "normalize_label": "False", "learning_rate": 1e30, "optimizer": "sgd"},
         "training diverged: no model has a finite loss; lower learning_rate"),
    ],
)  # fmt: skip
def test_what_is_refused(labels: list[float], changed: dict[str, Any], text: str) -> None:
    features = np.arange(2 * len(labels), dtype=np.float32).reshape(-1, 2)
    with pytest.raises(ClientError, match=text):
        train(features, np.array(labels), **changed)


@pytest.mark.parametrize(
    ("changed", "text"),
    [
        ({"loss": "squared_loss", **BINARY}, "loss must be 'auto' or one of logistic, hinge_loss for a binary_class"),
        ({"loss": "logistic", **REGRESSOR}, "loss must be 'auto' or one of squared_loss"),
        ({"predictor_type": MULTICLASS}, "num_classes is required for a multiclass_classifier"),
    ],
)
def test_contradictions(changed: dict[str, Any], text: str) -> None:
    with pytest.raises(ClientError, match=text):
        values(3, **changed)


# -- several hosts ----------------------------------------------------------------------------------------------------


def on_hosts(count: int, work: Callable[[Collective], Any]) -> list[Any]:
    hosts, port = tuple(f"algo-{i + 1}" for i in range(count)), free_port()
    out: list[Any] = [None] * count

    def run(rank: int) -> None:
        with Collective(hosts[rank], hosts, dict.fromkeys(hosts, LOOPBACK), port=port, answer=30) as group:
            out[rank] = work(group)

    threads = [threading.Thread(target=run, args=(rank,)) for rank in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return out


@pytest.mark.parametrize("shares", [(300, 269), (500, 60, 9), (569, 0)])
def test_hosts_train_the_model_of_one_host(shares: tuple[int, ...]) -> None:
    """With all rows in every step the mean slopes are the same sums: to 1e-9; the hosts agree to the last bit."""
    features, labels, _ = cancer()
    changed = {**EXACT, "epochs": 60, "num_models": 3, "learning_rate": "auto", **BINARY}
    one = train(features, labels, **changed)
    starts = np.cumsum([0, *shares])

    def work(group: Collective) -> Any:
        own = slice(starts[group.rank], starts[group.rank + 1])
        return fit(rows(features[own], labels[own]), None, values(30, **changed), 1, group)

    found = on_hosts(len(shares), work)
    for each in found:
        np.testing.assert_array_equal(each.weights, found[0].weights)
        np.testing.assert_allclose(each.weights, one.weights, atol=1e-9)


def test_small_batches_on_two_hosts_reach_the_same_quality() -> None:
    random = np.random.default_rng(4)
    features = random.normal(size=(20_000, 10)).astype(np.float32)
    margins = features @ random.normal(size=10)
    labels = (random.random(20_000) < 1 / (1 + np.exp(-margins))).astype(np.float32)
    changed = {"num_models": 1, "learning_rate": 0.03, "wd": 0, "l1": 0, "epochs": 8, "mini_batch_size": 500, **BINARY}
    one = fit(rows(features, labels), None, values(10, **changed), 1, ALONE)

    def work(group: Collective) -> Any:
        own = slice(group.rank, None, 2)
        return fit(rows(features[own], labels[own]), None, values(10, **changed), 1, group)

    two = on_hosts(2, work)[0]
    np.testing.assert_allclose(two.weights, one.weights, atol=0.03)


# -- size -------------------------------------------------------------------------------------------------------------


def test_a_hundred_thousand_rows() -> None:
    """10^5 x 50 with AWS's defaults but one model: the log loss of scikit-learn's optimum to 0.5 %."""
    random = np.random.default_rng(0)
    features = (random.normal(size=(100_000, 50)) * random.uniform(0.1, 10, 50) + 5).astype(np.float32)
    scaled = (features - features.mean(axis=0)) / features.std(axis=0)
    margins = scaled @ random.normal(size=50)
    labels = (random.random(100_000) < 1 / (1 + np.exp(-margins))).astype(np.float32)
    given = values(50, num_models=1, **BINARY)
    weights, bias = fit(rows(features, labels), None, given, 1, ALONE).of(0)
    ours = features.astype(np.float64) @ weights[:, 0] + bias[0]
    alone = linear_model.LogisticRegression(C=1e6).fit(scaled, labels)
    theirs = alone.decision_function(scaled)

    def loss(margin: Any) -> float:
        return float((np.logaddexp(0, margin) - labels * margin).mean())

    assert loss(ours) <= loss(theirs) * 1.005
