"""Output transformations: monotone maps that make the objective look more like a Gaussian process.

Notation: ``v`` of shape (n,) are objective values, smaller is better, centred and scaled robustly (:func:`scale`);
``t`` is the shape parameter of a family, ``T`` the transformed values, ``z = (T - mean T) / std T`` what the Gaussian
process sees. ``log J = sum log dz/dv`` is what a change of variables adds to the log evidence, so that values of ``t``
(and families) can be compared on the same data:

======== ============================================================== ==========================
family   T(v)                                                            identity at
======== ============================================================== ==========================
raw      v                                                               always
power    Yeo and Johnson, Biometrika 87, 2000, eq. 1, with lambda = t    t = 1
shift    log(1 + e^t (v - min v)): a logarithm that starts at the best   t -> -infinity
======== ============================================================== ==========================

Values of several objectives (tasks) are transformed in groups, each with a minimum, a mean and a deviation of its own.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from sagespark.bayesopt.scaling import Floats

Family = Literal["raw", "power", "shift"]
WORST = 6.0
"""Values further above the median than this many robust deviations are moved there (winsorised)."""
FEW = 4
"""A group with fewer values has no deviation to speak of and takes that of all values."""


@dataclass(frozen=True)
class Scale:
    """A robust affine map from the objective to ``v``."""

    centre: float
    width: float

    def __call__(self, y: Floats) -> Floats:
        """Return ``v``, values above the ceiling moved to it."""
        return np.asarray(np.minimum((y - self.centre) / self.width, WORST))

    def inverse(self, v: Floats) -> Floats:
        """Return ``y``."""
        return v * self.width + self.centre


def scale(y: Floats) -> Scale:
    """Return the scale of (n,) values: the median, and what the quartiles and the best value say of the deviation."""
    low, middle, high = (float(q) for q in np.quantile(y, (0.25, 0.5, 0.75)))
    # 1.349 deviations lie between a normal distribution's quartiles. Where half of the values are equal they say
    # nothing, and the best value does.
    width = max((high - low) / 1.349, (middle - float(np.min(y))) / 3.0, 1e-12 * max(abs(middle), 1e-300))
    return Scale(middle, width)


@dataclass(frozen=True)
class Transformed:
    """Transformed values and what the evidence needs of them."""

    z: Floats
    dz: Floats
    """Derivative of ``z`` by ``t``."""
    logJ: float
    dlogJ: float
    mean: float
    """Mean of ``T`` over the first group."""
    std: float
    """Deviation of ``T`` over the first group."""


def transform(family: Family, t: float, v: Floats, groups: NDArray[np.int64] | None = None) -> Transformed:
    """Apply a family to (n,) values ``v``; ``groups`` numbers the group of each from 0 (None: one group)."""
    members = [slice(None)] if groups is None or not np.any(groups) else _members(groups)
    if family == "power":
        T, dT, logJ, dlogJ = _power(t, v)
    elif family == "shift":
        w = np.empty_like(v)
        for inside in members:
            w[inside] = v[inside] - np.min(v[inside], initial=np.inf)
        T, dT, logJ, dlogJ = _shift(t, w)
    else:
        T, dT, logJ, dlogJ = v, np.zeros_like(v), 0.0, 0.0
    z, dz, first = np.empty_like(v), np.empty_like(v), (0.0, 1.0)
    for g, inside in enumerate(members):
        count = len(T[inside])
        of = inside if count >= FEW else slice(None)
        # The sums that np.mean makes, without what it asks first: this is called at every step of every fit.
        n = len(T[of])
        mean, dmean = float(np.add.reduce(T[of])) / n, float(np.add.reduce(dT[of])) / n
        centred = T[of] - mean
        std = max(math.sqrt(float(np.add.reduce(centred * centred)) / n), 1e-12)
        dstd = float(np.add.reduce(centred * dT[of])) / n / std
        z[inside] = (T[inside] - mean) / std
        dz[inside] = (dT[inside] - dmean - z[inside] * dstd) / std
        logJ, dlogJ = logJ - count * math.log(std), dlogJ - count * dstd / std
        first = (mean, std) if g == 0 else first
    return Transformed(z, dz, logJ, dlogJ, *first)


def _members(groups: NDArray[np.int64]) -> list[Any]:
    return [groups == g for g in range(int(np.max(groups)) + 1)]


def _power(t: float, v: Floats) -> tuple[Floats, Floats, float, float]:
    """Return T, dT/dt, sum log dT/dv and its derivative by t, of Yeo and Johnson's family."""
    sign = np.where(v >= 0, 1.0, -1.0)
    lam = np.where(v >= 0, t, 2.0 - t)
    m = np.log1p(np.abs(v))
    # T = sign (e^(lam m) - 1) / lam; d lam / dt is the sign too, so dT/dt has none.
    x = lam * m
    small = np.abs(x) < 1e-4
    safe = np.where(small, 1.0, lam)
    value = np.where(small, m * (1.0 + x / 2.0 + x * x / 6.0), np.expm1(x) / safe)
    slope = np.where(small, m * m * (0.5 + x / 3.0), (m * np.exp(x) - value) / safe)
    log_slope = float(np.sum(sign * m))
    return sign * value, slope, (t - 1.0) * log_slope, log_slope


def _shift(t: float, w: Floats) -> tuple[Floats, Floats, float, float]:
    """Return T, dT/dt, sum log dT/dv and its derivative by t, of the shifted logarithm; ``w = v - min v``."""
    r = np.exp(t) * w
    T = np.log1p(r)
    return T, r / (1.0 + r), float(len(w) * t - np.sum(T)), float(np.sum(1.0 / (1.0 + r)))


def forward(family: Family, t: float, v: Floats, lowest: float) -> Floats:
    """Return ``T(v)``, where ``lowest`` is the least ``v`` observed; below it ``shift`` goes on with its slope."""
    if family == "raw":
        return v
    if family == "power":
        return _power(t, v)[0]
    w = np.exp(t) * (v - lowest)
    return np.asarray(np.where(w >= 0, np.log1p(np.maximum(w, 0.0)), w))


def inverse(family: Family, t: float, T: Floats, lowest: float) -> Floats:
    """Return ``v`` with ``T(v) = T``, where ``lowest`` is the least ``v`` observed.

    Outside the image of a family, which no observation can reach, it goes on: ``shift`` with its slope at the minimum,
    ``power`` with the end of its image.
    """
    if family == "raw":
        return T
    if family == "shift":
        return np.asarray(lowest + np.where(T >= 0, np.expm1(np.clip(T, 0.0, 700.0)), T) * np.exp(-t))
    lam = np.where(T >= 0, t, 2.0 - t)
    a = np.abs(T)
    straight = np.abs(lam) < 1e-8
    safe = np.where(straight, 1.0, lam)
    m = np.where(straight, a, np.log1p(np.maximum(safe * a, -1.0 + 1e-9)) / safe)
    return np.asarray(np.where(T >= 0, 1.0, -1.0) * np.expm1(np.minimum(m, 700.0)))
