"""Filter patterns of FilterLogEvents, for unstructured lines.

Facts: "Filter pattern syntax" of the CloudWatch Logs user guide. ``a b``: both terms; ``"a b"``: the phrase; ``-a``:
not the term; ``?a ?b``: one of them at least (left out where plain terms stand beside); ``%regex%``: a regex. Case
counts.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from sagespark.local.wire.context import AwsError

_TERM = re.compile(r'\s*([?-]?)(?:"((?:[^"\\]|\\.)*)"|%((?:[^%\\]|\\.)+)%|([^\s"%]\S*))')


def compile_filter(pattern: str) -> Callable[[str], bool] | None:
    """Return a function that tells whether a message matches, or None where every message does.

    Raises
    ------
    AwsError
        ``InvalidParameterException`` if the pattern cannot be read, or is one for JSON or columns.
    """
    text = pattern.strip()
    if not text or text == '""':
        return None
    if text[0] in "{[":
        raise AwsError(
            "InvalidParameterException",
            f"Invalid filter pattern {pattern!r}: the embedded service reads patterns for unstructured lines "
            '(terms, "phrases", -term, ?term, %regex%), not those for JSON or columns.',
        )
    needed: list[Callable[[str], bool]] = []
    optional: list[Callable[[str], bool]] = []
    at = 0
    while at < len(text):
        match = _TERM.match(text, at)
        if match is None:
            raise AwsError("InvalidParameterException", f"Invalid filter pattern {pattern!r} at character {at}.")
        at = match.end()
        sign, phrase, regex, word = match.groups()
        test = _regex(regex, pattern) if regex is not None else _contains(_unescape(phrase), word)
        if sign == "?":
            optional.append(test)
        else:
            needed.append(_not(test) if sign == "-" else test)
    if needed:
        return lambda message: all(test(message) for test in needed)
    return lambda message: any(test(message) for test in optional)


def _unescape(phrase: str | None) -> str | None:
    return None if phrase is None else re.sub(r"\\(.)", r"\1", phrase)


def _contains(phrase: str | None, word: str | None) -> Callable[[str], bool]:
    wanted = phrase if phrase is not None else word or ""
    return lambda message: wanted in message


def _not(test: Callable[[str], bool]) -> Callable[[str], bool]:
    return lambda message: not test(message)


def _regex(regex: str, pattern: str) -> Callable[[str], bool]:
    try:
        compiled = re.compile(regex)
    except re.error as error:
        raise AwsError("InvalidParameterException", f"Invalid filter pattern {pattern!r}: {error}.") from error
    return lambda message: compiled.search(message) is not None
