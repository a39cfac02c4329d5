"""S3's uploads in parts."""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any
from urllib.parse import quote

from sagespark.local.objects.files import copy_range as copy_bytes
from sagespark.local.objects.model import Attributes, Part, Upload
from sagespark.local.objects.receive import Incoming, receive
from sagespark.local.objects.store import CHUNK
from sagespark.local.services.s3 import S3Base, owner, page_size, quoted, translated
from sagespark.local.services.s3_attributes import attributes, copy_source
from sagespark.local.services.s3_conditions import check_copy, copy_range, write_guard
from sagespark.local.wire import checksums
from sagespark.local.wire.context import AwsError, Context
from sagespark.local.wire.rest import malformed_xml

MIN_PART = 5 * 1024 * 1024
"""Smallest part but the last, bytes."""
MAX_PARTS = 10_000
"""Highest number of a part."""


class S3Multipart(S3Base):
    """CreateMultipartUpload, UploadPart, UploadPartCopy, CompleteMultipartUpload, AbortMultipartUpload and lists."""

    def CreateMultipartUpload(self, ctx: Context, request: dict[str, Any]) -> dict[str, Any]:
        """Begin an upload."""
        bucket = self._bucket(request)
        algorithm = request.get("ChecksumAlgorithm", "")
        kind = request.get("ChecksumType", "")
        if algorithm:
            checksums.new(algorithm)
            kind = kind or checksums.default_type(algorithm)
            checksums.check_type(algorithm, kind)
        upload = translated(
            lambda: self._uploads.create(bucket, request["Key"], attributes(request), algorithm, kind), request
        )
        return {
            "Bucket": bucket,
            "Key": request["Key"],
            "UploadId": upload.id,
            "ChecksumAlgorithm": algorithm or None,
            "ChecksumType": kind or None,
            "ServerSideEncryption": request.get("ServerSideEncryption"),
        }

    # ------------------------------------------------------------------------------------------------------------ parts

    async def UploadPart(self, ctx: Context, request: dict[str, Any]) -> dict[str, Any]:
        """Store a part as it arrives."""
        loop = asyncio.get_running_loop()
        upload = await loop.run_in_executor(self._pool, self._upload, request)
        number = _part_number(request)
        incoming = Incoming(self._store.files, request["Body"], *([upload.algorithm] if upload.algorithm else []))

        def finish() -> Part:
            told = incoming.checksums
            return self._uploads.put(upload, number, incoming.body, incoming.size, incoming.md5, told)

        part = await receive(incoming, lambda: translated(finish, request), self._pool)
        return {"ETag": quoted(part.etag), **{checksums.member(k): v for k, v in part.checksums.items()}}

    def UploadPartCopy(self, ctx: Context, request: dict[str, Any]) -> dict[str, Any]:
        """Make a stretch of an object a part."""
        upload, number = self._upload(request), _part_number(request)
        bucket, key = copy_source(request["CopySource"])
        self._check_bucket(bucket)
        source, file = translated(lambda: self._store.open(bucket, key), {"Bucket": bucket, "Key": key})
        with file:
            check_copy(source, request)
            start, length = 0, source.size
            if "CopySourceRange" in request:
                stretch = copy_range(request["CopySourceRange"], source.size)
                start, length = stretch.start, stretch.length
            md5 = hashlib.md5(usedforsecurity=False)
            digest = checksums.new(upload.algorithm) if upload.algorithm else None
            for offset in range(start, start + length, CHUNK):
                data = os.pread(file.fileno(), min(CHUNK, start + length - offset), offset)
                md5.update(data)
                if digest is not None:
                    digest.update(data)
            body, path = self._store.files.new()
            with path.open("wb") as target:
                copy_bytes(file.fileno(), target.fileno(), start, length)
        told = {upload.algorithm: checksums.text(digest)} if digest is not None else {}
        part = translated(lambda: self._uploads.put(upload, number, body, length, md5.hexdigest(), told), request)
        answer = {"ETag": quoted(part.etag), "LastModified": part.last_modified}
        return {"CopyPartResult": answer | {checksums.member(k): v for k, v in told.items()}}

    def _upload(self, request: dict[str, Any]) -> Upload:
        bucket = self._bucket(request)
        found: Upload = translated(lambda: self._uploads.find(bucket, request["Key"], request["UploadId"]), request)
        return found

    # -------------------------------------------------------------------------------------------------------------- end

    def CompleteMultipartUpload(self, ctx: Context, request: dict[str, Any]) -> dict[str, Any]:
        """Join the parts to the object; asked again after it was done, answers the same."""
        bucket, key, identifier = self._bucket(request), request["Key"], request["UploadId"]
        done = self._uploads.completed(bucket, key, identifier)
        if done is None:
            upload = self._upload(request)
            rows = (request.get("MultipartUpload") or {}).get("Parts") or []
            parts = self._chosen(upload, rows)
            told = _object_checksum(request)
            stored = self._attributes(upload, parts, told, request.get("ChecksumType"))
            size = request.get("MpuObjectSize")
            if size is not None and size != sum(p.size for p in parts):
                raise AwsError(
                    "InvalidRequest", "The provided 'x-amz-mp-object-size' header does not match the upload."
                )
            guard = write_guard(request)
            done = translated(lambda: self._uploads.complete(upload, parts, stored, guard), request)
        return {
            "Location": f"{ctx.base_url}/{bucket}/{quote(key)}",
            "Bucket": bucket,
            "Key": key,
            "ETag": quoted(done.etag),
            "ChecksumType": done.attributes.checksum_type or None,
            "ServerSideEncryption": done.attributes.headers.get("ServerSideEncryption"),
            **{checksums.member(k): v for k, v in done.attributes.checksums.items()},
        }

    def _chosen(self, upload: Upload, rows: list[dict[str, Any]]) -> list[Part]:
        """Return the parts that the request names, checked.

        Raises
        ------
        AwsError
            ``MalformedXML``, ``InvalidPartOrder``, ``InvalidPart``, ``EntityTooSmall``.
        """
        if not rows:
            raise malformed_xml()
        numbers = [row.get("PartNumber", 0) for row in rows]
        if any(b <= a for a, b in pairwise(numbers)):
            raise AwsError(
                "InvalidPartOrder",
                "The list of parts was not in ascending order. The parts list must be specified in order by part "
                "number.",
                UploadId=upload.id,
            )
        known = {part.number: part for part in self._uploads.parts(upload.id)}
        chosen = []
        for number, row in zip(numbers, rows, strict=True):
            part = known.get(number)
            told = {a: row[checksums.member(a)] for a in part.checksums if checksums.member(a) in row} if part else {}
            if (
                part is None
                or row.get("ETag", "").strip('"') != part.etag
                or told != {a: part.checksums[a] for a in told}
            ):
                raise AwsError(
                    "InvalidPart",
                    "One or more of the specified parts could not be found. The part may not have been uploaded, or "
                    "the specified entity tag may not match the part's entity tag.",
                    UploadId=upload.id,
                    PartNumber=number,
                    ETag=row.get("ETag"),
                )
            chosen.append(part)
        for part in chosen[:-1]:
            if part.size < MIN_PART:
                raise AwsError(
                    "EntityTooSmall",
                    "Your proposed upload is smaller than the minimum allowed size",
                    ProposedSize=part.size,
                    MinSizeAllowed=MIN_PART,
                    PartNumber=part.number,
                    ETag=part.etag,
                )
        return chosen

    def _attributes(self, upload: Upload, parts: Sequence[Part], told: dict[str, str], kind: str | None) -> Attributes:
        """Return what is stored with the object: the upload's attributes and the checksum of the whole."""
        algorithm = upload.algorithm
        if kind is not None and upload.checksum_type not in ("", kind):
            raise AwsError("InvalidRequest", f"The upload was created using the {upload.checksum_type} checksum mode.")
        if not algorithm:
            return upload.attributes
        rows = [(p.checksums[algorithm], p.size) for p in parts]
        value = checksums.of_parts(algorithm, upload.checksum_type, rows)
        if told.get(algorithm, value).partition("-")[0] != value.partition("-")[0]:
            raise AwsError("BadDigest", f"The {algorithm} you specified did not match the calculated checksum.")
        return replace(upload.attributes, checksums={algorithm: value}, checksum_type=upload.checksum_type)

    def AbortMultipartUpload(self, ctx: Context, request: dict[str, Any]) -> dict[str, Any]:
        """End an upload and delete its parts."""
        bucket = self._bucket(request)
        translated(lambda: self._uploads.abort(bucket, request["Key"], request["UploadId"]), request)
        return {}

    # ------------------------------------------------------------------------------------------------------------ lists

    def ListParts(self, ctx: Context, request: dict[str, Any]) -> dict[str, Any]:
        """List a page of an upload's parts."""
        upload = self._upload(request)
        marker = request.get("PartNumberMarker", 0)
        limit = page_size(request, "MaxParts")
        found = self._uploads.parts(upload.id, marker, limit + 1)
        rows = found[:limit]
        return {
            "Bucket": upload.bucket,
            "Key": upload.key,
            "UploadId": upload.id,
            "PartNumberMarker": marker,
            "NextPartNumberMarker": rows[-1].number if rows else 0,
            "MaxParts": limit,
            "IsTruncated": len(found) > limit > 0,
            "Parts": [
                {"PartNumber": p.number, "LastModified": p.last_modified, "ETag": quoted(p.etag), "Size": p.size}
                | {checksums.member(k): v for k, v in p.checksums.items()}
                for p in rows
            ],
            "Initiator": owner(ctx.account),
            "Owner": owner(ctx.account),
            "StorageClass": upload.attributes.headers.get("StorageClass", "STANDARD"),
            "ChecksumAlgorithm": upload.algorithm or None,
            "ChecksumType": upload.checksum_type or None,
        }

    def ListMultipartUploads(self, ctx: Context, request: dict[str, Any]) -> dict[str, Any]:
        """List a page of unfinished uploads."""
        bucket = self._bucket(request)
        prefix, delimiter = request.get("Prefix", ""), request.get("Delimiter", "")
        marker = (request.get("KeyMarker", ""), request.get("UploadIdMarker", ""))
        limit = page_size(request, "MaxUploads")
        found = self._uploads.list(bucket, prefix, marker, limit + 1)
        rows = found[:limit]
        common: dict[str, None] = {}
        shown = []
        for upload in rows:
            at = upload.key.find(delimiter, len(prefix)) if delimiter else -1
            if at >= 0:
                common[upload.key[: at + len(delimiter)]] = None
            else:
                shown.append(upload)
        truncated = len(found) > limit > 0
        return {
            "Bucket": bucket,
            "KeyMarker": marker[0],
            "UploadIdMarker": marker[1],
            "NextKeyMarker": rows[-1].key if truncated else None,
            "NextUploadIdMarker": rows[-1].id if truncated else None,
            "Prefix": prefix,
            "Delimiter": delimiter or None,
            "MaxUploads": limit,
            "IsTruncated": truncated,
            "Uploads": [
                {
                    "UploadId": upload.id,
                    "Key": upload.key,
                    "Initiated": upload.created,
                    "StorageClass": upload.attributes.headers.get("StorageClass", "STANDARD"),
                    "Initiator": owner(ctx.account),
                    "Owner": owner(ctx.account),
                }
                for upload in shown
            ],
            "CommonPrefixes": [{"Prefix": p} for p in common],
        }


def _part_number(request: dict[str, Any]) -> int:
    number: int = request["PartNumber"]
    if not 1 <= number <= MAX_PARTS:
        raise AwsError(
            "InvalidArgument",
            "Part number must be an integer between 1 and 10000, inclusive",
            ArgumentName="partNumber",
            ArgumentValue=number,
        )
    return number


def _object_checksum(request: dict[str, Any]) -> dict[str, str]:
    prefix = "Checksum"
    return {k[len(prefix) :]: v for k, v in request.items() if k.startswith(prefix) and k != "ChecksumType"}
