"""Gaussian-process posteriors over one set of points, several at once.

Notation: ``M`` posteriors with hyperparameters of their own share ``n`` points ``X`` of shape (n, d); ``S`` query
points, all of the own task. With ``k`` the covariances between a query and the points, and ``K``, ``a``, ``m`` as in
:mod:`sagespark.bayesopt.evidence`::

    mu = m_0 + k' a                                         (1)
    sigma2 = amplitude - k' K^-1 k                          (2)
    dmu/dx = (dk/dx)' a,   dsigma2/dx = -2 (dk/dx)' K^-1 k   (3)

Points are those of the encoded cube, everywhere. Where a warp is given (:mod:`sagespark.bayesopt.warping`), the kernel
sees them through it, and ``dk/dx`` has its slope as a factor; this module alone knows.

(1), (2): Rasmussen and Williams 2006, eqs. 2.25 and 2.26, about the constant mean; ``sigma2`` is the variance of the
function, without the noise of an observation.

A pending point is believed to have the value that the posterior mean gives it (the Kriging believer of Ginsbourger, Le
Riche and Carraro, 2010, algorithm 2). Such a point has ``a = 0``: it leaves the mean as it is and takes variance away,
almost as an observation would. What else its value may be is seen to where the next point is chosen
(:mod:`sagespark.bayesopt.improvement`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.linalg.lapack import dpotrf, dpotri

from sagespark.bayesopt.evidence import MERGED, centre, correlations, design
from sagespark.bayesopt.kernel import deltas, matern52, squares
from sagespark.bayesopt.scaling import Floats
from sagespark.bayesopt.warping import Warp

BELIEF = 1e-6
"""Variance of a believed value, as a share of the amplitude: as good as an observation, and K keeps its inverse."""
SMALLEST = 1e-14
"""Floor of ``sigma2``, against rounding at the observed points."""


@dataclass(frozen=True, eq=False)
class Posteriors:
    """``M`` posteriors; build them with :func:`condition`."""

    X: Floats
    """(n, d) points: observed ones, then pending ones."""
    categorical: tuple[bool, ...]
    weights: Floats
    """(M, d) inverse squared length scales."""
    amplitude: Floats
    """(M,)"""
    noise: Floats
    """(M,)"""
    relation: Floats
    """(M, n) amplitude, times the correlation of the point's task with the own one."""
    mean: Floats
    """(M,) constant means of the own task."""
    a: Floats
    """(M, n)"""
    inverse: Floats
    """(M, n, n) inverses of K."""
    pending: int = 0
    """How many of the points, the last ones, are pending."""
    warp: Warp | None = None
    """What the kernel sees points through; None: as they are."""

    @cached_property
    def seen(self) -> Floats:
        """(n, d) points as the kernel sees them."""
        return self.X if self.warp is None else self.warp(self.X)

    @property
    def observed_precision(self) -> Floats:
        """Diagonals of the inverses of K among observed points alone, shape (M, n - pending).

        By the inverse of a partitioned matrix (Rasmussen and Williams 2006, eq. A.12).
        """
        n = self.inverse.shape[1] - self.pending
        diagonal = self.inverse[:, np.arange(n), np.arange(n)]
        if not self.pending:
            return diagonal
        across = self.inverse[:, :n, n:]
        return np.asarray(diagonal - np.sum(across * (across @ np.linalg.inv(self.inverse[:, n:, n:])), axis=2))

    def covariances(self, points: Floats) -> Floats:
        """Return ``k`` of (S, d) points, shape (M, S, n)."""
        seen = points if self.warp is None else self.warp(points)
        # Flat in S and n: a matrix product for each posterior instead of one for each point.
        delta = deltas(seen[:, None, :], self.seen[None, :, :], self.categorical)
        S, n, d = delta.shape
        r2 = self.weights @ delta.reshape(S * n, d).T
        return matern52(r2)[0].reshape(len(self.weights), S, n) * self.relation[:, None, :]

    def covariance_gradients(self, points: Floats) -> tuple[Floats, Floats, Floats, Floats]:
        """Return what the gradients at (S, d) points are made of.

        ``k`` and its derivative by the squared distance (M, S, n), the differences of points (S, n, d), with the warp's
        slope as a factor, and what these are multiplied with in the derivative of the squared distance by the point
        (M, d), which is 0 along categories.
        """
        seen = points if self.warp is None else self.warp(points)
        difference = seen[:, None, :] - self.seen[None, :, :]
        delta = squares(difference, self.categorical)
        if self.warp is not None:
            difference *= self.warp.slope(points)[:, None, :]
        S, n, d = delta.shape
        k, dk = matern52(self.weights @ delta.reshape(S * n, d).T)
        shape, relation = (len(self.weights), S, n), self.relation[:, None, :]
        scale = 2.0 * self.weights * ~np.array(self.categorical)
        return k.reshape(shape) * relation, dk.reshape(shape) * relation, difference, scale

    def deviation(self, k: Floats, u: Floats) -> Floats:
        """Return ``sigma`` (M, S) for ``k`` and ``u = k' K^-1``."""
        return np.asarray(np.sqrt(np.maximum(self.amplitude[:, None] - np.sum(u * k, axis=2), SMALLEST)))

    def moments(self, points: Floats) -> tuple[Floats, Floats]:
        """Return ``mu`` and ``sigma`` at (S, d) points, each of shape (S, M)."""
        k = self.covariances(points)
        mu = self.mean[:, None] + (k @ self.a[:, :, None])[:, :, 0]
        return mu.T, self.deviation(k, k @ self.inverse).T

    def gradients(self, points: Floats) -> tuple[Floats, Floats, Floats, Floats]:
        """Return ``mu``, ``sigma`` (S, M) and their derivatives by the point (S, M, d); 0 along categories."""
        k, dk, difference, scale = self.covariance_gradients(points)
        u = k @ self.inverse
        mu = self.mean[:, None] + (k @ self.a[:, :, None])[:, :, 0]
        sigma = self.deviation(k, u)
        dmu = ((dk * self.a[:, None, :])[:, :, None, :] @ difference)[:, :, 0, :] * scale[:, None, :]
        dsigma = -((dk * u)[:, :, None, :] @ difference)[:, :, 0, :] * scale[:, None, :] / sigma[:, :, None]
        return mu.T, sigma.T, dmu.transpose(1, 0, 2), dsigma.transpose(1, 0, 2)


