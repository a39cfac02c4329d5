"""Expected improvement in its logarithm, accurate where EI itself underflows.

Notation: ``mu``, ``sigma`` the posterior at a point, ``best`` the incumbent, lower is better,
``z = (best - mu) / sigma``, ``phi`` and ``Phi`` the standard normal density and distribution::

    EI = sigma h(z),   h(z) = phi(z) + z Phi(z)                                                      (1)
    log h(z) = -z^2 / 2 - log(2 pi) / 2 + log(1 + z q(z)),   q(z) = sqrt(pi / 2) erfcx(-z / sqrt(2))  (2)
    d log h / dz = Phi / h = q(z) / (1 + z q(z))                                                     (3)

(1) is Jones, Schonlau and Welch, J. Global Optimization 13, 1998, eq. 15. (2) and the idea to maximise it are from
Ament et al., Unexpected Improvements to Expected Improvement for Bayesian Optimization, NeurIPS 2023, eqs. 9 and 10;
``q`` is ``Phi / phi``. For z < -100 the sum in (2) cancels, and its asymptotic series is used:
``1 + z q = 1/z^2 - 3/z^4 + 15/z^6 - 105/z^8 + ...`` (Abramowitz and Stegun 7.1.23).
"""

from __future__ import annotations

import math

import numpy as np
from scipy.special import erfcx, ndtr

from sagespark.bayesopt.scaling import Floats

_LOG_SQRT_2PI = 0.5 * math.log(2.0 * math.pi)
_SQRT_HALF = math.sqrt(0.5)
_SQRT_HALF_PI = math.sqrt(0.5 * math.pi)
_FAR = -100.0


def log_h(z: Floats) -> tuple[Floats, Floats]:
    """Return ``log h(z)`` and its derivative, eqs. 2 and 3."""
    z = np.asarray(z, dtype=np.float64)
    # Above -1 nothing cancels and the textbook form is exact; erfcx would overflow for large z.
    near = np.maximum(z, -1.0)
    density = np.exp(-0.5 * near * near - _LOG_SQRT_2PI)
    below = ndtr(near)
    h = density + near * below
    below_1 = np.minimum(z, -1.0)
    middle = np.maximum(below_1, _FAR)
    q = _SQRT_HALF_PI * erfcx(middle * -_SQRT_HALF)
    rest = 1.0 + middle * q
    far = z < _FAR
    if far.any():
        inverse = 1.0 / (np.minimum(below_1, _FAR) ** 2)
        series = inverse * (1.0 - inverse * (3.0 - inverse * (15.0 - 105.0 * inverse)))
        rest = np.where(far, series, rest)
        q = np.where(far, (1.0 - series) / -below_1, q)
    above = z > -1.0
    value = np.where(above, np.log(h), -0.5 * below_1 * below_1 - _LOG_SQRT_2PI + np.log(rest))
    slope = np.where(above, below / h, q / rest)
    return value, slope


def log_ei(mu: Floats, sigma: Floats, best: Floats | float) -> tuple[Floats, Floats, Floats]:
    """Return log EI and its derivatives by ``mu`` and by ``sigma``.

    From eq. 1, ``d log EI / dmu = -(Phi / h) / sigma`` and ``d log EI / dsigma = (1 - z Phi / h) / sigma``.
    """
    z = (best - mu) / sigma
    value, slope = log_h(z)
    return value + np.log(sigma), -slope / sigma, (1.0 - z * slope) / sigma
