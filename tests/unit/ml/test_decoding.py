"""Answers to raw scores, probabilities and classes, and MLlib's rule of thresholds."""

from __future__ import annotations

import pickle
from functools import partial

import numpy as np
import pytest
from scipy.special import expit, logit

from sagespark.data.requests import leading
from sagespark.ml.boosting import scored
from sagespark.ml.converters import Thresholds
from sagespark.ml.decoding import chosen, classified, of_labels, of_margin, of_probabilities, of_probability, regressed
from support.programs import as_csr

P = np.array([0.0, 1e-6, 0.25, 0.5, 0.9, 1.0], np.float32)


def test_two_classes_of_a_probability_and_of_a_margin() -> None:
    found = of_probability(P)
    np.testing.assert_allclose(found["probability"][:, 1], P)
    np.testing.assert_allclose(found["probability"].sum(axis=1), 1)
    np.testing.assert_allclose(found["rawPrediction"][:, 1], logit(P.astype(np.float64)))
    np.testing.assert_array_equal(found["rawPrediction"][:, 0], -found["rawPrediction"][:, 1])
    margins = np.array([-800, -2.5, 0, 3, 800], np.float32)
    found = of_margin(margins)
    np.testing.assert_allclose(found["probability"][:, 1], expit(margins.astype(np.float64)))
    np.testing.assert_array_equal(found["rawPrediction"][:, 1], margins)


def test_several_classes() -> None:
    found = of_probabilities(np.array([[0.2, 0.3, 0.5], [1, 0, 0]], np.float32))
    np.testing.assert_allclose(found["probability"].sum(axis=1), 1)
    np.testing.assert_allclose(np.exp(found["rawPrediction"]), found["probability"])
    found = of_labels(np.array([2.0, 0.0]), 3)
    assert found["probability"].tolist() == [[0, 0, 1], [1, 0, 0]]
    assert found["prediction"].tolist() == [2, 0]


def test_the_likeliest_class_is_predicted_and_the_first_of_equals() -> None:
    found = classified(lambda fields: of_probability(fields["score"]), None, {"score": P})
    assert found["prediction"].tolist() == [0, 0, 0, 0, 1, 1]


@pytest.mark.parametrize(
    ("thresholds", "expected"),
    [
        ([0.5, 0.5], [0, 0, 0, 0, 1, 1]),
        ([1, 0.1], [0, 0, 1, 1, 1, 1]),
        ([1, 0], [0, 1, 1, 1, 1, 1]),
        ([0, 1], [0, 0, 0, 0, 0, 1]),
    ],
)
def test_thresholds_are_mllibs(thresholds: list[float], expected: list[int]) -> None:
    """p / t, the largest; a threshold of 0 wins wherever the probability is not 0."""
    probabilities = np.column_stack([1 - P, P]).astype(np.float64)
    assert chosen(probabilities, np.array(thresholds, float)).tolist() == expected


def test_every_objective_of_xgboost_is_understood() -> None:
    two, three = np.array([0.2, 0.7]), np.array([[0.1, 0.2, 0.7], [0.5, 0.3, 0.2]])
    for objective, classes, score, predicted in (
        ("binary:logistic", 2, two, [0, 1]),
        ("binary:logitraw", 2, two - 0.5, [0, 1]),
        ("binary:hinge", 2, np.array([0.0, 1.0]), [0, 1]),
        ("multi:softmax", 3, np.array([2.0, 0.0]), [2, 0]),
        ("multi:softprob", 3, three, [2, 0]),
    ):
        decode = pickle.loads(pickle.dumps(partial(classified, partial(scored, objective, classes), None)))
        found = decode({"score": score})
        assert found["prediction"].tolist() == predicted
        assert found["rawPrediction"].shape == found["probability"].shape == (2, classes)
    assert regressed("score", {"score": np.array([[1.5], [2.5]])})["prediction"].tolist() == [1.5, 2.5]


@pytest.mark.parametrize("value", [[0.5], [0, 0], [-1, 1], [float("nan"), 1], [float("inf"), 1]])
def test_thresholds_against_the_rule_are_refused(value: list[float]) -> None:
    with pytest.raises(ValueError, match="numbers of 0 or more, at most one of them 0"):
        Thresholds("thresholds")(value)


@pytest.mark.parametrize("value", [3, "ab", [True, 1], ["a", "b"]])
def test_thresholds_of_another_type_are_refused(value: object) -> None:
    with pytest.raises(TypeError, match="thresholds must be numbers"):
        Thresholds("thresholds")(value)


def test_only_the_features_that_a_model_knows_are_sent() -> None:
    rows = np.array([[1, 0, 2, 3], [0, 0, 0, 4]], np.float32)
    np.testing.assert_array_equal(leading(rows, 3), rows[:, :3])
    found = leading(as_csr(rows), 3)
    np.testing.assert_array_equal(found.to_dense(), rows[:, :3])  # type: ignore[union-attr]  # a Csr
    assert leading(rows, None) is rows
    assert leading(rows, 4) is rows
