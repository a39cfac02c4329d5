from __future__ import annotations

import pickle
import random

import pytest

from sagespark.aws.runtime import invoke
from sagespark.aws.session import SageMakerSession
from sagespark.core.errors import InvocationError
from support.clocks import FakeClock
from support.scripted import REFUSED, RESET, TIMED_OUT, Answer, Script, Step, error, ok

GOOD = ok(b"1,2\n", Content_Type="text/csv", x_Amzn_Invoked_Production_Variant="AllTraffic")


def model_error(original: int, text: str = "boom") -> Answer:
    return error(
        "ModelError",
        f'Received server error ({original}) from primary with message "{text}".',
        424,
        OriginalStatusCode=original,
        OriginalMessage=text,
        LogStreamArn="arn:aws:logs:us-east-1:123456789012:log-group:/aws/sagemaker/Endpoints/e",
    )


RETRIED = {
    "throttling": error("ThrottlingException", "Rate exceeded"),
    "429 not ready": error("ModelNotReadyException", status=429),
    "500": error("InternalFailure", status=500),
    "503": error("ServiceUnavailable", status=503),
    "530": error("InternalDependencyException", status=530),
    "refused": REFUSED,
    "reset": RESET,
    "timed out": TIMED_OUT,
    "container 500": model_error(500),
    "container 503": model_error(503),
    "container silent": model_error(
        0, "Your invocation timed out while waiting for a response from container primary."
    ),
}
RAISED = {
    "container 400": (model_error(400, "bad row"), 400, "bad row"),
    "container 415": (model_error(415), 415, "415"),
    "container 429": (model_error(429), 429, "429"),
    "no endpoint": (error("ValidationError", "Endpoint e of account 1 not found."), 400, "deploy"),
    "too large": (error("ValidationError", "Request body too large", 413), 413, "maxPayloadInMB"),
    "no access": (error("AccessDeniedException", "no", 403), 403, "AccessDenied"),
}


def ask(session: SageMakerSession, body: bytes | bytearray | memoryview = b"1,2", **options: int) -> bytes:
    return invoke(session, "e", body, "text/csv", "text/csv", rng=random.Random(1), **options).body


def test_a_request_and_its_answer(session: SageMakerSession, script: Script) -> None:
    script.answers = [GOOD]
    result = invoke(session, "e", memoryview(b"1,2"), "text/csv", "application/json", variant="Blue")
    assert (result.body, result.contentType, result.variant) == (b"1,2\n", "text/csv", "AllTraffic")
    (sent,) = script.sent
    assert (sent.method, sent.path, sent.body) == ("POST", "/endpoints/e/invocations", b"1,2")
    assert sent.headers["Accept"] == "application/json"
    assert sent.headers["X-Amzn-SageMaker-Target-Variant"] == "Blue"


@pytest.mark.parametrize("body", [b"x", bytearray(b"x"), memoryview(b"x")])
def test_any_bytes_can_be_sent(session: SageMakerSession, script: Script, body: bytes | bytearray | memoryview) -> None:
    script.answers = [GOOD]
    ask(session, body)
    assert script.sent[0].body == b"x"


@pytest.mark.parametrize("step", RETRIED.values(), ids=RETRIED)
def test_what_may_pass_is_tried_again(session: SageMakerSession, script: Script, clock: FakeClock, step: Step) -> None:
    script.answers = [step, step, GOOD]
    assert ask(session) == b"1,2\n"
    assert len(clock.sleeps) == 2


@pytest.mark.parametrize(("step", "status", "text"), RAISED.values(), ids=RAISED)
def test_what_is_the_requests_fault_is_raised_at_once(
    session: SageMakerSession, script: Script, clock: FakeClock, step: Step, status: int, text: str
) -> None:
    script.answers = [step]
    with pytest.raises(InvocationError, match=text) as caught:
        ask(session)
    assert (caught.value.endpointName, caught.value.status) == ("e", status)
    assert "'e'" in str(caught.value).splitlines()[0]
    assert clock.sleeps == []
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


@pytest.mark.parametrize(
    ("step", "way"), [(TIMED_OUT, "invocationTimeoutInSeconds"), (model_error(500), "Its log: arn")]
)
def test_tries_are_counted_and_the_last_error_told(
    session: SageMakerSession, script: Script, clock: FakeClock, step: Step, way: str
) -> None:
    script.always["InvokeEndpoint"] = step
    with pytest.raises(InvocationError, match="after 4 tries") as caught:
        ask(session, maxRetries=3)
    assert way in str(caught.value)
    assert len(script.sent) == 4


def test_pauses_grow_and_are_jittered(session: SageMakerSession, script: Script, clock: FakeClock) -> None:
    script.answers = [RESET] * 9 + [GOOD]
    ask(session, maxRetries=9)
    for number, pause in enumerate(clock.sleeps):
        middle = min(0.1 * 2**number, 10.0)
        assert 0.8 * middle <= pause <= 1.2 * middle


def test_an_answer_that_is_cut_off_is_asked_for_again(session: SageMakerSession, script: Script) -> None:
    script.answers = [Answer(200, b"1,", {"Content-Length": "4"}), GOOD]
    assert ask(session) == b"1,2\n"


def test_no_retry_is_one_try(session: SageMakerSession, script: Script, clock: FakeClock) -> None:
    script.answers = [RESET]
    with pytest.raises(InvocationError) as caught:
        ask(session, maxRetries=0)
    assert "tries" not in str(caught.value)
    assert clock.sleeps == []
