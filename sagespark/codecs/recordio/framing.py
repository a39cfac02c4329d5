"""RecordIO framing: where each record of a body starts and ends.

Per record: magic ``0xCED7230A``, a length word, the payload, zeros up to a multiple of 4; both words little endian.
The lower 29 bits of the length word are the payload's length in bytes. The upper 3 bits are 0 for a whole record;
dmlc-core's writer cuts a payload at each aligned word that equals the magic, drops that word, and marks the parts
1 (first), 2 (middle) and 3 (last). Source: dmlc-core ``include/dmlc/recordio.h``.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sagespark.codecs.base import MalformedError
from sagespark.core.errors import CodecError

CONTENT_TYPE = "application/x-recordio-protobuf"
MAGIC = 0xCED7230A
HEADER = 8
"""Bytes before a payload."""
MAX_PAYLOAD = 2**29 - 1
"""Longest payload, in bytes, that the length word can tell."""

Offsets = NDArray[np.int64]
_SCAN = 1 << 18  # words searched at a time: their comparison stays in cache


@dataclass(frozen=True, eq=False)
class Frames:
    """The records of a body.

    Parameters
    ----------
    body : ndarray of uint8
        The bytes; a rewritten copy where records came in parts.
    start, stop : ndarray of int64, shape (n,)
        The payload of record ``i`` is ``body[start[i]:stop[i]]``.
    dropped : ndarray of int64
        Offsets in ``body`` before which 4 bytes of the original were left out.
    """

    body: NDArray[np.uint8]
    start: Offsets
    stop: Offsets
    dropped: Offsets

    def __len__(self) -> int:
        """Return the number of records."""
        return len(self.start)

    def original(self, offset: int) -> int:
        """Return the offset in the original bytes of an offset in ``body``."""
        return offset + 4 * int(np.searchsorted(self.dropped, offset, side="right"))


def frame(payload: bytes) -> Iterator[bytes | memoryview]:
    """Yield the pieces of one record that holds ``payload``, cut where it has the magic number at an aligned word.

    Raises
    ------
    CodecError
        If a part is longer than the length word can tell.
    """
    view = memoryview(payload)
    words = np.frombuffer(view[: len(view) & -4], "<u4")
    cuts = [4 * int(at) for at in np.flatnonzero(words == MAGIC)]
    starts = [0, *(cut + 4 for cut in cuts)]
    stops = [*cuts, len(view)]
    for number, (start, stop) in enumerate(zip(starts, stops, strict=True)):
        size = stop - start
        if size > MAX_PAYLOAD:
            raise CodecError(
                f"a RecordIO record holds at most {MAX_PAYLOAD} bytes, but got {size}", contentType=CONTENT_TYPE
            )
        kind = 0 if not cuts else 1 if number == 0 else 3 if number == len(cuts) else 2
        yield struct.pack("<II", MAGIC, kind << 29 | size)
        yield view[start:stop]
        yield bytes(-size % 4)


def find(body: NDArray[np.uint8]) -> Frames:
    """Return the records of a whole body.

    Raises
    ------
    MalformedError
        If a record does not begin with the magic number, is cut short, is padded with other bytes than zeros,
        or its parts do not fit together.
    """
    words = body[: len(body) & -4].view("<u4")
    heads, end = _chain(words)
    if 4 * end < len(body):
        raise _broken(words, end, len(body))
    if not len(heads):
        return Frames(body, heads, heads, heads)
    sizes = words[heads + 1]
    if (sizes > MAX_PAYLOAD).any():
        return _join(words, heads)
    _check_padding(words, heads, sizes)
    start = 4 * heads + HEADER
    return Frames(body, start, start + sizes, np.empty(0, np.int64))


def whole(body: NDArray[np.uint8]) -> int:
    """Return the bytes of ``body`` up to the end of its last whole record; what follows may be the start of another.

    Raises
    ------
    MalformedError
        If what follows cannot become a record.
    """
    words = body[: len(body) & -4].view("<u4")
    heads, end = _chain(words)
    if end < len(words) and words[end] != MAGIC:
        raise _broken(words, end, len(body))
    flags = words[heads + 1] >> 29
    if len(heads) and flags[-1] in (1, 2):  # a part that waits for the next ones
        first = np.flatnonzero(flags == 1)
        return 4 * int(heads[first[-1]]) if len(first) else 0
    return 4 * end


def _broken(words: NDArray[np.uint32], end: int, size: int) -> MalformedError:
    if end < len(words) and words[end] != MAGIC:
        return MalformedError(
            f"a record must begin with the magic number 0x{MAGIC:08X}, but got 0x{int(words[end]):08X}", 4 * end
        )
    if end + 1 < len(words):
        asked = int(words[end + 1]) & MAX_PAYLOAD
        left = size - 4 * end - HEADER
        return MalformedError(
            f"the bytes end inside a record: it has {asked} bytes and padding, but {left} are left", 4 * end
        )
    return MalformedError("the bytes end inside the head of a record", 4 * end)


def _check_padding(words: NDArray[np.uint32], heads: Offsets, sizes: NDArray[np.uint32]) -> None:
    odd = (sizes & 3).astype(np.uint32)
    padded = np.flatnonzero(odd)
    if not len(padded):
        return
    last = heads[padded] + 2 + (sizes[padded] >> 2)
    rest = words[last] >> (8 * odd[padded])
    wrong = np.flatnonzero(rest)
    if len(wrong):
        raise MalformedError("a record must be padded with zeros", 4 * int(last[wrong[0]]) + int(odd[padded[wrong[0]]]))


def _chain(words: NDArray[np.uint32]) -> tuple[Offsets, int]:
    """Return the word offset of every whole record's head, following the lengths, and where the last one ends."""
    total = len(words)
    found = [np.flatnonzero(words[i : i + _SCAN] == MAGIC) + i for i in range(0, total, _SCAN)]
    heads = np.concatenate(found) if found else np.empty(0, np.int64)
    if not len(heads) or heads[0] != 0:
        return np.empty(0, np.int64), 0
    sizes = words.take(heads + 1, mode="clip") & MAX_PAYLOAD
    following = heads + 2 + (sizes.astype(np.int64) + 3) // 4
    if following[-1] == total and np.array_equal(following[:-1], heads[1:]):
        return heads, total
    # Payloads may contain the magic number: walk from the first head, doubling the path each round.
    done = len(heads)
    at = np.searchsorted(heads, following)
    known = heads.take(at, mode="clip") == following
    # A record that leads nowhere is the last whole one, unless it reaches over the end.
    link = np.append(np.where(known, at, done), done)
    hop = link
    path = np.zeros(1, np.int64)
    while path[-1] < done:
        path = np.concatenate([path, hop[path]])
        hop = hop[hop]
    path = path[: int(np.searchsorted(path, done))]
    if following[path[-1]] > total:
        path = path[:-1]
    return heads[path], int(following[path[-1]]) if len(path) else 0


