"""From response fields to MLlib's columns: raw scores, probabilities, classes.

Notation: ``n`` rows, ``K`` classes, ``r`` raw scores (n, K), ``p`` probabilities (n, K), ``t`` thresholds (K,).
Functions are module-level and take values: they are shipped to executors.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sagespark.algorithms.supervised import PREDICTION, PROBABILITY, RAW_PREDICTION

Fields = dict[str, NDArray[Any]]


def classified(decode: Callable[[Fields], Fields], thresholds: Sequence[float] | None, fields: Fields) -> Fields:
    """Return the three columns of a classifier.

    Parameters
    ----------
    decode : callable
        From the response's fields to `RAW_PREDICTION` and `PROBABILITY`, both (n, K), and `PREDICTION` (n,) where the
        algorithm has its own way to choose a class; without it the likeliest one is taken.
    thresholds : sequence of float or None
        ``t``; where given, it is they that choose the class, as in MLlib.
    fields : dict
        Of the response.
    """
    found = decode(fields)
    if thresholds is not None:
        found[PREDICTION] = chosen(found[PROBABILITY], np.asarray(thresholds, np.float64))
    elif PREDICTION not in found:
        found[PREDICTION] = found[PROBABILITY].argmax(axis=1).astype(np.float64)
    return found


def chosen(probabilities: NDArray[np.float64], thresholds: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the class with the largest p / t, the first where several have it (MLlib's ProbabilisticClassifier).

    A class of threshold 0 is chosen wherever its probability is not 0.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        scaled = probabilities / thresholds
    likeliest: NDArray[np.intp] = np.where(np.isnan(scaled), -np.inf, scaled).argmax(axis=1)
    return likeliest.astype(np.float64)


def of_probability(positive: NDArray[Any]) -> Fields:
    """Return the columns of two classes from the probability p of class 1, shape (n,): r = (-z, z), z = logit(p)."""
    p = positive.astype(np.float64)
    with np.errstate(divide="ignore"):
        margin = np.log(p) - np.log1p(-p)
    return {RAW_PREDICTION: np.column_stack([-margin, margin]), PROBABILITY: np.column_stack([1 - p, p])}


def of_margin(margin: NDArray[Any]) -> Fields:
    """Return the columns of two classes from the log-odds z of class 1, shape (n,): r = (-z, z), p = logistic(r)."""
    z = margin.astype(np.float64)
    # tanh neither overflows nor loses the small side: 1 / (1 + exp(-z)) = (1 + tanh(z / 2)) / 2.
    raw = np.column_stack([-z, z])
    return {RAW_PREDICTION: raw, PROBABILITY: (1 + np.tanh(raw / 2)) / 2}


def of_probabilities(probabilities: NDArray[Any]) -> Fields:
    """Return the columns of K classes from their probabilities, shape (n, K): r = log(p)."""
    p = probabilities.astype(np.float64)
    p /= p.sum(axis=1, keepdims=True)
    with np.errstate(divide="ignore"):
        return {RAW_PREDICTION: np.log(p), PROBABILITY: p}


def of_labels(labels: NDArray[Any], classes: int) -> Fields:
    """Return the columns of an algorithm that answers classes alone, shape (n,): 1 for the class told, 0 for others."""
    told = np.eye(classes)[labels.astype(np.intp)]
    return {RAW_PREDICTION: told, PROBABILITY: told.copy(), PREDICTION: labels.astype(np.float64)}


def regressed(field: str, fields: Fields) -> Fields:
    """Return the column of a regressor from one field of the response."""
    values = fields[field]
    return {PREDICTION: (values[:, 0] if values.ndim == 2 and values.shape[1] == 1 else values).astype(np.float64)}
