"""The scatter matrix of rows that are read in pieces: X'X of the centred rows, or of the rows as they are.

Dense rows are centred per batch and joined as :mod:`sagespark.algorithms.moments` tells: with the scatter ``S`` of
``n`` rows of mean ``m`` on either side, and ``e = m_b - m_a``,

    S = S_a + S_b + e e' n_a n_b / (n_a + n_b),                                                                     (1)

so that a mean far from zero costs no digits. Sparse rows stay sparse: ``S_b = sum x x' - n m m'``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy import linalg

from sagespark.algorithms.moments import Moments
from sagespark.codecs.matrix import Csr, Matrix, Mixed
from sagespark.local.containers.hosts import Hosts, joined

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix


class Scatter:
    """Add up the scatter matrix.

    Parameters
    ----------
    width : int
        ``d``.
    centred : bool
        Whether the mean is subtracted.
    """

    def __init__(self, width: int, centred: bool) -> None:
        self._centred = centred
        self.moments = Moments(width)
        # Lower triangle, in the order that BLAS adds to in place.
        self._matrix: NDArray[np.float64] = np.zeros((width, width), order="F")
        # Sparse rows add their entries alone; their mean comes in at the end.
        self._sparse = Moments(width)

    def add(self, rows: Matrix) -> None:
        """Add a batch of rows."""
        if isinstance(rows, Mixed):
            self.add(rows.dense)
            self.add(rows.sparse)
            return
        if not rows.shape[0]:
            return
        if isinstance(rows, Csr):
            self._sparse.add(rows)
            x = to_float64(rows)
            product = (x.T @ x).tocoo()
            self._matrix[product.row, product.col] += product.data
            return
        dense: NDArray[np.float64] = rows.astype(np.float64)
        mean = dense.mean(axis=0)
        if self._centred:
            dense -= mean
        self._join(len(dense), mean)
        self._matrix = linalg.blas.dsyrk(1.0, dense.T, beta=1.0, c=self._matrix, lower=1, overwrite_c=1)

    def _join(self, count: int, mean: NDArray[np.float64]) -> None:
        """Note rows whose scatter about their own mean is added."""
        known = self.moments.count
        if self._centred and known:
            apart = mean - self.moments.mean
            self._add_square(known * count / (known + count), apart)
        self.moments.merge(count, mean, 0.0)

    def _add_square(self, weight: float, vector: NDArray[np.float64]) -> None:
        self._matrix = linalg.blas.dsyr(weight, vector, a=self._matrix, lower=1, overwrite_a=1)

    def matrix(self) -> NDArray[np.float64]:
        """Return the scatter matrix, of which the lower triangle is valid; nothing can be added any more."""
        sparse = self._sparse
        if sparse.count:
            if self._centred:
                self._add_square(-sparse.count, sparse.mean)
            self._join(sparse.count, sparse.mean)
        return self._matrix

    def joined(self, hosts: Hosts) -> NDArray[np.float64]:
        """Return the scatter matrix of all hosts' rows, whose moments are here from now on; see `matrix`.

        By equation (1) about the common mean ``m`` of the hosts' means ``m_h``: S = sum of S_h + n_h e e', e = m_h - m.
        """
        matrix = self.matrix()
        if hosts.size == 1:
            return matrix
        mine = self.moments
        moments = joined(mine, hosts)
        if self._centred and mine.count:
            apart = mine.mean - moments.mean
            matrix = linalg.blas.dsyr(mine.count, apart, a=matrix, lower=1, overwrite_a=1)
        self.moments = moments
        # Rows first for the sockets, columns first for BLAS: the lower triangle is the upper one of its transpose.
        return hosts.allreduce(matrix.T).T


def to_float64(rows: Csr) -> csr_matrix:
    """Return sparse rows as SciPy's matrix of float64."""
    from scipy.sparse import csr_matrix

    return csr_matrix((rows.values.astype(np.float64), rows.indices, rows.indptr), shape=rows.shape)
