"""Records of any layout: sparse rows, rows that mix dense and sparse, integers.

A row is a series of pieces. Small ones (tags, lengths, names) stand in a matrix of fixed slots with a mask of the bytes
that are there; long ones (values, keys) are flat, with their bytes per row. Three boolean masks over a block of output,
made by repeating the lengths, then put every byte in its place, with no loop over the rows.
"""

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
from sagespark.codecs.recordio.framing import CONTENT_TYPE, HEADER, MAGIC, MAX_PAYLOAD
from sagespark.codecs.recordio.varint import Bytes, Offsets
from sagespark.core.errors import CodecError

BLOCK_BYTES = 1 << 19
"""Bytes of records worked on at a time; with masks and temporaries they stay in the second-level cache."""
BLOCK_ROWS = 4096
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
    shape = len(_shape(width))
    tensor = _field(values) + _field(keys) + np.where(sparse, shape, 0)
    value = 1 + varint.lengths(tensor) + tensor
    entry = len(_name(column)) + 1 + varint.lengths(value) + value
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


def _shape(width: int) -> bytes:
    dims = varint.encode_one(width)
    return bytes([tag(3)]) + varint.encode_one(len(dims)) + dims


def _name(column: Column) -> bytes:
    return bytes([tag(1)]) + varint.encode_one(len(column.name)) + column.name


def _unsigned(indices: NDArray[np.integer[Any]], width: int) -> NDArray[np.integer[Any]]:
    """Return indices as uint32 where the width allows; a negative one becomes too large."""
    return indices.astype(np.uint32 if width <= 1 << 31 else np.uint64)


def _key_bytes(csr: Csr) -> Offsets:
    rows = csr.shape[0]
    out = np.empty(rows, np.int64)
    bounds = _cuts(csr.indptr[1:], _ENTRIES, 1 << 16)
    for start, stop in pairwise(bounds.tolist()):
        lo, hi = int(csr.indptr[start]), int(csr.indptr[stop])
        indices = csr.indices[lo:hi]
        if hi > lo and (int(indices.min()) < 0 or int(indices.max()) >= csr.width):
            wrong = indices[(indices < 0) | (indices >= csr.width)][0]
            raise CodecError(
                f"the index of an entry must be from 0 to {csr.width - 1}, but got {wrong}", contentType=CONTENT_TYPE
            )
        out[start:stop] = varint.row_lengths(_unsigned(indices, csr.width), csr.indptr[start : stop + 1] - lo)
    return out


def _cuts(ends: Offsets, limit: int, rows: int) -> Offsets:
    """Return row bounds so that each block holds about ``limit`` units of ``ends`` and at most ``rows`` rows."""
    total = len(ends)
    if not total:
        return np.zeros(1, np.int64)
    by_size: Any = np.searchsorted(ends, np.arange(limit, int(ends[-1]), limit)) if int(ends[-1]) > limit else []
    return np.unique(np.concatenate([by_size, np.arange(0, total, rows), [total]]).astype(np.int64))


def _value_bytes(column: Column, count: Offsets) -> Offsets:
    if column.number != NUMBER["<i4"]:
        return count * column.dtype.itemsize
    flat = _flat_values(column.matrix, column.dtype)
    indptr = np.concatenate([[0], np.cumsum(count)])
    return varint.row_lengths(_int_bits(flat), indptr)


def _int_bits(values: NDArray[Any]) -> NDArray[np.uint64]:
    """Return int32 as protobuf does: sign-extended to 64 bits."""
    return values.astype(np.int64).view(np.uint64)


def _flat_values(matrix: Any, dtype: np.dtype[Any]) -> NDArray[Any]:
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


def encode(columns: tuple[Column, ...], parts: list[Sizes], out: Bytes) -> None:
    """Write the records into ``out``, which has exactly their size."""
    payload, record = totals(parts)
    ends = np.cumsum(record)
    bounds = _cuts(ends, BLOCK_BYTES, BLOCK_ROWS)
    at = 0
    for start, stop in pairwise(bounds.tolist()):
        end = int(ends[stop - 1])
        block = _Block(stop - start)
        block.words(payload[start:stop])
        for column, part in zip(columns, parts, strict=True):
            block.entry(column, part, slice(start, stop))
        block.padding(payload[start:stop])
        block.assemble(out[at:end])
        at = end


