"""Exceptions of the package.

The tree, from the root down; every leaf is raised somewhere::

    SageSparkError                      carries .createdResources
    ├── ValidationError (ValueError)    an argument, Param or schema is refused; .problems lists all of them
    │   ├── SessionError                role, bucket, region or endpoint of the session cannot be used
    │   └── DataError                   a row is refused by the staging pass or by an invocation
    ├── CodecError (ValueError)         bytes are not what their content type says; .offset tells where
    ├── ServiceError                    the service answered an error; .code and .operation are AWS's
    │   └── ResourceNotFoundError       the service does not know the resource
    ├── JobFailedError                  a job ended Failed or Stopped; .failureReason is the service's text
    ├── EndpointFailedError             an endpoint ended Failed
    ├── WaitTimeoutError                no answer, or no end, within the time allowed
    └── InvocationError                 an endpoint refused or failed a request, after retries

The first line of each message makes sense alone: Spark shows an executor's error inside a long traceback.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Resource:
    """One AWS resource that this package created."""

    kind: str
    """AWS's word for it: ``TrainingJob``, ``Model``, ``EndpointConfig``, ``Endpoint``, ``S3Object``."""
    name: str
    """Its name, or the URI of an object."""
    arn: str = ""
    """Its ARN, where it has one."""

    @property
    def billed(self) -> bool:
        """Whether it costs money by the hour while it exists."""
        return self.kind in ("Endpoint", "NotebookInstance")

    def __str__(self) -> str:
        """Return ``kind name``."""
        return f"{self.kind} {self.name}"


class SageSparkError(Exception):
    """Root of the package's exceptions.

    Parameters
    ----------
    message : str
        What was wrong, the value, the rule and the way out; the first line makes sense alone.
    createdResources : sequence of Resource
        What exists on AWS because of the failed call, in order of creation.
    """

    def __init__(self, message: str, *, createdResources: Sequence[Resource] = ()) -> None:
        super().__init__(message)
        self.message = message
        self.createdResources: tuple[Resource, ...] = tuple(createdResources)

    def __str__(self) -> str:
        """Return the message, and below it what exists and what of it costs money."""
        if not self.createdResources:
            return self.message
        rows = [f"  {r}{'  (billed while it exists)' if r.billed else ''}" for r in self.createdResources]
        return "\n".join([self.message, "Created so far, and still there:", *rows])

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle by state: keyword-only arguments would otherwise be lost on the way from an executor."""
        return (_rebuild, (type(self), self.args, self.__dict__))


def _rebuild(cls: type[SageSparkError], args: tuple[Any, ...], state: dict[str, Any]) -> SageSparkError:
    error = cls.__new__(cls, *args)
    error.args = args
    error.__dict__.update(state)
    return error


class ValidationError(SageSparkError, ValueError):
    """Arguments, Params or a schema are refused; nothing was created.

    Parameters
    ----------
    problems : str or sequence of str
        Every problem of the call. One is shown as it is, several as a numbered list.
    where : str
        The call or stage that refused, put in front.
    """

    def __init__(
        self, problems: str | Sequence[str], where: str = "", *, createdResources: Sequence[Resource] = ()
    ) -> None:
        self.problems: tuple[str, ...] = (problems,) if isinstance(problems, str) else tuple(problems)
        head = f"{where}: " if where else ""
        if len(self.problems) == 1:
            text = head + self.problems[0]
        else:
            rows = [f"  {i}. {p}" for i, p in enumerate(self.problems, 1)]
            text = "\n".join([f"{head}{len(self.problems)} problems, nothing was created:", *rows])
        super().__init__(text, createdResources=createdResources)


class SessionError(ValidationError):
    """The session's role, bucket, region, endpoint or credentials cannot be used."""


class DataError(ValidationError):
    """A row is refused.

    Parameters
    ----------
    message : str
        The rule that the row breaks and the way out.
    column, partition, position, value
        Where it stands: the column's name, the partition's number, the row's position in the partition (from 0),
        and the value's text. None where not known.
    """

    def __init__(
        self,
        message: str,
        *,
        column: str | None = None,
        partition: int | None = None,
        position: int | None = None,
        value: str | None = None,
        createdResources: Sequence[Resource] = (),
    ) -> None:
        self.column = column
        self.partition = partition
        self.position = position
        self.value = value
        super().__init__(message, createdResources=createdResources)


class CodecError(SageSparkError, ValueError):
    """Bytes are not what their content type says.

    Parameters
    ----------
    message : str
        What was found and what the format asks for.
    contentType : str
        The content type that was decoded.
    offset : int or None
        Byte offset of the offending byte in the body; None where the format has no useful one.
    """

    def __init__(self, message: str, *, contentType: str = "", offset: int | None = None) -> None:
        self.contentType = contentType
        self.offset = offset
        head = contentType + (f", byte {offset}" if offset is not None else "")
        super().__init__(f"{head}: {message}" if head else message)


class ServiceError(SageSparkError):
    """The service answered an error.

    Parameters
    ----------
    message : str
        The service's message, and the way out where one is known.
    operation, code : str
        AWS's names, such as ``CreateTrainingJob`` and ``ResourceInUse``.
    status : int
        HTTP status, 0 where there was no answer.
    """

    def __init__(
        self,
        message: str,
        *,
        operation: str = "",
        code: str = "",
        status: int = 0,
        createdResources: Sequence[Resource] = (),
    ) -> None:
        self.operation = operation
        self.code = code
        self.status = status
        super().__init__(message, createdResources=createdResources)


class ResourceNotFoundError(ServiceError):
    """The service does not know the resource."""


class JobFailedError(SageSparkError):
    """A job ended ``Failed`` or ``Stopped``.

    Parameters
    ----------
    message : str
        Job, status and reason in the first line, the last lines of its log below.
    jobName, status, failureReason : str
        As the service gives them.
    """

    def __init__(
        self,
        message: str,
        *,
        jobName: str = "",
        status: str = "",
        failureReason: str = "",
        createdResources: Sequence[Resource] = (),
    ) -> None:
        self.jobName = jobName
        self.status = status
        self.failureReason = failureReason
        super().__init__(message, createdResources=createdResources)


class EndpointFailedError(SageSparkError):
    """An endpoint ended ``Failed``; ``failureReason`` is the service's text."""

    def __init__(
        self,
        message: str,
        *,
        endpointName: str = "",
        failureReason: str = "",
        createdResources: Sequence[Resource] = (),
    ) -> None:
        self.endpointName = endpointName
        self.failureReason = failureReason
        super().__init__(message, createdResources=createdResources)


class WaitTimeoutError(SageSparkError, TimeoutError):
    """Nothing answered, or nothing ended, within the time allowed; the resource may still be running."""


class InvocationError(SageSparkError):
    """An endpoint refused or failed a request, after retries.

    Parameters
    ----------
    message : str
        Endpoint, status and the container's own message in the first line.
    endpointName : str
        The endpoint.
    status : int
        HTTP status of the container where known, else of the service, else 0.
    """

    def __init__(
        self,
        message: str,
        *,
        endpointName: str = "",
        status: int = 0,
        createdResources: Sequence[Resource] = (),
    ) -> None:
        self.endpointName = endpointName
        self.status = status
        super().__init__(message, createdResources=createdResources)
