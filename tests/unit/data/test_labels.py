"""Labels and weights: checks and summary."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from sagespark.data.batches import BadRowError
from sagespark.data.frame import FrameLayout
from sagespark.data.labels import DISTINCT, LabelSummary, summary, to_labels, to_weights

FLOAT = FrameLayout("vector", ("f",), label="y", labelKind="float")
INTEGER = FrameLayout("vector", ("f",), label="y", labelKind="float", integerLabel=True)
CLASS = FrameLayout("vector", ("f",), label="y", labelKind="class")
THREE = FrameLayout("vector", ("f",), label="y", labelKind="class", numClasses=3)
WEIGHT = FrameLayout("vector", ("f",), weight="w")


def test_labels_are_narrowed() -> None:
    made = to_labels(pa.array([0.1, -2.0]), FLOAT)
    assert made.dtype == np.float32
    assert made.tolist() == np.float32([0.1, -2.0]).tolist()


@pytest.mark.parametrize(
    ("layout", "values", "says"),
    [
        (FLOAT, [1.0, None], "null"),
        (FLOAT, [1.0, float("nan")], "NaN"),
        (FLOAT, [1.0, float("-inf")], "infinite"),
        (FLOAT, [1.0, 1e39], "1e+39, beyond float32"),
        (INTEGER, [1.0, 2.0**24 + 1], "16777217, an integer beyond 2^24"),
        (CLASS, [1.0, 2.0**24 + 1], "16777217, an integer beyond 2^24"),
        (CLASS, [1.0, 0.5], "0.5, but classes are 0, 1, 2, ..."),
        (CLASS, [1.0, -1.0], "-1.0, but classes are"),
        (THREE, [2.0, 3.0], "3.0, but classes are 0 to 2"),
        (THREE, [2.0, None], "null"),
    ],
)
def test_bad_labels_are_refused(layout: FrameLayout, values: list[float | None], says: str) -> None:
    with pytest.raises(BadRowError) as caught:
        to_labels(pa.array(values, pa.float64()), layout)
    assert (caught.value.position, caught.value.column) == (1, "y")
    assert says in caught.value.rule


def test_a_large_double_label_is_no_integer_label() -> None:
    assert to_labels(pa.array([2.5e7]), FLOAT).tolist() == [2.5e7]
    assert to_labels(pa.array([2.0**24]), INTEGER).tolist() == [2.0**24]


@pytest.mark.parametrize(("value", "says"), [(None, "null"), (-1.0, "-1.0"), (float("nan"), "nan"), (1e39, "1e+39")])
def test_bad_weights_are_refused(value: float | None, says: str) -> None:
    with pytest.raises(BadRowError, match="weights are numbers of 0 or more") as caught:
        to_weights(pa.array([1.0, value], pa.float64()), WEIGHT)
    assert (caught.value.position, caught.value.column, caught.value.value) == (1, "w", says)


def test_weights_are_narrowed() -> None:
    assert to_weights(pa.array([0.0, 0.5]), WEIGHT).tolist() == [0.0, 0.5]


def test_summaries_of_parts_make_the_summary_of_all() -> None:
    a, b = np.float32([0, 2, 2]), np.float32([1, 5])
    assert summary(a).merged(summary(b)) == summary(np.concatenate([a, b]))
    assert summary(a).merged(summary(b)) == LabelSummary(0.0, 5.0, True, (0.0, 1.0, 2.0, 5.0))
    assert not summary(a).merged(summary(np.float32([0.5]))).integral


def test_many_distinct_labels_are_not_listed() -> None:
    half, other = np.arange(DISTINCT, dtype=np.float32), np.arange(1, DISTINCT + 1, dtype=np.float32)
    assert len(summary(half).distinct or ()) == DISTINCT
    assert summary(half).merged(summary(other)).distinct is None
