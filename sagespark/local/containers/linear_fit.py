"""Train linear models: many side by side, one pass over a mini-batch for all of them.

Notation as in :mod:`sagespark.local.containers.linear_losses`. Per mini-batch ``B`` of ``b`` rows ``z`` (scaled),

    p = z W + c,        slopes of W and c = (1 / b) sum over B of weight(y) loss'(p, y) (z, 1),                     (1)

then the update of :mod:`sagespark.local.containers.linear_search`. On several hosts each one takes its share of every
mini-batch, and the sums of (1) are added up over the hosts before the update: the hosts train one model in step, and
only which rows form a mini-batch differs from one host alone.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sagespark.algorithms.linear_learner import BINARY, MULTICLASS, REGRESSOR_TYPE
from sagespark.local.containers.collective import Collective
from sagespark.local.containers.contract import ClientError
from sagespark.local.containers.linear_data import Block, Rows, Scaling, Sums, backward, forward
from sagespark.local.containers.linear_losses import Loss, loss_of
from sagespark.local.containers.linear_search import Candidates, Updates, candidates
from sagespark.local.containers.linear_stopping import Patience, criterion, has_criterion

Floats = NDArray[np.float64]
OnEpoch = Callable[[int, str, float], None]
"""Told the epoch, the channel and the objective of the best model so far."""
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Fitted:
    """Every model at its best epoch."""

    weights: Floats
    """For scaled rows, shape (d + 1, C M), an output of all models after the other; the intercepts are the last row."""
    models: Candidates
    scaling: Scaling
    outputs: int
    """``C``."""
    rows: int
    """Rows that were passed over, in all epochs and on all hosts."""
    loss: Loss
    class_weights: Floats | None
    """Weight of each class, shape (K,); None where all weigh 1, or each model has its own."""

    def of(self, number: int) -> tuple[Floats, Floats]:
        """Return one model's weights and intercepts for rows as they are, shapes (d, C) and (C,)."""
        own = slice(number, None, len(self.models))
        return self.scaling.fold(self.weights[:-1, own], self.weights[-1, own])


