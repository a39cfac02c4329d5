"""Reading LibSVM text: tokens found by their borders, numbers read by Arrow, many at a time.

Notation: ``t`` tokens, the runs of bytes between blanks, colons and line ends; ``n`` lines that hold one.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv
from numpy.typing import NDArray

from sagespark.codecs.base import MalformedError, Rows
from sagespark.codecs.csv import MISSING
from sagespark.codecs.matrix import Csr

_SPACE, _TAB, _NEWLINE, _RETURN, _COLON, _HASH = b" \t\n\r:#"
_QID = np.frombuffer(b"qid", np.uint8)
_BLOCK = 1 << 26
_EXACT = 2.0**53

Bytes = NDArray[np.uint8]
Places = NDArray[np.int64]
Mask = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Tokens:
    """The tokens of a text: token ``i`` is ``body[starts[i]:ends[i]]``."""

    body: Bytes
    starts: Places
    ends: Places
    line: Places
    """Number of each token's line, from 0."""

    def text(self, i: int) -> str:
        """Return a token."""
        return self.body[self.starts[i] : self.ends[i]].tobytes().decode(errors="replace")[:40]

    def refuse(self, i: int, words: str) -> MalformedError:
        """Return the error of a token, which ``words`` go on about."""
        return MalformedError(f"line {int(self.line[i]) + 1}: {self.text(i)!r} {words}", int(self.starts[i]))


def rows(body: Bytes, width: int | None, labelled: bool) -> Rows:
    """Return the rows of a text; see :meth:`sagespark.codecs.libsvm.Libsvm.decode`.

    Raises
    ------
    MalformedError
        With the line and the offset.
    """
    body = _prepared(body)
    tokens = _tokens(body)
    if not len(tokens.starts) and not (body == _COLON).any():
        empty = Csr(np.zeros(1, np.int64), np.empty(0, np.int64), np.empty(0, np.float32), width or 0)
        return Rows(empty, np.empty(0, np.float32) if labelled else None)
    before = np.concatenate([[_NEWLINE], body])[tokens.starts] == _COLON
    after = body[tokens.ends] == _COLON
    _check_colons(tokens, before, after)
    first = np.diff(tokens.line, prepend=-1) != 0
    if not labelled:
        # A line of a request may begin with an entry; where it begins with a label, that is passed over.
        first &= ~after
    query = _queries(tokens) & after
    entry = after & ~first & ~query
    lonely = ~first & ~before & ~after
    if lonely.any():
        raise tokens.refuse(int(lonely.argmax()), "must be an entry, index:value")
    numbers = _numbers(tokens, ~query)
    _, place = np.unique(tokens.line, return_inverse=True)
    n = int(place[-1]) + 1
    follows = np.flatnonzero(entry) + 1
    features = _features(tokens, numbers, entry, place, follows, n, width)
    if not labelled:
        return Rows(features, None)
    return Rows(features, _lead(tokens, numbers, first, after, query, place, n))


def _prepared(body: Bytes) -> Bytes:
    """Return the text with line ends alike, without comments, and with a line end behind the last line."""
    if (body == _RETURN).any():
        body = np.frombuffer(body.tobytes().replace(b"\r\n", b" \n").replace(b"\r", b"\n"), np.uint8)
    if not len(body) or body[-1] != _NEWLINE:
        body = np.append(body, np.uint8(_NEWLINE))
    if (body == _HASH).any():
        newline = body == _NEWLINE
        line = np.cumsum(newline) - newline
        begin = np.full(int(line[-1]) + 1, len(body))
        marks = np.flatnonzero(body == _HASH)
        np.minimum.at(begin, line[marks], marks)
        body = np.where((np.arange(len(body)) >= begin[line]) & ~newline, np.uint8(_SPACE), body)
    return body


def _tokens(body: Bytes) -> Tokens:
    newline = body == _NEWLINE
    border = (body == _SPACE) | (body == _TAB) | (body == _COLON) | newline
    edges = np.flatnonzero(np.diff(border, prepend=True))
    starts, ends = edges[::2], edges[1::2]
    ends_of_lines = np.flatnonzero(newline)
    return Tokens(body, starts, ends, np.searchsorted(ends_of_lines, starts))


def _check_colons(tokens: Tokens, before: Mask, after: Mask) -> None:
    """Refuse a colon that does not stand between two tokens, and a token between two colons."""
    colons = np.flatnonzero(tokens.body == _COLON)
    alone = np.ones(len(colons), bool)
    alone[np.searchsorted(colons, tokens.ends[after])] = False
    unled = np.ones(len(colons), bool)
    unled[np.searchsorted(colons, tokens.starts[before] - 1)] = False
    wrong = alone | unled
    if wrong.any():
        at = int(colons[wrong.argmax()])
        line = int(np.count_nonzero(tokens.body[:at] == _NEWLINE)) + 1
        raise MalformedError(f"line {line}: a colon must stand between two numbers, without blanks", at)
    both = before & after
    if both.any():
        raise tokens.refuse(int(both.argmax()), "stands between two colons; an entry is index:value")


