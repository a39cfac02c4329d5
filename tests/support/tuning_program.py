"""A driver that tunes, to be killed: ``python tuning_program.py URL NAME WHERE JOBS``."""

from __future__ import annotations

import os
import sys

import numpy as np


def main(url: str, name: str, where: str, jobs: str) -> None:
    """Tune K-means on the service at ``url`` until the end."""
    os.environ["PYSPARK_PYTHON"] = os.environ["PYSPARK_DRIVER_PYTHON"] = sys.executable
    from pyspark.sql import SparkSession

    from sagespark.bayesopt import Integer
    from sagespark.local.config import ServiceInfo
    from sagespark.ml.clustering import KMeans
    from sagespark.ml.tuning import HyperparameterTuner

    os.environ.update(ServiceInfo(url).environment())
    spark = (
        SparkSession.builder.master("local[1]")
        .config("spark.ui.enabled", "false")
        .config("spark.log.level", "ERROR")
        .getOrCreate()
    )
    frame = spark.createDataFrame([(row.tolist(),) for row in points()], "features array<double>")
    km = KMeans(seed=1, extraCenterFactor=1, endpointPolicy="never")
    tuner = HyperparameterTuner(
        estimator=km,
        ranges={"k": Integer(2, 40), "epochs": Integer(1, 4)},
        objectiveMetricName="train:msd",
        strategy="Random",
        runOn=where,
        maxJobs=int(jobs),
        maxParallelJobs=4,
        seed=1,
        tuningJobName=name,
    )
    print("FITTING", flush=True)
    model = tuner.fit(frame)
    print("FITTED", model.bestTrial.name, flush=True)


def points() -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    """Return the rows."""
    rows: np.ndarray[tuple[int, int], np.dtype[np.float64]] = np.random.default_rng(0).normal(size=(60, 3))
    return rows


if __name__ == "__main__":
    main(*sys.argv[1:])
