"""The whole job in a Spark Connect session.

Not marked `spark`: pyspark 3.5 from a registry has no Connect server, so this runs in the newer environment only. A
process of its own, since a process has either classic or Connect sessions.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

SCRIPT = """
import json, os, sys
os.environ["PYSPARK_PYTHON"] = sys.executable
from pyspark.sql import SparkSession
spark = SparkSession.builder.remote("local[1]").getOrCreate()
from pyspark.ml.linalg import Vectors
from sagespark import LocalSageMaker
from sagespark.ml.clustering import KMeans, KMeansModel
from sagespark.ml.progress import ProgressListener
rows = [(Vectors.dense(v), i) for i, v in enumerate([[0.0, 0.0], [1.0, 1.0], [9.0, 8.0], [8.0, 9.0]])]
df = spark.createDataFrame(rows, ["features", "id"])
path = sys.argv[1]
with LocalSageMaker():
    km = KMeans(k=2, seed=1, listeners=[ProgressListener("off")])
    with km.fit(df) as model:
        labels = [r.prediction for r in model.transform(df).orderBy("id").collect()]
        model.save(path)
        model.write().overwrite().save(path)
        loaded = KMeansModel.load(path)
        again = [r.prediction for r in loaded.transform(df).orderBy("id").collect()]
        told = dict(session=type(spark).__module__, labels=labels, again=again, sizes=model.summary.clusterSizes,
                    cost=model.summary.trainingCost, one=model.predict(Vectors.dense([0.0, 0.0])))
print(json.dumps(told))
spark.stop()
"""


def test_fit_transform_save_and_load_in_a_connect_session(tmp_path: Path) -> None:
    answer = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(tmp_path / "model")],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert answer.returncode == 0, answer.stderr[-3000:]
    told = json.loads(answer.stdout.strip().splitlines()[-1])
    assert ".connect." in told["session"]
    first = told["labels"][0]
    assert told["labels"] == told["again"] == [first, first, 1 - first, 1 - first]
    assert (told["sizes"], told["cost"], told["one"]) == ([2, 2], 2.0, first)
