"""S3's listings of objects, in both versions, and of their versions."""

from __future__ import annotations

import base64
import binascii
from typing import Any
from urllib.parse import quote

from sagespark.local.objects.listing import Page, page
from sagespark.local.objects.model import ObjectInfo
from sagespark.local.services.s3 import S3Base, owner, page_size, quoted
from sagespark.local.wire.context import AwsError, Context

MAX_KEYS = 1000
"""Most keys and common prefixes of one page."""


class S3Listing(S3Base):
    """ListObjects, ListObjectsV2, ListObjectVersions."""

    def ListObjectsV2(self, ctx: Context, request: dict[str, Any]) -> dict[str, Any]:
        """List a page of objects."""
        token = request.get("ContinuationToken")
        after = _untoken(token) if token is not None else request.get("StartAfter", "")
        found, common = self._page(request, after)
        show_owner = owner(ctx.account) if request.get("FetchOwner") else None
        return {
            **common,
            "KeyCount": found.count,
            "ContinuationToken": token,
            "StartAfter": _url(request, request.get("StartAfter")),
            "NextContinuationToken": _token(found.last) if found.truncated else None,
            "Contents": [_row(o, request) | {"Owner": show_owner} for o in found.objects],
        }

    def ListObjects(self, ctx: Context, request: dict[str, Any]) -> dict[str, Any]:
        """List a page of objects, as the first version does."""
        found, common = self._page(request, request.get("Marker", ""))
        return {
            **common,
            "Marker": _url(request, request.get("Marker", "")),
            "NextMarker": _url(request, found.last) if found.truncated and request.get("Delimiter") else None,
            "Contents": [_row(o, request) | {"Owner": owner(ctx.account)} for o in found.objects],
        }

    def ListObjectVersions(self, ctx: Context, request: dict[str, Any]) -> dict[str, Any]:
        """List a page of versions: each object has one, called ``null``."""
        found, common = self._page(request, request.get("KeyMarker", ""))
        more = {"NextKeyMarker": _url(request, found.last), "NextVersionIdMarker": "null"} if found.truncated else {}
        versions = [
            _row(o, request) | {"VersionId": "null", "IsLatest": True, "Owner": owner(ctx.account)}
            for o in found.objects
        ]
        return {**common, "KeyMarker": _url(request, request.get("KeyMarker", "")), "Versions": versions, **more}

    def _page(self, request: dict[str, Any], after: str) -> tuple[Page, dict[str, Any]]:
        bucket = self._bucket(request)
        limit = page_size(request, "MaxKeys", MAX_KEYS)
        prefix, delimiter = request.get("Prefix", ""), request.get("Delimiter", "")
        found = page(self._store, bucket, prefix, delimiter, after, limit)
        common = {
            "Name": bucket,
            "Prefix": _url(request, prefix),
            "Delimiter": _url(request, delimiter) or None,
            "MaxKeys": limit,
            "EncodingType": request.get("EncodingType"),
            "IsTruncated": found.truncated,
            "CommonPrefixes": [{"Prefix": _url(request, p)} for p in found.prefixes],
        }
        return found, common


def _url(request: dict[str, Any], text: str | None) -> str | None:
    """Return a text as the request's encoding type asks."""
    return quote(text, safe="/") if text is not None and request.get("EncodingType") == "url" else text


def _row(info: ObjectInfo, request: dict[str, Any]) -> dict[str, Any]:
    stored = info.attributes
    return {
        "Key": _url(request, info.key),
        "LastModified": info.last_modified,
        "ETag": quoted(info.etag),
        "Size": info.size,
        "StorageClass": stored.headers.get("StorageClass", "STANDARD"),
        "ChecksumAlgorithm": list(stored.checksums) or None,
        "ChecksumType": stored.checksum_type or None,
    }


def _token(last: str) -> str:
    return base64.urlsafe_b64encode(last.encode()).decode("ascii")


def _untoken(token: str) -> str:
    try:
        return base64.urlsafe_b64decode(token.encode("ascii", "replace")).decode("utf-8")
    except (binascii.Error, ValueError) as error:
        raise AwsError("InvalidArgument", "The continuation token provided is incorrect") from error
