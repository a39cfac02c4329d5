"""Writing one object of unknown size with flat memory."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from sagespark.aws.errors import call
from sagespark.aws.s3 import encryption
from sagespark.aws.session import SageMakerSession
from sagespark.core.errors import ResourceNotFoundError, SageSparkError
from sagespark.core.s3uri import S3Uri

PART = 8 << 20
"""Bytes per part."""
MIN_PART = 5 << 20
"""Smallest part but the last that S3 takes."""
MAX_PARTS = 10_000
"""Most parts that S3 takes."""

log = logging.getLogger(__name__)

Buffer = bytes | bytearray | memoryview
"""What can be written."""


@dataclass(frozen=True)
class HeldUpload:
    """An object whose parts are all in S3, and which is there once :meth:`complete` was called; picklable.

    Parameters
    ----------
    uri : S3Uri
        The object.
    uploadId : str
        S3's name of the upload.
    parts : tuple of dict
        As CompleteMultipartUpload takes them.
    """

    uri: S3Uri
    uploadId: str
    parts: tuple[dict[str, Any], ...]

    def complete(self, session: SageMakerSession) -> str:
        """Finish the object and return its ETag. Calls CompleteMultipartUpload.

        Raises
        ------
        ServiceError
            If S3 refused, or the upload was aborted.
        """
        answer = call(
            session.client("s3"),
            "CompleteMultipartUpload",
            Bucket=self.uri.bucket,
            Key=self.uri.key,
            UploadId=self.uploadId,
            MultipartUpload={"Parts": list(self.parts)},
        )
        return str(answer["ETag"])


class MultipartWriter:
    """Write an object piece by piece; nothing is there before ``close()``, nothing is left after ``abort()``.

    Memory is two parts, whatever the object's size: one is filled while the other travels. What fits in one part is
    written by a single PutObject. As a context manager it closes at the end and aborts on an error.

    Parameters
    ----------
    session : SageMakerSession
    uri : S3Uri
        The object.
    partBytes : int
        Bytes per part, at least 5 MiB. S3 takes 10,000 parts: 8 MiB are enough for objects of 78 GiB.
    contentType : str
        The object's content type.
    """

    def __init__(self, session: SageMakerSession, uri: S3Uri, partBytes: int = PART, contentType: str = "") -> None:
        if partBytes < MIN_PART:
            raise ValueError(f"partBytes must be at least {MIN_PART} (S3's limit), but got {partBytes}")
        self.uri = uri
        self.written = 0
        """Bytes taken so far."""
        self._session = session
        self._where = {"Bucket": uri.bucket, "Key": uri.key}
        self._options: dict[str, Any] = {"ContentType": contentType} if contentType else {}
        self._options |= encryption(session)
        self._part_bytes = partBytes
        self._buffer = bytearray()
        self._upload_id: str | None = None
        self._parts: list[dict[str, Any]] = []
        self._flying: Future[dict[str, Any]] | None = None
        self._pool: ThreadPoolExecutor | None = None
        self._closed = False

    def write(self, data: Buffer) -> None:
        """Take bytes; sends a part whenever one is full.

        Raises
        ------
        ServiceError
            If a part could not be written.
        ValueError
            If the writer is closed.
        """
        self._check_open()
        view = memoryview(data).cast("B")
        self.written += len(view)
        while len(view):
            room = self._part_bytes - len(self._buffer)
            self._buffer += view[:room]
            view = view[room:]
            if len(self._buffer) == self._part_bytes and len(view):
                # The last part waits for close(): an object of exactly one part is still a single PutObject.
                self._send()

    def close(self) -> str:
        """Finish the object and return its ETag; it is visible from now on.

        Raises
        ------
        ServiceError
            If the object could not be finished; the upload is then aborted.
        """
        with self._ending():
            if self._upload_id is not None:
                return self._sent().complete(self._session)
            body = bytes(self._buffer)
            answer = call(self._session.client("s3"), "PutObject", **self._where, Body=body, **self._options)
            return str(answer["ETag"])

    def hold(self) -> HeldUpload:
        """Send what is left, but leave the object unfinished: whoever gets what is returned can finish it.

        Raises
        ------
        ServiceError
            If a part could not be written; the upload is then aborted.
        """
        with self._ending():
            return self._sent()

    @contextmanager
    def _ending(self) -> Iterator[None]:
        """End the writer with the block; abort where the block fails."""
        self._check_open()
        try:
            yield
        except BaseException:
            self.abort()
            raise
        self._end()

    def _check_open(self) -> None:
        if self._closed:
            raise ValueError(f"the writer of {self.uri} is closed")

    def abort(self) -> None:
        """Give the object up and remove the parts written; does nothing after ``close()``."""
        if self._closed:
            return
        flying, self._flying = self._flying, None
        if flying is not None:
            # A part that lands after the abort would stay behind.
            flying.exception()
        self._end()
        if self._upload_id is None:
            return
        try:
            call(self._session.client("s3"), "AbortMultipartUpload", **self._where, UploadId=self._upload_id)
        except ResourceNotFoundError:
            pass
        except SageSparkError as error:
            # What led here is the error to raise; the sweep by prefix finds what stays.
            log.warning("the unfinished upload of %s could not be aborted: %s", self.uri, error)

    def _sent(self) -> HeldUpload:
        """Send the last part."""
        self._send()
        self._land()
        assert self._upload_id is not None  # the first part's
        return HeldUpload(self.uri, self._upload_id, tuple(self._parts))

    def _send(self) -> None:
        """Let the full buffer travel, once the part before it has landed."""
        self._land()
        client = self._session.client("s3")
        if self._upload_id is None:
            answer = call(client, "CreateMultipartUpload", **self._where, **self._options)
            self._upload_id = answer["UploadId"]
            self._pool = ThreadPoolExecutor(1, thread_name_prefix="sagespark-upload")
        number = len(self._parts) + 1
        if number > MAX_PARTS:
            raise ValueError(
                f"{self.uri} would need more than {MAX_PARTS} parts of {self._part_bytes} bytes; "
                "take a larger partBytes"
            )
        body, self._buffer = self._buffer, bytearray()
        assert self._pool is not None
        self._parts.append({"PartNumber": number})
        self._flying = self._pool.submit(
            call, client, "UploadPart", **self._where, UploadId=self._upload_id, PartNumber=number, Body=body
        )

    def _land(self) -> None:
        flying, self._flying = self._flying, None
        if flying is None:
            return
        answer = flying.result()
        self._parts[-1]["ETag"] = answer["ETag"]
        # The checksums that the client sent must be named again when the upload is completed.
        self._parts[-1] |= {k: v for k, v in answer.items() if k.startswith("Checksum") and k != "ChecksumType"}

    def _end(self) -> None:
        self._closed = True
        self._buffer = bytearray()
        if self._pool is not None:
            self._pool.shutdown(wait=True)

    def __enter__(self) -> Self:
        """Return the writer."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close at the end, abort on an error."""
        if error is None:
            if not self._closed:
                self.close()
        else:
            self.abort()
