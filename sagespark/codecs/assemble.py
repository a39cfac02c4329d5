"""Tensors as batches: dense, sparse or mixed, with every row checked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sagespark.codecs.base import MalformedError
from sagespark.codecs.matrix import Csr, Matrix, Mixed

Offsets = NDArray[np.int64]
_MOST = 1 << 62


@dataclass(frozen=True, eq=False)
class Tensors:
    """One tensor of each of some rows, flat, with counts per row.

    Parameters
    ----------
    row : ndarray of int64, shape (r,)
        The row of each tensor, increasing.
    values : ndarray
        All the values.
    count : ndarray of int64, shape (r,)
        Values of each.
    keys : ndarray of unsigned integers
        All the keys.
    key_count : ndarray of int64, shape (r,)
        Keys of each; a tensor with keys is sparse.
    shape : ndarray of unsigned integers
        All the dimensions.
    dims : ndarray of int64, shape (r,)
        Dimensions of each.
    offset : ndarray of int64, shape (r,), optional
        Byte offset of each, for errors.
    """

    row: Offsets
    values: NDArray[Any]
    count: Offsets
    keys: NDArray[Any]
    key_count: Offsets
    shape: NDArray[Any]
    dims: Offsets
    offset: Offsets | None = None

    def at(self, i: int) -> int | None:
        """Return the byte offset of tensor ``i``, where known."""
        return None if self.offset is None else int(self.offset[i])


@dataclass(frozen=True, eq=False)
class Batch:
    """The tensors of one entry in consecutive records.

    Parameters
    ----------
    tensors : Tensors
        The tensors.
    rows : int
        The number of records, each of which must have one.
    name : str
        What errors call the entry.
    first : int
        Number of the first record, for errors.
    """

    tensors: Tensors
    rows: int
    name: str
    first: int = 0

    def matrix(self, width: int | None = None) -> Matrix:
        """Return the rows with the type of the tensors' values.

        Parameters
        ----------
        width : int, optional
            The number of features every row must have.

        Raises
        ------
        MalformedError
            If a record has no tensor, the widths differ, or keys and values do not fit together.
        """
        t = self.tensors
        if len(t.row) != self.rows:
            missing = int(np.setdiff1d(np.arange(self.rows), t.row)[0])
            raise MalformedError(f"record {self.first + missing} has no {self.name}, others have", t.at(0))
        volume = self._volume()
        sparse = (t.key_count > 0) | ((t.dims > 0) & (t.count == 0) & (volume > 0))
        self._refuse(
            sparse & (t.key_count != t.count), lambda i: f"has {int(t.count[i])} values for {int(t.key_count[i])} keys"
        )
        self._refuse(
            ~sparse & (t.dims > 0) & (t.count != volume),
            lambda i: f"has {int(t.count[i])} values, but its shape asks for {int(volume[i])}",
        )
        wide = self._width(sparse, volume, width)
        if not sparse.any():
            return t.values.reshape(self.rows, wide)
        indptr = np.concatenate([[0], np.cumsum(t.key_count[sparse])])
        if sparse.all():
            return self._csr(np.arange(self.rows), indptr, t.values, wide)
        from_sparse = np.repeat(sparse, t.count)
        csr = self._csr(np.flatnonzero(sparse), indptr, t.values[from_sparse], wide)
        return Mixed(sparse, t.values[~from_sparse].reshape(-1, wide), csr)

    def _refuse(self, wrong: NDArray[np.bool_], says: Any) -> None:
        """Raise for the first row that is wrong."""
        if wrong.any():
            i = int(np.flatnonzero(wrong)[0])
            raise MalformedError(f"{self.name} of record {self.first + i} {says(i)}", self.tensors.at(i))

    def _volume(self) -> Offsets:
        """Return the product of each tensor's shape; 0 where it has none."""
        t = self.tensors
        if len(t.shape) == self.rows and bool((t.dims == 1).all()) and int(t.shape.max()) < _MOST:
            return t.shape.astype(np.int64)
        out = np.zeros(self.rows, np.int64)
        begin = np.cumsum(t.dims) - t.dims
        left = np.flatnonzero(t.dims > 0)
        out[left] = 1
        depth = 0
        while len(left):
            size = t.shape[begin[left] + depth]
            large = np.zeros(self.rows, bool)
            large[left] = (size >= _MOST) | (size.astype(np.float64) * out[left] >= _MOST)
            self._refuse(large, lambda i: "has a shape of more than 2^62 elements")
            out[left] *= size.astype(np.int64)
            depth += 1
            left = left[t.dims[left] > depth]
        return out

    def _width(self, sparse: NDArray[np.bool_], volume: Offsets, width: int | None) -> int:
        shapeless = sparse & (self.tensors.dims == 0)
        if width is None:
            self._refuse(shapeless, lambda i: "has keys but no shape")
        each = np.where(sparse, volume, self.tensors.count)
        if width is not None:
            each[shapeless] = width
        expected = int(each[0]) if width is None else width
        rule = "the rows before have" if width is None else "the caller expects"
        self._refuse(each != expected, lambda i: f"has {int(each[i])} features, but {rule} {expected}")
        return expected

    def _csr(self, where: Offsets, indptr: Offsets, values: NDArray[Any], width: int) -> Csr:
        """Return the sparse rows ``where``; entries in another order are sorted."""
        keys = self.tensors.keys
        if len(keys) and int(keys.max()) >= width:
            self._refuse_entry(where, indptr, int(np.flatnonzero(keys >= width)[0]), f", which must be below {width}")
        indices = keys.astype(np.int64)
        rising = np.ones(len(keys), bool)
        np.greater(keys[1:], keys[:-1], out=rising[1:])
        first = indptr[:-1]
        rising[first[first < indptr[1:]]] = True
        if not rising.all():
            row = np.repeat(np.arange(len(where)), np.diff(indptr))
            order = np.lexsort((indices, row))
            indices, values = indices[order], values[order]
            twice = np.flatnonzero((indices[1:] == indices[:-1]) & (row[1:] == row[:-1]))
            if len(twice):
                self._refuse_entry(where, indptr, int(order[twice[0]]), " twice")
        return Csr(indptr, indices, values, width)

    def _refuse_entry(self, where: Offsets, indptr: Offsets, entry: int, says: str) -> None:
        wrong = np.zeros(self.rows, bool)
        wrong[where[np.searchsorted(indptr, entry, side="right") - 1]] = True
        self._refuse(wrong, lambda i: f"has the key {int(self.tensors.keys[entry])}{says}")


