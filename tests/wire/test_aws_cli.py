"""AWS's own tools against the running service, with nothing of ours in between."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest

from sagespark.aws.session import SageMakerSession
from sagespark.local.config import ServiceInfo
from support.jobs import RECORDIO, blobs, endless, hosted, trained, training_request

pytestmark = pytest.mark.wire

Aws = Callable[..., str]


@pytest.fixture(scope="module")
def name(service: SageMakerSession) -> Iterator[str]:
    """A job that completed, and the model, config and endpoint made of it, all of one name."""
    endpoint = hosted(service, "cli-test", trained(service, "cli-test"))
    yield endpoint.name
    endpoint.delete()


@pytest.fixture(scope="module")
def variables(service: SageMakerSession) -> dict[str, str]:
    """The environment that `sagespark local start` hands out, and nothing else of AWS."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("AWS_")}
    return kept | ServiceInfo(str(service.endpointUrl)).environment() | {"AWS_PAGER": ""}


@pytest.fixture(scope="module")
def aws(variables: dict[str, str]) -> Aws:
    """The AWS CLI; returns what it prints."""
    program = Path(sys.executable).with_name("aws")

    def run(*arguments: str, code: int = 0) -> str:
        command = [sys.executable, str(program), *arguments]
        done = subprocess.run(command, env=variables, capture_output=True, text=True, check=False, timeout=120)
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout + (done.stderr if code else "")

    return run


@pytest.fixture(scope="module")
def client(service: SageMakerSession) -> Any:
    """boto3's client as anybody would make it."""
    info = ServiceInfo(str(service.endpointUrl))
    return boto3.client(
        "sagemaker",
        endpoint_url=info.url,
        region_name=info.region,
        aws_access_key_id="anything",
        aws_secret_access_key="anything",
    )


def test_list_training_jobs(aws: Aws, name: str) -> None:
    answer = json.loads(aws("sagemaker", "list-training-jobs", "--name-contains", name))
    (summary,) = answer["TrainingJobSummaries"]
    assert (summary["TrainingJobName"], summary["TrainingJobStatus"]) == (name, "Completed")


def test_describe(aws: Aws, name: str) -> None:
    endpoint = json.loads(aws("sagemaker", "describe-endpoint", "--endpoint-name", name))
    assert endpoint["EndpointStatus"] == "InService"
    assert endpoint["ProductionVariants"][0]["CurrentInstanceCount"] == 1
    job = json.loads(aws("sagemaker", "describe-training-job", "--training-job-name", name))
    assert job["ModelArtifacts"]["S3ModelArtifacts"].endswith(f"/{name}/output/model.tar.gz")
    assert {m["MetricName"] for m in job["FinalMetricDataList"]} >= {"train:msd"}
    assert "Could not find" in aws("sagemaker", "describe-endpoint", "--endpoint-name", "no-such", code=255)


def test_invoke_endpoint(aws: Aws, name: str, tmp_path: Path) -> None:
    body, answer = tmp_path / "body.csv", tmp_path / "answer.json"
    body.write_text("0,0,0\n8,8,8\n")
    printed = aws(
        "sagemaker-runtime",
        "invoke-endpoint",
        *("--endpoint-name", name, "--content-type", "text/csv", "--accept", "application/json"),
        *("--body", f"fileb://{body}", str(answer)),
    )
    assert json.loads(printed)["InvokedProductionVariant"] == "AllTraffic"
    first, second = json.loads(answer.read_text())["predictions"]
    assert first["closest_cluster"] != second["closest_cluster"]


def test_s3_ls_and_cp(aws: Aws, service: SageMakerSession, tmp_path: Path) -> None:
    bucket = service.require("bucket")
    assert bucket in aws("s3", "ls")
    # Above the CLI's 8 MiB, so that it goes up in parts and comes down in ranges.
    content = os.urandom(20 << 20)
    (tmp_path / "up").write_bytes(content)
    aws("s3", "cp", str(tmp_path / "up"), f"s3://{bucket}/cli/big")
    assert "20971520 big" in " ".join(aws("s3", "ls", f"s3://{bucket}/cli/").split())
    aws("s3", "cp", f"s3://{bucket}/cli/big", str(tmp_path / "down"))
    assert (tmp_path / "down").read_bytes() == content
    aws("s3", "cp", f"s3://{bucket}/cli/big", f"s3://{bucket}/cli/copy/big")
    aws("s3", "rm", "--recursive", f"s3://{bucket}/cli/")
    assert aws("s3", "ls", f"s3://{bucket}/cli/", code=1) == ""


def test_the_log_of_a_job(aws: Aws, name: str) -> None:
    printed = aws(
        "logs",
        "filter-log-events",
        *("--log-group-name", "/aws/sagemaker/TrainingJobs", "--log-stream-name-prefix", f"{name}/"),
        *("--query", "events[].message", "--output", "text"),
    )
    assert "#quality_metric" in printed


def test_boto3s_own_waiters(client: Any, service: SageMakerSession) -> None:
    quick = {"Delay": 1, "MaxAttempts": 120}
    client.create_training_job(**training_request(service, "waiter-1"))
    client.get_waiter("training_job_completed_or_stopped").wait(TrainingJobName="waiter-1", WaiterConfig=quick)
    job = client.describe_training_job(TrainingJobName="waiter-1")
    assert job["TrainingJobStatus"] == "Completed"
    client.create_model(
        ModelName="waiter-1",
        ExecutionRoleArn=service.role,
        PrimaryContainer={
            "Image": job["AlgorithmSpecification"]["TrainingImage"],
            "ModelDataUrl": job["ModelArtifacts"]["S3ModelArtifacts"],
        },
    )
    variant = {"VariantName": "v", "ModelName": "waiter-1", "InitialInstanceCount": 1, "InstanceType": "ml.m5.large"}
    client.create_endpoint_config(EndpointConfigName="waiter-1", ProductionVariants=[variant])
    client.create_endpoint(EndpointName="waiter-1", EndpointConfigName="waiter-1")
    client.get_waiter("endpoint_in_service").wait(EndpointName="waiter-1", WaiterConfig=quick)
    client.delete_endpoint(EndpointName="waiter-1")
    client.get_waiter("endpoint_deleted").wait(EndpointName="waiter-1", WaiterConfig=quick)


def test_a_stopped_job_by_the_cli(aws: Aws, client: Any, service: SageMakerSession) -> None:
    client.create_training_job(**endless(service, "cli-stop"))
    aws("sagemaker", "stop-training-job", "--training-job-name", "cli-stop")
    waiter = client.get_waiter("training_job_completed_or_stopped")
    waiter.wait(TrainingJobName="cli-stop", WaiterConfig={"Delay": 1, "MaxAttempts": 120})
    assert client.describe_training_job(TrainingJobName="cli-stop")["TrainingJobStatus"] == "Stopped"


def test_recordio_by_plain_boto3(service: SageMakerSession, name: str) -> None:
    from sagespark.codecs.registry import codec

    runtime = service.client("sagemaker-runtime")
    body = bytes(codec(RECORDIO).encode(blobs()[:5]))
    answer = runtime.invoke_endpoint(EndpointName=name, Body=body, ContentType=RECORDIO, Accept=RECORDIO)
    fields = codec(answer["ContentType"]).decode_predictions(answer["Body"].read(), ["closest_cluster"])
    assert len(set(fields["closest_cluster"].tolist())) == 1
