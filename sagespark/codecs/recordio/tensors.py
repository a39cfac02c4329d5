"""Tensors out of a block of records, whatever writer made them.

Messages are read level by level (record, map entry, Value, tensor); what comes out is one :class:`Tensors` per map and
name: the values, keys and shapes of all the rows, flat, with their counts per row.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sagespark.codecs.assemble import Tensors
from sagespark.codecs.base import MalformedError
from sagespark.codecs.recordio import wire
from sagespark.codecs.recordio.columns import FEATURES, NUMBER, TENSORS
from sagespark.codecs.recordio.varint import LONGEST, Bytes, Offsets

BYTES_FIELD = 9
"""Field number of Bytes in Value, which is no tensor and is passed over."""
MAX_NAMES = 1024
"""Most different names in one map."""


Wanted = dict[int, set[bytes] | None]
"""Map (``FEATURES``, ``LABEL``) -> the names wanted of it, or None for all."""


def read(body: Bytes, start: Offsets, stop: Offsets, wanted: Wanted) -> dict[tuple[int, bytes], Tensors]:
    """Return the tensors of the records, by map and name.

    Raises
    ------
    MalformedError
        If the bytes are no records, or one name has tensors of several types.
    """
    maps = wire.split(body, start, stop, dict.fromkeys(wanted, (wire.LENGTH,)))
    out = {}
    for side, names in wanted.items():
        entries = maps[side, wire.LENGTH]
        if not len(entries):
            continue
        parts = wire.split(body, entries.start, entries.stop, {1: (wire.LENGTH,), 2: (wire.LENGTH,)})
        for name, at in _by_name(body, _last(parts[1, wire.LENGTH]), len(entries)):
            if names is None or name in names:
                tensors = _tensors(body, side, name, entries, parts[2, wire.LENGTH], at)
                if tensors is not None:
                    out[side, name] = tensors
    return out


def _last(found: wire.Found) -> wire.Found:
    """Return the last field of each owner, in order of owner."""
    if len(found) < 2 or bool((found.owner[1:] > found.owner[:-1]).all()):
        return found
    order = np.argsort(found.owner, kind="stable")
    owner = found.owner[order]
    return found.at(order[np.append(owner[1:] != owner[:-1], True)])


def _by_name(body: Bytes, names: wire.Found, entries: int) -> Iterable[tuple[bytes, Offsets]]:
    """Yield each name and the entries that bear it; an entry without a key has the empty name."""
    size = np.zeros(entries, np.int64)
    begin = np.zeros(entries, np.int64)
    size[names.owner] = names.stop - names.start
    begin[names.owner] = names.start
    left = np.arange(entries)
    for _ in range(MAX_NAMES):
        if not len(left):
            return
        first, length = int(begin[left[0]]), int(size[left[0]])
        name = body[first : first + length].tobytes()
        same = size[left] == length
        if length:
            alike = left[same]
            pattern = np.frombuffer(name, np.uint8)
            same[same] = (take(body, begin[alike], length) == pattern).all(axis=1)
        yield name, left[same]
        left = left[~same]
    if len(left):
        raise MalformedError(f"a map has more than {MAX_NAMES} different keys", int(begin[left[0]]))


def take(body: Bytes, at: Offsets, size: int) -> Bytes:
    """Return ``size`` bytes at each offset, shape (len(at), size); all must lie inside."""
    items = np.ndarray((max(len(body) - size + 1, 0),), f"V{size}", body, 0, (1,))
    return items[at].view(np.uint8).reshape(len(at), size)


def _tensors(
    body: Bytes, side: int, name: bytes, entries: wire.Found, values: wire.Found, at: Offsets
) -> Tensors | None:
    """Return the tensors of the entries ``at``, or None where they hold bytes."""
    where = f"{'features' if side == FEATURES else 'label'}[{name.decode(errors='replace')!r}]"
    place = np.full(len(entries), -1, np.int64)
    place[at] = np.arange(len(at))
    mine = values.at(place[values.owner] >= 0)
    if len(mine) != len(at) or len(np.unique(mine.owner)) != len(at):
        missing = np.setdiff1d(at, mine.owner)
        if len(missing):
            raise MalformedError(f"the entry {where} has no value", int(entries.start[missing[0]]))
        raise MalformedError(f"an entry {where} sets its value twice", int(mine.start[0]))
    # A record that gives one name twice: the last counts, as in every protobuf reader.
    order = np.argsort(mine.owner, kind="stable")
    rows = entries.owner[mine.owner[order]]
    by_row = np.argsort(rows, kind="stable")
    rows, order = rows[by_row], order[by_row]
    last = np.append(rows[1:] != rows[:-1], True) if len(rows) else np.empty(0, bool)
    rows, mine = rows[last], mine.at(order[last])
    kinds = wire.split(body, mine.start, mine.stop, dict.fromkeys((*TENSORS, BYTES_FIELD), (wire.LENGTH,)))
    present = [n for n in (*TENSORS, BYTES_FIELD) if len(kinds[n, wire.LENGTH])]
    if present == [BYTES_FIELD]:
        return None
    found = wire.join(kinds[n, wire.LENGTH] for n in present)
    if len(present) != 1 or len(found) != len(mine) or len(np.unique(found.owner)) != len(mine):
        if len(found) == len(mine) and len(present) > 1:
            raise MalformedError(f"all rows must have one type of tensor, but {where} has several", int(found.start[0]))
        raise MalformedError(f"each value of {where} must hold one tensor", int(mine.start[0]) if len(mine) else 0)
    found = found.at(np.argsort(found.owner))
    return _content(body, present[0], rows, found, where)


def _content(body: Bytes, number: int, rows: Offsets, found: wire.Found, where: str) -> Tensors:
    dtype = TENSORS[number]
    single = {4: wire.FIXED32, 8: wire.FIXED64}[dtype.itemsize] if number != NUMBER["<i4"] else wire.VARINT
    fields = wire.split(
        body,
        found.start,
        found.stop,
        {1: (wire.LENGTH, single), 2: (wire.LENGTH, wire.VARINT), 3: (wire.LENGTH, wire.VARINT)},
        runs=True,
    )
    rows_count = len(found)

    def pieces(field: int, kind: int) -> wire.Found:
        return wire.join([fields[field, wire.LENGTH], fields[field, kind]])

    def integers(field: int) -> tuple[NDArray[np.uint64], Offsets]:
        piece = pieces(field, wire.VARINT)
        numbers, per_piece = varints(body, piece)
        return numbers, _per_owner(piece, per_piece, rows_count)

    if single == wire.VARINT:
        raw, count = integers(1)
        wide = raw.view(np.int64)
        values: NDArray[Any] = wide.astype(np.int32)
    else:
        piece = pieces(1, single)
        size = piece.stop - piece.start
        uneven = np.flatnonzero(size % dtype.itemsize)
        if len(uneven):
            raise MalformedError(
                f"the values of {where} take {int(size[uneven[0]])} bytes, no multiple of {dtype.itemsize}",
                int(piece.start[uneven[0]]),
            )
        values = gather(body, piece).view(dtype)
        count = _per_owner(piece, size // dtype.itemsize, rows_count)
    keys, key_count = integers(2)
    shape, dims = integers(3)
    return Tensors(rows, values, count, keys, key_count, shape, dims, found.start)


def _per_owner(piece: wire.Found, count: Offsets, rows: int) -> Offsets:
    if len(piece) == rows and rows and bool((piece.owner[1:] > piece.owner[:-1]).all()):
        return count
    out = np.zeros(rows, np.int64)
    np.add.at(out, piece.owner, count)
    return out


def gather(body: Bytes, piece: wire.Found) -> Bytes:
    """Return the bytes of all the pieces, one behind the other."""
    if not len(piece):
        return np.empty(0, np.uint8)
    size = piece.stop - piece.start
    first = int(size[0])
    if bool((size == first).all()):
        return take(body, piece.start, first).reshape(-1) if first else np.empty(0, np.uint8)
    lo, hi = int(piece.start[0]), int(piece.stop[-1])
    edges = np.empty(2 * len(piece) + 1, np.int64)
    edges[0] = lo
    edges[1::2] = piece.start
    edges[2::2] = piece.stop
    where = np.repeat(np.tile(np.array([False, True]), len(piece)), np.diff(edges))
    picked: Bytes = body[lo:hi][where]
    return picked


def varints(body: Bytes, piece: wire.Found) -> tuple[NDArray[np.uint64], Offsets]:
    """Return all the varints in the pieces, and how many each piece has.

    Raises
    ------
    MalformedError
        If a piece ends inside a varint, or one does not fit 64 bits.
    """
    flat = gather(body, piece)
    size = piece.stop - piece.start
    if not len(flat):
        return np.empty(0, np.uint64), np.zeros(len(piece), np.int64)
    stops = np.cumsum(size)
    last = np.flatnonzero(flat < 0x80)
    ends = stops[size > 0] - 1
    cut = np.flatnonzero(flat[ends] >= 0x80)
    if len(cut):
        at = int(np.flatnonzero(size > 0)[cut[0]])
        raise MalformedError("a packed field ends inside a varint", int(piece.stop[at]) - 1)
    upto = np.searchsorted(last, stops)
    counts = np.diff(upto, prepend=0)
    long = np.diff(last, prepend=-1)
    longest = int(long.max())
    if longest > LONGEST or (longest == LONGEST and bool((flat[last[long == LONGEST]] > 1).any())):
        bad = int(np.flatnonzero(long >= LONGEST)[0])
        which = int(np.searchsorted(stops, last[bad], side="right"))
        raise MalformedError("a varint does not fit 64 bits", int(piece.stop[which] - stops[which] + last[bad]))
    kind: Any = np.uint32 if longest <= 4 else np.uint64
    value = flat[last].astype(kind)
    for i in range(1, longest):
        before = flat.take(last - i, mode="clip")
        inside = long > i
        value = np.where(inside, value << kind(7) | (before & 0x7F), value)
    return value.astype(np.uint64), counts
