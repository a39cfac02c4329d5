"""Values of the object store, and what can go wrong."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path


class NoSuchBucketError(LookupError):
    """There is no bucket of this name."""


class NoSuchKeyError(LookupError):
    """The bucket has no object of this key."""


class NoSuchUploadError(LookupError):
    """There is no unfinished upload of this id for this key."""


class BucketNotEmptyError(Exception):
    """A bucket that still holds objects is not deleted."""


@dataclass(frozen=True)
class Attributes:
    """What is stored with an object beside its bytes."""

    headers: dict[str, str] = field(default_factory=dict)
    """System metadata by S3's member names: ``ContentType``, ``CacheControl``, ..."""
    metadata: dict[str, str] = field(default_factory=dict)
    """User metadata, names in lower case."""
    tags: dict[str, str] = field(default_factory=dict)
    """Values by key."""
    checksums: dict[str, str] = field(default_factory=dict)
    """Base64 by algorithm (``CRC32``); with ``-N`` where formed of the parts' checksums."""
    checksum_type: str = ""
    """``FULL_OBJECT`` or ``COMPOSITE``; empty without a checksum."""
    parts: tuple[tuple[int, int], ...] = ()
    """Number and size in bytes of each part; empty unless uploaded in parts."""
    part_checksums: tuple[dict[str, str], ...] = ()
    """Checksums of each part."""

    def dump(self) -> str:
        """Return the attributes as JSON, without what is empty."""
        return json.dumps({k: v for k, v in self.__dict__.items() if v}, separators=(",", ":"))

    @classmethod
    def load(cls, text: str) -> Attributes:
        """Return the attributes that `dump` wrote."""
        document = json.loads(text)
        document["parts"] = tuple((n, s) for n, s in document.get("parts", ()))
        document["part_checksums"] = tuple(document.get("part_checksums", ()))
        return cls(**document)


@dataclass(frozen=True)
class ObjectInfo:
    """One object."""

    bucket: str
    key: str
    size: int
    """Bytes."""
    etag: str
    """Without quotes: MD5 in hexadecimal, or MD5 of the parts' MD5s and ``-N``."""
    last_modified: datetime
    """In UTC, whole seconds as S3 has them."""
    path: Path
    """The body's file. Not to be written, and gone once the object is replaced: `ObjectStore.link` keeps it."""
    body: str = ""
    """Id of the body."""
    attributes: Attributes = field(default_factory=Attributes)


@dataclass(frozen=True)
class Part:
    """One part of an unfinished upload."""

    number: int
    body: str
    size: int
    """Bytes."""
    etag: str
    """MD5 in hexadecimal, without quotes."""
    last_modified: datetime
    checksums: dict[str, str]
    """Base64 by algorithm."""


@dataclass(frozen=True)
class Upload:
    """One unfinished upload."""

    id: str
    bucket: str
    key: str
    created: datetime
    attributes: Attributes
    """What the object will have."""
    algorithm: str = ""
    """Checksum algorithm, empty for none."""
    checksum_type: str = ""


def from_seconds(seconds: float) -> datetime:
    """Return a stored time."""
    return datetime.fromtimestamp(seconds, UTC)
