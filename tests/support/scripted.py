"""AWS as a script: answers by the list, given below botocore's serialiser, parser and retries.

What the package sends is serialised and signed as always, and what it gets is parsed as always; only the socket is
missing. An answer is a dict (200, JSON), bytes (200, as they are), an `error(...)`, or an exception to raise.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from botocore.exceptions import ConnectionClosedError, EndpointConnectionError, ReadTimeoutError

URL = "http://127.0.0.1:9"

REFUSED = EndpointConnectionError(endpoint_url=URL)
RESET = ConnectionClosedError(endpoint_url=URL)
TIMED_OUT = ReadTimeoutError(endpoint_url=URL)


@dataclass(frozen=True)
class Answer:
    """One HTTP answer."""

    status: int
    body: bytes
    headers: dict[str, str] = field(default_factory=dict)


def error(code: str, message: str = "", status: int = 400, **members: Any) -> Answer:
    """Return an error in AWS's JSON protocols."""
    body = json.dumps({"__type": code, "Message": message, "message": message, **members}).encode()
    return Answer(status, body, {"x-amzn-ErrorType": code, "Content-Type": "application/x-amz-json-1.1"})


def s3_error(code: str, message: str = "", status: int = 400) -> Answer:
    """Return an error in S3's XML."""
    body = f"<Error><Code>{code}</Code><Message>{message}</Message></Error>".encode()
    return Answer(status, body, {"Content-Type": "application/xml"})


def ok(body: bytes = b"", **headers: str) -> Answer:
    """Return a 200 with headers, an underscore standing for a hyphen."""
    return Answer(200, body, {name.replace("_", "-"): value for name, value in headers.items()})


@dataclass(frozen=True)
class Sent:
    """One request that would have gone over the wire."""

    operation: str
    method: str
    path: str
    query: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class _Raw(io.BytesIO):
    def stream(self, amt: int = 1 << 16, decode_content: bool | None = None) -> Iterator[bytes]:
        while chunk := self.read(amt):
            yield chunk


Step = dict[str, Any] | bytes | Answer | Exception | Callable[[Sent], Any]


class Script:
    """The answers to come, and what was sent.

    ``answers`` is used up from the front; ``always`` answers an operation, by name, for good.
    """

    def __init__(self) -> None:
        self.answers: list[Step] = []
        self.always: dict[str, Step] = {}
        self.sent: list[Sent] = []

    def __call__(self, request: AWSPreparedRequest, event_name: str, **kwargs: Any) -> AWSResponse:
        operation = event_name.rpartition(".")[2]
        parts = urlsplit(request.url)
        body = request.body or b""
        if hasattr(body, "read"):
            body = body.read()
        elif isinstance(body, str):
            body = body.encode()
        headers = {k: v.decode() if isinstance(v, bytes) else str(v) for k, v in request.headers.items()}
        sent = Sent(operation, request.method, parts.path, parts.query, headers, bytes(body))
        self.sent.append(sent)
        if operation in self.always:
            step = self.always[operation]
        else:
            assert self.answers, f"no answer left for {operation} {sent.path}"
            step = self.answers.pop(0)
        if callable(step) and not isinstance(step, Exception):
            step = step(sent)
        if isinstance(step, Exception):
            raise step
        if isinstance(step, dict):
            step = Answer(200, json.dumps(step).encode(), {"Content-Type": "application/x-amz-json-1.1"})
        elif isinstance(step, bytes):
            step = Answer(200, step)
        headers = {"Content-Length": str(len(step.body)), **step.headers}
        return AWSResponse(request.url, step.status, headers, _Raw(step.body))

    @property
    def operations(self) -> list[str]:
        """The operations sent, in order."""
        return [sent.operation for sent in self.sent]