def _queries(tokens: Tokens) -> Mask:
    """Tell which tokens are the word ``qid``."""
    found: Mask = tokens.ends - tokens.starts == len(_QID)
    for i, letter in enumerate(_QID):
        found[found] = tokens.body[tokens.starts[found] + i] == letter
    return found


def _numbers(tokens: Tokens, wanted: Mask) -> NDArray[np.float64]:
    """Return each token's number; NaN for those that are not wanted."""
    body, starts, ends = tokens.body, tokens.starts[wanted], tokens.ends[wanted]
    # Each token's bytes and the one behind it, which becomes a line end: a column that Arrow reads.
    steps = np.zeros(len(body) + 1, np.int8)
    steps[starts] += 1
    steps[ends + 1] -= 1
    keep = np.cumsum(steps[:-1], dtype=np.int8) > 0
    column = body.copy()
    column[ends] = _NEWLINE
    out = np.full(len(wanted), np.nan)
    try:
        table = pacsv.read_csv(
            pa.BufferReader(pa.py_buffer(column[keep])),
            read_options=pacsv.ReadOptions(column_names=["n"], use_threads=False, block_size=_BLOCK),
            parse_options=pacsv.ParseOptions(delimiter="\x01", ignore_empty_lines=False, quote_char=False),
            convert_options=pacsv.ConvertOptions(
                column_types={"n": pa.float64()}, null_values=list(MISSING), strings_can_be_null=True
            ),
        )
    except pa.ArrowInvalid:
        raise _no_number(tokens, wanted) from None
    read = table.column(0).to_numpy()
    if len(read) != len(starts):
        raise _no_number(tokens, wanted)
    out[wanted] = read
    return out


def _no_number(tokens: Tokens, wanted: Mask) -> MalformedError:
    """Return the error of the first token that is no number; only looked for where there is one."""
    for i in np.flatnonzero(wanted):
        try:
            if tokens.text(int(i)) not in MISSING:
                float(tokens.text(int(i)))
        except ValueError:
            return tokens.refuse(int(i), "is no number")
    return MalformedError("a token is no number")


def _features(
    tokens: Tokens,
    numbers: NDArray[np.float64],
    entry: Mask,
    place: Places,
    follows: Places,
    n: int,
    width: int | None,
) -> Csr:
    at = np.flatnonzero(entry)
    indices = numbers[at]
    with np.errstate(invalid="ignore"):
        wrong = ~((indices >= 0) & (indices < _EXACT) & (indices == np.rint(indices)))
    if wrong.any():
        raise tokens.refuse(int(at[wrong.argmax()]), "is no index; indices are whole numbers from 0")
    found = indices.astype(np.int64)
    counts = np.bincount(place[at], minlength=n)
    falling = (np.diff(found) <= 0) & (np.diff(place[at]) == 0)
    if falling.any():
        raise tokens.refuse(int(at[falling.argmax() + 1]), "is not above the index before; indices of a row increase")
    if width is not None and len(found) and found.max() >= width:
        raise tokens.refuse(
            int(at[(found >= width).argmax()]), f"is beyond the {width} features, whose indices are 0 to {width - 1}"
        )
    missing = np.isnan(numbers[follows])
    if missing.any():
        raise tokens.refuse(int(follows[missing.argmax()]), "is no number; an entry that is left out is missing")
    with np.errstate(over="ignore"):
        values = numbers[follows].astype(np.float32)
    size = (int(found.max()) + 1 if len(found) else 0) if width is None else width
    return Csr(np.concatenate([[0], np.cumsum(counts)]), found, values, size)


def _lead(
    tokens: Tokens, numbers: NDArray[np.float64], first: Mask, after: Mask, query: Mask, place: Places, n: int
) -> NDArray[np.floating]:
    """Return labels, with weights and query ids where the rows have them."""
    heads = np.flatnonzero(first)
    labels = numbers[heads]
    if query[heads].any():
        raise tokens.refuse(int(heads[query[heads].argmax()]), "stands first; a line begins with its label")
    weighted = after[heads]
    at = np.flatnonzero(query)
    if not weighted.any() and not len(at):
        return labels.astype(np.float32)
    if not (weighted.all() or not weighted.any()):
        raise tokens.refuse(int(heads[weighted.argmin()]), "has no weight, but other rows have one; all have, or none")
    weights = numbers[heads + 1] if weighted.all() else np.full(n, np.nan)
    if not len(at):
        return np.column_stack([labels, weights]).astype(np.float32)
    ids = np.full(n, np.nan)
    ids[place[at]] = numbers[at + 1]
    twice = np.bincount(place[at], minlength=n) > 1
    if twice.any():
        raise tokens.refuse(int(heads[twice.argmax()]), "begins a row with two query ids")
    with np.errstate(invalid="ignore"):
        wrong = ~((ids >= 0) & (ids <= _EXACT) & (ids == np.rint(ids)))
    if wrong.any():
        raise tokens.refuse(
            int(heads[wrong.argmax()]), "begins a row without a query id that is a whole number; other rows have one"
        )
    return np.column_stack([labels, weights, ids])
