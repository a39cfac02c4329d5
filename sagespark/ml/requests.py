"""Requests to SageMaker, built from plain values; nothing here calls anything.

Field names are AWS's (``CreateTrainingJob``, ``CreateModel``, ``CreateEndpointConfig``, ``CreateEndpoint``). A field
whose value is None, or an empty list or dict, is left out: SageMaker refuses some empty structures.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sagespark.aws import tags
from sagespark.aws.session import SageMakerSession
from sagespark.ml.deferred import Value

VARIANT = "AllTraffic"
"""Name of the one production variant, as SageMaker's own SDK calls it."""

Request = dict[str, Any]


def compact(request: Mapping[str, Any]) -> Request:
    """Return the request without fields that are None or empty."""
    return {k: v for k, v in request.items() if v is not None and v not in ([], {})}


@dataclass(frozen=True)
class Scope:
    """What all requests of one fit or deploy have in common.

    Parameters
    ----------
    session : SageMakerSession
        Looked up: role, bucket and region are there.
    run : str
        Name of the fit or deploy, for tags.
    values : mapping
        Values and defaults of the stage's Params by name.
    """

    session: SageMakerSession
    run: str
    values: Mapping[str, Any]

    @property
    def tags(self) -> list[dict[str, str]]:
        """The session's, the stage's and the package's tags."""
        return tags.of_run({**self.session.tags, **(self.values.get("tags") or {})}, self.run)

    @property
    def vpc(self) -> Request | None:
        """``VpcConfig``, None outside a VPC."""
        subnets = self.values.get("subnets") or list(self.session.subnets)
        groups = self.values.get("securityGroupIds") or list(self.session.securityGroupIds)
        return {"SecurityGroupIds": groups, "Subnets": subnets} if subnets and groups else None

    @property
    def isolated(self) -> bool | None:
        """``EnableNetworkIsolation``, None where it is off."""
        return self.values.get("enableNetworkIsolation") or None


@dataclass(frozen=True)
class ChannelOptions:
    """What a channel has beyond its data, content type and distribution; see `TrainingInput`."""

    inputMode: str | None = None
    compression: str = "None"
    recordWrapping: str = "None"
    shuffleSeed: int | None = None
    instanceGroups: tuple[str, ...] = ()
    s3DataType: str | None = None
    attributeNames: tuple[str, ...] = ()


PLAIN = ChannelOptions()
"""A channel with nothing special."""


def channel(
    name: str,
    uri: Value,
    *,
    manifest: bool,
    contentType: str | None,
    distribution: str,
    options: ChannelOptions | None = None,
) -> Request:
    """Return one entry of ``InputDataConfig``; ``manifest`` tells a manifest from a prefix."""
    more = options or PLAIN
    source = compact(
        {
            "S3DataType": more.s3DataType or ("ManifestFile" if manifest else "S3Prefix"),
            "S3Uri": uri,
            "S3DataDistributionType": distribution,
            "AttributeNames": list(more.attributeNames),
            "InstanceGroupNames": list(more.instanceGroups),
        }
    )
    return compact(
        {
            "ChannelName": name,
            "DataSource": {"S3DataSource": source},
            "ContentType": None if contentType is None else str(contentType),
            "CompressionType": None if more.compression == "None" else more.compression,
            "RecordWrapperType": None if more.recordWrapping == "None" else more.recordWrapping,
            "InputMode": more.inputMode,
            "ShuffleConfig": None if more.shuffleSeed is None else {"Seed": more.shuffleSeed},
        }
    )


