"""Records of any layout: sparse rows, rows that mix dense and sparse, integers. No loop over the rows.

A row is a series of pieces: texts (tags, names), numbers (lengths), and areas (values, keys). The rows of a block are
written into a matrix with a column for every byte that one may have, beside a mask of the bytes that are there; one
boolean selection then closes the gaps. Where a few rows are far longer than the others such a matrix would be mostly
gaps: there the areas stay flat, and masks made by repeating the lengths put every byte into its place.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sagespark.codecs.matrix import Csr, Mixed
from sagespark.codecs.recordio import sizes, varint
from sagespark.codecs.recordio.columns import NUMBER, Column, tag
from sagespark.codecs.recordio.fixed import items
from sagespark.codecs.recordio.framing import HEADER, MAGIC
from sagespark.codecs.recordio.sizes import Sizes
from sagespark.codecs.recordio.varint import Bytes, Offsets

BLOCK_BYTES = 1 << 19
"""Bytes of records worked on at a time; with matrix, mask and temporaries they stay in the second-level cache."""
BLOCK_ROWS = 2048
MAX_GAPS = 3
"""Most bytes of the matrix per byte of areas; beyond it the areas stay flat."""

Mask = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class _Text:
    """The same bytes in every row, or in the rows ``when``."""

    content: bytes
    when: Mask | None = None


@dataclass(frozen=True, eq=False)
class _Number:
    """A varint per row."""

    values: NDArray[np.uint32]
    size: int
    when: Mask | None = None


@dataclass(frozen=True)
class _Area:
    """The place of a flat list, by its number."""

    index: int


_Piece = _Text | _Number | _Area


@dataclass(frozen=True, eq=False)
class _Flat:
    """The content of an area in a block: items of equal size, and their number per row.

    Parameters
    ----------
    matrix : ndarray of uint8, shape (items, size)
        The items.
    keep : ndarray of bool, shape (items, size), or None
        The bytes that are there; None if all are.
    count : ndarray of int64, shape (rows,)
        Items of each row.
    """

    matrix: Bytes
    keep: Mask | None
    count: Offsets


def encode(columns: tuple[Column, ...], parts: list[Sizes], out: Bytes) -> None:
    """Write the records into ``out``, which has exactly their size."""
    payload, record = sizes.totals(parts)
    ends = np.cumsum(record)
    program = _program(columns, parts)
    cursors = [_Cursor(c) for c in columns]
    at = 0
    for start, stop in pairwise(sizes.cuts(ends, BLOCK_BYTES, BLOCK_ROWS).tolist()):
        end = int(ends[stop - 1])
        areas = [flat for cursor in cursors for flat in cursor.take(start, stop)]
        _write(program, areas, slice(start, stop), payload[start:stop], out[at:end])
        at = end


def _program(columns: tuple[Column, ...], parts: list[Sizes]) -> list[_Piece]:
    """Return the pieces of a row between its framing and its padding."""
    pieces: list[_Piece] = []
    areas = 0
    for column, part in zip(columns, parts, strict=True):
        pieces += [_Text(bytes([tag(column.side)])), _number(part.entry)]
        pieces += [_Text(sizes.name(column) + bytes([tag(2)])), _number(part.value)]
        pieces += [_Text(bytes([tag(column.number)])), _number(part.tensor)]
        pieces += _packed(1, part.values, areas)
        areas += 1
        if isinstance(column.matrix, Csr | Mixed):
            pieces += _packed(2, part.keys, areas)
            areas += 1
            pieces.append(_Text(sizes.shape(column.matrix.shape[1]), None if part.sparse.all() else part.sparse))
    merged: list[_Piece] = []
    for piece in pieces:
        before = merged[-1] if merged else None
        if isinstance(piece, _Text) and piece.when is None and isinstance(before, _Text) and before.when is None:
            merged[-1] = _Text(before.content + piece.content)
        else:
            merged.append(piece)
    return merged


def _number(values: Offsets, when: Mask | None = None) -> _Piece:
    top = int(values.max())
    if when is None and int(values.min()) == top:
        return _Text(varint.encode_one(top))
    return _Number(values.astype(np.uint32), varint.length(top), when)


def _packed(number: int, content: Offsets, area: int) -> list[_Piece]:
    there = content > 0
    when = None if there.all() else there
    return [_Text(bytes([tag(number)]), when), _number(content, when), _Area(area)]


class _Cursor:
    """A column read block by block."""

    def __init__(self, column: Column) -> None:
        self._column = column
        self._dense = 0
        self._sparse = 0

    def take(self, start: int, stop: int) -> list[_Flat]:
        """Return the areas of rows ``start`` to ``stop``, which follow those of the last call."""
        matrix, rows = self._column.matrix, stop - start
        if isinstance(matrix, np.ndarray):
            return [self._values(matrix[start:stop], np.full(rows, matrix.shape[1]))]
        kinds = np.ones(rows, bool) if isinstance(matrix, Csr) else matrix.is_sparse[start:stop]
        inside = int(np.count_nonzero(kinds))
        csr = (matrix if isinstance(matrix, Csr) else matrix.sparse)[self._sparse : self._sparse + inside]
        self._sparse += inside
        entries = np.zeros(rows, np.int64)
        entries[kinds] = np.diff(csr.indptr)
        count = entries
        part: Any = csr
        if isinstance(matrix, Mixed):
            part = Mixed(kinds, matrix.dense[self._dense : self._dense + rows - inside], csr)
            self._dense += rows - inside
            count = np.where(kinds, entries, matrix.shape[1])
        keys = sizes.unsigned(csr.indices, csr.width)
        groups = varint.length(int(keys.max())) if len(keys) else 1
        return [self._values(part, count), _Flat(*varint.slots(keys, groups), entries)]

    def _values(self, part: Any, count: Offsets) -> _Flat:
        flat = sizes.flat_values(part, self._column.dtype)
        if self._column.number != NUMBER["<i4"]:
            return _Flat(flat.view(np.uint8).reshape(-1, flat.itemsize), None, count)
        bits = sizes.int_bits(flat)
        return _Flat(*varint.slots(bits, varint.length(int(bits.max())) if len(bits) else 1), count)


def _write(program: list[_Piece], areas: list[_Flat], rows: slice, payload: Offsets, out: Bytes) -> None:
    longest = [int(a.count.max()) * a.matrix.shape[1] for a in areas]
    padded = len(payload) * sum(longest) <= MAX_GAPS * sum(a.matrix.size for a in areas) + BLOCK_BYTES // 4
    widths = longest if padded else [0] * len(areas)
    spans = [_span(p, widths) for p in program]
    starts = [HEADER, *accumulate(spans, initial=HEADER)][1:]
    total = starts[-1] + 3
    matrix = np.zeros((len(payload), total), np.uint8)
    keep = np.ones(matrix.shape, bool)
    framing = np.array([MAGIC, 0], "<u4").view(np.uint8).tobytes()
    texts = [p.content if isinstance(p, _Text) else bytes(s) for p, s in zip(program, spans, strict=True)]
    matrix[:] = np.frombuffer(b"".join([framing, *texts, bytes(3)]), np.uint8)
    items(matrix, 4, 4, total, len(payload))[:] = payload
    for piece, start in zip(program, starts, strict=False):
        if isinstance(piece, _Number):
            _put_number(matrix, keep, start, piece.values[rows], piece.size)
        if isinstance(piece, _Area):
            if padded:
                _put_area(matrix, keep, start, areas[piece.index])
        elif piece.when is not None:
            keep[:, start : start + _span(piece, widths)] &= piece.when[rows, None]
    pad = -payload & 3
    for i in range(3):
        keep[:, total - 3 + i] = pad > i
    if padded:
        out[:] = matrix[keep]
    else:
        _scatter(matrix, keep, [s for p, s in zip(program, starts, strict=False) if isinstance(p, _Area)], areas, out)


def _span(piece: _Piece, widths: list[int]) -> int:
    if isinstance(piece, _Text):
        return len(piece.content)
    return piece.size if isinstance(piece, _Number) else widths[piece.index]


def _put_number(matrix: Bytes, keep: Mask, start: int, values: NDArray[np.uint32], size: int) -> None:
    """Write varints into the columns from ``start``."""
    for i in range(size):
        group = (values >> np.uint32(7 * i)).astype(np.uint8) & 0x7F
        if i + 1 < size:
            more = values >= np.uint32(1 << 7 * (i + 1))
            group |= more.view(np.uint8) << 7
            keep[:, start + i + 1] = more
        matrix[:, start + i] = group


def _put_area(matrix: Bytes, keep: Mask, start: int, area: _Flat) -> None:
    """Write the items of each row into the columns from ``start``."""
    rows, total = matrix.shape
    size, most = area.matrix.shape[1], int(area.count.max())
    if not most:
        return
    target = items(matrix, start, most * size, total, rows)
    mask = items(keep.view(np.uint8), start, most * size, total, rows)
    if len(area.matrix) == rows * most:
        target[:] = area.matrix.reshape(-1).view(target.dtype)
        if area.keep is not None:
            mask[:] = area.keep.reshape(-1).view(target.dtype)
        return
    # Every row gets the bytes of as many items as the longest has; the mask leaves out those of the next rows.
    used = area.count * size
    begin = np.cumsum(used) - used
    kind: Any = np.uint16 if most * size < 1 << 16 else np.int64
    there = np.arange(most * size, dtype=kind) < used.astype(kind)[:, None]
    target[:] = _spread(area.matrix, begin, most * size)
    if area.keep is not None:
        there &= _spread(area.keep.view(np.uint8), begin, most * size).view(bool).reshape(there.shape)
    mask[:] = there.reshape(-1).view(target.dtype)


def _spread(matrix: Bytes, begin: Offsets, size: int) -> NDArray[Any]:
    """Return ``size`` bytes from each offset as opaque items, zeros beyond the end."""
    flat = np.concatenate([matrix.reshape(-1), np.zeros(size, np.uint8)])
    spread: NDArray[Any] = items(flat, 0, size, 1, len(flat) - size + 1)[begin]
    return spread


def _scatter(matrix: Bytes, keep: Mask, places: list[int], areas: list[_Flat], out: Bytes) -> None:
    """Put rows into their place whose areas are not in the matrix but belong before the columns ``places``."""
    rows = len(matrix)
    edges = [0, *places, matrix.shape[1]]
    lengths = np.empty((rows, 2 * len(areas) + 1), np.int64)
    for i, (begin, end) in enumerate(pairwise(edges)):
        lengths[:, 2 * i] = keep[:, begin:end].sum(axis=1)
    flats = []
    for i, area in enumerate(areas):
        per_item = area.matrix.shape[1] if area.keep is None else area.keep.sum(axis=1)
        bounds = np.concatenate([[0], np.cumsum(area.count)])
        lengths[:, 2 * i + 1] = (
            area.count * per_item if area.keep is None else np.diff(np.concatenate([[0], np.cumsum(per_item)])[bounds])
        )
        flats.append(area.matrix.reshape(-1) if area.keep is None else area.matrix[area.keep])
    for wanted, content in [(None, matrix[keep]), *enumerate(flats)]:
        pattern = np.zeros(lengths.shape[1], bool)
        pattern[slice(0, None, 2) if wanted is None else 2 * wanted + 1] = True
        out[np.repeat(np.tile(pattern, rows), lengths.reshape(-1))] = content
