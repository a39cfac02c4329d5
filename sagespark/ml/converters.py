"""Converters of Params: those of hyperparameters are the rows' own, these are the others'.

Each is a frozen value that is called: Params are pickled with their converters, so a closure would not do. Each takes
what the user wrote and returns what the Param keeps, or raises TypeError (wrong type) or ValueError (against the
rule) with a message that names the Param, the rule and the value. Converting twice changes nothing: ``copy`` replays
values through them.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from sagespark.algorithms.hyperparameter import Hyperparameter, Range
from sagespark.core.errors import ValidationError
from sagespark.core.s3uri import S3Uri
from sagespark.data.formats import Deserializer, Serializer


def _plain(value: Any) -> Any:
    """Return a numpy scalar as Python's own number."""
    return value.item() if hasattr(value, "item") and getattr(value, "ndim", None) == 0 else value


@dataclass(frozen=True)
class Number:
    """A number in a range; ``whole`` for integers."""

    name: str
    range: Range
    whole: bool = False

    def __call__(self, value: Any) -> int | float:
        """Return the number."""
        rule = f"{self.name} must be {'an integer' if self.whole else 'a number'} {self.range}, but got {value!r}"
        plain = _plain(value)
        if isinstance(plain, bool) or not isinstance(plain, int | float):
            raise TypeError(rule)
        if self.whole and not float(plain).is_integer():
            raise TypeError(rule)
        number = int(plain) if self.whole else float(plain)
        if number not in self.range:
            raise ValueError(rule)
        return number


@dataclass(frozen=True)
class Boolean:
    """True or False."""

    name: str

    def __call__(self, value: Any) -> bool:
        """Return the truth value."""
        plain = _plain(value)
        if not isinstance(plain, bool):
            raise TypeError(f"{self.name} must be True or False, but got {value!r}")
        return plain


@dataclass(frozen=True)
class Text:
    """A string that is not empty, of a pattern where one is given; ``rule`` says the pattern in words."""

    name: str
    pattern: str = ""
    rule: str = "a string"

    def __call__(self, value: Any) -> str:
        """Return the string."""
        if not isinstance(value, str):
            raise TypeError(f"{self.name} must be {self.rule}, but got {value!r}")
        if not value or (self.pattern and not re.fullmatch(self.pattern, value)):
            raise ValueError(f"{self.name} must be {self.rule}, but got {value!r}")
        return str(value)


@dataclass(frozen=True)
class Column:
    """The name of a column; ``empty`` allows '', which leaves an output column out."""

    name: str
    empty: bool = False

    def __call__(self, value: Any) -> str:
        """Return the name."""
        if not isinstance(value, str):
            raise TypeError(f"{self.name} must be the name of a column, but got {value!r}")
        if not value and not self.empty:
            raise ValueError(f"{self.name} must be the name of a column, but got ''")
        return str(value)


