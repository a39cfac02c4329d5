"""The closest centre of each row, on an executor and without an endpoint.

Notation: ``n`` rows ``x`` of ``d`` features, ``k`` centres ``c``. All arithmetic is in float64 on float32 rows:

    argmin_j |x - c_j|^2 = argmin_j ( |c_j|^2 - 2 x . c_j )                                                         (1)

The squared distance is then taken from the difference itself: (1) plus ``|x|^2`` loses half of a small one's digits.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from sagespark.codecs.matrix import Csr, Matrix, Mixed
from sagespark.data.batches import from_arrow, to_matrix
from sagespark.data.columns import INDICES, KIND, VALUES
from sagespark.data.frame import FrameLayout

_CELLS = 1 << 20
"""Most numbers of an intermediate array."""


def assign(rows: Matrix, centers: NDArray[np.float64]) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """Return the number of the closest centre of each row and the squared distance to it.

    Parameters
    ----------
    rows : ndarray of shape (n, d), Csr or Mixed
    centers : ndarray of float64, shape (k, d)

    Returns
    -------
    labels : ndarray of intp, shape (n,)
        The lowest number where several are equally close.
    squares : ndarray of float64, shape (n,)
    """
    n, width = rows.shape
    labels, squares = np.empty(n, np.intp), np.empty(n)
    if isinstance(rows, Mixed):
        for mask, part in ((~rows.is_sparse, rows.dense), (rows.is_sparse, rows.sparse)):
            labels[mask], squares[mask] = assign(part, centers)
        return labels, squares
    norms = np.einsum("ij,ij->i", centers, centers)
    start = 0
    while start < n:
        # Sparse rows cost k numbers per entry, dense ones d.
        per_row = max(width, len(centers))
        if isinstance(rows, Csr):
            per_row = max(1, int(np.diff(rows.indptr[start : start + 1024]).max(initial=0))) * len(centers)
        stop = min(n, start + max(1, _CELLS // per_row))
        block: Any = rows[start:stop]
        found = _sparse(block, centers, norms) if isinstance(block, Csr) else _dense(block, centers, norms)
        labels[start:stop], squares[start:stop] = found
        start = stop
    return labels, squares


def _dense(
    block: NDArray[Any], centers: NDArray[np.float64], norms: NDArray[np.float64]
) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    x = block.astype(np.float64)
    labels = (norms - 2 * (x @ centers.T)).argmin(axis=1)
    difference = x - centers[labels]
    return labels, np.einsum("ij,ij->i", difference, difference)


def _sparse(
    block: Csr, centers: NDArray[np.float64], norms: NDArray[np.float64]
) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """Never make rows dense: with ``s`` the entries of ``x``, |x-c|^2 = sum_s (x-c)^2 + |c|^2 - sum_s c^2."""
    n = block.shape[0]
    row = np.repeat(np.arange(n), np.diff(block.indptr))
    values = block.values.astype(np.float64)
    products = np.zeros((n, len(centers)))
    stored = np.flatnonzero(np.diff(block.indptr))
    if len(stored):
        terms = values[:, np.newaxis] * centers.T[block.indices]
        products[stored] = np.add.reduceat(terms, block.indptr[stored])
    labels = (norms - 2 * products).argmin(axis=1)
    at = centers[labels[row], block.indices]
    inside = np.bincount(row, (values - at) ** 2 - at**2, minlength=n)
    return labels, np.maximum(inside + norms[labels], 0)


def partition_totals(
    layout: FrameLayout, centers: NDArray[np.float64], batches: Iterable[pa.RecordBatch]
) -> Iterator[pa.RecordBatch]:
    """Yield one row per centre for a partition: its number, how many rows are closest to it, their squared distances.

    Parameters
    ----------
    layout : FrameLayout
    centers : ndarray of float64, shape (k, d)
    batches : iterable of RecordBatch
        Features as :mod:`sagespark.data.columns` makes them travel.
    """
    k, width = centers.shape
    sizes, costs = np.zeros(k, np.int64), np.zeros(k)
    for batch in batches:
        indices = batch.column(INDICES) if INDICES in batch.schema.names else None
        rows = to_matrix(
            from_arrow(batch.column(VALUES), batch.column(KIND), indices), layout, width, "there are {width}"
        )
        labels, squares = assign(rows, centers)
        sizes += np.bincount(labels, minlength=k)
        costs += np.bincount(labels, squares, minlength=k)
    yield pa.RecordBatch.from_arrays(
        [pa.array(np.arange(k, dtype=np.int32)), pa.array(sizes), pa.array(costs)], names=["cluster", "size", "cost"]
    )
