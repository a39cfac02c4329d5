"""One host of a training job is killed, on two hosts that need each other: the job fails, and nothing of it is left."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from sagespark.algorithms.registry import image_uri
from sagespark.codecs.registry import codec
from sagespark.core.clock import SystemClock, token
from sagespark.local.config import ServiceInfo
from support.local_service import ServiceProcess

pytestmark = pytest.mark.wire

INFO = ServiceInfo("")
RECORDIO = "application/x-recordio-protobuf"


@pytest.fixture
def service(tmp_path: Path) -> Iterator[ServiceProcess]:
    with ServiceProcess(tmp_path / "data") as process:
        yield process


def programs(job: str) -> dict[str, int]:
    """Return the processes of a job's training programs by host."""
    found = {}
    for folder in Path("/proc").iterdir():
        try:
            variables = (folder / "environ").read_bytes().split(b"\0") if folder.name.isdigit() else []
            if f"TRAINING_JOB_NAME={job}".encode() in variables:
                # Its own mount namespace tells which host it is, or its variable where there is none.
                known = dict(pair.decode().split("=", 1) for pair in variables if b"=" in pair)
                base = known.get("SAGEMAKER_BASE_DIR", "/opt/ml").lstrip("/")
                config = folder / "root" / base / "input/config/resourceconfig.json"
                if config.exists():
                    found["algo-1" if '"current_host": "algo-1"' in config.read_text() else "algo-2"] = int(folder.name)
        except OSError:
            continue
    return found


@pytest.mark.parametrize("victim", ["algo-1", "algo-2"])
def test_a_killed_host_fails_the_job_and_takes_the_other_along(service: ServiceProcess, victim: str) -> None:
    job = f"killed-{token(6)}"
    rows = np.random.default_rng(0).random((400, 3), dtype=np.float32)
    s3, sagemaker, logs, clock = *(service.client(name) for name in ("s3", "sagemaker", "logs")), SystemClock()
    for part in "ab":
        s3.put_object(Bucket=INFO.bucket, Key=f"rows/{part}", Body=bytes(codec(RECORDIO).encode(rows)))
    source = {
        "S3DataType": "S3Prefix",
        "S3Uri": f"s3://{INFO.bucket}/rows/",
        "S3DataDistributionType": "ShardedByS3Key",
    }
    sagemaker.create_training_job(
        TrainingJobName=job,
        AlgorithmSpecification={"TrainingImage": image_uri("kmeans", "us-east-1"), "TrainingInputMode": "File"},
        RoleArn=INFO.role,
        HyperParameters={"k": "3", "feature_dim": "3", "extra_center_factor": "4", "epochs": "1000000000"},
        InputDataConfig=[{"ChannelName": "train", "ContentType": RECORDIO, "DataSource": {"S3DataSource": source}}],
        OutputDataConfig={"S3OutputPath": f"s3://{INFO.bucket}/out"},
        ResourceConfig={"InstanceType": "ml.m5.large", "InstanceCount": 2, "VolumeSizeInGB": 1},
        StoppingCondition={"MaxRuntimeInSeconds": 600},
        Environment={"SAGESPARK_THREADS": "1"},
    )
    deadline = clock.monotonic() + 60

    def scheme_is_told() -> bool:
        try:
            events = logs.filter_log_events(
                logGroupName="/aws/sagemaker/TrainingJobs", logStreamNamePrefix=f"{job}/", filterPattern="Scheme"
            )["events"]
        except logs.exceptions.ResourceNotFoundException:  # the group comes with the first line that a job prints
            return False
        return len(events) == 2

    while not (len(programs(job)) == 2 and scheme_is_told()):
        assert clock.monotonic() < deadline, service.log()
        clock.sleep(0.1)
    os.kill(programs(job)[victim], signal.SIGKILL)
    while (found := sagemaker.describe_training_job(TrainingJobName=job))["TrainingJobStatus"] == "InProgress":
        assert clock.monotonic() < deadline, found
        clock.sleep(0.1)
    assert (found["TrainingJobStatus"], found["FailureReason"]) == ("Failed", "AlgorithmError: Exit Code: 137")
    assert programs(job) == {}
