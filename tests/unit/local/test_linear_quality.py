"""Thresholds against every threshold there is, metrics against scikit-learn's."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as theirs

from sagespark.algorithms.linear_learner import CRITERIA, LINEAR_LEARNER
from sagespark.local.containers import linear_quality as quality


def values(criterion: str, **more: Any) -> dict[str, Any]:
    given = {"predictor_type": "binary_classifier", "binary_classifier_model_selection_criteria": criterion} | more
    return LINEAR_LEARNER.parse({name: str(value) for name, value in given.items()})


def judged(called: np.ndarray, labels: np.ndarray, criterion: str) -> float:
    """Return how good a division is, from the definitions."""
    tp = float(labels[called].sum())
    precision = tp / called.sum() if called.any() else 1.0
    recall = tp / labels.sum()
    if criterion == "accuracy":
        return float((called == (labels == 1)).mean())
    if criterion in ("f1", "f_beta"):
        square = 1.0 if criterion == "f1" else 4.0
        below = square * precision + recall
        return (1 + square) * precision * recall / below if below else 0.0
    if criterion == "precision_at_target_recall":
        return precision if recall >= 0.6 else -1.0
    return recall if precision >= 0.7 and called.any() else -1.0


@settings(max_examples=40, deadline=None)
@given(
    st.integers(0, 10_000),
    st.sampled_from(["accuracy", "f1", "f_beta", "precision_at_target_recall", "recall_at_target_precision"]),
)
def test_no_threshold_is_better(seed: int, criterion: str) -> None:
    random = np.random.default_rng(seed)
    n = int(random.integers(2, 40))
    labels = (random.random(n) < 0.5).astype(float)
    labels[:2] = [0, 1]
    margins = np.round(random.normal(size=n) + labels, 1)
    cut, best = quality.threshold(
        margins, labels, values(criterion, f_beta=2.0, target_recall=0.6, target_precision=0.7)
    )
    every = [judged(margins >= t, labels, criterion) for t in [*(margins - 1e-9), margins.max() + 1]]
    reached = judged(margins >= cut, labels, criterion)
    assert reached == pytest.approx(max(every))
    if max(every) >= 0:
        assert best == pytest.approx(reached)


def test_of_equally_good_thresholds_the_one_nearest_to_even_odds() -> None:
    margins, labels = np.array([-5.0, -4.0, 6.0, 7.0]), np.array([0.0, 0, 1, 1])
    assert quality.threshold(margins, labels, values("accuracy"))[0] == 1.0
    assert quality.threshold(margins, labels, values("cross_entropy_loss"))[0] == 0.0


def test_where_no_threshold_reaches_the_target_precision_the_most_precise_is_taken() -> None:
    margins, labels = np.array([3.0, 2.0, 1.0, 0.0]), np.array([0.0, 1, 0, 0])
    cut, best = quality.threshold(margins, labels, values("recall_at_target_precision", target_precision=0.9))
    assert 1 < cut < 2
    assert best < 0


@pytest.mark.parametrize("beta", [0.5, 1.0, 2.0])
def test_binary_metrics(beta: float) -> None:
    random = np.random.default_rng(3)
    labels = (random.random(500) < 0.3).astype(float)
    margins = np.round(random.normal(size=500) + labels, 1)
    found = quality.binary_metrics(margins, labels, 0.4, beta)
    called = margins >= 0.4
    assert found == pytest.approx(
        {
            "binary_classification_accuracy <score>": theirs.accuracy_score(labels, called),
            f"binary_f_{beta:.3f} <score>": theirs.fbeta_score(labels, called, beta=beta),
            "precision <score>": theirs.precision_score(labels, called),
            "recall <score>": theirs.recall_score(labels, called),
            "roc_auc_score <score>": theirs.roc_auc_score(labels, margins),
        }
    )


def test_multiclass_metrics() -> None:
    random = np.random.default_rng(3)
    labels = random.integers(0, 5, 500)
    scores = random.normal(size=(500, 5))
    scores[np.arange(500), labels] += 1
    found = quality.multiclass_metrics(scores, labels.astype(float), 3, 1.0)
    called = scores.argmax(axis=1)
    average = {"average": "macro"}
    assert found == pytest.approx(
        {
            "multiclass_accuracy <score>": theirs.accuracy_score(labels, called),
            "multiclass_top_k_accuracy_3 <score>": theirs.top_k_accuracy_score(labels, scores, k=3),
            "dcg <score>": theirs.dcg_score(np.eye(5)[labels], scores),
            "macro_recall <score>": theirs.recall_score(labels, called, **average),
            "macro_precision <score>": theirs.precision_score(labels, called, **average),
            "macro_f_1.000 <score>": theirs.f1_score(labels, called, **average),
        }
    )


def test_regression_metrics() -> None:
    random = np.random.default_rng(3)
    one, other = random.normal(size=(2, 100))
    found = quality.regression_metrics(one, other)
    assert found["mse <loss>"] == pytest.approx(theirs.mean_squared_error(other, one))
    assert found["absolute_loss <loss>"] == pytest.approx(theirs.mean_absolute_error(other, one))


def test_every_criterion_is_known() -> None:
    margins, labels = np.array([-1.0, 1.0, 2.0]), np.array([0.0, 1, 1])
    for criterion in CRITERIA:
        if criterion != "loss_function":
            assert np.isfinite(quality.threshold(margins, labels, values(criterion))).all()
