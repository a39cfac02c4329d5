"""Objects by bucket and key: what the service's own parts (training, hosting) and its S3 face share."""

from __future__ import annotations

import builtins
import hashlib
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from sqlite3 import Connection
from typing import Any, BinaryIO

from sagespark.core.clock import Clock, SystemClock
from sagespark.local.objects.files import READ_ONLY, Files, link_or_copy
from sagespark.local.objects.garbage import Garbage
from sagespark.local.objects.index import Index, successor
from sagespark.local.objects.model import (
    Attributes,
    BucketNotEmptyError,
    NoSuchBucketError,
    NoSuchKeyError,
    ObjectInfo,
    from_seconds,
)

CHUNK = 1 << 20
"""Bytes read or written at a time."""
FINISHED_UPLOADS = 7 * 24 * 3600
"""Seconds for which a finished upload is remembered, so that a client may ask again."""
_COLUMNS = "key, body, size, etag, modified, attributes"

Guard = Callable[[ObjectInfo | None], None]
"""Takes the present object or None inside the transaction of a write, and raises to refuse it."""


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
        self.garbage = Garbage(self.index, self.files)
        self.garbage.recover()
        with self.index.write() as db:
            old = self.clock.now().timestamp() - FINISHED_UPLOADS
            db.execute("DELETE FROM uploads WHERE done IS NOT NULL AND created < ?", (old,))

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
        return (row[0], from_seconds(row[1])) if row else None

    def buckets(self) -> builtins.list[tuple[str, str, datetime]]:
        """Return name, region and time of creation of every bucket, by name."""
        rows = self.index.reader.execute("SELECT name, region, created FROM buckets ORDER BY name")
        return [(name, region, from_seconds(created)) for name, region, created in rows]

    def delete_bucket(self, bucket: str) -> None:
        """Delete an empty bucket; its unfinished uploads go with it.

        Raises
        ------
        NoSuchBucketError, BucketNotEmptyError
        """
        with self.index.write() as db:
            if db.execute("SELECT 1 FROM objects WHERE bucket=? LIMIT 1", (bucket,)).fetchone():
                raise BucketNotEmptyError(bucket)
            if db.execute("DELETE FROM buckets WHERE name=?", (bucket,)).rowcount == 0:
                raise NoSuchBucketError(bucket)
            uploads = "SELECT id FROM uploads WHERE bucket=?"
            bodies = [r[0] for r in db.execute(f"SELECT body FROM parts WHERE upload IN ({uploads})", (bucket,))]
            db.execute(f"DELETE FROM parts WHERE upload IN ({uploads})", (bucket,))
            db.execute("DELETE FROM uploads WHERE bucket=?", (bucket,))
            self.garbage.note(db, bodies)
        self.garbage.delete(bodies)

    # ---------------------------------------------------------------------------------------------------------- objects

    def head(self, bucket: str, key: str) -> ObjectInfo | None:
        """Return an object's description, or None."""
        return self._find(self.index.reader, bucket, key)

    def _find(self, db: Connection, bucket: str, key: str) -> ObjectInfo | None:
        sql = f"SELECT {_COLUMNS} FROM objects WHERE bucket=? AND key=?"
        row = db.execute(sql, (bucket, key.encode())).fetchone()
        return self.info(bucket, row) if row else None

    def info(self, bucket: str, row: Sequence[Any]) -> ObjectInfo:
        """Return the object that a row of `rows` describes."""
        key, body, size, etag, modified, attributes = row
        path = self.files.path(body)
        return ObjectInfo(
            bucket, key.decode(), size, etag, from_seconds(modified), path, body, Attributes.load(attributes)
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
                yield self.info(bucket, row)
            if len(rows) < 1000:
                return
            start, inclusive = rows[-1][0], False

    def rows(self, bucket: str, start: bytes, prefix: bytes, limit: int, *, inclusive: bool) -> Sequence[Sequence[Any]]:
        """Return up to ``limit`` index rows from ``start`` on whose keys begin with ``prefix``."""
        if start < prefix:
            start, inclusive = prefix, True
        sql = f"SELECT {_COLUMNS} FROM objects WHERE bucket=? AND key {'>=' if inclusive else '>'} ?"
        values: list[Any] = [bucket, start]
        end = successor(prefix)
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
        etag = hashlib.md5(data, usedforsecurity=False).hexdigest()
        return self.commit(bucket, key, body, len(data), etag, attributes)

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
        try:
            if move:
                shutil.move(path, target)
            else:
                shutil.copyfile(path, target)
            with target.open("rb", buffering=0) as file:
                etag = hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
            size = target.stat().st_size
        except BaseException:
            self.files.drop(body)
            raise
        return self.commit(bucket, key, body, size, etag, attributes)

    def commit(
        self,
        bucket: str,
        key: str,
        body: str,
        size: int,
        etag: str,
        attributes: Attributes | None = None,
        *,
        guard: Guard | None = None,
        also: Callable[[Connection], builtins.list[str]] | None = None,
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
            Refuses the write by what is there (conditional writes).
        also : callable, optional
            Run in the same transaction; returns the ids of bodies that nothing refers to after it.

        Raises
        ------
        NoSuchBucketError
            The body is deleted then, as after any other failure.
        """
        attributes = attributes or Attributes()
        if "ContentType" not in attributes.headers:
            attributes = replace(attributes, headers={"ContentType": "binary/octet-stream", **attributes.headers})
        dead: list[str] = []
        try:
            os.chmod(self.files.find(body), READ_ONLY)
            with self.index.write(after=lambda: self.files.keep(body)) as db:
                if not db.execute("SELECT 1 FROM buckets WHERE name=?", (bucket,)).fetchone():
                    raise NoSuchBucketError(bucket)
                old = self._find(db, bucket, key)
                if guard is not None:
                    guard(old)
                now = int(self.clock.now().timestamp())
                row = (bucket, key.encode(), body, size, etag, now, attributes.dump())
                db.execute("INSERT OR REPLACE INTO objects VALUES (?,?,?,?,?,?,?)", row)
                dead += [old.body] if old else []
                dead += also(db) if also is not None else []
                self.garbage.note(db, dead)
        except BaseException:
            self.files.drop(body)
            raise
        self.garbage.delete(dead)
        return ObjectInfo(bucket, key, size, etag, from_seconds(now), self.files.path(body), body, attributes)

    def update(self, bucket: str, key: str, change: Callable[[Attributes], Attributes]) -> ObjectInfo:
        """Change what is stored with an object, its bytes untouched (tagging).

        Raises
        ------
        NoSuchKeyError
        """
        with self.index.write() as db:
            info = self._find(db, bucket, key)
            if info is None:
                raise NoSuchKeyError(f"s3://{bucket}/{key}")
            info = replace(info, attributes=change(info.attributes))
            row = (info.attributes.dump(), bucket, key.encode())
            db.execute("UPDATE objects SET attributes=? WHERE bucket=? AND key=?", row)
        return info

    def delete(self, bucket: str, *keys: str, guard: Guard | None = None) -> int:
        """Delete objects and return how many there were; missing ones are no error."""
        bodies: list[str] = []
        with self.index.write() as db:
            for key in keys:
                info = self._find(db, bucket, key)
                if guard is not None:
                    guard(info)
                if info is not None:
                    db.execute("DELETE FROM objects WHERE bucket=? AND key=?", (bucket, key.encode()))
                    bodies.append(info.body)
            self.garbage.note(db, bodies)
        self.garbage.delete(bodies)
        return len(bodies)

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
