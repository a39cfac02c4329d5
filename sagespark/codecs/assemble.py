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
    keys : ndarray of uint64
        All the keys.
    key_count : ndarray of int64, shape (r,)
        Keys of each; a tensor with keys is sparse.
    shape : ndarray of uint64
        All the dimensions.
    dims : ndarray of int64, shape (r,)
        Dimensions of each.
    offset : ndarray of int64, shape (r,), optional
        Byte offset of each, for errors.
    """

    row: Offsets
    values: NDArray[Any]
    count: Offsets
    keys: NDArray[np.uint64]
    key_count: Offsets
    shape: NDArray[np.uint64]
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
        rising = np.ones(len(indices), bool)
        np.greater(indices[1:], indices[:-1], out=rising[1:])
        rising[indptr[:-1][np.diff(indptr) > 0]] = True
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


def concatenate(parts: list[Matrix], name: str) -> Matrix:
    """Return batches of consecutive rows as one.

    Raises
    ------
    MalformedError
        If their widths or types differ.
    """
    if len(parts) == 1:
        return parts[0]
    if all(isinstance(p, np.ndarray) for p in parts):
        return np.concatenate(parts)  # type: ignore[arg-type]  # all arrays, as just checked
    if all(isinstance(p, Csr) for p in parts):
        return _stack(parts)  # type: ignore[arg-type]  # all Csr, as just checked
    mixed = [_as_mixed(p) for p in parts]
    return Mixed(
        np.concatenate([m.is_sparse for m in mixed]),
        np.concatenate([m.dense for m in mixed]),
        _stack([m.sparse for m in mixed]),
    )


def _stack(parts: list[Csr]) -> Csr:
    shift = np.cumsum([0, *(p.indptr[-1] for p in parts)])
    indptr = np.concatenate([[0], *(p.indptr[1:] + s for p, s in zip(parts, shift[:-1], strict=True))])
    indices, values = np.concatenate([p.indices for p in parts]), np.concatenate([p.values for p in parts])
    return Csr(indptr, indices, values, parts[0].width)


def _as_mixed(part: Matrix) -> Mixed:
    if isinstance(part, Mixed):
        return part
    rows, width = part.shape
    if isinstance(part, Csr):
        return Mixed(np.ones(rows, bool), np.empty((0, width), part.values.dtype), part)
    none = Csr(np.zeros(1, np.int64), np.empty(0, np.int64), np.empty(0, part.dtype), width)
    return Mixed(np.zeros(rows, bool), part, none)
