"""transform against an endpoint that answers zeros at once: rows per second, and CPU of the JVM and the Python workers.

Beside it, in turns, an Arrow UDF that returns a constant on ``vector_to_array(features, 'float32')``: what any way
through Python costs (Spark 4.1 and later). Medians of the paired runs; the input is cached, the output is dropped.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Sequence

import pyarrow as pa
from common.meter import Spent, measure
from common.sets import SETS, spark_session
from common.stub import stub_endpoint
from pyspark.ml.functions import vector_to_array
from pyspark.sql import DataFrame, functions

from sagespark.aws.session import SageMakerSession
from sagespark.data.frame import layout
from sagespark.data.invoke import InvokeSpec, OutputColumn, with_predictions

RUNS = 5
RECORDIO = "application/x-recordio-protobuf"
OUTPUTS = (
    OutputColumn("closest_cluster", "prediction", "int"),
    OutputColumn("distance_to_cluster", "distance", "double"),
)


def predicted(df: DataFrame, session: SageMakerSession, **limits: int) -> DataFrame:
    """Return the predictions that `KMeansModel.transform` asks for."""
    made, problems = layout(df.schema)
    assert made is not None, problems
    fields = tuple(output.field for output in OUTPUTS)
    spec = InvokeSpec(session, "endpoint", RECORDIO, RECORDIO, fields, made, **limits)
    return with_predictions(df, spec, OUTPUTS).select(*(output.name for output in OUTPUTS))


def constant(df: DataFrame) -> DataFrame:
    """Return a constant for every row, through an Arrow UDF over the same features."""

    def zeros(batches: Iterator[pa.Array]) -> Iterator[pa.Array]:
        for batch in batches:
            yield pa.repeat(0.0, len(batch))

    called = functions.arrow_udf(zeros, "double").asNondeterministic()
    return df.select(called(vector_to_array("features", "float32")).alias("zero"))


def drop(df: DataFrame) -> Callable[[], None]:
    """Return a call that computes every row and keeps none."""
    return lambda: df.write.format("noop").mode("overwrite").save()


def show(name: str, rows: int, spent: Sequence[Spent]) -> float:
    """Print the medians; returns that of the CPU seconds."""
    wall, jvm, workers, cpu = (
        statistics.median(getattr(one, part) for one in spent) for part in ("wall", "jvm", "workers", "cpu")
    )
    print(f"  {name:<24} {rows / wall:>10,.0f} rows/s   CPU {cpu:5.2f} s = JVM {jvm:5.2f} + workers {workers:5.2f}")
    return float(cpu)


def main() -> None:
    """Time the three sets."""
    spark = spark_session()
    with stub_endpoint() as session:
        for data in SETS:
            df = data.make(spark, data.rows).cache()
            rows = df.count()
            print(f"{data.name}, Spark {spark.version}, local[2], medians of {RUNS} paired runs")
            calls = {"transform": drop(predicted(df, session)), "constant Arrow UDF": drop(constant(df))}
            if not hasattr(functions, "arrow_udf") or "sparse" in data.name:
                # Sparse rows as arrays would be another piece of work.
                del calls["constant Arrow UDF"]
            for call in calls.values():
                call()
            spent: dict[str, list[Spent]] = {name: [] for name in calls}
            for _ in range(RUNS):
                for name, call in calls.items():
                    spent[name].append(measure(call))
            cpu = [show(name, rows, found) for name, found in spent.items()]
            if len(cpu) == 2:
                print(f"  CPU of transform is {cpu[0] / cpu[1]:.2f} of the constant's")
            df.unpersist(blocking=True)
    spark.stop()


if __name__ == "__main__":
    main()
