"""Render responses and errors by the service model: JSON and query XML; REST is in `rest`.

None and empty structures are left out: SDKs take a present but empty ``VpcConfig`` for a set one. Empty texts and lists
are sent. Timestamps are epoch seconds with milliseconds in JSON and ISO 8601 in XML.
"""

from __future__ import annotations

import base64
import json
import logging
import math
from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any
from xml.sax.saxutils import escape

log = logging.getLogger("sagespark.local.wire")

_TYPES: dict[str, type | tuple[type, ...]] = {
    "string": str,
    "character": str,
    "integer": int,
    "long": int,
    "float": (int, float),
    "double": (int, float),
    "boolean": bool,
    "timestamp": (datetime, int, float),
    "blob": (bytes, bytearray, memoryview),
    "structure": dict,
    "map": dict,
    "list": (list, tuple),
}


class ResponseError(TypeError):
    """A provider's response does not fit the model: a defect of the service, answered as InternalFailure."""


def check(shape: Any, value: Any, path: str) -> None:
    """Refuse a value that the model does not allow, so that a provider's slip is found at once."""
    wanted = _TYPES[shape.type_name]
    if not isinstance(value, wanted) or (isinstance(value, bool) and shape.type_name != "boolean"):
        raise ResponseError(f"the response holds {type(value).__name__} at '{path}', the model has {shape.type_name}")


def members(shape: Any, value: dict[str, Any], path: str) -> list[tuple[str, Any, Any]]:
    """Return (name, shape, value) of the members that are sent, in the model's order."""
    known = shape.members
    if not value.keys() <= known.keys():
        # An older botocore may lack a member; what its client cannot read need not be sent.
        log.warning("%s: the model has no %s; left out", path or shape.name, sorted(value.keys() - known.keys()))
    return [(name, known[name], value[name]) for name in known if value.get(name) is not None]


def epoch(value: datetime | float) -> float | int:
    """Return a time as epoch seconds, rounded to milliseconds."""
    seconds = round(value.timestamp() if isinstance(value, datetime) else value, 3)
    return int(seconds) if seconds == int(seconds) else seconds


