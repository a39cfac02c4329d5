"""Endpoints for tests: K-means models made of given centres, created by boto3."""

from __future__ import annotations

import io
import itertools
import json
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import botocore.exceptions
import numpy as np
import pytest
from numpy.typing import NDArray

from sagespark.algorithms.registry import image_uri
from sagespark.codecs import ndarray
from sagespark.core.clock import SystemClock
from sagespark.local.config import default_bucket, default_role
from support.local_service import ServiceProcess

REGION = "us-east-1"
BUCKET = default_bucket(REGION)
ARN = f"arn:aws:sagemaker:{REGION}:123456789012"
RESTING = ("InService", "Failed", "OutOfService")
_numbers = itertools.count()


def archive(files: dict[str, bytes]) -> bytes:
    """Return a ``model.tar.gz``."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as tar:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return out.getvalue()


def one_centre(value: float) -> NDArray[np.float32]:
    """Return centres of which the nearest to 0 is ``value`` away."""
    return np.array([[value], [value + 100]], np.float32)


def refused(error: pytest.ExceptionInfo[botocore.exceptions.ClientError]) -> tuple[str, str]:
    """Return code and message of a refusal."""
    told = error.value.response["Error"]
    return told["Code"], told["Message"]


def unique(prefix: str) -> str:
    """Return a name that no other test has."""
    return f"{prefix}-{next(_numbers)}"


@dataclass
class Hosting:
    """boto3's clients of one service, and the few steps that every test takes."""

    server: ServiceProcess
    s3: Any = field(init=False)
    sm: Any = field(init=False)
    runtime: Any = field(init=False)
    logs: Any = field(init=False)

    def __post_init__(self) -> None:
        self.s3 = self.server.client("s3")
        self.sm = self.server.client("sagemaker")
        self.runtime = self.server.client("sagemaker-runtime", max_pool_connections=50)
        self.logs = self.server.client("logs")

    def model(self, data: bytes | NDArray[np.float32], image: str | None = None, **container: Any) -> str:
        """Create a model of centres or of an archive's bytes; return its name."""
        name = unique("model")
        body = data if isinstance(data, bytes) else archive({"model_algo-1": ndarray.dump_list([data])})
        self.s3.put_object(Bucket=BUCKET, Key=f"models/{name}/model.tar.gz", Body=body)
        self.sm.create_model(
            ModelName=name,
            ExecutionRoleArn=default_role(),
            PrimaryContainer={
                "Image": image or image_uri("kmeans", REGION),
                "ModelDataUrl": f"s3://{BUCKET}/models/{name}/model.tar.gz",
                **container,
            },
        )
        return name

    def config(self, *variants: dict[str, Any], **members: Any) -> str:
        """Create an endpoint config; every variant needs a ``ModelName`` only."""
        name = unique("config")
        complete: Sequence[dict[str, Any]] = [
            {"VariantName": "AllTraffic", "InitialInstanceCount": 1, "InstanceType": "ml.m5.large"} | variant
            for variant in variants
        ]
        self.sm.create_endpoint_config(EndpointConfigName=name, ProductionVariants=complete, **members)
        return name

    def endpoint(self, config: str, status: str = "InService", **members: Any) -> str:
        """Create an endpoint and wait for its status; return its name."""
        name = unique("endpoint")
        self.sm.create_endpoint(EndpointName=name, EndpointConfigName=config, **members)
        description = self.settled(name)
        assert description["EndpointStatus"] == status, (description, self.log(name), self.server.log())
        return name

    def settled(self, name: str, timeout: float = 60.0) -> dict[str, Any]:
        """Return the description once the endpoint is at rest."""
        clock = SystemClock()
        deadline = clock.monotonic() + timeout
        while True:
            description: dict[str, Any] = self.sm.describe_endpoint(EndpointName=name)
            if description["EndpointStatus"] in RESTING:
                return description
            assert clock.monotonic() < deadline, description
            clock.sleep(0.02)

    def invoke(self, endpoint: str, body: bytes, content_type: str, accept: str, **members: Any) -> bytes:
        """Invoke and return the answer's body."""
        answer = self.runtime.invoke_endpoint(
            EndpointName=endpoint, Body=body, ContentType=content_type, Accept=accept, **members
        )
        content: bytes = answer["Body"].read()
        return content

    def distance(self, endpoint: str, **members: Any) -> float:
        """Return the distance of the row 0 from its centre, which tells which model of :func:`one_centre` answered."""
        body = self.invoke(endpoint, b"0\n", "text/csv", "application/json", **members)
        return float(json.loads(body)["predictions"][0]["distance_to_cluster"])

    def log(self, endpoint: str) -> str:
        """Return what the endpoint's containers wrote."""
        group = f"/aws/sagemaker/Endpoints/{endpoint}"
        try:
            events = self.logs.filter_log_events(logGroupName=group)["events"]
        except self.logs.exceptions.ResourceNotFoundException:
            return ""
        return "\n".join(event["message"] for event in events)
