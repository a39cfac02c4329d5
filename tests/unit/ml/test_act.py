"""Carrying a plan out, against a scripted service: what exists at each step that fails, and what is deleted when."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from botocore.exceptions import ConnectionClosedError

from sagespark.aws.session import SageMakerSession
from sagespark.core.errors import (
    DataError,
    JobFailedError,
    Resource,
    SageSparkError,
    ServiceError,
    ValidationError,
    WaitTimeoutError,
)
from sagespark.core.s3uri import S3Uri
from sagespark.data.frame import FrameLayout
from sagespark.data.shards import Shard, StagingReport
from sagespark.ml import act, plan
from sagespark.ml.listeners import JobEvent, Listener
from sagespark.ml.plan import FrameChannel, Plan, Training
from sagespark.ml.requests import Scope
from support.scripted import RESET, Script, error

IMAGE = "382416733822.dkr.ecr.us-east-1.amazonaws.com/kmeans:1"
MANIFEST = S3Uri("bucket", "sagespark/job/input/train/ab/train.manifest")
SHARD = S3Uri("bucket", "sagespark/job/input/train/ab/part-0")
EMPTY = b'<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"></ListBucketResult>'
NO_UPLOADS = (
    b'<ListMultipartUploadsResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"></ListMultipartUploadsResult>'
)
DELETED = b'<DeleteResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"></DeleteResult>'
JOB = Resource("TrainingJob", "job")
VALUES = {
    "instanceType": "ml.m5.xlarge", "instanceCount": 1, "volumeSizeInGB": 30, "maxRuntimeInSeconds": 60,
    "endpointInstanceCount": 1,
}  # fmt: skip


LAYOUT = FrameLayout("vector", ("features",))


def report(width: int = 2) -> StagingReport:
    shard = Shard(SHARD, 0, 4, 100)
    return StagingReport(MANIFEST, (shard,), 4, width, None, "ab")


def new_plan(session: SageMakerSession, hosted: bool = True) -> Plan:
    channel = FrameChannel("train", LAYOUT, "text/csv", "ShardedByS3Key")
    training = Training("kmeans", IMAGE, {"k": "2"}, (channel,), {})
    made = plan.make(Scope(session, "job", VALUES), "KMeans_1", "job", training, hosted)
    return made.resolve(report())


def described(status: str, **more: Any) -> dict[str, Any]:
    return {
        "TrainingJobName": "job",
        "TrainingJobStatus": status,
        "SecondaryStatus": status,
        "AlgorithmSpecification": {"TrainingImage": IMAGE, "TrainingInputMode": "File"},
        "ModelArtifacts": {"S3ModelArtifacts": "s3://bucket/sagespark/job/output/model.tar.gz"},
        "HyperParameters": {"k": "2", "feature_dim": "2"},
        "FinalMetricDataList": [{"MetricName": "train:ssd", "Value": 2.0}],
        **more,
    }


@pytest.fixture
def script(script: Script) -> Script:
    script.always = {
        "CreateTrainingJob": {"TrainingJobArn": "arn"},
        "DeleteObjects": DELETED,
        "ListObjectsV2": EMPTY,
        "ListMultipartUploads": NO_UPLOADS,
        "DescribeLogStreams": {"logStreams": []},
    }
    return script


def train(session: SageMakerSession, keep: bool = False, listeners: tuple[Listener, ...] = ()) -> Any:
    return act.train(
        session, new_plan(session), {"train": report()}, listeners=listeners, attach="X.fromTrainingJob('job')",
        params={"k": 2}, keep=keep,
    )  # fmt: skip


def deleted_shards(script: Script) -> bool:
    bodies = [sent.body for sent in script.sent if sent.operation == "DeleteObjects"]
    return any(SHARD.key.encode() in body and MANIFEST.key.encode() in body for body in bodies)


def test_a_job_that_completes(aws: SageMakerSession, script: Script) -> None:
    script.answers = [described("InProgress"), described("Completed")]
    record = train(aws)
    assert record.trainingJobName == "job"
    assert record.modelData == "s3://bucket/sagespark/job/output/model.tar.gz"
    assert record.imageUri == IMAGE
    assert record.hyperparameters == {"k": "2", "feature_dim": "2"}
    assert record.metrics == {"train:ssd": 2.0}
    assert record.created == (JOB, Resource("S3Object", record.modelData))
    assert deleted_shards(script)
    # Only after the last description: a running job reads them.
    assert script.operations.index("DeleteObjects") > script.operations.index("DescribeTrainingJob")


def test_shards_stay_where_they_are_to_be_kept(aws: SageMakerSession, script: Script) -> None:
    script.answers = [described("Completed")]
    record = train(aws, keep=True)
    assert "DeleteObjects" not in script.operations
    assert Resource("S3Object", str(MANIFEST)) in record.created


def test_a_job_that_is_refused_leaves_nothing(aws: SageMakerSession, script: Script) -> None:
    script.always["CreateTrainingJob"] = error("ResourceLimitExceeded", "no more")
    with pytest.raises(ServiceError, match="no more") as caught:
        train(aws)
    assert caught.value.createdResources == ()
    assert deleted_shards(script)


def test_a_job_that_may_have_been_created_keeps_its_shards(aws: SageMakerSession, script: Script) -> None:
    script.always["CreateTrainingJob"] = RESET
    with pytest.raises(ServiceError) as caught:
        train(aws)
    assert isinstance(caught.value.__cause__, ConnectionClosedError)
    assert caught.value.createdResources == (Resource("S3Object", str(MANIFEST)),)
    assert "DeleteObjects" not in script.operations


def test_a_job_that_fails_is_named_and_its_shards_go(aws: SageMakerSession, script: Script) -> None:
    script.answers = [described("Failed", FailureReason="AlgorithmError: no")]
    with pytest.raises(JobFailedError, match="AlgorithmError: no") as caught:
        train(aws)
    assert caught.value.createdResources == (JOB,)
    assert deleted_shards(script)


def test_silence_keeps_job_and_shards(aws: SageMakerSession, script: Script) -> None:
    script.always["DescribeTrainingJob"] = RESET
    with pytest.raises(WaitTimeoutError, match=r"X\.fromTrainingJob") as caught:
        train(aws)
    assert caught.value.createdResources == (JOB, Resource("S3Object", str(MANIFEST)))
    assert "DeleteObjects" not in script.operations


@pytest.mark.parametrize("ended", [True, False])
def test_an_interrupt_deletes_shards_only_of_a_job_that_ended(
    aws: SageMakerSession, script: Script, clock: Any, ended: bool
) -> None:
    def interrupt() -> None:
        clock.on_sleep = None
        raise KeyboardInterrupt

    clock.on_sleep = interrupt
    state = ["InProgress"]
    script.always["DescribeTrainingJob"] = lambda sent: described(state[0])

    class Stops(Listener):
        def onJobEnded(self, event: JobEvent) -> None:
            state[0] = "Stopped" if ended else "InProgress"

    with pytest.raises(KeyboardInterrupt) as caught:
        train(aws, listeners=(Stops(),))
    assert deleted_shards(script) is ended
    notes = "\n".join(caught.value.__notes__)
    assert "still there: TrainingJob job" in notes
    assert (str(MANIFEST) in notes) is not ended


def test_shards_that_cannot_be_deleted_are_a_warning(aws: SageMakerSession, script: Script) -> None:
    script.answers = [described("Completed")]
    script.always["DeleteObjects"] = error("AccessDenied", "no", 403)
    with pytest.warns(RuntimeWarning, match="could not be deleted"):
        assert train(aws).trainingJobName == "job"


def test_listeners_hear_of_the_request_and_the_end(aws: SageMakerSession, script: Script) -> None:
    heard: list[JobEvent] = []

    class Hears(Listener):
        def onJobStarted(self, event: JobEvent) -> None:
            heard.append(event)

        def onJobEnded(self, event: JobEvent) -> None:
            heard.append(event)

    script.answers = [described("Failed", FailureReason="no")]
    with pytest.raises(JobFailedError):
        train(aws, listeners=(Hears(),))
    started, ended = heard
    assert started.request["HyperParameters"] == {"k": "2"}
    assert (started.stage, started.params) == ("KMeans_1", {"k": 2})
    assert isinstance(ended.error, JobFailedError)
    assert ended.status == "Failed"


def test_hosting_takes_the_artifact_that_the_service_reports(aws: SageMakerSession, script: Script) -> None:
    moved = {"S3ModelArtifacts": "s3://elsewhere/model.tar.gz"}
    script.answers = [described("Completed", ModelArtifacts=moved), {"EndpointStatus": "InService"}]
    script.always |= {"CreateModel": {}, "CreateEndpointConfig": {}, "CreateEndpoint": {}}
    record = act.host(train(aws), new_plan(aws))
    sent = next(json.loads(s.body) for s in script.sent if s.operation == "CreateModel")
    assert sent["PrimaryContainer"] == {"Image": IMAGE, "ModelDataUrl": "s3://elsewhere/model.tar.gz"}
    assert record.endpointName == "job"
    kinds = [r.kind for r in record.created]
    assert kinds == ["TrainingJob", "S3Object", "Model", "EndpointConfig", "Endpoint"]


def test_without_a_policy_to_host_nothing_is_hosted(aws: SageMakerSession, script: Script) -> None:
    script.answers = [described("Completed")]
    record = train(aws)
    assert act.host(record, new_plan(aws, hosted=False)).endpointName is None
    assert "CreateModel" not in script.operations


def test_hosting_that_fails_names_job_and_artifact(aws: SageMakerSession, script: Script) -> None:
    script.answers = [described("Completed")]
    script.always |= {
        "CreateModel": {},
        "CreateEndpointConfig": error("ResourceLimitExceeded", "no"),
        "DeleteModel": {},
    }
    with pytest.raises(ServiceError) as caught:
        act.host(train(aws), new_plan(aws))
    assert [r.kind for r in caught.value.createdResources] == ["TrainingJob", "S3Object"]
    assert "s3://bucket/sagespark/job/output/model.tar.gz" in str(caught.value)


def test_a_channel_that_is_refused_takes_the_others_along(
    aws: SageMakerSession, script: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stage(frame: Any, request: Any) -> StagingReport:
        if request.channel == "test":
            raise DataError("no")
        assert str(request.prefix) == "s3://bucket/sagespark/job/input/train/"
        return report()

    monkeypatch.setattr(act, "stage", stage)
    two = new_plan(aws)
    two = replace(two, channels=(*two.channels, replace(two.channels[0], name="test")))
    with pytest.raises(DataError):
        act.stage_all(aws, two, {"train": None, "test": None})  # type: ignore[dict-item]  # the fake stage takes any
    assert deleted_shards(script)
    assert "CreateTrainingJob" not in script.operations


def test_channels_that_contradict_each_other_are_discarded(aws: SageMakerSession, script: Script) -> None:
    two = new_plan(aws)
    two = replace(two, channels=(*two.channels, replace(two.channels[0], name="test")))
    with pytest.raises(ValidationError, match="same number of features"):
        act.resolve(aws, two, {"train": report(), "test": report(3)})
    assert deleted_shards(script)


def test_errors_of_every_kind_keep_their_type() -> None:
    assert issubclass(JobFailedError, SageSparkError)
    failure = SageSparkError("x", createdResources=[JOB])
    act._tell(failure, (JOB, Resource("S3Object", "m")))
    assert failure.createdResources == (JOB, Resource("S3Object", "m"))
