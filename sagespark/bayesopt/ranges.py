"""Parameter ranges: what one hyperparameter may be, and how its values lie on the unit interval.

Every range answers the same questions: is this a value (``check``), where does it lie (``to_unit``), which value lies
here (``from_unit``), how many values are there (``size``), which ones would a grid take (``levels``).

An integer range [low, high] covers [low - 1/2, high + 1/2] of its scale, so that every integer has an equal share of
the unit interval (on a linear scale) and a unit coordinate strictly inside it. The same holds for the positions of
categories. Sources: the relaxation and rounding of integers as in Perrone et al., arXiv 2012.08489, section 3.
"""

from __future__ import annotations

import math
import numbers
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from sagespark.bayesopt import scaling as scales
from sagespark.bayesopt.scaling import Floats, Scaling
from sagespark.core.errors import ValidationError

Value = float | int | str | bool | None
EXACT = 2.0**52
ALL_MOVES = 12
"""An integer range with at most that many values may be moved to any of them at once."""


def _number(value: Any) -> float | None:
    """Return ``value`` as a finite float, or None where it is none (booleans are no numbers here)."""
    if isinstance(value, bool | np.bool_) or not isinstance(value, numbers.Real | np.floating | np.integer):
        return None
    try:
        number = float(value)
    except OverflowError:  # an integer beyond the largest float
        return None
    return number if math.isfinite(number) else None


@dataclass(frozen=True)
class Continuous:
    """Real numbers from ``minValue`` to ``maxValue``, both included.

    Parameters
    ----------
    minValue, maxValue : float
        Bounds, finite, ``minValue <= maxValue``.
    scaling : {'Auto', 'Linear', 'Logarithmic', 'ReverseLogarithmic'}
        Scale on which the range is searched; ``Auto`` takes a logarithm where the range spans two decades.

    Raises
    ------
    ValidationError
        If the bounds or the scaling cannot be used.
    """

    minValue: float
    maxValue: float
    scaling: Scaling = "Auto"
    _scale: str = field(init=False, repr=False, compare=False)
    _span: tuple[float, float] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        low, high = _number(self.minValue), _number(self.maxValue)
        if low is None or high is None or low > high:
            raise ValidationError(
                f"minValue <= maxValue must hold for finite numbers, but got minValue={self.minValue!r}, "
                f"maxValue={self.maxValue!r}",
                "Continuous",
            )
        refused = scales.problem(self.scaling, low, high)
        if not refused and not math.isfinite(high - low):
            refused = f"maxValue - minValue must be finite, but got minValue={low!r}, maxValue={high!r}"
        if refused:
            raise ValidationError(refused, "Continuous")
        scale = scales.resolve(self.scaling, low, high)
        object.__setattr__(self, "minValue", low)
        object.__setattr__(self, "maxValue", high)
        object.__setattr__(self, "_scale", scale)
        object.__setattr__(self, "_span", (float(scales.forward(scale, low)), float(scales.forward(scale, high))))

    @property
    def scale(self) -> str:
        """The scaling in use: ``Auto`` resolved."""
        return self._scale

    @property
    def size(self) -> int | None:
        """Number of values: None, or 1 where both bounds are one."""
        return 1 if self.minValue == self.maxValue else None

    def check(self, value: Any) -> float:
        """Return ``value`` as a float; ValueError in words if it is not in the range."""
        number = _number(value)
        if number is None or not self.minValue <= number <= self.maxValue:
            raise ValueError(f"must be a number in [{self.minValue:g}, {self.maxValue:g}], but got {value!r}")
        return number

    def to_unit(self, value: float) -> float:
        """Return the unit coordinate of a value of the range."""
        low, high = self._span
        return 0.5 if low == high else float((scales.forward(self._scale, value) - low) / (high - low))

    def from_unit(self, u: float) -> float:
        """Return the value at unit coordinate ``u``; the ends of [0, 1] give the bounds exactly."""
        if u <= 0:
            return self.minValue
        if u >= 1:
            return self.maxValue
        low, high = self._span
        return min(max(float(scales.backward(self._scale, low + u * (high - low))), self.minValue), self.maxValue)

    def snap(self, u: Floats) -> Floats:
        """Return unit coordinates moved to those of values: here, clipped to [0, 1]."""
        return np.clip(u, 0.0, 1.0) if self._span[0] < self._span[1] else np.full(np.shape(u), 0.5)

    def moves(self, u: float, rng: np.random.Generator) -> list[float]:
        """Return none: gradients move a continuous value."""
        return []

    def levels(self, n: int) -> list[float]:
        """Return ``n`` values evenly spaced on the scale, bounds included (the middle alone for ``n = 1``)."""
        if self.size == 1:
            return [self.minValue]
        return [self.from_unit(u) for u in (np.linspace(0.0, 1.0, n) if n > 1 else [0.5])]


