"""JSON requests and answers to arrays: by Arrow where the text has the usual form, else by the standard library."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.json as pajson
from numpy.typing import NDArray

from sagespark.codecs.assemble import Batch, Tensors
from sagespark.codecs.base import MalformedError, Numbers
from sagespark.codecs.matrix import Matrix

_FLOATS, _INTS = pa.list_(pa.float32()), pa.list_(pa.int64())
_TENSOR = pa.struct([("keys", _INTS), ("shape", _INTS), ("values", _FLOATS)])
_ROW = [("features", _FLOATS), ("data", pa.struct([("features", _TENSOR)]))]


def quote(name: str) -> str:
    """Return a name as a JSON string."""
    return json.dumps(name, ensure_ascii=False)


def rows(body: bytes, lines: bool, width: int | None) -> Matrix:
    """Return the rows of a request.

    Raises
    ------
    MalformedError
        If the text is no request.
    """
    found = _arrow_tensors(body, lines)
    if found is None:
        found = _plain_tensors(_objects(body, lines, "instances"))
    if not len(found.row):
        return np.empty((0, width or 0), np.float32)
    if len(found.keys) and found.keys.view(np.int64).min() < 0:
        raise MalformedError(f"a key must not be negative, but is {found.keys.view(np.int64).min()}")
    return Batch(found, len(found.row), "features").matrix(width)


def _read(body: bytes, schema: Any) -> Any:
    """Return the text as a table, or None where Arrow refuses it."""
    try:
        return pajson.read_json(
            pa.BufferReader(body),
            read_options=pajson.ReadOptions(use_threads=False, block_size=len(body) + 1),
            parse_options=pajson.ParseOptions(
                explicit_schema=pa.schema(schema), unexpected_field_behavior="ignore", newlines_in_values=True
            ),
        )
    except pa.ArrowInvalid:
        return None


def _structs(body: bytes, lines: bool, wrapper: str, fields: list[Any]) -> Any:
    """Return the rows as one StructArray without nulls, or None where the text has another form."""
    table = _read(body, fields if lines else [(wrapper, pa.list_(pa.struct(fields)))])
    if table is None:
        return None
    if lines:
        return table.combine_chunks().to_struct_array().combine_chunks() if len(table) else None
    if len(table) != 1:
        return None
    listed = table.column(0).combine_chunks()
    if listed.null_count:
        return None
    structs = listed.flatten()
    return None if structs.null_count else structs


def _arrow_tensors(body: bytes, lines: bool) -> Tensors | None:
    structs = _structs(body, lines, "instances", _ROW)
    if structs is None:
        return None
    # StructArray.field ignores the parents' nulls, flatten applies them.
    plain, data = structs.flatten()
    (inner,) = data.flatten()
    keys, shape, values = inner.flatten()
    given, simple = values.is_valid(), plain.is_valid()
    if not pa.compute.all(pa.compute.xor(given, simple)).as_py():
        return None
    both = pa.compute.coalesce(plain, values) if given.true_count and simple.true_count else None
    chosen = both if both is not None else values if given.true_count else plain
    flat_keys, key_count = _flat(keys)
    flat_shape, dims = _flat(shape)
    flat, count = _flat(chosen)
    if flat_keys is None or flat_shape is None or flat is None:
        return None
    return _made((flat, count), (flat_keys, key_count), (flat_shape, dims))


def _made(*parts: tuple[NDArray[Any], NDArray[np.int64]]) -> Tensors:
    """Return tensors of values, keys and shapes, each flat with its counts."""
    (values, count), (keys, key_count), (shape, dims) = parts
    return Tensors(np.arange(len(count)), values, count, keys.view(np.uint64), key_count, shape.view(np.uint64), dims)


def _flat(lists: Any) -> tuple[Any, NDArray[np.int64]]:
    """Return the elements of all the lists and the length of each, 0 for a null; None where a whole number is null."""
    count = pa.compute.fill_null(pa.compute.list_value_length(lists), 0).to_numpy(zero_copy_only=False).astype(np.int64)
    elements = lists.flatten()
    if elements.null_count and pa.types.is_integer(elements.type):
        return None, count
    return elements.to_numpy(zero_copy_only=False), count


def _objects(body: bytes, lines: bool, wrapper: str | None) -> list[Any]:
    """Return the rows as Python objects.

    Raises
    ------
    MalformedError
        If the text is no JSON, or has no list of rows.
    """
    try:
        if lines:
            out = []
            at = 0
            for line in body.split(b"\n"):
                if line.strip():
                    out.append(_load(line, at))
                at += len(line) + 1
            return out
        whole = _load(body, 0)
    except RecursionError:
        raise MalformedError("the text is nested too deep") from None
    lists = (
        [v for k, v in whole.items() if isinstance(v, list) and wrapper in (None, k)] if isinstance(whole, dict) else []
    )
    if len(lists) != 1:
        called = "one list" if wrapper is None else f"a list {quote(wrapper)}"
        raise MalformedError(f"the text must be an object that holds {called}")
    return list(lists[0])


def _load(body: bytes, base: int) -> Any:
    try:
        return json.loads(body.decode())
    except json.JSONDecodeError as problem:
        offset = len(problem.doc[: problem.pos].encode())
        raise MalformedError(f"the text is no JSON: {problem.msg}", base + offset) from None
    except UnicodeDecodeError as problem:
        raise MalformedError("the text is no UTF-8", base + problem.start) from None


def _plain_tensors(objects: list[Any]) -> Tensors:
    parts: dict[str, list[NDArray[Any]]] = {"values": [], "keys": [], "shape": []}
    for i, row in enumerate(objects):
        tensor = _tensor(row)
        if tensor is None:
            raise MalformedError(
                f'row {i + 1} must be {{"features": [numbers]}}, or {{"data": {{"features": tensor}}}} with values, '
                "and keys and shape where it is sparse"
            )
        for name, part in parts.items():
            kind = np.float32 if name == "values" else np.int64
            part.append(_numbers(tensor.get(name) or [], kind, i, name))
    return _made(*((np.concatenate(p), np.array([len(x) for x in p], np.int64)) for p in parts.values()))


def _tensor(row: Any) -> dict[str, Any] | None:
    """Return the row's tensor, whichever of the forms it has."""
    if isinstance(row, dict) and isinstance(row.get("data"), dict) and "features" not in row:
        row = row["data"]
    features = row.get("features") if isinstance(row, dict) else None
    if isinstance(features, list):
        return {"values": features}
    return features if isinstance(features, dict) and "values" in features else None


