"""The three data sets of the staging and invocation benchmarks, cached as Vector columns."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from pyspark.ml.functions import array_to_vector
from pyspark.ml.linalg import SparseVector, VectorUDT
from pyspark.sql import DataFrame, SparkSession, functions
from pyspark.sql.types import StructField, StructType

PARTITIONS = 4


@dataclass(frozen=True)
class DataSet:
    """A name, its rows, and how to make it."""

    name: str
    rows: int
    make: Callable[[SparkSession, int], DataFrame]


def spark_session(**conf: str) -> SparkSession:
    """Return a quiet session on two cores."""
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    builder = SparkSession.builder.master("local[2]").config("spark.ui.enabled", "false")
    builder = builder.config("spark.driver.memory", "6g").config("spark.log.level", "ERROR")
    for key, value in {"spark.ui.showConsoleProgress": "false", **conf}.items():
        builder = builder.config(key, value)
    return builder.getOrCreate()


def arrays(spark: SparkSession, rows: int, width: int) -> DataFrame:
    """Return rows of `width` numbers as arrays of doubles, made in the executors and not cached."""

    def draw(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            count = batch.num_rows
            seed = int(batch.column(0)[0].as_py()) if count else 0
            values = np.random.default_rng(seed).standard_normal(count * width)
            offsets = pa.array(np.arange(count + 1, dtype=np.int32) * width)
            yield pa.RecordBatch.from_arrays([pa.ListArray.from_arrays(offsets, pa.array(values))], ["a"])

    return spark.range(0, rows, 1, PARTITIONS).mapInArrow(draw, "a array<double>")


def dense(width: int) -> Callable[[SparkSession, int], DataFrame]:
    """Return a maker of dense vectors."""

    def make(spark: SparkSession, rows: int) -> DataFrame:
        return arrays(spark, rows, width).select(array_to_vector(functions.col("a")).alias("features"))

    return make


def sparse(width: int, stored: int) -> Callable[[SparkSession, int], DataFrame]:
    """Return a maker of sparse vectors with about so many stored entries."""

    def make(spark: SparkSession, rows: int) -> DataFrame:
        rng = np.random.default_rng(0)
        # A few thousand different rows, repeated: making each one in Python would take longer than all that is timed.
        few = []
        for _ in range(2000):
            at = np.unique(rng.integers(0, width, stored))
            few.append((SparseVector(width, at, rng.standard_normal(len(at))),))
        schema = StructType([StructField("features", VectorUDT())])
        some = spark.createDataFrame(few, schema).repartition(PARTITIONS).cache()
        return some.crossJoin(functions.broadcast(spark.range(rows // len(few)))).select("features")

    return make


SETS = (
    DataSet("1,000,000 x 50 dense", 1_000_000, dense(50)),
    DataSet("100,000 x 784 dense", 100_000, dense(784)),
    DataSet("200,000 x 10,000 sparse, ~50 stored", 200_000, sparse(10_000, 50)),
)
