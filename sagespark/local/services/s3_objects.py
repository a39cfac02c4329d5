"""S3's objects: put, get, head, copy, delete, tags."""

from __future__ import annotations

import asyncio
import hashlib
import os
from dataclasses import replace
from typing import Any

from sagespark.local.objects.files import copy_range, link_or_copy
from sagespark.local.objects.model import Attributes, ObjectInfo
from sagespark.local.objects.receive import Incoming, receive
from sagespark.local.objects.store import CHUNK
from sagespark.local.services.s3 import S3Base, no_such_key, page_size, quoted, translated
from sagespark.local.services.s3_attributes import (
    attributes,
    checked_tags,
    copy_source,
    described,
    header_tags,
    tag_rows,
)
from sagespark.local.services.s3_conditions import check_copy, check_read, span, write_guard
from sagespark.local.wire import checksums
from sagespark.local.wire.context import AwsError, Context, FileRange
from sagespark.local.wire.rest import malformed_xml

MAX_OBJECT = 5 * 1024**3
"""Largest object of one PutObject or CopyObject, bytes."""
INLINE = 256 * 1024
"""Bytes up to which an object is read by the thread that looked it up."""


class S3Objects(S3Base):
    """Operations on objects."""

    # ------------------------------------------------------------------------------------------------------------ write

    async def PutObject(self, ctx: Context, request: dict[str, Any]) -> dict[str, Any]:
        """Store an object as it arrives; memory stays flat whatever its size."""
        loop = asyncio.get_running_loop()
        bucket, key = request["Bucket"], request["Key"]
        # Refused before the body is asked for: a client that waits for `100 Continue` then does not send it.
        await loop.run_in_executor(self._pool, self._bucket, request)
        stored, guard = attributes(request), write_guard(request)
        if request.get("ContentLength", 0) > MAX_OBJECT:
            raise AwsError(
                "EntityTooLarge", "Your proposed upload exceeds the maximum allowed size", MaxSizeAllowed=MAX_OBJECT
            )
        incoming = Incoming(self._store.files, request["Body"])

        def finish() -> ObjectInfo:
            told = incoming.checksums
            full = replace(stored, checksums=told, checksum_type="FULL_OBJECT" if told else "")
            return self._store.commit(bucket, key, incoming.body, incoming.size, incoming.md5, full, guard=guard)

        info = await receive(incoming, lambda: translated(finish, request), self._pool)
        return self._written(info)

    def _written(self, info: ObjectInfo) -> dict[str, Any]:
        stored = info.attributes
        return {
            "ETag": quoted(info.etag),
            "ChecksumType": stored.checksum_type or None,
            "ServerSideEncryption": stored.headers.get("ServerSideEncryption"),
            "SSEKMSKeyId": stored.headers.get("SSEKMSKeyId"),
            **{checksums.member(k): v for k, v in stored.checksums.items()},
        }

    def CopyObject(self, ctx: Context, request: dict[str, Any]) -> dict[str, Any]:
        """Copy an object inside the service; its bytes are shared, not copied, where nothing new must be computed."""
        bucket, key = self._bucket(request), request["Key"]
        source_bucket, source_key = copy_source(request["CopySource"])
        self._check_bucket(source_bucket)
        source, file = translated(
            lambda: self._store.open(source_bucket, source_key), {"Bucket": source_bucket, "Key": source_key}
        )
        with file:
            check_copy(source, request)
            if source.size > MAX_OBJECT:
                raise AwsError(
                    "InvalidRequest",
                    "The specified copy source is larger than the maximum allowable size for a copy source: 5368709120",
                )
            stored = self._copied(request, source, same=(source_bucket, source_key) == (bucket, key))
            algorithm = request.get("ChecksumAlgorithm", "") or next(iter(source.attributes.checksums), "")
            etag, told = self._hashes(source, file.fileno(), algorithm)
            body, path = self._store.files.new()
            try:
                link_or_copy(source.path, path)
            except FileNotFoundError:
                # Replaced meanwhile: the name is gone, the open file is not.
                with path.open("wb") as target:
                    copy_range(file.fileno(), target.fileno(), 0, source.size)
        stored = replace(stored, checksums=told, checksum_type="FULL_OBJECT" if told else "")
        info = translated(
            lambda: self._store.commit(bucket, key, body, source.size, etag, stored, guard=write_guard(request)),
            request,
        )
        answer = {"ETag": quoted(info.etag), "LastModified": info.last_modified, **_members(stored)}
        return {"CopyObjectResult": answer, "ServerSideEncryption": stored.headers.get("ServerSideEncryption")}

    def _copied(self, request: dict[str, Any], source: ObjectInfo, *, same: bool) -> Attributes:
        new = attributes(request)
        replaced = request.get("MetadataDirective", "COPY") == "REPLACE"
        moved = {"StorageClass", "ServerSideEncryption", "WebsiteRedirectLocation"} & request.keys()
        if same and not replaced and not moved:
            raise AwsError(
                "InvalidRequest",
                "This copy request is illegal because it is trying to copy an object to itself without changing the "
                "object's metadata, storage class, website redirect location or encryption attributes.",
            )
        tags = header_tags(request.get("Tagging", ""))
        if request.get("TaggingDirective", "COPY") == "COPY":
            tags = source.attributes.tags
        if replaced:
            return Attributes(headers=new.headers, metadata=new.metadata, tags=tags)
        headers = dict(source.attributes.headers)
        headers.update({k: v for k, v in new.headers.items() if k in moved or k == "SSEKMSKeyId"})
        return Attributes(headers=headers, metadata=source.attributes.metadata, tags=tags)

    def _hashes(self, source: ObjectInfo, file: int, algorithm: str) -> tuple[str, dict[str, str]]:
        """Return ETag and checksums of a copy; only a source uploaded in parts, or a new algorithm, is read again."""
        known = source.attributes
        whole = known.checksum_type == "FULL_OBJECT" and algorithm in known.checksums
        if not known.parts and (whole or not algorithm):
            return source.etag, {algorithm: known.checksums[algorithm]} if algorithm else {}
        md5 = hashlib.md5(usedforsecurity=False)
        digest = checksums.new(algorithm) if algorithm else None
        for offset in range(0, source.size, CHUNK):
            data = os.pread(file, CHUNK, offset)
            md5.update(data)
            if digest is not None:
                digest.update(data)
        return md5.hexdigest(), {algorithm: checksums.text(digest)} if digest is not None else {}

    # ------------------------------------------------------------------------------------------------------------- read

    def GetObject(self, ctx: Context, request: dict[str, Any]) -> dict[str, Any]:
        """Return an object's bytes, or a stretch of them."""
        self._bucket(request)
        info, file = translated(lambda: self._store.open(request["Bucket"], request["Key"]), request)
        try:
            check_read(info, request)
            stretch = span(info, request.get("Range"), request.get("PartNumber"))
            response = described(info, request, stretch)
            if stretch.length > INLINE:
                return {"Body": FileRange(file, stretch.start, stretch.length), **response}
            body = os.pread(file.fileno(), stretch.length, stretch.start)
        except BaseException:
            file.close()
            raise
        file.close()
        return {"Body": body, **response}

    def HeadObject(self, ctx: Context, request: dict[str, Any]) -> dict[str, Any]:
        """Describe an object."""
        info = self._info(request)
        check_read(info, request)
        return described(info, request, span(info, request.get("Range"), request.get("PartNumber")))

    def _info(self, request: dict[str, Any]) -> ObjectInfo:
        info = self._store.head(self._bucket(request), request["Key"])
        if info is None:
            raise no_such_key(request["Key"])
        return info

    def GetObjectAttributes(self, ctx: Context, request: dict[str, Any]) -> dict[str, Any]:
        """Describe an object by chosen attributes."""
        info = self._info(request)
        stored = info.attributes
        first = request.get("PartNumberMarker", 0)
        rows = [(n, size, i) for i, (n, size) in enumerate(stored.parts) if n > first]
        limit = page_size(request, "MaxParts")
        shown = rows[:limit]
        parts: dict[str, Any] = {"TotalPartsCount": len(stored.parts)}
        if stored.part_checksums:
            parts |= {
                "PartNumberMarker": first,
                "NextPartNumberMarker": shown[-1][0] if shown else 0,
                "MaxParts": limit,
                "IsTruncated": len(shown) < len(rows),
                "Parts": [
                    {"PartNumber": n, "Size": size}
                    | {checksums.member(k): v for k, v in stored.part_checksums[i].items()}
                    for n, size, i in shown
                ],
            }
        values = {
            "ETag": info.etag,
            "ObjectSize": info.size,
            "StorageClass": stored.headers.get("StorageClass", "STANDARD"),
            "Checksum": _members(stored) or None,
            "ObjectParts": parts if stored.parts else None,
        }
        chosen = {k: v for k, v in values.items() if k in request["ObjectAttributes"]}
        return {"LastModified": info.last_modified, **chosen}

    # ----------------------------------------------------------------------------------------------------------- delete

    def DeleteObject(self, ctx: Context, request: dict[str, Any]) -> dict[str, Any]:
        """Delete an object; a missing one is no error."""
        self._store.delete(self._bucket(request), request["Key"], guard=write_guard(request))
        return {}

    def DeleteObjects(self, ctx: Context, request: dict[str, Any]) -> dict[str, Any]:
        """Delete up to 1,000 objects."""
        bucket = self._bucket(request)
        rows = request["Delete"]["Objects"]
        if not 1 <= len(rows) <= 1000:
            raise malformed_xml()
        refused = [row["Key"] for row in rows if row.get("VersionId", "null") != "null"]
        keys = [row["Key"] for row in rows if row.get("VersionId", "null") == "null"]
        self._store.delete(bucket, *keys)
        code, text = "NoSuchVersion", "The specified version does not exist."
        return {
            "Deleted": [] if request["Delete"].get("Quiet") else [{"Key": key} for key in keys],
            "Errors": [{"Key": key, "Code": code, "Message": text} for key in refused],
        }

    # ------------------------------------------------------------------------------------------------------------- tags

    def GetObjectTagging(self, ctx: Context, request: dict[str, Any]) -> dict[str, Any]:
        """Return an object's tags."""
        return {"TagSet": tag_rows(self._info(request).attributes.tags)}

    def PutObjectTagging(self, ctx: Context, request: dict[str, Any]) -> dict[str, Any]:
        """Replace an object's tags."""
        self._tag(request, checked_tags(request["Tagging"]["TagSet"]))
        return {}

    def DeleteObjectTagging(self, ctx: Context, request: dict[str, Any]) -> dict[str, Any]:
        """Remove an object's tags."""
        self._tag(request, {})
        return {}

    def _tag(self, request: dict[str, Any], tags: dict[str, str]) -> None:
        bucket = self._bucket(request)
        translated(lambda: self._store.update(bucket, request["Key"], lambda a: replace(a, tags=tags)), request)


def _members(stored: Attributes) -> dict[str, str]:
    """Return an object's checksums as members of S3's model."""
    found = {checksums.member(k): v for k, v in stored.checksums.items()}
    return found | {"ChecksumType": stored.checksum_type} if found else {}
