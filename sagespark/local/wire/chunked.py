"""Undo ``aws-chunked``, the coding in which AWS's SDKs stream bodies to S3.

``SIZE[;chunk-signature=SIGNATURE]CRLF DATA CRLF`` per chunk, SIZE in hexadecimal; a chunk of size 0 ends the data; then
come trailers, ``NAME:VALUE CRLF``, and an empty line. Signatures are checked where a verifier is given.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any, Protocol

from sagespark.local.wire.context import AwsError

_MAX_LINE = 8192
_MAX_TRAILERS = 16 * 1024
TRAILER_SIGNATURE = "x-amz-trailer-signature"


class ChunkVerifier(Protocol):
    """Checks the signature of each chunk."""

    def chunk(self, signature: str, sha256: str) -> None:
        """Refuse a wrong signature of a chunk whose data hash to ``sha256``."""
        ...

    def trailer(self, signature: str, text: str) -> None:
        """Refuse a wrong signature of the trailers."""
        ...


def incomplete(message: str) -> AwsError:
    """Return the error of a body that does not keep to the coding."""
    return AwsError("IncompleteBody", message)


class ChunkedDecoder:
    """Decode as the bytes arrive; data pass through without being copied.

    Parameters
    ----------
    verifier : ChunkVerifier, optional
        Checks the chunks' signatures.
    """

    def __init__(self, verifier: ChunkVerifier | None = None) -> None:
        self._verifier = verifier
        self._line = bytearray()
        self._left = 0
        self._state = "size"
        self._hash: Any = None
        self._signature = ""
        self._trailer_size = 0
        self.trailers: dict[str, str] = {}

    def feed(self, data: bytes) -> Sequence[memoryview]:
        """Return the content that ``data`` holds, as views of it.

        Raises
        ------
        AwsError
            ``IncompleteBody`` where the coding is broken, ``SignatureDoesNotMatch`` where a signature is wrong.
        """
        view = memoryview(data)
        pieces: list[memoryview] = []
        at = 0
        while at < len(data):
            if self._state == "data":
                piece = view[at : at + self._left]
                pieces.append(piece)
                if self._hash is not None:
                    self._hash.update(piece)
                at += len(piece)
                self._left -= len(piece)
                if self._left == 0:
                    self._state = "gap"
                    self._verify()
                continue
            end = data.find(b"\n", at)
            self._line += view[at : len(data) if end < 0 else end + 1]
            if len(self._line) > _MAX_LINE:
                raise incomplete("a line of the aws-chunked coding is longer than 8192 bytes")
            if end < 0:
                break
            at = end + 1
            line = bytes(self._line).strip(b"\r\n")
            self._line.clear()
            self._take(line)
        return pieces

    def _take(self, line: bytes) -> None:
        if self._state == "gap":
            if line:
                raise incomplete("a chunk of the aws-chunked coding is longer than its size")
            self._state = "size"
        elif self._state == "size":
            self._start(line)
        elif self._state == "trailers":
            if not line:
                self._state = "end"
                return
            self._trailer_size += len(line)
            name, colon, value = line.decode("latin-1").partition(":")
            if not colon or self._trailer_size > _MAX_TRAILERS:
                raise AwsError("MalformedTrailerError", "The request contained trailing data that was not well-formed")
            self.trailers[name.strip().lower()] = value.strip()
        else:
            raise incomplete("there are bytes after the end of the aws-chunked coding")

    def _start(self, line: bytes) -> None:
        size, _, extension = line.partition(b";")
        # int() would take signs, spaces and underscores too.
        if not size or len(size) > 16 or not all(c in b"0123456789abcdefABCDEF" for c in size):
            raise incomplete(f"{line[:80]!r} is not the size of a chunk of the aws-chunked coding")
        self._left = int(size, 16)
        self._signature = extension.decode("latin-1").partition("chunk-signature=")[2].strip()
        if self._verifier is not None:
            self._hash = hashlib.sha256()
        if self._left == 0:
            self._verify()
            self._state = "trailers"
        else:
            self._state = "data"

    def _verify(self) -> None:
        if self._verifier is not None:
            self._verifier.chunk(self._signature, self._hash.hexdigest())

    def end(self) -> None:
        """Check that the data ended properly, and the trailers' signature.

        Raises
        ------
        AwsError
            ``IncompleteBody`` or ``SignatureDoesNotMatch``.
        """
        # The last empty line is missing in what some SDKs send.
        if self._state not in ("end", "trailers") or self._line.strip():
            raise incomplete("the body ends in the middle of the aws-chunked coding")
        if self._verifier is not None and self.trailers:
            signature = self.trailers.get(TRAILER_SIGNATURE, "")
            signed = {k: v for k, v in self.trailers.items() if k != TRAILER_SIGNATURE}
            self._verifier.trailer(signature, "".join(f"{k}:{v}\n" for k, v in signed.items()))
