"""Bodies to batches: records of one layout by :mod:`fixed`, all others block by block."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from sagespark.codecs import assemble
from sagespark.codecs.base import MalformedError
from sagespark.codecs.matrix import Matrix
from sagespark.codecs.recordio import alike, fixed, framing, tensors
from sagespark.codecs.recordio.columns import TENSORS
from sagespark.codecs.recordio.tensors import Wanted
from sagespark.codecs.recordio.varint import Bytes

BLOCK_BYTES = 1 << 20
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
        return _general(frames, wanted, widths, reuse or {})
    except MalformedError as problem:
        raise MalformedError(problem.message, frames.original(problem.offset or 0)) from None


def _general(
    frames: framing.Frames, wanted: Wanted, widths: dict[tuple[int, bytes], int], reuse: Entries
) -> tuple[int, Entries]:
    rows = len(frames)
    widths = dict(widths)
    stacks: dict[tuple[int, bytes], assemble.Stack] = {}
    start = 0
    while start < rows:
        limit = int(frames.start[start]) + BLOCK_BYTES
        stop = max(start + 1, int(np.searchsorted(frames.stop, limit)))
        found = tensors.read(frames.body, frames.start[start:stop], frames.stop[start:stop], wanted)
        for key, part in found.items():
            if start == 0:
                # An entry of a sparse row takes at least one byte for its key, and those of its value.
                least = 1 + (part.values.itemsize if part.values.dtype.kind == "f" else 1)
                most = int(frames.stop[-1]) // least
                stacks[key] = assemble.Stack(rows, most, reuse.get(key))
            if key in stacks:
                name = tensors.title(*key)
                block = assemble.Batch(part, stop - start, name, start).matrix(widths.get(key))
                widths.setdefault(key, block.shape[1])
                if not stacks[key].add(block):
                    raise MalformedError(f"all rows must have one type of tensor, but {name} has several", part.at(0))
        for key in stacks.keys() ^ found.keys():
            raise MalformedError(f"some records have {tensors.title(*key)}, others have not", int(frames.start[start]))
        start = stop
    return rows, {key: stack.matrix() for key, stack in stacks.items()}


def _fixed(
    body: Bytes, wanted: Wanted, widths: dict[tuple[int, bytes], int], reuse: Entries
) -> tuple[int, Entries] | None:
    """Return what :func:`decode` does if all the records have one dense layout, else None."""
    plan = alike.recognise(body)
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
