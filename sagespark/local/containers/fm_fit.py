"""Train factorization machines by mini-batches, touching only the features that a mini-batch has.

Notation as in :mod:`sagespark.local.containers.fm_model`; ``g`` the slopes of the loss at the predictions of a
mini-batch, shape (n,), ``X`` its rows. The slopes of the weights are

    b: sum g,      w: X'g,      V: X'(g (X V)) - (X^2)'g V,                                                         (1)

times ``rescale_grad``. Updates are those of MXNet's Adam with lazy updates (``python/mxnet/optimizer/adam.py``), each
group of weights with its step size and weight decay; ``eps`` and ``clip_gradient`` are its:

    h = clip(slope + wd weight),  m = 0.9 m + 0.1 h,  v = 0.999 v + 0.001 h^2,
    weight - lr sqrt(1 - 0.999^t) / (1 - 0.9^t) m / (sqrt(v) + eps)                                                 (2)

Features that a mini-batch lacks keep their weights and moments, so that the cost is that of the entries, however wide
the rows are.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sagespark.algorithms.factorization_machines import BINARY
from sagespark.local.containers.contract import ClientError
from sagespark.local.containers.fm_model import FactorizationMachine, products
from sagespark.local.containers.linear_data import Rows
from sagespark.local.containers.linear_losses import sigmoid

Floats = NDArray[np.float64]
OnEpoch = Callable[[int, dict[str, float]], None]
"""Told the epoch and the metrics of its predictions, as the log calls them."""

DEFAULT_SCALE = 0.07
"""Of 'uniform' where the scale is not given: that of MXNet's Uniform."""
DEFAULT_EPS = 1e-8
_B1, _B2 = 0.9, 0.999


@dataclass
class _Group:
    """A group of weights with its optimizer."""

    weights: Floats
    rate: float
    decay: float
    first: Floats = field(init=False)
    second: Floats = field(init=False)

    def __post_init__(self) -> None:
        self.first, self.second = np.zeros_like(self.weights), np.zeros_like(self.weights)

    def update(self, at: Any, slopes: Floats, warm: float, eps: float, clip: float | None) -> None:
        """Apply equation (2) to the rows ``at``."""
        h = slopes + self.decay * self.weights[at]
        if clip is not None:
            h = np.clip(h, -clip, clip)
        first = self.first[at] + (1 - _B1) * (h - self.first[at])
        second = self.second[at] + (1 - _B2) * (h * h - self.second[at])
        self.first[at], self.second[at] = first, second
        self.weights[at] -= self.rate * warm * first / (np.sqrt(second) + eps)


class Metrics:
    """The metrics of predictions that come in pieces."""

    def __init__(self, binary: bool) -> None:
        self._binary = binary
        self._sums = np.zeros(5)
        self.count = 0

    def add(self, margins: Floats, labels: Floats) -> None:
        """Add predictions before any link function."""
        self.count += len(labels)
        if self._binary:
            called = margins >= 0
            loss = np.maximum(margins, 0) + np.log1p(np.exp(-np.abs(margins))) - labels * margins
            hits = float(labels[called].sum())
            right = float((called == (labels == 1)).sum())
            self._sums += [loss.sum(), right, hits, called.sum(), labels.sum()]
        else:
            error = margins - labels
            self._sums[:2] += [error @ error, np.abs(error).sum()]

    def named(self) -> dict[str, float]:
        """Return the metrics as the log calls them."""
        first, second = self._sums[:2] / max(self.count, 1)
        if not self._binary:
            return {
                "rmse <loss>": float(np.sqrt(first)),
                "mse <loss>": float(first),
                "absolute_loss <loss>": float(second),
            }
        _, _, hits, called, positives = self._sums
        return {
            "binary_classification_accuracy <score>": float(second),
            "binary_classification_cross_entropy <loss>": float(first),
            "binary_f_1.000 <score>": float(2 * hits / max(called + positives, 1.0)),
        }


