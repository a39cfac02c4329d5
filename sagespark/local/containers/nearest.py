"""The nearest centre of each row.

Notation: ``n`` rows ``x`` of ``d`` features, ``k`` centres ``c``. All arithmetic is in float64 on float32 data, so that
products are exact:

    argmin_j |x - c_j|^2 = argmin_j ( |c_j|^2 - 2 x . c_j )                                                         (1)

with the lowest ``j`` where two are equal, as scikit-learn's ``KMeans.predict`` has it. The right side plus ``|x|^2`` is
the squared distance, but for its last digits: where it is small against ``|x|^2 + |c_j|^2`` too few are left, and the
distance is taken from the difference ``x - c_j`` itself.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from sagespark.codecs.matrix import Csr, Matrix, Mixed

MAX_DENSE_WIDTH = 1024
"""Sparse rows of at most this many features are computed as dense ones, so that a row's kind changes no answer."""
_BLOCK_CELLS = 1 << 16
"""Numbers of a block, so that what is computed from it stays in the processor's cache."""
_FEWEST_ROWS = 16
_CLOSE = 1e-4
"""Share of |x|^2 + |c|^2 below which a squared distance is computed again; above it 12 digits are right."""


class Centres:
    """Cluster centres, ready for the search.

    Parameters
    ----------
    centres : ndarray, shape (k, d)
        Their coordinates.
    """

    def __init__(self, centres: NDArray[Any]) -> None:
        self.centres = np.ascontiguousarray(centres, np.float64)
        self._columns = np.ascontiguousarray(self.centres.T)
        self._norms = np.einsum("ij,ij->i", self.centres, self.centres)

    @property
    def shape(self) -> tuple[int, int]:
        """``(k, d)``."""
        return self.centres.shape[0], self.centres.shape[1]

    def nearest(self, rows: Matrix) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
        """Return the number of each row's nearest centre and the Euclidean distance to it.

        Parameters
        ----------
        rows : ndarray of shape (n, d), Csr or Mixed
            Float32 or float64.

        Returns
        -------
        ndarray of intp, shape (n,)
            Numbers from 0.
        ndarray of float64, shape (n,)
            Distances, 0 or more.
        """
        labels, squares = self.closest(rows)
        return labels, np.sqrt(squares)

    def closest(self, rows: Matrix) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
        """Return the number of each row's nearest centre and the squared distance to it; see `nearest`.

        A sum of squares is exact where the squares are: not through their roots.
        """
        n, width = rows.shape
        labels = np.empty(n, np.intp)
        squares = np.empty(n, np.float64)
        if isinstance(rows, Mixed):
            for mask, part in ((~rows.is_sparse, rows.dense), (rows.is_sparse, rows.sparse)):
                labels[mask], squares[mask] = self.closest(part)
            return labels, squares
        wide = isinstance(rows, Csr) and width > MAX_DENSE_WIDTH
        step = max(_FEWEST_ROWS, _BLOCK_CELLS // max(len(self.centres), 1 if wide else width))
        for start in range(0, n, step):
            stop = min(start + step, n)
            block = rows[start:stop]
            if not isinstance(block, Csr):
                found = self._dense(np.asarray(block, np.float64))
            elif wide:
                found = self._sparse(block)
            else:
                found = self._dense(block.to_dense().astype(np.float64))
            labels[start:stop], squares[start:stop] = found
        return labels, squares

    def _dense(self, x: NDArray[np.float64]) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
        scores = x @ self._columns
        scores *= -2
        scores += self._norms
        labels = scores.argmin(axis=1)
        norms = np.einsum("ij,ij->i", x, x)
        squares = scores[np.arange(len(x)), labels] + norms
        close = np.flatnonzero(squares < _CLOSE * (norms + self._norms[labels]))
        difference = x[close] - self.centres[labels[close]]
        squares[close] = np.einsum("ij,ij->i", difference, difference)
        return labels, squares

    def _sparse(self, x: Csr) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
        """Never make wide rows dense: with ``s`` the entries of ``x``, |x-c|^2 = sum_s (x-c)^2 + |c|^2 - sum_s c^2."""
        from scipy.sparse import csr_matrix

        values = x.values.astype(np.float64)
        scores = csr_matrix((values, x.indices, x.indptr), shape=x.shape) @ self._columns
        scores *= -2
        scores += self._norms
        labels = np.asarray(scores).argmin(axis=1)
        row = np.repeat(np.arange(x.shape[0]), np.diff(x.indptr))
        centre = self.centres[labels[row], x.indices]
        inside = np.bincount(row, (values - centre) ** 2 - centre**2, minlength=x.shape[0])
        return labels, np.maximum(inside + self._norms[labels], 0)
