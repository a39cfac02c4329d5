"""S3's uploads in parts, through boto3."""

from __future__ import annotations

import base64
import hashlib
import zlib
from typing import Any

import pytest
from boto3.s3.transfer import TransferConfig
from botocore.exceptions import ClientError

pytestmark = pytest.mark.wire

MIB = 1024 * 1024
A, B, C = b"a" * (5 * MIB), bytes(range(256)) * (5 * MIB // 256), b"tail"


def upload(s3: Any, bucket: str, *parts: bytes, key: str = "k", **create: Any) -> tuple[str, list[dict[str, Any]]]:
    identifier = s3.create_multipart_upload(Bucket=bucket, Key=key, **create)["UploadId"]
    rows = []
    for number, body in enumerate(parts, 1):
        answer = s3.upload_part(Bucket=bucket, Key=key, UploadId=identifier, PartNumber=number, Body=body)
        checksums = {k: v for k, v in answer.items() if k.startswith("Checksum")}
        rows.append({"PartNumber": number, "ETag": answer["ETag"], **checksums})
    return identifier, rows


def complete(s3: Any, bucket: str, identifier: str, rows: list[dict[str, Any]], **more: Any) -> Any:
    arguments = {"Bucket": bucket, "Key": "k", "UploadId": identifier, "MultipartUpload": {"Parts": rows}}
    return s3.complete_multipart_upload(**arguments, **more)


def md5s(*parts: bytes) -> str:
    joined = b"".join(hashlib.md5(p).digest() for p in parts)
    return f'"{hashlib.md5(joined).hexdigest()}-{len(parts)}"'


def test_parts_become_an_object(s3: Any, bucket: str) -> None:
    identifier, rows = upload(s3, bucket, A, B, C, ContentType="text/x", Metadata={"m": "1"}, Tagging="t=1")
    with pytest.raises(ClientError, match="404"):
        s3.head_object(Bucket=bucket, Key="k")
    done = complete(s3, bucket, identifier, rows)
    assert done["ETag"] == md5s(A, B, C)
    got = s3.get_object(Bucket=bucket, Key="k")
    assert got["Body"].read() == A + B + C
    assert (got["ETag"], got["ContentType"], got["Metadata"]) == (done["ETag"], "text/x", {"m": "1"})
    assert got["TagCount"] == 1
    # A client that did not hear the answer asks again.
    assert complete(s3, bucket, identifier, rows)["ETag"] == done["ETag"]
    with pytest.raises(ClientError, match="NoSuchUpload"):
        s3.list_parts(Bucket=bucket, Key="k", UploadId=identifier)


def test_parts_can_be_read_one_by_one(s3: Any, bucket: str) -> None:
    complete(s3, bucket, *upload(s3, bucket, A, B, C))
    start = 0
    for number, body in enumerate((A, B, C), 1):
        got = s3.get_object(Bucket=bucket, Key="k", PartNumber=number)
        assert got["Body"].read() == body
        assert got["PartsCount"] == 3
        assert got["ContentRange"] == f"bytes {start}-{start + len(body) - 1}/{len(A + B + C)}"
        head = s3.head_object(Bucket=bucket, Key="k", PartNumber=number)
        assert (head["PartsCount"], head["ContentLength"]) == (3, len(body))
        start += len(body)
    assert "PartsCount" not in s3.head_object(Bucket=bucket, Key="k")
    with pytest.raises(ClientError, match="InvalidPartNumber"):
        s3.get_object(Bucket=bucket, Key="k", PartNumber=4)
    with pytest.raises(ClientError, match="InvalidRequest"):
        s3.get_object(Bucket=bucket, Key="k", PartNumber=1, Range="bytes=0-1")
    s3.put_object(Bucket=bucket, Key="plain", Body=b"xyz")
    plain = s3.get_object(Bucket=bucket, Key="plain", PartNumber=1)
    assert plain["Body"].read() == b"xyz"
    assert "PartsCount" not in plain


def test_parts_may_be_sent_again_left_out_and_numbered_freely(s3: Any, bucket: str) -> None:
    identifier = s3.create_multipart_upload(Bucket=bucket, Key="k")["UploadId"]
    etags = {}
    for number, body in ((10_000, C), (7, B), (3, B), (3, A), (5, b"unused")):
        answer = s3.upload_part(Bucket=bucket, Key="k", UploadId=identifier, PartNumber=number, Body=body)
        etags[number] = answer["ETag"]
    pages = s3.get_paginator("list_parts").paginate(
        Bucket=bucket, Key="k", UploadId=identifier, PaginationConfig={"PageSize": 3}
    )
    listed = [(p["PartNumber"], p["Size"], p["ETag"]) for page in pages for p in page["Parts"]]
    assert listed == [
        (3, len(A), etags[3]),
        (5, 6, etags[5]),
        (7, len(B), etags[7]),
        (10_000, len(C), etags[10_000]),
    ]
    complete(s3, bucket, identifier, [{"PartNumber": n, "ETag": etags[n]} for n in (3, 7, 10_000)])
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == A + B + C
    assert s3.get_object(Bucket=bucket, Key="k", PartNumber=2)["Body"].read() == B


def test_wrong_completions_are_refused_and_can_be_mended(s3: Any, bucket: str, server: Any) -> None:
    identifier, rows = upload(s3, bucket, b"small", A, C)
    one, two, three = rows

    def code(*parts: dict[str, Any], **more: Any) -> str:
        with pytest.raises(ClientError) as caught:
            complete(s3, bucket, identifier, list(parts), **more)
        return str(caught.value.response["Error"]["Code"])

    assert code() == "MalformedXML"
    assert code(two, one) == "InvalidPartOrder"
    assert code(two, two) == "InvalidPartOrder"
    assert code({**two, "ETag": '"0"'}) == "InvalidPart"
    assert code(two, {"PartNumber": 9, "ETag": '"0"'}) == "InvalidPart"
    assert code(one, two) == "EntityTooSmall"
    assert code(two, three, MpuObjectSize=3) == "InvalidRequest"
    s3.put_object(Bucket=bucket, Key="k", Body=b"there")
    assert code(two, three, IfNoneMatch="*") == "PreconditionFailed"
    complete(s3, bucket, identifier, [two, three], MpuObjectSize=len(A) + len(C))
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == A + C
    other = s3.create_multipart_upload(Bucket=bucket, Key="k")["UploadId"]
    for number in (0, 10_001):
        with pytest.raises(ClientError, match="InvalidArgument"):
            s3.upload_part(Bucket=bucket, Key="k", UploadId=other, PartNumber=number, Body=b"x")


def bodies(server: Any) -> int:
    return sum(1 for p in (server.data / "objects").rglob("*") if p.is_file() and len(p.name) == 32)


def test_ended_uploads_leave_nothing(s3: Any, bucket: str, server: Any) -> None:
    before = bodies(server)
    identifier, rows = upload(s3, bucket, A, C)
    assert bodies(server) == before + 2
    listed = s3.list_multipart_uploads(Bucket=bucket)["Uploads"]
    assert [(u["Key"], u["UploadId"]) for u in listed] == [("k", identifier)]
    s3.abort_multipart_upload(Bucket=bucket, Key="k", UploadId=identifier)
    assert bodies(server) == before
    assert "Uploads" not in s3.list_multipart_uploads(Bucket=bucket)
    for call in (s3.abort_multipart_upload, s3.list_parts):
        with pytest.raises(ClientError, match="NoSuchUpload"):
            call(Bucket=bucket, Key="k", UploadId=identifier)
    with pytest.raises(ClientError, match="NoSuchUpload"):
        complete(s3, bucket, identifier, rows)
    with pytest.raises(ClientError, match="NoSuchUpload"):
        s3.upload_part(Bucket=bucket, Key="k", UploadId=identifier, PartNumber=1, Body=b"x")
    complete(s3, bucket, *upload(s3, bucket, A, C))
    assert bodies(server) == before + 1
    s3.delete_object(Bucket=bucket, Key="k")
    assert bodies(server) == before


def test_lists_of_uploads(s3: Any, bucket: str) -> None:
    made = {k: s3.create_multipart_upload(Bucket=bucket, Key=k)["UploadId"] for k in ("a/1", "a/2", "b", "c/1")}
    pages = s3.get_paginator("list_multipart_uploads").paginate(Bucket=bucket, PaginationConfig={"PageSize": 2})
    assert {u["Key"]: u["UploadId"] for page in pages for u in page["Uploads"]} == made
    grouped = s3.list_multipart_uploads(Bucket=bucket, Delimiter="/")
    assert [p["Prefix"] for p in grouped["CommonPrefixes"]] == ["a/", "c/"]
    assert [u["Key"] for u in grouped["Uploads"]] == ["b"]
    assert [u["Key"] for u in s3.list_multipart_uploads(Bucket=bucket, Prefix="a/")["Uploads"]] == ["a/1", "a/2"]


def test_parts_from_objects(s3: Any, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="source ü", Body=A + B)
    source = {"Bucket": bucket, "Key": "source ü"}
    identifier = s3.create_multipart_upload(Bucket=bucket, Key="k")["UploadId"]
    where = {"Bucket": bucket, "Key": "k", "UploadId": identifier, "CopySource": source}
    one = s3.upload_part_copy(**where, PartNumber=1)["CopyPartResult"]["ETag"]
    span = f"bytes={len(A)}-{len(A) + 99}"
    two = s3.upload_part_copy(**where, PartNumber=2, CopySourceRange=span)["CopyPartResult"]["ETag"]
    assert two == f'"{hashlib.md5(B[:100]).hexdigest()}"'
    for bad in ("bytes=5-1", "bytes=0-99999999", "bytes=0-", "0-5"):
        with pytest.raises(ClientError, match="InvalidArgument"):
            s3.upload_part_copy(**where, PartNumber=3, CopySourceRange=bad)
    complete(s3, bucket, identifier, [{"PartNumber": 1, "ETag": one}, {"PartNumber": 2, "ETag": two}])
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == A + B + B[:100]


def b64(value: bytes) -> str:
    return base64.b64encode(value).decode()


def test_checksums_of_parts(s3: Any, bucket: str) -> None:
    identifier, rows = upload(s3, bucket, A, C, ChecksumAlgorithm="SHA256")
    done = complete(s3, bucket, identifier, rows)
    digests = [hashlib.sha256(p).digest() for p in (A, C)]
    assert done["ChecksumSHA256"] == b64(hashlib.sha256(b"".join(digests)).digest()) + "-2"
    assert done["ChecksumType"] == "COMPOSITE"
    got = s3.get_object(Bucket=bucket, Key="k", ChecksumMode="ENABLED")
    assert got["ChecksumSHA256"] == done["ChecksumSHA256"]
    assert got["Body"].read() == A + C
    parts = s3.get_object_attributes(Bucket=bucket, Key="k", ObjectAttributes=["ObjectParts", "Checksum"])
    assert [p["ChecksumSHA256"] for p in parts["ObjectParts"]["Parts"]] == [b64(d) for d in digests]
    assert parts["ObjectParts"]["TotalPartsCount"] == 2


def test_the_checksum_of_the_whole_is_joined(s3: Any, bucket: str) -> None:
    kind = {"ChecksumAlgorithm": "CRC32", "ChecksumType": "FULL_OBJECT"}
    identifier, rows = upload(s3, bucket, A, B, C, **kind)
    whole = b64(zlib.crc32(A + B + C).to_bytes(4, "big"))
    with pytest.raises(ClientError, match="BadDigest"):
        complete(s3, bucket, identifier, rows, ChecksumCRC32=b64(b"1234"), ChecksumType="FULL_OBJECT")
    with pytest.raises(ClientError, match="InvalidRequest"):
        complete(s3, bucket, identifier, rows, ChecksumType="COMPOSITE")
    done = complete(s3, bucket, identifier, rows, ChecksumCRC32=whole, ChecksumType="FULL_OBJECT")
    assert (done["ChecksumCRC32"], done["ChecksumType"]) == (whole, "FULL_OBJECT")
    # The client compares the checksum of what it reads.
    assert s3.get_object(Bucket=bucket, Key="k", ChecksumMode="ENABLED")["Body"].read() == A + B + C
    with pytest.raises(ClientError, match="InvalidRequest"):
        s3.create_multipart_upload(Bucket=bucket, Key="k", ChecksumAlgorithm="SHA1", ChecksumType="FULL_OBJECT")


def test_copies_of_objects_in_parts(s3: Any, bucket: str) -> None:
    complete(s3, bucket, *upload(s3, bucket, A, C))
    answer = s3.copy_object(Bucket=bucket, Key="copy", CopySource={"Bucket": bucket, "Key": "k"})
    assert answer["CopyObjectResult"]["ETag"] == f'"{hashlib.md5(A + C).hexdigest()}"'
    assert s3.get_object(Bucket=bucket, Key="copy")["Body"].read() == A + C


def test_the_transfer_manager(s3: Any, bucket: str, tmp_path: Any) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_bytes(bytes(range(251)) * 80_000)
    config = TransferConfig(multipart_threshold=5 * MIB, multipart_chunksize=5 * MIB, max_concurrency=4)
    s3.upload_file(str(source), bucket, "k", Config=config)
    assert s3.head_object(Bucket=bucket, Key="k")["ETag"].endswith('-4"')
    s3.download_file(bucket, "k", str(target), Config=config)
    assert target.read_bytes() == source.read_bytes()
    s3.copy({"Bucket": bucket, "Key": "k"}, bucket, "copy", Config=config)
    assert s3.get_object(Bucket=bucket, Key="copy")["Body"].read() == source.read_bytes()
