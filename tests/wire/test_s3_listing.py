"""S3's listings through boto3, beside a model of what they must give."""

from __future__ import annotations

from typing import Any
from urllib.request import urlopen
from xml.etree import ElementTree

import pytest
from botocore.exceptions import ClientError
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

pytestmark = pytest.mark.wire

KEYS = [
    "a",
    "a/",
    "a/1",
    "a/2",
    "a/b/1",
    "a/b/2",
    "a0",
    "b/1",
    "b/c/d/e",
    "c",
    "c++",
    "ü/1",
    "ü/2",
    "日本/1",
    "😀",
    "￿/last",
    "z&<>",
]


@pytest.fixture(scope="module")
def filled(s3: Any) -> str:
    name = "listing-bucket"
    s3.create_bucket(Bucket=name)
    for key in KEYS:
        s3.put_object(Bucket=name, Key=key, Body=key.encode())
    return name


def model(prefix: str, delimiter: str, after: str) -> list[tuple[str, str]]:
    """Return ("key", k) and ("prefix", p) in S3's order: UTF-8 bytes."""
    rows: list[tuple[str, str]] = []
    for key in sorted(KEYS, key=str.encode):
        if not key.startswith(prefix) or key.encode() <= after.encode():
            continue
        at = key.find(delimiter, len(prefix)) if delimiter else -1
        row = ("prefix", key[: at + len(delimiter)]) if at >= 0 else ("key", key)
        if row not in rows and not (row[0] == "prefix" and row[1] == after):
            rows.append(row)
    return rows


def rows(page: dict[str, Any]) -> list[tuple[str, str]]:
    found = [("key", o["Key"]) for o in page.get("Contents", [])]
    found += [("prefix", p["Prefix"]) for p in page.get("CommonPrefixes", [])]
    return sorted(found, key=lambda r: r[1].encode())


PREFIXES = st.sampled_from(["", "a", "a/", "a/b", "a/b/", "b/", "c", "none", "ü", "ü/", "日"])
DELIMITERS = st.sampled_from(["", "/", "b", "/b", "++"])
quick = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@quick
@given(PREFIXES, DELIMITERS, st.sampled_from(["", *KEYS, "a/b", "0", "zz"]), st.integers(1, 20))
def test_pages_of_version_2(s3: Any, filled: str, prefix: str, delimiter: str, after: str, size: int) -> None:
    arguments = {"Bucket": filled, "Prefix": prefix, "Delimiter": delimiter, "StartAfter": after, "MaxKeys": size}
    found: list[tuple[str, str]] = []
    token: dict[str, str] = {}
    while True:
        page = s3.list_objects_v2(**arguments, **token)
        assert page["KeyCount"] == len(rows(page)) <= size
        found += rows(page)
        if not page["IsTruncated"]:
            assert "NextContinuationToken" not in page
            break
        assert page["KeyCount"] == size
        token = {"ContinuationToken": page["NextContinuationToken"]}
    assert found == model(prefix, delimiter, after)


@quick
@given(PREFIXES, DELIMITERS, st.integers(1, 20))
def test_pages_of_version_1(s3: Any, filled: str, prefix: str, delimiter: str, size: int) -> None:
    pages = s3.get_paginator("list_objects").paginate(
        Bucket=filled, Prefix=prefix, Delimiter=delimiter, PaginationConfig={"PageSize": size}
    )
    assert [row for page in pages for row in rows(page)] == model(prefix, delimiter, "")


def test_rows_describe_objects(s3: Any, filled: str) -> None:
    row = s3.list_objects_v2(Bucket=filled, Prefix="a/1", FetchOwner=True)["Contents"][0]
    head = s3.head_object(Bucket=filled, Key="a/1")
    assert (row["Size"], row["ETag"], row["LastModified"]) == (3, head["ETag"], head["LastModified"])
    assert row["StorageClass"] == "STANDARD"
    assert row["Owner"]["ID"] == "123456789012"
    assert "Owner" not in s3.list_objects_v2(Bucket=filled, Prefix="a/1")["Contents"][0]
    assert "Owner" in s3.list_objects(Bucket=filled, Prefix="a/1")["Contents"][0]


def test_limits(s3: Any, filled: str) -> None:
    empty = s3.list_objects_v2(Bucket=filled, MaxKeys=0)
    assert (empty["KeyCount"], empty["IsTruncated"]) == (0, False)
    assert s3.list_objects_v2(Bucket=filled, MaxKeys=5000)["KeyCount"] == len(KEYS)
    for arguments in ({"MaxKeys": -1}, {"ContinuationToken": "no token!"}):
        with pytest.raises(ClientError, match="InvalidArgument"):
            s3.list_objects_v2(Bucket=filled, **arguments)