def training_job(
    scope: Scope,
    *,
    name: str,
    image: str,
    hyperparameters: Mapping[str, Value],
    channels: Sequence[Request],
    environment: Mapping[str, str],
    metricDefinitions: Sequence[Mapping[str, str]] = (),
    inputMode: str = "File",
) -> Request:
    """Return ``CreateTrainingJob``."""
    v, session = scope.values, scope.session
    spot = bool(v.get("useSpotInstances"))
    checkpoint = v.get("checkpointS3Uri")
    return compact(
        {
            "TrainingJobName": name,
            "AlgorithmSpecification": compact(
                {
                    "TrainingImage": image,
                    "TrainingInputMode": inputMode,
                    "MetricDefinitions": list(metricDefinitions),
                    "ContainerEntrypoint": v.get("containerEntryPoint"),
                    "ContainerArguments": v.get("containerArguments"),
                }
            ),
            "RoleArn": session.role,
            "HyperParameters": dict(hyperparameters),
            "InputDataConfig": list(channels),
            "OutputDataConfig": compact(
                {
                    "S3OutputPath": str(session.location),
                    "KmsKeyId": v.get("outputKmsKey") or session.kmsKey,
                }
            ),
            "ResourceConfig": compact(
                {
                    "InstanceType": None if v.get("instanceGroups") else v["instanceType"],
                    "InstanceCount": None if v.get("instanceGroups") else v["instanceCount"],
                    "InstanceGroups": v.get("instanceGroups"),
                    "VolumeSizeInGB": v["volumeSizeInGB"],
                    "VolumeKmsKeyId": v.get("volumeKmsKey") or session.kmsKey,
                    "KeepAlivePeriodInSeconds": v.get("keepAlivePeriodInSeconds"),
                }
            ),
            "StoppingCondition": compact(
                {
                    "MaxRuntimeInSeconds": v["maxRuntimeInSeconds"],
                    "MaxWaitTimeInSeconds": (v.get("maxWaitInSeconds") or v["maxRuntimeInSeconds"]) if spot else None,
                }
            ),
            "EnableManagedSpotTraining": spot or None,
            "EnableInterContainerTrafficEncryption": v.get("encryptInterContainerTraffic") or None,
            "CheckpointConfig": compact({"S3Uri": checkpoint, "LocalPath": v.get("checkpointLocalPath")})
            if checkpoint
            else None,
            "RetryStrategy": {"MaximumRetryAttempts": v["maxRetryAttempts"]} if v.get("maxRetryAttempts") else None,
            "VpcConfig": scope.vpc,
            "EnableNetworkIsolation": scope.isolated,
            "Environment": dict(environment),
            "Tags": scope.tags,
        }
    )


def model(
    scope: Scope, *, name: str, image: str, modelData: str | None, environment: Mapping[str, str] | None = None
) -> Request:
    """Return ``CreateModel``."""
    container = compact({"Image": image, "ModelDataUrl": modelData, "Environment": dict(environment or {})})
    return compact(
        {
            "ModelName": name,
            "PrimaryContainer": container,
            "ExecutionRoleArn": scope.session.role,
            "VpcConfig": scope.vpc,
            "EnableNetworkIsolation": scope.isolated,
            "Tags": scope.tags,
        }
    )


def endpoint_config(scope: Scope, *, name: str, model: str) -> Request:
    """Return ``CreateEndpointConfig`` with one production variant."""
    v = scope.values
    return compact(
        {
            "EndpointConfigName": name,
            "ProductionVariants": [
                {
                    "VariantName": VARIANT,
                    "ModelName": model,
                    "InstanceType": v.get("endpointInstanceType") or v["instanceType"],
                    "InitialInstanceCount": v["endpointInstanceCount"],
                }
            ],
            "KmsKeyId": scope.session.kmsKey,
            "Tags": scope.tags,
        }
    )


def endpoint(scope: Scope, *, name: str, config: str) -> Request:
    """Return ``CreateEndpoint``."""
    return {"EndpointName": name, "EndpointConfigName": config, "Tags": scope.tags}


@dataclass(frozen=True)
class Hosting:
    """The three requests that bring an endpoint up, in order."""

    model: Request
    endpointConfig: Request
    endpoint: Request

    @property
    def requests(self) -> list[tuple[str, Request]]:
        """Operation and request, in the order in which they are sent."""
        return [
            ("CreateModel", self.model),
            ("CreateEndpointConfig", self.endpointConfig),
            ("CreateEndpoint", self.endpoint),
        ]

    def with_container(self, container: Request) -> Hosting:
        """Return the requests with another ``PrimaryContainer``."""
        return replace(self, model={**self.model, "PrimaryContainer": container})

    def named(self, name: str) -> Hosting:
        """Return the requests with another name for all three resources."""
        variants = [{**variant, "ModelName": name} for variant in self.endpointConfig["ProductionVariants"]]
        return Hosting(
            {**self.model, "ModelName": name},
            {**self.endpointConfig, "EndpointConfigName": name, "ProductionVariants": variants},
            {**self.endpoint, "EndpointName": name, "EndpointConfigName": name},
        )


def hosting(
    scope: Scope,
    *,
    name: str,
    image: str,
    modelData: str | None,
    environment: Mapping[str, str] | None = None,
) -> Hosting:
    """Return the requests of hosting; all three resources carry one name, so that they are found together."""
    return Hosting(
        model(scope, name=name, image=image, modelData=modelData, environment=environment),
        endpoint_config(scope, name=name, model=name),
        endpoint(scope, name=name, config=name),
    )


def artifact(request: Request) -> str:
    """Return the URI at which the service puts the model artifact of a ``CreateTrainingJob``.

    SageMaker documents it under OutputDataConfig: ``{S3OutputPath}/{TrainingJobName}/output/model.tar.gz``.
    """
    path = str(request["OutputDataConfig"]["S3OutputPath"]).rstrip("/")
    return f"{path}/{request['TrainingJobName']}/output/model.tar.gz"
