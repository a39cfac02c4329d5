"""Priors of the surrogate's hyperparameters. No single one is safe, so the strategy holds several at once.

Notation: ``theta`` is laid out as in :mod:`sagespark.bayesopt.evidence`; ``l_j = exp(-theta_j / 2)`` is a length scale,
in units of the encoded cube, whose side is 1. Constants that do not depend on ``theta`` are left out.

* ``short``: ``-0.1 sum (l_j^2 + l_j^-2)``: length scales near 1 and seldom far from it, whatever the dimension.
* ``long``: ``log l_j ~ Normal(sqrt 2 + log(d) / 2, sqrt 3)``: length scales grow with the dimension, so that a
  function of many parameters is believed to be simple (Hvarfner, Hellsten and Nardi, Vanilla Bayesian Optimization
  Performs Great in High Dimensions, ICML 2024, section 5).

A category's ``w`` says how much two categories differ, not how far they lie apart: ``log l ~ Normal(0, 1)`` in both.
The amplitude has ``Gamma(2, 1)``, with its mode where the outputs are scaled to; the noise variance ``Gamma(1.1, 30)``,
which falls slowly from small to large values; ``t`` a normal density about the identity. Another task's ``atanh r`` has
a Cauchy density, about 3 where it is said to be the same objective (``r = 0.995``), about 1 where it is not
(``r = 0.76``): its tails let a task be found unrelated, or even opposed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from sagespark.bayesopt.outputs import Family
from sagespark.bayesopt.scaling import Floats

LengthScales = Literal["short", "long"]
Bounds = tuple[float, float]
LOG_W: Bounds = (-8.0, 9.5)
LOG_AMPLITUDE: Bounds = (math.log(1e-2), math.log(1e2))
LOG_NOISE: Bounds = (math.log(1e-9), math.log(2.0))
ATANH_R: Bounds = (-4.0, 5.0)
T_CENTRE = {"raw": 1.0, "power": 1.0, "shift": -2.0}
T_DEVIATION = {"raw": 1.0, "power": 1.0, "shift": 2.0}
T_BOUNDS: dict[str, Bounds] = {"raw": (1.0, 1.0), "power": (-2.0, 4.0), "shift": (-6.0, 8.0)}


@dataclass(frozen=True)
class Relation:
    """What is believed of another task before its observations are compared with the own ones."""

    atanh_r: float
    """Centre of ``atanh r``, whose scale is 1."""
    offset: float
    """Deviation of its level from the own one, in units of the outputs' deviation."""


RELATED = Relation(1.0, 0.5)
SAME = Relation(3.0, 0.05)


@dataclass(frozen=True)
class Prior:
    """Log density of ``theta``: callable, returns it with its gradient.

    Parameters
    ----------
    lengthscales : {'short', 'long'}
    family : {'raw', 'power', 'shift'}
        Of the output transformation that ``t`` belongs to.
    categorical : tuple of bool
        Dimensions that are categories.
    tasks : tuple of Relation
        The other tasks.
    """

    lengthscales: LengthScales
    family: Family
    categorical: tuple[bool, ...]
    tasks: tuple[Relation, ...] = ()

    def __call__(self, theta: Floats) -> tuple[float, Floats]:
        """Return the log density at ``theta``, up to a constant, and its gradient."""
        d = len(self.categorical)
        log_w, log_a, log_noise, t = theta[:d], float(theta[d]), float(theta[d + 1]), float(theta[d + 2])
        if self.lengthscales == "short":
            w = np.exp(log_w)
            terms, slopes = -0.1 * (w + 1.0 / w), -0.1 * (w - 1.0 / w)
        else:
            off = -0.5 * log_w - (math.sqrt(2.0) + 0.5 * math.log(d))
            terms, slopes = -off * off / 6.0, off / 6.0
        if self._category.any():
            terms = np.where(self._category, -0.125 * log_w * log_w, terms)
            slopes = np.where(self._category, -0.25 * log_w, slopes)
        a, noise = math.exp(log_a), math.exp(log_noise)
        away = (t - T_CENTRE[self.family]) / T_DEVIATION[self.family]
        value = float(np.sum(terms)) + log_a - a + 0.1 * log_noise - 30.0 * noise - 0.5 * away * away
        gradient = np.empty_like(theta)
        gradient[:d] = slopes
        gradient[d] = 1.0 - a
        gradient[d + 1] = 0.1 - 30.0 * noise
        gradient[d + 2] = -away / T_DEVIATION[self.family]
        if self.tasks:
            apart = theta[d + 3 :] - np.array([task.atanh_r for task in self.tasks])
            gradient[d + 3 :] = -2.0 * apart / (1.0 + apart * apart)
            value -= float(np.sum(np.log1p(apart * apart)))
        return value, gradient

    @cached_property
    def _category(self) -> NDArray[np.bool_]:
        return np.array(self.categorical, dtype=bool)

    @property
    def bounds(self) -> list[Bounds]:
        """Bounds of each element of ``theta``."""
        tail = [LOG_AMPLITUDE, LOG_NOISE, T_BOUNDS[self.family], *[ATANH_R] * len(self.tasks)]
        return [LOG_W] * len(self.categorical) + tail

    @property
    def start(self) -> Floats:
        """Where a first search for the mode begins: length scales of half the cube."""
        d = len(self.categorical)
        return np.array(
            [math.log(4.0)] * d + [0.0, math.log(1e-3), T_CENTRE[self.family], *(t.atanh_r for t in self.tasks)]
        )
