"""Which variant and which instance answers."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass

from sagespark.local.hosting.routing import choose_variant, least_loaded


@dataclass
class Load:
    name: str
    in_flight: int = 0


def test_variants_are_drawn_by_weight() -> None:
    rng = random.Random(0)
    drawn = Counter(choose_variant({"a": 1.0, "b": 3.0, "none": 0.0}, rng) for _ in range(8000))
    assert drawn["none"] == 0
    assert 0.73 < drawn["b"] / 8000 < 0.77


def test_one_variant_answers_whatever_its_weight() -> None:
    assert choose_variant({"only": 0.0}, random.Random(0)) == "only"


def test_weights_of_zero_only_are_drawn_evenly() -> None:
    rng = random.Random(1)
    assert set(Counter(choose_variant({"a": 0.0, "b": 0.0}, rng) for _ in range(100))) == {"a", "b"}


def test_the_instance_with_the_fewest_requests_is_asked() -> None:
    loads = [Load("a", 2), Load("b", 1), Load("c", 3)]
    assert least_loaded(loads, 0) is loads[1]
    assert least_loaded([], 5) is None


def test_equal_instances_take_turns() -> None:
    loads = [Load("a"), Load("b"), Load("c")]
    assert [least_loaded(loads, turn).name for turn in range(6)] == ["a", "b", "c", "a", "b", "c"]  # type: ignore[union-attr]