def condition(
    X: Floats,
    z: Floats,
    pending: Floats,
    categorical: tuple[bool, ...],
    thetas: Floats,
    tasks: NDArray[np.int64] | None = None,
    offsets: Sequence[float] = (),
    warp: Warp | None = None,
) -> Posteriors:
    """Return the posteriors given observations and pending points.

    Parameters
    ----------
    X : ndarray, shape (n, d)
        Observed points.
    z : ndarray, shape (M, n)
        Transformed outputs, one row for each posterior.
    pending : ndarray, shape (p, d)
        Points of the own task without an output yet.
    categorical : tuple of bool
        Dimensions that are categories.
    thetas : ndarray, shape (M, d + 3 + T)
        Hyperparameters, laid out as in :mod:`sagespark.bayesopt.evidence`.
    tasks : ndarray of int, shape (n,)
        Task of each observation; None: the own one.
    offsets : sequence of float
        Prior deviation of each other task's level from the own one.
    warp : Warp or None
        What the kernel sees points through.
    """
    n, d = X.shape
    points = np.concatenate([X, pending])
    seen = points if warp is None else warp(points)
    total, count = len(points), len(thetas)
    own = np.zeros(total, dtype=np.int64)
    if tasks is not None:
        own[:n] = tasks
    weights, amplitude, noise = np.exp(thetas[:, :d]), np.exp(thetas[:, d]), np.exp(thetas[:, d + 1])
    r = correlations(thetas[:, d + 3 :])[:, own]
    delta = deltas(seen[:, None, :], seen[None, :, :], categorical).reshape(total * total, d)
    k = matern52(weights @ delta.T)[0].reshape(count, total, total)
    mean, a, inverse = np.empty(count), np.zeros((count, total)), np.empty((count, total, total))
    diagonal = np.arange(total)
    for i in range(count):
        K = k[i] * amplitude[i]
        if tasks is not None:
            K *= np.where(own[:, None] == own[None, :], 1.0, r[i][:, None] * r[i][None, :])
        K[diagonal, diagonal] += noise[i]
        K[diagonal[n:], diagonal[n:]] += BELIEF * amplitude[i]
        L = lower_factor(K)
        # The leading block of the factor is the factor of the observed block.
        H = design(own[:n], np.where(thetas[i, d + 3 :] >= MERGED, 0.0, offsets).tolist())
        m, a[i, :n] = centre(np.asfortranarray(L[:n, :n]), z[i], H)
        mean[i] = m[0]
        half = np.tril(dpotri(L, lower=1)[0])
        inverse[i] = half + half.T
        inverse[i][diagonal, diagonal] *= 0.5
    relation = r * amplitude[:, None]
    return Posteriors(points, categorical, weights, amplitude, noise, relation, mean, a, inverse, len(pending), warp)


def lower_factor(K: Floats) -> Floats:
    """Return the lower factor of K, with as little added to its diagonal as makes it positive definite."""
    jitter = 0.0
    while True:
        L, info = dpotrf(K + jitter * np.eye(len(K)), lower=1)
        if info == 0:
            return np.asarray(L)
        jitter = max(10.0 * jitter, 1e-10 * float(np.max(np.diag(K))))
