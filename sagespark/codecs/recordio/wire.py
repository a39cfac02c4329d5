"""Protobuf messages, many at a time: every message of a level takes one step per field.

A message is a range of bytes. :func:`split` reads the first field of every message, then the second of those that have
one, and so on; each step is a few numpy operations over all of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sagespark.codecs.base import MalformedError
from sagespark.codecs.recordio.varint import LONGEST, Bytes, Offsets

VARINT, FIXED64, LENGTH, FIXED32 = 0, 1, 2, 5
MAX_FIELDS = 1024
"""Most fields of one message; runs of a repeated field count once. No writer of tensors comes near."""
_WINDOW = 128  # bytes in which a run is looked for at first; more where it fills them


@dataclass(frozen=True, eq=False)
class Found:
    """Fields of one number and wire type.

    Parameters
    ----------
    owner : ndarray of int64
        The message that each stands in.
    start, stop : ndarray of int64
        Its content (after the length, for ``LENGTH``).
    """

    owner: Offsets
    start: Offsets
    stop: Offsets

    def __len__(self) -> int:
        """Return the number of fields."""
        return len(self.owner)

    def at(self, index: NDArray[np.integer[Any]] | NDArray[np.bool_] | slice) -> Found:
        """Return some of the fields."""
        return Found(self.owner[index], self.start[index], self.stop[index])


def join(found: Iterable[Found]) -> Found:
    """Return several lists of fields as one, in order of offset."""
    parts = [f for f in found if len(f)]
    if len(parts) == 1:
        return parts[0]
    if not parts:
        none = np.empty(0, np.int64)
        return Found(none, none, none)
    whole = Found(*(np.concatenate([getattr(f, name) for f in parts]) for name in ("owner", "start", "stop")))
    return whole.at(np.argsort(whole.start, kind="stable"))


def read_varints(body: Bytes, at: Offsets, stop: Offsets) -> tuple[NDArray[np.uint64], Offsets]:
    """Return one varint at each offset, and the offset behind it.

    Raises
    ------
    MalformedError
        If one reaches over its end or does not fit 64 bits.
    """
    byte = body.take(at, mode="clip")
    more = byte >= 0x80
    value = (byte & 0x7F).astype(np.uint64)
    behind = at + 1
    for i in range(1, LONGEST):
        if not more.any():
            break
        byte = body.take(at + i, mode="clip")
        if i == LONGEST - 1 and (more & (byte > 1)).any():
            raise MalformedError("a varint does not fit 64 bits", int(at[np.flatnonzero(more & (byte > 1))[0]]))
        value |= np.where(more, byte & 0x7F, 0).astype(np.uint64) << np.uint64(7 * i)
        behind += more
        more &= byte >= 0x80
    if (behind > stop).any():
        raise MalformedError("a varint reaches over the end of its message", int(at[np.flatnonzero(behind > stop)[0]]))
    return value, behind


def _content(body: Bytes, at: Offsets, stop: Offsets) -> tuple[Offsets, Offsets]:
    """Return start and end of the content whose length stands at each offset.

    Raises
    ------
    MalformedError
        If one reaches over its end.
    """
    byte = body.take(at, mode="clip")
    if byte.max() < 0x80:
        begin = at + 1
        end = begin + byte
    else:
        next_byte = body.take(at + 1, mode="clip")
        if byte.min() >= 0x80 and next_byte.max() < 0x80:
            begin = at + 2
            end = begin + ((byte & 0x7F) | next_byte.astype(np.uint16) << np.uint16(7))
        else:
            size, begin = read_varints(body, at, stop)
            return begin, _behind(begin, size, stop, at)
    if (end > stop).any():
        return begin, _behind(begin, (end - begin).astype(np.uint64), stop, at)
    return begin, end


def split(
    body: Bytes, start: Offsets, stop: Offsets, wanted: Mapping[int, tuple[int, ...]], runs: bool = False
) -> dict[tuple[int, int], Found]:
    """Return the wanted fields of each message; all others are passed over.

    Parameters
    ----------
    body : ndarray of uint8
        The bytes.
    start, stop : ndarray of int64, shape (n,)
        The messages.
    wanted : mapping of int to tuple of int
        Field number -> wire types.
    runs : bool
        Take a run of one repeated field, such as unpacked values, in few steps.

    Returns
    -------
    dict of (int, int) to Found
        (number, wire type) -> the fields, in order of offset.

    Raises
    ------
    MalformedError
        If a field is cut short, has no valid number or wire type, or a message has too many.
    """
    tags = {number << 3 | wire: (number, wire) for number, wires in wanted.items() for wire in wires}
    found: dict[tuple[int, int], list[Found]] = {pair: [] for pair in tags.values()}
    owner = np.arange(len(start))
    at, end = start, stop
    if (stop <= start).any():
        owner = np.flatnonzero(stop > start)
        at, end = start[owner], stop[owner]
    window = _WINDOW
    for _ in range(MAX_FIELDS):
        if not len(owner):
            break
        code = body.take(at, mode="clip")
        first = int(code[0])
        if first in tags and first & 7 == LENGTH and first < 0x80 and (code == first).all():
            begin, after = _content(body, at + 1, end)
            found[tags[first]].append(Found(owner, begin, after))
        else:
            after, window = _step(body, owner, at, end, tags, found, window if runs else 0)
        left = after < end
        if left.all():
            at = after
        else:
            owner, at, end = owner[left], after[left], end[left]
    else:
        if len(owner):
            raise MalformedError(f"a message has more than {MAX_FIELDS} fields", int(at[0]))
    return {pair: join(parts) for pair, parts in found.items()}


def _step(
    body: Bytes,
    owner: Offsets,
    at: Offsets,
    end: Offsets,
    tags: Mapping[int, tuple[int, int]],
    found: dict[tuple[int, int], list[Found]],
    window: int,
) -> tuple[Offsets, int]:
    """Read one field of each message, of whatever number; return the offset behind each and the next window."""
    code, content = read_varints(body, at, end)
    after = _pass(body, code, content, at, end)
    for value, pair in tags.items():
        here = np.flatnonzero(code == value)
        if not len(here):
            continue
        if pair[1] == LENGTH:
            begin, _ = _content(body, content[here], end[here])
            found[pair].append(Found(owner[here], begin, after[here]))
            continue
        found[pair].append(Found(owner[here], content[here], after[here]))
        if window:
            reach = np.minimum(end[here], after[here] + window)
            more, behind = _run(body, value, owner[here], after[here], reach)
            full = int((behind - after[here]).sum()) * 2 >= int((reach - after[here]).sum())
            window = window * 4 if full else _WINDOW
            found[pair].append(more)
            after[here] = behind
    return after, window


def _behind(content: Offsets, size: NDArray[np.uint64], end: Offsets, at: Offsets) -> Offsets:
    room = end - content
    wrong = np.flatnonzero((room < 0) | (size > np.maximum(room, 0).astype(np.uint64)))
    if len(wrong):
        i = int(wrong[0])
        if room[i] < 0:
            raise MalformedError("a varint reaches over the end of its message", int(at[i]))
        raise MalformedError(
            f"a field of {int(size[i])} bytes reaches over the end of its message, {int(room[i])} are left", int(at[i])
        )
    return content + size.astype(np.int64)


def _pass(body: Bytes, code: NDArray[np.uint64], content: Offsets, at: Offsets, end: Offsets) -> Offsets:
    """Return the offset behind each field."""
    wire = (code & np.uint64(7)).astype(np.int64)
    number = code >> np.uint64(3)
    bad = (number == 0) | (number >= 1 << 29) | (wire == 3) | (wire == 4) | (wire > 5)
    if bad.any():
        i = int(np.flatnonzero(bad)[0])
        raise MalformedError(f"a field has the number {int(number[i])} and the wire type {int(wire[i])}", int(at[i]))
    after = content + np.where(wire == FIXED32, 4, np.where(wire == FIXED64, 8, 0))
    for kind in (VARINT, LENGTH):
        here = np.flatnonzero(wire == kind)
        if len(here):
            value, behind = read_varints(body, content[here], end[here])
            after[here] = behind if kind == VARINT else _behind(behind, value, end[here], at[here])
    if (after > end).any():
        raise MalformedError("a field reaches over the end of its message", int(at[np.flatnonzero(after > end)[0]]))
    return after


def ranges(start: Offsets, stop: Offsets) -> Offsets:
    """Return the numbers of all the ranges, one behind the other."""
    size = stop - start
    total = int(size.sum())
    out = np.arange(total)
    out += np.repeat(start - (np.cumsum(size) - size), size)
    return out


def _run(body: Bytes, code: int, owner: Offsets, at: Offsets, end: Offsets) -> tuple[Found, Offsets]:
    """Return the further fields with the one-byte tag ``code`` that follow at once, and the offsets behind them."""
    none = Found(at[:0], at[:0], at[:0])
    if code >= 0x80:
        return none, at
    here = np.flatnonzero((at < end) & (body.take(at, mode="clip") == code))
    if not len(here):
        return none, at
    wire = code & 7
    who, begin, stop = owner[here], at[here], end[here]
    if wire == VARINT:
        # Tag and number end alternately: a byte below 0x80 ends one of them.
        bounds = ranges(begin, stop)
        bounds = bounds[body[bounds] < 0x80]
        first = np.searchsorted(bounds, begin)
        total = (np.searchsorted(bounds, stop) - first) // 2
        lead = bounds[ranges(first, first + 2 * total)].reshape(-1, 2)
        tag_at, last = lead[:, 0], lead[:, 1]
        group = np.repeat(np.arange(len(here)), total)
        nth = np.arange(len(group)) - np.repeat(np.cumsum(total) - total, total)
        before = np.where(nth == 0, begin[group], np.concatenate([[0], last[:-1] + 1]))
        good = (tag_at == before) & (body[tag_at] == code) & (last - tag_at <= LONGEST)
        starts, stops = tag_at + 1, last + 1
    else:
        size = 4 if wire == FIXED32 else 8
        total = (stop - begin) // (size + 1)
        group = np.repeat(np.arange(len(here)), total)
        nth = np.arange(len(group)) - np.repeat(np.cumsum(total) - total, total)
        tag_at = begin[group] + nth * (size + 1)
        good = body[tag_at] == code
        starts, stops = tag_at + 1, tag_at + 1 + size
    # Of each group, only what comes before the first that does not fit.
    broken = np.full(len(here), np.iinfo(np.int64).max)
    np.minimum.at(broken, group[~good], nth[~good])
    good = nth < broken[group]
    after = at.copy()
    reach = np.array(begin)
    np.maximum.at(reach, group[good], stops[good])
    after[here] = reach
    return Found(who[group[good]], starts[good], stops[good]), after
