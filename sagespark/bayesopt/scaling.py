"""The four scalings of a parameter range, as maps between its values and the unit interval.

Notation: ``x`` a value in [low, high], ``u`` its unit coordinate in [0, 1].
A scaling ``g`` is strictly increasing on the range, and ``u = (g(x) - g(low)) / (g(high) - g(low))``.

The names and their conditions are those of the service's ``ScalingType`` (CreateHyperParameterTuningJob):
``Logarithmic`` needs ``low > 0``; ``ReverseLogarithmic`` needs ``0 <= low`` and ``high < 1``.
"""

from __future__ import annotations

from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Scaling = Literal["Auto", "Linear", "Logarithmic", "ReverseLogarithmic"]
SCALINGS: tuple[str, ...] = get_args(Scaling)

AUTO_RATIO = 100.0
"""``Auto`` is logarithmic where the range spans at least this ratio: two decades."""


def resolve(scaling: str, low: float, high: float) -> str:
    """Return the scaling that ``Auto`` stands for on [low, high]; any other is returned as it is.

    A range over two decades or more is searched on its logarithm. So is, from the other end, one that lies below 1
    and whose distance to 1 spans two decades, such as a momentum in [0.5, 0.999].
    """
    if scaling != "Auto":
        return scaling
    if low > 0 and high / low >= AUTO_RATIO:
        return "Logarithmic"
    if low >= 0 and high < 1 and (1 - low) / (1 - high) >= AUTO_RATIO:
        return "ReverseLogarithmic"
    return "Linear"


def problem(scaling: str, low: float, high: float) -> str | None:
    """Return why ``scaling`` cannot be used on [low, high], or None."""
    if scaling not in SCALINGS:
        return f"scaling must be one of {', '.join(map(repr, SCALINGS))}, but got {scaling!r}"
    if scaling == "Logarithmic" and not low > 0:
        return f"scaling='Logarithmic' needs minValue > 0, but got minValue={low!r}"
    if scaling == "ReverseLogarithmic" and not (low >= 0 and high < 1):
        return (
            f"scaling='ReverseLogarithmic' needs 0 <= minValue and maxValue < 1, but got minValue={low!r}, "
            f"maxValue={high!r}"
        )
    return None


def forward(scaling: str, x: Any) -> Any:
    """Return ``g(x)`` for a number or an array; ``scaling`` is resolved already."""
    if scaling == "Logarithmic":
        return np.log(x)
    if scaling == "ReverseLogarithmic":
        return -np.log1p(-np.asarray(x, dtype=np.float64))
    return np.asarray(x, dtype=np.float64)


def backward(scaling: str, g: Any) -> Any:
    """Return ``x`` with ``g(x) = g``; the inverse of :func:`forward`."""
    if scaling == "Logarithmic":
        return np.exp(g)
    if scaling == "ReverseLogarithmic":
        return -np.expm1(-np.asarray(g, dtype=np.float64))
    return np.asarray(g, dtype=np.float64)
