"""JSON requests and answers to arrays.

The standard library reads the text. Arrow's JSON reader is twice as fast but ends the process at a row that is
``null``, which no service may do; JSON is not the way for large batches anyway, RecordIO is.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sagespark.codecs.assemble import Batch, Tensors
from sagespark.codecs.base import MalformedError, Numbers
from sagespark.codecs.matrix import Matrix

_NUMBERS = {int, float, type(None)}
_WHOLE = {int}


def quote(name: str) -> str:
    """Return a name as a JSON string."""
    return json.dumps(name, ensure_ascii=False)


def rows(body: bytes, lines: bool, width: int | None) -> Matrix:
    """Return the rows of a request as float32.

    Raises
    ------
    MalformedError
        If the text is no request.
    """
    objects = _objects(body, lines, "instances")
    if not objects:
        return np.empty((0, width or 0), np.float32)
    tensors = [_tensor(row) for row in objects]
    if None in tensors:
        raise MalformedError(
            f'row {tensors.index(None) + 1} must be {{"features": [numbers]}}, or {{"data": {{"features": tensor}}}} '
            "with values, and keys and shape where it is sparse"
        )
    values, count = _lists([t["values"] for t in tensors if t], "values", whole=False)
    keys, key_count = _lists([t.get("keys") or [] for t in tensors if t], "keys", whole=True)
    shape, dims = _lists([t.get("shape") or [] for t in tensors if t], "shape", whole=True)
    for name, numbers in (("key", keys), ("size", shape)):
        if len(numbers) and numbers.min() < 0:
            raise MalformedError(f"a {name} must not be negative, but is {numbers.min()}")
    with np.errstate(over="ignore"):
        narrow = values.astype(np.float32)
    unsigned = keys.view(np.uint64), shape.view(np.uint64)
    found = Tensors(np.arange(len(objects)), narrow, count, unsigned[0], key_count, unsigned[1], dims)
    return Batch(found, len(objects), "features").matrix(width)


def fields(body: bytes, lines: bool, names: Sequence[str]) -> dict[str, Numbers]:
    """Return the fields of an answer, float64.

    Raises
    ------
    MalformedError
        If the text is no answer with these fields.
    """
    objects = _objects(body, lines, None)
    if len(names) == 1 and objects and isinstance(objects[0], int | float | list):
        # A script's answer, or TensorFlow Serving's: bare numbers, or a list of them for each row.
        return {names[0]: _column(objects, names[0])}
    return {name: _field(objects, name) for name in names}


def _field(objects: list[Any], name: str) -> Numbers:
    try:
        values = [row[name] for row in objects]
    except (KeyError, TypeError, IndexError):
        at = next(i for i, row in enumerate(objects) if not isinstance(row, dict) or name not in row)
        raise MalformedError(f"row {at + 1} of the answer has no field {name!r}") from None
    return _column(values, name)


def _column(values: list[Any], name: str) -> Numbers:
    flat, count = _lists([v if type(v) is list else [v] for v in values], f"the field {name!r}", whole=False)
    if not len(count):
        return np.empty(0)
    if (count != count[0]).any():
        raise MalformedError(f"the field {name!r} has different lengths: {np.unique(count).tolist()}")
    return flat if count[0] == 1 else flat.reshape(len(count), -1)


def _objects(body: bytes, lines: bool, wrapper: str | None) -> list[Any]:
    """Return the rows as Python objects: those of the list ``wrapper``, of the only list where it is None.

    Raises
    ------
    MalformedError
        If the text is no JSON, or has no list of rows.
    """
    try:
        if lines:
            return list(_loaded_lines(body))
        whole = _load(body, 0)
    except RecursionError:
        raise MalformedError("the text is nested too deep") from None
    if wrapper is None and isinstance(whole, list):
        return whole
    entries = whole.items() if isinstance(whole, dict) else ()
    lists = [v for k, v in entries if isinstance(v, list) and wrapper in (None, k)]
    if len(lists) != 1:
        called = "one list" if wrapper is None else f"a list {quote(wrapper)}"
        raise MalformedError(f"the text must be an object that holds {called}")
    return list(lists[0])


def _loaded_lines(body: bytes) -> Iterable[Any]:
    at = 0
    for line in body.split(b"\n"):
        if line.strip():
            yield _load(line, at)
        at += len(line) + 1


def _load(body: bytes, base: int) -> Any:
    try:
        return json.loads(body.decode())
    except json.JSONDecodeError as problem:
        offset = len(problem.doc[: problem.pos].encode())
        raise MalformedError(f"the text is no JSON: {problem.msg}", base + offset) from None
    except UnicodeDecodeError as problem:
        raise MalformedError("the text is no UTF-8", base + problem.start) from None
    except ValueError as problem:  # an integer of thousands of digits
        raise MalformedError(f"the text has a number that is too large: {problem}") from None


def _tensor(row: Any) -> dict[str, Any] | None:
    """Return the row's tensor, whichever of the forms it has; None if it has none."""
    if not isinstance(row, dict):
        return None
    features = row.get("features")
    if features is None and isinstance(data := row.get("data"), dict):
        features = data.get("features")
    if isinstance(features, list):
        return {"values": features}
    return features if isinstance(features, dict) and "values" in features else None


def _lists(lists: list[Any], name: str, *, whole: bool) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """Return the numbers of all the lists, null as NaN, and how many each has.

    Raises
    ------
    MalformedError
        If something is no list, or no number in one.
    """
    allowed, kind = (_WHOLE, np.int64) if whole else (_NUMBERS, np.float64)
    if set(map(type, lists)) - {list} or set(map(type, chain.from_iterable(lists))) - allowed:
        at = next(i for i, v in enumerate(lists) if type(v) is not list or set(map(type, v)) - allowed)
        raise MalformedError(f"{name} of row {at + 1} must be a list of {'whole numbers' if whole else 'numbers'}")
    try:
        flat: NDArray[Any] = np.array(list(chain.from_iterable(lists)), kind)
    except OverflowError:
        raise MalformedError(f"{name} has a number that is too large") from None
    return flat, np.fromiter(map(len, lists), np.int64, len(lists))
