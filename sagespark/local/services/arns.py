"""Amazon Resource Names of SageMaker's resources."""

from __future__ import annotations

import re
from dataclasses import dataclass

TYPES = {
    "TrainingJob": "training-job",
    "Model": "model",
    "EndpointConfig": "endpoint-config",
    "Endpoint": "endpoint",
    "HyperParameterTuningJob": "hyper-parameter-tuning-job",
}
"""Resource types in ARNs, by the kind under which :class:`sagespark.local.store.Store` keeps the resource."""
_KINDS = {word: kind for kind, word in TYPES.items()}
_ARN = re.compile(r"arn:(?P<partition>aws[a-z-]*):sagemaker:(?P<region>[a-z0-9-]+):(?P<account>\d{12}):(?P<rest>.+)")


@dataclass(frozen=True)
class Arn:
    """A SageMaker ARN taken apart."""

    region: str
    account: str
    kind: str | None
    """Kind of the Store, None where the embedded service has no such resource."""
    name: str


def partition(region: str) -> str:
    """Return the partition of a region: ``aws``, ``aws-cn`` or ``aws-us-gov``."""
    if region.startswith("cn-"):
        return "aws-cn"
    return "aws-us-gov" if region.startswith("us-gov-") else "aws"


def arn(kind: str, region: str, account: str, name: str) -> str:
    """Return the ARN of a resource; ``kind`` is one of :data:`TYPES`."""
    return f"arn:{partition(region)}:sagemaker:{region}:{account}:{TYPES[kind]}/{name}"


def parse(text: str) -> Arn | None:
    """Return the parts of a SageMaker ARN, or None where ``text`` is none."""
    match = _ARN.fullmatch(text)
    if match is None:
        return None
    word, _, name = match["rest"].partition("/")
    return Arn(match["region"], match["account"], _KINDS.get(word), name)
