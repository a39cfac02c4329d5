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
from sagespark.codecs.recordio.alike import recognise_entry
from sagespark.codecs.recordio.columns import FEATURES, NUMBER, TENSORS
from sagespark.codecs.recordio.packed import gather, take, varints
from sagespark.codecs.recordio.varint import Bytes, Offsets

BYTES_FIELD = 9
"""Field number of Bytes in Value, which is no tensor and is passed over."""
SHORT = 128
"""Bytes of a map entry up to which entries are compared with the first one."""
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
        quick = _alike(body, side, entries)
        if quick is not None:
            if names is None or quick[0] in names:
                out[side, quick[0]] = quick[1]
            continue
        parts = wire.split(body, entries.start, entries.stop, {1: (wire.LENGTH,), 2: (wire.LENGTH,)})
        for name, at in _by_name(body, _last(parts[1, wire.LENGTH]), len(entries)):
            if names is None or name in names:
                tensors = _tensors(body, side, name, entries, parts[2, wire.LENGTH], at)
                if tensors is not None:
                    out[side, name] = tensors
    return out


def _alike(body: Bytes, side: int, entries: wire.Found) -> tuple[bytes, Tensors] | None:
    """Return name and tensors of short dense entries that are equal but for their values, such as labels; else None."""
    size = int(entries.stop[0] - entries.start[0])
    if size > SHORT or not _rising(entries.owner) or (entries.stop - entries.start != size).any():
        return None
    slot = recognise_entry(body[entries.start[0] : entries.stop[0]].tobytes(), side)
    if slot is None:
        return None
    matrix = take(body, entries.start, size)
    values = matrix[:, slot.offset : slot.offset + slot.size].copy()
    matrix[:, slot.offset : slot.offset + slot.size] = 0
    if not (matrix == matrix[0]).all():
        return None
    none, zero = np.empty(0, np.uint16), np.zeros(len(entries), np.int64)
    flat = values.reshape(-1).view(TENSORS[slot.number])
    count = zero + slot.size // flat.itemsize
    return slot.name, Tensors(entries.owner, flat, count, none, zero, none, zero, entries.start)


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


def _tensors(
    body: Bytes, side: int, name: bytes, entries: wire.Found, values: wire.Found, at: Offsets
) -> Tensors | None:
    """Return the tensors of the entries ``at``, or None where they hold bytes."""
    where = title(side, name)
    if len(at) == len(entries):
        place, mine = np.arange(len(entries)), values
    else:
        place = np.full(len(entries), -1, np.int64)
        place[at] = np.arange(len(at))
        mine = values.at(place[values.owner] >= 0)
    mine = _one_each(mine, place[mine.owner], len(at), entries.start[at], f"the entry {where}", "value")
    rows = entries.owner[at]
    if not _rising(rows):
        # The fields of a level are in order of offset, so the order of the rows is broken only by a name given twice:
        # there the last counts, as in every protobuf reader.
        order = np.argsort(rows, kind="stable")
        counts = np.append(rows[order][1:] != rows[order][:-1], True)
        _values(body, rows[order[~counts]], mine.at(order[~counts]), where)  # those that do not count must be whole too
        rows, mine = rows[order[counts]], mine.at(order[counts])
    return _values(body, rows, mine, where)


def _values(body: Bytes, rows: Offsets, mine: wire.Found, where: str) -> Tensors | None:
    """Return the tensors of messages Value, or None where they hold bytes."""
    kinds = wire.split(body, mine.start, mine.stop, dict.fromkeys((*TENSORS, BYTES_FIELD), (wire.LENGTH,)))
    present = [n for n in (*TENSORS, BYTES_FIELD) if len(kinds[n, wire.LENGTH])]
    if present == [BYTES_FIELD]:
        return None
    if len(present) > 1:
        second = kinds[present[1], wire.LENGTH]
        raise MalformedError(f"all rows must have one type of tensor, but {where} has several", int(second.start[0]))
    found = kinds[present[0], wire.LENGTH] if present else wire.join([])
    found = _one_each(found, found.owner, len(mine), mine.start, f"the value of {where}", "tensor")
    return _content(body, present[0], rows, found, where) if present else None


def title(side: int, name: bytes) -> str:
    """Return what errors call an entry."""
    return f"{'features' if side == FEATURES else 'label'}[{name.decode(errors='replace')!r}]"


def _rising(numbers: Offsets) -> bool:
    return bool((numbers[1:] > numbers[:-1]).all())


def _one_each(found: wire.Found, owner: Offsets, owners: int, offsets: Offsets, whose: str, what: str) -> wire.Found:
    """Return the fields in order of owner, of which each must have one."""
    if not (len(found) == owners and _rising(owner)):
        count = np.bincount(owner, minlength=owners)
        wrong = np.flatnonzero(count != 1)
        if len(wrong):
            has = "has no" if count[wrong[0]] == 0 else "has more than one"
            raise MalformedError(f"{whose} {has} {what}", int(offsets[wrong[0]]))
        found = found.at(np.argsort(owner))
    return found


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

    def integers(field: int) -> tuple[NDArray[Any], Offsets]:
        piece = wire.join([fields[field, wire.LENGTH], fields[field, wire.VARINT]])
        numbers, count = varints(body, piece)
        return numbers, _per_owner(piece, count, len(found))

    if single == wire.VARINT:
        raw, count = integers(1)
        # A negative int32 is sign-extended to 64 bits; like every reader, take the lower 32.
        values: NDArray[Any] = raw.astype(np.uint64).astype(np.uint32).view(np.int32)
    else:
        piece = wire.join([fields[1, wire.LENGTH], fields[1, single]])
        size = piece.stop - piece.start
        uneven = np.flatnonzero(size & dtype.itemsize - 1)
        if len(uneven):
            raise MalformedError(
                f"the values of {where} take {int(size[uneven[0]])} bytes, no multiple of {dtype.itemsize}",
                int(piece.start[uneven[0]]),
            )
        values = gather(body, piece).view(dtype)
        count = _per_owner(piece, size // dtype.itemsize, len(found))
    keys, key_count = integers(2)
    shape, dims = integers(3)
    return Tensors(rows, values, count, keys, key_count, shape, dims, found.start)


def _per_owner(piece: wire.Found, count: Offsets, owners: int) -> Offsets:
    if len(piece) == owners and _rising(piece.owner):
        return count
    out = np.zeros(owners, np.int64)
    np.add.at(out, piece.owner, count)
    return out
