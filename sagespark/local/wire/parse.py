"""Parse JSON bodies, and scalars from text, by the service model.

Absent members and ``null`` are left out. Members that the model does not have are ignored, as AWS does. A value of the
wrong type is a ``SerializationException``; everything else is left to `validate`.
"""

from __future__ import annotations

import base64
import binascii
import json
import math
from datetime import UTC, datetime, timedelta
from typing import Any

from botocore.utils import parse_timestamp

from sagespark.local.wire.context import AwsError

MAX_DEPTH = 100
"""Deepest nesting of a request; no operation of the models comes near."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SPECIAL = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


def malformed(message: str) -> AwsError:
    """Return the error of a body that cannot be read."""
    return AwsError("SerializationException", message)


def timestamp(seconds: float) -> datetime:
    """Return the time that lies ``seconds`` after the epoch, in UTC, to the microsecond."""
    try:
        return _EPOCH + timedelta(seconds=seconds)
    except (OverflowError, ValueError) as error:
        raise malformed(f"{seconds} seconds after the epoch is no time that can be stored") from error


# ---------------------------------------------------------------------------------------------------------------- JSON


def parse_json(shape: Any | None, body: bytes) -> dict[str, Any]:
    """Parse a JSON body.

    Parameters
    ----------
    shape : botocore.model.StructureShape or None
        The operation's input; None where it takes none.
    body : bytes
        UTF-8; empty is an empty object.

    Raises
    ------
    AwsError
        ``SerializationException``.
    """
    if not body.strip():
        return {}
    try:
        document = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise malformed(f"The request body is not JSON: {error}") from error
    if not isinstance(document, dict):
        raise malformed("The request body must be a JSON object, but begins with " + _kind(document))
    return {} if shape is None else json_value(shape, document, "", 0)


def json_value(shape: Any, value: Any, path: str, depth: int) -> Any:
    """Return a decoded JSON value as Python's type for ``shape``."""
    if depth > MAX_DEPTH:
        raise malformed(f"The value at '{path}' is nested more than {MAX_DEPTH} levels deep")
    return _JSON[shape.type_name](shape, value, path, depth)


def _kind(value: Any) -> str:
    names = {
        bool: "BOOLEAN_VALUE",
        str: "STRING_VALUE",
        dict: "START_OBJECT",
        list: "START_ARRAY",
        type(None): "NULL_VALUE",
    }
    return names.get(type(value), "NUMBER_VALUE")


def _wrong(shape: Any, value: Any, path: str) -> AwsError:
    name = shape.type_name.capitalize()
    article = "an" if name[0] in "AEIOU" else "a"
    return malformed(f"{_kind(value)} can not be converted to {article} {name}, at '{path}'")


def _structure(shape: Any, value: Any, path: str, depth: int) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise _wrong(shape, value, path)
    result = {}
    for name, member in shape.members.items():
        item = value.get(member.serialization.get("name", name))
        if item is not None:
            result[name] = json_value(member, item, f"{path}.{name}" if path else name, depth + 1)
    return result


def _list(shape: Any, value: Any, path: str, depth: int) -> list[Any]:
    if not isinstance(value, list):
        raise _wrong(shape, value, path)
    member = shape.member
    return [json_value(member, item, f"{path}[{i}]", depth + 1) for i, item in enumerate(value)]


def _map(shape: Any, value: Any, path: str, depth: int) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise _wrong(shape, value, path)
    member = shape.value
    for key in value:
        _whole(key, path)
    return {k: json_value(member, v, f"{path}.{k}", depth + 1) for k, v in value.items() if v is not None}


def _string(shape: Any, value: Any, path: str, depth: int) -> str:
    if not isinstance(value, str):
        raise _wrong(shape, value, path)
    return _whole(value, path)


def _whole(text: str, path: str) -> str:
    r"""Refuse half a character (``"\ud800"``), which JSON can write and UTF-8 cannot."""
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise malformed(f"the text at '{path}' holds half of a surrogate pair") from error
    return text


def _integer(shape: Any, value: Any, path: str, depth: int) -> int:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool):
        raise _wrong(shape, value, path)
    bits = 31 if shape.type_name == "integer" else 63
    if not -(1 << bits) <= value < 1 << bits:
        raise malformed(f"{value} does not fit into a {bits + 1}-bit integer, at '{path}'")
    return value


def _float(shape: Any, value: Any, path: str, depth: int) -> float:
    if isinstance(value, str) and value in _SPECIAL:
        return _SPECIAL[value]
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise _wrong(shape, value, path)
    try:
        return float(value)
    except OverflowError as error:
        raise malformed(f"a number at '{path}' does not fit into a double") from error


def _boolean(shape: Any, value: Any, path: str, depth: int) -> bool:
    if not isinstance(value, bool):
        raise _wrong(shape, value, path)
    return value


def _timestamp(shape: Any, value: Any, path: str, depth: int) -> datetime:
    if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
        return timestamp(value)
    if isinstance(value, str):
        return text_timestamp(value, path)
    raise _wrong(shape, value, path)


def _blob(shape: Any, value: Any, path: str, depth: int) -> bytes:
    if not isinstance(value, str):
        raise _wrong(shape, value, path)
    return text_blob(value, path)


_JSON = {
    "structure": _structure,
    "list": _list,
    "map": _map,
    "string": _string,
    "character": _string,
    "integer": _integer,
    "long": _integer,
    "float": _float,
    "double": _float,
    "boolean": _boolean,
    "timestamp": _timestamp,
    "blob": _blob,
}

# --------------------------------------------------------------------------------------------------------------- texts


def text_timestamp(text: str, path: str) -> datetime:
    """Return the time that ISO 8601, RFC 822 or a number of seconds tells."""
    try:
        when: datetime = parse_timestamp(text)
    except (ValueError, OverflowError, RuntimeError) as error:
        raise malformed(f"{text!r} is not a time, at '{path}'") from error
    return when if when.tzinfo else when.replace(tzinfo=UTC)


def text_blob(text: str, path: str) -> bytes:
    """Return the bytes that a base64 text stands for."""
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise malformed(f"the value at '{path}' is not base64") from error


def text_value(shape: Any, text: str, path: str) -> Any:
    """Return the scalar that a text stands for, as it occurs in a query, a header, a URI or an XML element."""
    kind = shape.type_name
    if kind in ("integer", "long"):
        try:
            value = int(text)
        except ValueError as error:
            raise malformed(f"{text!r} is not an integer, at '{path}'") from error
        return _integer(shape, value, path, 0)
    if kind in ("float", "double"):
        try:
            return float(text)
        except ValueError as error:
            raise malformed(f"{text!r} is not a number, at '{path}'") from error
    if kind == "boolean":
        if text.lower() not in ("true", "false"):
            raise malformed(f"{text!r} is not a boolean, at '{path}'")
        return text.lower() == "true"
    if kind == "timestamp":
        return text_timestamp(text, path)
    if kind == "blob":
        return text_blob(text, path)
    return text
