"""S3's object checksums by their names: digests, headers, and the checksum of an object uploaded in parts."""

from __future__ import annotations

import base64
import binascii
import hashlib
import zlib
from collections.abc import Callable, Sequence
from typing import Protocol

from sagespark.local.wire.context import AwsError
from sagespark.local.wire.crc import Crc, crc32, crc32c, crc64nvme

PREFIX = "x-amz-checksum-"
_NOT_DIGESTS = frozenset({"type", "algorithm", "mode"})


class Digest(Protocol):
    """A running digest, as ``hashlib`` has them."""

    def update(self, data: bytes | memoryview, /) -> None:
        """Take in more bytes."""
        ...

    def digest(self) -> bytes:
        """Return the digest of all bytes so far."""
        ...


class _Crc32:
    def __init__(self) -> None:
        self._value = 0

    def update(self, data: bytes | memoryview, /) -> None:
        self._value = zlib.crc32(data, self._value)

    def digest(self) -> bytes:
        return self._value.to_bytes(4, "big")


_NEW: dict[str, Callable[[], Digest]] = {
    "CRC32": _Crc32,
    "CRC32C": lambda: Crc(crc32c()),
    "CRC64NVME": lambda: Crc(crc64nvme()),
    "SHA1": lambda: hashlib.sha1(usedforsecurity=False),
    "SHA256": hashlib.sha256,
    "SHA512": hashlib.sha512,
    "MD5": lambda: hashlib.md5(usedforsecurity=False),
}
_JOINED = {"CRC32": crc32, "CRC32C": crc32c, "CRC64NVME": crc64nvme}


def member(algorithm: str) -> str:
    """Return the member of S3's model that carries a checksum, such as ``ChecksumCRC32``."""
    return f"Checksum{algorithm}"


def new(algorithm: str) -> Digest:
    """Return a running digest.

    Raises
    ------
    AwsError
        ``InvalidRequest`` for one that is not built (the XXHASH family).
    """
    factory = _NEW.get(algorithm.upper())
    if factory is None:
        raise AwsError(
            "InvalidRequest",
            f"The checksum algorithm {algorithm} is not built in the embedded service; it has {', '.join(_NEW)}.",
        )
    return factory()


def text(digest: Digest) -> str:
    """Return a digest in base64, as headers carry it."""
    return base64.b64encode(digest.digest()).decode("ascii")


def of_headers(headers: dict[str, str]) -> dict[str, str]:
    """Return the checksum that the headers tell, by algorithm; at most one.

    Raises
    ------
    AwsError
        ``InvalidRequest`` where there are several or the value is not of the right length.
    """
    found = {
        name[len(PREFIX) :].upper(): value
        for name, value in headers.items()
        if name.startswith(PREFIX) and name[len(PREFIX) :] not in _NOT_DIGESTS
    }
    if len(found) > 1:
        raise AwsError(
            "InvalidRequest",
            "Expecting a single x-amz-checksum- header. Multiple checksum Types are not allowed.",
        )
    for algorithm, value in found.items():
        check_form(algorithm, value)
    return found


def check_form(algorithm: str, value: str) -> None:
    """Refuse a text that cannot be a checksum of the algorithm.

    Raises
    ------
    AwsError
        ``InvalidRequest``.
    """
    try:
        right = len(base64.b64decode(value, validate=True)) == len(new(algorithm).digest())
    except (binascii.Error, ValueError):
        right = False
    if not right:
        raise AwsError("InvalidRequest", f"Value for {PREFIX}{algorithm.lower()} header is invalid.")


def default_type(algorithm: str) -> str:
    """Return how S3 forms the checksum of an object in parts unless it is told."""
    return "FULL_OBJECT" if algorithm == "CRC64NVME" else "COMPOSITE"


def check_type(algorithm: str, kind: str) -> None:
    """Refuse a way of forming the checksum of an object in parts that the algorithm does not have.

    Raises
    ------
    AwsError
        ``InvalidRequest``.
    """
    full = algorithm in _JOINED
    if (kind == "FULL_OBJECT" and not full) or (kind == "COMPOSITE" and algorithm == "CRC64NVME"):
        raise AwsError(
            "InvalidRequest",
            f"The {kind} checksum type cannot be used with the {algorithm.lower()} checksum algorithm.",
        )


def of_parts(algorithm: str, kind: str, parts: Sequence[tuple[str, int]]) -> str:
    """Return the checksum of an object uploaded in parts.

    Parameters
    ----------
    algorithm : str
        Such as ``CRC32``.
    kind : str
        ``FULL_OBJECT``: of all bytes, joined from the parts' CRCs; ``COMPOSITE``: the digest of the parts' digests, and
        ``-N``.
    parts : sequence of (str, int)
        Each part's checksum in base64 and its length in bytes, in order.
    """
    raw = [(base64.b64decode(value), size) for value, size in parts]
    if kind == "FULL_OBJECT":
        tables = _JOINED[algorithm]()
        value = int.from_bytes(raw[0][0], "big")
        for digest, size in raw[1:]:
            value = tables.join(value, int.from_bytes(digest, "big"), size)
        return base64.b64encode(value.to_bytes(tables.bytes, "big")).decode("ascii")
    composite = new(algorithm)
    for digest, _ in raw:
        composite.update(digest)
    return f"{text(composite)}-{len(raw)}"
