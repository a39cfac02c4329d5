from __future__ import annotations

import pickle
from dataclasses import replace
from typing import Any

import pytest

from sagespark.aws import interrupt
from sagespark.aws.endpoint import Endpoint
from sagespark.aws.session import SageMakerSession
from sagespark.aws.training_job import TrainingJob, artifact, metrics
from sagespark.core.errors import (
    EndpointFailedError,
    JobFailedError,
    ResourceNotFoundError,
    ServiceError,
    WaitTimeoutError,
)
from sagespark.core.s3uri import S3Uri
from support.clocks import FakeClock
from support.scripted import RESET, Answer, Script, error, ok

ARTIFACT = {"ModelArtifacts": {"S3ModelArtifacts": "s3://bucket/out/model.tar.gz"}}
RUNNING = {"TrainingJobStatus": "InProgress", "SecondaryStatus": "Training"}
MISSING = error("ValidationException", "Requested resource not found.")
STREAM = "km-1/algo-1-1700000000"
LOG = {
    "DescribeLogStreams": {"logStreams": [{"logStreamName": STREAM}]},
    "GetLogEvents": {
        "events": [{"timestamp": 1, "message": "loading"}, {"timestamp": 2, "message": "ValueError: k too large\n"}],
        "nextForwardToken": "f/1",
    },
}


def ended(status: str, secondary: str = "", **more: Any) -> dict[str, Any]:
    return {"TrainingJobStatus": status, "SecondaryStatus": secondary or status, **more}


@pytest.fixture
def job(session: SageMakerSession) -> TrainingJob:
    return TrainingJob(session, "km-1")


def test_a_job_is_waited_for(job: TrainingJob, script: Script, clock: FakeClock) -> None:
    script.answers = [RUNNING, RESET, error("ThrottlingException"), RUNNING, ended("Completed", **ARTIFACT)]
    seen: list[str] = []
    last = job.wait(lambda description: seen.append(description["TrainingJobStatus"]))
    assert seen == ["InProgress", "InProgress", "Completed"]
    assert artifact(last) == S3Uri("bucket", "out/model.tar.gz")
    assert script.operations == ["DescribeTrainingJob"] * 5
    assert len(clock.sleeps) == 4


def test_a_failed_job_tells_reason_and_log(job: TrainingJob, script: Script) -> None:
    script.always = LOG
    script.answers = [ended("Failed", FailureReason="AlgorithmError: k too large")]
    with pytest.raises(JobFailedError) as caught:
        job.wait()
    first, *rest = str(caught.value).splitlines()
    assert first == "training job 'km-1' ended Failed: AlgorithmError: k too large"
    assert "  | ValueError: k too large" in rest
    assert (caught.value.jobName, caught.value.status) == ("km-1", "Failed")
    assert caught.value.failureReason == "AlgorithmError: k too large"


def test_a_log_that_cannot_be_read_does_not_hide_the_failure(job: TrainingJob, script: Script) -> None:
    script.always = {"DescribeLogStreams": error("AccessDeniedException", "not authorized", 403)}
    script.answers = [ended("Failed", FailureReason="AlgorithmError: x")]
    with pytest.raises(JobFailedError, match="AlgorithmError: x") as caught:
        job.wait()
    assert "could not be read: DescribeLogStreams: AccessDeniedException" in str(caught.value)


def test_a_stopped_job_with_an_artifact_is_a_result(job: TrainingJob, script: Script) -> None:
    script.answers = [ended("Stopped", "MaxRuntimeExceeded", **ARTIFACT), ok(Content_Length="3")]
    assert job.wait()["SecondaryStatus"] == "MaxRuntimeExceeded"


def test_a_stopped_job_without_one_is_none(job: TrainingJob, script: Script) -> None:
    script.always = LOG
    script.answers = [ended("Stopped", "MaxRuntimeExceeded", **ARTIFACT), Answer(404, b"")]
    with pytest.raises(JobFailedError, match=r"ended Stopped \(MaxRuntimeExceeded\)"):
        job.wait()


