"""Losses of linear models: value and slope of many models' predictions at once.

Notation: ``n`` rows, ``M`` models, ``C`` outputs of each (the classes of 'softmax_loss', else 1), ``p`` predictions of
shape (n, M) or (n, C, M), ``y`` labels of shape (n,), ``e = p - y``, ``t = 2 y - 1``. Values and slopes per row:

    logistic      log(1 + exp(p)) - y p          1 / (1 + exp(-p)) - y                                              (1)
    hinge         max(0, margin - t p)           -t where t p < margin                                              (2)
    squared       e^2                            e, that of e^2 / 2, as MXNet's LinearRegressionOutput has it       (3)
    absolute      |e|                            sign(e)                                                            (4)
    eps           max(0, |e| - eps), its square  sign(e) where |e| > eps, max(0, |e| - eps) sign(e)                 (5)
    quantile      max(q (y - p), (q - 1) (y - p))   -q where p < y, else 1 - q                                      (6)
    huber         e^2 / 2 where |e| <= delta, else delta (|e| - delta / 2)   e cut to [-delta, delta]               (7)
    softmax       log sum exp(p) - p[y]          softmax(p) - (1 at y)                                              (8)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Loss = Callable[[Floats, Floats], tuple[Floats, Floats]]
"""From predictions and labels to values, shape (n, M), and slopes, shaped as the predictions."""

OBJECTIVES: Mapping[str, str] = {
    "logistic": "binary_classification_cross_entropy",
    "hinge_loss": "hinge_loss",
    "softmax_loss": "multiclass_cross_entropy",
    "squared_loss": "mse",
    "absolute_loss": "absolute_loss",
    "eps_insensitive_squared_loss": "eps_insensitive_squared_loss",
    "eps_insensitive_absolute_loss": "eps_insensitive_absolute_loss",
    "quantile_loss": "quantile_loss",
    "huber_loss": "huber_loss",
}
"""What the log calls each loss, before ``_objective``."""


def loss_of(values: Mapping[str, Any]) -> Loss:
    """Return the loss that the hyperparameters name, 'auto' resolved."""
    name = values["loss"]
    if name == "hinge_loss":
        margin = values["margin"]
        return lambda p, y: hinge(p, y, margin)
    if name == "quantile_loss":
        quantile = values["quantile"]
        return lambda p, y: quantiles(p, y, quantile)
    if name == "huber_loss":
        delta = values["huber_delta"]
        return lambda p, y: huber(p, y, delta)
    if name.startswith("eps_insensitive"):
        eps, squares = values["loss_insensitivity"], name == "eps_insensitive_squared_loss"
        return lambda p, y: insensitive(p, y, eps, squares)
    simple: dict[str, Loss] = {
        "logistic": logistic,
        "softmax_loss": softmax,
        "squared_loss": squared,
        "absolute_loss": absolute,
    }
    return simple[name]


def sigmoid(p: Floats) -> Floats:
    """Return 1 / (1 + exp(-p)) without overflow."""
    small = np.exp(-np.abs(p))
    out: Floats = np.where(p >= 0, 1.0, small) / (1 + small)
    return out


def logistic(p: Floats, y: Floats) -> tuple[Floats, Floats]:
    """Equation (1)."""
    small = np.exp(-np.abs(p))
    label = y[:, np.newaxis]
    value = np.maximum(p, 0) + np.log1p(small) - label * p
    return value, np.where(p >= 0, 1.0, small) / (1 + small) - label


def hinge(p: Floats, y: Floats, margin: float) -> tuple[Floats, Floats]:
    """Equation (2)."""
    sign = (2 * y - 1)[:, np.newaxis]
    short = margin - sign * p
    return np.maximum(short, 0), np.where(short > 0, -sign, 0.0)


def squared(p: Floats, y: Floats) -> tuple[Floats, Floats]:
    """Equation (3)."""
    error = p - y[:, np.newaxis]
    return error * error, error


def absolute(p: Floats, y: Floats) -> tuple[Floats, Floats]:
    """Equation (4)."""
    error = p - y[:, np.newaxis]
    return np.abs(error), np.sign(error)


def insensitive(p: Floats, y: Floats, eps: float, squares: bool) -> tuple[Floats, Floats]:
    """Equation (5)."""
    error = p - y[:, np.newaxis]
    beyond = np.maximum(np.abs(error) - eps, 0)
    if squares:
        return beyond * beyond, beyond * np.sign(error)
    return beyond, np.sign(error) * (beyond > 0)


def quantiles(p: Floats, y: Floats, quantile: float) -> tuple[Floats, Floats]:
    """Equation (6)."""
    short = y[:, np.newaxis] - p
    return np.maximum(quantile * short, (quantile - 1) * short), np.where(short > 0, -quantile, 1 - quantile)


def huber(p: Floats, y: Floats, delta: float) -> tuple[Floats, Floats]:
    """Equation (7)."""
    error = p - y[:, np.newaxis]
    cut = np.clip(error, -delta, delta)
    return cut * (error - cut / 2), cut


def softmax(p: Floats, y: Floats) -> tuple[Floats, Floats]:
    """Equation (8)."""
    shares = p - p.max(axis=1, keepdims=True)
    right = (np.arange(len(y)), y.astype(np.intp))
    own = shares[right]
    np.exp(shares, out=shares)
    total = shares.sum(axis=1)
    shares /= total[:, np.newaxis]
    shares[right] -= 1
    return np.log(total) - own, shares
