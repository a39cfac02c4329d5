"""Estimators plan on schemas alone: no Spark session, no service."""

from __future__ import annotations

import copy
import pickle
from dataclasses import replace
from typing import Any

import pytest
from pyspark.ml.linalg import VectorUDT
from pyspark.sql.types import ArrayType, BooleanType, DoubleType, FloatType, IntegerType, StringType, StructType

from sagespark.aws.session import SageMakerSession
from sagespark.core.errors import ValidationError
from sagespark.ml import SageMakerEstimator
from sagespark.ml.clustering import KMeans, KMeansModel
from sagespark.ml.listeners import Listener
from support.scripted import Script

IMAGE = "123456789012.dkr.ecr.us-east-1.amazonaws.com/mine:1"
SCHEMA = StructType().add("features", VectorUDT()).add("id", IntegerType()).add("held", BooleanType())


def km(session: SageMakerSession, **params: Any) -> KMeans:
    return KMeans(sagemakerSession=session, **params)


def test_planning_calls_nothing(aws: SageMakerSession, script: Script) -> None:
    plan = km(aws, k=4, seed=9, environment={"A": "B"}).plan(SCHEMA)
    assert script.sent == []
    assert plan.name == "sagespark-kmeans-20260102-030405-abcdef"
    assert plan.trainingJob["Environment"] == {"A": "B", "SAGESPARK_SEED": "9"}
    assert plan.trainingJob["AlgorithmSpecification"]["TrainingImage"].endswith("/kmeans:1")
    assert [c.name for c in plan.channels] == ["train"]
    assert plan.channels[0].layout.features == ("features",)


def test_kmeans_alone_is_complete(aws: SageMakerSession) -> None:
    with aws.activated():
        job = KMeans(k=10).plan(SCHEMA).trainingJob
    assert job["ResourceConfig"] == {"InstanceType": "ml.m5.xlarge", "InstanceCount": 1, "VolumeSizeInGB": 30}
    assert job["HyperParameters"]["k"] == "10"


def test_columns_that_are_not_there_get_a_suggestion(aws: SageMakerSession) -> None:
    with pytest.raises(ValidationError, match=r"featuresCol: the DataFrame has no column 'feature'; did you mean"):
        km(aws, featuresCol="feature").plan(SCHEMA)


def test_all_problems_come_together(aws: SageMakerSession) -> None:
    nowhere = replace(aws, role=None, region="mars-1", kmsKey=None)
    schema = StructType().add("text", StringType()).add("Prediction", DoubleType())
    with pytest.raises(ValidationError) as caught:
        km(
            nowhere, featuresCol="text", featuresCols=["text"], testIndicatorCol="nope", maxWaitInSeconds=1,
            subnets=["subnet-1"],
        ).plan(schema)  # fmt: skip
    text = str(caught.value)
    for words in (
        "no IAM role", "AWS publishes no image of 'kmeans' in region 'mars-1'", "'text'", "both set",
        "column 'Prediction' exists already", "there is no column 'nope'", "useSpotInstances", "subnets",
    ):  # fmt: skip
        assert words in text, words
    assert "nothing was created" in text


def test_arrays_and_lists_of_columns(aws: SageMakerSession) -> None:
    schema = StructType().add("a", ArrayType(FloatType())).add("x", IntegerType()).add("y", DoubleType())
    assert km(aws, featuresCol="a").plan(schema).channels[0].layout.kind == "array"
    plan = km(aws, featuresCols=["x", "y"]).plan(schema)
    assert plan.channels[0].layout.features == ("x", "y")
    assert [d.name for d in plan.deferred] == ["S3Uri"]
    assert plan.trainingJob["HyperParameters"]["feature_dim"] == "2"


def test_the_test_channel_reaches_every_instance_whole(aws: SageMakerSession) -> None:
    plan = km(aws, testIndicatorCol="held", instanceCount=2).plan(SCHEMA)
    assert [
        (c["ChannelName"], c["DataSource"]["S3DataSource"]["S3DataDistributionType"])
        for c in plan.trainingJob["InputDataConfig"]
    ] == [("train", "ShardedByS3Key"), ("test", "FullyReplicated")]
    assert [str(d) for d in plan.deferred][-1] == "<S3Uri: manifest of the staged test channel>"


