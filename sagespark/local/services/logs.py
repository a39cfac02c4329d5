"""CloudWatch Logs as its readers use it: groups, streams and events described, read, filtered and deleted."""

from __future__ import annotations

import re
from typing import Any

from sagespark.local.logs import Event, LogStore, Position
from sagespark.local.services import paging
from sagespark.local.services.arns import partition
from sagespark.local.services.log_filter import compile_filter
from sagespark.local.wire.context import AwsError, Context

_PAGE = 50
_MAX_EVENTS = 10_000
_MAX_BYTES = 1024 * 1024
_OVERHEAD = 26
_TOKEN = re.compile(r"([fb])/(\d{1,18})/(\d{1,18})")


class Logs:
    """The operations on log groups, streams and events.

    Parameters
    ----------
    logs : LogStore
        Keeps them.
    """

    service = "logs"

    def __init__(self, logs: LogStore) -> None:
        self._logs = logs

    def DescribeLogGroups(self, ctx: Context, request: dict[str, Any]) -> dict[str, Any]:
        """List log groups by prefix or pattern, page by page."""
        pattern = request.get("logGroupNamePattern", "").lower()
        groups = self._logs.groups(ctx.region, request.get("logGroupNamePrefix", ""))
        groups = [group for group in groups if pattern in group.name.lower()]
        rows, token = paging.cut(groups, lambda group: group.name, _request(request), default=_PAGE)
        found = [
            {
                "logGroupName": group.name,
                "creationTime": group.created,
                "metricFilterCount": 0,
                "arn": _arn(ctx, group.name) + ":*",
                "logGroupArn": _arn(ctx, group.name),
                "storedBytes": group.bytes,
                "logGroupClass": "STANDARD",
            }
            for group in rows
        ]
        return {"logGroups": found, "nextToken": token}

    def DescribeLogStreams(self, ctx: Context, request: dict[str, Any]) -> dict[str, Any]:
        """List the streams of a group by name or by the time of their last event, page by page."""
        group = self._group(ctx, request)
        order = request.get("orderBy", "LogStreamName")
        prefix = request.get("logStreamNamePrefix", "")
        if prefix and order == "LastEventTime":
            raise _invalid("Cannot order by LastEventTime with a logStreamNamePrefix.")
        rows, token = paging.cut(
            self._logs.streams(ctx.region, group, prefix),
            lambda s: (s.last or 0, s.name) if order == "LastEventTime" else s.name,
            _request(request),
            descending=request.get("descending", False),
            default=_PAGE,
        )
        found = [
            {
                "logStreamName": stream.name,
                "creationTime": stream.created,
                "firstEventTimestamp": stream.first,
                "lastEventTimestamp": stream.last,
                "lastIngestionTime": stream.ingested,
                "arn": f"{_arn(ctx, group)}:log-stream:{stream.name}",
                "storedBytes": 0,
            }
            for stream in rows
        ]
        return {"logStreams": found, "nextToken": token}

    def GetLogEvents(self, ctx: Context, request: dict[str, Any]) -> dict[str, Any]:
        """Return events of one stream, at most 10,000 or 1 MiB; a token that comes back unchanged tells the end."""
        group = self._group(ctx, request)
        name = request["logStreamName"]
        if name not in {stream.name for stream in self._logs.streams(ctx.region, group, name)}:
            raise _not_found("stream")
        start, end = request.get("startTime"), request.get("endTime")
        limit = request.get("limit", _MAX_EVENTS)
        token = request.get("nextToken")
        after = before = None
        newest = not request.get("startFromHead", False)
        if token is not None:
            match = _TOKEN.fullmatch(token)
            if match is None:
                raise _invalid("The specified nextToken is invalid.")
            place = Position(int(match[2]), int(match[3]))
            newest = match[1] == "b"
            after, before = (None, place) if newest else (place, None)
        events = self._logs.events(
            ctx.region, group, [name], start=start, end=end, after=after, before=before, newest=newest, limit=limit
        )
        events = _fit(events, newest)
        first, last = (events[0].position, events[-1].position) if events else (before or after, after or before)
        if first is None or last is None:
            # Nothing there yet: what comes is behind the forward token, and in front of the backward one.
            first, last = (Position(0, 0), Position(0, 0)) if start is None else (Position(start, 0),) * 2
        return {
            "events": [{"timestamp": e.time, "message": e.message, "ingestionTime": e.ingested} for e in events],
            "nextForwardToken": f"f/{last.time}/{last.id}",
            "nextBackwardToken": f"b/{first.time}/{first.id}",
        }

    def FilterLogEvents(self, ctx: Context, request: dict[str, Any]) -> dict[str, Any]:
        """Return events of a group that match a filter pattern, in order of time, page by page."""
        group = self._group(ctx, request)
        names = request.get("logStreamNames")
        prefix = request.get("logStreamNamePrefix")
        if names and prefix:
            raise _invalid("logStreamNames and logStreamNamePrefix must not be given both.")
        if prefix:
            names = [stream.name for stream in self._logs.streams(ctx.region, group, prefix)]
        after = None
        if "nextToken" in request:
            match = _TOKEN.fullmatch(request["nextToken"])
            if match is None or match[1] != "f":
                raise _invalid("The specified nextToken is invalid.")
            after = Position(int(match[2]), int(match[3]))
        limit = request.get("limit", _MAX_EVENTS)
        found = self._logs.events(
            ctx.region,
            group,
            names,
            start=request.get("startTime"),
            end=request.get("endTime"),
            after=after,
            limit=limit + 1,
            keep=compile_filter(request.get("filterPattern", "")),
        )
        events = _fit(found[:limit], newest=False)
        more = len(found) > len(events)
        return {
            "events": [
                {
                    "logStreamName": e.stream,
                    "timestamp": e.time,
                    "message": e.message,
                    "ingestionTime": e.ingested,
                    "eventId": f"{e.time:018d}{e.id:038d}",
                }
                for e in events
            ],
            "searchedLogStreams": [],
            "nextToken": f"f/{events[-1].time}/{events[-1].id}" if more else None,
        }

    def DeleteLogGroup(self, ctx: Context, request: dict[str, Any]) -> dict[str, Any]:
        """Delete a group with all its streams; what is written later makes it anew."""
        self._logs.delete(ctx.region, self._group(ctx, request))
        return {}

    def DeleteLogStream(self, ctx: Context, request: dict[str, Any]) -> dict[str, Any]:
        """Delete a stream with its events."""
        if not self._logs.delete(ctx.region, self._group(ctx, request), request["logStreamName"]):
            raise _not_found("stream")
        return {}

    def _group(self, ctx: Context, request: dict[str, Any]) -> str:
        name: str | None = request.get("logGroupName")
        identifier = request.get("logGroupIdentifier")
        if (name is None) == (identifier is None):
            raise _invalid("Exactly one of logGroupName and logGroupIdentifier must be given.")
        if name is None:
            name = str(identifier).removesuffix(":*").rpartition(":log-group:")[2]
        if name not in {group.name for group in self._logs.groups(ctx.region, name)}:
            raise _not_found("group")
        return name


def _request(request: dict[str, Any]) -> dict[str, Any]:
    """Return a request with the names that :mod:`paging` knows."""
    rest = {k: v for k, v in request.items() if k not in ("limit", "nextToken")}
    if "limit" in request:
        rest["MaxResults"] = request["limit"]
    if "nextToken" in request:
        rest["NextToken"] = request["nextToken"]
    return rest


def _fit(events: list[Event], newest: bool) -> list[Event]:
    """Return as many events as one answer may hold, at least one."""
    size = 0
    for count, event in enumerate(reversed(events) if newest else events):
        size += len(event.message.encode("utf-8", "surrogatepass")) + _OVERHEAD
        if size > _MAX_BYTES and count:
            return events[-count:] if newest else events[:count]
    return events


def _arn(ctx: Context, group: str) -> str:
    return f"arn:{partition(ctx.region)}:logs:{ctx.region}:{ctx.account}:log-group:{group}"


def _invalid(message: str) -> AwsError:
    return AwsError("InvalidParameterException", message)


def _not_found(what: str) -> AwsError:
    return AwsError("ResourceNotFoundException", f"The specified log {what} does not exist.")
