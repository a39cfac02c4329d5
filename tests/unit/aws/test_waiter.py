from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError

from sagespark.aws import waiter
from sagespark.aws.errors import translate
from sagespark.aws.waiter import ENDPOINT, ENDPOINT_DELETED, TRAINING_JOB, Subject, Waiter, WaitSpec, no_answer_timeout
from sagespark.core.errors import ServiceError, ValidationError, WaitTimeoutError
from support.clocks import FakeClock
from support.scripted import REFUSED, RESET, TIMED_OUT

SUBJECT = Subject("km-1", "http://127.0.0.1:4599", "KMeansModel.fromTrainingJob('km-1', wait=True)")


def refused(code: str, status: int = 400, message: str = "") -> Exception:
    response = {"Error": {"Code": code, "Message": message}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return translate(ClientError(response, "DescribeTrainingJob"), "DescribeTrainingJob")


def silent(error: Exception) -> Exception:
    return translate(error, "DescribeTrainingJob")


def job(status: str, secondary: str = "") -> dict[str, Any]:
    return {"TrainingJobStatus": status, "SecondaryStatus": secondary}


def answering(*steps: Any) -> Callable[[], dict[str, Any]]:
    """Return a describe that gives the steps in turn, the last one for good."""
    left = list(steps)

    def describe() -> dict[str, Any]:
        step = left.pop(0) if len(left) > 1 else left[0]
        if isinstance(step, Exception):
            raise step
        return step

    return describe


IN_PROGRESS, COMPLETED = job("InProgress", "Training"), job("Completed", "Completed")
GONE = refused("ValidationException", message='Could not find endpoint "arn:x".')

# What AWS gives in turn, and the status that the waiting ends with.
SEQUENCES = {
    "ends at once": ((COMPLETED,), "Completed"),
    "ends after a while": ((IN_PROGRESS, IN_PROGRESS, COMPLETED), "Completed"),
    "fails": ((IN_PROGRESS, job("Failed", "Failed")), "Failed"),
    "stops": ((IN_PROGRESS, job("Stopping", "Stopping"), job("Stopped", "MaxRuntimeExceeded")), "Stopped"),
    "throttled by HTTP 400": ((refused("ThrottlingException"), COMPLETED), "Completed"),
    "throttled by HTTP 429": ((refused("TooManyRequests", 429), COMPLETED), "Completed"),
    "HTTP 500": ((refused("InternalFailure", 500), refused("InternalFailure", 500), COMPLETED), "Completed"),
    "HTTP 503": ((refused("ServiceUnavailable", 503), COMPLETED), "Completed"),
    "refused, reset, timed out": ((silent(REFUSED), silent(RESET), silent(TIMED_OUT), COMPLETED), "Completed"),
    "an answer of something else": (({"body": "<html>"}, COMPLETED), "Completed"),
    "a status of a newer service": ((job("Cooking"), COMPLETED), "Completed"),
}


@pytest.mark.parametrize(("steps", "status"), SEQUENCES.values(), ids=SEQUENCES)
def test_sequences(clock: FakeClock, steps: tuple[Any, ...], status: str) -> None:
    seen: list[dict[str, Any]] = []
    last = Waiter(clock).wait(answering(*steps), TRAINING_JOB, SUBJECT, seen.append)
    assert last["TrainingJobStatus"] == status
    assert seen == [step for step in steps if isinstance(step, dict) and "TrainingJobStatus" in step]
    assert len(clock.sleeps) == len(steps) - 1


def test_intervals_start_at_a_fifth_of_a_second_and_grow_to_five(clock: FakeClock) -> None:
    Waiter(clock, random.Random(1)).wait(answering(*[IN_PROGRESS] * 130, COMPLETED), TRAINING_JOB, SUBJECT)
    assert 0.16 <= clock.sleeps[0] <= 0.24
    for number, pause in enumerate(clock.sleeps):
        middle = min(0.2 * 1.03**number, 5.0)
        assert 0.8 * middle <= pause <= 1.2 * middle
    assert len(set(clock.sleeps[-10:])) == 10, "jittered"


def test_throttling_slows_down_more_than_a_job_does(clock: FakeClock) -> None:
    Waiter(clock).wait(answering(*[refused("ThrottlingException")] * 20, COMPLETED), TRAINING_JOB, SUBJECT)
    assert 24 <= clock.sleeps[-1] <= 36


def test_throttling_for_hours_is_an_answer(clock: FakeClock) -> None:
    Waiter(clock).wait(answering(*[refused("ThrottlingException")] * 500, COMPLETED), TRAINING_JOB, SUBJECT)
    assert clock.elapsed > 3600


@pytest.mark.parametrize("error", [silent(REFUSED), silent(RESET), silent(TIMED_OUT)])
def test_no_answer_ends_the_waiting_after_two_minutes(clock: FakeClock, error: Exception) -> None:
    with pytest.raises(WaitTimeoutError) as caught:
        Waiter(clock).wait(answering(IN_PROGRESS, error), TRAINING_JOB, SUBJECT)
    assert 120 <= clock.elapsed < 130
    text = str(caught.value)
    assert "km-1" in text.splitlines()[0]
    assert "http://127.0.0.1:4599" in text.splitlines()[0]
    assert "KMeansModel.fromTrainingJob('km-1', wait=True)" in text


def test_an_answer_in_between_starts_the_patience_anew(clock: FakeClock) -> None:
    steps = ([silent(RESET)] * 20 + [IN_PROGRESS]) * 8
    Waiter(clock).wait(answering(*steps, COMPLETED), TRAINING_JOB, SUBJECT)
    assert clock.elapsed > 300


def test_the_patience_is_counted_from_the_last_answer_not_from_the_last_try(clock: FakeClock) -> None:
    def describe() -> dict[str, Any]:
        # A server that accepts and says nothing: every try takes its whole timeout.
        clock.advance(30)
        raise silent(TIMED_OUT)

    with pytest.raises(WaitTimeoutError):
        Waiter(clock).wait(describe, TRAINING_JOB, SUBJECT)
    assert clock.elapsed < 160


def test_timeout_ends_the_waiting_on_time(clock: FakeClock) -> None:
    with pytest.raises(WaitTimeoutError, match=r"still InProgress after 60 s \(timeout=60\)"):
        Waiter(clock).wait(answering(IN_PROGRESS), TRAINING_JOB, SUBJECT, timeout=60)
    assert clock.elapsed == pytest.approx(60)


def test_a_refusal_is_raised_and_says_that_the_job_goes_on(clock: FakeClock) -> None:
    with pytest.raises(ServiceError, match="AccessDenied") as caught:
        Waiter(clock).wait(answering(IN_PROGRESS, refused("AccessDeniedException", 403)), TRAINING_JOB, SUBJECT)
    assert "fromTrainingJob" in "".join(caught.value.__notes__)
    assert len(clock.sleeps) == 1


def test_an_error_of_the_callback_is_not_taken_for_one_of_the_service(clock: FakeClock) -> None:
    def fail(description: dict[str, Any]) -> None:
        raise silent(RESET)

    with pytest.raises(ServiceError):
        Waiter(clock).wait(answering(IN_PROGRESS), TRAINING_JOB, SUBJECT, fail)
    assert clock.sleeps == []


@pytest.mark.parametrize(
    ("steps", "last"),
    [
        ((GONE,), {}),
        (({"EndpointStatus": "Deleting"}, silent(RESET), GONE), {"EndpointStatus": "Deleting"}),
        (({"EndpointStatus": "Failed"}, GONE), {"EndpointStatus": "Failed"}),
    ],
)
def test_waiting_for_the_end_of_an_endpoint(clock: FakeClock, steps: tuple[Any, ...], last: dict[str, Any]) -> None:
    assert Waiter(clock).wait(answering(*steps), ENDPOINT_DELETED, SUBJECT) == last


def test_an_endpoint_passes_through_its_states(clock: FakeClock) -> None:
    states = [{"EndpointStatus": s} for s in ("Creating", "Updating", "RollingBack", "SystemUpdating", "InService")]
    assert Waiter(clock).wait(answering(*states), ENDPOINT, SUBJECT) == states[-1]


@pytest.mark.parametrize("spec", [s for s in vars(waiter).values() if isinstance(s, WaitSpec)], ids=lambda s: s.noun)
def test_a_row_agrees_with_aws_model(spec: WaitSpec) -> None:
    """Every status in a row is one of AWS's, in the field that the description has."""
    import botocore.session

    model = botocore.session.get_session().get_service_model("sagemaker")
    operation = next(
        name
        for name in model.operation_names
        if name.startswith("Describe") and spec.statusField == f"{name.removeprefix('Describe')}Status"
    )
    members = model.operation_model(operation).output_shape.members
    known = set(members[spec.statusField].enum)
    assert spec.succeeded | spec.failed | spec.stopped <= known
    assert spec.reasonField in members


@pytest.mark.parametrize(
    ("given", "environ", "expected"),
    [
        (None, {}, 120),
        (None, {"SAGESPARK_NO_ANSWER_TIMEOUT": "7.5"}, 7.5),
        (3, {"SAGESPARK_NO_ANSWER_TIMEOUT": "9"}, 3),
    ],
)
def test_the_patience_can_be_set(given: float | None, environ: dict[str, str], expected: float) -> None:
    assert no_answer_timeout(given, environ) == expected


def test_the_patience_from_spark_conf_comes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sagespark.aws.lookup.spark_conf", {"noAnswerTimeout": "11"}.get)
    assert no_answer_timeout(None, {"SAGESPARK_NO_ANSWER_TIMEOUT": "9"}) == 11


@pytest.mark.parametrize("text", ["0", "-1", "soon", "nan"])
def test_a_patience_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ValidationError, match="above 0"):
        no_answer_timeout(None, {"SAGESPARK_NO_ANSWER_TIMEOUT": text})
