"""Batches of consecutive rows as one."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sagespark.codecs.matrix import Csr, Matrix, Mixed


def concatenate(parts: Sequence[Matrix]) -> Matrix:
    """Return batches of one width and one type of values as one batch, in order; a single one as it is.

    Parameters
    ----------
    parts : sequence of Matrix
        At least one. Arrays give an array, Csr a Csr, different kinds a Mixed.
    """
    if len(parts) == 1:
        return parts[0]
    arrays = [part for part in parts if isinstance(part, np.ndarray)]
    if len(arrays) == len(parts):
        return np.concatenate(arrays)
    sparse = [part for part in parts if isinstance(part, Csr)]
    if len(sparse) == len(parts):
        return _stacked(sparse)
    mixed = [_as_mixed(part) for part in parts]
    return Mixed(
        np.concatenate([part.is_sparse for part in mixed]),
        np.concatenate([part.dense for part in mixed]),
        _stacked([part.sparse for part in mixed]),
    )


def _stacked(parts: Sequence[Csr]) -> Csr:
    counts = np.concatenate([np.diff(part.indptr) for part in parts])
    return Csr(
        np.concatenate([[0], np.cumsum(counts)]),
        np.concatenate([part.indices for part in parts]),
        np.concatenate([part.values for part in parts]),
        parts[0].width,
    )


def _as_mixed(part: Matrix) -> Mixed:
    if isinstance(part, Mixed):
        return part
    rows, width = part.shape
    if isinstance(part, Csr):
        return Mixed(np.ones(rows, bool), np.empty((0, width), part.values.dtype), part)
    none = Csr(np.zeros(1, np.int64), np.empty(0, np.int64), np.empty(0, part.dtype), width)
    return Mixed(np.zeros(rows, bool), part, none)