def test_more_than_a_page(s3: Any, bucket: str, server: Any) -> None:
    from concurrent.futures import ThreadPoolExecutor

    keys = [f"p/{i % 7}/{i:05d}" for i in range(1100)]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda k: s3.put_object(Bucket=bucket, Key=k, Body=b""), keys))
    pages = list(s3.get_paginator("list_objects_v2").paginate(Bucket=bucket))
    assert [len(p["Contents"]) for p in pages] == [1000, 100]
    assert [o["Key"] for p in pages for o in p["Contents"]] == sorted(keys)
    grouped = s3.list_objects_v2(Bucket=bucket, Prefix="p/", Delimiter="/")
    assert [p["Prefix"] for p in grouped["CommonPrefixes"]] == [f"p/{i}/" for i in range(7)]


def test_versions(s3: Any, filled: str) -> None:
    page = s3.list_object_versions(Bucket=filled, Prefix="a/", Delimiter="/", MaxKeys=2)
    assert [v["Key"] for v in page["Versions"]] == ["a/", "a/1"]
    assert {(v["VersionId"], v["IsLatest"]) for v in page["Versions"]} == {("null", True)}
    rest = s3.list_object_versions(Bucket=filled, Prefix="a/", Delimiter="/", KeyMarker=page["NextKeyMarker"])
    assert [v["Key"] for v in rest["Versions"]] == ["a/2"]
    assert [p["Prefix"] for p in rest["CommonPrefixes"]] == ["a/b/"]
    assert s3.get_object(Bucket=filled, Key="a/1", VersionId="null")["Body"].read() == b"a/1"
    with pytest.raises(ClientError, match="NoSuchVersion"):
        s3.get_object(Bucket=filled, Key="a/1", VersionId="other")


@pytest.mark.parametrize("query", ["", "list-type=2", "versions", "uploads", "uploadId={upload}"])
def test_the_name_of_the_bucket_comes_before_the_rows(server: Any, s3: Any, bucket: str, query: str) -> None:
    # AWS's SDK for Java 1.x reads on the way: a row takes the bucket that it has met so far, and a folder's download
    # fails where that is none.
    s3.put_object(Bucket=bucket, Key="a/1", Body=b"x")
    s3.put_object(Bucket=bucket, Key="b", Body=b"x")
    upload = s3.create_multipart_upload(Bucket=bucket, Key="c")["UploadId"]
    s3.upload_part(Bucket=bucket, Key="c", UploadId=upload, PartNumber=1, Body=b"x")
    path = f"{bucket}/c?{query.format(upload=upload)}" if "{" in query else f"{bucket}?delimiter=/&{query}"
    with urlopen(f"{server.url}/{path}", timeout=20) as answer:
        tags = [child.tag.rpartition("}")[2] for child in ElementTree.fromstring(answer.read())]
    rows = {"Contents", "CommonPrefixes", "Version", "Upload", "Part"}
    first = next(i for i, tag in enumerate(tags) if tag in rows)
    assert {"Name", "Bucket"} & set(tags[:first])
    assert "IsTruncated" in tags[:first]
    assert set(tags[first:]) <= rows


def test_buckets(s3: Any, server: Any) -> None:
    s3.create_bucket(Bucket="one-bucket")
    west = server.client("s3", "eu-west-1")
    west.create_bucket(Bucket="west-bucket", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    names = {b["Name"] for b in s3.list_buckets()["Buckets"]}
    assert {"one-bucket", "west-bucket", "sagemaker-us-east-1-123456789012"} <= names
    assert [b["Name"] for b in s3.list_buckets(Prefix="one-")["Buckets"]] == ["one-bucket"]
    assert s3.get_bucket_location(Bucket="one-bucket")["LocationConstraint"] is None
    assert s3.get_bucket_location(Bucket="west-bucket")["LocationConstraint"] == "eu-west-1"
    assert s3.head_bucket(Bucket="west-bucket")["BucketRegion"] == "eu-west-1"
    s3.create_bucket(Bucket="one-bucket")
    with pytest.raises(ClientError, match="BucketAlreadyOwnedByYou"):
        west.create_bucket(Bucket="west-bucket", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    s3.put_object(Bucket="one-bucket", Key="k", Body=b"")
    with pytest.raises(ClientError, match="BucketNotEmpty"):
        s3.delete_bucket(Bucket="one-bucket")
    s3.delete_object(Bucket="one-bucket", Key="k")
    s3.delete_bucket(Bucket="one-bucket")
    with pytest.raises(ClientError) as caught:
        s3.head_bucket(Bucket="one-bucket")
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 404
    for name in ("a..b", "1.2.3.4", "ab-"):
        with pytest.raises(ClientError, match="InvalidBucketName"):
            s3.create_bucket(Bucket=name)


def test_the_default_bucket_of_every_region_exists(server: Any) -> None:
    for region in ("us-east-1", "eu-central-1", "ap-southeast-2"):
        name = f"sagemaker-{region}-123456789012"
        client = server.client("s3", region)
        client.put_object(Bucket=name, Key="k", Body=b"x")
        assert client.get_object(Bucket=name, Key="k")["Body"].read() == b"x"
        where = client.get_bucket_location(Bucket=name)["LocationConstraint"]
        assert where == (None if region == "us-east-1" else region)
    with pytest.raises(ClientError, match="NoSuchBucket"):
        server.client("s3").list_objects_v2(Bucket="sagemaker-us-east-1-999999999999")
