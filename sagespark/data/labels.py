"""Labels, weights and query ids: checks, and what a training job has to know of the labels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from sagespark.data.batches import BadRowError, Mask, not_a_float32
from sagespark.data.frame import FrameLayout

EXACT = 1 << 24
"""Largest integer up to which float32 holds every integer."""
DISTINCT = 1000
"""Most distinct labels that are counted."""


@dataclass(frozen=True)
class LabelSummary:
    """The labels of all rows staged.

    Parameters
    ----------
    min, max : float
        Smallest and largest.
    integral : bool
        Whether all are integers.
    distinct : tuple of float or None
        The distinct labels in order; None where they are more than `DISTINCT`.
    """

    min: float
    max: float
    integral: bool
    distinct: tuple[float, ...] | None

    def merged(self, other: LabelSummary) -> LabelSummary:
        """Return the summary of both sets of rows."""
        distinct = None
        if self.distinct is not None and other.distinct is not None:
            distinct = _bounded(set(self.distinct) | set(other.distinct))
        return LabelSummary(
            min(self.min, other.min), max(self.max, other.max), self.integral and other.integral, distinct
        )


def _bounded(values: set[float]) -> tuple[float, ...] | None:
    return tuple(sorted(values)) if len(values) <= DISTINCT else None


def summary(labels: NDArray[np.float32]) -> LabelSummary:
    """Return the summary of checked labels, shape (n,) with ``n`` at least 1."""
    integral = bool((labels == np.rint(labels)).all())
    return LabelSummary(
        float(labels.min()), float(labels.max()), integral, _bounded(set(np.unique(labels).astype(float).tolist()))
    )


def to_labels(array: pa.Array, layout: FrameLayout) -> NDArray[np.float32]:
    """Return a double column of labels as float32, shape (n,).

    Raises
    ------
    BadRowError
        For the first label that is null, NaN, infinite, beyond float32, an integer beyond 2^24, or no class.
    """
    assert layout.label is not None
    values, null = _doubles(array)
    with np.errstate(over="ignore"):
        narrow = values.astype(np.float32)
    wrong = ~np.isfinite(narrow) | null
    if layout.integerLabel or layout.labelKind == "class":
        wrong |= np.abs(values) > EXACT
    if layout.labelKind == "class":
        wrong |= (values != np.rint(values)) | (values < 0)
        if layout.numClasses is not None:
            wrong |= values >= layout.numClasses
    if wrong.any():
        i = int(wrong.argmax())
        value = None if null[i] else float(values[i])
        text = "null" if value is None else repr(value)
        raise BadRowError(i, layout.label, f"the label is {_refused(value, layout)}", text)
    return narrow


def _refused(value: float | None, layout: FrameLayout) -> str:
    if value is None:
        return "null; drop such rows first: df.dropna(subset=[...])"
    if not np.isfinite(value):
        return not_a_float32(value)
    if abs(value) > EXACT and (layout.integerLabel or layout.labelKind == "class"):
        return (
            f"{value:.0f}, an integer beyond 2^24 ({EXACT}), which float32 does not hold exactly; scale it, or index "
            "classes by pyspark.ml.feature.StringIndexer"
        )
    if layout.labelKind == "class":
        classes = "0, 1, 2, ..." if layout.numClasses is None else f"0 to {layout.numClasses - 1}"
        return f"{value!r}, but classes are {classes}; index them by pyspark.ml.feature.StringIndexer"
    return not_a_float32(value)


def to_weights(array: pa.Array, layout: FrameLayout) -> NDArray[np.float32]:
    """Return a double column of weights as float32, shape (n,).

    Raises
    ------
    BadRowError
        For the first weight that is null, NaN, infinite, negative, or beyond float32.
    """
    assert layout.weight is not None
    values, null = _doubles(array)
    with np.errstate(over="ignore"):
        narrow = values.astype(np.float32)
    wrong = ~np.isfinite(narrow) | null | (values < 0)
    if wrong.any():
        i = int(wrong.argmax())
        text = "null" if null[i] else repr(float(values[i]))
        rule = f"the weight is {text}; weights are numbers of 0 or more, up to float32's 3.4028235e+38"
        raise BadRowError(i, layout.weight, rule, text)
    return narrow


def to_groups(array: pa.Array, layout: FrameLayout) -> NDArray[np.float64]:
    """Return a double column of query ids, shape (n,).

    Raises
    ------
    BadRowError
        For the first id that is null, negative, no whole number, or beyond 2^53, up to which doubles tell all apart.
    """
    assert layout.group is not None
    values, null = _doubles(array)
    with np.errstate(invalid="ignore"):
        wrong = ~np.isfinite(values) | null | (values < 0) | (values != np.rint(values)) | (values > 2.0**53)
    if wrong.any():
        i = int(wrong.argmax())
        text = "null" if null[i] else repr(float(values[i]))
        rule = (
            f"the query id is {text}; query ids are whole numbers from 0 to 2^53; index others by "
            "pyspark.ml.feature.StringIndexer"
        )
        raise BadRowError(i, layout.group, rule, text)
    return values


def _doubles(array: Any) -> tuple[NDArray[np.float64], Mask]:
    """Return a double column with NaN for null, and which are null."""
    null = array.is_null().to_numpy(zero_copy_only=False)
    return array.to_numpy(zero_copy_only=False).astype(np.float64, copy=False), null
