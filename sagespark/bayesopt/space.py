"""The search space: named parameter ranges, and configurations as points of the unit cube.

Notation: ``d`` parameters, in the order of the mapping; a configuration ``config`` is a dict with one value for each;
``u`` of shape (d,) is its point in the unit cube. ``key(config)`` is what tells configurations apart.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Hashable, Iterator, Mapping
from difflib import get_close_matches
from typing import Any

import numpy as np

from sagespark.bayesopt.ranges import Categorical, Continuous, Integer, Range, Value
from sagespark.bayesopt.scaling import Floats
from sagespark.core.errors import ValidationError

Config = dict[str, Value]
Key = tuple[Hashable, ...]


class Space:
    """Named parameter ranges.

    Parameters
    ----------
    ranges : mapping of str to Continuous, Integer or Categorical
        At least one. Their order is the order of dimensions, and is kept.

    Raises
    ------
    ValidationError
        If it is empty, or holds something else than named ranges.
    """

    def __init__(self, ranges: Mapping[str, Range]) -> None:
        problems = [
            f"{name!r} must be a Continuous, Integer or Categorical range under a non-empty name, but got {r!r}"
            for name, r in ranges.items()
            if not isinstance(name, str) or not name or not isinstance(r, Continuous | Integer | Categorical)
        ]
        if not ranges:
            problems.append("at least one parameter range is needed")
        if problems:
            raise ValidationError(problems, "Space")
        self.ranges: dict[str, Range] = dict(ranges)
        """The ranges by name, in order."""

    @property
    def names(self) -> tuple[str, ...]:
        """Names in order."""
        return tuple(self.ranges)

    @property
    def size(self) -> int | None:
        """Number of configurations; None where a continuous range makes it infinite."""
        sizes = [r.size for r in self.ranges.values()]
        return None if None in sizes else math.prod(s for s in sizes if s is not None)

    @property
    def categorical(self) -> tuple[bool, ...]:
        """For each dimension, whether it has no order."""
        return tuple(isinstance(r, Categorical) for r in self.ranges.values())

    @property
    def continuous(self) -> tuple[bool, ...]:
        """For each dimension, whether gradients may move along it."""
        return tuple(r.size is None for r in self.ranges.values())

    def __len__(self) -> int:
        """Return ``d``."""
        return len(self.ranges)

    def __repr__(self) -> str:
        """Return a text that makes the space again."""
        return f"Space({self.ranges!r})"

    def __eq__(self, other: object) -> bool:
        """Spaces with the same ranges in the same order are equal."""
        return isinstance(other, Space) and list(self.ranges.items()) == list(other.ranges.items())

    def __hash__(self) -> int:
        """Hash of names, which equal spaces share."""
        return hash(self.names)

    def problems(self, config: Mapping[str, Any]) -> list[str]:
        """Return in words everything that keeps ``config`` from being a configuration of this space."""
        found = []
        for name in config:
            if name not in self.ranges:
                near = get_close_matches(str(name), self.names, n=1)
                found.append(f"{name!r} is not in the space" + (f"; did you mean {near[0]!r}?" if near else ""))
        for name, parameter in self.ranges.items():
            if name not in config:
                found.append(f"{name!r} is missing")
                continue
            try:
                parameter.check(config[name])
            except ValueError as error:
                found.append(f"{name!r} {error}")
        return found

    def check(self, config: Mapping[str, Any], where: str = "Space") -> Config:
        """Return ``config`` in the order and with the types of the space.

        Raises
        ------
        ValidationError
            With everything that is wrong in it.
        """
        found = self.problems(config)
        if found:
            raise ValidationError(found, where)
        return {name: r.check(config[name]) for name, r in self.ranges.items()}

    def __contains__(self, config: Mapping[str, Any]) -> bool:
        """Tell whether ``config`` is a configuration of this space."""
        return not self.problems(config)

    def key(self, config: Mapping[str, Any]) -> Key:
        """Return what two equal configurations share: numbers, and positions of categories."""
        return tuple(
            r.position(config[name]) if isinstance(r, Categorical) else config[name] for name, r in self.ranges.items()
        )

    def to_unit(self, config: Mapping[str, Any]) -> Floats:
        """Return the (d,) point of a configuration in the unit cube."""
        return np.array([r.to_unit(config[name]) for name, r in self.ranges.items()], dtype=np.float64)

    def from_unit(self, u: Floats) -> Config:
        """Return the configuration at a (d,) point of the unit cube."""
        return {name: r.from_unit(float(x)) for (name, r), x in zip(self.ranges.items(), u, strict=True)}

    def snap(self, points: Floats) -> Floats:
        """Return (m, d) points of the cube, each moved to the point of its configuration."""
        columns = [r.snap(points[:, j]) for j, r in enumerate(self.ranges.values())]
        return np.stack(columns, axis=1)

    def grid(self, levels: int) -> Iterator[Config]:
        """Yield the product of every range's levels, the last parameter fastest."""
        for values in itertools.product(*(r.levels(levels) for r in self.ranges.values())):
            yield dict(zip(self.ranges, values, strict=True))

    def configs(self) -> Iterator[Config]:
        """Yield every configuration of a finite space."""
        if self.size is None:
            raise ValidationError("a space with a continuous range has no list of its configurations", "Space")
        return self.grid(max(r.size or 1 for r in self.ranges.values()))
