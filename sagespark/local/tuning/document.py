"""The document of a tuning job: what DescribeHyperParameterTuningJob answers, and how it changes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from sagespark.algorithms.spec import TUNING_OBJECTIVE
from sagespark.local.store import Document
from sagespark.local.tuning import resources
from sagespark.local.tuning.definitions import definitions

KIND = "HyperParameterTuningJob"
"""Kind of the Store."""
ENDED = ("Completed", "Failed", "Stopped")
"""Values of HyperParameterTuningJobStatus after which nothing changes."""
INTERNAL = "InternalServerError"
"""How the FailureReason of a training job begins that may be tried again."""

_ECHOED = ("HyperParameterTuningJobConfig", "WarmStartConfig", "Autotune")
_FROM_JOB = (
    "TrainingJobName",
    "TrainingJobArn",
    "CreationTime",
    "TrainingStartTime",
    "TrainingEndTime",
    "TrainingJobStatus",
    "FailureReason",
)

Summary = dict[str, Any]
"""``HyperParameterTrainingJobSummary``."""


def new(request: dict[str, Any], arn: str, now: datetime) -> Document:
    """Return the document of a tuning job that was just accepted."""
    document: Document = {
        "HyperParameterTuningJobName": request["HyperParameterTuningJobName"],
        "HyperParameterTuningJobArn": arn,
        "HyperParameterTuningJobStatus": "InProgress",
        "CreationTime": now,
        "LastModifiedTime": now,
    }
    document |= {name: request[name] for name in _ECHOED if name in request}
    found = [_with_objective(resources.shown(d.request), d.metric) for d in definitions(request)]
    if "TrainingJobDefinition" in request:
        document["TrainingJobDefinition"] = found.pop(0)
    if found:
        document["TrainingJobDefinitions"] = found
    count(document, [])
    return document


def _with_objective(definition: dict[str, Any], metric: str) -> dict[str, Any]:
    """Return a definition as AWS shows it: the objective metric is among its static hyperparameters."""
    return definition | {
        "StaticHyperParameters": {TUNING_OBJECTIVE: metric} | definition.get("StaticHyperParameters", {})
    }


def summary(job: Document, tuned: dict[str, str], definition: str, metric: str, direction: str) -> Summary:
    """Return what ListTrainingJobsForHyperParameterTuningJob tells of a training job.

    Parameters
    ----------
    job : dict
        The training job's document.
    tuned : dict
        ``TunedHyperParameters``.
    definition : str
        Name of its definition, empty where it has none.
    metric, direction : str
        The objective.
    """
    found: Summary = {name: job[name] for name in _FROM_JOB if name in job}
    found["TunedHyperParameters"] = tuned
    if definition:
        found["TrainingJobDefinitionName"] = definition
    ended = job["TrainingJobStatus"] in ENDED
    found["ObjectiveStatus"] = "Failed" if ended else "Pending"
    if ended and job["TrainingJobStatus"] != "Failed":
        # The last value that the job wrote, as AWS takes it.
        value = next((m["Value"] for m in job.get("FinalMetricDataList", []) if m["MetricName"] == metric), None)
        if value is not None:
            final = {"Type": direction, "MetricName": metric, "Value": value}
            found |= {"ObjectiveStatus": "Succeeded", "FinalHyperParameterTuningJobObjectiveMetric": final}
    return found


def value_of(row: Summary) -> float | None:
    """Return the final value of the objective, None where there is none."""
    final = row.get("FinalHyperParameterTuningJobObjectiveMetric")
    return None if final is None else float(final["Value"])


def is_retryable(row: Summary) -> bool:
    """Tell whether a training job failed by an internal error of the service."""
    return row["TrainingJobStatus"] == "Failed" and str(row.get("FailureReason", "")).startswith(INTERNAL)


def best(rows: Iterable[Summary]) -> Summary | None:
    """Return the training job with the best final value, the earliest of equals."""

    def place(row: Summary) -> float:
        final = row["FinalHyperParameterTuningJobObjectiveMetric"]
        return float(final["Value"]) * (1.0 if final["Type"] == "Minimize" else -1.0)

    return min((row for row in rows if value_of(row) is not None), key=place, default=None)


def count(document: Document, rows: Sequence[Summary]) -> None:
    """Write the counters and the best training job; each trial counts once, by its latest training job."""
    status = [row["TrainingJobStatus"] for row in rows]
    retryable = sum(is_retryable(row) for row in rows)
    document["TrainingJobStatusCounters"] = {
        "Completed": status.count("Completed"),
        "InProgress": status.count("InProgress") + status.count("Stopping"),
        "RetryableError": retryable,
        "NonRetryableError": status.count("Failed") - retryable,
        "Stopped": status.count("Stopped"),
    }
    objective = [row["ObjectiveStatus"] for row in rows]
    document["ObjectiveStatusCounters"] = {name: objective.count(name) for name in ("Succeeded", "Pending", "Failed")}
    found = best(rows)
    if found is not None:
        document["BestTrainingJob"] = found


def stop(document: Document, now: datetime) -> None:
    """Note that the tuning job was asked to stop."""
    document["HyperParameterTuningJobStatus"] = "Stopping"
    document["LastModifiedTime"] = now


def end(document: Document, status: str, now: datetime, reason: str = "") -> None:
    """End the tuning job."""
    document["HyperParameterTuningJobStatus"] = status
    document["HyperParameterTuningEndTime"] = document["LastModifiedTime"] = now
    if reason:
        document["FailureReason"] = reason[:1024]
