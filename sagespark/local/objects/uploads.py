"""Uploads in parts: each part a body of its own until they are joined."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from sqlite3 import Connection

from sagespark.core.clock import token
from sagespark.local.objects.files import copy_range
from sagespark.local.objects.index import successor
from sagespark.local.objects.model import (
    Attributes,
    NoSuchBucketError,
    NoSuchUploadError,
    ObjectInfo,
    Part,
    Upload,
    from_seconds,
)
from sagespark.local.objects.store import Guard, ObjectStore


class Uploads:
    """Unfinished uploads of a store.

    Parameters
    ----------
    store : ObjectStore
        Holds the parts, and the objects they become.
    """

    def __init__(self, store: ObjectStore) -> None:
        self._store = store

    def create(self, bucket: str, key: str, attributes: Attributes, algorithm: str, checksum_type: str) -> Upload:
        """Begin an upload.

        Raises
        ------
        NoSuchBucketError
        """
        identifier = token(32) + token(32)
        now = self._store.clock.now().timestamp()
        text = json.dumps({"object": attributes.dump(), "algorithm": algorithm, "type": checksum_type})
        with self._store.index.write() as db:
            if not db.execute("SELECT 1 FROM buckets WHERE name=?", (bucket,)).fetchone():
                raise NoSuchBucketError(bucket)
            db.execute("INSERT INTO uploads VALUES (?,?,?,?,?,NULL)", (identifier, bucket, key.encode(), now, text))
        return Upload(identifier, bucket, key, from_seconds(now), attributes, algorithm, checksum_type)

    def find(self, bucket: str, key: str, identifier: str, *, done: bool = False) -> Upload:
        """Return an unfinished upload, or one that is finished where ``done``.

        Raises
        ------
        NoSuchUploadError
        """
        return self._find(self._store.index.reader, bucket, key, identifier, done=done)

    def _find(self, db: Connection, bucket: str, key: str, identifier: str, *, done: bool = False) -> Upload:
        row = db.execute(
            "SELECT id, bucket, key, created, attributes FROM uploads"
            f" WHERE id=? AND bucket=? AND key=? AND done IS {'NOT' if done else ''} NULL",
            (identifier, bucket, key.encode()),
        ).fetchone()
        if row is None:
            raise NoSuchUploadError(identifier)
        return _upload(row)

    def list(self, bucket: str, prefix: str, after: tuple[str, str], limit: int) -> Sequence[Upload]:
        """Return up to ``limit`` unfinished uploads that follow ``after`` (key, id), by key and id."""
        sql = "SELECT id, bucket, key, created, attributes FROM uploads WHERE bucket=? AND done IS NULL AND key >= ?"
        values: list[object] = [bucket, max(prefix, after[0]).encode()]
        end = successor(prefix.encode())
        if end is not None:
            sql += " AND key < ?"
            values.append(end)
        if after[0]:
            # Without an id all uploads of the marker's key are passed over.
            sql += " AND (key > ? OR (key = ? AND ? <> '' AND id > ?))"
            values += [after[0].encode(), after[0].encode(), after[1], after[1]]
        rows = self._store.index.reader.execute(sql + " ORDER BY key, id LIMIT ?", [*values, limit])
        return [_upload(row) for row in rows]

    def put(self, upload: Upload, number: int, body: str, size: int, etag: str, checksums: dict[str, str]) -> Part:
        """Make a written body a part, replacing what is there.

        Raises
        ------
        NoSuchUploadError
            If the upload has ended meanwhile; the body is deleted then.
        """
        store = self._store
        now = int(store.clock.now().timestamp())
        try:
            with store.index.write(after=lambda: store.files.keep(body)) as db:
                self._find(db, upload.bucket, upload.key, upload.id)
                where = (upload.id, number)
                old = [r[0] for r in db.execute("SELECT body FROM parts WHERE upload=? AND number=?", where)]
                row = (upload.id, number, body, size, etag, now, json.dumps(checksums))
                db.execute("INSERT OR REPLACE INTO parts VALUES (?,?,?,?,?,?,?)", row)
                store.garbage.note(db, old)
        except BaseException:
            store.files.drop(body)
            raise
        store.garbage.delete(old)
        return Part(number, body, size, etag, from_seconds(now), checksums)

    def parts(self, identifier: str, after: int = 0, limit: int = 10_000) -> Sequence[Part]:
        """Return up to ``limit`` parts whose numbers are above ``after``, by number."""
        rows = self._store.index.reader.execute(
            "SELECT number, body, size, etag, modified, checksums FROM parts WHERE upload=? AND number>?"
            " ORDER BY number LIMIT ?",
            (identifier, after, limit),
        )
        return [Part(n, body, size, etag, from_seconds(m), json.loads(c)) for n, body, size, etag, m, c in rows]

    def complete(
        self, upload: Upload, parts: Sequence[Part], attributes: Attributes, guard: Guard | None = None
    ) -> ObjectInfo:
        """Join parts to the object, in the order given.

        Parameters
        ----------
        parts : sequence of Part
            One or more of the upload's.
        attributes : Attributes
            What is stored with the object; the parts' sizes are added.

        Raises
        ------
        NoSuchUploadError
            If the upload, or one of the parts, is gone meanwhile.
        NoSuchBucketError
        """
        store = self._store
        body = self._join(parts, upload)
        etag = hashlib.md5(b"".join(bytes.fromhex(p.etag) for p in parts), usedforsecurity=False).hexdigest()
        attributes = replace(
            attributes,
            parts=tuple((p.number, p.size) for p in parts),
            part_checksums=tuple(p.checksums for p in parts) if upload.algorithm else (),
        )

        def also(db: Connection) -> list[str]:
            self._find(db, upload.bucket, upload.key, upload.id)
            bodies = [row[0] for row in db.execute("SELECT body FROM parts WHERE upload=?", (upload.id,))]
            db.execute("DELETE FROM parts WHERE upload=?", (upload.id,))
            # Kept for a client that did not hear the answer and asks again.
            db.execute("UPDATE uploads SET done=? WHERE id=?", (f"{etag}-{len(parts)}", upload.id))
            return bodies

        size = sum(p.size for p in parts)
        return store.commit(
            upload.bucket, upload.key, body, size, f"{etag}-{len(parts)}", attributes, guard=guard, also=also
        )

    def _join(self, parts: Sequence[Part], upload: Upload) -> str:
        files = self._store.files
        body, path = files.new()
        target = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            for part in parts:
                source = os.open(files.find(part.body), os.O_RDONLY | os.O_CLOEXEC)
                try:
                    copy_range(source, target, 0, part.size)
                finally:
                    os.close(source)
        except BaseException as error:
            files.drop(body)
            if isinstance(error, FileNotFoundError):
                raise NoSuchUploadError(upload.id) from error
            raise
        finally:
            os.close(target)
        return body

    def completed(self, bucket: str, key: str, identifier: str) -> ObjectInfo | None:
        """Return the object that a finished upload made, while it is still there."""
        row = None
        with suppress(NoSuchUploadError):
            self.find(bucket, key, identifier, done=True)
            row = self._store.index.reader.execute("SELECT done FROM uploads WHERE id=?", (identifier,)).fetchone()
        info = self._store.head(bucket, key)
        return info if row and info and info.etag == row[0] else None

    def abort(self, bucket: str, key: str, identifier: str) -> None:
        """End an upload and delete its parts.

        Raises
        ------
        NoSuchUploadError
        """
        with self._store.index.write() as db:
            self._find(db, bucket, key, identifier)
            bodies = [row[0] for row in db.execute("SELECT body FROM parts WHERE upload=?", (identifier,))]
            db.execute("DELETE FROM parts WHERE upload=?", (identifier,))
            db.execute("DELETE FROM uploads WHERE id=?", (identifier,))
            self._store.garbage.note(db, bodies)
        self._store.garbage.delete(bodies)


def _upload(row: tuple[str, str, bytes, float, str]) -> Upload:
    identifier, bucket, key, created, text = row
    document = json.loads(text)
    attributes = Attributes.load(document["object"])
    return Upload(
        identifier, bucket, key.decode(), from_seconds(created), attributes, document["algorithm"], document["type"]
    )
