"""Parse query requests (``Action=..&List.member.1.Name=..``) by the service model: sts, iam, cloudwatch."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qsl

from sagespark.local.wire.context import AwsError
from sagespark.local.wire.parse import MAX_DEPTH, malformed, text_value


def query_pairs(text: str) -> dict[str, str]:
    """Return the parameters of a query string or form body.

    Raises
    ------
    AwsError
        ``MalformedQueryString`` if there are more than 10,000.
    """
    try:
        return dict(parse_qsl(text, keep_blank_values=True, max_num_fields=10_000))
    except ValueError as error:
        raise AwsError("MalformedQueryString", str(error)) from error


def parse_query(shape: Any | None, pairs: dict[str, str]) -> dict[str, Any]:
    """Parse the parameters of a query request (``Name=..&List.member.1=..``)."""
    if shape is None:
        return {}
    # Nested names are found by their first steps, so build a tree once instead of scanning per member.
    tree: dict[str, Any] = {}
    for name, text in pairs.items():
        node = tree
        steps = name.split(".")
        if len(steps) > MAX_DEPTH:
            raise malformed(f"{name[:80]!r} is nested more than {MAX_DEPTH} levels deep")
        for step in steps:
            node = node.setdefault(step, {})
        node[""] = text
    return _query_value(shape, tree, "") or {}


def _query_value(shape: Any, node: dict[str, Any], path: str) -> Any:
    kind = shape.type_name
    if kind == "structure":
        result = {}
        for name, member in shape.members.items():
            key = member.serialization.get("name", name)
            if _is_flat(member):
                key = member.member.serialization.get("name", key)
            if key in node:
                result[name] = _query_value(member, node[key], f"{path}.{name}" if path else name)
        return result
    if kind == "list":
        rows = node
        if not shape.serialization.get("flattened"):
            if node.get("") == "":
                return []
            rows = node.get(shape.member.serialization.get("name", "member"), {})
        return [_query_value(shape.member, rows[i], f"{path}[{i}]") for i in _numbers(rows)]
    if kind == "map":
        rows = node if shape.serialization.get("flattened") else node.get("entry", {})
        key = shape.key.serialization.get("name", "key")
        value = shape.value.serialization.get("name", "value")
        result = {}
        for i in _numbers(rows):
            name = rows[i].get(key, {}).get("", "")
            result[name] = _query_value(shape.value, rows[i].get(value, {}), f"{path}.{name}")
        return result
    if "" not in node:
        raise malformed(f"the value at '{path}' must be a single {kind}")
    return text_value(shape, node[""], path)


def _is_flat(shape: Any) -> bool:
    """Tell whether ``shape`` is a flattened list, whose items carry the name instead of the list."""
    return bool(shape.type_name == "list" and shape.serialization.get("flattened"))


def _numbers(node: dict[str, Any]) -> list[str]:
    return sorted((k for k in node if k.isdecimal()), key=int)
