"""Training jobs: Create, Describe, List, Stop and Delete TrainingJob."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from sagespark.aws import logs, s3
from sagespark.aws.job import Job
from sagespark.aws.waiter import TRAINING_JOB, WaitSpec
from sagespark.core.s3uri import S3Uri


@dataclass(frozen=True)
class TrainingJob(Job):
    """Name one training job of an account and region; see `Job` and `Handle` for the verbs."""

    kind: ClassVar[str] = "TrainingJob"
    spec: ClassVar[WaitSpec] = TRAINING_JOB
    log_group: ClassVar[str] = logs.TRAINING_GROUP
    attach_with: ClassVar[str] = "SageMakerModel.fromTrainingJob({name!r}, wait=True)"

    def _has_result(self, description: dict[str, Any]) -> bool:
        # A job stopped by hand or by MaxRuntimeInSeconds uploads what it has; the field is set either way.
        uri = artifact(description)
        return uri is not None and s3.exists(self.session, uri)


def artifact(description: dict[str, Any]) -> S3Uri | None:
    """Return where a description says that ``model.tar.gz`` is, or None."""
    text = description.get("ModelArtifacts", {}).get("S3ModelArtifacts")
    return S3Uri.parse(text) if text else None


def metrics(description: dict[str, Any]) -> dict[str, float]:
    """Return the last value of each metric in a description."""
    return {m["MetricName"]: float(m["Value"]) for m in description.get("FinalMetricDataList", ())}
