"""Time a 10-row K-means job from `fit` to Completed on the embedded service, without an endpoint.

The first fit of a session pays for Spark's first Python workers; the median of the later ones is the figure.
"""

from __future__ import annotations

import os
import statistics
import sys

from pyspark.ml.linalg import Vectors
from pyspark.sql import SparkSession

from sagespark import LocalSageMaker
from sagespark.core.clock import SystemClock
from sagespark.ml.clustering import KMeans

REPEATS = 6
TARGET = 4.0


def main() -> None:
    """Fit several times and print seconds."""
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    clock = SystemClock()
    builder = SparkSession.builder.master("local[2]").config("spark.ui.enabled", "false")
    spark = builder.config("spark.ui.showConsoleProgress", "false").config("spark.log.level", "ERROR").getOrCreate()
    rows = [(Vectors.dense([float(i % 5), float(i)]),) for i in range(10)]
    df = spark.createDataFrame(rows, ["features"]).cache()
    df.count()
    seconds = []
    with LocalSageMaker():
        for _ in range(REPEATS):
            began = clock.monotonic()
            KMeans(k=2, seed=1, endpointPolicy="never").fit(df)
            seconds.append(clock.monotonic() - began)
    spark.stop()
    later = statistics.median(seconds[1:])
    print("10 rows, fit to Completed, no endpoint")
    print(f"  first fit                {seconds[0]:6.2f} s")
    print(f"  median of the next {REPEATS - 1}     {later:6.2f} s   (target: at most {TARGET:.0f} s)")


if __name__ == "__main__":
    main()
