"""Requests of a small K-means, for tests that speak to the service without Spark."""

from __future__ import annotations

from typing import Any

import numpy as np

from sagespark.algorithms.registry import image_uri
from sagespark.aws import s3
from sagespark.aws.endpoint import Endpoint
from sagespark.aws.endpoint_config import EndpointConfig
from sagespark.aws.model import Model
from sagespark.aws.session import SageMakerSession
from sagespark.aws.training_job import TrainingJob, artifact
from sagespark.codecs.registry import codec
from sagespark.core.s3uri import S3Uri

RECORDIO = "application/x-recordio-protobuf"


def blobs(rows: int = 60, width: int = 3) -> Any:
    """Return two far clouds of points, float32, the second half around 8."""
    points = np.random.default_rng(0).normal(size=(rows, width)).astype(np.float32)
    points[rows // 2 :] += 8
    return points


def training_request(session: SageMakerSession, name: str, **hyperparameters: str) -> dict[str, Any]:
    """Upload the blobs and return the request of a job on them."""
    points = blobs()
    uri = session.location / "tests" / name / "part-0"
    s3.upload_bytes(session, uri, bytes(codec(RECORDIO).encode(points)))
    return {
        "TrainingJobName": name,
        "AlgorithmSpecification": {
            "TrainingImage": image_uri("kmeans", session.require("region")),
            "TrainingInputMode": "File",
        },
        "RoleArn": session.require("role"),
        "InputDataConfig": [
            {
                "ChannelName": "train",
                "ContentType": RECORDIO,
                "DataSource": {
                    "S3DataSource": {
                        "S3DataType": "S3Prefix",
                        "S3Uri": str(uri.parent),
                        "S3DataDistributionType": "FullyReplicated",
                    }
                },
            }
        ],
        "OutputDataConfig": {"S3OutputPath": str(session.location / "tests" / "out")},
        "ResourceConfig": {"InstanceType": "ml.m5.xlarge", "InstanceCount": 1, "VolumeSizeInGB": 30},
        "StoppingCondition": {"MaxRuntimeInSeconds": 3600},
        "HyperParameters": {"k": "2", "feature_dim": "3", "extra_center_factor": "1", **hyperparameters},
    }


def endless(session: SageMakerSession, name: str) -> dict[str, Any]:
    """Return the request of a job that runs for hours."""
    return training_request(session, name, extra_center_factor="4", epochs="100000000", mini_batch_size="1")


def trained(session: SageMakerSession, name: str) -> S3Uri:
    """Run a job and return where its artifact is."""
    found = artifact(TrainingJob.create(session, training_request(session, name)).wait(timeout=120))
    assert found is not None
    return found


def hosted(session: SageMakerSession, name: str, model_data: S3Uri) -> Endpoint:
    """Create model, config and endpoint of that name, in service."""
    image = image_uri("kmeans", session.require("region"))
    container = {"Image": image, "ModelDataUrl": str(model_data)}
    role = session.require("role")
    Model.create(session, {"ModelName": name, "ExecutionRoleArn": role, "PrimaryContainer": container})
    variant = {
        "VariantName": "AllTraffic",
        "ModelName": name,
        "InitialInstanceCount": 1,
        "InstanceType": "ml.m5.xlarge",
    }
    EndpointConfig.create(session, {"EndpointConfigName": name, "ProductionVariants": [variant]})
    endpoint = Endpoint.create(session, {"EndpointName": name, "EndpointConfigName": name})
    endpoint.wait(timeout=120)
    return endpoint
