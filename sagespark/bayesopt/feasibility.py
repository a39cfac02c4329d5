"""How likely an evaluation is to succeed, learned from those that failed.

Labels +1 (a value came) and -1 (failed) are regressed by one Gaussian process, with ``mu``, ``sigma`` at a point and
the fitted noise ``s2``; the chance that the label there is positive, about the zero between them, is

    P = Phi(mu / sqrt(sigma^2 + s2))                                                          (1)

Expected improvement is multiplied by it (Gardner et al., Bayesian Optimization with Inequality Constraints, ICML 2014,
eq. 5). Regression on labels is the least-squares classification of Rasmussen and Williams 2006, section 6.5. Failures
that have nothing to do with the configuration are noise to it, and P is then the same everywhere.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.optimize import minimize
from scipy.special import log_ndtr

from sagespark.bayesopt.data import Data
from sagespark.bayesopt.evidence import Evidence, Pairs
from sagespark.bayesopt.outputs import Transformed
from sagespark.bayesopt.posterior import Posteriors, condition
from sagespark.bayesopt.priors import Prior
from sagespark.bayesopt.scaling import Floats

STEPS = 20


class Feasibility:
    """The chance of success, eq. 1, for given hyperparameters."""

    def __init__(self, data: Data, theta: Sequence[float]) -> None:
        X, labels = _labels(data)
        nothing = np.empty((0, X.shape[1]))
        self.posteriors: Posteriors = condition(X, labels[None], nothing, data.space.categorical, np.array([theta]))

    def log_probability(self, points: Floats) -> Floats:
        """Return ``log P`` at (S, d) points."""
        mu, sigma = self.posteriors.moments(points)
        return np.asarray(log_ndtr(mu / np.sqrt(sigma**2 + self.posteriors.noise))[:, 0])

    def gradient(self, points: Floats) -> tuple[Floats, Floats]:
        """Return ``log P`` and its gradient, shapes (S,) and (S, d)."""
        mu, sigma, dmu, dsigma = self.posteriors.gradients(points)
        width = np.sqrt(sigma**2 + self.posteriors.noise)
        u = mu / width
        value = log_ndtr(u)
        hazard = np.exp(-0.5 * u * u - 0.5 * np.log(2.0 * np.pi) - value)  # phi / Phi
        du = dmu / width[:, :, None] - (u * sigma / width**2)[:, :, None] * dsigma
        return value[:, 0], (hazard[:, :, None] * du)[:, 0]


def fit(data: Data, previous: Sequence[float] | None) -> list[float]:
    """Return the hyperparameters of the process of labels."""
    X, labels = _labels(data)
    prior = Prior("short", "raw", data.space.categorical)
    transformed = Transformed(labels, np.zeros_like(labels), 0.0, 0.0, 0.0, 1.0)
    evidence = Evidence(
        Pairs(X, data.space.categorical, np.zeros(len(X), dtype=np.int64)), lambda t: transformed, prior
    )
    start = prior.start if previous is None else np.asarray(previous)
    found = minimize(evidence, start, jac=True, method="L-BFGS-B", bounds=prior.bounds, options={"maxiter": STEPS})
    return list(found.x.tolist())


def _labels(data: Data) -> tuple[Floats, Floats]:
    mine = data.own | data.failed
    return data.X[mine], np.where(data.failed[mine], -1.0, 1.0)
