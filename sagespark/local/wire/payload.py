"""The content of an S3 request: decode it, and check it against everything that the request says of it."""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any

from sagespark.local.wire import checksums
from sagespark.local.wire.chunked import ChunkedDecoder, ChunkVerifier, incomplete
from sagespark.local.wire.context import AwsError, Body
from sagespark.local.wire.sigv4 import UNSIGNED

_HEX = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Content:
    """A body with the headers that describe it; what a streaming operation finds in ``request["Body"]``."""

    body: Body
    headers: dict[str, str]
    verifier: ChunkVerifier | None = None
    """Checks the signatures of chunks, where signatures are asked for and chunks have them."""

    def chunks(self) -> AsyncIterator[bytes]:
        """Yield the bytes as they arrive, still coded."""
        return self.body.chunks()

    @property
    def is_chunked(self) -> bool:
        """Whether the body is ``aws-chunked``."""
        return self.headers.get("x-amz-content-sha256", "").startswith("STREAMING-") or "aws-chunked" in self.encodings

    @property
    def is_unsigned(self) -> bool:
        """Whether the signature of the request leaves the content out, chunks and trailers too."""
        return UNSIGNED in self.headers.get("x-amz-content-sha256", UNSIGNED)

    @property
    def encodings(self) -> list[str]:
        """Content codings, outermost last."""
        return [e.strip() for e in self.headers.get("content-encoding", "").split(",") if e.strip()]

    def checker(self, *algorithms: str) -> Checker:
        """Return what decodes and checks the body.

        Parameters
        ----------
        *algorithms : str
            Checksums to compute beside those that the request tells.

        Raises
        ------
        AwsError
            Where the headers cannot be right whatever the body is.
        """
        return Checker(self, algorithms)


class Checker:
    """Decode and hash a body as it arrives.

    Attributes
    ----------
    size : int
        Bytes of content so far.
    checksums : dict
        Base64 by algorithm; complete after `finish`.
    """

    def __init__(self, content: Content, algorithms: Sequence[str]) -> None:
        headers = content.headers
        self._headers = headers
        # AWS's SDK for C++ leaves the content of its uploads unsigned even without TLS.
        verifier = None if content.is_unsigned else content.verifier
        self._decoder = ChunkedDecoder(verifier) if content.is_chunked else None
        sha256 = headers.get("x-amz-content-sha256", "")
        self._sha256 = sha256 if self._decoder is None and _HEX.fullmatch(sha256) else ""
        self._raw: Any = hashlib.sha256() if self._sha256 else None
        self._md5 = hashlib.md5(usedforsecurity=False)
        self._told = checksums.of_headers(headers)
        self._trailer = self._trailer_algorithm()
        self._wanted_md5 = self._content_md5()
        names = {*self._told, *(a.upper() for a in algorithms), *([self._trailer] if self._trailer else [])}
        self._digests = {name: checksums.new(name) for name in sorted(names)}
        self.size = 0
        self.checksums: dict[str, str] = {}

    def _trailer_algorithm(self) -> str:
        names = [n.strip().lower() for n in self._headers.get("x-amz-trailer", "").split(",") if n.strip()]
        found = [n[len(checksums.PREFIX) :].upper() for n in names if n.startswith(checksums.PREFIX)]
        if names and (self._decoder is None or not found):
            raise AwsError("InvalidRequest", "The value specified in the x-amz-trailer header is not supported")
        return found[0] if found else ""

    def _content_md5(self) -> bytes | None:
        text = self._headers.get("content-md5")
        if text is None:
            return None
        try:
            digest = base64.b64decode(text, validate=True)
        except (binascii.Error, ValueError):
            digest = b""
        if len(digest) != 16:
            raise AwsError("InvalidDigest", "The Content-MD5 you specified was invalid.")
        return digest

    @property
    def md5(self) -> str:
        """MD5 of the content so far, hexadecimal."""
        return self._md5.hexdigest()

    def feed(self, data: bytes) -> Sequence[bytes | memoryview]:
        """Return the content that ``data`` holds, hashed already."""
        if self._raw is not None:
            self._raw.update(data)
        pieces: Sequence[bytes | memoryview] = [data] if self._decoder is None else self._decoder.feed(data)
        for piece in pieces:
            self._md5.update(piece)
            for digest in self._digests.values():
                digest.update(piece)
            self.size += len(piece)
        return pieces

    def finish(self) -> None:
        """Compare what arrived with what was told.

        Raises
        ------
        AwsError
            ``BadDigest``, ``XAmzContentSHA256Mismatch``, ``IncompleteBody``, ``InvalidRequest``.
        """
        if self._decoder is not None:
            self._decoder.end()
            self._decoded_length()
        if self._raw is not None and self._raw.hexdigest() != self._sha256:
            raise AwsError(
                "XAmzContentSHA256Mismatch",
                "The provided 'x-amz-content-sha256' header does not match what was computed.",
                ClientComputedContentSHA256=self._sha256,
                S3ComputedContentSHA256=self._raw.hexdigest(),
            )
        if self._wanted_md5 is not None and self._wanted_md5 != self._md5.digest():
            raise AwsError("BadDigest", "The Content-MD5 you specified did not match what we received.")
        told = dict(self._told)
        if self._trailer and self._decoder is not None:
            value = self._decoder.trailers.get(checksums.PREFIX + self._trailer.lower())
            if value is None:
                raise AwsError("MalformedTrailerError", "The trailer that x-amz-trailer names is missing.")
            checksums.check_form(self._trailer, value)
            told[self._trailer] = value
        self.checksums = {name: checksums.text(digest) for name, digest in self._digests.items()}
        for name, value in told.items():
            if self.checksums[name] != value:
                raise AwsError("BadDigest", f"The {name} you specified did not match the calculated checksum.")

    def _decoded_length(self) -> None:
        text = self._headers.get("x-amz-decoded-content-length")
        if text is None:
            return
        if not text.isdecimal():
            raise AwsError("InvalidArgument", "x-amz-decoded-content-length must be a whole number")
        if int(text) != self.size:
            raise incomplete(f"the body has {self.size} bytes of content, x-amz-decoded-content-length told {text}")
