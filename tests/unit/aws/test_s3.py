from __future__ import annotations

import pickle
import tracemalloc
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from moto import mock_aws

from sagespark.aws import s3
from sagespark.aws.multipart import MIN_PART, MultipartWriter
from sagespark.aws.session import SageMakerSession
from sagespark.core.errors import ResourceNotFoundError, ServiceError, SessionError
from sagespark.core.s3uri import S3Uri
from support.scripted import RESET, Answer, Script, ok, s3_error

URI = S3Uri("bucket", "sagespark/km-1/part-0")
CREATED = b"<InitiateMultipartUploadResult><UploadId>u</UploadId></InitiateMultipartUploadResult>"


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Iterator[SageMakerSession]:
    """A session on moto's S3, which is another hand's idea of S3."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "a")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "b")
    from sagespark.aws import clients

    with mock_aws():
        monkeypatch.setattr(clients, "_cache", clients._Cache())
        session = SageMakerSession(region="us-east-1", bucket="bucket")
        session.client("s3").create_bucket(Bucket="bucket")
        yield session


def keys(session: SageMakerSession) -> list[str]:
    return [uri.key for uri in s3.list_keys(session, S3Uri("bucket"))]


def test_an_object_and_back(store: SageMakerSession, tmp_path: Path) -> None:
    assert not s3.exists(store, URI)
    assert s3.size(store, URI) is None
    s3.upload_bytes(store, URI, b"abc", "text/csv")
    assert (s3.exists(store, URI), s3.size(store, URI), s3.read_bytes(store, URI)) == (True, 3, b"abc")
    s3.download(store, URI, tmp_path / "x")
    assert (tmp_path / "x").read_bytes() == b"abc"
    s3.upload_file(store, tmp_path / "x", S3Uri("bucket", "y"))
    assert s3.read_bytes(store, S3Uri("bucket", "y")) == b"abc"
    with pytest.raises(ResourceNotFoundError):
        s3.read_bytes(store, S3Uri("bucket", "nothing"))


def test_a_prefix_ends_in_a_slash_so_that_a_neighbour_is_not_listed(store: SageMakerSession) -> None:
    for key in ("job-1/a", "job-1/b/c", "job-10/a", "job-1"):
        s3.upload_bytes(store, S3Uri("bucket", key), b"")
    assert [u.key for u in s3.list_keys(store, S3Uri("bucket", "job-1"))] == ["job-1/a", "job-1/b/c"]


def test_listing_and_deleting_come_in_pages(store: SageMakerSession, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(s3, "DELETE_BATCH", 300)
    client = store.client("s3")
    for number in range(1005):
        client.put_object(Bucket="bucket", Key=f"a/{number:04}", Body=b"")
    client.put_object(Bucket="bucket", Key="b", Body=b"")
    assert s3.delete_keys(store, s3.list_keys(store, S3Uri("bucket", "a"))) == 1005
    assert keys(store) == ["b"]


def test_deleting_what_is_gone_is_no_error(store: SageMakerSession) -> None:
    assert s3.delete_keys(store, [URI, S3Uri("bucket", "x")]) == 2
    assert s3.delete_keys(store, []) == 0


def test_objects_that_stay_are_named(session: SageMakerSession, script: Script) -> None:
    script.answers = [
        b"<DeleteResult><Error><Key>a</Key><Code>AccessDenied</Code><Message>no</Message></Error></DeleteResult>",
        b"<DeleteResult></DeleteResult>",
    ]
    with pytest.raises(ServiceError, match=r"1 of 2 .*s3://bucket/a \(AccessDenied\)"):
        s3.delete_keys(session, [S3Uri("bucket", "a"), S3Uri("other", "b")])
    assert [sent.path for sent in script.sent] == ["/bucket", "/other"]


def test_the_default_bucket_is_made(monkeypatch: pytest.MonkeyPatch, store: SageMakerSession) -> None:
    for region in ("us-east-1", "eu-west-1"):
        session = SageMakerSession(region=region).resolve()
        s3.ensure_bucket(session)
        s3.ensure_bucket(session)
        s3.upload_bytes(session, session.location / "x", b"")


def test_another_bucket_is_not_made(store: SageMakerSession) -> None:
    with pytest.raises(SessionError, match="'mine' does not exist"):
        s3.ensure_bucket(replace(store, bucket="mine"))


def test_a_bucket_of_others_is_told(session: SageMakerSession, script: Script) -> None:
    script.answers = [Answer(403, b"")]
    with pytest.raises(SessionError, match="another account"):
        s3.ensure_bucket(session)


def test_what_fits_in_one_part_is_one_put(session: SageMakerSession, script: Script) -> None:
    script.answers = [ok(ETag='"e"')]
    with MultipartWriter(session, URI, MIN_PART) as writer:
        writer.write(b"ab")
        writer.write(memoryview(b"cd")[:1])
    assert script.operations == ["PutObject"]
    assert script.sent[0].path == "/bucket/sagespark/km-1/part-0"
    assert writer.written == 3


@pytest.mark.parametrize("size", [0, 1, MIN_PART - 1, MIN_PART, MIN_PART + 1, 2 * MIN_PART, 2 * MIN_PART + 7])
def test_parts_make_the_object(store: SageMakerSession, size: int) -> None:
    body = (b"0123456789abcde" * (size // 15 + 1))[:size]
    writer = MultipartWriter(store, URI, MIN_PART)
    for start in range(0, size, 1_234_567):
        writer.write(memoryview(body)[start : start + 1_234_567])
    etag = writer.close()
    assert s3.read_bytes(store, URI) == body
    assert etag.endswith('-1"') is False
    with pytest.raises(ValueError, match="closed"):
        writer.write(b"x")


def test_nothing_is_there_before_the_end(store: SageMakerSession) -> None:
    writer = MultipartWriter(store, URI, MIN_PART)
    writer.write(bytes(3 * MIN_PART))
    assert keys(store) == []
    writer.close()
    assert keys(store) == [URI.key]


@pytest.mark.parametrize("size", [1, 2 * MIN_PART + 7])
def test_an_upload_that_is_held_is_finished_by_whoever_has_it(store: SageMakerSession, size: int) -> None:
    held = []
    for byte in (b"a", b"b"):
        writer = MultipartWriter(store, URI, MIN_PART)
        writer.write(byte * size)
        held.append(pickle.loads(pickle.dumps(writer.hold())))
        writer.abort()
    assert keys(store) == []
    held[1].complete(store)
    assert s3.read_bytes(store, URI) == b"b" * size
    assert s3.abort_uploads(store, S3Uri("bucket", "")) == 1
    assert s3.read_bytes(store, URI) == b"b" * size


def test_an_error_in_the_block_leaves_nothing(store: SageMakerSession) -> None:
    def fail() -> None:
        with MultipartWriter(store, URI, MIN_PART) as writer:
            writer.write(bytes(3 * MIN_PART))
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert keys(store) == []
    assert "Uploads" not in store.client("s3").list_multipart_uploads(Bucket="bucket")


def test_a_killed_writers_upload_is_swept(store: SageMakerSession) -> None:
    for key in ("a/1", "a/2", "ab/3"):
        MultipartWriter(store, S3Uri("bucket", key), MIN_PART).write(bytes(2 * MIN_PART))
    assert s3.abort_uploads(store, S3Uri("bucket", "a")) == 2
    (left,) = store.client("s3").list_multipart_uploads(Bucket="bucket")["Uploads"]
    assert left["Key"] == "ab/3"


def test_a_part_that_fails_aborts_the_upload(session: SageMakerSession, script: Script) -> None:
    script.always = {
        "CreateMultipartUpload": CREATED,
        "UploadPart": s3_error("AccessDenied", "no", 403),
        "AbortMultipartUpload": Answer(204, b""),
    }
    writer = MultipartWriter(session, URI, MIN_PART)

    def write() -> None:
        with writer:
            writer.write(bytes(3 * MIN_PART))

    with pytest.raises(ServiceError, match="UploadPart"):
        write()
    assert script.operations[-1] == "AbortMultipartUpload"
    assert "uploadId=u" in script.sent[-1].query


def test_a_part_that_is_reset_is_sent_again_whole(session: SageMakerSession, script: Script) -> None:
    tries: list[Any] = [RESET, s3_error("SlowDown", "", 503)]
    script.always = {
        "CreateMultipartUpload": CREATED,
        "UploadPart": lambda sent: tries.pop() if tries else ok(ETag='"p"'),
        "CompleteMultipartUpload": b'<CompleteMultipartUploadResult><ETag>"e-2"</ETag></CompleteMultipartUploadResult>',
    }
    with MultipartWriter(session, URI, MIN_PART) as writer:
        writer.write(bytes(MIN_PART + 5))
    parts = [sent for sent in script.sent if sent.operation == "UploadPart"]
    assert sorted(len(part.body) for part in parts) == [5, MIN_PART, MIN_PART, MIN_PART]
    complete = script.sent[-1]
    assert complete.body.count(b"<PartNumber>") == 2


def test_objects_are_encrypted_with_the_sessions_key(session: SageMakerSession, script: Script) -> None:
    script.answers = [ok(ETag='"e"')] * 2
    keyed = replace(session, kmsKey="alias/mine")
    s3.upload_bytes(keyed, URI, b"x")
    MultipartWriter(keyed, URI).close()
    for sent in script.sent:
        assert sent.headers["x-amz-server-side-encryption"] == "aws:kms"
        assert sent.headers["x-amz-server-side-encryption-aws-kms-key-id"] == "alias/mine"


def test_memory_is_a_few_parts_whatever_the_size(session: SageMakerSession, script: Script) -> None:
    script.always = {
        "CreateMultipartUpload": CREATED,
        "UploadPart": ok(ETag='"p"'),
        "CompleteMultipartUpload": b'<CompleteMultipartUploadResult><ETag>"e"</ETag></CompleteMultipartUploadResult>',
    }
    chunk = bytes(1 << 20)
    with MultipartWriter(session, URI, MIN_PART) as writer:
        tracemalloc.start()
        for _ in range(200):
            writer.write(chunk)
            # What was sent is kept by the script; the point is what the writer keeps.
            script.sent.clear()
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < 8 * MIN_PART
    assert writer.written == 200 << 20


def test_a_part_below_s3s_limit_is_refused(session: SageMakerSession) -> None:
    with pytest.raises(ValueError, match="at least 5242880"):
        MultipartWriter(session, URI, MIN_PART - 1)
