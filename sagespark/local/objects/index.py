"""The index of buckets, objects and uploads: one SQLite database in WAL mode.

Keys are stored as UTF-8 bytes, in whose order S3 lists. Bodies are files named by a random id (`files`), never by the
key. One connection writes, behind a lock; every thread reads by its own.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

_SCHEMA = """
CREATE TABLE IF NOT EXISTS buckets (
    name TEXT PRIMARY KEY, region TEXT NOT NULL, created REAL NOT NULL, tags TEXT NOT NULL DEFAULT '[]'
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS objects (
    bucket TEXT NOT NULL, key BLOB NOT NULL, body TEXT NOT NULL, size INTEGER NOT NULL, etag TEXT NOT NULL,
    modified REAL NOT NULL, attributes TEXT NOT NULL, PRIMARY KEY (bucket, key)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS uploads (
    id TEXT PRIMARY KEY, bucket TEXT NOT NULL, key BLOB NOT NULL, created REAL NOT NULL, attributes TEXT NOT NULL,
    done TEXT
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS uploads_by_key ON uploads (bucket, key, id);
CREATE TABLE IF NOT EXISTS parts (
    upload TEXT NOT NULL, number INTEGER NOT NULL, body TEXT NOT NULL, size INTEGER NOT NULL, etag TEXT NOT NULL,
    modified REAL NOT NULL, checksums TEXT NOT NULL, PRIMARY KEY (upload, number)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS garbage (body TEXT PRIMARY KEY) WITHOUT ROWID;
"""


VERSION = 1
"""Version of the schema, kept in the database."""


class IndexVersionError(RuntimeError):
    """The database was made by another version of the package."""


class Index:
    """Transactions on the database.

    Parameters
    ----------
    path : Path
        The database file; made on first use.

    Raises
    ------
    IndexVersionError
        If a newer version of the package made it.
    sqlite3.DatabaseError
        If the file is no database.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._local = threading.local()
        self._all: list[sqlite3.Connection] = []
        self._writer = self._connect()
        version = self._writer.execute("PRAGMA user_version").fetchone()[0]
        if version not in (0, VERSION):
            raise IndexVersionError(
                f"{path} has version {version}, this package knows version {VERSION}: use the package that made it, or "
                "another data folder"
            )
        self._writer.executescript(f"{_SCHEMA} PRAGMA user_version={VERSION};")

    def _connect(self) -> sqlite3.Connection:
        # A killed process loses nothing with NORMAL; only a power cut could lose the last transactions.
        connection = sqlite3.connect(self._path, isolation_level=None, timeout=30, check_same_thread=False)
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=NORMAL")
        self._all.append(connection)
        return connection

    @property
    def reader(self) -> sqlite3.Connection:
        """Connection of the calling thread, to read only."""
        connection: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if connection is None:
            connection = self._local.connection = self._connect()
        return connection

    @contextmanager
    def write(self, after: Callable[[], None] | None = None) -> Iterator[sqlite3.Connection]:
        """Hold the one write transaction; an exception rolls it back.

        Parameters
        ----------
        after : callable, optional
            Called once the transaction is committed, before the next one may begin.
        """
        with self._lock:
            self._writer.execute("BEGIN IMMEDIATE")
            try:
                yield self._writer
            except BaseException:
                self._writer.execute("ROLLBACK")
                raise
            self._writer.execute("COMMIT")
            if after is not None:
                after()

    def close(self) -> None:
        """Close every connection."""
        with self._lock:
            for connection in self._all:
                connection.close()


def successor(prefix: bytes) -> bytes | None:
    """Return the smallest byte string above everything that begins with ``prefix``; None where there is none."""
    stripped = prefix.rstrip(b"\xff")
    if not stripped:
        return None
    return stripped[:-1] + bytes([stripped[-1] + 1])
