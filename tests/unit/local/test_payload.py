"""Bodies of S3 requests: codings, checksums, and what is refused."""

from __future__ import annotations

import base64
import hashlib
import zlib
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sagespark.local.wire import checksums
from sagespark.local.wire.chunked import ChunkedDecoder
from sagespark.local.wire.context import AwsError
from sagespark.local.wire.crc import Crc, crc32, crc32c, crc64nvme
from sagespark.local.wire.payload import Content


def b64(value: bytes) -> str:
    return base64.b64encode(value).decode()


def received(body: bytes, headers: dict[str, str], step: int = 7) -> tuple[bytes, dict[str, str]]:
    checker = Content(None, headers).checker()
    pieces = [bytes(p) for i in range(0, len(body), step) for p in checker.feed(body[i : i + step])]
    checker.finish()
    content = b"".join(pieces)
    assert checker.size == len(content)
    assert checker.md5 == hashlib.md5(content).hexdigest()
    return content, checker.checksums


def chunked(chunks: list[bytes], trailers: dict[str, str] | None = None, end: bytes = b"\r\n") -> bytes:
    body = b"".join(b"%X\r\n%s\r\n" % (len(c), c) for c in chunks if c) + b"0\r\n"
    for name, value in (trailers or {}).items():
        body += f"{name}:{value}\r\n".encode()
    return body + end


CODED = {"x-amz-content-sha256": "STREAMING-UNSIGNED-PAYLOAD-TRAILER", "content-encoding": "aws-chunked"}


@settings(max_examples=50, deadline=None)
@given(st.lists(st.binary(max_size=300), max_size=5), st.integers(1, 400))
def test_chunks_at_any_cut(chunks: list[bytes], step: int) -> None:
    whole = b"".join(chunks)
    crc = b64(zlib.crc32(whole).to_bytes(4, "big"))
    headers = CODED | {"x-amz-trailer": "x-amz-checksum-crc32", "x-amz-decoded-content-length": str(len(whole))}
    trailers = {"x-amz-checksum-crc32": crc}
    assert received(chunked(chunks, trailers), headers, step) == (whole, {"CRC32": crc})
    # Some SDKs leave out the last empty line.
    assert received(chunked(chunks, trailers, b""), headers, step) == (whole, {"CRC32": crc})


class Strict:
    """A verifier that takes no signature."""

    def chunk(self, signature: str, sha256: str) -> None:
        raise AwsError("SignatureDoesNotMatch", "chunk", status=403)

    def trailer(self, signature: str, text: str) -> None:
        raise AwsError("SignatureDoesNotMatch", "trailer", status=403)


@pytest.mark.parametrize(
    ("told", "signed"),
    [
        ("STREAMING-UNSIGNED-PAYLOAD-TRAILER", False),
        ("UNSIGNED-PAYLOAD", False),
        ("STREAMING-AWS4-HMAC-SHA256-PAYLOAD", True),
        ("STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER", True),
        (hashlib.sha256(b"").hexdigest(), True),
    ],
)
def test_chunks_without_signatures_where_the_request_tells_so(told: str, signed: bool) -> None:
    content = Content(None, {"x-amz-content-sha256": told, "content-encoding": "aws-chunked"}, Strict())
    body = chunked([b"abc"])
    if signed:
        with pytest.raises(AwsError, match="chunk"):
            content.checker().feed(body)
    else:
        checker = content.checker()
        assert b"".join(checker.feed(body)) == b"abc"
        checker.finish()


def code(body: bytes, headers: dict[str, str]) -> str:
    with pytest.raises(AwsError) as caught:
        received(body, headers)
    return caught.value.code


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"5\r\nabc",
        b"3\r\nabcd\r\n0\r\n\r\n",
        b"+3\r\nabc\r\n0\r\n\r\n",
        b"0x3\r\nabc\r\n0\r\n\r\n",
        b"1_0\r\nabc\r\n0\r\n\r\n",
        b"\r\nabc\r\n0\r\n\r\n",
        b"-1\r\nabc\r\n0\r\n\r\n",
        b"3\r\nabc\r\n0\r\n\r\nmore",
        b"3\r\nabc\r\n",
        b"f" * 17 + b"\r\n",
        b"3;" + b"x" * 9000,
    ],
)
def test_broken_chunks_are_refused(body: bytes) -> None:
    assert code(body, CODED) == "IncompleteBody"


