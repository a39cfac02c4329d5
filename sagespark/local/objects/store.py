"""Objects by bucket and key: what the service's own parts (training, hosting) and its S3 face share."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO

from sagespark.core.clock import Clock, SystemClock
from sagespark.local.objects.files import READ_ONLY, Files, link_or_copy
from sagespark.local.objects.index import Index, successor

CHUNK = 1 << 20
"""Bytes read or written at a time."""


class NoSuchBucketError(LookupError):
    """There is no bucket of this name."""


class NoSuchKeyError(LookupError):
    """The bucket has no object of this key."""


class BucketNotEmptyError(Exception):
    """A bucket that still holds objects is not deleted."""


@dataclass(frozen=True)
class Attributes:
    """What is stored with an object beside its bytes."""

    headers: dict[str, str] = field(default_factory=dict)
    """System metadata by S3's member names: ``ContentType``, ``CacheControl``, ..."""
    metadata: dict[str, str] = field(default_factory=dict)
    """User metadata, names in lower case."""
    tags: list[dict[str, str]] = field(default_factory=list)
    """``Key`` and ``Value``."""
    checksums: dict[str, str] = field(default_factory=dict)
    """Base64 digests by S3's member names: ``ChecksumCRC32``, ...; of a multipart object with ``-N``."""
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
    path: Path
    """The body's file. Not to be written, and gone once the object is replaced: `ObjectStore.link` keeps it."""
    body: str = ""
    """Id of the body."""
    attributes: Attributes = field(default_factory=Attributes)