def _join(words: NDArray[np.uint32], heads: Offsets) -> Frames:
    """Return the records of a body in which some came in parts.

    A later part's magic number is the word that the writer dropped, so joining means to leave out its length word
    and to put the whole length into the first part's.
    """
    sizes = (words[heads + 1] & MAX_PAYLOAD).astype(np.int64)
    flags = words[heads + 1] >> 29
    before = np.concatenate([[0], flags[:-1]])
    inside = (before == 1) | (before == 2)
    wrong = np.flatnonzero((flags > 3) | (((flags == 2) | (flags == 3)) != inside))
    if len(wrong):
        at = int(wrong[0])
        raise MalformedError(
            f"a record's part has the flag {int(flags[at])} after {int(before[at])}", 4 * int(heads[at]) + 4
        )
    if flags[-1] in (1, 2):
        raise MalformedError("the body ends between two parts of a record", 4 * int(heads[-1]))
    uneven = np.flatnonzero(((flags == 1) | (flags == 2)) & (sizes % 4 != 0))
    if len(uneven):
        raise MalformedError(
            f"a part that another follows must be a multiple of 4 bytes, but has {int(sizes[uneven[0]])}",
            4 * int(heads[uneven[0]]) + 4,
        )
    first = np.flatnonzero(~inside)
    whole = np.add.reduceat(sizes + 4 * inside, first)
    if (whole > MAX_PAYLOAD).any():
        at = int(first[np.flatnonzero(whole > MAX_PAYLOAD)[0]])
        raise MalformedError(f"a record's parts add up to more than {MAX_PAYLOAD} bytes", 4 * int(heads[at]))
    keep = np.ones(len(words), bool)
    keep[heads[inside] + 1] = False
    joined = words[keep]
    start = heads[first] - np.cumsum(inside)[first]
    joined[start + 1] = whole
    _check_padding(joined, start, whole.astype(np.uint32))
    dropped = heads[inside] + 1 - np.arange(int(inside.sum()))
    return Frames(joined.view(np.uint8), 4 * start + HEADER, 4 * start + HEADER + whole, 4 * dropped)