def iso8601(value: datetime | float) -> str:
    """Return a time as ISO 8601 in UTC with milliseconds."""
    when = value if isinstance(value, datetime) else datetime.fromtimestamp(value, UTC)
    return when.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.") + f"{when.microsecond // 1000:03d}Z"


def http_date(value: datetime | float) -> str:
    """Return a time as HTTP headers write it, to the second."""
    when = value if isinstance(value, datetime) else datetime.fromtimestamp(value, UTC)
    return format_datetime(when.astimezone(UTC), usegmt=True)


def time_text(shape: Any, value: datetime | float, default: str) -> str:
    """Return a time in the format that the shape asks for, else in ``default``."""
    form = shape.serialization.get("timestampFormat", default)
    if form == "unixTimestamp":
        return str(epoch(value))
    return http_date(value) if form == "rfc822" else iso8601(value)


def number_text(value: float) -> str:
    """Return a number as AWS writes it in XML and headers."""
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else ("Infinity" if value > 0 else "-Infinity")
    return repr(value)


# ---------------------------------------------------------------------------------------------------------------- JSON


def to_json(shape: Any | None, response: dict[str, Any]) -> bytes:
    """Return the JSON body of a response."""
    if shape is None:
        return b"{}" if not response else _dump(response)
    return _dump(json_tree(shape, response, ""))


def _dump(tree: Any) -> bytes:
    return json.dumps(tree, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def json_tree(shape: Any, value: Any, path: str) -> Any:
    """Return a response value as what ``json.dumps`` writes."""
    check(shape, value, path)
    kind = shape.type_name
    if kind == "structure":
        result = {}
        for name, member, item in members(shape, value, path):
            tree = json_tree(member, item, f"{path}.{name}" if path else name)
            if tree != {} or member.type_name != "structure":
                result[member.serialization.get("name", name)] = tree
        return result
    if kind == "list":
        return [json_tree(shape.member, item, f"{path}[{i}]") for i, item in enumerate(value)]
    if kind == "map":
        return {str(k): json_tree(shape.value, v, f"{path}.{k}") for k, v in value.items() if v is not None}
    if kind == "timestamp":
        form = shape.serialization.get("timestampFormat", "unixTimestamp")
        return epoch(value) if form == "unixTimestamp" else time_text(shape, value, form)
    if kind == "blob":
        return base64.b64encode(value).decode("ascii")
    if kind in ("float", "double") and not math.isfinite(value):
        return number_text(float(value))
    return value


# ----------------------------------------------------------------------------------------------------------------- XML


def xml_text(text: str) -> str:
    """Escape a text for XML; characters that XML cannot hold become references, as S3 writes them."""
    escaped = escape(text, {'"': "&quot;"})
    if escaped.isprintable():
        return escaped
    return "".join(f"&#x{ord(c):x};" if ord(c) < 0x20 and c not in "\n\t" else c for c in escaped)


def scalar_text(shape: Any, value: Any, timestamps: str = "iso8601") -> str:
    """Return a scalar as XML and headers write it."""
    kind = shape.type_name
    if kind == "boolean":
        return "true" if value else "false"
    if kind == "timestamp":
        return time_text(shape, value, timestamps)
    if kind == "blob":
        return base64.b64encode(value).decode("ascii")
    if kind in ("integer", "long", "float", "double"):
        return number_text(value)
    return str(value)


def xml_element(shape: Any, value: Any, name: str, write: Callable[[str], Any], path: str = "") -> None:
    """Write one value as an element called ``name``, or as several where it is a flattened list."""
    check(shape, value, path)
    kind = shape.type_name
    if kind == "structure":
        namespace = shape.serialization.get("xmlNamespace")
        attributes = _attributes(shape, value, namespace)
        write(f"<{name}{attributes}>")
        xml_members(shape, value, write, path)
        write(f"</{name}>")
    elif kind == "list":
        flat = shape.serialization.get("flattened")
        item_name = shape.member.serialization.get("name", name if flat else "member")
        # A flattened list carries its own name unless its items have one.
        if flat:
            item_name = shape.serialization.get("name", item_name)
        else:
            write(f"<{name}>")
        for i, item in enumerate(value):
            xml_element(shape.member, item, item_name, write, f"{path}[{i}]")
        if not flat:
            write(f"</{name}>")
    elif kind == "map":
        flat = shape.serialization.get("flattened")
        entry = name if flat else "entry"
        if not flat:
            write(f"<{name}>")
        for key, item in value.items():
            write(f"<{entry}>")
            xml_element(shape.key, key, shape.key.serialization.get("name", "key"), write, path)
            xml_element(shape.value, item, shape.value.serialization.get("name", "value"), write, f"{path}.{key}")
            write(f"</{entry}>")
        if not flat:
            write(f"</{name}>")
    else:
        write(f"<{name}>{xml_text(scalar_text(shape, value))}</{name}>")


def _attributes(shape: Any, value: dict[str, Any], namespace: dict[str, str] | None) -> str:
    text = ""
    if namespace:
        prefix = namespace.get("prefix")
        text += f' xmlns{":" + prefix if prefix else ""}="{namespace["uri"]}"'
    for name, member in shape.members.items():
        if member.serialization.get("xmlAttribute") and value.get(name) is not None:
            text += f' {member.serialization["name"]}="{xml_text(str(value[name]))}"'
    return text


def xml_members(shape: Any, value: dict[str, Any], write: Callable[[str], Any], path: str = "") -> None:
    """Write the members of a structure that travel in the body."""
    for name, member, item in members(shape, value, path):
        if member.serialization.get("location") or member.serialization.get("xmlAttribute"):
            continue
        if item == {} and member.type_name == "structure":
            continue
        xml_element(member, item, member.serialization.get("name", name), write, f"{path}.{name}" if path else name)


def to_query_xml(model: Any, response: dict[str, Any], request_id: str) -> bytes:
    """Return the XML body of a query response (sts, iam)."""
    parts: list[str] = []
    name = model.name
    parts.append(f'<{name}Response xmlns="{model.service_model.metadata["xmlNamespace"]}">')
    shape = model.output_shape
    if shape is not None:
        wrapper = shape.serialization.get("resultWrapper", f"{name}Result")
        parts.append(f"<{wrapper}>")
        xml_members(shape, response, parts.append)
        parts.append(f"</{wrapper}>")
    parts.append(f"<ResponseMetadata><RequestId>{request_id}</RequestId></ResponseMetadata></{name}Response>")
    return "".join(parts).encode("utf-8")