def fit(
    train: Rows, values: Mapping[str, Any], seed: int, on_epoch: OnEpoch = lambda epoch, metrics: None
) -> FactorizationMachine:
    """Train a factorization machine.

    Parameters
    ----------
    train : Rows
        Rows as CSR matrices without zeros.
    values : mapping
        Hyperparameters by wire string.
    seed : int
        Of the first weights and of the order of rows.
    on_epoch : callable
        Told of metrics after each epoch.

    Raises
    ------
    ClientError
        If there is no row, a label is no class, or training diverges.
    """
    if not train.count:
        raise ClientError("the train channel holds no row")
    binary = values["predictor_type"] == BINARY
    check_labels(train, binary, "train")
    d, k = values["feature_dim"], values["num_factors"]
    random = np.random.default_rng(seed)
    bias, linear, factors = (
        _Group(_initial(random, values, part, shape), values[f"{part}_lr"], values[f"{part}_wd"])
        for part, shape in (("bias", (1,)), ("linear", (d,)), ("factors", (d, k)))
    )
    eps = DEFAULT_EPS if values["eps"] is None else values["eps"]
    clip, step = values["clip_gradient"], 0
    for epoch in range(values["epochs"]):
        metrics = Metrics(binary)
        for rows, labels in train.batches(values["mini_batch_size"], random):
            step += 1
            warm = float(np.sqrt(1 - _B2**step) / (1 - _B1**step))
            x, present = _compact(rows, d)
            own = factors.weights[present]
            margins, projected = products(x, float(bias.weights[0]), linear.weights[present], own)
            metrics.add(margins, labels)
            g = (sigmoid(margins) if binary else margins) - labels
            g *= 1 / len(labels) if values["rescale_grad"] is None else values["rescale_grad"]
            bias.update(slice(None), np.array([g.sum()]), warm, eps, clip)
            linear.update(present, x.T @ g, warm, eps, clip)
            of_factors = x.T @ (g[:, np.newaxis] * projected) - (x.multiply(x).T @ g)[:, np.newaxis] * own
            factors.update(present, of_factors, warm, eps, clip)
        on_epoch(epoch, metrics.named())
        if not (np.isfinite(factors.weights).all() and np.isfinite(linear.weights).all()):
            raise ClientError(
                "training diverged: weights are no longer finite; lower bias_lr, linear_lr and factors_lr, or set "
                "clip_gradient"
            )
    return FactorizationMachine(
        float(np.float32(bias.weights[0])),
        linear.weights.astype(np.float32),
        factors.weights.astype(np.float32),
        values["predictor_type"],
    )


def check_labels(rows: Rows, binary: bool, channel: str) -> None:
    """Refuse labels of a classifier other than 0 and 1, and a train channel with one of them alone.

    Raises
    ------
    ClientError
        The message names the channel and the label.
    """
    if not binary:
        return
    seen: set[float] = set()
    for _, labels in rows.blocks():
        wrong = (labels != 0) & (labels != 1)
        if wrong.any():
            raise ClientError(
                f"channel {channel!r} has the label {labels[wrong][0]:g}; "
                "the labels of a binary_classifier must be 0 or 1"
            )
        seen |= set(np.unique(labels).tolist())
    if channel == "train" and len(seen) == 1:
        raise ClientError(
            f"every label of the train channel is {seen.pop():g}; a binary_classifier needs rows of both classes"
        )


def _compact(rows: Any, width: int) -> tuple[Any, Any]:
    """Return a mini-batch of the features that it has alone, as float64, and which they are."""
    from scipy.sparse import csr_matrix

    if rows.nnz == rows.shape[0] * width:
        return rows.astype(np.float64), slice(None)
    present, at = np.unique(rows.indices, return_inverse=True)
    return csr_matrix((rows.data.astype(np.float64), at, rows.indptr), shape=(rows.shape[0], len(present))), present


def _initial(random: np.random.Generator, values: Mapping[str, Any], part: str, shape: tuple[int, ...]) -> Floats:
    method = values[f"{part}_init_method"]
    if method == "normal":
        return random.normal(0, values[f"{part}_init_sigma"], shape)
    if method == "uniform":
        scale = values[f"{part}_init_scale"]
        scale = DEFAULT_SCALE if scale is None else scale
        return random.uniform(-scale, scale, shape)
    value = values[f"{part}_init_value"]
    return np.full(shape, 0.0 if value is None else value)
