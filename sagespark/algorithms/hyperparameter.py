"""One hyperparameter: its spellings, its values, its wire string."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any, Literal

Kind = Literal["int", "float", "bool", "str", "list"]
"""Python type of a hyperparameter's value; ``list`` is a list of strings sent as JSON."""


@dataclass(frozen=True)
class Range:
    """An interval of numbers; None leaves a side open-ended."""

    low: float | None = None
    high: float | None = None
    low_open: bool = False
    high_open: bool = False

    def __contains__(self, value: float) -> bool:
        """Tell whether ``value`` lies in the interval (NaN never does)."""
        if math.isnan(value):
            return False
        if self.low is not None and (value < self.low or (self.low_open and value == self.low)):
            return False
        return not (self.high is not None and (value > self.high or (self.high_open and value == self.high)))

    def __str__(self) -> str:
        """Return the rule in words, such as ``>= 1`` or ``in (0, 1]``."""
        if self.low is None and self.high is None:
            return "any number"
        if self.high is None:
            return f"{'>' if self.low_open else '>='} {self.low:.12g}"
        if self.low is None:
            return f"{'<' if self.high_open else '<='} {self.high:.12g}"
        return f"in {'(' if self.low_open else '['}{self.low:.12g}, {self.high:.12g}{')' if self.high_open else ']'}"


@dataclass(frozen=True)
class Tunable:
    """What automatic model tuning may search, as AWS's documentation recommends it."""

    kind: Literal["Continuous", "Integer", "Categorical"]
    low: float | None = None
    high: float | None = None
    values: tuple[str, ...] = ()
    scaling: Literal["Auto", "Linear", "Logarithmic", "ReverseLogarithmic"] = "Auto"


