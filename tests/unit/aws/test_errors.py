from __future__ import annotations

import pickle

import pytest
from botocore.exceptions import ClientError, SSLError

from sagespark.aws.errors import call, is_conflict, is_missing, is_throttling, is_transient, no_answer
from sagespark.aws.session import SageMakerSession
from sagespark.core.errors import ResourceNotFoundError, ServiceError, SessionError, ValidationError
from support.scripted import REFUSED, RESET, TIMED_OUT, Answer, Script, Step, error, s3_error


def failed(session: SageMakerSession, script: Script, step: Step, operation: str = "DescribeEndpoint") -> Exception:
    script.answers = [step]
    client = session.client("sagemaker", attempts=1)
    with pytest.raises((ServiceError, SessionError, ValidationError)) as caught:
        call(client, operation, EndpointName="e")
    return caught.value


# What comes over the wire: no answer, transient, throttling, missing, conflict.
FACTS = {
    "throttling": (error("ThrottlingException", "Rate exceeded"), "TH"),
    "limit": (error("RequestLimitExceeded", status=503), "TH"),
    "429": (error("SomethingNew", status=429), "TH"),
    "500": (error("InternalFailure", status=500), "T"),
    "503 without a body": (Answer(503, b""), "T"),
    "502 of a proxy": (Answer(502, b"<html>Bad Gateway</html>"), "T"),
    "refused": (REFUSED, "NT"),
    "reset": (RESET, "NT"),
    "timed out": (TIMED_OUT, "NT"),
    "no such endpoint": (error("ValidationException", 'Could not find endpoint "arn:aws:x".'), "M"),
    "no such job": (error("ValidationException", "Requested resource not found."), "M"),
    "resource not found": (error("ResourceNotFound", "x"), "M"),
    "another validation": (error("ValidationException", "1 validation error detected"), ""),
    "exists already": (error("ValidationException", 'Cannot create already existing endpoint "a".'), "C"),
    "in use": (error("ResourceInUse", "names must be unique"), "C"),
    "no access": (error("AccessDeniedException", "not authorized", 403), ""),
    "no certificate": (SSLError(endpoint_url="https://x", error="bad"), ""),
}


@pytest.mark.parametrize(("step", "facts"), FACTS.values(), ids=FACTS)
def test_facts(session: SageMakerSession, script: Script, step: Step, facts: str) -> None:
    told = failed(session, script, step)
    found = {"N": no_answer, "T": is_transient, "H": is_throttling, "M": is_missing, "C": is_conflict}
    assert "".join(sorted(letter for letter, ask in found.items() if ask(told))) == "".join(sorted(facts))
    # The same of botocore's own error, and after a pickle.
    again = pickle.loads(pickle.dumps(told))
    assert is_transient(again) == is_transient(told)
    assert is_missing(again) == is_missing(told)
    cause = told.__cause__
    assert cause is not None
    assert is_transient(cause) == is_transient(told)


def test_an_error_names_operation_code_text_and_way_out(session: SageMakerSession, script: Script) -> None:
    told = failed(session, script, error("AccessDeniedException", "User: x is not authorized", 403))
    assert isinstance(told, ServiceError)
    assert (told.operation, told.code, told.status) == ("DescribeEndpoint", "AccessDeniedException", 403)
    assert str(told).startswith("DescribeEndpoint: AccessDeniedException: User: x is not authorized")
    assert "sagemaker:DescribeEndpoint" in str(told)


def test_missing_has_a_class_of_its_own(session: SageMakerSession, script: Script) -> None:
    told = failed(session, script, error("ValidationException", "Could not find endpoint."))
    assert isinstance(told, ResourceNotFoundError)


def test_s3s_not_found_without_a_body_is_missing(session: SageMakerSession, script: Script) -> None:
    script.answers = [Answer(404, b""), s3_error("NoSuchKey", "gone", 404), s3_error("AccessDenied", "no", 403)]
    client = session.client("s3", attempts=1)
    for operation in ("HeadObject", "GetObject"):
        with pytest.raises(ResourceNotFoundError):
            call(client, operation, Bucket="bucket", Key="k")
    with pytest.raises(ServiceError, match=r"AccessDenied.*s3:GetObject"):
        call(client, "GetObject", Bucket="bucket", Key="k")


def test_a_request_that_botocore_refuses_is_a_validation_error(session: SageMakerSession, script: Script) -> None:
    with pytest.raises(ValidationError, match=r"DescribeEndpoint: .*EndpointName"):
        call(session.client("sagemaker"), "DescribeEndpoint", EndpointName=3)
    assert script.sent == []


def test_botocore_tries_again_before_it_gives_up(session: SageMakerSession, script: Script) -> None:
    script.answers = [error("ThrottlingException"), RESET, {"EndpointName": "e"}]
    assert call(session.client("sagemaker"), "DescribeEndpoint", EndpointName="e")["EndpointName"] == "e"
    assert len(script.sent) == 3


def test_an_answer_that_cannot_be_read_is_none(session: SageMakerSession, script: Script) -> None:
    script.answers = [Answer(200, b"<html><p>Welcome to the hotel's network")]
    with pytest.raises(ServiceError) as caught:
        call(session.client("sts", attempts=1), "GetCallerIdentity")
    assert no_answer(caught.value)


def test_any_other_exception_is_none_of_these() -> None:
    for ask in (no_answer, is_transient, is_throttling, is_missing, is_conflict):
        assert not ask(ValueError("not found"))
    assert not is_missing(ClientError({}, "DescribeEndpoint"))
