r"""Java's regular expressions, in which the service models write their patterns, as Python's.

What differs and occurs in the models: the classes ``\p{..}``; ``\uD800`` halves of characters outside the first
plane; ``\z``; ``\d``, ``\w`` and ``\s`` are ASCII; ``.`` stops at more line ends; a hyphen after a class is itself; an
end of text may be repeated; a ``[`` inside a set is always escaped. Java's ``matches()``, which AWS uses, is Python's
``fullmatch``.
"""

from __future__ import annotations

import re
import unicodedata
from functools import cache, lru_cache
from itertools import groupby

_POSIX = {
    "ASCII": r"\x00-\x7f",
    "Alnum": "a-zA-Z0-9",
    "Alpha": "a-zA-Z",
    "Digit": "0-9",
    "Lower": "a-z",
    "Upper": "A-Z",
    "Punct": r"!-/:-@\[-`{-~",
    "Graph": "!-~",
    "Print": " -~",
    "Blank": r" \t",
    "Cntrl": r"\x00-\x1f\x7f",
    "XDigit": "0-9a-fA-F",
    "Space": r"\t-\r ",
}
_DOT = r"[^\n\r\u0085\u2028\u2029]"
_HALVES = re.compile(r"\\uD800\\uDC00-\\uDBFF\\uDFFF", re.IGNORECASE)


# Letters, marks, numbers, punctuation, symbols and separators all lie here; all of Unicode takes five times as long.
_PLANES = (range(0x33480), range(0xE0000, 0xE0200))


@cache
def _categories() -> dict[str, list[tuple[int, int]]]:
    """Return the ranges of code points by Unicode category, both of two letters and of their first one."""
    ranges: dict[str, list[tuple[int, int]]] = {}
    for plane in _PLANES:
        start = plane.start
        for category, group in groupby(map(unicodedata.category, map(chr, plane))):
            end = start + sum(1 for _ in group)
            for name in (category, category[0]):
                known = ranges.setdefault(name, [])
                if known and known[-1][1] == start - 1:
                    known[-1] = (known[-1][0], end - 1)
                else:
                    known.append((start, end - 1))
            start = end
    return ranges


@cache
def _category(name: str) -> str:
    r"""Return the inside of a set that holds the Unicode category ``name`` (``L``, ``Zs``); empty for none."""
    if name.startswith("C"):
        return ""
    ranges = _categories().get(name, [])
    return "".join(f"\\U{a:08x}-\\U{b:08x}" if a != b else f"\\U{a:08x}" for a, b in ranges)


def translate(pattern: str) -> str:
    r"""Return Python's form of a Java pattern.

    Raises
    ------
    ValueError
        For a class that Java would not know either.
    """
    text = _HALVES.sub(lambda _: r"\U00010000-\U0010ffff", pattern)
    out: list[str] = []
    in_set = False
    i = 0
    while i < len(text):
        char = text[i]
        if char == "\\" and i + 1 < len(text):
            following = text[i + 1]
            if following in "pP":
                end = text.index("}", i) if text[i + 2 : i + 3] == "{" else i + 2
                name = text[i + 3 : end] if text[i + 2] == "{" else text[i + 2]
                out.append(_class(name, negated=following == "P", in_set=in_set))
                i = end + 1
                continue
            out.append(r"\Z" if following in "zZ" else char + following)
            i += 2
            # In Java `[\w-_]` a hyphen after a class is itself; Python takes it for a range.
            if in_set and following in "dDwWsS" and text[i : i + 1] == "-" and text[i + 1 : i + 2] != "]":
                out.append(r"\-")
                i += 1
            continue
        if in_set:
            if char == "]":
                in_set = False
            out.append("\\[" if char == "[" else char)
        elif char == "[":
            in_set = True
            out.append(char)
            if text[i + 1 : i + 2] == "^":
                out.append("^")
                i += 1
        elif char == ".":
            out.append(_DOT)
        elif char == "$" and text[i + 1 : i + 2] == "{":
            # Java repeats an end of text as often as asked, which is once; Python refuses to.
            out.append("$")
            i = text.index("}", i)
        else:
            out.append(char)
        i += 1
    return "".join(out)


def _class(name: str, *, negated: bool, in_set: bool) -> str:
    inside = _POSIX.get(name)
    if inside is None:
        inside = _category(name.removeprefix("Is"))
    if not inside:
        raise ValueError(f"no class \\p{{{name}}}")
    if in_set and not negated:
        return inside
    if in_set:
        raise ValueError(f"\\P{{{name}}} inside a set is not supported")
    return f"[{'^' if negated else ''}{inside}]"


@lru_cache(maxsize=4096)
def compiled(pattern: str) -> re.Pattern[str] | None:
    r"""Return the compiled pattern, or None, which is not checked, where Python cannot read it."""
    try:
        return re.compile(translate(pattern), re.ASCII)
    except (re.error, ValueError):
        return None


def matches(pattern: str, text: str) -> bool:
    """Tell whether the whole of ``text`` matches, as Java's ``matches()`` does."""
    expression = compiled(pattern)
    return expression is None or expression.fullmatch(text) is not None
