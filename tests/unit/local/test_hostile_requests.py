"""Whatever a request looks like, the answer is an AWS error and never a defect of the service."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from sagespark.local.config import LocalConfig
from sagespark.local.objects.store import ObjectStore
from sagespark.local.services.iam import Iam
from sagespark.local.services.s3 import S3Buckets
from sagespark.local.services.s3_listing import S3Listing
from sagespark.local.services.s3_multipart import S3Multipart
from sagespark.local.services.s3_objects import S3Objects
from sagespark.local.services.sts import Sts
from sagespark.local.wire.context import AwsError, HttpRequest
from sagespark.local.wire.dispatch import Dispatcher
from sagespark.local.wire.models import operation_model, service_model
from sagespark.local.wire.validate import validate
from support.shapes import value

# Uploads would wait for a thread each; reads, lists and deletions go through the same steps.
METHODS = ["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", ""]
WORDS = [
    "x-amz-target",
    "SageMaker.CreateModel",
    "Action",
    "GetCallerIdentity",
    "GetRole",
    "RoleName",
    "list-type",
    "2",
    "prefix",
    "max-keys",
    "marker",
    "continuation-token",
    "delimiter",
    "/",
    "uploads",
    "uploadId",
    "partNumber",
    "tagging",
    "delete",
    "versions",
    "encoding-type",
    "url",
    "versionId",
    "null",
    "0",
    "-1",
    "99999999999999999999",
    "\x00",
    "%",
    "%ff",
    "%00",
    "ü",
    "é",
    "a/../b",
    "",
]
text = st.one_of(st.sampled_from(WORDS), st.text(st.characters(max_codepoint=255), max_size=8))
HEADERS = [
    "range",
    "if-match",
    "if-none-match",
    "if-modified-since",
    "x-amz-copy-source",
    "x-amz-copy-source-range",
    "x-amz-meta-a",
    "x-amz-tagging",
    "x-amz-content-sha256",
    "x-amz-checksum-crc32",
    "x-amz-checksum-mode",
    "x-amz-trailer",
    "x-amz-object-attributes",
    "x-amz-max-parts",
    "content-md5",
    "content-type",
    "content-length",
    "content-encoding",
    "expires",
    "authorization",
    "x-amz-target",
    "host",
]
VALUES = [
    "bytes=0-1",
    "bytes=-1",
    "*",
    '"x"',
    "STREAMING-UNSIGNED-PAYLOAD-TRAILER",
    "aws-chunked",
    "application/x-www-form-urlencoded",
    "AWS4-HMAC-SHA256 Credential=a/b/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=x",
    "AWS4-HMAC-SHA256 Credential=a/b/us-east-1/sts/aws4_request",
    "bucket.s3.localhost",
    "bucket/key",
    "bucket/none?versionId=3",
    "Wed, 21 Oct 2015 07:28:00 GMT",
    "99999999-01-01",
    "1e400",
    "SageMaker.",
    ".",
]
pairs = st.lists(st.tuples(text, text), max_size=4)
bodies = st.one_of(
    st.binary(max_size=40),
    st.sampled_from(
        [
            b"<Delete><Object><Key>k</Key></Object></Delete>",
            b"<Tagging><TagSet><Tag><Key>a</Key><Value/></Tag></TagSet></Tagging>",
            b"<a><b/></a>",
            b"<CreateBucketConfiguration/>",
            b"Action=GetCallerIdentity",
            b"Action=AssumeRole&RoleArn.member.1=x&Tags.member.1.Key.x=y",
            b"{}",
            b'{"a":',
            b"0\r\n\r\n",
        ]
    ),
)


class Bytes:
    def __init__(self, data: bytes) -> None:
        self.data = data

    async def chunks(self) -> AsyncIterator[bytes]:
        if self.data:
            yield self.data

    async def read(self, limit: int) -> bytes:
        return self.data


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    root = tmp_path_factory.mktemp("hostile")
    config = LocalConfig(data=root, workers=2)
    store = ObjectStore(root / "objects")
    pool = ThreadPoolExecutor(2)
    store.create_bucket("bucket")
    store.put_bytes("bucket", "key", b"0123456789")
    shared = (store, config, pool)
    providers = [S3Buckets(*shared), S3Objects(*shared), S3Listing(*shared), S3Multipart(*shared), Sts(), Iam()]
    dispatcher = Dispatcher(providers, config)
    with asyncio.Runner() as runner:
        yield lambda request: runner.run(dispatcher.handle(request, "http://localhost"))
    dispatcher.close()
    pool.shutdown()
    store.close()


def query(rows: list[tuple[str, str]]) -> str:
    return "&".join(f"{k}={v}" if v else k for k, v in rows)


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.sampled_from(METHODS),
    st.one_of(st.sampled_from(["/", "/bucket", "/bucket/", "/bucket/key", "/bucket//", "/none/k", "*", ""]), text),
    pairs,
    st.dictionaries(st.sampled_from(HEADERS), st.one_of(st.sampled_from(VALUES), text), max_size=5),
    bodies,
)
@example("PUT", "/bucket/key", [("tagging", "")], {}, b"<Tagging><TagSet><Tag><Key>a</Key></Tag></TagSet></Tagging>")
@example("GET", "/bucket/key", [], {"range": "bytes=99999999999999999999-"}, b"")
@example("GET", "/bucket", [("list-type", "2"), ("continuation-token", "\xff")], {}, b"")
@example("GET", "/bucket", [("uploads", ""), ("max-uploads", "-1")], {}, b"")
@example("GET", "/bucket", [("uploads", ""), ("max-uploads", "0")], {}, b"")
@example("GET", "/bucket/key", [("uploadId", "x"), ("part-number-marker", "x")], {}, b"")
@example("GET", "/", [("max-buckets", "-1")], {}, b"")
@example("GET", "/bucket/%00", [], {}, b"")
@example("PUT", "/bucket/new", [], {"x-amz-copy-source": "/bucket/key", "x-amz-checksum-algorithm": "NONE"}, b"")
@example(
    "GET", "/bucket/key", [("attributes", "")], {"x-amz-object-attributes": "ETag,Other", "x-amz-max-parts": "-1"}, b""
)
@example("GET", "/bucket/key", [("X-Amz-Signature", "x"), ("X-Amz-Date", "x"), ("X-Amz-Expires", "x")], {}, b"")
@example("GET", "/bucket/key", [("AWSAccessKeyId", "x"), ("Signature", "x"), ("Expires", "²")], {}, b"")
@example("GET", "/bucket/key", [("AWSAccessKeyId", "x"), ("Signature", "x"), ("Expires", "99999999999")], {}, b"")
def test_no_request_is_a_defect(
    answers: Any, method: str, path: str, rows: list[tuple[str, str]], headers: dict[str, str], body: bytes
) -> None:
    request = HttpRequest(method, path, query(rows), {"host": "localhost", **headers}, Bytes(body))
    answer = answers(request)
    assert answer.status < 500 or answer.status == 501, (answer.status, answer.body)
    if answer.status >= 400 and method != "HEAD":
        assert answer.body, answer
    for name, header in answer.headers:
        assert not set("\r\n\x00") & set(name + header)


@pytest.mark.parametrize("service", ["sagemaker", "logs", "iam", "sts", "s3", "sagemaker-runtime"])
def test_no_value_is_a_defect_of_the_validator(service: str) -> None:
    rng = random.Random(service)
    for operation in service_model(service).operation_names:
        shape = operation_model(service, operation).input_shape
        if shape is None:
            continue
        for optional in (0.1, 0.8):
            request = value(shape, rng, optional=optional)
            for name in list(request):
                if rng.random() < 0.2:
                    del request[name]
            with contextlib.suppress(AwsError):
                validate(service, shape, request)


def test_the_log_names_what_was_refused(answers: Any, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "sagespark.local.wire"):
        answers(HttpRequest("POST", "/", "", {"x-amz-target": "SageMaker.CreateModel"}, Bytes(b"{}")))
    assert "sagemaker CreateModel: UnknownOperationException" in caplog.text
