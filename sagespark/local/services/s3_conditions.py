"""What a request asks of an object before it is read or written: conditions, ranges, part numbers."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sagespark.local.objects.model import ObjectInfo
from sagespark.local.objects.store import Guard
from sagespark.local.services.s3 import no_such_key, quoted
from sagespark.local.wire.context import AwsError
from sagespark.local.wire.serialize import http_date

_RANGE = re.compile(r"bytes=(\d*)-(\d*)")


def failed(condition: str) -> AwsError:
    """Return the error of a condition that does not hold."""
    return AwsError(
        "PreconditionFailed",
        "At least one of the pre-conditions you specified did not hold",
        status=412,
        Condition=condition,
    )


def _etag_in(text: str, etag: str) -> bool:
    candidates = [item.strip().removeprefix("W/").strip('"') for item in text.split(",")]
    return "*" in candidates or etag in candidates


def _seconds(when: datetime) -> int:
    return int(when.timestamp())


def check_read(info: ObjectInfo, request: Mapping[str, Any]) -> None:
    """Refuse a read whose conditions do not hold; the order of precedence is that of HTTP.

    Raises
    ------
    AwsError
        ``PreconditionFailed`` (412) or ``NotModified`` (304).
    """
    modified = _seconds(info.last_modified)
    if "IfMatch" in request:
        if not _etag_in(request["IfMatch"], info.etag):
            raise failed("If-Match")
    elif "IfUnmodifiedSince" in request and modified > _seconds(request["IfUnmodifiedSince"]):
        raise failed("If-Unmodified-Since")
    if "IfNoneMatch" in request:
        same = _etag_in(request["IfNoneMatch"], info.etag)
    else:
        same = "IfModifiedSince" in request and modified <= _seconds(request["IfModifiedSince"])
    if same:
        headers = (("etag", quoted(info.etag)), ("last-modified", http_date(info.last_modified)))
        raise AwsError("NotModified", "Not Modified", status=304, headers=headers)


def check_copy(info: ObjectInfo, request: Mapping[str, Any]) -> None:
    """Refuse a copy whose conditions on its source do not hold.

    Raises
    ------
    AwsError
        ``PreconditionFailed`` (412); there is no 304 for copies.
    """
    names = ("IfMatch", "IfNoneMatch", "IfModifiedSince", "IfUnmodifiedSince")
    conditions = {name: request[f"CopySource{name}"] for name in names if f"CopySource{name}" in request}
    try:
        check_read(info, conditions)
    except AwsError as error:
        raise failed(
            "x-amz-copy-source-If-None-Match" if error.status == 304 else "x-amz-copy-source-If-Match"
        ) from None


def write_guard(request: Mapping[str, Any]) -> Guard | None:
    """Return the check of a conditional write, to be run inside its transaction; None where there is none."""
    match, none_match = request.get("IfMatch"), request.get("IfNoneMatch")
    if match is None and none_match is None:
        return None
    if none_match is not None and none_match != "*":
        raise AwsError("NotImplemented", "If-None-Match of a write takes * only", status=501)
    key = request["Key"]

    def guard(present: ObjectInfo | None) -> None:
        if none_match is not None and present is not None:
            raise failed("If-None-Match")
        if match is not None:
            if present is None:
                raise no_such_key(key)
            if not _etag_in(match, present.etag):
                raise failed("If-Match")

    return guard


@dataclass(frozen=True)
class Span:
    """The stretch of an object that is read."""

    start: int
    length: int
    """Bytes."""
    partial: bool = False
    """Whether it was asked for as a range or a part (status 206)."""

    def content_range(self, size: int) -> str | None:
        """Return the header ``Content-Range``, None for a whole object or an empty stretch."""
        if not self.partial or self.length == 0:
            return None
        return f"bytes {self.start}-{self.start + self.length - 1}/{size}"


def span(info: ObjectInfo, text: str | None, part: int | None) -> Span:
    """Return the stretch that ``Range`` or ``partNumber`` asks for.

    Raises
    ------
    AwsError
        ``InvalidRange`` or ``InvalidPartNumber`` (416), ``InvalidRequest`` for both together.
    """
    if text is not None and part is not None:
        raise AwsError("InvalidRequest", "Cannot specify both Range header and partNumber query parameter")
    if part is not None:
        return _part(info, part)
    match = _RANGE.fullmatch(text.replace(" ", "")) if text is not None else None
    if match is None or not (match[1] or match[2]):
        # As S3 does with what it cannot read, several ranges among it: the whole object.
        return Span(0, info.size)
    if match[1]:
        start = int(match[1])
        end = min(int(match[2]) if match[2] else info.size - 1, info.size - 1)
        if match[2] and int(match[2]) < start:
            return Span(0, info.size)
    else:
        start = max(info.size - int(match[2]), 0)
        end = info.size - 1 if int(match[2]) else -1
    if start > end:
        raise AwsError(
            "InvalidRange",
            "The requested range is not satisfiable",
            status=416,
            headers=(("content-range", f"bytes */{info.size}"),),
            RangeRequested=text,
            ActualObjectSize=info.size,
        )
    return Span(start, end - start + 1, True)


def _part(info: ObjectInfo, number: int) -> Span:
    sizes = [size for _, size in info.attributes.parts] or [info.size]
    if not 1 <= number <= len(sizes):
        raise AwsError(
            "InvalidPartNumber",
            "The requested partnumber is not satisfiable",
            status=416,
            PartNumberRequested=number,
            ActualPartCount=len(sizes),
        )
    return Span(sum(sizes[: number - 1]), sizes[number - 1], True)


def copy_range(text: str, size: int) -> Span:
    """Return the stretch that ``x-amz-copy-source-range`` asks for.

    Raises
    ------
    AwsError
        ``InvalidArgument`` unless it is ``bytes=first-last`` inside the source.
    """
    match = _RANGE.fullmatch(text)
    if match is None or not match[1] or not match[2] or int(match[1]) > int(match[2]):
        raise AwsError(
            "InvalidArgument",
            "The x-amz-copy-source-range value must be of the form bytes=first-last where first and last are the "
            "zero-based offsets of the first and last bytes to copy",
            ArgumentName="x-amz-copy-source-range",
            ArgumentValue=text,
        )
    start, end = int(match[1]), int(match[2])
    if end >= size:
        raise AwsError(
            "InvalidArgument",
            f"Range specified is not valid for source object of size: {size}",
            ArgumentName="x-amz-copy-source-range",
            ArgumentValue=text,
        )
    return Span(start, end - start + 1, True)
