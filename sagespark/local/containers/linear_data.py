"""Rows as the linear learner sees them: labels and features brought to mean 0 and deviation 1, never stored so.

With ``m`` the means and ``s`` the deviations of the features, rows are ``z = (x - m) / s``. Sparse rows stay sparse,
since ``m`` enters by sums:

    Z W = X (W / s) - (m / s) W,        Z'G = (X'G) / s - (m / s) (sum of G's rows)                                 (1)
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sagespark.codecs.matrix import Matrix
from sagespark.local.containers.channels import memory, to_csr
from sagespark.local.containers.collective import Collective

Floats = NDArray[np.float64]
Block = tuple[Any, Floats]
"""Rows, a dense array or SciPy's CSR matrix of float32, and their labels."""
Read = Callable[[], Iterable[tuple[Matrix, NDArray[np.float32]]]]

COPIES = 3
"""Memory that keeping the rows takes, in sizes of the rows: themselves, a copy while they are joined, and room."""
STEP_ROWS = 16384
"""Rows that are predicted at a time."""


@dataclass(frozen=True)
class Scaling:
    """Means and deviations."""

    mean: Floats
    """Of the features, shape (d,); 0 where it is not subtracted."""
    deviation: Floats
    """Of the features, shape (d,); 1 where it is not divided by."""
    label_mean: float
    label_deviation: float

    def labels(self, y: Floats) -> Floats:
        """Return labels as trained on."""
        return (y - self.label_mean) / self.label_deviation

    def fold(self, weights: Floats, bias: Floats) -> tuple[Floats, Floats]:
        """Return weights and intercept for rows as they are, from those for scaled rows; shapes (d, C) and (C,)."""
        plain = weights / self.deviation[:, np.newaxis] * self.label_deviation
        return plain, bias * self.label_deviation + self.label_mean - self.mean @ plain


class Sums:
    """Sums of rows and of their squares, over rows and hosts."""

    def __init__(self, width: int) -> None:
        self._sums = np.zeros((2, width + 1))
        self.count = 0

    def add(self, rows: Any, labels: Floats) -> None:
        """Add rows, dense or CSR."""
        self.count += len(labels)
        if isinstance(rows, np.ndarray):
            values: Floats = rows.astype(np.float64)
            self._sums[0, :-1] += values.sum(axis=0)
            self._sums[1, :-1] += np.einsum("ij,ij->j", values, values)
        else:
            wide = rows.astype(np.float64)
            self._sums[0, :-1] += np.asarray(wide.sum(axis=0)).ravel()
            self._sums[1, :-1] += np.asarray(wide.multiply(wide).sum(axis=0)).ravel()
        self._sums[0, -1] += labels.sum()
        self._sums[1, -1] += labels @ labels

    def moments(self, group: Collective) -> tuple[Floats, Floats]:
        """Return means and standard deviations of features and, last, label; a deviation of 0 becomes 1."""
        total = group.allreduce(np.concatenate([self._sums.ravel(), [float(self.count)]]))
        count = max(total[-1], 1.0)
        mean, square = total[:-1].reshape(2, -1) / count
        spread = square - mean * mean
        # What is left of two nearly equal numbers is rounding: such a feature is constant.
        spread[spread <= 1e-12 * square] = 0
        deviation = np.sqrt(spread)
        return mean, np.where(deviation > 0, deviation, 1.0)


class Rows:
    """The rows of a channel on this host, kept in memory or read again for each pass.

    Parameters
    ----------
    read : callable
        Returns the blocks from the first one on.
    available : int
        Bytes of memory that may be taken.
    convert : callable or None
        How rows are stored; None: dense ones as an array, others as SciPy's CSR matrix.
    """

    def __init__(self, read: Read, available: int, convert: Callable[[Matrix], Any] | None = None) -> None:
        self._read = read
        self._convert = convert or as_rows
        self.kept: list[Block] | None = []
        self.count = 0
        size = 0
        for rows, labels in read():
            self.count += len(labels)
            size += memory(rows)
            if self.kept is not None:
                self.kept = None if size * COPIES > available else [*self.kept, self._block(rows, labels)]
        if self.kept:
            self.kept = [_joined(self.kept)]

    def _block(self, rows: Matrix, labels: NDArray[np.float32]) -> Block:
        return self._convert(rows), labels.astype(np.float64)

    def blocks(self) -> Iterable[Block]:
        """Return all rows in pieces, in order."""
        if self.kept is not None:
            return self.kept
        return (self._block(rows, labels) for rows, labels in self._read())

    def batches(self, size: int, random: np.random.Generator) -> Iterator[Block]:
        """Yield mini-batches of at most ``size`` rows in random order: of all rows, or within each block read."""
        for rows, labels in self.blocks():
            order = random.permutation(len(labels))
            for start in range(0, len(order), size):
                chosen = order[start : start + size]
                yield rows[chosen], labels[chosen]

    def pieces(self) -> Iterator[Block]:
        """Yield all rows in order, :data:`STEP_ROWS` at a time."""
        for rows, labels in self.blocks():
            for start in range(0, len(labels), STEP_ROWS):
                yield rows[start : start + STEP_ROWS], labels[start : start + STEP_ROWS]


def as_rows(rows: Matrix) -> Any:
    """Return rows as a dense array, or as SciPy's CSR matrix where any is sparse."""
    return rows if isinstance(rows, np.ndarray) else to_csr(rows)


def _joined(blocks: list[Block]) -> Block:
    labels = np.concatenate([labels for _, labels in blocks])
    parts = [rows for rows, _ in blocks]
    if all(isinstance(part, np.ndarray) for part in parts):
        return np.concatenate(parts), labels
    from scipy.sparse import csr_matrix, vstack

    return vstack([csr_matrix(part) for part in parts], format="csr"), labels


def forward(rows: Any, scaling: Scaling, weights: Floats) -> tuple[Any, Floats]:
    """Return what :func:`backward` needs of the rows, and ``Z W`` plus intercepts, shape (n, C M).

    Parameters
    ----------
    rows : ndarray or CSR matrix, shape (n, d)
    scaling : Scaling
    weights : ndarray, shape (d + 1, C M)
        The intercepts are the last row.
    """
    if isinstance(rows, np.ndarray):
        z: Floats = (rows - scaling.mean) / scaling.deviation
        return z, z @ weights[:-1] + weights[-1]
    wide = rows.astype(np.float64)
    scaled = weights[:-1] / scaling.deviation[:, np.newaxis]
    return wide, wide @ scaled + (weights[-1] - scaling.mean @ scaled)


def backward(z: Any, scaling: Scaling, slopes: Floats) -> Floats:
    """Return ``Z'G`` and, last, the sums of G's rows: shape (d + 1, C M)."""
    out = np.empty((z.shape[1] + 1, slopes.shape[1]))
    out[-1] = slopes.sum(axis=0)
    if isinstance(z, np.ndarray):
        out[:-1] = z.T @ slopes
    else:
        out[:-1] = (z.T @ slopes - np.outer(scaling.mean, out[-1])) / scaling.deviation[:, np.newaxis]
    return out
