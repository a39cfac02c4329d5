"""S3's objects: put, get, head, delete."""

from __future__ import annotations

from typing import Any

from sagespark.local.objects.receive import Incoming, receive
from sagespark.local.objects.store import Attributes, NoSuchKeyError
from sagespark.local.services.s3 import S3Base
from sagespark.local.wire.context import AwsError, Context, FileRange


class S3Objects(S3Base):
    """Operations on one object."""

    async def PutObject(self, ctx: Context, request: dict[str, Any]) -> dict[str, Any]:
        """Store an object as it arrives."""
        incoming = Incoming(self._store.files, {})

        def finish() -> Any:
            headers = {"ContentType": request["ContentType"]} if "ContentType" in request else {}
            attributes = Attributes(headers=headers, metadata=request.get("Metadata", {}))
            bucket = self._bucket(request)
            return self._store.commit(bucket, request["Key"], incoming.body, incoming.size, incoming.md5, attributes)

        info = await receive(request["Body"], incoming, finish, self._pool)
        return {"ETag": f'"{info.etag}"'}

    def GetObject(self, ctx: Context, request: dict[str, Any]) -> dict[str, Any]:
        """Return an object's bytes."""
        bucket = self._bucket(request)
        try:
            info, file = self._store.open(bucket, request["Key"])
        except NoSuchKeyError:
            raise AwsError("NoSuchKey", "The specified key does not exist.", status=404, Key=request["Key"]) from None
        return {
            "Body": FileRange(file, 0, info.size),
            "ContentLength": info.size,
            "ETag": f'"{info.etag}"',
            "LastModified": info.last_modified,
            "ContentType": info.attributes.headers["ContentType"],
            "Metadata": info.attributes.metadata,
            "AcceptRanges": "bytes",
        }

    def HeadObject(self, ctx: Context, request: dict[str, Any]) -> dict[str, Any]:
        """Describe an object."""
        info = self._store.head(self._bucket(request), request["Key"])
        if info is None:
            raise AwsError("NoSuchKey", "The specified key does not exist.", status=404)
        return {
            "ContentLength": info.size,
            "ETag": f'"{info.etag}"',
            "LastModified": info.last_modified,
            "ContentType": info.attributes.headers["ContentType"],
            "Metadata": info.attributes.metadata,
            "AcceptRanges": "bytes",
        }

    def DeleteObject(self, ctx: Context, request: dict[str, Any]) -> dict[str, Any]:
        """Delete an object; a missing one is no error."""
        self._store.delete(self._bucket(request), request["Key"])
        return {}

    def DeleteObjects(self, ctx: Context, request: dict[str, Any]) -> dict[str, Any]:
        """Delete up to 1,000 objects."""
        bucket = self._bucket(request)
        keys = [row["Key"] for row in request["Delete"]["Objects"]]
        self._store.delete(bucket, *keys)
        return {"Deleted": [{"Key": key} for key in keys]}

    def ListObjectsV2(self, ctx: Context, request: dict[str, Any]) -> dict[str, Any]:
        """List objects by prefix."""
        bucket = self._bucket(request)
        rows = [
            {
                "Key": o.key,
                "Size": o.size,
                "ETag": f'"{o.etag}"',
                "LastModified": o.last_modified,
                "StorageClass": "STANDARD",
            }
            for o in self._store.list(bucket, request.get("Prefix", ""))
        ]
        return {
            "Name": bucket,
            "Prefix": request.get("Prefix", ""),
            "KeyCount": len(rows),
            "MaxKeys": 1000,
            "IsTruncated": False,
            "Contents": rows,
        }