def test_schemas_after_transform(aws: SageMakerSession) -> None:
    names = ["features", "id", "held", "prediction", "distance_to_cluster"]
    assert km(aws).transformSchema(SCHEMA).names == names
    assert km(aws, distanceCol="").transformSchema(SCHEMA).names == names[:-1]
    with pytest.raises(ValidationError, match="distanceCol and predictionCol both name the column 'prediction'"):
        km(aws, distanceCol="prediction").transformSchema(SCHEMA)
    with pytest.raises(ValidationError, match="column 'id' exists already; drop or rename it, or set predictionCol"):
        km(aws, predictionCol="ID").transformSchema(SCHEMA)


def test_session_and_listeners_are_kept_by_copy(aws: SageMakerSession) -> None:
    listener = Listener()
    estimator = km(aws, listeners=[listener])
    for other in (estimator.copy(), copy.copy(estimator), copy.deepcopy(estimator)):
        assert other.getSagemakerSession() == aws
        assert other.getListeners() == (listener,)
    pickled = pickle.loads(pickle.dumps(estimator))
    assert pickled.getListeners() == ()
    assert pickled.getSagemakerSession().region == aws.region
    with pytest.raises(TypeError, match="must be a SageMakerSession, but got 'x'"):
        KMeans(sagemakerSession="x")
    with pytest.raises(TypeError, match="must be Listeners, but got 5"):
        KMeans(listeners=[5])


def test_the_active_session_is_used_where_none_is_given(aws: SageMakerSession) -> None:
    assert KMeans().getSagemakerSession() is None
    with aws.activated():
        assert KMeans().getSagemakerSession() is aws
        other = replace(aws, prefix="mine")
        assert km(other).getSagemakerSession() is other


def test_names_fit_whatever_the_prefix(aws: SageMakerSession) -> None:
    plan = km(replace(aws, prefix="a/very/long/prefix/" * 10)).plan(SCHEMA)
    assert len(plan.name) <= 63
    assert "kmeans" in plan.name


def test_a_model_of_nothing_says_what_to_do() -> None:
    assert KMeansModel().endpointName is None
    assert KMeansModel().createdResources == ()
    for use in (lambda m: m.deploy(), lambda m: m.delete(), lambda m: m.clusterCenters()):
        with pytest.raises(ValidationError, match="fit an estimator, load one, or use fromTrainingJob"):
            use(KMeansModel())
    with pytest.raises(RuntimeError, match="No training summary available for this KMeansModel"):
        _ = KMeansModel().summary


def test_any_image(aws: SageMakerSession) -> None:
    estimator = SageMakerEstimator(
        imageUri=IMAGE, hyperparameters={"a": 1, "b": [1, 2], "c": True}, sagemakerSession=aws, labelCol="id",
        metricDefinitions=[{"Name": "loss", "Regex": "loss=(.*)"}], inputMode="FastFile",
        channels={"extra": "s3://bucket/extra/"}, distribution="ShardedByS3Key",
    )  # fmt: skip
    plan = estimator.plan(SCHEMA)
    job = plan.trainingJob
    assert job["HyperParameters"] == {"a": "1", "b": "[1, 2]", "c": "True"}
    assert job["AlgorithmSpecification"] == {
        "TrainingImage": IMAGE, "TrainingInputMode": "FastFile",
        "MetricDefinitions": [{"Name": "loss", "Regex": "loss=(.*)"}],
    }  # fmt: skip
    assert [c["ChannelName"] for c in job["InputDataConfig"]] == ["train", "extra"]
    assert job["InputDataConfig"][0]["ContentType"] == "text/csv"
    assert "ContentType" not in job["InputDataConfig"][1]
    assert plan.channels[0].layout.label == "id"
    assert estimator.transformSchema(SCHEMA).names[-1] == "prediction"
    with pytest.raises(ValidationError, match="imageUri must be set"):
        SageMakerEstimator(sagemakerSession=aws).plan(SCHEMA)
    for bad in ({"hyperparameters": {"a": object()}}, {"metricDefinitions": [1]}, {"responseFields": ["a"]}):
        with pytest.raises(TypeError):
            SageMakerEstimator(**bad)
    for bad in ({"metricDefinitions": [{"Name": "x"}]}, {"responseFields": {"a": "text"}}, {"serializer": "csv"}):
        with pytest.raises(ValueError):
            SageMakerEstimator(**bad)
