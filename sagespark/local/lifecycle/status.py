"""The document of a training job: what DescribeTrainingJob answers, and how it changes.

Functions that change a document in place, to be run inside ``Store.update``, so that a stop and the job's own progress
never overwrite each other.
"""

from __future__ import annotations

import math
from datetime import datetime
from typing import Any

from sagespark.local.lifecycle.failure import INTERRUPTED

KIND = "TrainingJob"
"""Kind of the Store."""
DEFAULT_RUNTIME = 86400
"""MaxRuntimeInSeconds where the request has none, seconds."""
_EXCEEDED = "_Exceeded"
_UNBILLED = ("Starting", "Pending", "Interrupted")
"""Secondary statuses in which a job has no instances."""
ENDED = ("Completed", "Failed", "Stopped")
"""Values of TrainingJobStatus after which nothing changes."""

# What AWS writes into StatusMessage (SecondaryStatusTransition in the API reference, and the SDK's own log lines).
_MESSAGES = {
    "Starting": "Starting the training job",
    "Pending": "Training job waiting for capacity",
    "Downloading": "Downloading input data",
    "Training": "Training image download completed. Training in progress.",
    "Uploading": "Uploading generated training model",
    "Stopping": "Stopping the training job",
    "Completed": "Training job completed",
    "Failed": "Training job failed",
    "Stopped": "Training job stopped",
    "Interrupted": "The managed spot training instances were interrupted",
    "MaxRuntimeExceeded": "Training job runtime exceeded MaxRuntimeInSeconds provided",
    "MaxWaitTimeExceeded": "Training job waiting and running time exceeded MaxWaitTimeInSeconds provided",
}
_ECHOED = (
    "HyperParameters",
    "AlgorithmSpecification",
    "RoleArn",
    "ResourceConfig",
    "CheckpointConfig",
    "VpcConfig",
    "DebugHookConfig",
    "DebugRuleConfigurations",
    "TensorBoardOutputConfig",
    "ExperimentConfig",
    "ProfilerConfig",
    "ProfilerRuleConfigurations",
    "Environment",
    "RetryStrategy",
    "RemoteDebugConfig",
    "InfraCheckConfig",
)

Document = dict[str, Any]


def new(request: dict[str, Any], arn: str, now: datetime) -> Document:
    """Return the document of a job that was just accepted."""
    document: Document = {
        "TrainingJobName": request["TrainingJobName"],
        "TrainingJobArn": arn,
        "ModelArtifacts": {"S3ModelArtifacts": model_uri(request)},
        "TrainingJobStatus": "InProgress",
        "SecondaryStatus": "Starting",
        "CreationTime": now,
        "LastModifiedTime": now,
        "SecondaryStatusTransitions": [],
    }
    document |= {name: request[name] for name in _ECHOED if name in request}
    if "InputDataConfig" in request:
        document["InputDataConfig"] = [_complete(channel) for channel in request["InputDataConfig"]]
    document["OutputDataConfig"] = {"KmsKeyId": "", "CompressionType": "GZIP"} | request["OutputDataConfig"]
    document["StoppingCondition"] = {"MaxRuntimeInSeconds": DEFAULT_RUNTIME} | request.get("StoppingCondition", {})
    for name in ("EnableNetworkIsolation", "EnableInterContainerTrafficEncryption", "EnableManagedSpotTraining"):
        document[name] = request.get(name, False)
    enter(document, "Starting", now)
    return document


def _complete(channel: Document) -> Document:
    """Return a channel with the defaults that AWS shows."""
    complete = {"CompressionType": "None", "RecordWrapperType": "None"} | channel
    source = channel["DataSource"].get("S3DataSource")
    if source is not None:
        whole = {"S3DataDistributionType": "FullyReplicated"} | source
        complete["DataSource"] = channel["DataSource"] | {"S3DataSource": whole}
    return complete


def output_prefix(document: Document) -> str:
    """Return ``s3://bucket/prefix/JOB/output/`` of a request or document."""
    head = document["OutputDataConfig"]["S3OutputPath"].rstrip("/")
    return f"{head}/{document['TrainingJobName']}/output/"


def model_uri(document: Document) -> str:
    """Return the URI of the model artifact of a request or document."""
    return output_prefix(document) + ("model.tar.gz" if is_packed(document) else "model/")


