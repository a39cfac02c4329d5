"""Records of models that were not fitted here: from an endpoint, a training job, an artifact. Creates nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sagespark.algorithms.registry import algorithm_of, image_uri
from sagespark.algorithms.spec import AlgorithmSpec
from sagespark.aws import s3
from sagespark.aws.endpoint import Endpoint
from sagespark.aws.endpoint_config import EndpointConfig
from sagespark.aws.model import Model
from sagespark.aws.session import SageMakerSession
from sagespark.aws.training_job import TrainingJob
from sagespark.core.errors import ValidationError
from sagespark.core.s3uri import S3Uri
from sagespark.ml import act
from sagespark.ml.hosting import HostingRecord
from sagespark.ml.hyperparameters import param_values
from sagespark.ml.listeners import Listener, Watch


def from_endpoint(session: SageMakerSession, name: str, spec: AlgorithmSpec | None) -> HostingRecord:
    """Return the record of an endpoint; waits where it is being created or updated."""
    endpoint = Endpoint(session, name)
    config = endpoint.wait()["EndpointConfigName"]
    models = EndpointConfig(session, config).model_names()
    container: dict[str, Any] = {}
    if len(models) == 1:
        description = Model(session, models[0]).describe()
        container = description.get("PrimaryContainer") or next(iter(description.get("Containers", ())), {})
    image = container.get("Image")
    _same_algorithm(image, spec, f"endpoint {name!r}")
    return HostingRecord(
        session,
        imageUri=image,
        modelData=container.get("ModelDataUrl"),
        environment=container.get("Environment"),
        endpointName=name,
        endpointConfigName=config,
        modelName=models[0] if len(models) == 1 else None,
    )


def from_training_job(
    session: SageMakerSession,
    name: str,
    wait: bool,
    spec: AlgorithmSpec | None,
    listeners: Sequence[Listener],
    attach: str,
) -> tuple[HostingRecord, dict[str, Any]]:
    """Return the record of a training job, and the Params that its hyperparameters stand for."""
    job = TrainingJob(session, name)
    description = job.describe()
    image = description["AlgorithmSpecification"].get("TrainingImage")
    _same_algorithm(image, spec, f"training job {name!r}")
    if TrainingJob.spec.outcome(description) is None and not wait:
        raise ValidationError(
            f"training job {name!r} is {description['TrainingJobStatus']} and has no model yet; wait=True follows it",
            "fromTrainingJob",
        )
    watch = Watch(job, listeners, session.clock)
    try:
        # A job that has ended is judged as one that ends now: Failed raises.
        description = job.wait(watch.update, attach=attach)
    except BaseException as error:
        watch.ended(error)
        raise
    watch.ended()
    known = spec or (algorithm_of(image) if image else None)
    values = {} if known is None else param_values(known, description.get("HyperParameters", {}))
    return act.record(session, description), values


def from_model_data(
    session: SageMakerSession, s3Uri: str, imageUri: str | None, spec: AlgorithmSpec | None
) -> HostingRecord:
    """Return the record of an artifact."""
    if imageUri is None:
        if spec is None:
            raise ValidationError(
                "imageUri is needed: nothing else says which image serves the artifact", "fromModelData"
            )
        imageUri = image_uri(spec.name, session.require("region"))
    _same_algorithm(imageUri, spec, "imageUri")
    uri = S3Uri.parse(s3Uri)
    if not s3.exists(session, uri):
        raise ValidationError(f"there is no object {uri}; give the URI of a model.tar.gz", "fromModelData")
    return HostingRecord(session, imageUri=imageUri, modelData=str(uri))


def _same_algorithm(image: str | None, spec: AlgorithmSpec | None, what: str) -> None:
    """Refuse another built-in algorithm than the class is for; an image that is none may be anything."""
    found = algorithm_of(image) if image else None
    if spec is not None and found is not None and found.name != spec.name:
        raise ValidationError(f"{what} is of the algorithm {found.name!r}, but {spec.name!r} is asked for", "from")