def fit(
    train: Rows,
    validation: Rows | None,
    values: dict[str, Any],
    seed: int,
    group: Collective,
    on_epoch: OnEpoch = lambda epoch, channel, value: None,
    *,
    by_criterion: bool = False,
) -> Fitted:
    """Train the models.

    Parameters
    ----------
    train, validation : Rows
        This host's.
    values : dict
        Hyperparameters by wire string, with ``loss`` and ``feature_dim`` resolved.
    seed : int
        Of initial weights and of the order of rows.
    group : Collective
        All hosts.
    on_epoch : callable
        Told of objectives after each epoch.
    by_criterion : bool
        Whether training ends early by the model selection criterion instead of the loss, where it can.

    Raises
    ------
    ClientError
        If labels are not what the predictor takes, or there is no row.
    """
    d = values["feature_dim"]
    outputs = values["num_classes"] if values["predictor_type"] == MULTICLASS else 1
    counts = class_counts(train, values, group)
    total = int(group.allreduce(np.array([train.count]))[0])
    if not total:
        raise ClientError("the train channel holds no row")
    scaling = scale(train, values, group)
    balance = counts[0] / counts[1] if values["predictor_type"] == BINARY else 1.0
    models = candidates(values, d + 1, outputs, balance)
    batch = max(1, -(-values["mini_batch_size"] // group.size))
    steps = values["epochs"] * -(-total // (batch * group.size))
    # The same on every host.
    shared = np.random.default_rng(seed)
    weights = _initial(shared, values, d, len(models) * outputs)
    updates = Updates(values, models, outputs, d, steps)
    trainer = _Trainer(values, models, scaling, outputs, group, _class_weights(values, counts))
    order = np.random.default_rng([seed, group.rank])
    best = np.full(len(models), np.inf)
    kept, passed = weights.copy(), 0
    patience = Patience(values)
    watched = validation if by_criterion and has_criterion(values) else None
    for epoch in range(values["epochs"]):
        objective = trainer.epoch(weights, updates, train.batches(batch, order))
        passed += total
        on_epoch(epoch, "train", _least(objective))
        if validation is not None:
            objective = trainer.objective(weights, validation.pieces())
            on_epoch(epoch, "validation", _least(objective))
        better = objective < best if validation is not None else np.isfinite(objective)
        best = np.where(better, objective, best)
        columns = np.tile(better, outputs)
        kept[:, columns] = weights[:, columns]
        reached = _least(objective) if watched is None else -criterion(weights, scaling, watched, values, group)
        if patience.ends(reached):
            _log.info("Early stop condition met. Stopping training.")
            break
    return Fitted(kept, models, scaling, outputs, passed, trainer.loss, trainer.class_weights)


def _least(objective: Floats) -> float:
    """Return the best model's loss."""
    finite = objective[np.isfinite(objective)]
    if not len(finite):
        raise ClientError(
            "training diverged: no model has a finite loss; lower learning_rate, or leave it 'auto', and leave "
            "normalize_data True"
        )
    return float(finite.min())


class _Trainer:
    """Passes over rows, for all models and on all hosts."""

    def __init__(
        self,
        values: Mapping[str, Any],
        models: Candidates,
        scaling: Scaling,
        outputs: int,
        group: Collective,
        class_weights: Floats | None,
    ) -> None:
        self.loss = loss_of(values)
        self.class_weights = class_weights
        self._models = models
        self._scaling = scaling
        self._outputs = outputs
        self._group = group
        self._positive = None if (models.positive == 1).all() else models.positive

    def epoch(self, weights: Floats, updates: Updates, batches: Iterator[Block]) -> Floats:
        """Pass once over the rows, update the weights, and return the mean loss of the pass, shape (M,)."""
        lost, seen = np.zeros(len(self._models)), 0.0
        while True:
            block = next(batches, None)
            if block is None and self._group.size == 1:
                break
            slopes, value, count = self._step(weights, block)
            if self._group.size > 1:
                # Hosts may have different numbers of rows: those that have none left add nothing.
                sent = np.concatenate([slopes.ravel(), value, [count]])
                summed = self._group.allreduce(sent)
                slopes = summed[: slopes.size].reshape(slopes.shape)
                value, count = summed[slopes.size : -1], float(summed[-1])
                if not count:
                    break
            # A model that diverges spoils no other one.
            with np.errstate(over="ignore", invalid="ignore"):
                updates.apply(weights, slopes / count)
            lost += value
            seen += count
        return lost / max(seen, 1.0)

    def _step(self, weights: Floats, block: Block | None) -> tuple[Floats, Floats, float]:
        if block is None:
            return np.zeros_like(weights), np.zeros(len(self._models)), 0.0
        z, predicted = forward(block[0], self._scaling, weights)
        value, slopes = self._weighed(predicted, block[1])
        return backward(z, self._scaling, slopes.reshape(len(slopes), -1)), value.sum(axis=0), float(len(slopes))

    def _weighed(self, predicted: Floats, labels: Floats) -> tuple[Floats, Floats]:
        """Return losses (n, M) and slopes, both times the rows' weights."""
        y = self._scaling.labels(labels)
        if self._outputs > 1:
            predicted = predicted.reshape(len(predicted), self._outputs, -1)
        with np.errstate(over="ignore", invalid="ignore"):
            value, slopes = self.loss(predicted, y)
        if self._positive is not None:
            weight = np.where(labels[:, np.newaxis] == 1, self._positive, 1.0)
            return value * weight, slopes * weight
        if self.class_weights is not None:
            by_row = self.class_weights[labels.astype(np.intp)][:, np.newaxis]
            return value * by_row, slopes * by_row[:, np.newaxis]
        return value, slopes

    def objective(self, weights: Floats, pieces: Iterator[Block]) -> Floats:
        """Return the mean loss of rows, shape (M,), without an update."""
        sums = np.zeros(len(self._models) + 1)
        for rows, labels in pieces:
            _, predicted = forward(rows, self._scaling, weights)
            sums[:-1] += self._weighed(predicted, labels)[0].sum(axis=0)
            sums[-1] += len(labels)
        sums = self._group.allreduce(sums)
        if not sums[-1]:
            raise ClientError("the validation channel holds no row")
        out: Floats = sums[:-1] / sums[-1]
        return out


def scale(train: Rows, values: Mapping[str, Any], group: Collective) -> Scaling:
    """Return means and deviations of the first ``num_point_for_scaler`` rows, as the hyperparameters want them."""
    regression, bias = values["predictor_type"] == REGRESSOR_TYPE, bool(values["use_bias"])

    def told(wire: str, auto: bool) -> bool:
        return auto if values[wire] == "auto" else bool(values[wire])

    left = max(1, -(-values["num_point_for_scaler"] // group.size))
    sums = Sums(values["feature_dim"])
    for rows, labels in train.blocks():
        sums.add(rows[:left], labels[:left])
        left -= min(left, len(labels))
        if not left:
            break
    mean, deviation = sums.moments(group)
    if not told("unbias_data", bias):
        mean[:-1] = 0
    if not told("normalize_data", True):
        deviation[:-1] = 1
    # Without an intercept there is nothing that could take up the label's mean.
    label_mean = float(mean[-1]) if regression and bias and told("unbias_label", True) else 0.0
    label_deviation = float(deviation[-1]) if regression and told("normalize_label", True) else 1.0
    return Scaling(mean[:-1], deviation[:-1], label_mean, label_deviation)


def class_counts(rows: Rows, values: Mapping[str, Any], group: Collective, channel: str = "train") -> Floats:
    """Return the number of rows of each class on all hosts, shape (K,); nothing for a regressor.

    Raises
    ------
    ClientError
        If a label is no class, or the train channel of a binary classifier has only one.
    """
    kind = values["predictor_type"]
    if kind == REGRESSOR_TYPE:
        return np.zeros(0)
    classes = 2 if kind == BINARY else values["num_classes"]
    counts = np.zeros(classes)
    for _, labels in rows.blocks():
        wrong = (labels != np.floor(labels)) | (labels < 0) | (labels >= classes)
        if wrong.any():
            raise ClientError(
                f"channel {channel!r} has the label {labels[wrong][0]:g}; the labels of a {kind} of {classes} classes "
                f"must be whole numbers from 0 to {classes - 1}"
            )
        counts += np.bincount(labels.astype(np.intp), minlength=classes)
    counts = group.allreduce(counts)
    if channel == "train" and kind == BINARY and counts.sum() and not counts.all():
        raise ClientError(
            f"every label of the train channel is {int(counts.argmax())}; "
            "a binary_classifier needs rows of both classes"
        )
    return counts


def _class_weights(values: Mapping[str, Any], counts: Floats) -> Floats | None:
    if values["predictor_type"] != MULTICLASS or not values["balance_multiclass_weights"]:
        return None
    present = counts > 0
    weights: Floats = np.where(present, counts.sum() / (np.maximum(counts, 1) * present.sum()), 0.0)
    return weights


def _initial(random: np.random.Generator, values: Mapping[str, Any], width: int, columns: int) -> Floats:
    shape = (width + 1, columns)
    if values["init_method"] == "uniform":
        weights = random.uniform(-values["init_scale"], values["init_scale"], shape)
    else:
        weights = random.normal(0, values["init_sigma"], shape)
    weights[-1] = values["init_bias"] if values["use_bias"] else 0
    return weights
