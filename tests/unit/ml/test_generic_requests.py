"""Every argument of the generic estimator in the request that it stands for."""

from __future__ import annotations

import pickle
from typing import Any

import pytest
from pyspark.ml.linalg import VectorUDT
from pyspark.sql.types import DoubleType, StructField, StructType

from sagespark.aws.session import SageMakerSession
from sagespark.core.errors import ValidationError
from sagespark.ml import Deserializer, SageMakerEstimator, SageMakerModel, Serializer, TrainingInput

IMAGE = "123456789012.dkr.ecr.eu-west-1.amazonaws.com/mine:1"
SCHEMA = StructType([StructField("features", VectorUDT()), StructField("y", DoubleType())])
GROUPS = [
    {"InstanceGroupName": "cpu", "InstanceType": "ml.m5.large", "InstanceCount": 2},
    {"InstanceGroupName": "gpu", "InstanceType": "ml.p3.2xlarge", "InstanceCount": 1},
]


def lines(batch: Any) -> str:
    return "\n".join(str(row) for row in batch.to_pylist())


def estimator(aws: SageMakerSession, **params: Any) -> SageMakerEstimator:
    return SageMakerEstimator(**{"imageUri": IMAGE, "sagemakerSession": aws, **params})


def job(aws: SageMakerSession, **params: Any) -> dict[str, Any]:
    return dict(estimator(aws, **params).plan(SCHEMA).trainingJob)


@pytest.mark.parametrize(
    ("params", "field", "wanted"),
    [
        (
            {"useSpotInstances": True, "maxRuntimeInSeconds": 60, "maxWaitInSeconds": 90},
            "StoppingCondition",
            {"MaxRuntimeInSeconds": 60, "MaxWaitTimeInSeconds": 90},
        ),
        ({"useSpotInstances": True}, "EnableManagedSpotTraining", True),
        (
            {"checkpointS3Uri": "s3://bkt/c/", "checkpointLocalPath": "/opt/ml/mine"},
            "CheckpointConfig",
            {"S3Uri": "s3://bkt/c/", "LocalPath": "/opt/ml/mine"},
        ),
        ({"checkpointS3Uri": "s3://bkt/c/"}, "CheckpointConfig", {"S3Uri": "s3://bkt/c/"}),
        ({"maxRetryAttempts": 3}, "RetryStrategy", {"MaximumRetryAttempts": 3}),
        ({"encryptInterContainerTraffic": True}, "EnableInterContainerTrafficEncryption", True),
        ({"enableNetworkIsolation": True}, "EnableNetworkIsolation", True),
        ({"environment": {"A": 1}}, "Environment", {"A": "1"}),
        (
            {"subnets": ["subnet-1"], "securityGroupIds": ["sg-1"]},
            "VpcConfig",
            {"SecurityGroupIds": ["sg-1"], "Subnets": ["subnet-1"]},
        ),
        (
            {"instanceCount": 3, "keepAlivePeriodInSeconds": 600, "volumeSizeInGB": 5, "volumeKmsKey": "key"},
            "ResourceConfig",
            {
                "InstanceType": "ml.m5.xlarge", "InstanceCount": 3, "VolumeSizeInGB": 5, "VolumeKmsKeyId": "key",
                "KeepAlivePeriodInSeconds": 600,
            },
        ),
        ({"instanceGroups": GROUPS}, "ResourceConfig", {"InstanceGroups": GROUPS, "VolumeSizeInGB": 30}),
        (
            {"inputMode": "Pipe", "containerEntryPoint": ["python", "-u"], "containerArguments": ["x", "x"]},
            "AlgorithmSpecification",
            {
                "TrainingImage": IMAGE, "TrainingInputMode": "Pipe", "ContainerEntrypoint": ["python", "-u"],
                "ContainerArguments": ["x", "x"],
            },
        ),
    ],
)  # fmt: skip
def test_an_argument_becomes_its_field(aws: SageMakerSession, params: dict[str, Any], field: str, wanted: Any) -> None:
    assert job(aws, **params)[field] == wanted
    # And nothing of the kind where it is not asked for.
    plain = job(aws)
    assert plain.get(field) != wanted
    assert not {"CheckpointConfig", "RetryStrategy", "VpcConfig", "EnableNetworkIsolation"} & set(plain)


def test_the_key_of_the_output_is_the_estimators(aws: SageMakerSession) -> None:
    assert job(aws, outputKmsKey="key")["OutputDataConfig"]["KmsKeyId"] == "key"


