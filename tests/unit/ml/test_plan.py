"""Requests, hyperparameters and deferred values, without Spark and without a service."""

from __future__ import annotations

import json
from dataclasses import FrozenInstanceError, replace
from types import SimpleNamespace
from typing import Any, ClassVar

import botocore.session
import pytest
from botocore.validate import ParamValidator

from sagespark.algorithms.kmeans import KMEANS
from sagespark.aws.session import SageMakerSession
from sagespark.core.errors import ValidationError
from sagespark.core.s3uri import S3Uri
from sagespark.data.frame import FrameLayout
from sagespark.ml import plan as plans
from sagespark.ml.deferred import Deferred, fill, find
from sagespark.ml.hyperparameters import param_values, wire_values
from sagespark.ml.placement import problems as placement_problems
from sagespark.ml.placement import stays_here
from sagespark.ml.plan import FrameChannel, Plan, Training, UriChannel
from sagespark.ml.requests import Scope
from sagespark.ml.stage_params import KMeansParams

MODEL = botocore.session.get_session().get_service_model("sagemaker")
IMAGE = "382416733822.dkr.ecr.us-east-1.amazonaws.com/kmeans:1"


def values(**given: Any) -> dict[str, Any]:
    return {p.name: v for p, v in KMeansParams(**given).extractParamMap().items()}


def layout(width: int | None = None) -> FrameLayout:
    return FrameLayout("vector", ("features",), width=width)


def report(width: int, channel: str = "train") -> Any:
    return SimpleNamespace(width=width, manifest=S3Uri("bucket", f"{channel}/manifest"), rows=4)


def make(session: SageMakerSession, hosted: bool = True, width: int | None = None, **given: Any) -> Plan:
    hyperparameters, problems = wire_values(KMEANS, KMeansParams(**given)._given(), {"width": width})
    assert not problems
    training = Training(
        "kmeans",
        IMAGE,
        hyperparameters,
        (FrameChannel("train", layout(width), "application/x-recordio-protobuf", "ShardedByS3Key"),),
        {"SAGESPARK_SEED": "1"},
    )
    return plans.make(Scope(session, "kmeans-1", values(**given)), "KMeans_1", "kmeans-1", training, hosted)


def check(operation: str, request: dict[str, Any]) -> None:
    """Hold a request against AWS's own model."""
    found = ParamValidator().validate(request, MODEL.operation_model(operation).input_shape)
    assert not found.has_errors(), found.generate_report()


def test_a_plan_has_every_request_and_names_what_is_missing(aws: SageMakerSession) -> None:
    plan = make(aws, k=3)
    assert [operation for operation, _ in plan.requests] == [
        "CreateTrainingJob", "CreateModel", "CreateEndpointConfig", "CreateEndpoint"
    ]  # fmt: skip
    assert plan.deferred == (Deferred("feature_dim", "width"), Deferred("S3Uri", "manifest"))
    assert "feature_dim" in str(plan.deferred[0])
    with pytest.raises(FrozenInstanceError):
        plan.name = "other"  # type: ignore[misc]
    assert plan.staging == S3Uri("bucket", "sagespark/kmeans-1/input/")


def test_resolved_requests_are_exactly_what_is_sent(aws: SageMakerSession) -> None:
    plan = make(aws, k=3)
    before = plan.trainingJob["HyperParameters"]["feature_dim"]
    resolved = plan.resolve(report(7))
    assert plan.trainingJob["HyperParameters"]["feature_dim"] is before
    assert resolved.deferred == ()
    tags = resolved.trainingJob["Tags"]
    assert resolved.trainingJob == {
        "TrainingJobName": "kmeans-1",
        "AlgorithmSpecification": {"TrainingImage": IMAGE, "TrainingInputMode": "File"},
        "RoleArn": "arn:aws:iam::123456789012:role/sagespark",
        "HyperParameters": {"feature_dim": "7", "k": "3"},
        "InputDataConfig": [
            {
                "ChannelName": "train",
                "DataSource": {
                    "S3DataSource": {
                        "S3DataType": "ManifestFile",
                        "S3Uri": "s3://bucket/train/manifest",
                        "S3DataDistributionType": "ShardedByS3Key",
                    }
                },
                "ContentType": "application/x-recordio-protobuf",
            }
        ],
        "OutputDataConfig": {"S3OutputPath": "s3://bucket/sagespark/"},
        "ResourceConfig": {"InstanceType": "ml.m5.xlarge", "InstanceCount": 1, "VolumeSizeInGB": 30},
        "StoppingCondition": {"MaxRuntimeInSeconds": 86400},
        "Environment": {"SAGESPARK_SEED": "1"},
        "Tags": tags,
    }
    by_key = {tag["Key"]: tag["Value"] for tag in tags}
    assert by_key["team"] == "blue"
    assert by_key["sagespark:run"] == "kmeans-1"
    for operation, request in resolved.requests:
        check(operation, request)
    hosting = resolved.hosting
    assert hosting is not None
    assert hosting.model["PrimaryContainer"]["ModelDataUrl"] == "s3://bucket/sagespark/kmeans-1/output/model.tar.gz"


