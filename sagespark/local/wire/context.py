"""Values that travel through the wire layer: request, response, context of a call, AWS error."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any, BinaryIO, Protocol


@dataclass(frozen=True)
class Context:
    """What a provider may know of a call beside its parsed request."""

    service: str
    """botocore's name of the service, such as ``sagemaker-runtime``."""
    operation: str
    """AWS's name of the operation."""
    region: str
    """Region of the request's credential scope, else the service's own."""
    account: str
    """Account, 12 digits."""
    request_id: str
    """Identifier that the response carries."""
    access_key: str
    """Access key of the request, empty where it is not signed."""
    base_url: str
    """URL under which the client reached the service, without a path."""


class AwsError(Exception):
    """An error as AWS answers it; rendered by the protocol of the service.

    Parameters
    ----------
    code : str
        AWS's name, such as ``ResourceInUse``.
    message : str
        Text shown to the caller.
    status : int, optional
        HTTP status. The service model's own where it names one, else 400.
    headers : sequence of (str, str)
        Additional response headers.
    **members : Any
        Further members of the error's shape.
    """

    def __init__(
        self,
        code: str,
        message: str,
        status: int | None = None,
        *,
        headers: tuple[tuple[str, str], ...] = (),
        **members: Any,
    ) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.status = status
        self.headers = headers
        self.members = members


class ClientGoneError(Exception):
    """The client closed its connection before the body had ended."""


class Body(Protocol):
    """A request's body, read once."""

    def chunks(self) -> AsyncIterator[bytes]:
        """Yield the bytes as they arrive.

        Raises
        ------
        ClientGoneError
            If the connection ends first.
        """
        ...

    async def read(self, limit: int) -> bytes:
        """Return the whole body.

        Raises
        ------
        AwsError
            ``RequestEntityTooLarge`` (413) if it is longer than ``limit`` bytes.
        """
        ...


@dataclass(frozen=True)
class HttpRequest:
    """One HTTP request."""

    method: str
    path: str
    """Path as it was sent, still percent-encoded."""
    query: str
    """Query string as it was sent, without ``?``."""
    headers: dict[str, str]
    """Values by lower-case name; repeated ones joined by a comma."""
    body: Body


@dataclass(frozen=True)
class FileRange:
    """A stretch of a file that is sent without being read whole."""

    file: BinaryIO
    """Open file; the receiver reads it by position and closes it."""
    offset: int
    """First byte."""
    length: int
    """Number of bytes."""


Payload = bytes | FileRange | AsyncIterator[bytes]


@dataclass
class HttpResponse:
    """One HTTP response; ``content-length`` is set where the body's length is known."""

    status: int = 200
    headers: list[tuple[str, str]] = field(default_factory=list)
    body: Payload = b""
