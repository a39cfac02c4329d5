"""Input warping: monotone maps of each parameter, under which the objective varies as fast everywhere.

A stationary covariance function believes that a function is as wiggly at one end of a range as at the other. Where it
is not, the surrogate sees points through the distribution function of Kumaraswamy's distribution, dimension by
dimension::

    w(x) = 1 - (1 - x^a)^b,   dw/dx = a b x^(a - 1) (1 - x^a)^(b - 1)                               (1)
    dw/dlog a = a b x^a log x (1 - x^a)^(b - 1),   dw/dlog b = -b (1 - x^a)^b log(1 - x^a)          (2)
    log a, log b ~ Normal(0, 0.75)                                                                  (3)

(Snoek, Swersky, Zemel and Adams, Input Warping for Bayesian Optimization of Non-Stationary Functions, ICML 2014,
section 3, with the Beta distribution; Kumaraswamy's, Journal of Hydrology 46, 1980, is much like it and has a closed
form.) ``a = b = 1`` is the identity. With the weights ``w_j`` of :mod:`sagespark.bayesopt.kernel` and ``c_pq`` the
derivative of the log evidence by the squared distance of points ``p`` and ``q``, its derivative by a warped coordinate
is::

    d log p / d x_pj = 2 w_j sum_q c_pq (x_pj - x_qj)                                                (4)
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from sagespark.bayesopt.evidence import Evidence
from sagespark.bayesopt.scaling import Floats

MOST = math.log(4.0)
"""Bound of ``|log a|`` and ``|log b|``."""
DEVIATION = 0.75
"""Of the prior (3)."""
INSIDE = 1e-9
"""Derivatives are those this far from the ends, where they may have no limit."""


@dataclass(frozen=True, eq=False)
class Warp:
    """Equation 1 for every dimension; ``a = b = 1`` leaves a dimension as it is, bit for bit."""

    a: Floats
    """(d,)"""
    b: Floats
    """(d,)"""

    def __call__(self, points: Floats) -> Floats:
        """Return (..., d) points of the encoded cube as the surrogate sees them, in the cube too."""
        out, j = points.copy(), self.bent
        out[..., j] = -np.expm1(self.b[j] * _log_rest(self.a[j], np.clip(points[..., j], 0.0, 1.0)))
        return out

    def slope(self, points: Floats) -> Floats:
        """Return ``dw/dx`` at (..., d) points; 1 in dimensions left as they are."""
        out, j = np.ones_like(points), self.bent
        a, b, x = self.a[j], self.b[j], _inside(points[..., j])
        out[..., j] = a * b * np.exp((a - 1.0) * np.log(x) + (b - 1.0) * _log_rest(a, x))
        return out

    def by_parameters(self, points: Floats) -> tuple[Floats, Floats]:
        """Return ``dw/dlog a`` and ``dw/dlog b`` at (..., d) points, of every dimension (eq. 2)."""
        x = _inside(points)
        rest = _log_rest(self.a, x)
        by_b = -self.b * np.exp(self.b * rest) * rest
        return self.a * self.b * np.exp(self.a * np.log(x) + (self.b - 1.0) * rest) * np.log(x), by_b

    def without(self, dimensions: Sequence[int]) -> Warp:
        """Return the warp that leaves those dimensions as they are."""
        others = ~np.isin(np.arange(len(self.a)), dimensions)
        return Warp(np.where(others, self.a, 1.0), np.where(others, self.b, 1.0))

    @property
    def parameters(self) -> int:
        """Number of parameters that are not the identity's."""
        return int(np.count_nonzero(self.a != 1.0) + np.count_nonzero(self.b != 1.0))

    @cached_property
    def bent(self) -> NDArray[np.int64]:
        """Dimensions that are not left as they are."""
        return np.flatnonzero((self.a != 1.0) | (self.b != 1.0))


def identity(d: int) -> Warp:
    """Return the warp that leaves ``d`` dimensions as they are."""
    return Warp(np.ones(d), np.ones(d))


def state_of(warp: Warp | None) -> dict[str, list[float]] | None:
    """Return what a history keeps of a warp."""
    return None if warp is None else {"a": warp.a.tolist(), "b": warp.b.tolist()}


def warp_of(state: Mapping[str, Sequence[float]] | None) -> Warp | None:
    """Return the warp that a history keeps."""
    return None if state is None else Warp(np.array(state["a"]), np.array(state["b"]))


def _inside(x: Floats) -> Floats:
    return np.clip(x, INSIDE, 1.0 - INSIDE)


def _log_rest(a: Floats, x: Floats) -> Floats:
    """Return ``log(1 - x^a)``."""
    with np.errstate(divide="ignore"):
        return np.asarray(np.log(-np.expm1(a * np.log(x))))


class WarpedEvidence:
    """The negative log posterior density of warp and hyperparameters together, with its gradient.

    Parameters
    ----------
    evidence : Evidence
        Of the points as they are.
    X : ndarray, shape (n, d)
        Those points.
    free : sequence of int
        Dimensions that may be warped: numbers.
    """

    def __init__(self, evidence: Evidence, X: Floats, free: Sequence[int]) -> None:
        self.evidence, self.X, self.free = evidence, X[:, list(free)], list(free)
        self.columns, self.rows = np.divmod(evidence.pairs.lower, len(X))

    def __call__(self, u: Floats) -> tuple[float, Floats]:
        """Return it at ``u``: ``log a`` and ``log b`` of the dimensions in ``free``, then ``theta``."""
        f, n = len(self.free), len(self.X)
        shape, theta = u[: 2 * f], u[2 * f :]
        warp = Warp(np.exp(shape[:f]), np.exp(shape[f:]))
        seen = warp(self.X)
        delta = self.evidence.pairs.delta.copy()
        across = np.ascontiguousarray(seen.T)
        delta[self.free] = (across[:, self.rows] - across[:, self.columns]) ** 2
        value, gradient, c = self.evidence.at(theta, delta)
        if not math.isfinite(value):
            return value, np.zeros_like(u)
        flat = np.zeros(n * n)
        flat[self.evidence.pairs.lower] = c
        half = flat.reshape(n, n)
        total = np.sum(half, axis=0) + np.sum(half, axis=1)
        by_seen = 2.0 * np.exp(theta[self.free]) * (total[:, None] * seen - half @ seen - half.T @ seen)
        by_shape = [-np.sum(by_seen * by, axis=0) for by in warp.by_parameters(self.X)]
        away = shape / DEVIATION
        return value + 0.5 * float(away @ away), np.concatenate([np.concatenate(by_shape) + away / DEVIATION, gradient])
