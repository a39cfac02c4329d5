"""Records that all have one layout: dense rows, the common case, at the speed of a copy.

A layout is one record's bytes with slots for the numbers. Encoding fills the slots of a block of records that stays
in cache, then copies the block; decoding copies the slots out and compares every other byte with the first record's.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sagespark.codecs.recordio import varint
from sagespark.codecs.recordio.columns import Column, tag
from sagespark.codecs.recordio.framing import CONTENT_TYPE, HEADER, MAGIC, MAX_PAYLOAD
from sagespark.codecs.recordio.varint import Bytes
from sagespark.core.errors import CodecError

BLOCK_BYTES = 1 << 19
"""Bytes of records worked on at a time, so that they stay in the second-level cache."""
SMALL = 64
"""Bytes of a slot up to which it is copied with what surrounds it."""


@dataclass(frozen=True)
class Slot:
    """Where one tensor's values stand in a record."""

    side: int
    """``FEATURES`` or ``LABEL``."""
    name: bytes
    """The map entry's key."""
    number: int
    """The tensor's field number in Value."""
    offset: int
    """Bytes from the record's start."""
    size: int
    """Bytes of the values."""


@dataclass(frozen=True)
class Layout:
    """The bytes that all the records have in common.

    Parameters
    ----------
    record : bytes
        One record with its framing and padding; the slots hold anything.
    slots : tuple of Slot
        In order of offset.
    """

    record: bytes
    slots: tuple[Slot, ...]

    def __len__(self) -> int:
        """Return the bytes of a record."""
        return len(self.record)


def field(number: int, content: int) -> bytes:
    """Return tag and length of a length-delimited field of ``content`` bytes."""
    return bytes([tag(number)]) + varint.encode_one(content)


def layout(columns: tuple[Column, ...]) -> Layout:
    """Return the layout of dense columns.

    Raises
    ------
    CodecError
        If a row would be longer than a record may be.
    """
    payload = bytearray()
    slots = []
    for column in columns:
        size = column.matrix.shape[1] * column.dtype.itemsize
        values = field(1, size) if size else b""
        head = _entry_head(column, len(values) + size) + values
        slots.append(Slot(column.side, column.name, column.number, HEADER + len(payload) + len(head), size))
        if len(payload) + len(head) + size > MAX_PAYLOAD:
            raise too_long(len(payload) + len(head) + size)
        payload += head + bytes(size)
    words = np.array([MAGIC, len(payload)], "<u4").tobytes()
    return Layout(words + payload + bytes(-len(payload) % 4), tuple(slots))


def too_long(size: int) -> CodecError:
    """Return the error for a row that no record can hold."""
    return CodecError(
        f"a row takes {size} bytes, but a RecordIO record holds at most {MAX_PAYLOAD}: use fewer features",
        contentType=CONTENT_TYPE,
    )


def _entry_head(column: Column, tensor: int) -> bytes:
    """Return everything of a map entry that stands before its tensor of ``tensor`` bytes."""
    value = field(column.number, tensor)
    inner = field(1, len(column.name)) + column.name + field(2, len(value) + tensor) + value
    return field(column.side, len(inner) + tensor) + inner


