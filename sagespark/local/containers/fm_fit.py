"""Train factorization machines by mini-batches, touching only the features that a mini-batch has.

Notation as in :mod:`sagespark.local.containers.fm_model`; ``g`` the slopes of the loss at the predictions of a
mini-batch, shape (n,), ``X`` its rows. The slopes of the weights are

    b: sum g,      w: X'g,      V: X'(g (X V)) - (X^2)'g V,                                                         (1)

times ``rescale_grad``. Updates are those of MXNet's Adam with lazy updates (``python/mxnet/optimizer/adam.py``), each
group of weights with its step size and weight decay; ``eps`` and ``clip_gradient`` are its:

    h = clip(slope + wd weight),  m = 0.9 m + 0.1 h,  v = 0.999 v + 0.001 h^2,
    weight - lr sqrt(1 - 0.999^t) / (1 - 0.9^t) m / (sqrt(v) + eps)                                                 (2)

Features that a mini-batch lacks keep their weights and moments, so that the cost is that of the entries, however wide
the rows are. On several hosts each takes its share of every mini-batch, the hosts tell each other (1) for the features
that their rows have, and every host makes the same update: they train one model in step.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sagespark.algorithms.factorization_machines import BINARY
from sagespark.local.containers.contract import ClientError
from sagespark.local.containers.fm_model import FactorizationMachine, products
from sagespark.local.containers.hosts import ALONE, Hosts
from sagespark.local.containers.linear_data import Block, Rows
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

    def join(self, hosts: Hosts) -> None:
        """Add what the other hosts have."""
        if hosts.size > 1:
            joined = hosts.allreduce(np.array([*self._sums, self.count]))
            self._sums, self.count = joined[:-1], int(joined[-1])

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
    train: Rows,
    values: Mapping[str, Any],
    seed: int,
    on_epoch: OnEpoch = lambda epoch, metrics: None,
    hosts: Hosts = ALONE,
) -> FactorizationMachine:
    """Train a factorization machine.

    Parameters
    ----------
    train : Rows
        This host's, as CSR matrices without zeros.
    values : mapping
        Hyperparameters by wire string.
    seed : int
        Of the first weights and of the order of rows.
    on_epoch : callable
        Told of metrics after each epoch.
    hosts : Hosts
        All hosts, which get the same model.

    Raises
    ------
    ClientError
        If there is no row, a label is no class, or training diverges.
    """
    if not hosts.allreduce(np.array([float(train.count)]))[0]:
        raise ClientError("the train channel holds no row")
    binary = values["predictor_type"] == BINARY
    check_labels(train, binary, "train", hosts)
    d, k = values["feature_dim"], values["num_factors"]
    random = np.random.default_rng(seed)
    bias, linear, factors = (
        _Group(_initial(random, values, part, shape), values[f"{part}_lr"], values[f"{part}_wd"])
        for part, shape in (("bias", (1,)), ("linear", (d,)), ("factors", (d, k)))
    )
    eps = DEFAULT_EPS if values["eps"] is None else values["eps"]
    clip, step = values["clip_gradient"], 0
    size = max(1, -(-values["mini_batch_size"] // hosts.size))
    # The first weights are the same on every host; the order of its rows is each one's own.
    order = random if hosts.size == 1 else np.random.default_rng([seed, hosts.rank])
    for epoch in range(values["epochs"]):
        metrics = Metrics(binary)
        for rows, labels, total in _in_step(train.batches(size, order), hosts):
            step += 1
            warm = float(np.sqrt(1 - _B2**step) / (1 - _B1**step))
            scale = 1 / total if values["rescale_grad"] is None else values["rescale_grad"]
            present: Any
            if rows is None:
                present, of_linear, of_factors, g = np.zeros(0, np.int64), np.zeros(0), np.zeros((0, k)), np.zeros(0)
            else:
                x, present = _compact(rows, d)
                own = factors.weights[present]
                margins, projected = products(x, float(bias.weights[0]), linear.weights[present], own)
                metrics.add(margins, labels)
                g = ((sigmoid(margins) if binary else margins) - labels) * scale
                of_linear = x.T @ g
                of_factors = x.T @ (g[:, np.newaxis] * projected) - (x.multiply(x).T @ g)[:, np.newaxis] * own
            of_bias = np.array([g.sum()])
            if hosts.size > 1:
                of_bias = hosts.allreduce(of_bias)
                present, of_linear, of_factors = _summed(present, of_linear, of_factors, hosts)
            bias.update(slice(None), of_bias, warm, eps, clip)
            linear.update(present, of_linear, warm, eps, clip)
            factors.update(present, of_factors, warm, eps, clip)
        metrics.join(hosts)
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


def _in_step(batches: Iterator[Block], hosts: Hosts) -> Iterator[tuple[Any, Any, float]]:
    """Yield this host's rows and labels of each mini-batch, and the number of rows of all hosts.

    Where others have rows left and this host has none, rows and labels are None.
    """
    while True:
        block = next(batches, None)
        count = 0 if block is None else len(block[1])
        total = float(count) if hosts.size == 1 else float(hosts.allreduce(np.array([float(count)]))[0])
        if not total:
            return
        yield (*(block or (None, None)), total)


def _summed(present: Any, of_linear: Floats, of_factors: Floats, hosts: Hosts) -> tuple[NDArray[Any], Floats, Floats]:
    """Return the features that any host's rows have, and the sums of their slopes."""
    if isinstance(present, slice):
        present = np.arange(len(of_linear))
    # Features' numbers are far below 2^53, where float64 counts exactly.
    parts = hosts.gather(np.column_stack([present.astype(np.float64), of_linear, of_factors]))
    told = np.concatenate(parts)
    features, place = np.unique(told[:, 0].astype(np.int64), return_inverse=True)
    sums = np.zeros((len(features), told.shape[1] - 1))
    np.add.at(sums, place.reshape(-1), told[:, 1:])
    return features, sums[:, 0], sums[:, 1:]


def check_labels(rows: Rows, binary: bool, channel: str, hosts: Hosts = ALONE) -> None:
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
    seen = set(np.concatenate(hosts.gather(np.array(sorted(seen), np.float64))).tolist())
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
