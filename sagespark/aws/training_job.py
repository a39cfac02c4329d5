"""Training jobs: Create, Describe, List, Stop and Delete TrainingJob."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, NamedTuple

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


class MetricPoint(NamedTuple):
    """One value of a metric in a job's log."""

    timestamp: int
    """Milliseconds since 1970, UTC."""
    value: float


@dataclass
class MetricsFollower:
    """Read every value of the metrics that a training job logs; ``FinalMetricDataList`` has the last ones only.

    Parameters
    ----------
    job : TrainingJob
    only : str or None
        Name of one of the job's ``MetricDefinitions``, where no other is wanted; a built-in algorithm has them without
        being told.
    """

    job: TrainingJob
    only: str | None = None
    _found: dict[str, list[MetricPoint]] = field(default_factory=dict, repr=False)
    _logs: logs.LogFollower | None = field(default=None, repr=False)

    def read(self, description: Mapping[str, Any]) -> dict[str, tuple[MetricPoint, ...]]:
        """Return the finite values so far, in the order of the first host's log. Calls GetLogEvents.

        Parameters
        ----------
        description : mapping
            The job's, which tells the regexes of the metrics; without one a metric has no values.

        Raises
        ------
        ServiceError
            If the service refuses to show the log.
        """
        definitions = description.get("AlgorithmSpecification", {}).get("MetricDefinitions", ())
        wanted = {d["Name"]: re.compile(d["Regex"]) for d in definitions if self.only in (None, d["Name"])}
        if not wanted:
            return {}
        if self._logs is None:
            # Hosts that train together log the same metric; algo-1 leads.
            self._logs = logs.LogFollower(self.job.session, self.job.log_group, f"{self.job.name}/algo-1-")
        for line in self._logs.read():
            for name, pattern in wanted.items():
                match = pattern.search(line.message)
                value = _number(match[1]) if match else math.nan
                if math.isfinite(value):
                    self._found.setdefault(name, []).append(MetricPoint(line.timestamp, value))
        return {name: tuple(points) for name, points in self._found.items()}


def _number(text: str | None) -> float:
    try:
        return float(text or "nan")
    except ValueError:
        return math.nan
