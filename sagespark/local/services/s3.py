"""S3's buckets, and the providers that make up the service."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from sagespark.local.config import LocalConfig
from sagespark.local.objects.store import BucketNotEmptyError, NoSuchBucketError, ObjectStore
from sagespark.local.wire.context import AwsError, Context

_NAME = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_NO_BUCKET = "The specified bucket does not exist"


class S3Base:
    """What S3's providers share."""

    service = "s3"

    def __init__(self, store: ObjectStore, config: LocalConfig, pool: ThreadPoolExecutor) -> None:
        self._store = store
        self._config = config
        self._pool = pool

    def _bucket(self, request: dict[str, Any]) -> str:
        """Return the request's bucket, checked; the default bucket of a region comes into being here.

        Raises
        ------
        AwsError
            ``NoSuchBucket``; ``AccessDenied`` where the caller expects another owner.
        """
        bucket: str = request["Bucket"]
        if self._store.bucket(bucket) is None:
            if not self._config.is_default_bucket(bucket):
                raise no_such_bucket(bucket)
            region = bucket.removeprefix("sagemaker-").removesuffix(f"-{self._config.account}")
            self._store.create_bucket(bucket, region)
        for name in ("ExpectedBucketOwner", "ExpectedSourceBucketOwner"):
            if request.get(name, self._config.account) != self._config.account:
                raise AwsError("AccessDenied", "Access Denied", status=403)
        return bucket


def no_such_bucket(bucket: str) -> AwsError:
    """Return the error of a bucket that does not exist."""
    return AwsError("NoSuchBucket", _NO_BUCKET, status=404, BucketName=bucket)


class S3Buckets(S3Base):
    """Create, delete, head and list buckets."""

    def ListBuckets(self, ctx: Context, request: dict[str, Any]) -> dict[str, Any]:
        """List every bucket; of the default ones those that were used."""
        self._store.create_bucket(f"sagemaker-{ctx.region}-{ctx.account}", ctx.region)
        rows = [
            {"Name": name, "CreationDate": created, "BucketRegion": region}
            for name, region, created in self._store.buckets()
            if name.startswith(request.get("Prefix", "")) and request.get("BucketRegion", region) == region
        ]
        return {"Buckets": rows, "Owner": {"ID": ctx.account, "DisplayName": "sagespark"}}

    def CreateBucket(self, ctx: Context, request: dict[str, Any]) -> dict[str, Any]:
        """Make a bucket; making one's own again is an error except in us-east-1, as on AWS."""
        bucket = request["Bucket"]
        if not _NAME.fullmatch(bucket) or ".." in bucket or re.fullmatch(r"\d+\.\d+\.\d+\.\d+", bucket):
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
        return {"BucketRegion": known[0] if known else ctx.region}

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
            self._store.delete_bucket(bucket)
        except BucketNotEmptyError:
            raise AwsError(
                "BucketNotEmpty", "The bucket you tried to delete is not empty", status=409, BucketName=bucket
            ) from None
        except NoSuchBucketError:
            raise no_such_bucket(bucket) from None
        return {}
