"""Cluster handwritten digits with Amazon SageMaker's K-means, from a Spark DataFrame to predictions.

Run it as a script, with spark-submit, or as an EMR step::

    python jobs/quickstart.py                       # the embedded service: no AWS account needed
    spark-submit jobs/quickstart.py --service aws   # role and bucket from Spark conf or the environment
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext

import numpy as np
from pyspark.ml.evaluation import ClusteringEvaluator
from pyspark.ml.linalg import Vectors
from pyspark.sql import DataFrame, SparkSession
from sklearn.cluster import KMeans as LocalKMeans
from sklearn.datasets import load_digits
from sklearn.metrics import adjusted_rand_score

from sagespark import LocalSageMaker, SageMakerSession
from sagespark.core.clock import SystemClock
from sagespark.ml.clustering import KMeans

SEED = 7
CLUSTERS = 10


class Stages:
    """Take the time of each stage and print it as a table."""

    def __init__(self) -> None:
        self.clock = SystemClock()
        self.seconds: dict[str, float] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time the block as the stage ``name``."""
        began = self.clock.monotonic()
        yield
        self.seconds[name] = self.clock.monotonic() - began

    def show(self) -> None:
        """Print seconds by stage."""
        print("\nTime by stage")
        for name, seconds in self.seconds.items():
            print(f"  {name:<42}{seconds:8.2f} s")


def digits(spark: SparkSession) -> DataFrame:
    """Return the 1,797 handwritten digits that scikit-learn ships: 64 pixels and the digit that was written."""
    data = load_digits()
    rows = [(Vectors.dense(pixels), int(digit)) for pixels, digit in zip(data.data, data.target, strict=True)]
    return spark.createDataFrame(rows, ["features", "digit"]).repartition(1).cache()


def service(name: str) -> AbstractContextManager[SageMakerSession]:
    """Return the session of the embedded service, or the active one of a real account."""
    return LocalSageMaker() if name == "embedded" else nullcontext(SageMakerSession.getOrCreate())


def run(spark: SparkSession, where: str) -> None:
    """Fit, transform, evaluate, show, delete."""
    stages = Stages()
    with stages.stage("prepare the data"):
        df = digits(spark)
        df.count()
    with ExitStack() as stack:
        with stages.stage("open the session"):
            session = stack.enter_context(service(where))
        print(f"Session: region {session.region}, bucket {session.bucket}, endpoint {session.endpointUrl or 'AWS'}\n")
        with stages.stage("fit: stage, train, host"):
            model = stack.enter_context(KMeans(k=CLUSTERS, seed=SEED).fit(df))
        with stages.stage("transform: invoke the endpoint"):
            predictions = model.transform(df).cache()
            predictions.count()
        with stages.stage("evaluate"):
            evaluate(predictions)
        print("\nResources created")
        for resource in model.createdResources:
            print(f"  {resource}")
        with stages.stage("delete endpoint, endpoint config and model"):
            model.delete()
        print(f"Left after model.delete(): {', '.join(map(str, model.createdResources)) or 'nothing'}")
    stages.show()


def evaluate(predictions: DataFrame) -> None:
    """Print a sample of the predictions and two measures of quality, beside scikit-learn's on the same rows."""
    print("Predictions")
    predictions.select("digit", "prediction", "distance_to_cluster").show(10)
    silhouette = ClusteringEvaluator().evaluate(predictions)
    rows = predictions.select("features", "digit", "prediction").collect()
    written = [row.digit for row in rows]
    pixels = np.array([row.features.toArray() for row in rows], dtype=np.float32)
    alone = LocalKMeans(CLUSTERS, random_state=SEED, max_iter=300, tol=1e-4).fit_predict(pixels)
    print(f"Silhouette (MLlib's ClusteringEvaluator)        {silhouette:.4f}")
    print(f"Adjusted Rand against the digits written        {agreement(written, [r.prediction for r in rows]):.4f}")
    print(f"  scikit-learn's KMeans alone, same rows        {agreement(written, alone.tolist()):.4f}")


def agreement(truth: list[int], found: list[int]) -> float:
    """Return the adjusted Rand index of two labelings."""
    return float(adjusted_rand_score(truth, found))


def main() -> None:
    """Parse the arguments and run the job."""
    parser = argparse.ArgumentParser(
        description="K-means on handwritten digits: Spark DataFrame to SageMaker and back."
    )
    parser.add_argument("--service", choices=["embedded", "aws"], default="embedded")
    where = parser.parse_args().service
    print(f"Service: {where}")
    # Started without spark-submit, Spark would take the first python3 on the PATH for its workers.
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    builder = SparkSession.builder.appName("sagespark-quickstart").config("spark.ui.showConsoleProgress", "false")
    spark = builder.getOrCreate()
    spark.sparkContext.setLogLevel("ERROR")
    try:
        run(spark, where)
    finally:
        spark.stop()


if __name__ == "__main__":
    main()
