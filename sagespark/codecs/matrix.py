"""Batches of rows: what the codecs take in and give back.

Notation: ``n`` rows, ``d`` features (the width), ``nnz`` stored entries.
A batch is a dense ``numpy.ndarray`` of shape (n, d), a :class:`Csr`, or a :class:`Mixed`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]


@dataclass(frozen=True, eq=False)
class Csr:
    """Sparse rows in compressed form, as SciPy's ``csr_matrix`` holds them.

    Parameters
    ----------
    indptr : ndarray of int64, shape (n + 1,)
        Row ``i`` has the entries ``indptr[i]`` to ``indptr[i + 1]``; ``indptr[0]`` is 0.
    indices : ndarray of int64, shape (nnz,)
        Column of each entry, 0-based, strictly increasing within a row.
    values : ndarray of float32 or float64, shape (nnz,)
        Value of each entry; explicit zeros are kept.
    width : int
        ``d``.
    """

    indptr: NDArray[np.int64]
    indices: NDArray[np.int64]
    values: Floats
    width: int

    @property
    def shape(self) -> tuple[int, int]:
        """``(n, d)``."""
        return len(self.indptr) - 1, self.width

    def to_dense(self) -> Floats:
        """Return the (n, d) array; only for narrow batches."""
        out = np.zeros(self.shape, dtype=self.values.dtype)
        rows = np.repeat(np.arange(self.shape[0]), np.diff(self.indptr))
        out[rows, self.indices] = self.values
        return out

    def __getitem__(self, rows: slice) -> Csr:
        """Return a contiguous slice of rows (step 1); indices and values are views."""
        start, stop, step = rows.indices(self.shape[0])
        if step != 1:
            raise ValueError(f"rows must be contiguous, but got step {step}")
        indptr = self.indptr[start : max(stop, start) + 1]
        lo, hi = int(indptr[0]), int(indptr[-1])
        return Csr(indptr - lo, self.indices[lo:hi], self.values[lo:hi], self.width)


@dataclass(frozen=True, eq=False)
class Mixed:
    """Dense and sparse rows of one width in one batch, in row order.

    Parameters
    ----------
    is_sparse : ndarray of bool, shape (n,)
        Kind of each row.
    dense : ndarray, shape (n_dense, d)
        The dense rows in order.
    sparse : Csr
        The sparse rows in order.
    """

    is_sparse: NDArray[np.bool_]
    dense: Floats
    sparse: Csr

    @property
    def shape(self) -> tuple[int, int]:
        """``(n, d)``."""
        return len(self.is_sparse), self.sparse.width

    def __getitem__(self, rows: slice) -> Mixed:
        """Return a contiguous slice of rows (step 1); the arrays are views."""
        start, stop, step = rows.indices(len(self.is_sparse))
        if step != 1:
            raise ValueError(f"rows must be contiguous, but got step {step}")
        before = int(np.count_nonzero(self.is_sparse[:start]))
        inside = int(np.count_nonzero(self.is_sparse[start:stop]))
        dense = slice(start - before, stop - before - inside)
        return Mixed(self.is_sparse[start:stop], self.dense[dense], self.sparse[before : before + inside])


Matrix = Floats | Csr | Mixed
"""A batch of rows, dense, sparse or mixed."""