def test_every_field_passes_through(aws: SageMakerSession) -> None:
    session = replace(aws, kmsKey="session-key")
    plan = make(
        session, k=2, instanceType="ml.p3.2xlarge", instanceCount=2, volumeSizeInGB=50, maxRuntimeInSeconds=100,
        useSpotInstances=True, maxWaitInSeconds=200, checkpointS3Uri="s3://bucket/checkpoints", subnets=["subnet-1"],
        securityGroupIds=["sg-1"], volumeKmsKey="volume-key", outputKmsKey="output-key", enableNetworkIsolation=True,
        tags={"x": "y"}, endpointInstanceType="ml.c5.large", endpointInstanceCount=3,
    ).resolve(report(3))  # fmt: skip
    job = plan.trainingJob
    assert job["ResourceConfig"] == {
        "InstanceType": "ml.p3.2xlarge", "InstanceCount": 2, "VolumeSizeInGB": 50, "VolumeKmsKeyId": "volume-key"
    }  # fmt: skip
    assert job["OutputDataConfig"]["KmsKeyId"] == "output-key"
    assert job["StoppingCondition"] == {"MaxRuntimeInSeconds": 100, "MaxWaitTimeInSeconds": 200}
    assert job["EnableManagedSpotTraining"] is True
    assert job["CheckpointConfig"] == {"S3Uri": "s3://bucket/checkpoints"}
    assert job["EnableNetworkIsolation"] is True
    assert {"Key": "x", "Value": "y"} in job["Tags"]
    assert plan.hosting is not None
    vpc = {"SecurityGroupIds": ["sg-1"], "Subnets": ["subnet-1"]}
    assert job["VpcConfig"] == plan.hosting.model["VpcConfig"] == vpc
    variant = plan.hosting.endpointConfig["ProductionVariants"][0]
    assert (variant["InstanceType"], variant["InitialInstanceCount"]) == ("ml.c5.large", 3)
    assert plan.hosting.endpointConfig["KmsKeyId"] == "session-key"
    for operation, request in plan.requests:
        check(operation, request)
    warm = make(aws, k=2, keepAlivePeriodInSeconds=600).resolve(report(3))
    assert warm.trainingJob["ResourceConfig"]["KeepAlivePeriodInSeconds"] == 600
    check("CreateTrainingJob", warm.trainingJob)


def test_without_hosting_there_is_one_request(aws: SageMakerSession) -> None:
    plan = make(aws, hosted=False, k=2)
    assert [operation for operation, _ in plan.requests] == ["CreateTrainingJob"]


def test_what_the_schema_tells_is_not_deferred_and_must_hold(aws: SageMakerSession) -> None:
    plan = make(aws, k=2, width=4)
    assert plan.trainingJob["HyperParameters"]["feature_dim"] == "4"
    assert plan.resolve(report(4)).deferred == ()
    with pytest.raises(ValidationError, match="metadata says 4 features, but the rows have 5"):
        plan.resolve(report(5))


def test_channels_must_agree(aws: SageMakerSession) -> None:
    plan = make(aws, k=2)
    test = FrameChannel("test", layout(), "text/csv", "FullyReplicated")
    plan = replace(plan, channels=(*plan.channels, test))
    with pytest.raises(ValidationError, match="channel 'test' was not staged"):
        plan.resolve({"train": report(4)})
    with pytest.raises(ValidationError, match="same number of features, but got train: 4, test: 5"):
        plan.resolve({"train": report(4), "test": report(5, "test")})


def test_data_in_s3_is_passed_on(aws: SageMakerSession) -> None:
    uri = S3Uri("other", "prefix/")
    training = Training("job", "image", {"a": "1"}, (UriChannel("extra", uri, None, "FullyReplicated"),), {})
    plan = plans.make(Scope(aws, "n", values()), "E", "n", training, hosted=False)
    assert plan.deferred == ()
    assert plan.trainingJob["InputDataConfig"] == [
        {
            "ChannelName": "extra",
            "DataSource": {
                "S3DataSource": {
                    "S3DataType": "S3Prefix",
                    "S3Uri": "s3://other/prefix/",
                    "S3DataDistributionType": "FullyReplicated",
                }
            },
        }
    ]
    assert "Environment" not in plan.trainingJob


