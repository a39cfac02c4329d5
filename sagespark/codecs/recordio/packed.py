"""Content of packed fields: the bytes of many pieces gathered, and their varints read, all at once."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from sagespark.codecs.base import MalformedError
from sagespark.codecs.recordio.varint import LONGEST, Bytes, Offsets
from sagespark.codecs.recordio.wire import Found

MAX_GAPS = 3
"""Most bytes gathered per byte wanted, where pieces of different lengths are gathered as if of one."""


def take(body: Bytes, at: Offsets, size: int) -> Bytes:
    """Return ``size`` bytes at each offset, shape (len(at), size); all must lie inside."""
    if not size:
        return np.empty((len(at), 0), np.uint8)
    items = np.ndarray((len(body) - size + 1,), f"V{size}", body, 0, (1,))
    return items[at].view(np.uint8).reshape(len(at), size)


def gather(body: Bytes, piece: Found) -> Bytes:
    """Return the bytes of all the pieces, which are in order of offset, one behind the other."""
    if not len(piece):
        return np.empty(0, np.uint8)
    size = piece.stop - piece.start
    most = int(size.max())
    if int(size.min()) == most:
        return take(body, piece.start, most).reshape(-1)
    if len(piece) * most <= MAX_GAPS * int(size.sum()) and int(piece.start[-1]) + most <= len(body):
        kind: Any = np.uint16 if most < 1 << 16 else np.int64
        there = np.arange(most, dtype=kind) < size.astype(kind)[:, None]
        wanted: Bytes = take(body, piece.start, most)[there]
        return wanted
    edges = np.empty(2 * len(piece) + 1, np.int64)
    edges[0] = piece.start[0]
    edges[1::2] = piece.start
    edges[2::2] = piece.stop
    where = np.repeat(np.arange(2 * len(piece)) % 2 == 1, np.diff(edges))
    picked: Bytes = body[edges[0] : edges[-1]][where]
    return picked


def varints(body: Bytes, piece: Found) -> tuple[NDArray[Any], Offsets]:
    """Return all the varints in the pieces, and how many each piece has.

    Returns
    -------
    values : ndarray of uint16, uint32 or uint64
        The smallest of these that holds all varints of this length.
    count : ndarray of int64
        Varints of each piece.

    Raises
    ------
    MalformedError
        If a piece ends inside a varint, or one does not fit 64 bits.
    """
    flat = gather(body, piece)
    if not len(flat):
        return np.empty(0, np.uint16), np.zeros(len(piece), np.int64)
    size = piece.stop - piece.start
    stops = np.cumsum(size)
    more = flat >= 0x80
    # A piece that ends inside a varint would lend its last bytes to the next piece.
    cut = more[stops - 1] & (size > 0)
    if cut.any():
        raise MalformedError("a packed field ends inside a varint", int(piece.stop[np.flatnonzero(cut)[0]]) - 1)
    last = np.flatnonzero(~more)
    return _values(flat, more, last, piece, stops), _counts(last, size, stops)


def _counts(last: Offsets, size: Offsets, stops: Offsets) -> Offsets:
    upto = np.searchsorted(last, stops)
    upto[1:] -= upto[:-1].copy()
    return upto


def _values(flat: Bytes, more: NDArray[np.bool_], last: Offsets, piece: Found, stops: Offsets) -> NDArray[Any]:
    """Return the varints that end at ``last``, reading each from its end."""
    low = flat & 0x7F
    run = more  # run[i]: the bytes i to i + length - 2 all have a follower
    length = 1
    while run.any():
        length += 1
        if length > LONGEST:
            raise _too_long(piece, stops, int(np.flatnonzero(run)[0]))
        run = run[:-1] & more[length - 1 :]
    if length == LONGEST:
        begin = np.flatnonzero(_starts(more, LONGEST - 1))
        high = begin[flat[begin + LONGEST - 1] > 1]
        if len(high):
            raise _too_long(piece, stops, int(high[0]))
    if length == 1:
        return low.astype(np.uint16)
    if length == 2:
        # Every byte as if it ended a varint: cheaper than to pick the bytes first.
        value = flat.astype(np.uint16)
        value[1:] = np.where(more[:-1], value[1:] << np.uint16(7) | low[:-1], value[1:])
        return value.take(last)
    kind: Any = np.uint32 if length <= 4 else np.uint64
    value = flat[last].astype(kind)
    inside = np.ones(len(last), bool)
    for i in range(1, length):
        before = last - i
        inside &= more.take(before, mode="clip") & (before >= 0)
        value = np.where(inside, value << kind(7) | low.take(before, mode="clip"), value)
    return value


def _starts(more: NDArray[np.bool_], count: int) -> NDArray[np.bool_]:
    """Return where ``count`` bytes in a row all have a follower."""
    run = more
    for i in range(1, count):
        run = run[:-1] & more[i:]
    return run


def _too_long(piece: Found, stops: Offsets, at: int) -> MalformedError:
    which = int(np.searchsorted(stops, at, side="right"))
    return MalformedError("a varint does not fit 64 bits", int(piece.stop[which] - stops[which]) + at)
