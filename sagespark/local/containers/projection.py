"""Rows in the space of principal components.

Notation: ``n`` rows ``x`` of ``d`` features, ``k`` components as the columns of ``v``, the training rows' mean ``m``
(zero without ``subtract_mean``). In float64, and by the same formula for dense and sparse rows:

    projection = x v - m v                                                                                          (1)

Its values are in the order of ``v``'s columns: AWS's artifact and AWS's answers have the largest component last.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from sagespark.codecs.matrix import Csr, Matrix, Mixed
from sagespark.local.containers.scatter import to_float64


class Projection:
    """Components, ready for rows.

    Parameters
    ----------
    vectors : ndarray, shape (d, k)
    mean : ndarray of shape (d,) or (1, d), or None
    """

    def __init__(self, vectors: NDArray[Any], mean: NDArray[Any] | None) -> None:
        self._vectors = np.ascontiguousarray(vectors, np.float64)
        self._mean = np.zeros(len(vectors)) if mean is None else np.asarray(mean, np.float64).reshape(-1)
        self._offset = self._mean @ self._vectors

    @property
    def width(self) -> int:
        """``d``."""
        return len(self._vectors)

    def project(self, rows: Matrix) -> NDArray[np.float64]:
        """Return equation (1), shape (n, k).

        Parameters
        ----------
        rows : ndarray of shape (n, d), Csr or Mixed
        """
        if isinstance(rows, Mixed):
            out = np.empty((rows.shape[0], self._vectors.shape[1]))
            out[~rows.is_sparse] = self.project(rows.dense)
            out[rows.is_sparse] = self.project(rows.sparse)
            return out
        x = to_float64(rows) if isinstance(rows, Csr) else rows.astype(np.float64)
        return np.asarray(x @ self._vectors - self._offset)

    def residual(self, rows: Matrix) -> float:
        """Return the sum of squared distances of the rows to the nearest points of the components' space."""
        if isinstance(rows, Mixed):
            return self.residual(rows.dense) + self.residual(rows.sparse)
        projected = self.project(rows)
        inside = float(np.einsum("ij,ij->", projected, projected))
        if isinstance(rows, Csr):
            x = to_float64(rows)
            squares = (
                float(x.data @ x.data)
                - 2 * float((x @ self._mean).sum())
                + len(projected) * float(self._mean @ self._mean)
            )
        else:
            apart = rows - self._mean
            squares = float(np.einsum("ij,ij->", apart, apart))
        return max(squares - inside, 0.0)
