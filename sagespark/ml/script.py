"""What a stage that runs a script sends: images, the toolkits' hyperparameters and variables, the packed files."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sagespark.algorithms import frameworks
from sagespark.aws import s3
from sagespark.aws.session import SageMakerSession
from sagespark.core.errors import Resource
from sagespark.core.s3uri import S3Uri
from sagespark.ml import source
from sagespark.ml.hosting import HostingRecord
from sagespark.ml.repack import repack

CODE_CHANNEL = "code"
"""Channel that brings the script's files to a job without network, as AWS's SDK calls it."""
_INSIDE = "/opt/ml/model/code"
_PROGRAM, _DIRECTORY = frameworks.PROGRAM_VARIABLE, "SAGEMAKER_SUBMIT_DIRECTORY"


@dataclass(frozen=True)
class Kind:
    """What tells one framework from another here."""

    framework: str
    """AWS's name for it."""
    serializer: str
    """Content type of requests that its images read by default."""
    deserializer: str
    """Content type of responses that they write by default."""
    inside: bool
    """Whether its images want the script inside the model's archive, below ``code/``, and not from S3."""
    serves_alone: bool = False
    """Whether a model needs no script to be served."""


NPY, CSV, JSON = "application/x-npy", "text/csv", "application/json"
KINDS = {
    kind.framework: kind
    for kind in (
        Kind("sklearn", NPY, NPY, inside=False),
        Kind("xgboost", CSV, CSV, inside=False),
        Kind("pytorch", NPY, NPY, inside=True),
        Kind("tensorflow", CSV, JSON, inside=True, serves_alone=True),
        Kind("mxnet", NPY, NPY, inside=True),
        Kind("huggingface", JSON, JSON, inside=True),
    )
}
"""The frameworks."""


def training_image(kind: Kind, session: SageMakerSession, values: Mapping[str, Any]) -> str:
    """Return the image that trains; raises ValidationError where AWS publishes none."""
    own = values.get("imageUri")
    return str(own) if own else _image(kind, session, values, values["instanceType"], "training")


def inference_image(kind: Kind, session: SageMakerSession, values: Mapping[str, Any]) -> str:
    """Return the image that serves; raises ValidationError where AWS publishes none."""
    own = values.get("imageUri")
    instance = values.get("endpointInstanceType") or values["instanceType"]
    return str(own) if own else _image(kind, session, values, instance, "inference")


def _image(
    kind: Kind, session: SageMakerSession, values: Mapping[str, Any], instance: str, scope: frameworks.Scope
) -> str:
    version = values.get("frameworkVersion") or frameworks.newest(kind.framework)
    return frameworks.image_uri(
        kind.framework,
        session.region or "",
        version,
        instance,
        scope,
        values.get("pyVersion"),
        values.get("pytorchVersion"),
    )


def location(session: SageMakerSession, values: Mapping[str, Any]) -> S3Uri:
    """Return where the packed files are, or will be: named by their content, so that nothing is written twice."""
    there = source.in_s3(values)
    if there is not None:
        return S3Uri.parse(there)
    digest = hashlib.sha256(source.pack(values)).hexdigest()[:20]
    return session.location / "source" / digest / source.ARCHIVE


def upload(session: SageMakerSession, values: Mapping[str, Any]) -> Resource | None:
    """Write the packed files to S3 where they are not there yet; return what was written."""
    uri = location(session, values)
    if source.in_s3(values) is not None or s3.exists(session, uri):
        return None
    s3.ensure_bucket(session)
    s3.upload_bytes(session, uri, source.pack(values), "application/gzip")
    return Resource("S3Object", str(uri))


def hyperparameters(session: SageMakerSession, values: Mapping[str, Any], archive: str) -> dict[str, str]:
    """Return the job's hyperparameters: the script's as JSON, then the toolkit's own."""
    own = {
        "sagemaker_submit_directory": archive,
        "sagemaker_program": source.program(values),
        "sagemaker_container_log_level": values["containerLogLevel"],
        "sagemaker_region": session.region,
    }
    return {name: json.dumps(value) for name, value in {**values["hyperparameters"], **own}.items()}


def environment(kind: Kind, session: SageMakerSession, values: Mapping[str, Any]) -> dict[str, str]:
    """Return the serving container's variables; empty where the model is served without a script."""
    if not values.get("entryPoint") or (kind.serves_alone and not values.get("inferenceEntryPoint")):
        return {}
    return {
        _PROGRAM: source.serving_program(values),
        _DIRECTORY: str(location(session, values)),
        "SAGEMAKER_CONTAINER_LOG_LEVEL": str(values["containerLogLevel"]),
        "SAGEMAKER_REGION": session.region or "",
    }


def of_job(kind: Kind, record: HostingRecord) -> dict[str, str]:
    """Return the serving container's variables as a training job's hyperparameters tell them."""
    told = record.hyperparameters
    if frameworks.PROGRAM not in told or kind.serves_alone:
        return {}
    program, directory = (json.loads(told.get(n, '""')) for n in (frameworks.PROGRAM, "sagemaker_submit_directory"))
    if not directory.startswith("s3://"):
        # A job without network got its script by a channel; where from, its hyperparameters do not tell.
        return {}
    return {
        _PROGRAM: program,
        _DIRECTORY: directory,
        "SAGEMAKER_CONTAINER_LOG_LEVEL": told.get("sagemaker_container_log_level", "20"),
        "SAGEMAKER_REGION": record.session.region or "",
    }


def packed(
    kind: Kind, session: SageMakerSession, model: str, variables: Mapping[str, str], *, isolated: bool
) -> tuple[str, dict[str, str]]:
    """Return artifact and variables of a model whose script is inside the artifact, where the image wants it so.

    A container without network cannot fetch the script either. Where nothing is to be done both are as given.
    """
    archive = variables.get(_DIRECTORY, "")
    if not (kind.inside or isolated) or not archive.startswith("s3://"):
        return model, dict(variables)
    digest = hashlib.sha256(f"{model} {archive}".encode()).hexdigest()[:20]
    return str(session.location / "model" / digest / "model.tar.gz"), {**variables, _DIRECTORY: _INSIDE}


def ready(kind: Kind, record: HostingRecord, *, isolated: bool) -> None:
    """Make a record's artifact one that the image serves (:func:`packed`)."""
    if record.modelData is None:
        return
    data, variables = packed(kind, record.session, record.modelData, record.environment, isolated=isolated)
    if data == record.modelData:
        return
    target = S3Uri.parse(data)
    if not s3.exists(record.session, target):
        repack(record.session, S3Uri.parse(record.modelData), S3Uri.parse(record.environment[_DIRECTORY]), target)
        record.note(Resource("S3Object", data))
    record.modelData, record.environment = data, variables
