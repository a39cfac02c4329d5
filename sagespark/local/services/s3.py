"""S3's buckets, and what all of S3's providers share."""

from __future__ import annotations

import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from sagespark.local.config import LocalConfig
from sagespark.local.objects.model import BucketNotEmptyError, NoSuchBucketError, NoSuchKeyError, NoSuchUploadError
from sagespark.local.objects.store import ObjectStore
from sagespark.local.objects.uploads import Uploads
from sagespark.local.wire.context import AwsError, Context

_NAME = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_ADDRESS = re.compile(r"\d+\.\d+\.\d+\.\d+")
MAX_KEY = 1024
"""Longest key, bytes of UTF-8."""


class S3Base:
    """What S3's providers share.

    Parameters
    ----------
    store : ObjectStore
        The objects.
    config : LocalConfig
        Account and region.
    pool : ThreadPoolExecutor
        Threads for the operations that run on the event loop.
    """

    service = "s3"

    def __init__(self, store: ObjectStore, config: LocalConfig, pool: ThreadPoolExecutor) -> None:
        self._store = store
        self._uploads = Uploads(store)
        self._config = config
        self._pool = pool

    def _bucket(self, request: dict[str, Any]) -> str:
        """Return the request's bucket, checked, as is its key; a region's default bucket comes into being here.

        Raises
        ------
        AwsError
            ``NoSuchBucket``; ``AccessDenied`` where the caller expects another owner; ``KeyTooLongError``.
        """
        bucket: str = request["Bucket"]
        self._check_bucket(bucket)
        for name in ("ExpectedBucketOwner", "ExpectedSourceBucketOwner"):
            if request.get(name, self._config.account) != self._config.account:
                raise AwsError("AccessDenied", "Access Denied", status=403)
        if request.get("VersionId", "null") != "null":
            raise AwsError("NoSuchVersion", "The specified version does not exist.", status=404)
        size = len(request.get("Key", "").encode())
        if size > MAX_KEY:
            raise AwsError("KeyTooLongError", "Your key is too long", Size=size, MaxSizeAllowed=MAX_KEY)
        return bucket

    def _check_bucket(self, bucket: str) -> None:
        if self._store.bucket(bucket) is None:
            if not self._config.is_default_bucket(bucket):
                raise no_such_bucket(bucket)
            region = bucket.removeprefix("sagemaker-").removesuffix(f"-{self._config.account}")
            self._store.create_bucket(bucket, region)


def no_such_bucket(bucket: str) -> AwsError:
    """Return the error of a bucket that does not exist."""
    return AwsError("NoSuchBucket", "The specified bucket does not exist", status=404, BucketName=bucket)


def no_such_key(key: str) -> AwsError:
    """Return the error of an object that does not exist."""
    return AwsError("NoSuchKey", "The specified key does not exist.", status=404, Key=key)


def translated(call: Callable[[], Any], request: dict[str, Any]) -> Any:
    """Call, with the store's errors turned into S3's."""
    try:
        return call()
    except NoSuchBucketError:
        raise no_such_bucket(request["Bucket"]) from None
    except NoSuchKeyError:
        raise no_such_key(request["Key"]) from None
    except NoSuchUploadError:
        raise AwsError(
            "NoSuchUpload",
            "The specified upload does not exist. The upload ID may be invalid, or the upload may have been aborted or "
            "completed.",
            status=404,
            UploadId=request.get("UploadId"),
        ) from None


def page_size(request: dict[str, Any], name: str, most: int = 1000) -> int:
    """Return the size of a page that the request asks for, at most ``most``.

    Raises
    ------
    AwsError
        ``InvalidArgument`` for a negative one.
    """
    size: int = request.get(name, most)
    if size < 0:
        argument = name[:1].lower() + name[1:]
        raise AwsError(
            "InvalidArgument",
            f"Argument {argument} must be an integer between 0 and 2147483647",
            ArgumentName=argument,
            ArgumentValue=size,
        )
    return min(size, most)


def quoted(etag: str) -> str:
    """Return an ETag as it travels."""
    return f'"{etag}"'


def owner(account: str) -> dict[str, str]:
    """Return the one owner of everything."""
    return {"ID": account, "DisplayName": "sagespark"}


class S3Buckets(S3Base):
    """Operations on buckets."""

    def ListBuckets(self, ctx: Context, request: dict[str, Any]) -> dict[str, Any]:
        """List every bucket; of the default ones those that were used."""
        default = f"sagemaker-{ctx.region}-{ctx.account}"
        if self._config.is_default_bucket(default):
            self._store.create_bucket(default, ctx.region)
        rows = [
            {"Name": name, "CreationDate": created, "BucketRegion": region}
            for name, region, created in self._store.buckets()
            if name.startswith(request.get("Prefix", ""))
            and request.get("BucketRegion", region) == region
            and name > request.get("ContinuationToken", "")
        ]
        limit = request.get("MaxBuckets", len(rows))
        more = {"ContinuationToken": rows[limit - 1]["Name"]} if 0 < limit < len(rows) else {}
        return {"Buckets": rows[:limit], "Owner": owner(ctx.account), "Prefix": request.get("Prefix"), **more}

    def CreateBucket(self, ctx: Context, request: dict[str, Any]) -> dict[str, Any]:
        """Make a bucket; making one's own again is an error except in us-east-1, as on AWS."""
        bucket = request["Bucket"]
        if not _NAME.fullmatch(bucket) or ".." in bucket or _ADDRESS.fullmatch(bucket):
            raise AwsError("InvalidBucketName", "The specified bucket is not valid.", BucketName=bucket)
        region = (request.get("CreateBucketConfiguration") or {}).get("LocationConstraint") or ctx.region
        if not self._store.create_bucket(bucket, region) and ctx.region != "us-east-1":
            raise AwsError(
                "BucketAlreadyOwnedByYou",
                "Your previous request to create the named bucket succeeded and you already own it.",
                status=409,
                BucketName=bucket,
            )
        return {"Location": f"/{bucket}"}

    def HeadBucket(self, ctx: Context, request: dict[str, Any]) -> dict[str, Any]:
        """Tell that a bucket exists, and its region."""
        known = self._store.bucket(self._bucket(request))
        return {"BucketRegion": known[0] if known else ctx.region, "AccessPointAlias": False}

    def GetBucketLocation(self, ctx: Context, request: dict[str, Any]) -> dict[str, Any]:
        """Return the region; nothing for us-east-1, as on AWS."""
        known = self._store.bucket(self._bucket(request))
        return {"LocationConstraint": known[0] if known and known[0] != "us-east-1" else ""}

    def GetBucketVersioning(self, ctx: Context, request: dict[str, Any]) -> dict[str, Any]:
        """Tell that versioning was never on."""
        self._bucket(request)
        return {}

    def DeleteBucket(self, ctx: Context, request: dict[str, Any]) -> dict[str, Any]:
        """Delete an empty bucket."""
        bucket = self._bucket(request)
        try:
            translated(lambda: self._store.delete_bucket(bucket), request)
        except BucketNotEmptyError:
            raise AwsError(
                "BucketNotEmpty", "The bucket you tried to delete is not empty", status=409, BucketName=bucket
            ) from None
        return {}
