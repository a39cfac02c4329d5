r"""Verify presigned URLs of AWS Signature Version 2, which boto3 still makes for S3 unless told otherwise.

The string that is signed, by the Amazon S3 Developer Guide, "Signing and authenticating REST requests"::

    METHOD \n Content-MD5 \n Content-Type \n Expires \n x-amz-headers, sorted \n /bucket/key?subresources, sorted
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from datetime import UTC, datetime
from urllib.parse import parse_qsl

from sagespark.local.wire.context import AwsError, HttpRequest

_SUBRESOURCES = frozenset(
    {
        "accelerate",
        "acl",
        "analytics",
        "cors",
        "defaultObjectAcl",
        "delete",
        "inventory",
        "lifecycle",
        "location",
        "logging",
        "metrics",
        "notification",
        "object-lock",
        "partNumber",
        "policy",
        "replication",
        "requestPayment",
        "response-cache-control",
        "response-content-disposition",
        "response-content-encoding",
        "response-content-language",
        "response-content-type",
        "response-expires",
        "restore",
        "select",
        "select-type",
        "storageClass",
        "tagging",
        "torrent",
        "uploadId",
        "uploads",
        "versionId",
        "versioning",
        "versions",
        "website",
    }
)


def is_presigned(query: dict[str, str]) -> bool:
    """Tell whether the query carries such a signature."""
    return "AWSAccessKeyId" in query and "Signature" in query


def check_expiry(query: dict[str, str], now: datetime) -> None:
    """Refuse a URL whose time is over.

    Raises
    ------
    AwsError
        ``AccessDenied`` (403).
    """
    text = query.get("Expires", "")
    if not text.isdecimal() or len(text) > 11:
        raise AwsError("AccessDenied", "Invalid date (should be seconds since epoch)", status=403)
    if now > datetime.fromtimestamp(int(text), UTC):
        raise AwsError("AccessDenied", "Request has expired", status=403)


def verify(request: HttpRequest, path: str, query: dict[str, str], secret: str) -> None:
    """Check the signature of a presigned URL.

    Parameters
    ----------
    request : HttpRequest
        Gives method, query and headers.
    path : str
        Path with the bucket in front, percent-encoded as it was sent.
    query : dict
        Its parameters.
    secret : str
        The secret key.

    Raises
    ------
    AwsError
        ``SignatureDoesNotMatch`` (403).
    """
    headers = request.headers
    # Headers of the family may stand in the query as well.
    amz = {k.lower(): v for k, v in query.items() if k.lower().startswith("x-amz-")}
    amz |= {k: v.strip() for k, v in headers.items() if k.startswith("x-amz-")}
    pairs = sorted((k, v) for k, v in parse_qsl(request.query, keep_blank_values=True) if k in _SUBRESOURCES)
    bare = {item for item in request.query.split("&") if "=" not in item}
    resource = "&".join(k if k in bare else f"{k}={v}" for k, v in pairs)
    text = "\n".join(
        [
            request.method,
            headers.get("content-md5", query.get("content-md5", "")),
            headers.get("content-type", query.get("content-type", "")),
            query.get("Expires", ""),
            *(f"{k}:{amz[k]}" for k in sorted(amz)),
            path + (f"?{resource}" if resource else ""),
        ]
    )
    expected = base64.b64encode(hmac.new(secret.encode(), text.encode("utf-8"), hashlib.sha1).digest())
    if not hmac.compare_digest(expected, query["Signature"].encode()):
        raise AwsError(
            "SignatureDoesNotMatch",
            "The request signature we calculated does not match the signature you provided. Check your key and signing "
            "method.",
            status=403,
        )
