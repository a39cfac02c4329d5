"""Resident memory of the driver and of the largest Python worker while staging and transforming 10^5 to 10^7 rows.

Rows of 10 numbers that Spark makes as it goes. Flat memory means the same figure at every size. Requests have 5,000
rows, so that as many are in flight with 10^5 rows as with 10^7.
"""

from __future__ import annotations

from common.meter import PeakMemory
from common.sets import spark_session
from common.stub import stub_endpoint
from pyspark.sql import DataFrame, SparkSession, functions
from transform import drop, predicted

from sagespark import LocalSageMaker
from sagespark.data.frame import layout
from sagespark.data.shards import StagingRequest, stage, unstage

SIZES = (10**5, 10**6, 10**7)


def rows_of(spark: SparkSession, count: int) -> DataFrame:
    """Return rows that take no memory before they are asked for."""
    numbers = [(functions.col("id") % (i + 7)).cast("float") for i in range(10)]
    return spark.range(0, count, 1, 4).select(functions.array(*numbers).alias("features"))


def main() -> None:
    """Print the peaks by size."""
    spark = spark_session()
    print(f"Spark {spark.version}, local[2], MiB resident at most")
    with LocalSageMaker() as session:
        for count in SIZES:
            df = rows_of(spark, count)
            made, problems = layout(df.schema)
            assert made is not None, problems
            request = StagingRequest(
                session, session.location / "bench", "train", made, "application/x-recordio-protobuf"
            )
            with PeakMemory() as peak:
                report = stage(df, request)
            assert report.rows == count
            unstage(session, report)
            print(f"  stage      {count:>10,} rows   driver {peak.driver:6.0f}   worker {peak.worker:6.0f}")
    with stub_endpoint() as session:
        for count in SIZES:
            with PeakMemory() as peak:
                drop(predicted(rows_of(spark, count), session, maxRecordsPerRequest=5_000))()
            print(f"  transform  {count:>10,} rows   driver {peak.driver:6.0f}   worker {peak.worker:6.0f}")
    spark.stop()


if __name__ == "__main__":
    main()
