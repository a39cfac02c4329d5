"""Staging to the embedded service's S3: rows per second, and CPU of the JVM and the Python workers.

Cached Vector columns as RecordIO, medians. SageMaker Spark's figures are those of its writer to local files, measured
on another day and machine of the same size: for the order of magnitude.
"""

from __future__ import annotations

import statistics

from common.meter import Spent, measure
from common.sets import SETS, spark_session

from sagespark import LocalSageMaker
from sagespark.data.frame import layout
from sagespark.data.shards import StagingRequest, stage, unstage

RUNS = 5
PEER = ("768,000 rows/s, CPU 2.3 s", "75,000 rows/s, CPU 2.5 s", "315,000 rows/s, CPU 1.2 s")
"""SageMaker Spark 1.4.5 on Spark 3.3, by set."""


def main() -> None:
    """Time the three sets."""
    spark = spark_session()
    with LocalSageMaker() as session:
        for data, peer in zip(SETS, PEER, strict=True):
            df = data.make(spark, data.rows).cache()
            rows = df.count()
            made, problems = layout(df.schema)
            assert made is not None, problems
            request = StagingRequest(
                session, session.location / "bench", "train", made, "application/x-recordio-protobuf"
            )
            unstage(session, stage(df, request))
            spent: list[Spent] = []
            size = 0
            for _ in range(RUNS):
                reports = []
                spent.append(measure(lambda: reports.append(stage(df, request))))  # noqa: B023  # called at once
                assert reports[0].rows == rows
                size = reports[0].bytes
                unstage(session, reports[0])
            wall, jvm, workers, cpu = (
                statistics.median(getattr(one, part) for one in spent) for part in ("wall", "jvm", "workers", "cpu")
            )
            print(f"{data.name}, Spark {spark.version}, local[2], medians of {RUNS}")
            print(
                f"  staging            {rows / wall:>10,.0f} rows/s {size / wall / 1e6:>6,.0f} MB/s   "
                f"CPU {cpu:5.2f} s = JVM {jvm:5.2f} + workers {workers:5.2f}"
            )
            print(f"  SageMaker Spark    {peer}")
            df.unpersist(blocking=True)
    spark.stop()


if __name__ == "__main__":
    main()
