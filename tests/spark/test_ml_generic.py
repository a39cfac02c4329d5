"""Estimator and model of any image, on the embedded service's built-in image."""

from __future__ import annotations

from typing import Any

import pytest
from pyspark.ml.linalg import Vectors

from sagespark.algorithms.registry import image_uri
from sagespark.aws import s3
from sagespark.aws.endpoint import Endpoint
from sagespark.aws.training_job import TrainingJob
from sagespark.core.errors import ServiceError, ValidationError
from sagespark.core.s3uri import S3Uri
from sagespark.ml import SageMakerEstimator, SageMakerModel
from sagespark.ml.clustering import KMeans, KMeansModel
from sagespark.ml.progress import ProgressListener

pytestmark = pytest.mark.spark


@pytest.fixture(scope="module")
def image(service: Any) -> str:
    return image_uri("kmeans", service.region)


def generic(image: str, **params: Any) -> SageMakerEstimator:
    hyperparameters = {"k": 2, "extra_center_factor": 1, "eval_metrics": ["msd"]}
    defaults = {"imageUri": image, "hyperparameters": hyperparameters, "listeners": [ProgressListener("off")]}
    return SageMakerEstimator(**{**defaults, **params})


@pytest.fixture(scope="module")
def blobs(spark: Any) -> Any:
    rows = [(Vectors.dense([float(i % 2 * 10 + i / 100), float(i % 2 * 5)]), i) for i in range(40)]
    return spark.createDataFrame(rows, ["features", "id"]).coalesce(1).cache()


def test_a_built_in_image_is_known(spark: Any, session: Any, blobs: Any, image: str, tmp_path: Any) -> None:
    estimator = generic(image, environment={"SAGESPARK_SEED": 1}, tags={"project": "x"})
    model = estimator.fit(blobs)
    job = TrainingJob(session, model.trainingJobName)
    described = job.describe()
    assert described["HyperParameters"] == {
        "k": "2", "extra_center_factor": "1", "eval_metrics": '["msd"]', "feature_dim": "2"
    }  # fmt: skip
    assert described["Environment"] == {"SAGESPARK_SEED": "1"}
    assert job.tags()["project"] == "x"
    answer = model.transform(blobs)
    assert answer.columns == ["features", "id", "prediction", "distance_to_cluster"]
    expected = [r.prediction for r in answer.orderBy("id").collect()]
    assert len(set(expected)) == 2
    path = str(tmp_path / "model")
    model.save(path)
    loaded = SageMakerModel.load(path)
    assert [r.prediction for r in loaded.transform(blobs).orderBy("id").collect()] == expected
    estimator.save(path + "-estimator")
    assert SageMakerEstimator.load(path + "-estimator").getHyperparameters()["k"] == "2"
    with pytest.raises(ValidationError, match=r"load it with SageMakerModel\.load"):
        KMeansModel.load(path)
    typed = KMeansModel.fromTrainingJob(model.trainingJobName, listeners=[ProgressListener("off")])
    assert len(typed.clusterCenters()) == 2
    model.delete()
    assert not Endpoint(session, loaded.endpointName).exists()


def test_formats_and_fields_of_the_users_choice(spark: Any, session: Any, blobs: Any, image: str) -> None:
    with generic(image).fit(blobs) as model:
        expected = [r.prediction for r in model.transform(blobs).orderBy("id").collect()]
        for request, response in [("text/csv", "application/json"), ("application/json", "application/jsonlines")]:
            other = model.copy().setSerializer(request).setDeserializer(response)
            other.setResponseFields({"closest_cluster": "double"}).setPredictionCol("cluster")
            answer = other.transform(blobs)
            assert answer.columns == ["features", "id", "cluster"]
            assert dict(answer.dtypes)["cluster"] == "double"
            assert [r.cluster for r in answer.orderBy("id").collect()] == expected


def test_channels_of_frames_and_of_s3(spark: Any, session: Any, blobs: Any, image: str) -> None:
    uri = S3Uri(session.bucket, "given/train.csv")
    s3.upload_bytes(session, uri, b"0,0\n1,1\n9,8\n8,9\n")
    hyperparameters = {"k": 2, "feature_dim": 2, "extra_center_factor": 1}
    estimator = generic(
        image,
        hyperparameters=hyperparameters,
        channels={"train": str(uri), "test": blobs},
        contentType="text/csv;label_size=0",
        endpointPolicy="never",
    )
    model = estimator.fit()
    job = TrainingJob(session, model.trainingJobName).describe()
    sources = {c["ChannelName"]: c["DataSource"]["S3DataSource"]["S3DataType"] for c in job["InputDataConfig"]}
    assert sources == {"train": "S3Prefix", "test": "ManifestFile"}
    assert s3.exists(session, uri)
    assert model.hasParam("serializer")
    alone = generic(
        image, hyperparameters=hyperparameters, channels={"train": str(uri)}, contentType="text/csv;label_size=0",
        endpointPolicy="never",
    ).fit()  # fmt: skip
    assert alone.modelData is not None


def test_problems_come_together(session: Any, blobs: Any, image: str) -> None:
    with pytest.raises(ValidationError) as caught:
        SageMakerEstimator(channels={"train": "not-a-uri", "extra": 5}, featuresCol="nope").fit(blobs)
    text = str(caught.value)
    for words in ("imageUri must be set", "'train' is given twice", "'not-a-uri' is not an S3 URI", "got 5", "'nope'"):
        assert words in text
    with pytest.raises(ValidationError, match="there is no data"):
        generic(image).fit()


def test_channels_are_kept_by_copy_and_not_saved(spark: Any, image: str, tmp_path: Any) -> None:
    estimator = generic(image, channels={"train": "s3://bucket/x/"})
    assert estimator.copy({estimator.instanceCount: 2}).getChannels() == {"train": "s3://bucket/x/"}
    estimator.save(str(tmp_path / "e"))
    assert SageMakerEstimator.load(str(tmp_path / "e")).getChannels() == {}


def test_an_image_that_is_not_there_is_a_clear_error(session: Any, blobs: Any) -> None:
    unknown = "123456789012.dkr.ecr.us-east-1.amazonaws.com/mine:1"
    with pytest.raises(Exception) as caught:
        generic(unknown, hyperparameters={}).fit(blobs)
    assert "mine" in str(caught.value) or isinstance(caught.value, ServiceError)


def test_the_typed_estimator_and_the_generic_one_agree(session: Any, blobs: Any, image: str) -> None:
    typed = KMeans(k=2, extraCenterFactor=1, seed=1, endpointPolicy="never").plan(blobs)
    plain = generic(image, endpointPolicy="never", environment={"SAGESPARK_SEED": "1"}).plan(blobs)
    for field in ("AlgorithmSpecification", "RoleArn", "OutputDataConfig", "ResourceConfig", "Environment"):
        assert typed.trainingJob[field] == plain.trainingJob[field]
