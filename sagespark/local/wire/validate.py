"""Check a parsed request against the service model and say what is wrong in AWS's own words.

`3 validation errors detected: Value null at 'roleArn' failed to satisfy constraint: Member must not be null; ...`

All errors of a request are reported together. Names are AWS's: camelCase steps, ``1.member`` for items of a list. Enum
lists of instance types grow with every release of botocore, so any well-formed instance type is accepted.
"""

from __future__ import annotations

import re
from typing import Any

from sagespark.local.wire.context import AwsError
from sagespark.local.wire.patterns import matches
from sagespark.local.wire.rest import malformed_xml

_INSTANCE_TYPE = re.compile(r"ml\.[a-z0-9-]+\.[a-z0-9-]+")
_CODES = {
    "sagemaker-runtime": "ValidationError",
    "sts": "ValidationError",
    "iam": "ValidationError",
    "cloudwatch": "ValidationError",
    "logs": "InvalidParameterException",
    "ecr": "InvalidParameterException",
    "s3": "InvalidArgument",
}
_NUMBERS = ("integer", "long", "float", "double")
_SHOWN = 1024
MAX_ERRORS = 100
"""Most errors that one message tells."""


def validate(service: str, shape: Any | None, request: dict[str, Any]) -> None:
    """Refuse a request that breaks the model.

    Raises
    ------
    AwsError
        ``ValidationException``, or the service's own name for it, with every error found (the first 100).
    """
    if shape is None:
        return
    errors: list[str] = []
    _structure(shape, request, "", errors)
    if errors:
        payload = shape.serialization.get("payload", "")
        if service == "s3" and payload and any(f" at '{member_name(payload)}" in e for e in errors):
            raise malformed_xml()
        shown = errors[:MAX_ERRORS]
        count = f"{len(errors)} validation error{'s' if len(errors) > 1 else ''} detected: "
        raise AwsError(_CODES.get(service, "ValidationException"), count + "; ".join(shown))


def member_name(name: str) -> str:
    """Return a member's name as AWS's messages write it: the first letters small (``KMSKeyId`` is ``kMSKeyId``)."""
    return name[:1].lower() + name[1:]


def _structure(shape: Any, value: dict[str, Any], path: str, errors: list[str]) -> None:
    required = set(shape.required_members)
    for name, member in shape.members.items():
        where = f"{path}.{member_name(name)}" if path else member_name(name)
        item = value.get(name)
        if item is not None:
            _value(member, item, where, errors)
        elif name in required:
            errors.append(f"Value null at '{where}' failed to satisfy constraint: Member must not be null")


def _value(shape: Any, value: Any, path: str, errors: list[str]) -> None:
    kind = shape.type_name
    for problem in constraints(shape, value):
        shown = "Value" if shape.metadata.get("sensitive") or kind == "blob" else f"Value '{_show(value)}'"
        errors.append(f"{shown} at '{path}' failed to satisfy constraint: {problem}")
    if kind == "structure":
        _structure(shape, value, path, errors)
    elif kind == "list":
        _items(shape, value, path, errors)
    elif kind == "map":
        _entries(shape, value, path, errors)


def _items(shape: Any, value: list[Any], path: str, errors: list[str]) -> None:
    member = shape.member
    if member.type_name in ("structure", "list", "map"):
        for i, item in enumerate(value, 1):
            _value(member, item, f"{path}.{i}.member", errors)
        return
    problems = next((p for p in (constraints(member, item) for item in value) if p), None)
    if problems:
        errors.append(_grouped(shape, value, path, "Member must satisfy constraint", all_constraints(member)))


def _entries(shape: Any, value: dict[str, Any], path: str, errors: list[str]) -> None:
    if any(constraints(shape.key, key) for key in value):
        errors.append(_grouped(shape, value, path, "Map keys must satisfy constraint", all_constraints(shape.key)))
    if shape.value.type_name in ("structure", "list", "map"):
        for key, item in value.items():
            _value(shape.value, item, f"{path}.{key}.member", errors)
    elif any(constraints(shape.value, item) for item in value.values()):
        errors.append(_grouped(shape, value, path, "Map value must satisfy constraint", all_constraints(shape.value)))


def _grouped(shape: Any, value: Any, path: str, head: str, rules: list[str]) -> str:
    return f"Value '{_show(value)}' at '{path}' failed to satisfy constraint: {head}: [{', '.join(rules)}]"


def _show(value: Any) -> str:
    """Return a value as Java prints it, cut to a readable length."""
    if isinstance(value, dict):
        text = "{" + ", ".join(f"{k}={_show(v)}" for k, v in value.items()) + "}"
    elif isinstance(value, list):
        text = "[" + ", ".join(map(_show, value)) + "]"
    elif isinstance(value, bool):
        text = "true" if value else "false"
    else:
        text = str(value)
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "..."


def constraints(shape: Any, value: Any) -> list[str]:
    """Return the constraints of the shape that the value itself breaks, its members left aside."""
    kind, metadata = shape.type_name, shape.metadata
    low, high = metadata.get("min"), metadata.get("max")
    problems = []
    if kind in _NUMBERS:
        if high is not None and value > high:
            problems.append(f"Member must have value less than or equal to {high}")
        if low is not None and value < low:
            problems.append(f"Member must have value greater than or equal to {low}")
        return problems
    if kind in ("string", "list", "map", "blob") and (low is not None or high is not None):
        length = len(value)
        if high is not None and length > high:
            problems.append(f"Member must have length less than or equal to {high}")
        if low is not None and length < low:
            problems.append(f"Member must have length greater than or equal to {low}")
    if kind == "string":
        pattern = metadata.get("pattern")
        # A text that is too long anyway is not matched: patterns may take their time on it.
        if pattern is not None and (high is None or len(value) <= high) and not matches(pattern, value):
            problems.append(f"Member must satisfy regular expression pattern: {pattern}")
        if metadata.get("enum") and value not in metadata["enum"] and not _lenient(shape, value):
            problems.append(_enum_rule(shape))
    return problems


def _lenient(shape: Any, value: str) -> bool:
    return shape.name.endswith("InstanceType") and _INSTANCE_TYPE.fullmatch(value) is not None


def _enum_rule(shape: Any) -> str:
    return f"Member must satisfy enum value set: [{', '.join(shape.metadata['enum'])}]"


def all_constraints(shape: Any) -> list[str]:
    """Return every constraint of a scalar shape, as AWS lists them for items of a list and entries of a map."""
    metadata = shape.metadata
    word = "value" if shape.type_name in _NUMBERS else "length"
    rules = []
    if metadata.get("max") is not None:
        rules.append(f"Member must have {word} less than or equal to {metadata['max']}")
    if metadata.get("min") is not None:
        rules.append(f"Member must have {word} greater than or equal to {metadata['min']}")
    if metadata.get("pattern") is not None:
        rules.append(f"Member must satisfy regular expression pattern: {metadata['pattern']}")
    if metadata.get("enum"):
        rules.append(_enum_rule(shape))
    return rules
