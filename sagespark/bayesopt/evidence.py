"""The log posterior density of a model's hyperparameters, with its gradient.

Notation: ``n`` observations, ``d`` dimensions, ``T`` other tasks, ``z`` the transformed outputs (:mod:`outputs`), and
``theta`` of shape (d + 3 + T,): ``log w_j``, ``log amplitude``, ``log noise``, ``t``, ``atanh r_1 .. atanh r_T``. With
``b = 1`` for two observations of one task, else ``r r'`` of their tasks, where the own task has ``r = 1``::

    K = amplitude b k(x, x') + noise I                                                             (1)
    m = (H' K^-1 H + I)^-1 H' K^-1 z                                                               (2)
    log p(z) = -(z - H m)' K^-1 (z - H m) / 2 - m' m / 2 - log|K| / 2 - n log(2 pi) / 2            (3)
    d log p / d theta_i = tr((a a' - K^-1) dK / d theta_i) / 2,   a = K^-1 (z - H m)               (4)
    d log p / dz = -a                                                                              (5)

The columns of ``H`` are a constant and, scaled by how far its level is expected to be from the own one, an indicator of
each other task; their coefficients ``m`` have standard normal priors. (1), (3), (4): Rasmussen and Williams 2006, eqs.
2.20, 5.8, 5.9. (2) maximises (3), so (4) needs no term for it. ``b`` is the coregionalisation of Bonilla, Chai and
Williams, Multi-task Gaussian Process Prediction, NeurIPS 2007, eq. 2, with one latent factor and unit variances.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg.lapack import dpotrf, dpotri, dpotrs

from sagespark.bayesopt.kernel import deltas, matern52
from sagespark.bayesopt.outputs import Transformed
from sagespark.bayesopt.scaling import Floats

MERGED = 6.0
"""``atanh r`` of a task that is taken for the own one: ``r = 1``, and no difference in level."""
Density = Callable[[Floats], tuple[float, Floats]]
"""Log density of ``theta`` up to a constant, and its gradient."""


class Pairs:
    """What does not depend on hyperparameters, of every pair of observations ``i > j``.

    Parameters
    ----------
    X : ndarray, shape (n, d)
        Points of the encoded cube.
    categorical : tuple of bool
        Dimensions that are categories.
    tasks : ndarray of int, shape (n,)
        0 for the own task, 1 to T for others.
    offsets : sequence of float
        Prior deviation of each other task's level from the own one.
    """

    def __init__(
        self, X: Floats, categorical: tuple[bool, ...], tasks: NDArray[np.int64], offsets: Sequence[float] = ()
    ) -> None:
        self.n = n = len(X)
        rows, columns = np.tril_indices(n, -1)
        self.delta: Floats = np.ascontiguousarray(deltas(X[rows], X[columns], categorical).T)
        """(d, n (n - 1) / 2)"""
        self.lower = rows + columns * n  # positions in a column-major matrix, as LAPACK wants it
        self.diagonal = np.arange(n) * (n + 1)
        self.others = len(offsets)
        self.H = design(tasks, offsets)
        if self.others:
            self.first, self.second = tasks[rows], tasks[columns]
            self.apart = self.first != self.second


def correlations(atanh_r: Floats) -> Floats:
    """Return ``r`` of every task, the own one first: shape (..., 1 + T) for (..., T). At ``MERGED``, ``r`` is 1."""
    r = np.where(atanh_r >= MERGED, 1.0, np.tanh(atanh_r))
    return np.concatenate([np.ones((*r.shape[:-1], 1)), r], axis=-1)


def design(tasks: NDArray[np.int64], offsets: Sequence[float]) -> Floats:
    """Return ``H``, shape (n, 1 + T)."""
    indicators = np.eye(len(offsets) + 1)[tasks][:, 1:] * np.asarray(offsets, dtype=np.float64)
    return np.concatenate([np.ones((len(tasks), 1)), indicators], axis=1)


class Evidence:
    """Evaluates the negative log posterior density for one transformation of the outputs and one prior.

    Parameters
    ----------
    pairs : Pairs
    transform : callable
        Gives the transformed outputs for a ``t``.
    prior : callable
        Log density of ``theta``.
    """

    def __init__(self, pairs: Pairs, transform: Callable[[float], Transformed], prior: Density) -> None:
        self.pairs, self.transform, self.prior = pairs, transform, prior

    def __call__(self, theta: Floats) -> tuple[float, Floats]:
        """Return the negative log posterior density and its gradient; infinite where K is not positive definite."""
        value, gradient, _ = self.at(theta, self.pairs.delta)
        return value, gradient

    def at(self, theta: Floats, delta: Floats) -> tuple[float, Floats, Floats]:
        """Return the same for other ``delta_j`` (d, n (n - 1) / 2) of the pairs, and what it tells of distances.

        The third is the derivative of the log density, not the negative, by the squared distance of each pair.
        """
        pairs = self.pairs
        d, n = len(delta), pairs.n
        w = np.exp(theta[:d])
        amplitude, noise = math.exp(theta[d]), math.exp(theta[d + 1])
        outputs = self.transform(float(theta[d + 2]))
        k, dk = matern52(w @ delta)
        if pairs.others:
            r = correlations(theta[d + 3 :])
            b = np.where(pairs.apart, r[pairs.first] * r[pairs.second], 1.0)
            plain = amplitude * k
            k, dk = k * b, dk * b
        k *= amplitude
        K = np.zeros(n * n)
        K[pairs.lower] = k
        K[pairs.diagonal] = amplitude + noise
        L, info = dpotrf(K.reshape(n, n).T, lower=1, clean=0, overwrite_a=1)
        if info:
            return math.inf, np.zeros_like(theta), np.zeros_like(k)
        m, a = centre(L, outputs.z, pairs.H)
        log_det = 2.0 * float(np.sum(np.log(L.T.ravel()[pairs.diagonal])))
        value = -0.5 * float((outputs.z - pairs.H @ m) @ a) - 0.5 * float(m @ m) - 0.5 * log_det + outputs.logJ
        inverse = dpotri(L, lower=1, overwrite_c=1)[0].T.ravel()
        q = np.outer(a, a).ravel()[pairs.lower] - inverse[pairs.lower]
        trace = float(a @ a - np.sum(inverse[pairs.diagonal]))
        gradient = np.empty_like(theta)
        by_distance = q * dk
        gradient[:d] = amplitude * w * (delta @ by_distance)
        gradient[d] = q @ k + 0.5 * amplitude * trace
        gradient[d + 1] = 0.5 * noise * trace
        gradient[d + 2] = -float(a @ outputs.dz) + outputs.dlogJ
        for t in range(1, pairs.others + 1):
            # d (r_t r_u) / d r_t = r_u, for pairs of task t with a task u.
            other = np.where(pairs.first == t, r[pairs.second], np.where(pairs.second == t, r[pairs.first], 0.0))
            gradient[d + 2 + t] = float((q * plain) @ np.where(pairs.apart, other, 0.0)) * (1.0 - r[t] ** 2)
        log_prior, slope = self.prior(theta)
        return -(value + log_prior), -(gradient + slope), amplitude * by_distance


def centre(L: Any, z: Floats, H: Floats) -> tuple[Floats, Floats]:
    """Return ``m`` of eq. 2 and ``a`` of eq. 4 from the lower factor of K."""
    solved = dpotrs(L, np.concatenate([z[:, None], H], axis=1), lower=1)[0]
    if H.shape[1] == 1:
        m = H.T @ solved[:, 0] / (float(H[:, 0] @ solved[:, 1]) + 1.0)
    else:
        m = np.linalg.solve(H.T @ solved[:, 1:] + np.eye(H.shape[1]), H.T @ solved[:, 0])
    return m, solved[:, 0] - solved[:, 1:] @ m
