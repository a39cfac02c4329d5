"""K-means inside MLlib's Pipelines and model selection; saved, and loaded in a new process."""

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from pyspark.ml import Pipeline, PipelineModel
from pyspark.ml.evaluation import ClusteringEvaluator
from pyspark.ml.feature import VectorAssembler
from pyspark.ml.linalg import Vectors
from pyspark.ml.tuning import CrossValidator, CrossValidatorModel, ParamGridBuilder, TrainValidationSplit

from sagespark.aws.endpoint import Endpoint
from sagespark.core.errors import ValidationError
from sagespark.ml import delete, reaper
from sagespark.ml.clustering import KMeans, KMeansModel
from sagespark.ml.progress import ProgressListener

pytestmark = pytest.mark.spark

ROOT = Path(__file__).parents[2]


def km(**params: Any) -> KMeans:
    return KMeans(**{"k": 2, "seed": 1, "extraCenterFactor": 1, "listeners": [ProgressListener("off")], **params})


@pytest.fixture(scope="module")
def blobs(spark: Any) -> Any:
    rows = [(float(i % 2 * 10 + i / 100), float(i % 2 * 5), i) for i in range(40)]
    return spark.createDataFrame(rows, "x double, y double, id int").coalesce(1).cache()


def endpoints(session: Any) -> set[str]:
    return {s["EndpointName"] for s in Endpoint.list(session) if s["EndpointStatus"] != "Deleting"}


def test_a_pipeline_is_saved_and_used_again_in_a_new_process(
    spark: Any, session: Any, blobs: Any, tmp_path: Path
) -> None:
    stages = [VectorAssembler(inputCols=["x", "y"], outputCol="features"), km(predictionCol="cluster")]
    pipeline = Pipeline(stages=stages)
    pipeline.write().overwrite().save(str(tmp_path / "pipeline"))
    model = pipeline.fit(blobs)
    # The width came from VectorAssembler's metadata: nothing was left to the staging pass but the manifest.
    plan = stages[1].plan(stages[0].transform(blobs).schema)
    assert [d.name for d in plan.deferred] == ["S3Uri"]
    model.write().overwrite().save(str(tmp_path / "model"))
    model.write().overwrite().save(str(tmp_path / "model"))
    expected = {r.id: r.cluster for r in model.transform(blobs).collect()}
    before = endpoints(session)
    script = f"""
import json, sys
from pyspark.ml import Pipeline, PipelineModel
from pyspark.sql import SparkSession
from sagespark import SageMakerSession
spark = SparkSession.builder.master("local[1]").config("spark.ui.enabled", "false").getOrCreate()
spark.sparkContext.setLogLevel("ERROR")
rows = json.loads({json.dumps(json.dumps([list(r) for r in blobs.collect()]))})
frame = spark.createDataFrame(rows, "x double, y double, id int")
model = PipelineModel.load({str(tmp_path / "model")!r})
found = dict((r.id, r.cluster) for r in model.transform(frame).collect())
pipeline = Pipeline.load({str(tmp_path / "pipeline")!r})
stage = pipeline.getStages()[1]
again = pipeline.fit(frame.coalesce(1), {{stage.endpointPolicy: "never"}})
print(json.dumps(dict(found=found, k=stage.getK(), name=stage.getPredictionCol(), uid=model.stages[1].uid,
                      endpoint=model.stages[1].endpointName, k2=len(again.stages[1].clusterCenters()))))
"""
    environment = {
        **os.environ,
        "AWS_ENDPOINT_URL": session.endpointUrl,
        "AWS_ACCESS_KEY_ID": session.accessKeyId,
        "AWS_SECRET_ACCESS_KEY": session.secretAccessKey,
        "AWS_REGION": session.region,
        "SAGESPARK_ROLE": session.role,
        "PYTHONPATH": str(ROOT),
    }
    answer = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert answer.returncode == 0, answer.stderr[-3000:]
    told = json.loads(answer.stdout.strip().splitlines()[-1])
    assert {int(k): v for k, v in told["found"].items()} == expected
    assert (told["k"], told["name"], told["k2"]) == (2, "cluster", 2)
    assert told["uid"] == model.stages[1].uid
    assert told["endpoint"] == model.stages[1].endpointName
    assert endpoints(session) == before
    delete(model)
    assert not Endpoint(session, told["endpoint"]).exists()