def encode(columns: tuple[Column, ...], plan: Layout, rows: int, out: Bytes) -> None:
    """Write ``rows`` records of one layout into ``out``, which has exactly their size."""
    stride = len(plan)
    step = max(1, min(rows, BLOCK_BYTES // stride))
    block = np.tile(np.frombuffer(plan.record, np.uint8), step)
    filled = [(c, s) for c, s in zip(columns, plan.slots, strict=True) if s.size]
    targets = [items(block, s.offset, s.size, stride, step) for _, s in filled]
    with np.errstate(over="ignore"):  # a float64 beyond float32 becomes infinite, as a cast does
        for start in range(0, rows, step):
            count = min(step, rows - start)
            for (column, _), target in zip(filled, targets, strict=True):
                values = np.ascontiguousarray(column.matrix[start : start + count], column.dtype)
                target[:count] = values.reshape(-1).view(target.dtype)
            out[start * stride : (start + count) * stride] = block[: count * stride]


def items(buffer: Bytes, offset: int, size: int, stride: int, count: int) -> NDArray[Any]:
    """Return ``size`` bytes at ``offset`` of each record as opaque items, which numpy copies with memmove."""
    return np.ndarray((count,), _kind(size), buffer, offset, (stride,))


def _kind(size: int) -> str:
    """Return the type of opaque items; that of a word where there is one, which numpy copies without a call."""
    return f"<u{size}" if size in (4, 8) else f"V{size}"


def decode(body: Bytes, plan: Layout, into: list[NDArray[Any]]) -> bool:
    """Copy the slots of every record out, if all records have the layout.

    Parameters
    ----------
    body : ndarray of uint8
        Whole records, a multiple of the layout's length.
    plan : Layout
        The layout of the first record.
    into : list of ndarray, shape (n, m)
        Gets the values of each slot; C order.

    Returns
    -------
    bool
        False if some record has other bytes outside its slots; what was copied is then worthless.
    """
    stride = len(plan)
    rows = len(body) // stride
    targets = [a.reshape(-1).view(_kind(s.size)) if s.size else None for a, s in zip(into, plan.slots, strict=True)]
    # A gap may reach into the next record's head, so the last record is read from a copy with such a head behind it.
    head = next((s.offset for s in plan.slots if s.size > SMALL), 0)
    pattern = np.frombuffer(plan.record[:head], np.uint8)
    last = np.concatenate([body[-stride:], pattern])
    return (
        np.array_equal(body[:head], pattern)
        and _read(body, plan, rows - 1, targets, 0)
        and _read(last, plan, 1, targets, rows - 1)
    )


def _read(buffer: Bytes, plan: Layout, rows: int, targets: list[NDArray[Any] | None], first: int) -> bool:
    """Copy the slots of ``rows`` records out, the first of them being row ``first``; return whether all agree."""
    stride = len(plan)
    step = max(1, min(rows, BLOCK_BYTES // stride))
    large = [(s, target) for s, target in zip(plan.slots, targets, strict=True) if s.size > SMALL]
    copies = [(items(buffer, s.offset, s.size, stride, rows), target) for s, target in large if target is not None]
    begins = [s.offset + s.size for s, _ in large] or [0]
    ends = [s.offset for s, _ in large[1:]] + [stride + (large[0][0].offset if large else 0)]
    gaps = [_Gap(plan, b, e, buffer, step, rows, targets) for b, e in zip(begins, ends, strict=True) if e > b]
    for start in range(0, rows, step):
        stop = min(rows, start + step)
        for source, target in copies:
            target[first + start : first + stop] = source[start:stop]
        for gap in gaps:
            if not gap.take(start, stop, first):
                return False
    return True


class _Gap:
    """Bytes between large slots: small slots, and what must be the same in every record."""

    def __init__(
        self,
        plan: Layout,
        begin: int,
        end: int,
        buffer: Bytes,
        step: int,
        rows: int,
        targets: list[NDArray[Any] | None],
    ) -> None:
        size = end - begin
        common = (plan.record + plan.record)[begin:end]
        # Compared as a whole, by memcmp; what is beyond the last row of a block never changes.
        self._pattern = common * step
        self._bytes = bytearray(self._pattern)
        scratch = np.frombuffer(self._bytes, np.uint8)
        self._rows = scratch.view(f"V{size}")
        self._source = items(buffer, begin, size, len(plan), rows)
        self._slots = [
            (
                items(scratch, s.offset - begin, s.size, size, step),
                np.frombuffer(common, _kind(s.size), 1, s.offset - begin),
                target,
            )
            for s, target in zip(plan.slots, targets, strict=True)
            if target is not None and s.size <= SMALL and begin <= s.offset < end
        ]

    def take(self, start: int, stop: int, first: int) -> bool:
        """Copy the small slots of a block's records out; return whether all other bytes are as they must be."""
        count = stop - start
        self._rows[:count] = self._source[start:stop]
        for slot, common, target in self._slots:
            target[first + start : first + stop] = slot[:count]
            slot[:] = common
        return self._bytes == self._pattern
