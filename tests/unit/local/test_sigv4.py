"""SigV4 against AWS's own worked examples and against botocore's signer."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

import pytest
from botocore.auth import S3SigV4Auth, S3SigV4QueryAuth, SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from sagespark.local.wire.chunked import ChunkedDecoder
from sagespark.local.wire.context import AwsError, HttpRequest
from sagespark.local.wire.identify import Scope, query_of
from sagespark.local.wire.sigv4 import Signed, check_expiry, signing_key, verify

SECRET = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
SCOPE = Scope("AKIAIOSFODNN7EXAMPLE", "20130524", "us-east-1", "s3")
WHEN = datetime(2013, 5, 24, tzinfo=UTC)


def request(method: str, path: str, headers: dict[str, str], query: str = "") -> HttpRequest:
    return HttpRequest(method, path, query, headers, None)


# "Signature Calculations for the Authorization Header", examples of the Amazon S3 API Reference.
GET = (
    "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request,"
    "SignedHeaders=host;range;x-amz-content-sha256;x-amz-date,"
    "Signature=f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"
)
EMPTY = hashlib.sha256(b"").hexdigest()
GET_HEADERS = {
    "host": "examplebucket.s3.amazonaws.com",
    "range": "bytes=0-9",
    "x-amz-content-sha256": EMPTY,
    "x-amz-date": "20130524T000000Z",
    "authorization": GET,
}


def test_the_documented_get() -> None:
    verify(request("GET", "/test.txt", GET_HEADERS), SCOPE, {}, "s3", None, SECRET, WHEN)


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"range": "bytes=0-8"}, "SignatureDoesNotMatch"),
        ({"host": "other"}, "SignatureDoesNotMatch"),
        ({"authorization": GET[:-1] + "0"}, "SignatureDoesNotMatch"),
        ({"authorization": GET.replace("host;", "")}, "AuthorizationHeaderMalformed"),
        ({"x-amz-date": "20130525T000000Z"}, "AuthorizationHeaderMalformed"),
    ],
)
def test_any_change_is_found(change: dict[str, str], code: str) -> None:
    with pytest.raises(AwsError) as caught:
        verify(request("GET", "/test.txt", GET_HEADERS | change), SCOPE, {}, "s3", None, SECRET, WHEN)
    assert caught.value.code == code


def test_old_and_early_requests_are_refused() -> None:
    for skew in (timedelta(minutes=16), timedelta(minutes=-16)):
        with pytest.raises(AwsError, match="RequestTimeTooSkewed"):
            verify(request("GET", "/test.txt", GET_HEADERS), SCOPE, {}, "s3", None, SECRET, WHEN + skew)


# "Transferring Payload in Multiple Chunks", example: 66,560 bytes in chunks of 64 KiB.
SEED = "4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9"
CHUNKS = [
    (65536, "ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648"),
    (1024, "0055627c9e194cb4542bae2aa5492e3c1575bbb81b612b7d234b86a503ef5497"),
    (0, "b6c6ea8a5354eaf15b3cb7646744f4275b71ea724fed81ceb9323e279d449df9"),
]


def signed() -> Signed:
    scope = "20130524/us-east-1/s3/aws4_request"
    return Signed(signing_key(SECRET, SCOPE), scope, "20130524T000000Z", SEED)


def coded(change: int = -1) -> bytes:
    parts = []
    for i, (size, signature) in enumerate(CHUNKS):
        data = (b"b" if i == change else b"a") * size
        parts.append(b"%x;chunk-signature=%s\r\n%s\r\n" % (size, signature.encode(), data))
    return b"".join(parts)


def test_the_documented_chunks() -> None:
    decoder = ChunkedDecoder(signed())
    body = coded()
    content = b"".join(bytes(p) for i in range(0, len(body), 1000) for p in decoder.feed(body[i : i + 1000]))
    decoder.end()
    assert content == b"a" * 66560


@pytest.mark.parametrize("change", [0, 1])
def test_a_changed_chunk_is_found(change: int) -> None:
    with pytest.raises(AwsError, match="SignatureDoesNotMatch"):
        ChunkedDecoder(signed()).feed(coded(change))


def sign(auth: type[Any], service: str, method: str, url: str, body: bytes, **arguments: Any) -> HttpRequest:
    """Return what botocore's signer sends."""
    aws = AWSRequest(method=method, url=url, data=body, headers={"X-Custom": "a  b"})
    auth(Credentials("any-key", SECRET), service, "eu-west-1", **arguments).add_auth(aws)
    prepared = aws.prepare()
    parts = urlsplit(prepared.url)
    headers = {k.lower(): v for k, v in prepared.headers.items()} | {"host": parts.netloc}
    return request(method, parts.path, headers, parts.query)


CASES = [
    (SigV4Auth, "sagemaker", "POST", "http://localhost:1/", b"{}"),
    (SigV4Auth, "sagemaker", "POST", "http://localhost:1/endpoints/a-b/invocations", b"1,2"),
    (SigV4Auth, "sts", "POST", "http://localhost:1/", b"Action=GetCallerIdentity&Version=2011-06-15"),
    (S3SigV4Auth, "s3", "GET", "http://localhost:1/b/a%20b/%C3%BC%2B~?list-type=2&prefix=a%2Fb&x=", b""),
    (S3SigV4Auth, "s3", "PUT", "http://localhost:1/b//../k", b"body"),
    (S3SigV4QueryAuth, "s3", "GET", "http://localhost:1/b/k%2B?versionId=null", b""),
]


@pytest.mark.parametrize(("auth", "service", "method", "url", "body"), CASES, ids=range(len(CASES)))
def test_botocores_signatures_are_right(auth: type[Any], service: str, method: str, url: str, body: bytes) -> None:
    sent = sign(auth, service, method, url, body)
    query = query_of(sent)
    scope = Scope.of(sent, query)
    assert (scope.access_key, scope.region, scope.service) == ("any-key", "eu-west-1", service)
    now = datetime.now(UTC)
    whole = None if service == "s3" else body
    verify(sent, scope, query, service, whole, SECRET, now)
    with pytest.raises(AwsError) as caught:
        verify(sent, scope, query, service, whole, "another secret", now)
    assert caught.value.status == 403
    if whole is not None:
        with pytest.raises(AwsError, match="does not match"):
            verify(sent, scope, query, service, body + b" ", SECRET, now)


def test_presigned_requests_end() -> None:
    sent = sign(S3SigV4QueryAuth, "s3", "GET", "http://localhost:1/b/k", b"", expires=60)
    query, now = query_of(sent), datetime.now(UTC)
    check_expiry(query, now)
    verify(sent, Scope.of(sent, query), query, "s3", None, SECRET, now + timedelta(seconds=50))
    with pytest.raises(AwsError, match="expired"):
        check_expiry(query, now + timedelta(seconds=70))
    with pytest.raises(AwsError, match="604800"):
        check_expiry(query | {"X-Amz-Expires": "604801"}, now)
    with pytest.raises(AwsError, match="not valid"):
        check_expiry(query | {"X-Amz-Expires": "soon"}, now)


def test_unsigned_requests_are_refused_by_the_services_own_names() -> None:
    for service, code in (("s3", "AccessDenied"), ("sagemaker", "MissingAuthenticationTokenException")):
        with pytest.raises(AwsError) as caught:
            verify(request("GET", "/", {"host": "x"}), Scope(), {}, service, b"", SECRET, WHEN)
        assert (caught.value.code, caught.value.status) == (code, 403)