def test_no_answer_names_how_to_attach(job: TrainingJob, script: Script) -> None:
    script.always = {"DescribeTrainingJob": RESET}
    with pytest.raises(WaitTimeoutError, match=r"SageMakerModel\.fromTrainingJob\('km-1', wait=True\)"):
        job.wait(noAnswerTimeout=10)
    with pytest.raises(WaitTimeoutError, match=r"KMeansModel\.fromTrainingJob\('km-1', wait=True\)"):
        job.wait(noAnswerTimeout=10, attach="KMeansModel.fromTrainingJob('km-1', wait=True)")


# -- interrupts -------------------------------------------------------------------------------------------------------


def interrupted(clock: FakeClock, *sleeps: int) -> None:
    """Raise KeyboardInterrupt in the sleeps with these numbers, from 1."""

    def on_sleep() -> None:
        if len(clock.sleeps) in sleeps:
            raise KeyboardInterrupt

    clock.on_sleep = on_sleep


def test_nobody_to_ask_says_how_to_stop_and_attach(
    job: TrainingJob, script: Script, clock: FakeClock, capsys: pytest.CaptureFixture[str]
) -> None:
    script.always = {"DescribeTrainingJob": RUNNING}
    interrupted(clock, 3)
    with pytest.raises(KeyboardInterrupt) as caught:
        job.wait()
    told = capsys.readouterr().err
    for part in (
        "km-1",
        "aws sagemaker stop-training-job --training-job-name km-1",
        "fromTrainingJob('km-1', wait=True)",
    ):
        assert part in told
    assert told.strip() == "".join(caught.value.__notes__)
    assert "StopTrainingJob" not in script.operations


def test_stop_stops_and_waits_for_the_end(
    job: TrainingJob, script: Script, clock: FakeClock, capsys: pytest.CaptureFixture[str]
) -> None:
    interrupted(clock, 1)
    script.answers = [RUNNING, ok(), ended("Stopping"), ended("Stopped")]
    with pytest.raises(KeyboardInterrupt):
        job.wait(onInterrupt=lambda subject: "stop" if subject.name == "km-1" else "leave")
    assert script.operations == ["DescribeTrainingJob", "StopTrainingJob"] + ["DescribeTrainingJob"] * 2
    assert "ended Stopped" in capsys.readouterr().err


def test_a_second_interrupt_ends_the_waiting_for_the_stop(
    job: TrainingJob, script: Script, clock: FakeClock, capsys: pytest.CaptureFixture[str]
) -> None:
    interrupted(clock, 1, 2)
    script.answers = [RUNNING, ok(), ended("Stopping")]
    with pytest.raises(KeyboardInterrupt):
        job.wait(onInterrupt=lambda subject: "stop")
    assert "asked to stop" in capsys.readouterr().err


def test_a_stop_that_fails_is_told(
    job: TrainingJob, script: Script, clock: FakeClock, capsys: pytest.CaptureFixture[str]
) -> None:
    interrupted(clock, 1)
    script.answers = [RUNNING, error("AccessDeniedException", "no", 403), RUNNING]
    with pytest.raises(KeyboardInterrupt):
        job.wait(onInterrupt=lambda subject: "stop")
    told = capsys.readouterr().err
    assert "could not be stopped: StopTrainingJob: AccessDenied" in told
    assert "to go on waiting" in told


def test_wait_goes_on(job: TrainingJob, script: Script, clock: FakeClock) -> None:
    interrupted(clock, 1)
    script.answers = [RUNNING, RUNNING, ended("Completed")]
    assert job.wait(onInterrupt=lambda subject: "wait")["TrainingJobStatus"] == "Completed"


