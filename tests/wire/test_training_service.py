"""Training jobs, models, endpoint configs, tags, search and logs through boto3 alone."""

from __future__ import annotations

import io
import json
import tarfile
from datetime import timedelta
from typing import Any
from urllib.parse import urlencode
from urllib.request import Request, urlopen
from xml.etree import ElementTree

import numpy as np
import pytest
from botocore.exceptions import ClientError, WaiterError

from sagespark.algorithms.registry import image_uri
from sagespark.codecs.registry import codec
from sagespark.local.config import ServiceInfo
from support.local_service import ServiceProcess

pytestmark = pytest.mark.wire

REGION = "us-east-1"
INFO = ServiceInfo("")
IMAGE = image_uri("kmeans", REGION)
RECORDIO = "application/x-recordio-protobuf"
QUICK = {"Delay": 1, "MaxAttempts": 120}


@pytest.fixture(scope="module")
def sagemaker(server: ServiceProcess) -> Any:
    return server.client("sagemaker")


@pytest.fixture(scope="module")
def logs(server: ServiceProcess) -> Any:
    return server.client("logs")


@pytest.fixture(scope="module")
def points(s3: Any) -> Any:
    """Two clouds in four shards whose names do not sort as the manifest lists them."""
    rows = np.random.default_rng(0).normal(size=(40, 3)).astype(np.float32)
    rows[20:] += 9
    order = ["d", "b", "c", "a"]
    for name, part in zip(order, np.split(rows, 4), strict=True):
        s3.put_object(Bucket=INFO.bucket, Key=f"wire/{name}", Body=bytes(codec(RECORDIO).encode(part)))
    manifest = [{"prefix": f"s3://{INFO.bucket}/wire/"}, *order]
    s3.put_object(Bucket=INFO.bucket, Key="wire.manifest", Body=json.dumps(manifest).encode())
    return rows


def request(name: str, **members: Any) -> dict[str, Any]:
    source = {"S3DataType": "ManifestFile", "S3Uri": f"s3://{INFO.bucket}/wire.manifest"}
    return {
        "TrainingJobName": name,
        "AlgorithmSpecification": {"TrainingImage": IMAGE, "TrainingInputMode": "File"},
        "RoleArn": INFO.role,
        "HyperParameters": {"k": "2", "feature_dim": "3"},
        "InputDataConfig": [
            {"ChannelName": n, "ContentType": RECORDIO, "DataSource": {"S3DataSource": source}}
            for n in ("train", "test")
        ],
        "OutputDataConfig": {"S3OutputPath": f"s3://{INFO.bucket}/wire-out"},
        "ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 1},
        "StoppingCondition": {"MaxRuntimeInSeconds": 600},
        "Tags": [{"Key": "suite", "Value": "wire"}],
    } | members


def program(*argv: str) -> dict[str, Any]:
    """Return an AlgorithmSpecification that runs a program of our own in the container."""
    return {"TrainingImage": IMAGE, "TrainingInputMode": "File", "ContainerEntrypoint": list(argv)}


def refusal(call: Any, **members: Any) -> tuple[str, str]:
    with pytest.raises(ClientError) as error:
        call(**members)
    return error.value.response["Error"]["Code"], error.value.response["Error"]["Message"]


@pytest.fixture(scope="module")
def trained(sagemaker: Any, points: Any) -> dict[str, Any]:
    sagemaker.create_training_job(**request("wire-kmeans"))
    sagemaker.get_waiter("training_job_completed_or_stopped").wait(TrainingJobName="wire-kmeans", WaiterConfig=QUICK)
    answer: dict[str, Any] = sagemaker.describe_training_job(TrainingJobName="wire-kmeans")
    return answer


def test_a_job_trains_and_leaves_its_model(trained: dict[str, Any], s3: Any) -> None:
    assert trained["TrainingJobStatus"] == trained["SecondaryStatus"] == "Completed"
    assert {m["MetricName"] for m in trained["FinalMetricDataList"]} >= {"train:msd", "test:msd"}
    assert trained["OutputDataConfig"]["KmsKeyId"] == ""
    uri = trained["ModelArtifacts"]["S3ModelArtifacts"]
    assert uri == f"s3://{INFO.bucket}/wire-out/wire-kmeans/output/model.tar.gz"
    body = s3.get_object(Bucket=INFO.bucket, Key=uri.split("/", 3)[3])["Body"].read()
    with tarfile.open(fileobj=io.BytesIO(body)) as archive:
        assert archive.getnames() == ["model_algo-1"]


def test_its_log_is_in_cloudwatch(trained: dict[str, Any], logs: Any) -> None:
    group = "/aws/sagemaker/TrainingJobs"
    (stream,) = logs.describe_log_streams(logGroupName=group, logStreamNamePrefix="wire-kmeans/")["logStreams"]
    assert stream["logStreamName"].startswith("wire-kmeans/algo-1-")
    answer = logs.get_log_events(logGroupName=group, logStreamName=stream["logStreamName"], startFromHead=True)
    messages = [event["message"] for event in answer["events"]]
    assert any("Read 40 rows of 3 features" in message for message in messages)
    pages = logs.get_paginator("filter_log_events").paginate(
        logGroupName=group, logStreamNames=[stream["logStreamName"]], filterPattern="#quality_metric", limit=1
    )
    assert len([e for page in pages for e in page["events"]]) == sum("#quality_metric" in m for m in messages)
    assert refusal(logs.get_log_events, logGroupName=group, logStreamName="none")[0] == "ResourceNotFoundException"