@dataclass(frozen=True)
class Integer:
    """Integers from ``minValue`` to ``maxValue``, both included.

    Parameters
    ----------
    minValue, maxValue : int
        Bounds, ``minValue <= maxValue``.
    scaling : {'Auto', 'Linear', 'Logarithmic'}
        Scale on which the range is searched; ``Auto`` takes a logarithm where the range spans two decades.

    Raises
    ------
    ValidationError
        If the bounds or the scaling cannot be used.
    """

    minValue: int
    maxValue: int
    scaling: Scaling = "Auto"
    _scale: str = field(init=False, repr=False, compare=False)
    _span: tuple[float, float] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        low, high = _number(self.minValue), _number(self.maxValue)
        if low is None or high is None or low != int(low) or high != int(high) or low > high:
            raise ValidationError(
                f"minValue <= maxValue must hold for integers, but got minValue={self.minValue!r}, "
                f"maxValue={self.maxValue!r}",
                "Integer",
            )
        if max(-low, high) > EXACT:
            raise ValidationError(
                f"minValue and maxValue must lie within 2**52 of 0, where floats tell halves apart, but got "
                f"minValue={self.minValue!r}, maxValue={self.maxValue!r}",
                "Integer",
            )
        if self.scaling == "ReverseLogarithmic":
            raise ValidationError("scaling='ReverseLogarithmic' is for Continuous ranges only", "Integer")
        refused = scales.problem(self.scaling, low, high)
        if refused:
            raise ValidationError(refused, "Integer")
        # Resolved on (low, high), but never to ReverseLogarithmic: no two integers lie in [0, 1).
        scale = scales.resolve(self.scaling, low, high)
        span = (float(scales.forward(scale, low - 0.5)), float(scales.forward(scale, high + 0.5)))
        object.__setattr__(self, "minValue", int(self.minValue))
        object.__setattr__(self, "maxValue", int(self.maxValue))
        object.__setattr__(self, "_scale", scale)
        object.__setattr__(self, "_span", span)

    @property
    def scale(self) -> str:
        """The scaling in use: ``Auto`` resolved."""
        return self._scale

    @property
    def size(self) -> int:
        """Number of values."""
        return self.maxValue - self.minValue + 1

    def check(self, value: Any) -> int:
        """Return ``value`` as an int; ValueError in words if it is not in the range."""
        number = _number(value)
        if number is None or number != int(number) or not self.minValue <= number <= self.maxValue:
            raise ValueError(f"must be an integer in [{self.minValue}, {self.maxValue}], but got {value!r}")
        return int(value)

    def to_unit(self, value: int) -> float:
        """Return the unit coordinate of a value of the range."""
        low, high = self._span
        return float((scales.forward(self._scale, value) - low) / (high - low))

    def from_unit(self, u: float) -> int:
        """Return the value whose share of [0, 1] holds ``u``."""
        low, high = self._span
        x = float(scales.backward(self._scale, low + min(max(u, 0.0), 1.0) * (high - low)))
        return min(max(math.floor(x + 0.5), self.minValue), self.maxValue)

    def snap(self, u: Floats) -> Floats:
        """Return unit coordinates moved to those of the integers whose shares hold them."""
        low, high = self._span
        x = scales.backward(self._scale, low + np.clip(u, 0.0, 1.0) * (high - low))
        n = np.clip(np.floor(x + 0.5), self.minValue, self.maxValue)
        return np.asarray((scales.forward(self._scale, n) - low) / (high - low), dtype=np.float64)

    def moves(self, u: float, rng: np.random.Generator) -> list[float]:
        """Return unit coordinates to move to from ``u``: all, or powers of two away and a few random ones."""
        here = self.from_unit(u)
        if self.size <= ALL_MOVES:
            values = set(range(self.minValue, self.maxValue + 1))
        else:
            values = {here + sign * 2**i for sign in (-1, 1) for i in range(4)}
            values |= {self.from_unit(float(r)) for r in rng.random(4)}
        return [self.to_unit(v) for v in sorted(values - {here}) if self.minValue <= v <= self.maxValue]

    def levels(self, n: int) -> list[int]:
        """Return at most ``n`` integers spread over the scale, bounds included, each once, in order."""
        if n >= self.size:
            return list(range(self.minValue, self.maxValue + 1))
        if n == 1:
            return [self.from_unit(0.5)]
        ends = scales.forward(self._scale, np.array([self.minValue, self.maxValue], dtype=np.float64))
        points = scales.backward(self._scale, np.linspace(ends[0], ends[1], n))
        return sorted({math.floor(p + 0.5) for p in points})