def _numbers(values: Any, kind: Any, row: int, name: str) -> NDArray[Any]:
    """Return a list of numbers, null as NaN."""
    wanted = "whole numbers" if kind is np.int64 else "numbers"
    allowed = int if kind is np.int64 else (int, float, type(None))
    if not isinstance(values, list) or not all(isinstance(v, allowed) and not isinstance(v, bool) for v in values):
        raise MalformedError(f"{name} of row {row + 1} must be a list of {wanted}")
    try:
        with np.errstate(over="ignore"):
            return np.array(values, np.float64 if kind is np.float32 else kind).astype(kind)
    except OverflowError:
        raise MalformedError(f"{name} of row {row + 1} has a number that is too large") from None


def fields(body: bytes, lines: bool, names: Sequence[str]) -> dict[str, Numbers]:
    """Return the fields of an answer, float64.

    Raises
    ------
    MalformedError
        If the text is no answer with these fields.
    """
    found = _arrow_fields(body, lines, names)
    if found is not None:
        return found
    objects = _objects(body, lines, None)
    out = {}
    for name in names:
        out[name] = _plain_field(objects, name)
    return out


def _arrow_fields(body: bytes, lines: bool, names: Sequence[str]) -> dict[str, Numbers] | None:
    """Return the fields if each is there in every row; a null may be NaN or missing, so the other way decides."""
    head = re.match(rb'\s*\{\s*"([A-Za-z_]+)"\s*:\s*\[', body)
    if not lines and head is None:
        return None
    listed = {n: re.search(re.escape(quote(n).encode()) + rb"\s*:\s*\[", body) is not None for n in names}
    kinds = [(n, pa.list_(pa.float64()) if listed[n] else pa.float64()) for n in names]
    structs = _structs(body, lines, "" if head is None else head[1].decode(), kinds)
    if structs is None:
        return None
    out: dict[str, Numbers] = {}
    for name, column in zip(names, structs.flatten(), strict=True):
        if column.null_count:
            return None
        if not listed[name]:
            out[name] = column.to_numpy(zero_copy_only=False)
            continue
        flat, count = _flat(column)
        if not len(count) or (count != count[0]).any():
            return None
        out[name] = flat.reshape(len(count), int(count[0]))
        if out[name].shape[1] == 1:
            out[name] = out[name][:, 0]
    return out


def _plain_field(objects: list[Any], name: str) -> Numbers:
    values = []
    for i, row in enumerate(objects):
        if not isinstance(row, dict) or name not in row:
            raise MalformedError(f"row {i + 1} of the answer has no field {name!r}")
        value = row[name]
        values.append(_numbers(value if isinstance(value, list) else [value], np.float64, i, f"the field {name!r}"))
    if not values:
        return np.empty(0)
    if len({len(v) for v in values}) > 1:
        raise MalformedError(f"the field {name!r} has different lengths: {sorted({len(v) for v in values})}")
    return np.array(values)[:, 0] if len(values[0]) == 1 else np.array(values)
