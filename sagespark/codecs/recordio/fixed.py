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
from sagespark.core.errors import CodecError

BLOCK_BYTES = 1 << 17
"""Bytes of records worked on at a time, so that they stay in the second-level cache."""


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


def encode(columns: tuple[Column, ...], plan: Layout, rows: int, out: NDArray[np.uint8]) -> None:
    """Write ``rows`` records of one layout into ``out``, which has exactly their size."""
    stride = len(plan)
    step = max(1, min(rows, BLOCK_BYTES // stride))
    block = np.tile(np.frombuffer(plan.record, np.uint8), step)
    filled = [(c, s) for c, s in zip(columns, plan.slots, strict=True) if s.size]
    targets = [_items(block, s.offset, s.size, stride, step) for _, s in filled]
    with np.errstate(over="ignore"):  # a float64 beyond float32 becomes infinite, as a cast does
        for start in range(0, rows, step):
            count = min(step, rows - start)
            for (column, slot), target in zip(filled, targets, strict=True):
                values = np.ascontiguousarray(column.matrix[start : start + count], column.dtype)
                target[:count] = values.reshape(-1).view(f"V{slot.size}")
            out[start * stride : (start + count) * stride] = block[: count * stride]


def _items(buffer: NDArray[np.uint8], offset: int, size: int, stride: int, count: int) -> NDArray[Any]:
    """Return ``size`` bytes at ``offset`` of each record as opaque items, which numpy copies with memmove."""
    return np.ndarray((count,), f"V{size}", buffer, offset, (stride,))


def decode(body: NDArray[np.uint8], plan: Layout, into: list[NDArray[Any]]) -> bool:
    """Copy the slots of every record out, if all records have the layout.

    Parameters
    ----------
    body : ndarray of uint8
        Whole records, a multiple of the layout's length.
    plan : Layout
        The layout of the first record.
    into : list of ndarray, shape (n, m)
        Gets the values of each slot.

    Returns
    -------
    bool
        False if some record has other bytes outside its slots; what was copied is then worthless.
    """
    stride = len(plan)
    rows = len(body) // stride
    step = max(1, min(rows, BLOCK_BYTES // stride))
    sources = [_items(body, s.offset, s.size, stride, rows) for s in plan.slots]
    targets = [a.reshape(-1).view(f"V{s.size}") for a, s in zip(into, plan.slots, strict=True)]
    checks = []
    for begin, end in _constant(plan):
        pattern = np.tile(np.frombuffer(plan.record[begin:end], np.uint8), step)
        checks.append((end - begin, _items(body, begin, end - begin, stride, rows), pattern, np.empty_like(pattern)))
    for start in range(0, rows, step):
        stop = min(rows, start + step)
        for source, target in zip(sources, targets, strict=True):
            target[start:stop] = source[start:stop]
        for size, source, pattern, scratch in checks:
            count = (stop - start) * size
            scratch[:count].view(f"V{size}")[:] = source[start:stop]
            if not np.array_equal(scratch[:count], pattern[:count]):
                return False
    return True


def _constant(plan: Layout) -> list[tuple[int, int]]:
    """Return the ranges of a record that are outside every slot."""
    edges = [0, *(e for s in plan.slots for e in (s.offset, s.offset + s.size)), len(plan)]
    return [(b, e) for b, e in zip(edges[::2], edges[1::2], strict=True) if e > b]
