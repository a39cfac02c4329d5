"""Verify AWS Signature Version 4, in headers, presigned queries and streamed chunks.

Only done with ``--require-signature``. Every access key is known; its secret is the embedded service's one secret.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qsl, quote

from sagespark.local.wire.context import AwsError, HttpRequest
from sagespark.local.wire.identify import Scope

ALGORITHM = "AWS4-HMAC-SHA256"
UNSIGNED = "UNSIGNED-PAYLOAD"
SKEW = timedelta(minutes=15)
"""How far the client's clock may be off."""
_EMPTY = hashlib.sha256(b"").hexdigest()
_FIELD = re.compile(r"(SignedHeaders|Signature)=([^,\s]+)")
_SAFE = "-_.~"


@dataclass
class Signed:
    """A verified request: what the signatures of its chunks go on from."""

    key: bytes
    scope: str
    stamp: str
    previous: str

    def _expected(self, kind: str, *hashes: str) -> str:
        text = "\n".join([f"{ALGORITHM}-{kind}", self.stamp, self.scope, self.previous, *hashes])
        return hmac.new(self.key, text.encode(), hashlib.sha256).hexdigest()

    def chunk(self, signature: str, sha256: str) -> None:
        """Check the signature of one chunk of a streamed body."""
        self._compare(self._expected("PAYLOAD", _EMPTY, sha256), signature)

    def trailer(self, signature: str, text: str) -> None:
        """Check the signature of the trailers."""
        self._compare(self._expected("TRAILER", hashlib.sha256(text.encode()).hexdigest()), signature)

    def _compare(self, expected: str, signature: str) -> None:
        if not hmac.compare_digest(expected.encode(), signature.encode()):
            raise mismatch("s3")
        self.previous = expected


def mismatch(service: str) -> AwsError:
    """Return the error of a wrong signature, as the service names it."""
    code = "SignatureDoesNotMatch" if service in ("s3", "sts", "iam") else "InvalidSignatureException"
    return AwsError(
        code,
        "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access "
        "Key and signing method.",
        status=403,
    )


def verify(
    request: HttpRequest,
    scope: Scope,
    query: dict[str, str],
    service: str,
    body: bytes | None,
    secret: str,
    now: datetime,
) -> Signed:
    """Check the signature of a request.

    Parameters
    ----------
    request : HttpRequest
        Path and query as they were sent.
    scope : Scope
        As the request tells it.
    query : dict
        Its query parameters.
    service : str
        botocore's name of the service, for the names of errors.
    body : bytes or None
        The body; None where it is streamed: its hash is then checked as it arrives.
    secret : str
        The secret key.
    now : datetime
        To judge the age.

    Raises
    ------
    AwsError
        403, by the service's own names.
    """
    if not scope.access_key:
        raise _missing(service)
    headers = request.headers
    presigned = "X-Amz-Signature" in query
    if presigned:
        signed_headers, signature = query.get("X-Amz-SignedHeaders", ""), query["X-Amz-Signature"]
        stamp = query.get("X-Amz-Date", "")
    else:
        fields = dict(_FIELD.findall(headers.get("authorization", "")))
        signed_headers, signature = fields.get("SignedHeaders", ""), fields.get("Signature", "")
        stamp = headers.get("x-amz-date", "")
    names = signed_headers.lower().split(";")
    if not signature or "host" not in names or stamp[:8] != scope.date:
        raise AwsError(
            "IncompleteSignatureException" if service != "s3" else "AuthorizationHeaderMalformed",
            "The signature needs a credential scope of its own date, SignedHeaders with host, and a signature.",
        )
    _check_age(stamp, query if presigned else {}, service, now)
    if (presigned and service == "s3") or body is None:
        payload = headers.get("x-amz-content-sha256", UNSIGNED)
    else:
        payload = hashlib.sha256(body).hexdigest()
        told = headers.get("x-amz-content-sha256", payload)
        if service == "s3" and told == UNSIGNED:
            payload = UNSIGNED
        elif told != payload:
            raise mismatch(service)
    canonical = "\n".join(
        [
            request.method,
            _path(request.path, service),
            _query(request.query),
            *(f"{name}:{' '.join(headers.get(name, '').split())}" for name in names),
            "",
            ";".join(names),
            payload,
        ]
    )
    text = "/".join([scope.date, scope.region, scope.service, "aws4_request"])
    key = signing_key(secret, scope)
    to_sign = "\n".join([ALGORITHM, stamp, text, hashlib.sha256(canonical.encode("latin-1")).hexdigest()])
    expected = hmac.new(key, to_sign.encode(), hashlib.sha256).hexdigest()
    if not hmac.compare_digest(expected.encode(), signature.encode()):
        raise mismatch(service)
    return Signed(key, text, stamp, signature)


def signing_key(secret: str, scope: Scope) -> bytes:
    """Return the key that a scope's requests are signed with."""
    key = ("AWS4" + secret).encode()
    for step in (scope.date, scope.region, scope.service, "aws4_request"):
        key = hmac.new(key, step.encode(), hashlib.sha256).digest()
    return key


def check_expiry(query: dict[str, str], now: datetime) -> None:
    """Refuse a presigned request whose time is over; done also where signatures are not asked for.

    Raises
    ------
    AwsError
        ``AccessDenied`` (403).
    """
    if "X-Amz-Signature" in query:
        _check_age(query.get("X-Amz-Date", ""), query, "s3", now)


def _missing(service: str) -> AwsError:
    if service == "s3":
        return AwsError("AccessDenied", "Access Denied", status=403)
    code = "MissingAuthenticationToken" if service in ("sts", "iam") else "MissingAuthenticationTokenException"
    return AwsError(code, "Missing Authentication Token", status=403)


def _check_age(stamp: str, query: dict[str, str], service: str, now: datetime) -> None:
    try:
        when = datetime.strptime(stamp, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
        seconds = int(query.get("X-Amz-Expires", "0"))
    except ValueError as error:
        raise AwsError("AccessDenied", "X-Amz-Date or X-Amz-Expires is not valid", status=403) from error
    if query:
        if not 0 < seconds <= 604_800:
            raise AwsError("AuthorizationQueryParametersError", "X-Amz-Expires must be between 1 and 604800 seconds")
        if now > when + timedelta(seconds=seconds):
            raise AwsError("AccessDenied", "Request has expired", status=403)
        late = False
    else:
        late = now - when > SKEW
    if late or when - now > SKEW:
        if service == "s3":
            text = "The difference between the request time and the server's time is too large."
            raise AwsError("RequestTimeTooSkewed", text, status=403)
        raise AwsError("InvalidSignatureException", f"Signature expired or not yet current: {stamp}", status=403)


def _path(path: str, service: str) -> str:
    if service == "s3":
        return path or "/"
    # Every other service encodes the path, as it was sent, once more.
    return quote(path or "/", safe="/" + _SAFE)


def _query(text: str) -> str:
    pairs = parse_qsl(text, keep_blank_values=True)
    encoded = sorted((quote(k, safe=_SAFE), quote(v, safe=_SAFE)) for k, v in pairs if k != "X-Amz-Signature")
    return "&".join(f"{k}={v}" for k, v in encoded)