@dataclass(frozen=True)
class Choice:
    """One of several strings."""

    name: str
    choices: tuple[str, ...]

    def __call__(self, value: Any) -> str:
        """Return the string."""
        words = " or ".join(repr(c) for c in self.choices)
        if not isinstance(value, str):
            raise TypeError(f"{self.name} must be {words}, but got {value!r}")
        if value not in self.choices:
            near = get_close_matches(value, self.choices, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise ValueError(f"{self.name} must be {words}, but got {value!r}{hint}")
        return str(value)


@dataclass(frozen=True)
class Strings:
    """A list of strings, none of them empty."""

    name: str

    def __call__(self, value: Any) -> list[str]:
        """Return the list."""
        if isinstance(value, str) or not isinstance(value, list | tuple):
            raise TypeError(f"{self.name} must be a list of strings, but got {value!r}")
        if not all(isinstance(v, str) and v for v in value):
            raise TypeError(f"{self.name} must be a list of strings that are not empty, but got {value!r}")
        if len(set(value)) != len(value):
            raise ValueError(f"{self.name} must not name anything twice, but got {value!r}")
        return [str(v) for v in value]


@dataclass(frozen=True)
class Thresholds:
    """Numbers of 0 or more, one per class, of which at most one is 0."""

    name: str

    def __call__(self, value: Any) -> list[float]:
        """Return the numbers."""
        rule = f"{self.name} must be numbers of 0 or more, at most one of them 0, but got {value!r}"
        try:
            found = [_plain(v) for v in value]
        except TypeError:
            raise TypeError(rule) from None
        if isinstance(value, str) or any(isinstance(v, bool) or not isinstance(v, int | float) for v in found):
            raise TypeError(rule)
        if len(found) < 2 or not all(0 <= v < math.inf for v in found) or found.count(0) > 1:
            raise ValueError(rule)
        return [float(v) for v in found]


@dataclass(frozen=True)
class StringMap:
    """A dict from strings to strings; numbers and booleans become their text."""

    name: str

    def __call__(self, value: Any) -> dict[str, str]:
        """Return the dict."""
        if not isinstance(value, Mapping) or not all(isinstance(k, str) for k in value):
            raise TypeError(f"{self.name} must be a dict with strings as keys, but got {value!r}")
        bad = {k: v for k, v in value.items() if not isinstance(_plain(v), str | int | float)}
        if bad:
            raise TypeError(f"{self.name} must have strings or numbers as values, but got {bad!r}")
        return {str(k): str(_plain(v)) for k, v in value.items()}


@dataclass(frozen=True)
class Hyperparameters:
    """Hyperparameters of any image as the wire has them: strings; lists and dicts become JSON."""

    name: str

    def __call__(self, value: Any) -> dict[str, str]:
        """Return the dict."""
        if not isinstance(value, Mapping) or not all(isinstance(k, str) for k in value):
            raise TypeError(f"{self.name} must be a dict with strings as keys, but got {value!r}")
        return {key: self._text(key, _plain(inner)) for key, inner in value.items()}

    def _text(self, key: str, value: Any) -> str:
        if isinstance(value, str):
            return str(value)
        if isinstance(value, list | tuple | dict):
            try:
                return json.dumps(value)
            except TypeError:
                raise TypeError(f"{self.name}[{key!r}] must be JSON, but got {value!r}") from None
        if not isinstance(value, int | float):
            raise TypeError(f"{self.name}[{key!r}] must be a string, number, list or dict, but got {value!r}")
        return str(value)


@dataclass(frozen=True)
class ScriptHyperparameters:
    """Hyperparameters of a script: values of JSON, kept as they are."""

    name: str

    def __call__(self, value: Any) -> dict[str, Any]:
        """Return the dict."""
        if not isinstance(value, Mapping) or not all(isinstance(k, str) and k for k in value):
            raise TypeError(f"{self.name} must be a dict with strings as keys, but got {value!r}")
        own = [key for key in value if key.startswith("sagemaker_") and key not in _SCRIPT_SWITCHES]
        if own:
            raise ValueError(f"{self.name} must not name what the training toolkit keeps for itself, but got {own!r}")
        found = {key: _plain(inner) for key, inner in value.items()}
        for key, inner in found.items():
            try:
                json.dumps(inner, allow_nan=False)
            except (TypeError, ValueError):
                raise TypeError(f"{self.name}[{key!r}] must be JSON, but got {inner!r}") from None
        return found


_SCRIPT_SWITCHES = ("sagemaker_torch_distributed_enabled",)
"""Hyperparameters of the training toolkit that a user may set: PyTorch's launcher on several instances."""


@dataclass(frozen=True)
class Requirements:
    """A requirements file, or a list of its lines."""

    name: str

    def __call__(self, value: Any) -> str | list[str]:
        """Return the path, or the list."""
        if isinstance(value, str) and value:
            return str(value)
        if isinstance(value, list | tuple) and value and all(isinstance(v, str) and v.strip() for v in value):
            return [str(v) for v in value]
        raise TypeError(f"{self.name} must be a file's path or a list of requirements, but got {value!r}")


@dataclass(frozen=True)
class MetricDefinitions:
    """``MetricDefinitions`` as AWS has them; each regex has one group."""

    name: str

    def __call__(self, value: Any) -> list[dict[str, str]]:
        """Return the list."""
        if not isinstance(value, list | tuple) or not all(isinstance(v, Mapping) for v in value):
            raise TypeError(f"{self.name} must be a list of {{'Name': ..., 'Regex': ...}}, but got {value!r}")
        for entry in value:
            if set(entry) != {"Name", "Regex"} or not all(isinstance(v, str) and v for v in entry.values()):
                raise ValueError(f"{self.name} must have 'Name' and 'Regex' in every entry, but got {dict(entry)!r}")
        return [{"Name": str(v["Name"]), "Regex": str(v["Regex"])} for v in value]


@dataclass(frozen=True)
class Fields:
    """Fields of a response with the types of their columns."""

    name: str

    def __call__(self, value: Any) -> dict[str, str]:
        """Return the dict, in the order given."""
        if not isinstance(value, Mapping) or not all(isinstance(k, str) and k for k in value):
            raise TypeError(f"{self.name} must be a dict of field names and types, but got {value!r}")
        bad = {k: v for k, v in value.items() if v not in ("int", "double", "vector")}
        if bad or not value:
            raise ValueError(f"{self.name} must have the types 'int', 'double' or 'vector', but got {bad or value!r}")
        return {str(k): str(v) for k, v in value.items()}


@dataclass(frozen=True)
class ContentType:
    """A content type, or an object that has one (``content_type`` or ``CONTENT_TYPE``, as codecs and SDKs call it)."""

    name: str

    def __call__(self, value: Any) -> str:
        """Return the content type."""
        text = getattr(value, "content_type", getattr(value, "CONTENT_TYPE", value))
        if not isinstance(text, str):
            raise TypeError(f"{self.name} must be a content type such as 'text/csv', but got {value!r}")
        if "/" not in text:
            raise ValueError(f"{self.name} must be a content type such as 'text/csv', but got {value!r}")
        return str(text)


@dataclass(frozen=True)
class Arguments:
    """A list of strings, in order; any of them may occur twice, or be empty."""

    name: str

    def __call__(self, value: Any) -> list[str]:
        """Return the list."""
        if isinstance(value, str) or not isinstance(value, list | tuple) or not all(isinstance(v, str) for v in value):
            raise TypeError(f"{self.name} must be a list of strings, but got {value!r}")
        return [str(v) for v in value]


@dataclass(frozen=True)
class OwnFormat:
    """A content type, an object that has one, or a function of the user's own: ``Serializer`` or ``Deserializer``."""

    name: str
    kind: str

    def __call__(self, value: Any) -> str:
        """Return the content type, with its function where it has one."""
        wanted: type[Serializer | Deserializer] = Serializer if self.kind == "Serializer" else Deserializer
        if isinstance(value, wanted):
            return value
        if isinstance(value, Serializer | Deserializer):
            raise TypeError(f"{self.name} must be a {self.kind}, but got a {type(value).__name__}")
        if callable(value) and not hasattr(value, "content_type") and not hasattr(value, "CONTENT_TYPE"):
            return wanted(value)
        return ContentType(self.name)(value)


@dataclass(frozen=True)
class InstanceGroups:
    """``InstanceGroups`` as AWS has them."""

    name: str

    def __call__(self, value: Any) -> list[dict[str, Any]]:
        """Return the list."""
        fields = ("InstanceGroupName", "InstanceType", "InstanceCount")
        rule = f"{self.name} must be a list of {{{', '.join(f'{f!r}: ...' for f in fields)}}}, but got {value!r}"
        if not isinstance(value, list | tuple) or not value or not all(isinstance(v, Mapping) for v in value):
            raise TypeError(rule)
        if any(set(entry) != set(fields) for entry in value):
            raise ValueError(rule)
        count = Number(f"{self.name}: InstanceCount", Range(1), whole=True)
        found = [
            {
                "InstanceGroupName": Text(f"{self.name}: InstanceGroupName")(entry["InstanceGroupName"]),
                "InstanceType": Text(f"{self.name}: InstanceType")(entry["InstanceType"]),
                "InstanceCount": count(entry["InstanceCount"]),
            }
            for entry in value
        ]
        names = [entry["InstanceGroupName"] for entry in found]
        if len(set(names)) != len(names):
            raise ValueError(f"{self.name} must not name a group twice, but got {names!r}")
        return found


@dataclass(frozen=True)
class S3:
    """The URI of an S3 location."""

    name: str

    def __call__(self, value: Any) -> str:
        """Return the URI, ``s3://`` whatever the scheme was."""
        if not isinstance(value, str):
            raise TypeError(f"{self.name} must be an S3 URI, but got {value!r}")
        try:
            return str(S3Uri.parse(value))
        except ValidationError as error:
            raise ValueError(f"{self.name}: {error}") from None


@dataclass(frozen=True)
class Spelled:
    """What a hyperparameter accepts, kept in the user's own vocabulary: MLlib's word stays MLlib's word."""

    rule: Hyperparameter

    def __call__(self, value: Any) -> Any:
        """Return the value as written."""
        converted = self.rule.convert(value)
        return str(value) if isinstance(value, str) and value in self.rule.spellings else converted


@dataclass(frozen=True)
class Only:
    """MLlib's default and nothing else; ``reason`` says why."""

    name: str
    default: Any
    reason: str

    def __call__(self, value: Any) -> Any:
        """Return the default."""
        plain = _plain(value)
        if isinstance(plain, bool) != isinstance(self.default, bool) or plain != self.default:
            allowed = f"only {self.default!r} is accepted" if self.default is not None else "it cannot be set"
            raise ValueError(f"{self.name}: {self.reason}; {allowed}, but got {value!r}")
        return self.default
