"""Inside `with LocalSageMaker():`, with no session passed anywhere, nothing leaves loopback."""

from __future__ import annotations

import ipaddress
import os
import subprocess
import sys
from pathlib import Path

import pytest

SUPPORT = Path(__file__).parents[1] / "support"
pytestmark = pytest.mark.spark

FLOW = """
from pyspark.ml import Pipeline
from pyspark.ml.evaluation import ClusteringEvaluator
from pyspark.ml.feature import VectorAssembler
from pyspark.ml.tuning import CrossValidator, ParamGridBuilder
from pyspark.sql import SparkSession

from sagespark import LocalSageMaker
from sagespark.ml.clustering import KMeans

spark = SparkSession.builder.master("local[2]").config("spark.ui.enabled", "false").getOrCreate()
df = spark.range(60).selectExpr("cast(id % 7 as double) as x", "cast(id % 5 * 3 as double) as y")
with LocalSageMaker():
    kmeans = KMeans(k=2, seed=1)
    pipeline = Pipeline(stages=[VectorAssembler(inputCols=["x", "y"], outputCol="features"), kmeans])
    grid = ParamGridBuilder().addGrid(kmeans.k, [2, 3]).build()
    # Two threads: the active session must reach the pool that CrossValidator fits in.
    cv = CrossValidator(
        estimator=pipeline, estimatorParamMaps=grid, evaluator=ClusteringEvaluator(), numFolds=2, parallelism=2
    )
    model = cv.fit(df)
    print("ROWS", model.transform(df).count(), model.transform(df).select("prediction").distinct().count())
"""


def test_nothing_leaves_loopback(tmp_path: Path) -> None:
    record = tmp_path / "connections"
    flow = tmp_path / "flow.py"
    flow.write_text(FLOW)
    environment = {
        **{k: v for k, v in os.environ.items() if not k.startswith("AWS_")},
        # Keys of a real account lie around on a developer's machine; they must not be used.
        "AWS_ACCESS_KEY_ID": "AKIAIOSFODNN7EXAMPLE",
        "AWS_SECRET_ACCESS_KEY": "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
        "AWS_DEFAULT_REGION": "eu-west-1",
        "PYTHONPATH": str(SUPPORT / "audit"),
        "SAGESPARK_TEST_CONNECTIONS": str(record),
        "SPARK_LOCAL_IP": "127.0.0.1",
        "PYSPARK_PYTHON": sys.executable,
    }
    # The kernel enforces it for the JVM too: the namespace has no route but loopback.
    command = ["unshare", "--user", "--map-root-user", "--net", sys.executable, str(SUPPORT / "loopback_only.py")]
    done = subprocess.run(
        [*command, sys.executable, str(flow)], capture_output=True, text=True, check=False, env=environment, timeout=400
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    assert done.stdout.split("ROWS")[1].split()[0] == "60"
    seen = set(record.read_text().split())
    assert seen, "the audit hook saw no connection at all"
    strangers = {a for a in seen if a not in ("localhost", "None") and not _is_loopback(a)}
    assert not strangers


def _is_loopback(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return address.endswith(".localhost")
