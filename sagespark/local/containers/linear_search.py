"""The models that the linear learner trains side by side, and how their weights are updated.

AWS's documentation says that several models are trained with "slightly different objectives", varying "L1 or L2
regularization" and "different optimizer settings", and leaves open which. Here they differ in those of learning_rate,
wd, l1 and positive_example_weight_mult that are 'auto'; whatever is set holds for all of them.

Updates are those of MXNet's optimizers (``python/mxnet/optimizer``), with ``g`` the mean slope and ``w`` the weights;
L2 enters as ``g + wd w``, and L1 by shrinking towards zero after the step, so that weights become zero:

    sgd      m = momentum m - rate g,  w + m                                                                        (1)
    adam     m = b1 m + (1 - b1) g,  v = b2 v + (1 - b2) g^2,
             w - rate sqrt(1 - b2^t) / (1 - b1^t) m / (sqrt(v) + 1e-8)                                              (2)
    rmsprop  v = 0.9 v + 0.1 g^2,  w - rate g / sqrt(v + 1e-8)                                                      (3)
    L1       sign(w) max(0, |w| - step l1), step what multiplies g, or m, above                                     (4)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import cycle, islice, product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sagespark.algorithms.linear_learner import BINARY

Floats = NDArray[np.float64]

RATES = (0.03, 0.1, 0.01, 0.003)
"""Step sizes tried where learning_rate is 'auto'; the first one where only one model is trained."""
DECAYS = (0.0, 1e-5, 1e-3, 1e-2)
"""Weights of the L2 penalty tried where wd is 'auto'."""
SHRINKAGES = (0.0, 1e-4)
"""Weights of the L1 penalty tried where l1 is 'auto'."""
MOST_MODELS = 32
"""Models where num_models is 'auto' and everything else too, as AWS's logs show."""
MOST_OUTPUTS = 128
"""Outputs of all models together beyond which fewer models are tried: classes cost time."""
MOST_WEIGHTS = 4_000_000
"""Weights of all models together beyond which fewer models are tried: they cost memory."""
FALL = 0.01
"""What the step size has fallen to at the end of all epochs, where the scheduler's hyperparameters are 'auto'."""
FALLS = 100
"""Falls of the step size in all epochs, likewise."""
_EPS = 1e-8
_RMS_DECAY = 0.9


@dataclass(frozen=True)
class Candidates:
    """What the models differ in; arrays of shape (M,)."""

    rate: Floats
    wd: Floats
    l1: Floats
    positive: Floats
    """Weight of class 1."""

    def __len__(self) -> int:
        """Return ``M``."""
        return len(self.rate)

    def describe(self, number: int) -> dict[str, float]:
        """Return the hyperparameters of one model."""
        return {
            "learning_rate": float(self.rate[number]),
            "wd": float(self.wd[number]),
            "l1": float(self.l1[number]),
            "positive_example_weight_mult": float(self.positive[number]),
        }


def candidates(values: Mapping[str, Any], width: int, outputs: int, balance: float) -> Candidates:
    """Return the models to train.

    Parameters
    ----------
    values : mapping
        Hyperparameters of the linear learner by wire string.
    width : int
        Weights of one output.
    outputs : int
        Outputs of one model.
    balance : float
        Rows of class 0 per row of class 1.
    """

    def tried(wire: str, auto: tuple[float, ...]) -> tuple[float, ...]:
        return auto if values[wire] == "auto" else (float(values[wire]),)

    positive: tuple[float, ...] = (1.0,)
    if values["predictor_type"] == BINARY:
        told = values["positive_example_weight_mult"]
        positive = {"auto": (1.0, balance), "balanced": (balance,)}.get(told) or (float(told),)
    # The step size varies fastest: the first models differ in it.
    grid = [
        (rate, wd, l1, weight)
        for weight, l1, wd, rate in product(
            positive, tried("l1", SHRINKAGES), tried("wd", DECAYS), tried("learning_rate", RATES)
        )
    ]
    if values["num_models"] == "auto":
        count = max(1, min(len(grid), MOST_MODELS, MOST_OUTPUTS // outputs, MOST_WEIGHTS // (width * outputs)))
        # Of a grid that is cut, every part is tried.
        grid = [grid[i * len(grid) // count] for i in range(count)]
    else:
        # More models than the grid has: the same again, from other initial weights.
        grid = list(islice(cycle(grid), int(values["num_models"])))
    return Candidates(*(np.array(column) for column in zip(*grid, strict=True)))


class Updates:
    """The optimizer of all models: equations (1) to (4).

    Parameters
    ----------
    values : mapping
        Hyperparameters.
    models : Candidates
    outputs : int
        ``C``.
    width : int
        ``d``.
    steps : int
        Updates that all epochs will make.
    """

    def __init__(self, values: Mapping[str, Any], models: Candidates, outputs: int, width: int, steps: int) -> None:
        def auto(wire: str, value: float) -> float:
            return value if values[wire] == "auto" else float(values[wire])

        self._kind = "adam" if values["optimizer"] == "auto" else str(values["optimizer"])
        self._momentum = auto("momentum", 0.9)
        self._b1, self._b2 = auto("beta_1", 0.9), auto("beta_2", 0.999)
        self._bias = bool(values["use_bias"])
        # Rows are the weights, then the intercept; columns the outputs of every model.
        rows = np.ones((width + 1, 1))
        rows[-1] = auto("bias_lr_mult", 1.0)
        self._rate = rows * np.tile(models.rate, outputs)
        rows[:-1], rows[-1] = 1, auto("bias_wd_mult", 0.0)
        self._wd = rows * np.tile(models.wd, outputs)
        self._l1 = np.tile(models.l1, outputs)
        self._scheduled = bool(values["use_lr_scheduler"])
        self._every = auto("lr_scheduler_step", max(1, steps // FALLS))
        self._factor = auto("lr_scheduler_factor", FALL ** (self._every / max(steps, 1)))
        self._least = auto("lr_scheduler_minimum_lr", 1e-5)
        self._lowest = np.minimum(self._rate, self._least)
        self._step = 0
        self._first, self._second = np.zeros_like(self._rate), np.zeros_like(self._rate)

    def apply(self, weights: Floats, slopes: Floats) -> None:
        """Update the weights in place.

        Parameters
        ----------
        weights, slopes : ndarray of shape (d + 1, C M)
            The intercepts are the last row.
        """
        rate = self._rate
        if self._scheduled:
            rate = np.maximum(rate * self._factor ** (self._step // self._every), self._lowest)
        self._step += 1
        g = slopes + self._wd * weights
        step: Floats
        if self._kind == "sgd":
            step = rate
            self._first *= self._momentum
            self._first -= rate * g
            weights += self._first
        elif self._kind == "adam":
            self._first += (1 - self._b1) * (g - self._first)
            self._second += (1 - self._b2) * (g * g - self._second)
            warm = np.sqrt(1 - self._b2**self._step) / (1 - self._b1**self._step)
            step = rate * warm / (np.sqrt(self._second) + _EPS)
            weights -= step * self._first
        else:
            self._second += (1 - _RMS_DECAY) * (g * g - self._second)
            step = rate / np.sqrt(self._second + _EPS)
            weights -= step * g
        if self._l1.any():
            shrunk, by = weights[:-1], (step * self._l1)[:-1]
            weights[:-1] = np.sign(shrunk) * np.maximum(np.abs(shrunk) - by, 0)
        if not self._bias:
            weights[-1] = 0