@dataclass(frozen=True)
class Hyperparameter:
    """One hyperparameter: where MLlib's name, the camelCase spelling and the wire string meet.

    Parameters
    ----------
    wire : str
        Name in ``HyperParameters``, snake_case, such as ``local_lloyd_max_iter``.
    kind : {'int', 'float', 'bool', 'str', 'list'}
        Type of the value in Python.
    doc : str
        One sentence.
    default : object
        AWS's documented default; None where there is none.
    range : Range or None
        Numbers accepted.
    choices : tuple of str
        Strings accepted (for ``list``, the members accepted).
    keywords : tuple of str
        Strings accepted beside numbers, such as ``auto``.
    param : str or None
        MLlib's name of the Param; None where MLlib has none, and the camelCase spelling is the Param.
    spellings : mapping of str to str
        MLlib's words for values that AWS calls otherwise, such as ``{'k-means||': 'kmeans++'}``.
    required : bool
        Whether the service refuses a job without it.
    send : object
        Value that is sent when the Param is unset although the hyperparameter is required; None: it is asked for.
    inferred : bool
        Filled from the data or the schema (``feature_dim``); no Param.
    mllib_default : object
        MLlib's default where it differs from AWS's; shown by ``explainParams``.
    tunable : Tunable or None
        What tuning may search.
    pattern : str
        Regex of strings accepted beside ``choices`` (for ``list``, of members).
    example : str
        Text of the pattern, for messages.
    separator : str
        What stands between the members of a ``list`` on the wire; empty: the list is sent as JSON.
    brackets : str
        For ``str``: what encloses numbers on the wire, ``()`` or ``[]``; lists and tuples of them are accepted too.
    """

    wire: str
    kind: Kind
    doc: str
    default: Any = None
    range: Range | None = None
    choices: tuple[str, ...] = ()
    keywords: tuple[str, ...] = ()
    param: str | None = None
    spellings: Mapping[str, str] = field(default_factory=dict)
    required: bool = False
    send: Any = None
    inferred: bool = False
    mllib_default: Any = None
    tunable: Tunable | None = None
    pattern: str = ""
    example: str = ""
    separator: str = ""
    brackets: str = ""

    @property
    def camel(self) -> str:
        """The camelCase spelling of the wire string."""
        return camel_case(self.wire)

    @property
    def name(self) -> str:
        """The Param's name: MLlib's where there is one, else the camelCase spelling."""
        return self.param or self.camel

    @property
    def rule(self) -> str:
        """The values accepted, in words."""
        words = [repr(w) for w in (*self.choices, *self.keywords)]
        if self.pattern:
            words.append(f"text such as {self.example!r}" if self.example else f"text of the form {self.pattern}")
        if self.kind == "bool":
            words = ["True", "False", *words]
        if self.kind == "list":
            return "a list of " + " and/or ".join(words)
        if self.kind in ("int", "float"):
            number = "an integer" if self.kind == "int" else "a number"
            words.append(number + (f" {self.range}" if self.range is not None else ""))
        return " or ".join(words) if words else "a string"

    def convert(self, value: Any) -> Any:
        """Return ``value`` as the Param keeps it.

        Raises
        ------
        TypeError
            If it has the wrong type.
        ValueError
            If it is outside the range or the choices; the message names the rule.
        """
        if isinstance(value, str):
            value = self.spellings.get(value, value)
            if value in self.keywords or (self.kind == "str" and self._accepts(value)):
                return value
            if self.separator:
                value = [part.strip() for part in value.split(self.separator)]
        if self.brackets and isinstance(value, list | tuple):
            inner = json.dumps(value, separators=(",", ":"))[1:-1]
            return self.convert(f"{self.brackets[0]}{inner}{self.brackets[1]}")
        if hasattr(value, "item") and getattr(value, "ndim", 0) == 0:
            value = value.item()
        converted = _CONVERTERS[self.kind](value)
        if converted is None:
            error = ValueError if isinstance(value, str) and (self.kind == "str" or self.keywords) else TypeError
            raise error(self._refusal(value))
        if self.range is not None and converted not in self.range:
            raise ValueError(self._refusal(value))
        if self.kind == "list" and not (converted and all(map(self._accepts, converted))):
            raise ValueError(self._refusal(value))
        if self.kind == "str" and not self._accepts(converted):
            raise ValueError(self._refusal(value))
        return converted

    def _accepts(self, text: str) -> bool:
        """Tell whether a string, or a member of a list, is one of the choices or of the pattern."""
        if not (self.choices or self.pattern):
            return True
        return text in self.choices or bool(self.pattern and re.fullmatch(self.pattern, text))

    def _refusal(self, value: Any) -> str:
        name = self.name if self.name == self.wire else f"{self.name} ({self.wire})"
        text = f"{name} must be {self.rule}, but got {value!r}"
        if isinstance(value, str):
            near = get_close_matches(value, [*self.choices, *self.keywords, *self.spellings], n=1)
            text += f"; did you mean {near[0]!r}?" if near else ""
        return text

    def to_wire(self, value: Any) -> str:
        """Return the string that ``HyperParameters`` carries for a converted value."""
        if isinstance(value, bool):
            return "True" if value else "False"
        if isinstance(value, list | tuple):
            return self.separator.join(value) if self.separator else json.dumps(list(value), separators=(",", ":"))
        return repr(value) if isinstance(value, float) else str(value)

    def from_wire(self, text: str) -> Any:
        """Return the value of a wire string, checked as :meth:`convert` checks it.

        Raises
        ------
        ValueError
            If the string cannot be read or its value is refused; the message names the rule.
        """
        if text in self.keywords:
            return text
        try:
            if self.kind == "int":
                parsed: Any = int(text)
            elif self.kind == "float":
                parsed = float(text)
            elif self.kind == "bool":
                parsed = {"true": True, "1": True, "false": False, "0": False}[text.strip().lower()]
            elif self.kind == "list":
                parsed = text if self.separator else json.loads(text)
            else:
                parsed = text
        except (ValueError, KeyError):
            raise ValueError(self._refusal(text)) from None
        try:
            return self.convert(parsed)
        except TypeError as error:
            raise ValueError(str(error)) from None


def _integer(value: Any) -> int | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return value
    return int(value) if isinstance(value, float) and value.is_integer() else None


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _boolean(value: Any) -> bool | None:
    return value if isinstance(value, bool) else None


def _no_string(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _strings(value: Any) -> list[str] | None:
    good = isinstance(value, list | tuple) and all(isinstance(v, str) for v in value)
    return list(value) if good else None


_CONVERTERS: Mapping[Kind, Callable[[Any], Any]] = {
    "int": _integer,
    "float": _number,
    "bool": _boolean,
    "str": _no_string,
    "list": _strings,
}


def camel_case(wire: str) -> str:
    """Return ``local_lloyd_tol`` as ``localLloydTol``."""
    head, *rest = wire.split("_")
    return head + "".join(part[:1].upper() + part[1:] for part in rest)