@pytest.mark.parametrize(
    ("typed", "choice"), [("s", "stop"), ("Yes", "stop"), ("w", "wait"), ("l", "leave"), ("", "leave")]
)
def test_somebody_is_asked(monkeypatch: pytest.MonkeyPatch, typed: str, choice: str) -> None:
    asked: list[str] = []
    monkeypatch.setattr(interrupt, "interactive", lambda: True)
    monkeypatch.setattr("builtins.input", lambda prompt: asked.append(prompt) or typed)
    assert interrupt.ask(interrupt.Subject("km-1")) == choice
    assert "km-1" in asked[0]


@pytest.mark.parametrize("problem", [KeyboardInterrupt, EOFError, RuntimeError])
def test_no_answer_to_the_question_leaves_the_job(
    monkeypatch: pytest.MonkeyPatch, problem: type[BaseException]
) -> None:
    def refuse(prompt: str) -> str:
        raise problem

    monkeypatch.setattr(interrupt, "interactive", lambda: True)
    monkeypatch.setattr("builtins.input", refuse)
    assert interrupt.ask(interrupt.Subject("km-1")) == "leave"


def test_a_process_without_a_terminal_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", None)
    assert not interrupt.interactive()


# -- verbs ------------------------------------------------------------------------------------------------------------


def test_create_sends_the_request_with_tags(session: SageMakerSession, script: Script) -> None:
    script.answers = [{"EndpointArn": "arn:x"}]
    given = [{"Key": "sagespark:run", "Value": "uid-1"}]
    made = Endpoint.create(session, {"EndpointName": "e", "EndpointConfigName": "c", "Tags": given})
    assert made == Endpoint(session, "e")
    tags = {tag["Key"]: tag["Value"] for tag in script.sent[0].json["Tags"]}
    assert tags["sagespark:run"] == "uid-1"
    assert tags["team"] == "blue"
    assert set(tags) == {"sagespark:run", "team", "sagespark", "sagespark:creator"}


def test_an_answer_lost_on_the_way_back_does_not_fail_the_create(session: SageMakerSession, script: Script) -> None:
    sent: dict[str, Any] = {}

    def first(request: Any) -> Any:
        sent.update(request.json)
        return RESET

    script.answers = [
        first,
        error("ValidationException", 'Cannot create already existing endpoint "arn:x".'),
        {"EndpointArn": "arn:x"},
        lambda request: {"Tags": sent["Tags"]},
    ]
    assert Endpoint.create(session, {"EndpointName": "e", "EndpointConfigName": "c"}).name == "e"
    assert script.operations == ["CreateEndpoint", "CreateEndpoint", "DescribeEndpoint", "ListTags"]


def test_a_name_that_is_taken_is_an_error(session: SageMakerSession, script: Script) -> None:
    script.answers = [error("ValidationException", 'Cannot create already existing endpoint "arn:x".')]
    with pytest.raises(ServiceError, match="already existing"):
        Endpoint.create(session, {"EndpointName": "e", "EndpointConfigName": "c"})
    script.answers = [
        RESET,
        error("ValidationException", 'Cannot create already existing endpoint "arn:x".'),
        {"EndpointArn": "arn:x"},
        {"Tags": [{"Key": "sagespark", "Value": "of somebody else"}]},
    ]
    with pytest.raises(ServiceError, match="already existing"):
        Endpoint.create(session, {"EndpointName": "e", "EndpointConfigName": "c"})


def test_exists_tells_absence_from_no_access(job: TrainingJob, script: Script) -> None:
    script.answers = [RUNNING, MISSING, error("AccessDeniedException", "no", 403)]
    assert job.exists()
    assert not job.exists()
    with pytest.raises(ServiceError, match="AccessDenied"):
        job.exists()


def test_delete_of_what_is_gone(session: SageMakerSession, script: Script) -> None:
    script.always = {"DeleteEndpoint": error("ValidationException", 'Could not find endpoint "arn:x".')}
    Endpoint(session, "e").delete()
    with pytest.raises(ResourceNotFoundError):
        Endpoint(session, "e").delete(missing_ok=False)