@dataclass(frozen=True)
class Categorical:
    """One of a list of values without order.

    Parameters
    ----------
    values : sequence of str, int, float, bool or None
        The categories, each once.

    Raises
    ------
    ValidationError
        If there is none, one occurs twice, or one is no JSON scalar.
    """

    values: Sequence[Value]
    _index: dict[tuple[str, Value], int] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        values = (self.values,) if isinstance(self.values, str) else tuple(self.values)
        values = tuple(v.item() if isinstance(v, np.generic) else v for v in values)
        problems = [
            f"a category must be a string, a finite number, a boolean or None, but got {v!r}"
            for v in values
            if not (v is None or isinstance(v, str | int) or (isinstance(v, float) and math.isfinite(v)))
        ]
        index = {_identity(v): i for i, v in enumerate(values)} if not problems else {}
        if not values or isinstance(self.values, str):
            problems.append(f"values must be a list of at least one category, but got {self.values!r}")
        elif not problems and len(index) != len(values):
            problems.append(f"each category must occur once, but got {list(values)!r}")
        if problems:
            raise ValidationError(problems, "Categorical")
        object.__setattr__(self, "values", values)
        object.__setattr__(self, "_index", index)

    @property
    def size(self) -> int:
        """Number of values."""
        return len(self.values)

    def position(self, value: Any) -> int:
        """Return the position of a category in ``values``."""
        return self._index[_identity(value)]

    def check(self, value: Any) -> Value:
        """Return the category equal to ``value``; ValueError in words if there is none."""
        if isinstance(value, np.generic):
            value = value.item()
        try:
            return self.values[self._index[_identity(value)]]
        except (KeyError, TypeError):
            raise ValueError(f"must be one of {list(self.values)!r}, but got {value!r}") from None

    def to_unit(self, value: Value) -> float:
        """Return the middle of the category's share of the unit interval."""
        return (self.position(value) + 0.5) / self.size

    def from_unit(self, u: float) -> Value:
        """Return the category whose share of [0, 1] holds ``u``."""
        return self.values[min(max(int(u * self.size), 0), self.size - 1)]

    def snap(self, u: Floats) -> Floats:
        """Return unit coordinates moved to the middle of the shares that hold them."""
        return np.asarray((np.clip(np.floor(u * self.size), 0, self.size - 1) + 0.5) / self.size, dtype=np.float64)

    def moves(self, u: float, rng: np.random.Generator) -> list[float]:
        """Return the unit coordinates of the other categories."""
        return [(i + 0.5) / self.size for i in range(self.size) if i != int(u * self.size)]

    def levels(self, n: int) -> list[Value]:
        """Return all categories: a grid leaves none out."""
        return list(self.values)


def _identity(value: Any) -> tuple[str, Any]:
    """Return a key that tells 1 from True, but not 1 from 1.0, which JSON does not tell apart either."""
    if isinstance(value, bool):
        return ("bool", value)
    return ("number", value) if isinstance(value, int | float) else (type(value).__name__, value)


Range = Continuous | Integer | Categorical
"""A parameter range."""