def test_each_channel_has_its_own_ways(aws: SageMakerSession) -> None:
    channels = {
        "all": TrainingInput(
            "s3://bkt/x/", contentType="text/csv", inputMode="Pipe", distribution="ShardedByS3Key", compression="Gzip",
            recordWrapping="RecordIO", shuffleSeed=7, instanceGroups=["gpu"],
        ),
        "labels": TrainingInput(
            "s3://bkt/m.jsonl", inputMode="Pipe", s3DataType="AugmentedManifestFile", attributeNames=["a-ref", "b"]
        ),
        "plain": "s3://bkt/y/",
    }  # fmt: skip
    plan = estimator(aws, instanceGroups=GROUPS, channels=channels, shuffleSeed=1).plan(SCHEMA)
    train, everything, labels, plain = plan.trainingJob["InputDataConfig"]
    assert everything == {
        "ChannelName": "all",
        "DataSource": {
            "S3DataSource": {
                "S3DataType": "S3Prefix",
                "S3Uri": "s3://bkt/x/",
                "S3DataDistributionType": "ShardedByS3Key",
                "InstanceGroupNames": ["gpu"],
            }
        },
        "ContentType": "text/csv",
        "CompressionType": "Gzip",
        "RecordWrapperType": "RecordIO",
        "InputMode": "Pipe",
        "ShuffleConfig": {"Seed": 7},
    }
    source = labels["DataSource"]["S3DataSource"]
    assert (source["S3DataType"], source["AttributeNames"]) == ("AugmentedManifestFile", ["a-ref", "b"])
    assert plain["ShuffleConfig"] == {"Seed": 1}
    assert "CompressionType" not in plain
    # Programs of one's own find a DataFrame's files flat in their channel's folder.
    assert train["DataSource"]["S3DataSource"]["S3DataType"] == "S3Prefix"
    assert str(train["DataSource"]["S3DataSource"]["S3Uri"]) == "<S3Uri: files of the staged train channel>"
    assert train["ShuffleConfig"] == {"Seed": 1}


def test_own_formats_are_content_types_that_keep_their_function(aws: SageMakerSession) -> None:
    own = Serializer(lines, "text/x-lines")
    made = estimator(aws, contentType=own, serializer=lines, deserializer=Deserializer(len, "text/x-length"))
    plan = made.plan(SCHEMA)
    assert plan.trainingJob["InputDataConfig"][0]["ContentType"] == "text/x-lines"
    assert type(plan.trainingJob["InputDataConfig"][0]["ContentType"]) is str
    assert plan.channels[0].contentType.function is lines
    for same in (made.copy(), pickle.loads(pickle.dumps(made))):
        assert same.getSerializer() == "application/octet-stream"
        assert same.getSerializer().function is lines
        assert same.getContentType() == own
        assert same.getDeserializer().function is len
    assert SageMakerModel(serializer=own).getSerializer().function is lines
    assert own != Serializer(str, "text/x-lines")
    assert own == "text/x-lines"
    assert len({own, "text/x-lines"}) == 1


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({"compression": "Gzip"}, "compression='Gzip' is for inputMode='Pipe' only"),
        ({"recordWrapping": "RecordIO", "inputMode": "FastFile"}, "but inputMode is 'FastFile'"),
        (
            {"channels": {"a": TrainingInput("s3://bkt/x", instanceGroups=["gpu"])}},
            "channel 'a': instance group 'gpu' is not declared: instanceGroups has []",
        ),
        (
            {"channels": {"a": TrainingInput("s3://bkt/x", s3DataType="AugmentedManifestFile", inputMode="Pipe")}},
            "channel 'a': s3DataType='AugmentedManifestFile' and attributeNames go together",
        ),
        (
            {"channels": {"a": TrainingInput("s3://bkt/x", s3DataType="AugmentedManifestFile", attributeNames=["b"])}},
            "is for inputMode='Pipe' only, but inputMode is 'File'",
        ),
        ({"checkpointLocalPath": "/opt/ml/c"}, "checkpointLocalPath is for jobs with checkpointS3Uri only"),
        ({"maxWaitInSeconds": 5}, "maxWaitInSeconds is for useSpotInstances=True only"),
        ({"useSpotInstances": True, "maxWaitInSeconds": 5}, "maxWaitInSeconds must be at least maxRuntimeInSeconds"),
        ({"instanceGroups": GROUPS, "keepAlivePeriodInSeconds": 5}, "(a warm pool) and instanceGroups exclude"),
        ({"subnets": ["subnet-1"]}, "subnets and securityGroupIds go together"),
    ],
)
def test_what_does_not_go_together_is_refused_before_anything_exists(
    aws: SageMakerSession, params: dict[str, Any], words: str
) -> None:
    with pytest.raises(ValidationError) as caught:
        job(aws, **params)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({"maxRetryAttempts": 31}, "maxRetryAttempts must be an integer"),
        ({"instanceGroups": [{"InstanceGroupName": "x"}]}, "instanceGroups must be a list of"),
        ({"instanceGroups": [GROUPS[0], GROUPS[0]]}, "must not name a group twice"),
        ({"instanceGroups": [GROUPS[0] | {"InstanceCount": 0}]}, "InstanceCount must be an integer"),
        ({"checkpointLocalPath": "relative"}, "an absolute path"),
        ({"containerEntryPoint": "python"}, "must be a list of strings"),
        ({"serializer": Deserializer(len)}, "serializer must be a Serializer, but got a Deserializer"),
        ({"deserializer": 5}, "deserializer must be a content type such as 'text/csv', but got 5"),
        ({"compression": "gzip"}, "did you mean 'Gzip'"),
        ({"channels": ["s3://bkt/x"]}, "channels must be a dict of names to DataFrames, S3 URIs or TrainingInputs"),
    ],
)
def test_a_wrong_value_names_its_rule(params: dict[str, Any], words: str) -> None:
    with pytest.raises((TypeError, ValueError)) as caught:
        SageMakerEstimator(**params)
    assert words in str(caught.value)
    with pytest.raises(ValueError, match="inputMode must be 'File' or 'FastFile' or 'Pipe', but got 'file'"):
        TrainingInput("s3://bkt/x", inputMode="file")