def test_only_what_is_set_or_required_is_sent() -> None:
    assert wire_values(KMEANS, {}, {"width": 3}) == ({"feature_dim": "3", "k": "2"}, [])
    km = KMeansParams(k=4, maxIter=7, localLloydNumTrials="auto", evalMetrics=["msd", "ssd"], forceDense=True)
    sent, _ = wire_values(KMEANS, km._given(), {})
    assert {k: v for k, v in sent.items() if not isinstance(v, Deferred)} == {
        "k": "4", "local_lloyd_max_iter": "7", "local_lloyd_num_trials": "auto", "eval_metrics": '["msd","ssd"]',
        "force_dense": "True",
    }  # fmt: skip


@pytest.mark.parametrize("order", [("initMode", "initMethod"), ("initMethod", "initMode")])
def test_a_group_gives_its_value_to_members_that_are_unset_whatever_the_order(order: tuple[str, str]) -> None:
    km = KMeansParams()
    for name in order:
        km.setParams(**{name: {"initMode": "k-means||", "initMethod": "random"}[name]})
    sent, _ = wire_values(KMEANS, km._given(), {})
    assert (sent["init_method"], sent["local_lloyd_init_method"]) == ("random", "kmeans++")


def test_what_is_required_and_has_no_default_is_asked_for() -> None:
    spec = replace(KMEANS, hyperparameters=(replace(KMEANS["k"], send=None),))
    sent, problems = wire_values(spec, {}, {})
    assert sent == {}
    assert problems == ["k is required by SageMaker (k) and has no default: set it to an integer >= 2"]


def test_a_jobs_hyperparameters_become_params() -> None:
    sent = {"k": "3", "feature_dim": "4", "local_lloyd_tol": "0.5", "eval_metrics": '["ssd"]', "new_one": "x"}
    assert param_values(KMEANS, sent) == {"k": 3, "tol": 0.5, "evalMetrics": ["ssd"]}
    with pytest.raises(ValueError, match="k"):
        param_values(KMEANS, {"k": "one"})


def test_deferred_values_are_found_and_filled_anywhere() -> None:
    one, two = Deferred("a", "width"), Deferred("b", "manifest", "test")
    request = {"x": [one, {"y": two}], "z": "plain"}
    assert list(find(request)) == [one, two]
    reports = {"train": report(3), "test": report(3, "test")}
    assert fill(request, reports) == {"x": ["3", {"y": "s3://bucket/test/manifest"}], "z": "plain"}
    assert request["x"][0] is one
    assert json.dumps(fill(request, reports))


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"maxWaitInSeconds": 100}, "maxWaitInSeconds is for useSpotInstances=True only"),
        ({"useSpotInstances": True, "maxWaitInSeconds": 5}, "must be at least maxRuntimeInSeconds (86400), but got 5"),
        ({"useSpotInstances": True, "keepAlivePeriodInSeconds": 5}, "exclude each other"),
        ({"subnets": ["s"]}, "subnets and securityGroupIds go together"),
        ({"tags": {"aws:x": "y"}}, "tag key 'aws:x'"),
    ],
)
def test_what_the_service_would_refuse(aws: SageMakerSession, given: dict[str, Any], words: str) -> None:
    found = plans.problems(Scope(aws, "", values(**given)))
    assert len(found) == 1
    assert words in found[0]


def test_a_session_without_a_role_is_told_the_places() -> None:
    found = plans.problems(Scope(SageMakerSession(region="us-east-1", bucket="b"), "", values()))
    assert "spark.sagespark.role" in found[0]
    assert "SAGESPARK_ROLE" in found[0]


@pytest.mark.parametrize(
    ("master", "here"),
    [
        ("local", True), ("local[*]", True), ("local[2,3]", True), ("local-cluster[2,1,1024]", True),
        ("spark://127.0.0.1:7077", True), ("spark://localhost:7077,127.0.0.1:7078", True),
        ("spark://10.0.0.1:7077", False), ("spark://127.0.0.1:7077,10.0.0.1:7077", False), ("yarn", False),
        ("k8s://https://127.0.0.1:6443", False), ("", False),
    ],
)  # fmt: skip
def test_masters_that_stay_on_this_machine(aws: SageMakerSession, master: str, here: bool) -> None:
    assert stays_here(master) is here
    spark = SimpleNamespace(conf={"spark.master": master})
    found = placement_problems(aws, spark)
    assert bool(found) is not here
    assert placement_problems(replace(aws, endpointUrl=None, accessKeyId=None, secretAccessKey=None), spark) == []


class ConnectSession:
    __module__ = "pyspark.sql.connect.session"
    conf: ClassVar[dict[str, str]] = {"spark.master": "local[*]"}

    def __init__(self, host: str) -> None:
        self.client = SimpleNamespace(host=host)


def test_a_connect_server_elsewhere_is_refused(aws: SageMakerSession) -> None:
    assert "spark.example.com" in placement_problems(aws, ConnectSession("spark.example.com"))[0]
    assert placement_problems(aws, ConnectSession("localhost")) == []