def test_saved_files_are_readable_json(spark: Any, session: Any, blobs: Any, tmp_path: Path) -> None:
    features = VectorAssembler(inputCols=["x", "y"], outputCol="features").transform(blobs)
    model = km(endpointPolicy="never").fit(features)
    path = str(tmp_path / "m")
    model.save(path)
    with pytest.raises(Exception, match=r"(?i)already exists"):
        model.save(path)
    model.write().overwrite().save(path)
    document = json.loads(spark.read.text(f"{path}/metadata").first()[0])
    assert document["class"] == "sagespark.ml.clustering.KMeansModel"
    assert document["uid"] == model.uid
    assert document["paramMap"]["k"] == 2
    hosting = document["sagespark"]["hosting"]
    assert (hosting["region"], hosting["account"]) == (session.region, session.account)
    assert hosting["modelData"] == model.modelData
    assert not any("key" in name.lower() for name in document["sagespark"])
    before = endpoints(session)
    loaded = KMeansModel.load(path)
    assert endpoints(session) == before
    assert loaded.uid == model.uid
    assert loaded.extractParamMap() == model.extractParamMap()
    assert loaded.createdResources == model.createdResources
    assert (loaded.clusterCenters()[0] == model.clusterCenters()[0]).all()
    with pytest.raises(ValidationError, match=r"load it with KMeansModel\.load"):
        KMeans.load(path)


def test_a_session_of_another_place_is_an_error(spark: Any, session: Any, blobs: Any, tmp_path: Path) -> None:
    from dataclasses import replace

    features = VectorAssembler(inputCols=["x", "y"], outputCol="features").transform(blobs)
    path = str(tmp_path / "m")
    km(endpointPolicy="never").fit(features).save(path)
    other = replace(session, region="eu-west-1")
    with pytest.raises(ValidationError, match=f"saved in region {session.region}"):
        KMeansModel.read().sagemakerSession(other).load(path)
    assert KMeansModel.read().sagemakerSession(session).load(path).getSagemakerSession() == session


def test_cross_validator_leaves_only_the_best_models_endpoint(
    spark: Any, session: Any, blobs: Any, tmp_path: Path
) -> None:
    features = VectorAssembler(inputCols=["x", "y"], outputCol="features").transform(blobs).coalesce(1)
    before = endpoints(session)
    estimator = km()
    grid = ParamGridBuilder().addGrid(estimator.k, [2, 3]).build()
    selection = CrossValidator(
        estimator=estimator, estimatorParamMaps=grid, evaluator=ClusteringEvaluator(), numFolds=2, parallelism=2, seed=7
    )
    model = selection.fit(features)
    assert isinstance(model, CrossValidatorModel)
    assert model.bestModel.getK() == 2
    gc.collect()
    reaper.drain()
    assert endpoints(session) - before == {model.bestModel.endpointName}
    assert model.transform(features).select("prediction").distinct().count() == 2
    path = str(tmp_path / "cv")
    model.write().overwrite().save(path)
    loaded = CrossValidatorModel.load(path)
    assert loaded.bestModel.endpointName == model.bestModel.endpointName
    delete(model)
    assert endpoints(session) == before


def test_train_validation_split_around_a_pipeline(spark: Any, session: Any, blobs: Any) -> None:
    before = endpoints(session)
    estimator = km()
    pipeline = Pipeline(stages=[VectorAssembler(inputCols=["x", "y"], outputCol="features"), estimator])
    grid = ParamGridBuilder().addGrid(estimator.localLloydMaxIter, [5, 20]).build()
    selection = TrainValidationSplit(
        estimator=pipeline, estimatorParamMaps=grid, evaluator=ClusteringEvaluator(), collectSubModels=True, seed=3
    )
    model = selection.fit(blobs)
    gc.collect()
    reaper.drain()
    kept = {sub.stages[1].endpointName for sub in model.subModels}
    assert len(kept) == 2
    assert endpoints(session) - before == kept | {model.bestModel.stages[1].endpointName}
    assert isinstance(model.bestModel, PipelineModel)
    delete(model)
    assert endpoints(session) == before


def test_no_session_is_passed_anywhere_in_threads_too(spark: Any, session: Any, blobs: Any) -> None:
    from multiprocessing.pool import ThreadPool

    features = VectorAssembler(inputCols=["x", "y"], outputCol="features").transform(blobs).coalesce(1)
    with ThreadPool(2) as pool:
        models = pool.map(lambda k: KMeans(k=k, seed=1, listeners=[ProgressListener("off")]).fit(features), [2, 3])
    assert [len(m.clusterCenters()) for m in models] == [2, 3]
    assert all(m.getSagemakerSession() == session for m in models)
    delete(models)
    assert [m.endpointName for m in models] == [None, None]


def test_overwriting_another_kind_of_stage_leaves_nothing_of_it(spark: Any, tmp_path: Path) -> None:
    path = str(tmp_path / "stage")
    Pipeline(stages=[km(), VectorAssembler(inputCols=["x"], outputCol="f")]).save(path)
    km(k=7).write().overwrite().save(path)
    assert KMeans.load(path).getK() == 7
    assert sorted(p.name for p in Path(path).iterdir()) == ["metadata"]


def test_vectors_of_any_name(spark: Any, session: Any) -> None:
    frame = spark.createDataFrame([(Vectors.dense([float(i % 2)]), i) for i in range(6)], ["a.b `c", "id"])
    with km(featuresCol="a.b `c").fit(frame) as model:
        assert model.transform(frame).select("prediction").distinct().count() == 2