def test_its_metrics_are_in_cloudwatch(server: ServiceProcess, trained: dict[str, Any]) -> None:
    # As the SageMaker SDK's TrainingJobAnalytics reads them: names from the job, times from the job, a minute more.
    cloudwatch = server.client("cloudwatch")
    names = {d["Name"] for d in trained["AlgorithmSpecification"]["MetricDefinitions"]}
    final = {m["MetricName"]: m["Value"] for m in trained["FinalMetricDataList"]}
    assert final.keys() <= names
    dimension = {"Name": "TrainingJobName", "Value": "wire-kmeans"}
    for name in ("train:msd", "test:msd"):
        (point,) = cloudwatch.get_metric_statistics(
            Namespace="/aws/sagemaker/TrainingJobs",
            MetricName=name,
            Dimensions=[dimension],
            StartTime=trained["TrainingStartTime"],
            EndTime=trained["TrainingEndTime"] + timedelta(minutes=1),
            Period=60,
            Statistics=["Average", "SampleCount"],
        )["Datapoints"]
        assert (point["Average"], point["SampleCount"]) == (final[name], 1.0)
    pages = cloudwatch.get_paginator("list_metrics").paginate(Dimensions=[dimension])
    assert {m["MetricName"] for page in pages for m in page["Metrics"]} == final.keys()


def test_older_clients_ask_for_metrics_by_a_form(server: ServiceProcess, trained: dict[str, Any]) -> None:
    # The SDK for Java 1.x sends a form and reads XML.
    form = {
        "Action": "GetMetricStatistics",
        "Version": "2010-08-01",
        "Namespace": "/aws/sagemaker/TrainingJobs",
        "MetricName": "train:msd",
        "Dimensions.member.1.Name": "TrainingJobName",
        "Dimensions.member.1.Value": "wire-kmeans",
        "StartTime": (trained["TrainingStartTime"] - timedelta(minutes=1)).isoformat(),
        "EndTime": (trained["TrainingEndTime"] + timedelta(minutes=1)).isoformat(),
        "Period": "60",
        "Statistics.member.1": "Maximum",
    }
    scope = "AKIA/20300101/us-east-1/monitoring/aws4_request"
    headers = {"Authorization": f"AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host, Signature=0"}
    with urlopen(Request(server.url, urlencode(form).encode(), headers), timeout=20) as answer:
        root = ElementTree.fromstring(answer.read())
    values = [float(node.text or "") for node in root.iter() if node.tag.endswith("}Maximum")]
    final = {m["MetricName"]: m["Value"] for m in trained["FinalMetricDataList"]}
    assert values == [final["train:msd"]]


def test_lists_page_by_boto3s_paginators(trained: dict[str, Any], sagemaker: Any) -> None:
    for i in range(3):
        sagemaker.create_training_job(**request(f"wire-page-{i}", AlgorithmSpecification=program("true")))
    pages = sagemaker.get_paginator("list_training_jobs").paginate(
        NameContains="wire-page", SortBy="Name", SortOrder="Descending", PaginationConfig={"PageSize": 2}
    )
    names = [[s["TrainingJobName"] for s in page["TrainingJobSummaries"]] for page in pages]
    assert names == [["wire-page-2", "wire-page-1"], ["wire-page-0"]]
    listed = sagemaker.list_training_jobs(
        StatusEquals="Completed", CreationTimeAfter=trained["CreationTime"], NameContains="wire-kmeans"
    )
    assert len(listed["TrainingJobSummaries"]) == 1


def test_a_failed_job_fails_the_waiter_with_its_reason(sagemaker: Any, points: Any) -> None:
    sagemaker.create_training_job(**request("wire-bad", HyperParameters={"k": "2", "feature_dim": "4"}))
    waiter = sagemaker.get_waiter("training_job_completed_or_stopped")
    with pytest.raises(WaiterError) as error:
        waiter.wait(TrainingJobName="wire-bad", WaiterConfig=QUICK)
    assert error.value.last_response["FailureReason"].startswith("ClientError: ")
    assert "feature_dim" in error.value.last_response["FailureReason"]


def test_several_instances_are_refused_where_an_algorithm_trains_on_one(sagemaker: Any, points: Any) -> None:
    resources = {"InstanceType": "ml.m5.large", "InstanceCount": 2, "VolumeSizeInGB": 1}
    specification = {"TrainingImage": image_uri("lda", REGION), "TrainingInputMode": "File"}
    code, message = refusal(
        sagemaker.create_training_job,
        **request("wire-two", ResourceConfig=resources, AlgorithmSpecification=specification),
    )
    assert (code, "InstanceCount is 2, but lda trains on one instance" in message) == ("ValidationException", True)