def is_packed(document: Document) -> bool:
    """Tell whether the artifacts become archives instead of an object per file."""
    return bool(document["OutputDataConfig"].get("CompressionType", "GZIP") != "NONE")


def enter(document: Document, status: str, now: datetime, message: str | None = None) -> None:
    """Begin a secondary status, which ends the one before; the same one again only gets the message."""
    transitions = document["SecondaryStatusTransitions"]
    text = message or _MESSAGES[status]
    if transitions and transitions[-1]["Status"] == status:
        transitions[-1]["StatusMessage"] = text
    else:
        if transitions:
            transitions[-1]["EndTime"] = now
        transitions.append({"Status": status, "StartTime": now, "StatusMessage": text})
    document["SecondaryStatus"] = status
    document["LastModifiedTime"] = now
    if status == "Downloading":
        # The instances are there from now on, and billed.
        document.setdefault("TrainingStartTime", now)


def stop(document: Document, now: datetime) -> None:
    """Note that the job was asked to stop; a job that is stopping or has ended stays as it is."""
    if document["TrainingJobStatus"] == "InProgress":
        document["TrainingJobStatus"] = "Stopping"
        enter(document, "Stopping", now)


def billed_seconds(document: Document, now: datetime) -> float:
    """Return for how many seconds a job has had instances so far, over all its attempts."""
    started = document.get("TrainingStartTime")
    if started is None:
        return 0.0
    spans = (
        (t.get("EndTime", now) - t["StartTime"]).total_seconds()
        for t in document["SecondaryStatusTransitions"]
        if t["Status"] not in _UNBILLED
    )
    return float(sum(spans))


def seconds_left(document: Document, now: datetime) -> tuple[float, str]:
    """Return how long a job may go on running, and the secondary status in which it ends then."""
    runtime = document["StoppingCondition"]["MaxRuntimeInSeconds"] - billed_seconds(document, now)
    return min((runtime, "MaxRuntimeExceeded"), (wait_left(document, now), "MaxWaitTimeExceeded"))


def wait_left(document: Document, now: datetime) -> float:
    """Return how long a job may take until its end, with and without instances: infinite but for spot ones."""
    longest = document["StoppingCondition"].get("MaxWaitTimeInSeconds")
    return math.inf if longest is None else longest - (now - document["CreationTime"]).total_seconds()


def exceed(document: Document, now: datetime, secondary: str) -> None:
    """Stop a job that took too long: it will end as ``MaxRuntimeExceeded`` or ``MaxWaitTimeExceeded``.

    A job that is stopping already ends as it would have.
    """
    if document["TrainingJobStatus"] == "InProgress":
        stop(document, now)
        document[_EXCEEDED] = secondary


def end(document: Document, now: datetime, *, failure: str = "") -> None:
    """End the job, once: as Stopped where it was asked to stop or took too long, as Failed, or as Completed.

    Parameters
    ----------
    document : dict
        A job that has ended already stays as it is.
    now : datetime
        TrainingEndTime.
    failure : str
        FailureReason, empty where the job did not fail.
    """
    if document["TrainingJobStatus"] in ENDED:
        return
    if document["TrainingJobStatus"] == "Stopping":
        status, secondary = "Stopped", document.pop(_EXCEEDED, "Stopped")
    elif failure:
        status = secondary = "Failed"
        document["FailureReason"] = failure
    else:
        status = secondary = "Completed"
    document["TrainingJobStatus"] = status
    enter(document, secondary, now)
    document["SecondaryStatusTransitions"][-1]["EndTime"] = now
    started = document.get("TrainingStartTime")
    if started is not None:
        document["TrainingEndTime"] = now
        # Billed is the time with instances: on spot ones what is saved is the time without them, since a local
        # instance has no price.
        document["TrainingTimeInSeconds"] = max(1, math.ceil((now - started).total_seconds()))
        document["BillableTimeInSeconds"] = max(1, math.ceil(billed_seconds(document, now)))


def interrupt(document: Document, now: datetime) -> None:
    """End a job that its service did not survive: Failed, or Stopped where it was stopping."""
    end(document, now, failure=INTERRUPTED)
