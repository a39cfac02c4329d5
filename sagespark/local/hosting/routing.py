"""Which production variant answers a request."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import Protocol, TypeVar


class Loaded(Protocol):
    """Something with requests under way."""

    in_flight: int


L = TypeVar("L", bound=Loaded)


def choose_variant(weights: Mapping[str, float], rng: random.Random) -> str:
    """Draw a variant's name with probability weight / sum of all weights; evenly where all weights are 0.

    Parameters
    ----------
    weights : mapping of str to float
        Current weights, 0 or more; not empty.
    """
    names = list(weights)
    if len(names) == 1:
        return names[0]
    values = [weights[name] for name in names]
    return rng.choices(names, values if sum(values) > 0 else None)[0]


def least_loaded(instances: Sequence[L], turn: int) -> L | None:
    """Return the instance with the fewest requests under way; equal ones take turns. None where there is none."""
    if not instances:
        return None
    start = turn % len(instances)
    return min([*instances[start:], *instances[:start]], key=lambda instance: instance.in_flight)
