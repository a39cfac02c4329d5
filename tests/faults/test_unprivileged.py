"""A service that runs without rights, or without namespaces: one training job, and an endpoint of what it made."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.cluster import KMeans

from sagespark.algorithms.registry import image_uri
from sagespark.codecs.registry import codec
from sagespark.core.clock import SystemClock
from sagespark.local.config import default_role
from support.containers import isolated
from support.endpoints import BUCKET, REGION, Hosting
from support.local_service import ServiceProcess
from support.unprivileged import NOBODY, as_nobody, without_namespaces

RECORDIO = "application/x-recordio-protobuf"


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder of the user without rights; pytest's own may only be entered by the user who runs the tests."""
    path = Path(tempfile.mkdtemp(prefix="sagespark-nobody-"))
    for name in ("data", "scratch"):
        (path / name).mkdir()
    if os.geteuid() == 0:
        for part in (path, path / "data"):
            os.chown(part, NOBODY, NOBODY)
    yield path
    shutil.rmtree(path)


def train(hosting: Hosting, name: str, count: int, **members: Any) -> dict[str, Any]:
    """Run a job on so many hosts and return its description once it has ended."""
    hosting.sm.create_training_job(
        TrainingJobName=name,
        AlgorithmSpecification={"TrainingImage": image_uri("kmeans", REGION), "TrainingInputMode": "File"},
        RoleArn=default_role(),
        HyperParameters={"k": "4", "feature_dim": "6"},
        Environment={"SAGESPARK_SEED": "1", "SAGESPARK_THREADS": "1"},
        InputDataConfig=[
            {
                "ChannelName": "train",
                "ContentType": RECORDIO,
                "DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": f"s3://{BUCKET}/train/"}},
            }
        ],
        OutputDataConfig={"S3OutputPath": f"s3://{BUCKET}/out"},
        ResourceConfig={"InstanceType": "ml.m5.large", "InstanceCount": count, "VolumeSizeInGB": 1},
        StoppingCondition={"MaxRuntimeInSeconds": 60},
        **members,
    )
    clock = SystemClock()
    deadline = clock.monotonic() + 60
    job: dict[str, Any]
    while (job := hosting.sm.describe_training_job(TrainingJobName=name))["TrainingJobStatus"] == "InProgress":
        assert clock.monotonic() < deadline, job
        clock.sleep(0.05)
    return job


def train_and_serve(hosting: Hosting) -> None:
    """Run a job, host its model and compare the answers with scikit-learn's."""
    rows = np.random.default_rng(3).random((400, 6), dtype=np.float32)
    hosting.s3.put_object(Bucket=BUCKET, Key="train/part", Body=bytes(codec(RECORDIO).encode(rows)))
    # Two hosts in a network of their own, or by addresses alone where there are no namespaces.
    job = train(hosting, "two", 2, EnableNetworkIsolation=True)
    assert job["TrainingJobStatus"] == "Completed", (job, hosting.server.log())
    job = train(hosting, "job", 1)
    assert job["TrainingJobStatus"] == "Completed", (job, hosting.server.log())
    hosting.sm.create_model(
        ModelName="model",
        ExecutionRoleArn=default_role(),
        PrimaryContainer={
            "Image": image_uri("kmeans", REGION),
            "ModelDataUrl": job["ModelArtifacts"]["S3ModelArtifacts"],
        },
    )
    name = hosting.endpoint(hosting.config({"ModelName": "model", "InitialInstanceCount": 2}))
    answer = hosting.invoke(name, bytes(codec(RECORDIO).encode(rows)), RECORDIO, RECORDIO)
    found = codec(RECORDIO).decode_predictions(answer, ["closest_cluster"])["closest_cluster"]
    model = KMeans(4, n_init=1, random_state=1).fit(rows)
    np.testing.assert_array_equal(found, model.predict(rows))


def test_one_training_job_and_an_endpoint_without_rights(folder: Path) -> None:
    user = NOBODY if os.geteuid() == 0 else os.geteuid()
    had = os.path.exists("/opt/ml")
    with ServiceProcess(folder / "data", prefix=as_nobody(folder / "scratch")) as server:
        assert server.process is not None
        status = Path(f"/proc/{server.process.pid}/status").read_text()
        assert f"Uid:\t{user}\t{user}\t{user}\t{user}" in status
        assert "CapEff:\t0000000000000000" in status
        train_and_serve(Hosting(server))
        assert ("NAMESPACES ARE OFF" in server.log()) is not isolated()
        assert server.stop() == 0
    # It wrote as itself, and left nothing outside its folder.
    assert {path.lstat().st_uid for path in (folder / "data").rglob("*") if path.name != "stderr.log"} == {user}
    assert os.path.exists("/opt/ml") is had


def test_one_training_job_and_an_endpoint_without_namespaces(tmp_path: Path) -> None:
    prefix = without_namespaces() if isolated() else []
    with ServiceProcess(tmp_path / "data", prefix=prefix) as server:
        train_and_serve(Hosting(server))
        assert "USER NAMESPACES ARE OFF" in server.log()
