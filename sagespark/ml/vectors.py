"""One row on the driver, as ``predict(v)`` takes it."""

from __future__ import annotations

from typing import Any

import numpy as np
from pyspark.ml.linalg import DenseVector, SparseVector, Vector

from sagespark.codecs.matrix import Csr, Matrix
from sagespark.core.errors import DataError


def to_row(value: Any, *, width: int | None, missing: str) -> Matrix:
    """Return a vector as a batch of one float32 row.

    Parameters
    ----------
    value : Vector, sequence of numbers or ndarray of shape (d,)
        ``d`` features.
    width : int or None
        The number of features that the model takes, where it is known.
    missing : {'refuse', 'keep'}
        What NaN means to the algorithm.

    Returns
    -------
    ndarray of shape (1, d), or Csr of one row for a SparseVector

    Raises
    ------
    TypeError
        If it is no vector of numbers.
    DataError
        If it has another width, or a value that is missing, infinite, or beyond float32.
    """
    if isinstance(value, SparseVector):
        kept, size = np.asarray(value.values, np.float64), int(value.size)
    else:
        try:
            kept = np.asarray(value.toArray() if isinstance(value, DenseVector) else value, np.float64)
        except (TypeError, ValueError):
            raise TypeError(f"predict takes a Vector or a sequence of numbers, but got {value!r}") from None
        if kept.ndim != 1 or isinstance(value, Vector) != isinstance(value, DenseVector):
            raise TypeError(f"predict takes one Vector or sequence of numbers, but got {value!r}")
        size = len(kept)
    if width is not None and size != width:
        raise DataError(f"the model takes {width} features, but the vector has {size}")
    with np.errstate(over="ignore"):
        narrow = kept.astype(np.float32)
    bad = ~np.isfinite(narrow) & ~(np.isnan(narrow) & (missing == "keep"))
    if bad.any():
        position = int(bad.argmax())
        raise DataError(f"value {kept[position]!r} is missing, infinite, or beyond float32", value=repr(kept[position]))
    if isinstance(value, SparseVector):
        return Csr(np.array([0, len(narrow)], np.int64), np.asarray(value.indices, np.int64), narrow, size)
    return narrow[np.newaxis]