def test_a_stopped_job_satisfies_the_waiter_and_cannot_be_stopped_again(sagemaker: Any, points: Any) -> None:
    specification = program("/bin/sh", "-c", "trap 'exit 0' TERM; while :; do sleep 0.05; done")
    sagemaker.create_training_job(**request("wire-stop", AlgorithmSpecification=specification))
    sagemaker.stop_training_job(TrainingJobName="wire-stop")
    sagemaker.get_waiter("training_job_completed_or_stopped").wait(TrainingJobName="wire-stop", WaiterConfig=QUICK)
    assert refusal(sagemaker.stop_training_job, TrainingJobName="wire-stop") == (
        "ValidationException",
        "The request was rejected because the training job is in status Stopped.",
    )
    sagemaker.delete_training_job(TrainingJobName="wire-stop")
    assert refusal(sagemaker.describe_training_job, TrainingJobName="wire-stop") == (
        "ValidationException",
        "Requested resource not found.",
    )


def test_what_a_request_gets_wrong_is_told_by_code_and_text(trained: dict[str, Any], sagemaker: Any) -> None:
    code, message = refusal(sagemaker.create_training_job, **request("wire-kmeans"))
    assert code == "ResourceInUse"
    assert trained["TrainingJobArn"] in message
    code, message = refusal(
        sagemaker.create_training_job, **request("-bad-", RoleArn="r" * 20, AlgorithmSpecification=program("true"))
    )
    assert code == "ValidationException"
    assert message.startswith("2 validation errors detected: ")
    assert "'trainingJobName'" in message
    assert "'roleArn'" in message
    specification = {"TrainingImage": "busybox:latest", "TrainingInputMode": "File"}
    code, message = refusal(sagemaker.create_training_job, **request("x", AlgorithmSpecification=specification))
    assert (code, "it runs the built-in algorithms" in message) == ("ValidationException", True)


def test_models_and_configs_through_their_lives(trained: dict[str, Any], sagemaker: Any) -> None:
    container = {"Image": IMAGE, "ModelDataUrl": trained["ModelArtifacts"]["S3ModelArtifacts"]}
    model = sagemaker.create_model(ModelName="wire-m", PrimaryContainer=container, ExecutionRoleArn=INFO.role)
    described = sagemaker.describe_model(ModelName="wire-m")
    assert described["ModelArn"] == model["ModelArn"]
    assert described["PrimaryContainer"]["ModelDataUrl"] == container["ModelDataUrl"]
    assert "VpcConfig" not in described
    variant = {"VariantName": "v", "ModelName": "wire-m", "InstanceType": "ml.m5.large", "InitialInstanceCount": 1}
    sagemaker.create_endpoint_config(EndpointConfigName="wire-c", ProductionVariants=[variant])
    config = sagemaker.describe_endpoint_config(EndpointConfigName="wire-c")
    assert config["ProductionVariants"] == [{**variant, "InitialVariantWeight": 1.0}]
    assert [m["ModelName"] for m in sagemaker.list_models(NameContains="wire-m")["Models"]] == ["wire-m"]
    assert len(sagemaker.list_endpoint_configs(NameContains="wire-c")["EndpointConfigs"]) == 1
    code, message = refusal(sagemaker.create_model, ModelName="wire-m", PrimaryContainer=container)
    assert (code, message) == ("ValidationException", f'Cannot create already existing model "{model["ModelArn"]}".')
    sagemaker.delete_endpoint_config(EndpointConfigName="wire-c")
    sagemaker.delete_model(ModelName="wire-m")
    for call, members in (
        (sagemaker.describe_model, {"ModelName": "wire-m"}),
        (sagemaker.delete_endpoint_config, {"EndpointConfigName": "wire-c"}),
    ):
        assert refusal(call, **members)[1].startswith("Could not find ")


def test_tags_and_search_find_the_job(trained: dict[str, Any], sagemaker: Any) -> None:
    own = trained["TrainingJobArn"]
    sagemaker.add_tags(ResourceArn=own, Tags=[{"Key": "more", "Value": "ü"}])
    tags = sagemaker.get_paginator("list_tags").paginate(ResourceArn=own).build_full_result()["Tags"]
    assert tags == [{"Key": "more", "Value": "ü"}, {"Key": "suite", "Value": "wire"}]
    expression = {"Filters": [{"Name": "Tags.more", "Operator": "Equals", "Value": "ü"}]}
    (result,) = sagemaker.search(Resource="TrainingJob", SearchExpression=expression)["Results"]
    assert result["TrainingJob"]["TrainingJobName"] == "wire-kmeans"
    assert result["TrainingJob"]["CreationTime"] == trained["CreationTime"]
    sagemaker.delete_tags(ResourceArn=own, TagKeys=["more"])
    assert sagemaker.search(Resource="TrainingJob", SearchExpression=expression)["Results"] == []


def test_regions_are_apart(trained: dict[str, Any], server: ServiceProcess) -> None:
    other = server.client("sagemaker", "eu-west-1")
    assert other.list_training_jobs()["TrainingJobSummaries"] == []
    assert refusal(other.describe_training_job, TrainingJobName="wire-kmeans")[0] == "ValidationException"
