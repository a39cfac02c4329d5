"""One record or map entry read field by field, so that all those that are alike can be read at once."""

from __future__ import annotations

from collections.abc import Iterator

from sagespark.codecs.recordio.columns import NUMBER, TENSORS
from sagespark.codecs.recordio.fixed import Layout, Slot
from sagespark.codecs.recordio.framing import HEADER, MAGIC
from sagespark.codecs.recordio.varint import Bytes


class _OddError(Exception):
    """What is read is not of the simple kind."""


def recognise(body: Bytes) -> Layout | None:
    """Return the layout of the first record, or None unless it is whole and holds packed dense tensors alone."""
    if len(body) < HEADER:
        return None
    magic, size = body[:HEADER].view("<u4").tolist()
    if magic != MAGIC or size > len(body) - HEADER:
        return None
    record = body[: HEADER + (size + 3 & -4)].tobytes()
    if len(record) % 4 or any(record[HEADER + size :]):
        return None
    try:
        slots = tuple(_slot(record, side, lo, hi) for side, lo, hi in _fields(record, HEADER, HEADER + size, (1, 2)))
    except (_OddError, IndexError):
        return None
    if not slots or len({(s.side, s.name) for s in slots}) != len(slots):
        return None
    return Layout(record, slots)


def recognise_entry(entry: bytes, side: int) -> Slot | None:
    """Return where the values stand in a map entry, or None unless it holds one packed dense tensor alone."""
    try:
        return _slot(entry, side, 0, len(entry))
    except (_OddError, IndexError):
        return None


def _slot(data: bytes, side: int, lo: int, hi: int) -> Slot:
    fields = sorted(_fields(data, lo, hi, (1, 2)))
    if [number for number, _, _ in fields] != [1, 2]:
        raise _OddError
    (_, key, key_end), (_, value, value_end) = fields
    tensors = list(_fields(data, value, value_end, tuple(TENSORS)))
    if len(tensors) != 1 or tensors[0][0] == NUMBER["<i4"]:
        raise _OddError
    number, tensor, end = tensors[0]
    values = list(_fields(data, tensor, end, (1,))) or [(1, end, end)]
    _, first, last = values[0]
    if len(values) > 1 or (last - first) % TENSORS[number].itemsize:
        raise _OddError
    return Slot(side, data[key:key_end], number, first, last - first)


def _fields(data: bytes, at: int, end: int, known: tuple[int, ...]) -> Iterator[tuple[int, int, int]]:
    """Yield number, start and stop of each field; all must be length-delimited and known."""
    while at < end:
        code = data[at]
        if code & 7 != 2 or code >> 3 not in known:
            raise _OddError
        size = shift = 0
        while True:
            at += 1
            size |= (data[at] & 0x7F) << shift
            if data[at] < 0x80:
                break
            shift += 7
        at += 1
        if at + size > end:
            raise _OddError
        yield code >> 3, at, at + size
        at += size
