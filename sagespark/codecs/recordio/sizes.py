"""Bytes that each row takes when rows differ: sparse ones, dense and sparse mixed, integers."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sagespark.codecs.matrix import Csr, Mixed
from sagespark.codecs.recordio import varint
from sagespark.codecs.recordio.columns import NUMBER, Column, tag
from sagespark.codecs.recordio.fixed import too_long
from sagespark.codecs.recordio.framing import CONTENT_TYPE, HEADER, MAX_PAYLOAD
from sagespark.codecs.recordio.varint import Offsets
from sagespark.core.errors import CodecError

_ENTRIES = 1 << 17  # entries looked at at a time while sizes are counted


@dataclass(frozen=True, eq=False)
class Sizes:
    """Bytes of one column's parts, each of shape (n,).

    Parameters
    ----------
    values, keys : ndarray of int64
        Content of the two packed fields, 0 where the field is left out.
    sparse : ndarray of bool
        Whether the tensor has a shape.
    tensor, value, entry : ndarray of int64
        Content of the tensor, of Value and of the map entry.
    """

    values: Offsets
    keys: Offsets
    sparse: NDArray[np.bool_]
    tensor: Offsets
    value: Offsets
    entry: Offsets


def sizes(column: Column) -> Sizes:
    """Return the bytes that each row's parts take.

    Raises
    ------
    CodecError
        If an index is negative, or not below the width.
    """
    matrix = column.matrix
    rows, width = matrix.shape
    count = np.full(rows, width, np.int64)
    keys = np.zeros(rows, np.int64)
    sparse = np.zeros(rows, bool)
    if isinstance(matrix, Csr):
        sparse[:] = True
    elif isinstance(matrix, Mixed):
        sparse = matrix.is_sparse
    if not isinstance(matrix, np.ndarray):
        csr = matrix if isinstance(matrix, Csr) else matrix.sparse
        count[sparse] = np.diff(csr.indptr)
        keys[sparse] = _key_bytes(csr)
    values = _value_bytes(column, count)
    dims = len(shape(width))
    tensor = _field(values) + _field(keys) + np.where(sparse, dims, 0)
    value = 1 + varint.lengths(tensor) + tensor
    entry = len(name(column)) + 1 + varint.lengths(value) + value
    return Sizes(values, keys, sparse, tensor, value, entry)


def totals(parts: list[Sizes]) -> tuple[Offsets, Offsets]:
    """Return payload and whole record of each row, in bytes.

    Raises
    ------
    CodecError
        If a row is longer than a record may be.
    """
    payload: Offsets = sum(
        (1 + varint.lengths(p.entry) + p.entry for p in parts), np.zeros(len(parts[0].entry), np.int64)
    )
    if len(payload) and int(payload.max()) > MAX_PAYLOAD:
        raise too_long(int(payload.max()))
    return payload, HEADER + (payload + 3 & -4)


def _field(content: Offsets) -> Offsets:
    return np.where(content > 0, 1 + varint.lengths(content) + content, 0)


def shape(width: int) -> bytes:
    """Return the field ``shape`` of a sparse row."""
    dims = varint.encode_one(width)
    return bytes([tag(3)]) + varint.encode_one(len(dims)) + dims


def name(column: Column) -> bytes:
    """Return the field ``key`` of a map entry."""
    return bytes([tag(1)]) + varint.encode_one(len(column.name)) + column.name


def unsigned(indices: NDArray[np.integer[Any]], width: int) -> NDArray[np.integer[Any]]:
    """Return indices as uint32 where the width allows; a negative one becomes too large."""
    return indices.astype(np.uint32 if width <= 1 << 31 else np.uint64)


def _key_bytes(csr: Csr) -> Offsets:
    rows = csr.shape[0]
    out = np.empty(rows, np.int64)
    bounds = cuts(csr.indptr[1:], _ENTRIES, 1 << 16)
    for start, stop in pairwise(bounds.tolist()):
        lo, hi = int(csr.indptr[start]), int(csr.indptr[stop])
        indices = csr.indices[lo:hi]
        if hi > lo and (int(indices.min()) < 0 or int(indices.max()) >= csr.width):
            wrong = indices[(indices < 0) | (indices >= csr.width)][0]
            raise CodecError(
                f"the index of an entry must be from 0 to {csr.width - 1}, but got {wrong}", contentType=CONTENT_TYPE
            )
        out[start:stop] = varint.row_lengths(unsigned(indices, csr.width), csr.indptr[start : stop + 1] - lo)
    return out


def cuts(ends: Offsets, limit: int, rows: int) -> Offsets:
    """Return row bounds so that each block holds about ``limit`` units of ``ends`` and at most ``rows`` rows."""
    total = len(ends)
    if not total:
        return np.zeros(1, np.int64)
    by_size: Any = np.searchsorted(ends, np.arange(limit, int(ends[-1]), limit)) if int(ends[-1]) > limit else []
    return np.unique(np.concatenate([by_size, np.arange(0, total, rows), [total]]).astype(np.int64))


def _value_bytes(column: Column, count: Offsets) -> Offsets:
    if column.number != NUMBER["<i4"]:
        return count * column.dtype.itemsize
    flat = flat_values(column.matrix, column.dtype)
    indptr = np.concatenate([[0], np.cumsum(count)])
    return varint.row_lengths(int_bits(flat), indptr)


def int_bits(values: NDArray[Any]) -> NDArray[np.uint64]:
    """Return int32 as protobuf does: sign-extended to 64 bits."""
    return values.astype(np.int64).view(np.uint64)


def flat_values(matrix: Any, dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return the values of all rows in row order."""
    with np.errstate(over="ignore"):
        if isinstance(matrix, Csr):
            return np.ascontiguousarray(matrix.values, dtype)
        if not isinstance(matrix, Mixed):
            return np.ascontiguousarray(matrix, dtype).reshape(-1)
        count = np.full(len(matrix.is_sparse), matrix.shape[1], np.int64)
        count[matrix.is_sparse] = np.diff(matrix.sparse.indptr)
        from_sparse = np.repeat(matrix.is_sparse, count)
        out = np.empty(len(from_sparse), dtype)
        out[from_sparse] = matrix.sparse.values
        out[~from_sparse] = matrix.dense.reshape(-1)
        return out
