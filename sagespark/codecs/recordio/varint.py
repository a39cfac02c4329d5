"""Base-128 varints, many at a time.

A varint is little endian in groups of 7 bits; the high bit of a byte says that another follows.
At most 10 bytes carry 64 bits. Source: protobuf's encoding guide.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]
Integers = NDArray[np.integer[Any]]
Offsets = NDArray[np.int64]
LONGEST = 10
"""Bytes of a 64 bit varint."""


def encode_one(value: int) -> bytes:
    """Return the varint of one non-negative value."""
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def length(value: int) -> int:
    """Return the bytes that one non-negative value takes."""
    return max(1, -(-value.bit_length() // 7))


def lengths(values: Integers) -> Offsets:
    """Return the bytes that each non-negative value takes, in the shape of ``values``."""
    out = np.ones(values.shape, np.int64)
    top = int(values.max()) if values.size else 0
    for i in range(1, length(top)):
        out += values >= values.dtype.type(1 << 7 * i)
    return out


def row_lengths(values: Integers, indptr: Offsets) -> Offsets:
    """Return the bytes that the values of each row take together.

    Parameters
    ----------
    values : ndarray of non-negative integers, shape (nnz,)
        The values of all the rows.
    indptr : ndarray of int64, shape (n + 1,)
        Row ``i`` has the values ``indptr[i]`` to ``indptr[i + 1]``.
    """
    count = np.diff(indptr)
    top = int(values.max()) if values.size else 0
    out = count * length(top)
    for i in range(1, length(top)):
        # Short ones are the rarer: find them, and count them between the rows' bounds.
        short = np.flatnonzero(values < values.dtype.type(1 << 7 * i))
        out -= np.diff(np.searchsorted(short, indptr))
    return out


def slots(values: Integers, groups: int) -> tuple[Bytes, NDArray[np.bool_]]:
    """Return varints in slots of equal size, and which of the bytes belong to them.

    Parameters
    ----------
    values : ndarray of unsigned integers, shape (n,)
        Values of at most ``groups`` bytes each.
    groups : int
        The bytes that the longest takes.

    Returns
    -------
    matrix : ndarray of uint8, shape (n, size)
        Low byte first; ``size >= groups``.
    keep : ndarray of bool, shape (n, size)
        True where a byte belongs to the varint.
    """
    if groups > 8:
        matrix = np.empty((len(values), LONGEST), np.uint8)
        keep = np.ones(matrix.shape, bool)
        rest = values
        for i in range(LONGEST):
            above = rest >= rest.dtype.type(0x80)
            matrix[:, i] = rest & rest.dtype.type(0x7F)
            matrix[:, i] |= above.astype(np.uint8) << 7
            if i + 1 < LONGEST:
                keep[:, i + 1] = above
            rest = rest >> rest.dtype.type(7)
        return matrix, keep
    size = 1 << (groups - 1).bit_length()
    kind = np.dtype(f"<u{size}").type
    word = np.zeros(len(values), kind)
    keep = np.zeros((len(values), size), bool)
    keep[:, 0] = True
    small = values.astype(kind) if values.dtype.itemsize > size else values
    for i in range(groups):
        word |= ((small >> small.dtype.type(7 * i)) & small.dtype.type(0x7F)).astype(kind) << kind(8 * i)
        if i:
            above = small >= small.dtype.type(1 << 7 * i)
            keep[:, i] = above
            word |= above.astype(kind) << kind(8 * i - 1)
    return word.view(np.uint8).reshape(-1, size), keep
