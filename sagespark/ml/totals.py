"""How much the rows of a DataFrame vary, in one pass of the executors."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial

import numpy as np
import pyarrow as pa
from pyspark.sql import DataFrame

from sagespark.algorithms.moments import Moments
from sagespark.data.batches import from_arrow, to_matrix
from sagespark.data.columns import INDICES, KIND, VALUES, feature_columns
from sagespark.data.frame import FrameLayout

_SCHEMA = "count bigint, spread double, mean array<double>"


def moments(dataset: DataFrame, layout: FrameLayout, width: int) -> Moments:
    """Return the moments of the rows, as float32 as they travel to SageMaker.

    Parameters
    ----------
    dataset : DataFrame
    layout : FrameLayout
        Its features.
    width : int
        Number of features.

    Raises
    ------
    DataError
        If a row is refused.
    """
    columns = feature_columns(dataset.schema, layout)
    frame = dataset.select([column.alias(name) for name, column in columns.items()])
    found = Moments(width)
    for row in frame.mapInArrow(partial(partition_moments, layout, width), _SCHEMA).collect():
        found.merge(row["count"], np.array(row["mean"], np.float64), row["spread"])
    return found


def partition_moments(layout: FrameLayout, width: int, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Yield one row for a partition: number of rows, spread and mean; none for an empty one."""
    found = Moments(width)
    for batch in batches:
        indices = batch.column(INDICES) if INDICES in batch.schema.names else None
        arrays = from_arrow(batch.column(VALUES), batch.column(KIND), indices)
        found.add(to_matrix(arrays, layout, width, "there are {width}"))
    if found.count:
        yield pa.RecordBatch.from_arrays(
            [pa.array([found.count]), pa.array([found.spread]), pa.array([found.mean.tolist()])],
            names=["count", "spread", "mean"],
        )