class Stack:
    """Batches of consecutive rows, put together in memory that is taken once.

    Parameters
    ----------
    rows : int
        Rows of all the batches.
    most : int
        Most entries that they can have if they are sparse; memory is used only as far as it is filled.
    old : Matrix, optional
        A batch whose memory may be written over, where it is large enough.
    """

    def __init__(self, rows: int, most: int, old: Matrix | None = None) -> None:
        self._rows = rows
        self._most = most
        self._old = old
        self._parts: list[Matrix] = []
        self._csr: Csr | None = None
        self._at = 0
        self._entries = 0

    def add(self, part: Matrix) -> bool:
        """Put rows behind those before; return False if their values are of another type."""
        if self._parts and _dtype(part) != _dtype(self._parts[0]):
            return False
        if not self._parts and isinstance(part, Csr):
            self._csr = self._memory(part)
        if self._csr is None or not isinstance(part, Csr):
            self._unstack()
            self._parts.append(part)
            return True
        rows, entries = part.shape[0], len(part.indices)
        if self._entries + entries > len(self._csr.indices):
            self._csr = self._grow(self._csr)
        self._csr.indptr[self._at + 1 : self._at + rows + 1] = part.indptr[1:] + self._entries
        self._csr.indices[self._entries : self._entries + entries] = part.indices
        self._csr.values[self._entries : self._entries + entries] = part.values
        self._at += rows
        self._entries += entries
        self._parts = [part]
        return True

    def matrix(self) -> Matrix:
        """Return all the rows."""
        if self._csr is not None:
            return self._filled(self._csr)
        if len(self._parts) == 1:
            return self._parts[0]
        if all(isinstance(p, np.ndarray) for p in self._parts):
            return np.concatenate(self._parts)  # type: ignore[arg-type]  # all arrays, as just checked
        mixed = [_as_mixed(p) for p in self._parts]
        sparse = Stack(sum(m.sparse.shape[0] for m in mixed), sum(len(m.sparse.indices) for m in mixed))
        for m in mixed:
            sparse.add(m.sparse)
        whole: Any = sparse.matrix()
        kinds = np.concatenate([m.is_sparse for m in mixed])
        return Mixed(kinds, np.concatenate([m.dense for m in mixed]), whole)

    def _memory(self, part: Csr) -> Csr:
        old, kind = self._old, part.values.dtype
        if (
            isinstance(old, Csr)
            and len(old.indptr) > self._rows
            and old.values.dtype == kind
            and all(a.flags.writeable for a in (old.indptr, old.indices, old.values))
        ):
            old.indptr[0] = 0
            return Csr(old.indptr, old.indices, old.values, part.width)
        indptr = np.zeros(self._rows + 1, np.int64)
        return Csr(indptr, np.empty(self._most, np.int64), np.empty(self._most, kind), part.width)

    def _grow(self, csr: Csr) -> Csr:
        """Return memory for all that may come: the old batch's was too small."""
        room = self._most - self._entries
        indices = np.concatenate([csr.indices[: self._entries], np.empty(room, np.int64)])
        values = np.concatenate([csr.values[: self._entries], np.empty(room, csr.values.dtype)])
        return Csr(csr.indptr, indices, values, csr.width)

    def _filled(self, csr: Csr) -> Csr:
        return Csr(csr.indptr[: self._at + 1], csr.indices[: self._entries], csr.values[: self._entries], csr.width)

    def _unstack(self) -> None:
        """Go on with a list of parts: the rows are not all sparse."""
        if self._csr is not None:
            self._parts = [self._filled(self._csr)]
            self._csr = None


def _dtype(part: Matrix) -> np.dtype[Any]:
    if isinstance(part, Mixed):
        return part.dense.dtype
    return part.values.dtype if isinstance(part, Csr) else part.dtype


def _as_mixed(part: Matrix) -> Mixed:
    if isinstance(part, Mixed):
        return part
    rows, width = part.shape
    if isinstance(part, Csr):
        return Mixed(np.ones(rows, bool), np.empty((0, width), part.values.dtype), part)
    none = Csr(np.zeros(1, np.int64), np.empty(0, np.int64), np.empty(0, part.dtype), width)
    return Mixed(np.zeros(rows, bool), part, none)
