"""Objects in S3, as staging and artifacts need them. Objects are encrypted with the session's KMS key where it has one.

Flat memory throughout: what is written is cut into parts, what is listed or deleted comes in pages.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from sagespark.aws.errors import call, is_missing
from sagespark.aws.session import SageMakerSession
from sagespark.core.errors import ResourceNotFoundError, ServiceError, SessionError
from sagespark.core.s3uri import S3Uri

DELETE_BATCH = 1000
"""Keys that one DeleteObjects takes."""


def encryption(session: SageMakerSession) -> dict[str, str]:
    """Return the members of a write that encrypt it with the session's key."""
    return {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": session.kmsKey} if session.kmsKey else {}


def ensure_bucket(session: SageMakerSession) -> None:
    """Make sure that the session's bucket can be used; create it only where it is the account's default bucket.

    Calls HeadBucket, and CreateBucket where ``sagemaker-{region}-{account}`` does not exist yet.

    Raises
    ------
    SessionError
        If another bucket does not exist, or the bucket is not the account's own.
    """
    bucket, region = session.require("bucket"), session.require("region")
    client = session.client("s3")
    try:
        call(client, "HeadBucket", Bucket=bucket)
        return
    except ServiceError as error:
        if error.status == 403:
            raise SessionError(
                f"bucket {bucket!r} exists but may not be used with these credentials; it may belong to another "
                "account. Name a bucket of your own by SageMakerSession(bucket=...)"
            ) from error
        if not is_missing(error):
            raise
    if bucket != f"sagemaker-{region}-{session.account}":
        raise SessionError(
            f"bucket {bucket!r} does not exist; create it, or leave bucket out to use the account's default bucket"
        )
    # us-east-1 is the one region that must not be named.
    where = {} if region == "us-east-1" else {"CreateBucketConfiguration": {"LocationConstraint": region}}
    try:
        call(client, "CreateBucket", Bucket=bucket, **where)
    except ServiceError as error:
        if error.code != "BucketAlreadyOwnedByYou":
            raise


def upload_bytes(session: SageMakerSession, uri: S3Uri, body: bytes, contentType: str = "") -> str:
    """Write one object and return its ETag. Calls PutObject."""
    extra: dict[str, Any] = {"ContentType": contentType} if contentType else {}
    answer = call(
        session.client("s3"), "PutObject", Bucket=uri.bucket, Key=uri.key, Body=body, **extra, **encryption(session)
    )
    return str(answer["ETag"])


def upload_file(session: SageMakerSession, path: Path, uri: S3Uri) -> None:
    """Write a file as one object, in parts where it is large."""
    from sagespark.aws.multipart import MultipartWriter

    with MultipartWriter(session, uri) as writer, path.open("rb") as file:
        while chunk := file.read(1 << 20):
            writer.write(chunk)


def read_bytes(session: SageMakerSession, uri: S3Uri) -> bytes:
    """Return an object's content. Calls GetObject."""
    return b"".join(read_chunks(session, uri))


def read_chunks(session: SageMakerSession, uri: S3Uri, size: int = 1 << 20) -> Iterator[bytes]:
    """Yield an object's content in chunks of ``size`` bytes. Calls GetObject."""
    body = call(session.client("s3"), "GetObject", Bucket=uri.bucket, Key=uri.key)["Body"]
    with body:
        yield from body.iter_chunks(size)


def download(session: SageMakerSession, uri: S3Uri, path: Path) -> None:
    """Write an object's content to a file."""
    with path.open("wb") as file:
        for chunk in read_chunks(session, uri):
            file.write(chunk)


def exists(session: SageMakerSession, uri: S3Uri) -> bool:
    """Tell whether an object exists. Calls HeadObject; any error but "not found" is raised."""
    return size(session, uri) is not None


def size(session: SageMakerSession, uri: S3Uri) -> int | None:
    """Return an object's size in bytes, or None where there is none. Calls HeadObject."""
    try:
        return int(call(session.client("s3"), "HeadObject", Bucket=uri.bucket, Key=uri.key)["ContentLength"])
    except ResourceNotFoundError:
        return None


def list_keys(session: SageMakerSession, prefix: S3Uri) -> Iterator[S3Uri]:
    """Yield the objects below a prefix, in order of key; the prefix ends in ``/``. Calls ListObjectsV2."""
    client = session.client("s3")
    request: dict[str, Any] = {"Bucket": prefix.bucket, "Prefix": prefix.prefix.key}
    while True:
        page = call(client, "ListObjectsV2", **request)
        for entry in page.get("Contents", ()):
            yield S3Uri(prefix.bucket, entry["Key"])
        if not page.get("IsTruncated"):
            return
        request["ContinuationToken"] = page["NextContinuationToken"]


def delete_keys(session: SageMakerSession, uris: Iterable[S3Uri]) -> int:
    """Delete objects, a thousand a call, and return how many were asked for. Calls DeleteObjects.

    Objects that are gone already are no error.

    Raises
    ------
    ServiceError
        If some could not be deleted; all others were.
    """
    client = session.client("s3")
    count = 0
    refused: list[str] = []
    for bucket, keys in _batches(uris):
        answer = call(
            client,
            "DeleteObjects",
            Bucket=bucket,
            Delete={"Objects": [{"Key": key} for key in keys], "Quiet": True},
        )
        count += len(keys)
        refused += [f"s3://{bucket}/{e.get('Key', '')} ({e.get('Code', '')})" for e in answer.get("Errors", ())]
    if refused:
        shown = ", ".join(refused[:5]) + (", ..." if len(refused) > 5 else "")
        raise ServiceError(
            f"DeleteObjects: {len(refused)} of {count} objects could not be deleted: {shown}",
            operation="DeleteObjects",
            code="PartialFailure",
            status=200,
        )
    return count


def _batches(uris: Iterable[S3Uri]) -> Iterator[tuple[str, list[str]]]:
    """Yield runs of keys of one bucket, at most `DELETE_BATCH` long."""
    bucket, keys = "", list[str]()
    for uri in uris:
        if keys and (uri.bucket != bucket or len(keys) == DELETE_BATCH):
            yield bucket, keys
            keys = []
        bucket = uri.bucket
        keys.append(uri.key)
    if keys:
        yield bucket, keys


def abort_uploads(session: SageMakerSession, prefix: S3Uri) -> int:
    """Abort the unfinished multipart uploads below a prefix and return how many. Calls ListMultipartUploads.

    A killed executor leaves such uploads; they are invisible and billed.
    """
    client = session.client("s3")
    request: dict[str, Any] = {"Bucket": prefix.bucket, "Prefix": prefix.prefix.key}
    count = 0
    while True:
        page = call(client, "ListMultipartUploads", **request)
        for upload in page.get("Uploads", ()):
            try:
                call(
                    client,
                    "AbortMultipartUpload",
                    Bucket=prefix.bucket,
                    Key=upload["Key"],
                    UploadId=upload["UploadId"],
                )
            except ResourceNotFoundError:
                continue
            count += 1
        if not page.get("IsTruncated"):
            return count
        request |= {"KeyMarker": page["NextKeyMarker"], "UploadIdMarker": page["NextUploadIdMarker"]}