def test_stop_of_what_has_ended(job: TrainingJob, script: Script) -> None:
    refusal = error("ValidationException", "The request was rejected because the training job is in status Completed.")
    script.answers = [refusal, ended("Completed")]
    job.stop()
    script.answers = [refusal]
    with pytest.raises(ServiceError, match="rejected"):
        job.stop(missing_ok=False)
    script.answers = [error("AccessDeniedException", "no", 403), RUNNING]
    with pytest.raises(ServiceError, match="AccessDenied"):
        job.stop()


def test_listing_goes_through_all_pages(session: SageMakerSession, script: Script) -> None:
    script.answers = [
        {"TrainingJobSummaries": [{"TrainingJobName": "a"}, {"TrainingJobName": "b"}], "NextToken": "t"},
        {"TrainingJobSummaries": [{"TrainingJobName": "c"}]},
    ]
    assert [s["TrainingJobName"] for s in TrainingJob.list(session, NameContains="x")] == ["a", "b", "c"]
    assert script.sent[1].json == {"MaxResults": 100, "NameContains": "x", "NextToken": "t"}


def test_handles_are_values(job: TrainingJob) -> None:
    plain = TrainingJob(replace(job.session, clock=None, names=None), "km-1")
    assert pickle.loads(pickle.dumps(plain)) == plain
    assert {plain: 1}
    assert str(plain) == "TrainingJob km-1"
    assert plain.resource.kind == "TrainingJob"


def test_the_last_value_of_each_metric() -> None:
    assert metrics({"FinalMetricDataList": [{"MetricName": "test:msd", "Value": 1.5}]}) == {"test:msd": 1.5}
    assert metrics({}) == {}
    assert artifact({}) is None


# -- endpoints --------------------------------------------------------------------------------------------------------


def test_an_endpoint_that_failed_is_still_there(session: SageMakerSession, script: Script) -> None:
    script.always = {"DescribeLogStreams": error("ResourceNotFoundException", "no group")}
    script.answers = [{"EndpointStatus": "Creating"}, {"EndpointStatus": "Failed", "FailureReason": "no ping"}]
    with pytest.raises(EndpointFailedError, match="endpoint 'e' ended Failed: no ping") as caught:
        Endpoint(session, "e").wait()
    assert [str(r) for r in caught.value.createdResources] == ["Endpoint e"]
    assert "billed" in str(caught.value)


def test_an_endpoint_is_waited_for_until_it_is_gone(session: SageMakerSession, script: Script) -> None:
    script.answers = [{"EndpointStatus": "Deleting"}, error("ValidationException", "Could not find endpoint")]
    Endpoint(session, "e").wait_deleted()


IN_PROGRESS = error("ValidationException", 'Cannot update in-progress endpoint "arn:x".')


@pytest.mark.parametrize("end", ["InService", "Failed"])
def test_an_endpoint_that_is_being_made_is_deleted_once_it_is(
    session: SageMakerSession, script: Script, end: str
) -> None:
    script.always = {"DescribeLogStreams": {"logStreams": []}}
    script.answers = [
        IN_PROGRESS,
        {"EndpointStatus": "Creating"},
        {"EndpointStatus": "Creating"},
        {"EndpointStatus": end},
        ok(),
    ]
    Endpoint(session, "e").delete_settled()
    assert script.operations.count("DeleteEndpoint") == 2
    assert script.answers == []


def test_another_refusal_to_delete_is_raised(session: SageMakerSession, script: Script) -> None:
    script.answers = [error("AccessDeniedException", "no", 403), {"EndpointStatus": "InService"}]
    with pytest.raises(ServiceError, match="AccessDenied"):
        Endpoint(session, "e").delete_settled()


def test_an_update_names_the_new_config(session: SageMakerSession, script: Script) -> None:
    script.answers = [{"EndpointArn": "arn:x"}]
    Endpoint(session, "e").update("c-2", RetainAllVariantProperties=True)
    assert script.sent[0].json == {
        "EndpointName": "e",
        "EndpointConfigName": "c-2",
        "RetainAllVariantProperties": True,
    }
