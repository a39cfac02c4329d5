"""Log expected improvement while results are pending.

Notation as in :mod:`sagespark.bayesopt.posterior`; ``p`` of the points are pending and the last of all. Their values
are not known but their joint distribution is: normal about the posterior mean, with the covariance ``S`` that is the
inverse of their block of ``K^-1`` (the inverse of a partitioned matrix; Rasmussen and Williams 2006, eq. A.12). Each of
``F`` fantasies draws them, ``e = S^(1/2) u``, and conditions on them::

    a_f = a + K^-1 (0, e_f)                                                    (1)
    best_f = min(best, mu_f at the pending points)                             (2)
    log EI(x) = log mean_f EI(mu_f(x), sigma(x), best_f)                       (3)

(Snoek, Larochelle and Adams, Practical Bayesian Optimization of Machine Learning Algorithms, NeurIPS 2012, section
3.2.) The mean is of EI, not of its logarithm, which would be ruled by the fantasies that leave nothing to hope for;
``sigma`` is the same in all. ``u`` is a Sobol sequence through the normal distribution's quantiles.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from scipy.linalg import solve_triangular
from scipy.special import ndtri

from sagespark.bayesopt.logei import log_ei
from sagespark.bayesopt.posterior import Posteriors, lower_factor
from sagespark.bayesopt.scaling import Floats
from sagespark.bayesopt.sobol import sobol

FANTASIES = 64


@dataclass(frozen=True, eq=False)
class Improvement:
    """Eq. 3 for ``M`` posteriors; build with :func:`improvement`."""

    posteriors: Posteriors
    a: Floats
    """(M, F, n) ``a_f`` of eq. 1."""
    best: Floats
    """(M, F) incumbents of eq. 2."""

    def value(self, points: Floats) -> Floats:
        """Return the mean over posteriors of log EI at (S, d) points, shape (S,).

        Each posterior has units of its own, which a mean of logarithms cares nothing for.
        """
        k = self.posteriors.covariances(points)
        mu, sigma = self._moments(k, k @ self.posteriors.inverse)
        f = log_ei(mu, sigma[:, :, None], self.best[:, None, :])[0]
        top = np.max(f, axis=2)
        return np.asarray(np.mean(top + np.log(np.mean(np.exp(f - top[:, :, None]), axis=2)), axis=0))

    def gradient(self, points: Floats) -> tuple[Floats, Floats]:
        """Return the same with its gradient, shape (S, d)."""
        k, dk, difference, scale = self.posteriors.covariance_gradients(points)
        u = k @ self.posteriors.inverse
        mu, sigma = self._moments(k, u)
        f, by_mu, by_sigma = log_ei(mu, sigma[:, :, None], self.best[:, None, :])
        top = np.max(f, axis=2)
        share = np.exp(f - top[:, :, None])
        total = np.sum(share, axis=2)
        share /= total[:, :, None]
        # Every fantasy has the same sigma, and its mu is linear in a_f: their slopes add up before they meet dk.
        slope = (share * by_mu) @ self.a - (np.sum(share * by_sigma, axis=2) / sigma)[:, :, None] * u
        gradient = ((dk * slope)[:, :, None, :] @ difference[None])[:, :, 0, :] * scale[:, None, :]
        value = top + np.log(total / f.shape[2])
        return np.mean(value, axis=0), np.mean(gradient, axis=0)

    def _moments(self, k: Floats, u: Floats) -> tuple[Floats, Floats]:
        """Return ``mu`` (M, S, F) and ``sigma`` (M, S)."""
        mu = self.posteriors.mean[:, None, None] + k @ self.a.transpose(0, 2, 1)
        return mu, self.posteriors.deviation(k, u)


def improvement(posteriors: Posteriors, pending: int, best: Floats) -> Improvement:
    """Return the function for ``M`` posteriors whose last ``pending`` points are pending; ``best`` (M,) is observed."""
    if not pending:
        return Improvement(posteriors, posteriors.a[:, None, :], best[:, None])
    n = len(posteriors.X) - pending
    k = posteriors.covariances(posteriors.X[n:])
    a, incumbents = [], []
    for m, inverse in enumerate(posteriors.inverse):
        e = solve_triangular(lower_factor(inverse[n:, n:]), _normals(pending).T, lower=True, trans="T").T
        a.append(posteriors.a[m] + e @ inverse[n:])
        there = posteriors.mean[m] + k[m] @ a[-1].T
        incumbents.append(np.minimum(best[m], np.min(there, axis=0)))
    return Improvement(posteriors, np.array(a), np.array(incumbents))


@cache
def _normals(p: int) -> Floats:
    """Return (F, p) normal deviates, each column with mean 0 and deviation 1."""
    u = ndtri(np.clip(sobol(p, FANTASIES, [FANTASIES]), 1e-6, 1.0 - 1e-6))
    return np.asarray((u - np.mean(u, axis=0)) / np.std(u, axis=0))