class ObjectStore:
    """Objects on disk. Thread-safe; what a call has returned from survives a ``kill -9``.

    Parameters
    ----------
    root : Path
        Folder of the store; made if missing. One process at a time uses it.
    clock : Clock, optional
        Stamps the objects.
    """

    def __init__(self, root: Path, clock: Clock | None = None) -> None:
        root.mkdir(parents=True, exist_ok=True)
        self.clock = clock or SystemClock()
        self.files = Files(root)
        self.index = Index(root / "index.sqlite")
        self._recover()

    def _recover(self) -> None:
        """Finish or undo what a killed process left half done."""
        reader = self.index.reader
        for body in self.files.unfinished():
            known = reader.execute(
                "SELECT EXISTS(SELECT 1 FROM objects WHERE body=?) OR EXISTS(SELECT 1 FROM parts WHERE body=?)",
                (body, body),
            ).fetchone()[0]
            if known:
                self.files.keep(body)
            else:
                self.files.drop(body)
        self.sweep()

    def sweep(self) -> None:
        """Delete the bodies that nothing refers to any more."""
        rows = [row[0] for row in self.index.reader.execute("SELECT body FROM garbage")]
        for body in rows:
            self.files.drop(body)
        if rows:
            with self.index.write() as db:
                db.executemany("DELETE FROM garbage WHERE body=?", [(body,) for body in rows])

    def close(self) -> None:
        """Close the index."""
        self.index.close()

    # ---------------------------------------------------------------------------------------------------------- buckets

    def create_bucket(self, bucket: str, region: str = "us-east-1") -> bool:
        """Make a bucket; return whether it is new."""
        if self.bucket(bucket) is not None:
            return False
        with self.index.write() as db:
            row = (bucket, region, self.clock.now().timestamp())
            return db.execute("INSERT OR IGNORE INTO buckets(name, region, created) VALUES (?,?,?)", row).rowcount > 0

    def bucket(self, bucket: str) -> tuple[str, datetime] | None:
        """Return region and time of creation, or None."""
        row = self.index.reader.execute("SELECT region, created FROM buckets WHERE name=?", (bucket,)).fetchone()
        return (row[0], _when(row[1])) if row else None

    def buckets(self) -> list[tuple[str, str, datetime]]:
        """Return name, region and time of creation of every bucket, by name."""
        rows = self.index.reader.execute("SELECT name, region, created FROM buckets ORDER BY name")
        return [(name, region, _when(created)) for name, region, created in rows]

    def delete_bucket(self, bucket: str) -> None:
        """Delete an empty bucket; its unfinished uploads go with it.

        Raises
        ------
        NoSuchBucketError, BucketNotEmpty
        """
        with self.index.write() as db:
            if db.execute("SELECT 1 FROM objects WHERE bucket=? LIMIT 1", (bucket,)).fetchone():
                raise BucketNotEmptyError(bucket)
            if db.execute("DELETE FROM buckets WHERE name=?", (bucket,)).rowcount == 0:
                raise NoSuchBucketError(bucket)
            db.execute(
                "INSERT OR IGNORE INTO garbage SELECT body FROM parts"
                " WHERE upload IN (SELECT id FROM uploads WHERE bucket=?)",
                (bucket,),
            )
            db.execute("DELETE FROM parts WHERE upload IN (SELECT id FROM uploads WHERE bucket=?)", (bucket,))
            db.execute("DELETE FROM uploads WHERE bucket=?", (bucket,))
        self.sweep()

    # ---------------------------------------------------------------------------------------------------------- objects

    def head(self, bucket: str, key: str) -> ObjectInfo | None:
        """Return an object's description, or None."""
        row = self.index.reader.execute(
            "SELECT key, body, size, etag, modified, attributes FROM objects WHERE bucket=? AND key=?",
            (bucket, key.encode()),
        ).fetchone()
        return self._info(bucket, row) if row else None

    def _info(self, bucket: str, row: Sequence[Any]) -> ObjectInfo:
        key, body, size, etag, modified, attributes = row
        return ObjectInfo(
            bucket, key.decode(), size, etag, _when(modified), self.files.path(body), body, Attributes.load(attributes)
        )

    def open(self, bucket: str, key: str) -> tuple[ObjectInfo, BinaryIO]:
        """Return an object's description and its bytes, which stay readable when the object is replaced meanwhile.

        Raises
        ------
        NoSuchKeyError
        """
        while True:
            info = self.head(bucket, key)
            if info is None:
                raise NoSuchKeyError(f"s3://{bucket}/{key}")
            try:
                return info, self.files.find(info.body).open("rb", buffering=0)
            except FileNotFoundError:
                # Replaced or moved between the two steps; its index row is newer now.
                continue

    def path(self, bucket: str, key: str) -> Path:
        """Return the file that holds an object's bytes now.

        Raises
        ------
        NoSuchKeyError
        """
        info, file = self.open(bucket, key)
        file.close()
        return info.path

    def list(self, bucket: str, prefix: str = "") -> Iterator[ObjectInfo]:
        """Yield the objects whose keys begin with ``prefix``, in S3's order."""
        start, inclusive = prefix.encode(), True
        while True:
            rows = self.rows(bucket, start, prefix.encode(), 1000, inclusive=inclusive)
            for row in rows:
                yield self._info(bucket, row)
            if len(rows) < 1000:
                return
            start, inclusive = rows[-1][0], False

    def rows(self, bucket: str, start: bytes, prefix: bytes, limit: int, *, inclusive: bool) -> Sequence[Sequence[Any]]:
        """Return up to ``limit`` index rows from ``start`` on whose keys begin with ``prefix``."""
        end = successor(prefix)
        comparison = ">=" if inclusive else ">"
        sql = f"SELECT key, body, size, etag, modified, attributes FROM objects WHERE bucket=? AND key {comparison} ?"
        values: list[Any] = [bucket, max(start, prefix)]
        if not inclusive and start < prefix:
            sql = sql.replace(f"key {comparison} ?", "key >= ?")
        if end is not None:
            sql += " AND key < ?"
            values.append(end)
        found: Sequence[Sequence[Any]] = self.index.reader.execute(
            sql + " ORDER BY key LIMIT ?", [*values, limit]
        ).fetchall()
        return found

    def put_bytes(self, bucket: str, key: str, data: bytes, attributes: Attributes | None = None) -> ObjectInfo:
        """Store ``data`` under ``key``, replacing what is there.

        Raises
        ------
        NoSuchBucketError
        """
        body, path = self.files.new()
        path.write_bytes(data)
        return self.commit(
            bucket, key, body, len(data), hashlib.md5(data, usedforsecurity=False).hexdigest(), attributes
        )

    def put_path(
        self, bucket: str, key: str, path: Path, *, move: bool = False, attributes: Attributes | None = None
    ) -> ObjectInfo:
        """Store a file's bytes under ``key``, replacing what is there.

        Parameters
        ----------
        path : Path
            A regular file that nothing writes to any more.
        move : bool
            Whether the file may be taken over, which copies nothing where it is on the same filesystem.

        Raises
        ------
        NoSuchBucketError
        """
        body, target = self.files.new()
        if move:
            shutil.move(path, target)
        else:
            shutil.copyfile(path, target)
        digest = hashlib.md5(usedforsecurity=False)
        size = 0
        with target.open("rb", buffering=0) as file:
            while chunk := file.read(CHUNK):
                digest.update(chunk)
                size += len(chunk)
        return self.commit(bucket, key, body, size, digest.hexdigest(), attributes)

    def commit(
        self,
        bucket: str,
        key: str,
        body: str,
        size: int,
        etag: str,
        attributes: Attributes | None = None,
        *,
        guard: Any = None,
    ) -> ObjectInfo:
        """Make a written body the object of ``key``, in one step.

        Parameters
        ----------
        body : str
            Id of a body under ``tmp``, complete.
        size : int
            Its length in bytes.
        etag : str
            Without quotes.
        attributes : Attributes, optional
            What is stored with it; the content type defaults to S3's ``binary/octet-stream``.
        guard : callable, optional
            Takes the present object or None inside the transaction and may raise (conditional writes).

        Raises
        ------
        NoSuchBucketError
            The body is deleted then, as after any other failure.
        """
        attributes = attributes or Attributes()
        if "ContentType" not in attributes.headers:
            attributes = replace(attributes, headers={"ContentType": "binary/octet-stream", **attributes.headers})
        now = self.clock.now().timestamp()
        os.chmod(self.files.find(body), READ_ONLY)
        try:
            with self.index.write(after=lambda: self.files.keep(body)) as db:
                if not db.execute("SELECT 1 FROM buckets WHERE name=?", (bucket,)).fetchone():
                    raise NoSuchBucketError(bucket)
                old = db.execute(
                    "SELECT key, body, size, etag, modified, attributes FROM objects WHERE bucket=? AND key=?",
                    (bucket, key.encode()),
                ).fetchone()
                if guard is not None:
                    guard(self._info(bucket, old) if old else None)
                row = (bucket, key.encode(), body, size, etag, now, attributes.dump())
                db.execute("INSERT OR REPLACE INTO objects VALUES (?,?,?,?,?,?,?)", row)
                if old:
                    db.execute("INSERT OR IGNORE INTO garbage VALUES (?)", (old[1],))
        except BaseException:
            self.files.drop(body)
            raise
        if old:
            self.sweep()
        return ObjectInfo(bucket, key, size, etag, _when(now), self.files.path(body), body, attributes)

    def update(self, bucket: str, key: str, attributes: Attributes) -> None:
        """Replace what is stored with an object, its bytes untouched (tagging).

        Raises
        ------
        NoSuchKeyError
        """
        with self.index.write() as db:
            row = (attributes.dump(), bucket, key.encode())
            if db.execute("UPDATE objects SET attributes=? WHERE bucket=? AND key=?", row).rowcount == 0:
                raise NoSuchKeyError(f"s3://{bucket}/{key}")

    def delete(self, bucket: str, *keys: str) -> int:
        """Delete objects and return how many there were; missing ones are no error."""
        count = 0
        with self.index.write() as db:
            for key in keys:
                row = (bucket, key.encode())
                found = db.execute("SELECT body FROM objects WHERE bucket=? AND key=?", row).fetchone()
                if found:
                    db.execute("INSERT OR IGNORE INTO garbage VALUES (?)", found)
                    count += db.execute("DELETE FROM objects WHERE bucket=? AND key=?", row).rowcount
        if count:
            self.sweep()
        return count

    def link(self, bucket: str, key: str, target: Path) -> None:
        """Make ``target`` a hard link to an object's bytes, or a copy across filesystems.

        The file is read-only and shared with the store: mount it read-only where a program could ignore that.

        Raises
        ------
        NoSuchKeyError
        """
        while True:
            info = self.head(bucket, key)
            if info is None:
                raise NoSuchKeyError(f"s3://{bucket}/{key}")
            try:
                return link_or_copy(self.files.find(info.body), target)
            except FileNotFoundError:
                if not target.parent.exists():
                    raise
                continue


def _when(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
