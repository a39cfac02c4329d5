"""S3's objects through boto3: what its clients rely on."""

from __future__ import annotations

import base64
import hashlib
import zlib
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError

pytestmark = pytest.mark.wire


def refused(call: Any, **arguments: Any) -> tuple[str, int]:
    with pytest.raises(ClientError) as caught:
        call(**arguments)
    response = caught.value.response
    return response["Error"]["Code"], response["ResponseMetadata"]["HTTPStatusCode"]


@pytest.mark.parametrize("size", [0, 1, 1000, 300_000, 3_000_000])
def test_bytes_come_back_as_they_were(s3: Any, bucket: str, size: int) -> None:
    body = (bytes(range(256)) * (size // 256 + 1))[:size]
    answer = s3.put_object(Bucket=bucket, Key="k", Body=body)
    assert answer["ETag"] == f'"{hashlib.md5(body).hexdigest()}"'
    got = s3.get_object(Bucket=bucket, Key="k")
    assert got["Body"].read() == body
    assert got["ContentLength"] == size
    assert got["ETag"] == answer["ETag"]
    assert got["ContentType"] == "binary/octet-stream"
    assert got["AcceptRanges"] == "bytes"
    head = s3.head_object(Bucket=bucket, Key="k")
    assert head["ContentLength"] == size
    assert head["LastModified"] == got["LastModified"]
    assert abs(head["LastModified"] - datetime.now(UTC)) < timedelta(minutes=1)


HOSTILE = [
    "../../etc/passwd",
    "/absolute",
    "a//b",
    "a/./b/../c",
    ".",
    "..",
    "with space+plus%25",
    "ümlaut/日本/😀",
    "a\nb\tc",
    "q?x=1&y=2#f",
    "trailing/",
    "\\back\\slash",
    "nul\x01",
    "~",
    "k" * 1024,
]


@pytest.mark.parametrize("key", HOSTILE, ids=range(len(HOSTILE)))
def test_any_key_is_a_key(s3: Any, bucket: str, server: Any, key: str) -> None:
    s3.put_object(Bucket=bucket, Key=key, Body=key.encode())
    assert s3.get_object(Bucket=bucket, Key=key)["Body"].read() == key.encode()
    assert [o["Key"] for o in s3.list_objects_v2(Bucket=bucket)["Contents"]] == [key]
    assert [o["Key"] for o in s3.list_objects(Bucket=bucket)["Contents"]] == [key]
    if "\x01" in key:
        # XML has no such character: DeleteObjects cannot name the key, on AWS neither.
        s3.delete_object(Bucket=bucket, Key=key)
    else:
        assert s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": key}]})["Deleted"] == [{"Key": key}]
    assert "Contents" not in s3.list_objects_v2(Bucket=bucket)
    outside = [p for p in server.data.parent.rglob("*passwd*") if server.data not in p.parents]
    assert not outside


def test_keys_are_bounded(s3: Any, bucket: str) -> None:
    assert refused(s3.put_object, Bucket=bucket, Key="k" * 1025, Body=b"") == ("KeyTooLongError", 400)


def test_metadata_and_headers_are_kept(s3: Any, bucket: str) -> None:
    expires = datetime(2031, 5, 6, 7, 8, 9, tzinfo=UTC)
    s3.put_object(
        Bucket=bucket,
        Key="k",
        Body=b"x",
        ContentType="text/csv",
        CacheControl="no-store",
        ContentDisposition='attachment; filename="a.csv"',
        ContentEncoding="gzip",
        ContentLanguage="de",
        Expires=expires,
        Metadata={"Run": "r 1", "other": "2"},
        ServerSideEncryption="AES256",
        StorageClass="STANDARD_IA",
        ACL="bucket-owner-full-control",
        Tagging="a=1&b=%C3%BC",
    )
    for got in (s3.get_object(Bucket=bucket, Key="k"), s3.head_object(Bucket=bucket, Key="k")):
        assert got["ContentType"] == "text/csv"
        assert got["CacheControl"] == "no-store"
        assert got["ContentDisposition"] == 'attachment; filename="a.csv"'
        assert got["ContentEncoding"] == "gzip"
        assert got["ContentLanguage"] == "de"
        assert got["ExpiresString"] == "Tue, 06 May 2031 07:08:09 GMT"
        assert got["Metadata"] == {"run": "r 1", "other": "2"}
        assert got["ServerSideEncryption"] == "AES256"
        assert got["StorageClass"] == "STANDARD_IA"
    assert s3.get_object(Bucket=bucket, Key="k")["TagCount"] == 2
    tags = s3.get_object_tagging(Bucket=bucket, Key="k")["TagSet"]
    assert {t["Key"]: t["Value"] for t in tags} == {"a": "1", "b": "ü"}


def test_response_headers_can_be_overridden(s3: Any, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="k", Body=b"x")
    got = s3.get_object(Bucket=bucket, Key="k", ResponseContentType="text/x", ResponseContentDisposition="inline; ü=1")
    assert got["ContentType"] == "text/x"
    evil = "a\r\nSet-Cookie: x=1"
    assert refused(s3.get_object, Bucket=bucket, Key="k", ResponseContentType=evil) == ("InvalidArgument", 400)


@pytest.mark.parametrize(
    ("text", "start", "end"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=3-7", 3, 8),
        ("bytes=5-", 5, 10),
        ("bytes=-3", 7, 10),
        ("bytes=-99", 0, 10),
        ("bytes=2-99", 2, 10),
    ],
)
def test_ranges(s3: Any, bucket: str, text: str, start: int, end: int) -> None:
    body = b"0123456789"
    s3.put_object(Bucket=bucket, Key="k", Body=body)
    got = s3.get_object(Bucket=bucket, Key="k", Range=text)
    assert got["Body"].read() == body[start:end]
    assert got["ContentRange"] == f"bytes {start}-{end - 1}/10"
    assert got["ResponseMetadata"]["HTTPStatusCode"] == 206
    assert "ChecksumCRC32" not in got
    head = s3.head_object(Bucket=bucket, Key="k", Range=text)
    assert head["ContentLength"] == end - start


@pytest.mark.parametrize("text", ["bytes=10-", "bytes=-0", "bytes=99-100"])
def test_ranges_outside_are_refused(s3: Any, bucket: str, text: str) -> None:
    s3.put_object(Bucket=bucket, Key="k", Body=b"0123456789")
    assert refused(s3.get_object, Bucket=bucket, Key="k", Range=text) == ("InvalidRange", 416)
    assert refused(s3.head_object, Bucket=bucket, Key="k", Range=text) == ("416", 416)


@pytest.mark.parametrize("text", ["bytes=a-b", "lines=1-2", "bytes=0-1,3-4", "bytes=5-3", "bytes=-"])
def test_ranges_that_cannot_be_read_give_the_whole(s3: Any, bucket: str, text: str) -> None:
    s3.put_object(Bucket=bucket, Key="k", Body=b"0123456789")
    got = s3.get_object(Bucket=bucket, Key="k", Range=text)
    assert got["Body"].read() == b"0123456789"
    assert got["ResponseMetadata"]["HTTPStatusCode"] == 200


def test_a_range_of_nothing_is_refused(s3: Any, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="k", Body=b"")
    assert refused(s3.get_object, Bucket=bucket, Key="k", Range="bytes=0-") == ("InvalidRange", 416)


def test_missing_things_are_told_apart(s3: Any, bucket: str) -> None:
    assert refused(s3.get_object, Bucket=bucket, Key="none") == ("NoSuchKey", 404)
    assert refused(s3.head_object, Bucket=bucket, Key="none") == ("404", 404)
    assert refused(s3.get_object, Bucket="none-such", Key="k") == ("NoSuchBucket", 404)
    assert refused(s3.put_object, Bucket="none-such", Key="k", Body=b"x") == ("NoSuchBucket", 404)
    assert refused(s3.list_objects_v2, Bucket="none-such") == ("NoSuchBucket", 404)
    assert s3.delete_object(Bucket=bucket, Key="none")["ResponseMetadata"]["HTTPStatusCode"] == 204


def test_reads_by_condition(s3: Any, bucket: str) -> None:
    etag = s3.put_object(Bucket=bucket, Key="k", Body=b"x")["ETag"]
    when = s3.head_object(Bucket=bucket, Key="k")["LastModified"]
    hour = timedelta(hours=1)
    for call in (s3.get_object, s3.head_object):
        arguments = {"Bucket": bucket, "Key": "k"}
        call(**arguments, IfMatch=etag)
        call(**arguments, IfMatch="*")
        call(**arguments, IfNoneMatch='"other"')
        call(**arguments, IfModifiedSince=when - hour)
        call(**arguments, IfUnmodifiedSince=when)
        assert refused(call, **arguments, IfMatch='"other"')[1] == 412
        assert refused(call, **arguments, IfNoneMatch=etag) == ("304", 304)
        assert refused(call, **arguments, IfModifiedSince=when) == ("304", 304)
        assert refused(call, **arguments, IfUnmodifiedSince=when - hour)[1] == 412
        # If-Match wins over If-Unmodified-Since, If-None-Match over If-Modified-Since.
        call(**arguments, IfMatch=etag, IfUnmodifiedSince=when - hour)
        call(**arguments, IfNoneMatch='"other"', IfModifiedSince=when)


def test_writes_by_condition(s3: Any, bucket: str) -> None:
    etag = s3.put_object(Bucket=bucket, Key="k", Body=b"1", IfNoneMatch="*")["ETag"]
    assert refused(s3.put_object, Bucket=bucket, Key="k", Body=b"2", IfNoneMatch="*") == ("PreconditionFailed", 412)
    assert refused(s3.put_object, Bucket=bucket, Key="k", Body=b"2", IfMatch='"x"') == ("PreconditionFailed", 412)
    assert refused(s3.put_object, Bucket=bucket, Key="new", Body=b"2", IfMatch=etag) == ("NoSuchKey", 404)
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"1"
    s3.put_object(Bucket=bucket, Key="k", Body=b"2", IfMatch=etag)
    assert refused(s3.delete_object, Bucket=bucket, Key="k", IfMatch=etag) == ("PreconditionFailed", 412)
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"2"


def test_the_expected_owner_is_checked(s3: Any, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="k", Body=b"x", ExpectedBucketOwner="123456789012")
    for call in (s3.get_object, s3.head_object, s3.put_object, s3.delete_object):
        assert refused(call, Bucket=bucket, Key="k", ExpectedBucketOwner="999999999999")[1] == 403
    assert refused(s3.list_objects_v2, Bucket=bucket, ExpectedBucketOwner="999999999999") == ("AccessDenied", 403)


ALGORITHMS = {
    "CRC32": lambda b: zlib.crc32(b).to_bytes(4, "big"),
    "SHA1": lambda b: hashlib.sha1(b).digest(),
    "SHA256": lambda b: hashlib.sha256(b).digest(),
}


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_checksums_are_kept_and_checked(s3: Any, bucket: str, algorithm: str) -> None:
    body = b"hello" * 1000
    value = base64.b64encode(ALGORITHMS[algorithm](body)).decode()
    member = f"Checksum{algorithm}"
    put = s3.put_object(Bucket=bucket, Key="k", Body=body, ChecksumAlgorithm=algorithm)
    assert put[member] == value
    assert put["ChecksumType"] == "FULL_OBJECT"
    got = s3.get_object(Bucket=bucket, Key="k", ChecksumMode="ENABLED")
    assert got[member] == value
    assert got["Body"].read() == body
    assert s3.head_object(Bucket=bucket, Key="k", ChecksumMode="ENABLED")[member] == value
    assert member not in s3.get_object(Bucket=bucket, Key="k", Range="bytes=0-3", ChecksumMode="ENABLED")
    wrong = base64.b64encode(ALGORITHMS[algorithm](b"other")).decode()
    assert refused(s3.put_object, Bucket=bucket, Key="k", Body=body, **{member: wrong}) == ("BadDigest", 400)
    assert refused(s3.put_object, Bucket=bucket, Key="k", Body=body, **{member: "AAAA"})[0] == "InvalidRequest"


@pytest.mark.parametrize(
    ("algorithm", "value"), [("CRC32C", "4waSgw=="), ("CRC64NVME", "rosUhgp5mIg=")], ids=["crc32c", "crc64nvme"]
)
def test_crcs_that_python_lacks(s3: Any, bucket: str, algorithm: str, value: str) -> None:
    member = f"Checksum{algorithm}"
    assert s3.put_object(Bucket=bucket, Key="k", Body=b"123456789", **{member: value})[member] == value
    assert refused(s3.put_object, Bucket=bucket, Key="k", Body=b"12345678", **{member: value}) == ("BadDigest", 400)


def test_content_md5_is_checked(s3: Any, bucket: str) -> None:
    right = base64.b64encode(hashlib.md5(b"x").digest()).decode()
    s3.put_object(Bucket=bucket, Key="k", Body=b"x", ContentMD5=right)
    assert refused(s3.put_object, Bucket=bucket, Key="k", Body=b"y", ContentMD5=right) == ("BadDigest", 400)
    assert refused(s3.put_object, Bucket=bucket, Key="k", Body=b"y", ContentMD5="nonsense") == ("InvalidDigest", 400)
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"x"


def test_copies(s3: Any, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="a b/ü", Body=b"x" * 100, ContentType="text/x", Metadata={"m": "1"}, Tagging="t=1")
    source = {"Bucket": bucket, "Key": "a b/ü"}
    copied = s3.copy_object(Bucket=bucket, Key="copy", CopySource=source)
    assert copied["CopyObjectResult"]["ETag"] == f'"{hashlib.md5(b"x" * 100).hexdigest()}"'
    s3.delete_object(**source)
    got = s3.get_object(Bucket=bucket, Key="copy")
    assert (got["Body"].read(), got["ContentType"], got["Metadata"]) == (b"x" * 100, "text/x", {"m": "1"})
    assert s3.get_object_tagging(Bucket=bucket, Key="copy")["TagSet"] == [{"Key": "t", "Value": "1"}]
    source = {"Bucket": bucket, "Key": "copy"}
    assert refused(s3.copy_object, Bucket=bucket, Key="copy", CopySource=source)[0] == "InvalidRequest"
    s3.copy_object(
        Bucket=bucket,
        Key="copy",
        CopySource=source,
        MetadataDirective="REPLACE",
        Metadata={"n": "2"},
        TaggingDirective="REPLACE",
        Tagging="u=2",
    )
    got = s3.get_object(Bucket=bucket, Key="copy")
    assert (got["Body"].read(), got["ContentType"], got["Metadata"]) == (b"x" * 100, "binary/octet-stream", {"n": "2"})
    assert s3.get_object_tagging(Bucket=bucket, Key="copy")["TagSet"] == [{"Key": "u", "Value": "2"}]
    etag = got["ETag"]
    s3.copy_object(Bucket=bucket, Key="c2", CopySource=source, CopySourceIfMatch=etag)
    for condition in ({"CopySourceIfMatch": '"x"'}, {"CopySourceIfNoneMatch": etag}):
        assert refused(s3.copy_object, Bucket=bucket, Key="c3", CopySource=source, **condition)[1] == 412
    missing = {"Bucket": bucket, "Key": "none"}
    assert refused(s3.copy_object, Bucket=bucket, Key="c3", CopySource=missing) == ("NoSuchKey", 404)
    answer = s3.copy_object(Bucket=bucket, Key="c4", CopySource=source, ChecksumAlgorithm="SHA256")
    wanted = base64.b64encode(hashlib.sha256(b"x" * 100).digest()).decode()
    assert answer["CopyObjectResult"]["ChecksumSHA256"] == wanted


def test_tags_of_objects(s3: Any, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="k", Body=b"x")
    assert s3.get_object_tagging(Bucket=bucket, Key="k")["TagSet"] == []
    rows = [{"Key": "a", "Value": "<&>"}, {"Key": "b", "Value": ""}]
    s3.put_object_tagging(Bucket=bucket, Key="k", Tagging={"TagSet": rows})
    assert s3.get_object_tagging(Bucket=bucket, Key="k")["TagSet"] == rows
    many = [{"Key": str(i), "Value": ""} for i in range(11)]
    assert refused(s3.put_object_tagging, Bucket=bucket, Key="k", Tagging={"TagSet": many}) == ("BadRequest", 400)
    s3.delete_object_tagging(Bucket=bucket, Key="k")
    assert s3.get_object_tagging(Bucket=bucket, Key="k")["TagSet"] == []
    assert refused(s3.get_object_tagging, Bucket=bucket, Key="none") == ("NoSuchKey", 404)


def test_delete_many(s3: Any, bucket: str) -> None:
    keys = [f"k{i}" for i in range(5)]
    for key in keys:
        s3.put_object(Bucket=bucket, Key=key, Body=b"x")
    objects = [{"Key": k} for k in (*keys[:3], "none")]
    answer = s3.delete_objects(Bucket=bucket, Delete={"Objects": objects})
    assert answer["Deleted"] == objects
    assert "Errors" not in answer
    quiet = s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": "k3"}], "Quiet": True})
    assert "Deleted" not in quiet
    assert [o["Key"] for o in s3.list_objects_v2(Bucket=bucket)["Contents"]] == ["k4"]


def test_attributes_of_objects(s3: Any, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="k", Body=b"xyz", ChecksumAlgorithm="SHA1")
    wanted = ["ETag", "ObjectSize", "Checksum", "StorageClass", "ObjectParts"]
    got = s3.get_object_attributes(Bucket=bucket, Key="k", ObjectAttributes=wanted)
    assert (got["ETag"], got["ObjectSize"]) == (hashlib.md5(b"xyz").hexdigest(), 3)
    assert got["Checksum"]["ChecksumSHA1"] == base64.b64encode(hashlib.sha1(b"xyz").digest()).decode()
    assert got["StorageClass"] == "STANDARD"
    assert "ObjectParts" not in got


def test_what_is_not_built_says_so(s3: Any, bucket: str) -> None:
    assert refused(s3.get_bucket_website, Bucket=bucket) == ("UnknownOperationException", 400)
    with pytest.raises(ClientError, match="GetObjectLegalHold"):
        s3.get_object_legal_hold(Bucket=bucket, Key="k")
    key = {"SSECustomerAlgorithm": "AES256", "SSECustomerKey": "0" * 32}
    with pytest.raises(ClientError, match="keys of the customer"):
        s3.put_object(Bucket=bucket, Key="k", Body=b"x", **key)
