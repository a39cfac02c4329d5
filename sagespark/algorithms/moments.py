"""Number, mean and spread of rows that come in batches.

Batches are joined as Chan, Golub and LeVeque do ("Updating Formulae and a Pairwise Algorithm for Computing Sample
Variances", 1979), which keeps the digits that a difference of two large sums would lose. With ``n`` rows of mean ``m``
and sum of squared distances ``M`` on either side, and ``e = m_b - m_a``:

    M = M_a + M_b + |e|^2 n_a n_b / (n_a + n_b),        m = m_a + e n_b / (n_a + n_b).                            (1)
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from sagespark.codecs.matrix import Csr, Matrix, Mixed


class Moments:
    """Moments of the rows seen so far.

    Parameters
    ----------
    width : int
        ``d``.
    """

    def __init__(self, width: int) -> None:
        self.count = 0
        """Number of rows."""
        self.mean: NDArray[np.float64] = np.zeros(width)
        """Shape (d,)."""
        self.spread = 0.0
        """Sum of squared distances of the rows to their mean."""

    @property
    def squares(self) -> float:
        """Sum of squared distances of the rows to zero."""
        return self.spread + self.count * float(self.mean @ self.mean)

    def add(self, rows: Matrix) -> None:
        """Add a batch; sparse rows stay sparse.

        Parameters
        ----------
        rows : ndarray of shape (n, d), Csr or Mixed
        """
        if isinstance(rows, Mixed):
            self.add(rows.dense)
            self.add(rows.sparse)
            return
        n = rows.shape[0]
        if not n:
            return
        if isinstance(rows, Csr):
            values = rows.values.astype(np.float64)
            mean = np.bincount(rows.indices, values, minlength=rows.width) / n
            # Of the entries alone: with s stored ones in a column, its n - s zeros add (n - s) m^2.
            stored = np.bincount(rows.indices, minlength=rows.width)
            apart = values - mean[rows.indices]
            spread = float(apart @ apart) + float((n - stored) @ mean**2)
        else:
            dense: NDArray[Any] = rows.astype(np.float64)
            mean = dense.mean(axis=0)
            dense -= mean
            spread = float(np.einsum("ij,ij->", dense, dense))
        self.merge(n, mean, spread)

    def merge(self, count: int, mean: NDArray[np.float64], spread: float) -> None:
        """Add what is known of other rows, after equation (1)."""
        if not count:
            return
        total = self.count + count
        apart = mean - self.mean
        self.spread += spread + float(apart @ apart) * self.count * count / total
        self.mean = self.mean + apart * (count / total)
        self.count = total
