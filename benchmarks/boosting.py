"""Time a local fit of XGBoost, staging apart, beside the library called directly on the same rows in memory.

    python benchmarks/boosting.py [rows] [rounds]         1,000,000 and 200 unless given

Both sides make XGBoost's matrix of the same float32 rows and train by 'hist' to depth 6 with two threads. Ours also
starts a process, reads the staged shards, and writes the artifact.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import xgboost
from pyarrow import parquet
from pyspark.sql import SparkSession

from sagespark import LocalSageMaker
from sagespark.core.clock import SystemClock
from sagespark.ml.classification import XGBoostClassifier
from sagespark.ml.listeners import JobEvent, Listener

WIDTH, DEPTH, THREADS = 50, 6, 2
FACTOR, MARGIN = 1.2, 3.0


class Started(Listener):
    """Note when the training job was created, which is when staging is over."""

    def __init__(self, clock: SystemClock) -> None:
        self.clock = clock
        self.at = 0.0

    def onJobStarted(self, event: JobEvent) -> None:
        """Note the time."""
        self.at = self.clock.monotonic()


def rows(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return seeded features, float32 (n, d), and labels of two classes that depend on ten of them."""
    random = np.random.default_rng(0)
    x = random.standard_normal((count, WIDTH), np.float32)
    y = x[:, :5].sum(axis=1) + x[:, 5] * x[:, 6] + np.abs(x[:, 7:10]).sum(axis=1) + random.standard_normal(count)
    return x, (y > np.median(y)).astype(np.float32)


def main(count: int, rounds: int) -> None:
    """Train on both sides and print seconds."""
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    os.environ["SAGESPARK_THREADS"] = str(THREADS)
    clock = SystemClock()
    x, y = rows(count)
    columns = [f"x{i}" for i in range(WIDTH)]
    params = {"objective": "binary:logistic", "tree_method": "hist", "max_depth": DEPTH, "nthread": THREADS}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows.parquet"
        table = pa.table([pa.array(y), *(pa.array(c) for c in x.T)], ["label", *columns])
        parquet.write_table(table, path, row_group_size=100_000)
        del table
        builder = SparkSession.builder.master("local[2]").config("spark.ui.enabled", "false")
        spark = builder.config("spark.ui.showConsoleProgress", "false").config("spark.log.level", "ERROR").getOrCreate()
        df = spark.read.parquet(str(path))
        started = Started(clock)
        with LocalSageMaker():
            classifier = XGBoostClassifier(
                featuresCols=columns,
                maxIter=rounds,
                maxDepth=DEPTH,
                treeMethod="hist",
                objective="binary:logistic",
                nthread=THREADS,
                endpointPolicy="never",
                listeners=[started],
            )
            began = clock.monotonic()
            model = classifier.fit(df)
            ended = clock.monotonic()
            ours = xgboost.Booster(model_file=bytearray(_artifact(model)))
        spark.stop()
    fit, staging = ended - started.at, started.at - began
    began = clock.monotonic()
    booster = xgboost.train(params, xgboost.DMatrix(x, label=y, nthread=THREADS), rounds)
    alone = clock.monotonic() - began
    some = xgboost.DMatrix(x[:1000])
    apart = float(np.abs(ours.predict(some) - booster.predict(some)).max())
    limit = FACTOR * alone + MARGIN
    print(f"{count:,} rows x {WIDTH}, {rounds} rounds, depth {DEPTH}, hist, {THREADS} threads")
    print(f"  staging                          {staging:7.1f} s")
    print(f"  fit, from the job's creation on  {fit:7.1f} s   (target: at most 1.2 x direct + 3 s = {limit:.1f} s)")
    print(f"  XGBoost called directly          {alone:7.1f} s")
    print(f"  largest difference of the two models' predictions: {apart:.2g}")


def _artifact(model: object) -> bytes:
    from sagespark.ml.artifact import member

    record = model._hosting()  # type: ignore[attr-defined]  # the model's own record tells where the artifact is
    return member(record.session, record.modelData, "xgboost-model")


if __name__ == "__main__":
    arguments = [int(argument.replace("_", "").replace(",", "")) for argument in sys.argv[1:]]
    main(*(arguments + [1_000_000, 200][len(arguments) :]))
