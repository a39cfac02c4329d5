"""Time local fits, staging apart, beside the same library called directly on the same rows in memory.

    python benchmarks/training.py [xgboost] [kmeans] [--rows 1000000]

XGBoost: both sides make its matrix of the same float32 rows and train 200 rounds by 'hist' to depth 6. K-means: both
sides make 100 of Lloyd's steps with scikit-learn from the same seed, k=10, one start. Two threads each. Ours also
starts a process, reads the staged shards, and writes the artifact.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import threadpoolctl
import xgboost
from pyarrow import parquet
from pyspark.sql import DataFrame, SparkSession

from sagespark import LocalSageMaker
from sagespark.core.clock import SystemClock
from sagespark.ml.artifact import member
from sagespark.ml.classification import XGBoostClassifier
from sagespark.ml.clustering import KMeans
from sagespark.ml.listeners import JobEvent, Listener

WIDTH, THREADS, SEED = 50, 2, 11
COLUMNS = [f"x{i}" for i in range(WIDTH)]
ROUNDS, DEPTH = 200, 6
CLUSTERS, STEPS = 10, 100
FACTOR, MARGIN = 1.2, 3.0
CLOCK = SystemClock()


class Started(Listener):
    """Note when the training job was created, which is when staging is over."""

    at = 0.0

    def onJobStarted(self, event: JobEvent) -> None:
        """Note the time."""
        self.at = CLOCK.monotonic()


class Case(ABC):
    """One algorithm on both sides."""

    title: str

    @abstractmethod
    def estimator(self, started: Listener) -> Any:
        """Return ours."""

    @abstractmethod
    def direct(self, x: np.ndarray, y: np.ndarray) -> Any:
        """Train with the library itself."""

    @abstractmethod
    def difference(self, model: Any, direct: Any, x: np.ndarray) -> float:
        """Return how far the two results are apart; to be called while the service runs."""


class Boosting(Case):
    """XGBoost."""

    title = f"XGBoost, {ROUNDS} rounds, depth {DEPTH}, hist"

    def estimator(self, started: Listener) -> Any:
        """Return ours."""
        return XGBoostClassifier(
            featuresCols=COLUMNS,
            maxIter=ROUNDS,
            maxDepth=DEPTH,
            treeMethod="hist",
            objective="binary:logistic",
            nthread=THREADS,
            endpointPolicy="never",
            listeners=[started],
        )

    def direct(self, x: np.ndarray, y: np.ndarray) -> Any:
        """Train with the library itself."""
        params = {"objective": "binary:logistic", "tree_method": "hist", "max_depth": DEPTH, "nthread": THREADS}
        return xgboost.train(params, xgboost.DMatrix(x, label=y, nthread=THREADS), ROUNDS)

    def difference(self, model: Any, direct: Any, x: np.ndarray) -> float:
        """Return the largest difference of predictions."""
        record = model._hosting()
        content = member(record.session, record.modelData, "xgboost-model")
        some = xgboost.DMatrix(x[:1000])
        return float(np.abs(xgboost.Booster(model_file=bytearray(content)).predict(some) - direct.predict(some)).max())


class Clustering(Case):
    """K-means."""

    title = f"K-means, k={CLUSTERS}, {STEPS} steps, one start"

    def estimator(self, started: Listener) -> Any:
        """Return ours."""
        return KMeans(
            featuresCols=COLUMNS,
            k=CLUSTERS,
            seed=SEED,
            initMode="random",
            localLloydInitMethod="random",
            localLloydNumTrials=1,
            maxIter=STEPS,
            localLloydMaxIter=STEPS,
            localLloydTol=0.0,
            endpointPolicy="never",
            listeners=[started],
        )

    def direct(self, x: np.ndarray, y: np.ndarray) -> Any:
        """Train with the library itself."""
        from sklearn import cluster

        model = cluster.KMeans(CLUSTERS, init="random", n_init=1, max_iter=STEPS, tol=0.0, random_state=SEED)
        with threadpoolctl.threadpool_limits(limits=THREADS):
            return model.fit(x)

    def difference(self, model: Any, direct: Any, x: np.ndarray) -> float:
        """Return the largest difference of the centres' elements."""
        print(f"  {direct.n_iter_} steps were made")
        return float(np.abs(np.stack(model.clusterCenters()) - direct.cluster_centers_).max())


CASES = {"xgboost": Boosting(), "kmeans": Clustering()}


def rows(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return seeded features, float32 (n, d), and labels of two classes that depend on ten of them."""
    random = np.random.default_rng(0)
    x = random.standard_normal((count, WIDTH), np.float32)
    y = x[:, :5].sum(axis=1) + x[:, 5] * x[:, 6] + np.abs(x[:, 7:10]).sum(axis=1) + random.standard_normal(count)
    return x, (y > np.median(y)).astype(np.float32)


def run(case: Case, df: DataFrame, x: np.ndarray, y: np.ndarray) -> None:
    """Train on both sides and print seconds."""
    started = Started()
    began = CLOCK.monotonic()
    model = case.estimator(started).fit(df)
    fit, staging = CLOCK.monotonic() - started.at, started.at - began
    began = CLOCK.monotonic()
    direct = case.direct(x, y)
    alone = CLOCK.monotonic() - began
    print(f"{case.title}, {len(x):,} rows x {WIDTH}, {THREADS} threads")
    print(f"  staging                          {staging:7.1f} s")
    limit = FACTOR * alone + MARGIN
    print(f"  fit, from the job's creation on  {fit:7.1f} s   (target: at most 1.2 x direct + 3 s = {limit:.1f} s)")
    print(f"  the library called directly      {alone:7.1f} s")
    print(f"  largest difference of the results: {case.difference(model, direct, x):.2g}")


def main() -> None:
    """Run the named cases, all of them by default."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", nargs="*", metavar="case", help=f"of {', '.join(CASES)}; all by default")
    parser.add_argument("--rows", type=int, default=1_000_000)
    options = parser.parse_args()
    if unknown := set(options.cases) - set(CASES):
        parser.error(f"unknown case {unknown.pop()!r}; the cases are {', '.join(CASES)}")
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    os.environ["SAGESPARK_THREADS"] = str(THREADS)
    x, y = rows(options.rows)
    with tempfile.TemporaryDirectory() as folder, LocalSageMaker():
        path = Path(folder) / "rows.parquet"
        table = pa.table([pa.array(y), *(pa.array(c) for c in x.T)], ["label", *COLUMNS])
        parquet.write_table(table, path, row_group_size=100_000)
        del table
        builder = SparkSession.builder.master("local[2]").config("spark.ui.enabled", "false")
        spark = builder.config("spark.ui.showConsoleProgress", "false").config("spark.log.level", "ERROR").getOrCreate()
        for name in options.cases or CASES:
            run(CASES[name], spark.read.parquet(str(path)), x, y)
        spark.stop()


if __name__ == "__main__":
    main()