class _Block:
    """The pieces of a block of rows, in the order of the bytes."""

    def __init__(self, rows: int) -> None:
        self._rows = rows
        self._small: list[tuple[Bytes, NDArray[np.bool_] | None]] = []
        self._runs: list[tuple[Offsets | int, Bytes | None]] = []
        self._pending: Offsets | int = 0

    def _slots(self, matrix: Bytes, keep: NDArray[np.bool_] | None) -> None:
        self._small.append((matrix, keep))
        self._pending = self._pending + (matrix.shape[1] if keep is None else keep.sum(axis=1))

    def _flat(self, flat: Bytes, per_row: Offsets) -> None:
        self._runs += [(self._pending, None), (per_row, flat)]
        self._pending = 0

    def words(self, payload: Offsets) -> None:
        head = np.empty((self._rows, 2), "<u4")
        head[:, 0] = MAGIC
        head[:, 1] = payload
        self._slots(head.view(np.uint8), None)

    def padding(self, payload: Offsets) -> None:
        pad = -payload & 3
        self._slots(np.zeros((self._rows, 3), np.uint8), np.arange(3) < pad[:, None])

    def _text(self, text: bytes, when: NDArray[np.bool_] | None = None) -> None:
        matrix = np.broadcast_to(np.frombuffer(text, np.uint8), (self._rows, len(text)))
        self._slots(matrix, None if when is None else np.broadcast_to(when[:, None], matrix.shape))

    def _length(self, number: int, content: Offsets, when: NDArray[np.bool_] | None = None) -> None:
        """Put tag and length of a field."""
        self._text(bytes([tag(number)]), when)
        matrix, keep = varint.slots(content.astype(np.uint32), varint.length(int(content.max())))
        self._slots(matrix, keep if when is None else keep & when[:, None])

    def entry(self, column: Column, part: Sizes, rows: slice) -> None:
        """Put one map entry of each row."""
        matrix = column.matrix[rows]
        values, keys, sparse = part.values[rows], part.keys[rows], part.sparse[rows]
        self._length(column.side, part.entry[rows])
        self._text(_name(column))
        self._length(2, part.value[rows])
        self._length(column.number, part.tensor[rows])
        flat = _flat_values(matrix, column.dtype)
        integers = column.number == NUMBER["<i4"]
        self._packed(1, varint.encode(_int_bits(flat)) if integers else flat.view(np.uint8), values)
        if isinstance(matrix, Csr | Mixed):
            csr = matrix if isinstance(matrix, Csr) else matrix.sparse
            self._packed(2, varint.encode(_unsigned(csr.indices, csr.width)), keys)
            self._text(_shape(csr.width), None if sparse.all() else sparse)

    def _packed(self, number: int, flat: Bytes, per_row: Offsets) -> None:
        there = per_row > 0
        self._length(number, per_row, None if there.all() else there)
        self._flat(flat, per_row)

    def assemble(self, out: Bytes) -> None:
        """Put every byte in its place."""
        matrix = np.concatenate([m for m, _ in self._small], axis=1)
        keep = np.concatenate([np.ones(m.shape, bool) if k is None else k for m, k in self._small], axis=1)
        runs = [*self._runs, (self._pending, None)]
        lengths = np.empty((self._rows, len(runs)), np.int64)
        for i, (per_row, _) in enumerate(runs):
            lengths[:, i] = per_row
        flat_lengths = lengths.reshape(-1)
        for wanted in [None, *(f for _, f in runs if f is not None)]:
            pattern = np.array([flat is wanted for _, flat in runs])
            where = np.repeat(np.tile(pattern, self._rows), flat_lengths)
            out[where] = matrix[keep] if wanted is None else wanted
