"""botocore's service models: which services there are and how requests name them."""

from __future__ import annotations

import threading
from typing import Any

from botocore.loaders import Loader
from botocore.model import ServiceModel

# Kept here so that naming a service loads no model; a test compares them with the models.
TARGETS = {
    "SageMaker": "sagemaker",
    "Logs_20140328": "logs",
    "AnyScaleFrontendService": "application-autoscaling",
    "GraniteServiceVersion20100801": "cloudwatch",
    "AmazonEC2ContainerRegistry_V20150921": "ecr",
}
"""Services by the prefix of ``X-Amz-Target``."""
SCOPES = {
    "s3": "s3",
    "sagemaker": "sagemaker",
    "sts": "sts",
    "iam": "iam",
    "logs": "logs",
    "application-autoscaling": "application-autoscaling",
    "monitoring": "cloudwatch",
    "ecr": "ecr",
}
"""Services by the service name in a credential scope. SageMaker's runtime signs as ``sagemaker`` too."""
KNOWN = frozenset({*TARGETS.values(), *SCOPES.values(), "sagemaker-runtime"})
"""Every service whose requests are understood, built or not."""
QUERY_SERVICES = ("sts", "iam", "cloudwatch")
"""Services that understand ``Action=``."""

_lock = threading.Lock()
_models: dict[str, Any] = {}
_operations: dict[str, frozenset[str]] = {}


def service_model(name: str) -> Any:
    """Return botocore's ``ServiceModel`` of a service, loaded on first use (0.1 s for ``sagemaker``)."""
    model = _models.get(name)
    if model is None:
        with _lock:
            model = _models.get(name)
            if model is None:
                model = ServiceModel(Loader().load_service_model(name, "service-2"), name)
                _models[name] = model
    return model


def operation_model(service: str, operation: str) -> Any | None:
    """Return the model of an operation, or None where the service has none of that name."""
    model = service_model(service)
    names = _operations.get(service)
    if names is None:
        names = _operations[service] = frozenset(model.operation_names)
    return model.operation_model(operation) if operation in names else None
