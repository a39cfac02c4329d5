"""InvokeEndpoint, tried again where that can help.

========================================================  =========================================================
what happened                                             what follows
========================================================  =========================================================
throttling, 429 of the service, HTTP 5xx of the service   tried again after a growing, jittered pause
refused, reset, cut off, timed out                        tried again
ModelError: the container answered 5xx or timed out       tried again
ModelError: the container answered 4xx                    the request is at fault: raised at once
everything else (400, 403, 404, 413)                      raised at once
========================================================  =========================================================
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError
from botocore.parsers import ResponseParserError

from sagespark.aws.errors import is_missing, is_throttling, is_transient, translate
from sagespark.aws.session import SageMakerSession
from sagespark.core.clock import Clock, jitter
from sagespark.core.errors import InvocationError, ServiceError

TIMEOUT = 60.0
"""Seconds that SageMaker gives a container for one answer."""
MAX_RETRIES = 6
"""Tries after the first one."""
FIRST_PAUSE = 0.1
"""Seconds before the second try."""
FIRST_THROTTLED_PAUSE = 0.5
"""Seconds before the second try where the service asks for fewer requests."""
LONGEST_PAUSE = 10.0
"""Seconds between tries, at most."""

_TOO_LARGE = "send fewer rows a request: set maxPayloadInMB or maxRecordsPerRequest lower"
_TOO_SLOW = "send fewer rows a request (maxRecordsPerRequest), or raise invocationTimeoutInSeconds"


@dataclass(frozen=True)
class InvokeResult:
    """One answer.

    Parameters
    ----------
    body : bytes
    contentType : str
        Content type of the body.
    variant : str
        Production variant that answered.
    """

    body: bytes
    contentType: str
    variant: str


def invoke(
    session: SageMakerSession,
    endpointName: str,
    body: bytes | bytearray | memoryview,
    contentType: str,
    accept: str,
    *,
    timeout: float = TIMEOUT,
    maxRetries: int = MAX_RETRIES,
    variant: str | None = None,
    clock: Clock | None = None,
    rng: random.Random | None = None,
) -> InvokeResult:
    """Send one request to an endpoint and return its answer. Calls InvokeEndpoint.

    Connections are kept open per process and shared by its threads.

    Parameters
    ----------
    session : SageMakerSession
    endpointName : str
    body : bytes-like
        At most what the endpoint takes (6 MiB at a real-time endpoint).
    contentType, accept : str
        Content types of request and answer.
    timeout : float
        Seconds without a byte of the answer after which a try is given up.
    maxRetries : int
        Tries after the first one.
    variant : str or None
        Production variant to ask; None: by their weights.
    clock, rng
        Time and jitter; None: the session's clock, the process's randomness.

    Raises
    ------
    InvocationError
        If the endpoint refused the request, or failed it ``maxRetries + 1`` times.
    SessionError
        If there are no usable credentials.
    """
    # One try each: botocore's own retries know nothing of the container's status.
    client = session.client("sagemaker-runtime", timeout=timeout, attempts=1)
    request: dict[str, Any] = {
        "EndpointName": endpointName,
        # botocore takes no memoryview.
        "Body": body if isinstance(body, bytes | bytearray) else bytes(body),
        "ContentType": contentType,
        "Accept": accept,
    }
    if variant is not None:
        request["TargetVariant"] = variant
    clock = clock or session.clock
    for attempt in range(maxRetries + 1):
        try:
            answer = client.invoke_endpoint(**request)
            return InvokeResult(
                answer["Body"].read(), answer.get("ContentType", ""), answer.get("InvokedProductionVariant", "")
            )
        except (ClientError, BotoCoreError, ResponseParserError) as error:
            if attempt == maxRetries or not _worth_another_try(error):
                raise _failure(error, endpointName, attempt + 1) from error
            first = FIRST_THROTTLED_PAUSE if is_throttling(error) else FIRST_PAUSE
            clock.sleep(jitter(min(first * 2**attempt, LONGEST_PAUSE), rng))
    raise ValueError(f"maxRetries must be 0 or more, but got {maxRetries}")


def _original_status(error: Exception) -> int | None:
    """Return the container's HTTP status in a ModelError (0: it gave no answer), or None for another error."""
    if not isinstance(error, ClientError) or error.response.get("Error", {}).get("Code") != "ModelError":
        return None
    return int(error.response.get("OriginalStatusCode", 0))


def _worth_another_try(error: Exception) -> bool:
    status = _original_status(error)
    if status is not None:
        return status == 0 or status >= 500
    return is_transient(error)


def _failure(error: Exception, endpointName: str, tries: int) -> Exception:
    told = translate(error, "InvokeEndpoint")
    if not isinstance(told, ServiceError):
        return told
    after = f" after {tries} tries" if tries > 1 else ""
    status = _original_status(error)
    if status is not None:
        assert isinstance(error, ClientError)
        text = error.response.get("OriginalMessage") or error.response.get("Error", {}).get("Message", "")
        what = f"its container answered {status}" if status else "its container gave no answer"
        lines = [f"endpoint {endpointName!r} failed a request{after}: {what}: {text}"]
        if status == 0 or "timed out" in text:
            lines.append(f"Way out: {_TOO_SLOW}.")
        if status == 413:
            lines.append(f"Way out: {_TOO_LARGE}.")
        if error.response.get("LogStreamArn"):
            lines.append(f"Its log: {error.response['LogStreamArn']}")
        return InvocationError("\n".join(lines), endpointName=endpointName, status=status)
    message = f"endpoint {endpointName!r} failed a request{after}: {told.message}"
    if is_missing(error):
        message += "\nWay out: deploy the model again, or name the endpoint that exists."
    elif told.status == 413 or "too large" in told.message.lower():
        message += f"\nWay out: {_TOO_LARGE}."
    elif told.code == "ReadTimeoutError":
        message += f"\nWay out: {_TOO_SLOW}."
    return InvocationError(message, endpointName=endpointName, status=told.status)
