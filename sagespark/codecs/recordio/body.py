"""Bodies to batches: records of one layout by :mod:`fixed`, all others block by block."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sagespark.codecs import assemble
from sagespark.codecs.base import MalformedError
from sagespark.codecs.matrix import Matrix
from sagespark.codecs.recordio import fixed, framing, tensors
from sagespark.codecs.recordio.columns import FEATURES, NUMBER, TENSORS
from sagespark.codecs.recordio.framing import HEADER, MAGIC
from sagespark.codecs.recordio.tensors import Wanted
from sagespark.codecs.recordio.varint import Bytes

BLOCK_BYTES = 1 << 19
"""Bytes of records worked on at a time; with temporaries they stay in the second-level cache."""

Entries = dict[tuple[int, bytes], Matrix]


def decode(
    body: Bytes, wanted: Wanted, widths: dict[tuple[int, bytes], int], reuse: Entries | None = None
) -> tuple[int, Entries]:
    """Return the number of records and the batch of each map entry.

    Parameters
    ----------
    body : ndarray of uint8
        Whole records.
    wanted : dict
        Map -> names wanted, None for all.
    widths : dict
        (map, name) -> the width every row must have.
    reuse : dict, optional
        Batches whose memory may be written over, where it fits.

    Raises
    ------
    MalformedError
        If the bytes are no records or rows do not fit together.
    """
    quick = _fixed(body, wanted, widths, reuse or {})
    if quick is not None:
        return quick
    frames = framing.find(body)
    try:
        return _general(frames, wanted, widths)
    except MalformedError as problem:
        raise MalformedError(problem.message, frames.original(problem.offset or 0)) from None


def _general(frames: framing.Frames, wanted: Wanted, widths: dict[tuple[int, bytes], int]) -> tuple[int, Entries]:
    rows = len(frames)
    widths = dict(widths)
    parts: dict[tuple[int, bytes], list[Matrix]] = {}
    edges = [0]
    while edges[-1] < rows:
        limit = int(frames.start[edges[-1]]) + BLOCK_BYTES
        edges.append(max(edges[-1] + 1, int(np.searchsorted(frames.stop, limit))))
    for block, (start, stop) in enumerate(pairwise(edges)):
        found = tensors.read(frames.body, frames.start[start:stop], frames.stop[start:stop], wanted)
        for key, part in found.items():
            parts.setdefault(key, []).append(
                assemble.Batch(part, stop - start, title(*key), start).matrix(widths.get(key))
            )
        for key, listed in parts.items():
            widths.setdefault(key, listed[0].shape[1])
            if len(listed) != block + 1:
                raise MalformedError(f"some records have {title(*key)}, others have not", int(frames.start[start]))
    return rows, {key: assemble.concatenate(listed, title(*key)) for key, listed in parts.items()}


def title(side: int, name: bytes) -> str:
    """Return what errors call an entry."""
    return f"{'features' if side == FEATURES else 'label'}[{name.decode(errors='replace')!r}]"


def _fixed(
    body: Bytes, wanted: Wanted, widths: dict[tuple[int, bytes], int], reuse: Entries
) -> tuple[int, Entries] | None:
    """Return what :func:`decode` does if all the records have one dense layout, else None."""
    plan = recognise(body)
    if plan is None or len(body) % len(plan):
        return None
    arrays: list[NDArray[Any]] = []
    for slot in plan.slots:
        kind = TENSORS[slot.number]
        width = slot.size // kind.itemsize
        if widths.get((slot.side, slot.name), width) != width:
            return None
        arrays.append(_memory(reuse.get((slot.side, slot.name)), len(body) // len(plan), width, kind))
    if not fixed.decode(body, plan, arrays):
        return None
    kept: Entries = {}
    for slot, array in zip(plan.slots, arrays, strict=True):
        names = wanted.get(slot.side, set())
        if names is None or slot.name in names:
            kept[slot.side, slot.name] = array
    return len(body) // len(plan), kept


def _memory(old: Matrix | None, rows: int, width: int, kind: np.dtype[Any]) -> NDArray[Any]:
    """Return an array to fill: the first rows of ``old`` where it is of the same kind and long enough."""
    if (
        isinstance(old, np.ndarray)
        and old.dtype == kind
        and old.ndim == 2
        and old.shape[1] == width
        and len(old) >= rows
        and old.flags.c_contiguous
        and old.flags.writeable
    ):
        return old[:rows]
    return np.empty((rows, width), kind)


class _OddError(Exception):
    """The first record is not of the simple kind."""


def recognise(body: Bytes) -> fixed.Layout | None:
    """Return the layout of the first record, or None unless it is whole and holds packed dense tensors alone."""
    if len(body) < HEADER:
        return None
    magic, size = body[:HEADER].view("<u4").tolist()
    if magic != MAGIC or size > len(body) - HEADER:
        return None
    record = body[: HEADER + (size + 3 & -4)].tobytes()
    slots: list[fixed.Slot] = []
    try:
        if any(record[HEADER + size :]):
            return None
        for side, lo, hi in _fields(record, HEADER, HEADER + size, (1, 2)):
            entry = [(number, b, e) for number, b, e in _fields(record, lo, hi, (1, 2))]
            if sorted(number for number, _, _ in entry) != [1, 2]:
                return None
            (_, kb, ke), (_, vb, ve) = sorted(entry)
            ((number, tb, te),) = _fields(record, vb, ve, tuple(TENSORS))
            values = list(_fields(record, tb, te, (1,)))
            if number == NUMBER["<i4"] or len(values) > 1:
                return None
            _, b, e = values[0] if values else (1, te, te)
            if (e - b) % TENSORS[number].itemsize:
                return None
            slots.append(fixed.Slot(side, record[kb:ke], number, b, e - b))
    except (_OddError, ValueError, IndexError):
        return None
    if not slots or len({(s.side, s.name) for s in slots}) != len(slots):
        return None
    return fixed.Layout(record, tuple(slots))


def _fields(record: bytes, at: int, end: int, known: tuple[int, ...]) -> Any:
    """Yield number, start and stop of each field; all must be length-delimited and known."""
    while at < end:
        code = record[at]
        if code & 7 != 2 or code >> 3 not in known:
            raise _OddError
        at += 1
        size = shift = 0
        while True:
            size |= (record[at] & 0x7F) << shift
            at += 1
            if record[at - 1] < 0x80:
                break
            shift += 7
        if at + size > end:
            raise _OddError
        yield code >> 3, at, at + size
        at += size
