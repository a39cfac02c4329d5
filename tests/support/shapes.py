"""Make values that fit shapes of AWS's service models."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from typing import Any

_LETTERS = "abcXYZ019-_. äß日😀<>&\"'"


def value(shape: Any, rng: random.Random, depth: int = 0, *, optional: float = 0.7) -> Any:
    """Return a random value of ``shape``; required members always, others by chance; recursion ends."""
    kind = shape.type_name
    if kind == "structure":
        members = shape.members.items()
        if getattr(shape, "is_tagged_union", False):
            members = [rng.choice(list(members))]
        result = {}
        for name, member in members:
            needed = name in shape.required_members or getattr(shape, "is_tagged_union", False)
            if needed or (depth < 6 and rng.random() < optional):
                result[name] = value(member, rng, depth + 1, optional=optional * 0.8)
        if not result and shape.members and depth:
            # Inside a list an empty structure cannot be told in every protocol.
            name, member = next(iter(shape.members.items()))
            result[name] = value(member, rng, depth + 1, optional=0.0)
        return result
    if kind == "list":
        return [
            value(shape.member, rng, depth + 1, optional=optional) for _ in range(0 if depth > 7 else rng.randint(1, 2))
        ]
    if kind == "map":
        count = 0 if depth > 7 else rng.randint(1, 2)
        return {f"key{i}": value(shape.value, rng, depth + 1, optional=optional) for i in range(count)}
    if kind in ("string", "character"):
        if shape.enum:
            return rng.choice(shape.enum)
        return "x" + "".join(rng.choice(_LETTERS) for _ in range(rng.randint(0, 12))).strip()
    if kind in ("integer", "long"):
        return rng.randint(-(2**31), 2**31 - 1)
    if kind in ("float", "double"):
        return rng.choice([0.0, -1.5, 1e300, 3.25, float(rng.randint(0, 100))])
    if kind == "boolean":
        return rng.random() < 0.5
    if kind == "timestamp":
        return datetime(2024, 1, 1, tzinfo=UTC) + timedelta(seconds=rng.randint(0, 10**8))
    if kind == "blob":
        return rng.randbytes(rng.randint(1, 20))
    raise AssertionError(kind)


def without_empty(shape: Any, tree: Any) -> Any:
    """Return the tree without empty structures, which the service leaves out."""
    if shape.type_name == "structure":
        rows = {k: without_empty(shape.members[k], v) for k, v in tree.items()}
        return {k: v for k, v in rows.items() if v != {} or shape.members[k].type_name != "structure"}
    if shape.type_name == "list":
        return [without_empty(shape.member, v) for v in tree]
    if shape.type_name == "map":
        return {k: without_empty(shape.value, v) for k, v in tree.items()}
    return tree
