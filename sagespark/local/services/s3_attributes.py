"""Translate between S3's request and response members and what is stored with an object."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl, unquote

from sagespark.local.objects.model import Attributes, ObjectInfo
from sagespark.local.services.s3 import quoted
from sagespark.local.services.s3_conditions import Span
from sagespark.local.wire import checksums
from sagespark.local.wire.context import AwsError
from sagespark.local.wire.serialize import http_date

_STORED = (
    "CacheControl",
    "ContentDisposition",
    "ContentEncoding",
    "ContentLanguage",
    "ContentType",
    "StorageClass",
    "WebsiteRedirectLocation",
    "ServerSideEncryption",
    "SSEKMSKeyId",
)
_OVERRIDES = ("CacheControl", "ContentDisposition", "ContentEncoding", "ContentLanguage", "ContentType", "Expires")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_REFUSED = {
    "SSECustomerAlgorithm": "encryption with keys of the customer",
    "CopySourceSSECustomerAlgorithm": "encryption with keys of the customer",
    "ObjectLockMode": "object lock",
    "ObjectLockRetainUntilDate": "object lock",
    "ObjectLockLegalHoldStatus": "object lock",
    "WriteOffsetBytes": "appending",
}
MAX_METADATA = 2048
"""Most bytes of user metadata."""


def attributes(request: Mapping[str, Any]) -> Attributes:
    """Return what PutObject, CopyObject or CreateMultipartUpload asks to store.

    Raises
    ------
    AwsError
        ``InvalidRequest`` for what is not built, ``MetadataTooLarge``, ``InvalidTag``.
    """
    for name, what in _REFUSED.items():
        if name in request:
            raise AwsError("InvalidRequest", f"The embedded service has no {what} ({name}); send the request without.")
    headers = {name: request[name] for name in _STORED if request.get(name)}
    if "ContentEncoding" in headers:
        # `aws-chunked` is how the body travelled, not what it is.
        kept = [e.strip() for e in headers["ContentEncoding"].split(",") if e.strip() not in ("aws-chunked", "")]
        headers["ContentEncoding"] = ",".join(kept)
        if not kept:
            del headers["ContentEncoding"]
    if "Expires" in request:
        headers["Expires"] = http_date(request["Expires"])
    metadata = dict(request.get("Metadata", {}))
    if sum(len(k) + len(v) for k, v in metadata.items()) > MAX_METADATA:
        raise AwsError(
            "MetadataTooLarge", "Your metadata headers exceed the maximum allowed metadata size", MaxSizeAllowed=2048
        )
    return Attributes(headers=headers, metadata=metadata, tags=header_tags(request.get("Tagging", "")))


def header_tags(text: str) -> dict[str, str]:
    """Return the tags of the header ``x-amz-tagging``."""
    return checked_tags([{"Key": k, "Value": v} for k, v in parse_qsl(text, keep_blank_values=True)])


def checked_tags(rows: list[dict[str, str]], limit: int = 10) -> dict[str, str]:
    """Return tags by key.

    Raises
    ------
    AwsError
        ``InvalidTag`` or ``BadRequest``.
    """
    if len(rows) > limit:
        raise AwsError("BadRequest", f"Object tags cannot be greater than {limit}")
    tags: dict[str, str] = {}
    for row in rows:
        key, value = row["Key"], row["Value"]
        if not 1 <= len(key) <= 128:
            raise AwsError("InvalidTag", "The TagKey you have provided is invalid", TagKey=key)
        if len(value) > 256:
            raise AwsError("InvalidTag", "The TagValue you have provided is invalid", TagValue=value)
        if key in tags:
            raise AwsError("InvalidTag", "Cannot provide multiple Tags with the same key", TagKey=key)
        tags[key] = value
    return tags


def tag_rows(tags: Mapping[str, str]) -> list[dict[str, str]]:
    """Return tags as S3 lists them."""
    return [{"Key": k, "Value": v} for k, v in tags.items()]


def described(info: ObjectInfo, request: Mapping[str, Any], span: Span) -> dict[str, Any]:
    """Return the members that GetObject and HeadObject share.

    Raises
    ------
    AwsError
        ``InvalidArgument`` where a ``response-...`` parameter holds control characters.
    """
    stored = info.attributes
    response: dict[str, Any] = {
        "AcceptRanges": "bytes",
        "LastModified": info.last_modified,
        "ContentLength": span.length,
        "ContentRange": span.content_range(info.size),
        "ETag": quoted(info.etag),
        "Metadata": stored.metadata,
        "TagCount": len(stored.tags) or None,
        **{k: v for k, v in stored.headers.items() if not (k == "StorageClass" and v == "STANDARD")},
    }
    if stored.parts and request.get("PartNumber") is not None:
        response["PartsCount"] = len(stored.parts)
    if stored.checksums and request.get("ChecksumMode") == "ENABLED" and not span.partial:
        response.update({checksums.member(k): v for k, v in stored.checksums.items()})
        response["ChecksumType"] = stored.checksum_type
    for name in _OVERRIDES:
        value = request.get(f"Response{name}")
        if value is None:
            continue
        text = http_date(value) if name == "Expires" else value
        if _CONTROL.search(text):
            raise AwsError("InvalidArgument", f"response-{name} must not hold control characters")
        response[name] = text
    return response


def copy_source(text: str) -> tuple[str, str]:
    """Return bucket and key that ``x-amz-copy-source`` names.

    Raises
    ------
    AwsError
        ``InvalidArgument``.
    """
    path, _, query = text.partition("?")
    version = dict(parse_qsl(query)).get("versionId", "null")
    bucket, _, key = unquote(path).removeprefix("/").partition("/")
    if not bucket or not key:
        raise AwsError(
            "InvalidArgument",
            "Copy Source must mention the source bucket and key: sourcebucket/sourcekey",
            ArgumentName="x-amz-copy-source",
            ArgumentValue=text,
        )
    if version != "null":
        raise AwsError("NoSuchVersion", "The specified version does not exist.", status=404)
    return bucket, key
