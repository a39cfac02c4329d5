"""The log lines of jobs and endpoints, from CloudWatch Logs."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from sagespark.aws.errors import call, is_transient
from sagespark.aws.session import SageMakerSession
from sagespark.core.errors import ResourceNotFoundError, ServiceError

TRAINING_GROUP = "/aws/sagemaker/TrainingJobs"
"""Log group of every training job."""
PAGE = 10_000
"""Events that one GetLogEvents may return."""


def endpoint_group(name: str) -> str:
    """Return the log group of an endpoint."""
    return f"/aws/sagemaker/Endpoints/{name}"


@dataclass(frozen=True)
class LogLine:
    """One line.

    Parameters
    ----------
    stream : str
        Log stream: ``{job}/algo-1-{time}``.
    timestamp : int
        Milliseconds since 1970, UTC.
    message : str
        Without its line end.
    """

    stream: str
    timestamp: int
    message: str


@dataclass
class LogFollower:
    """Read what is new since the last time; costs nothing while nothing is asked.

    Parameters
    ----------
    session : SageMakerSession
    group : str
        Log group.
    prefix : str
        What the streams' names begin with, such as ``{job}/``.
    """

    session: SageMakerSession
    group: str
    prefix: str
    _tokens: dict[str, str] = field(default_factory=dict, repr=False)

    def streams(self) -> list[str]:
        """Return the streams' names, in order. Calls DescribeLogStreams."""
        client = self.session.client("logs", attempts=2)
        names: list[str] = []
        request: dict[str, Any] = {"logGroupName": self.group, "logStreamNamePrefix": self.prefix}
        while True:
            try:
                page = call(client, "DescribeLogStreams", **request)
            except ResourceNotFoundError:
                # The group and the streams come into being with the first line.
                return names
            names += [stream["logStreamName"] for stream in page.get("logStreams", ())]
            token = page.get("nextToken")
            if not token:
                return sorted(names)
            request["nextToken"] = token

    def read(self, limit: int = 100_000) -> list[LogLine]:
        """Return the new lines of all streams in order of time, at most ``limit`` of each. Calls GetLogEvents.

        Raises
        ------
        ServiceError
            If the service refuses; a call that may succeed later gives no lines instead.
        """
        lines: list[LogLine] = []
        try:
            for stream in self.streams():
                lines += self._read_stream(stream, limit)
        except ServiceError as error:
            if not is_transient(error):
                raise
        return sorted(lines, key=lambda line: line.timestamp)

    def _read_stream(self, stream: str, limit: int) -> Iterator[LogLine]:
        client = self.session.client("logs", attempts=2)
        count = 0
        while count < limit:
            request: dict[str, Any] = {"logGroupName": self.group, "logStreamName": stream, "startFromHead": True}
            if stream in self._tokens:
                request["nextToken"] = self._tokens[stream]
            try:
                page = call(client, "GetLogEvents", **request, limit=min(PAGE, limit - count))
            except ResourceNotFoundError:
                return
            token = page.get("nextForwardToken", "")
            for event in page.get("events", ()):
                yield LogLine(stream, int(event["timestamp"]), str(event["message"]).rstrip("\n"))
            count += len(page.get("events", ()))
            # CloudWatch gives the same token back at the end of the stream; an empty page alone does not mean it.
            if not token or token == self._tokens.get(stream):
                return
            self._tokens[stream] = token


def last_lines(session: SageMakerSession, group: str, prefix: str, count: int) -> list[LogLine]:
    """Return the last ``count`` lines over all streams that begin with ``prefix``, in order of time.

    Raises
    ------
    ServiceError
        If the log cannot be read.
    """
    client = session.client("logs", attempts=2)
    kept: deque[LogLine] = deque()
    for stream in LogFollower(session, group, prefix).streams():
        try:
            page = call(
                client,
                "GetLogEvents",
                logGroupName=group,
                logStreamName=stream,
                startFromHead=False,
                limit=max(1, min(count, PAGE)),
            )
        except ResourceNotFoundError:
            continue
        kept += [LogLine(stream, int(e["timestamp"]), str(e["message"]).rstrip("\n")) for e in page.get("events", ())]
    return sorted(kept, key=lambda line: line.timestamp)[-count:] if count > 0 else []


def excerpt(session: SageMakerSession, group: str, prefix: str, count: int = 15) -> str:
    """Return the last lines as a block for an error's message; never raises, since the error is what matters."""
    try:
        lines = last_lines(session, group, prefix, count)
    except Exception as error:
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        return f"(its log could not be read: {first})"
    if not lines:
        return f"(its log has no lines: CloudWatch Logs group {group}, streams {prefix}*)"
    body = "\n".join(f"  | {line.message}" for line in lines)
    return f"Last lines of its log (CloudWatch Logs group {group}, streams {prefix}*):\n{body}"