def test_what_does_not_fit_is_refused() -> None:
    assert code(chunked([b"abc"]), CODED | {"x-amz-decoded-content-length": "4"}) == "IncompleteBody"
    assert code(chunked([b"abc"]), CODED | {"x-amz-decoded-content-length": "three"}) == "InvalidArgument"
    trailer = CODED | {"x-amz-trailer": "x-amz-checksum-crc32"}
    assert code(chunked([b"abc"], {"x-amz-checksum-crc32": "AAAAAA=="}), trailer) == "BadDigest"
    assert code(chunked([b"abc"], {"x-amz-checksum-crc32": "???"}), trailer) == "InvalidRequest"
    assert code(chunked([b"abc"]), trailer) == "MalformedTrailerError"
    assert (
        code(chunked([b"abc"], {"no colon": ""}).replace(b"no colon:", b"no colon"), CODED) == "MalformedTrailerError"
    )
    assert code(b"abc", {"x-amz-trailer": "x-amz-checksum-crc32"}) == "InvalidRequest"
    assert code(b"abc", {"content-md5": b64(hashlib.md5(b"abd").digest())}) == "BadDigest"
    assert code(b"abc", {"content-md5": "abc"}) == "InvalidDigest"
    assert code(b"abc", {"x-amz-content-sha256": hashlib.sha256(b"abd").hexdigest()}) == "XAmzContentSHA256Mismatch"
    two = {"x-amz-checksum-crc32": "AAAAAA==", "x-amz-checksum-sha1": b64(bytes(20))}
    assert code(b"abc", two) == "InvalidRequest"
    assert code(b"abc", {"x-amz-checksum-xxhash64": "AAAAAAAAAAA="}) == "InvalidRequest"


def test_plain_bodies() -> None:
    body = b"hello" * 100
    headers = {
        "content-md5": b64(hashlib.md5(body).digest()),
        "x-amz-content-sha256": hashlib.sha256(body).hexdigest(),
        "x-amz-checksum-sha512": b64(hashlib.sha512(body).digest()),
        "x-amz-checksum-type": "FULL_OBJECT",
    }
    content, found = received(body, headers)
    assert content == body
    assert set(found) == {"SHA512"}


def test_data_pass_through_uncopied() -> None:
    body = b"400\r\n" + bytes(1024) + b"\r\n0\r\n\r\n"
    (piece,) = ChunkedDecoder().feed(body)
    assert piece.obj is body


@pytest.mark.parametrize(
    ("algorithm", "check"), [(crc32(), 0xCBF43926), (crc32c(), 0xE3069283), (crc64nvme(), 0xAE8B14860A799888)]
)
def test_crcs_have_the_catalogues_check_values(algorithm: Any, check: int) -> None:
    crc = Crc(algorithm)
    for byte in b"123456789":
        crc.update(bytes([byte]))
    assert crc.value == check


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 5000), st.integers(0, 5000), st.integers(0, 2**32 - 1))
def test_crcs_join(first: int, second: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    a, b = rng.bytes(first), rng.bytes(second)
    for algorithm in (crc32(), crc32c(), crc64nvme()):
        whole, left, right = Crc(algorithm), Crc(algorithm), Crc(algorithm)
        whole.update(a + b)
        left.update(a)
        right.update(b)
        assert algorithm.join(left.value, right.value, second) == whole.value
        left.update(b)
        assert left.value == whole.value
    assert crc32().join(zlib.crc32(a), zlib.crc32(b), second) == zlib.crc32(a + b)


def test_large_updates_are_cut() -> None:
    data = np.random.default_rng(0).bytes(3 * 1024 * 1024 + 5)
    crc = Crc(crc32())
    crc.update(data)
    assert crc.value == zlib.crc32(data)


def test_checksums_of_parts() -> None:
    a, b = b"a" * 10, b"b" * 20
    rows = [(b64(hashlib.sha1(p).digest()), len(p)) for p in (a, b)]
    composite = b64(hashlib.sha1(hashlib.sha1(a).digest() + hashlib.sha1(b).digest()).digest())
    assert checksums.of_parts("SHA1", "COMPOSITE", rows) == composite + "-2"
    rows = [(b64(zlib.crc32(p).to_bytes(4, "big")), len(p)) for p in (a, b)]
    assert checksums.of_parts("CRC32", "FULL_OBJECT", rows) == b64(zlib.crc32(a + b).to_bytes(4, "big"))
    for algorithm, kind in (("SHA1", "FULL_OBJECT"), ("CRC64NVME", "COMPOSITE")):
        with pytest.raises(AwsError, match=kind):
            checksums.check_type(algorithm, kind)
