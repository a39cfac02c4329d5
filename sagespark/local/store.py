"""Resources of the embedded service, kept in SQLite: what was acknowledged is there again after ``kill -9``.

One row per resource: kind, region, name and a document, which is a response as the providers build it. A document holds
what JSON holds, and times.
"""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

Document = dict[str, Any]

_TIME = "$time"
_SCHEMA = """
create table if not exists resource (
    sequence integer primary key autoincrement,
    kind text not null,
    region text not null,
    name text not null,
    document text not null,
    unique (kind, region, name)
)
"""


class Conflict(Exception):  # noqa: N818 - reads as a finding; callers turn it into AWS's own error
    """A resource of that kind and name exists."""


class Missing(KeyError):  # noqa: N818 - as above
    """There is no resource of that kind and name."""


class Store:
    """Documents by kind, region and name. Thread-safe; every call is one transaction.

    Written in WAL mode and synchronised at checkpoints: the death of the process loses nothing that a call has
    returned, the death of the machine may lose the last moments, and neither leaves half a transaction.

    Parameters
    ----------
    path : Path
        The database file; its folder is made at the first call.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.RLock()
        self._open: sqlite3.Connection | None = None
        self._depth = 0

    def close(self) -> None:
        """Close the file; the next call opens it again."""
        with self._lock:
            if self._open is not None:
                self._open.close()
                self._open = None

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Make the calls inside one transaction: an exception takes all of them back."""
        with self._lock:
            connection = self._connect()
            if self._depth == 0:
                connection.execute("begin immediate")
            self._depth += 1
            try:
                yield
            except BaseException:
                self._depth -= 1
                if self._depth == 0:
                    connection.execute("rollback")
                raise
            self._depth -= 1
            if self._depth == 0:
                connection.execute("commit")

    def put(self, kind: str, region: str, name: str, document: Document, *, unique: bool = True) -> None:
        """Keep a document.

        Parameters
        ----------
        kind, region, name : str
            Its key; ``region`` and ``name`` may be any text.
        document : dict
            What JSON holds, and aware times.
        unique : bool
            Refuse to replace one; otherwise the newer one wins.

        Raises
        ------
        Conflict
            If it is there and ``unique`` is true.
        """
        sql = "insert into resource (kind, region, name, document) values (?, ?, ?, ?)"
        if not unique:
            sql += " on conflict (kind, region, name) do update set document = excluded.document"
        with self.transaction():
            try:
                self._connect().execute(sql, (kind, region, name, _dump(document)))
            except sqlite3.IntegrityError:
                raise Conflict(f"{kind} {name} exists in {region}") from None

    def get(self, kind: str, region: str, name: str) -> Document | None:
        """Return a copy of the document, or None."""
        sql = "select document from resource where kind = ? and region = ? and name = ?"
        with self._lock:
            row = self._connect().execute(sql, (kind, region, name)).fetchone()
        return _load(row[0]) if row else None

    def update(self, kind: str, region: str, name: str, mutate: Callable[[Document], None]) -> Document:
        """Change a document in place and return a copy of the result; an exception of ``mutate`` changes nothing.

        Raises
        ------
        Missing
            If it is not there.
        """
        with self.transaction():
            document = self.get(kind, region, name)
            if document is None:
                raise Missing(f"{kind} {name} is not in {region}")
            mutate(document)
            sql = "update resource set document = ? where kind = ? and region = ? and name = ?"
            self._connect().execute(sql, (_dump(document), kind, region, name))
        return document

    def delete(self, kind: str, region: str, name: str) -> bool:
        """Delete a document; tell whether it was there."""
        sql = "delete from resource where kind = ? and region = ? and name = ?"
        with self.transaction():
            return self._connect().execute(sql, (kind, region, name)).rowcount > 0

    def items(self, kind: str, region: str | None = None) -> list[tuple[str, str, Document]]:
        """Return region, name and document of all resources of a kind in the order of their creation."""
        sql = (
            "select region, name, document from resource where kind = ? and region = ifnull(?, region)"
            " order by sequence"
        )
        with self._lock:
            rows = self._connect().execute(sql, (kind, region)).fetchall()
        return [(region, name, _load(text)) for region, name, text in rows]

    def list(self, kind: str, region: str | None = None) -> list[Document]:
        """Return copies of all documents of a kind in the order of their creation; None: of every region."""
        return [document for _, _, document in self.items(kind, region)]

    def _connect(self) -> sqlite3.Connection:
        if self._open is None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._open = connect(self._path, _SCHEMA)
        return self._open


def connect(path: Path, schema: str) -> sqlite3.Connection:
    """Open a database in WAL mode, for callers that hold a lock of their own, and make its tables."""
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=30.0)
    connection.execute("pragma journal_mode = wal")
    # The write-ahead log is in the kernel's hands when a commit returns, which is what kill -9 asks for.
    connection.execute("pragma synchronous = normal")
    connection.executescript(schema)
    return connection


def _dump(document: Document) -> str:
    # ASCII, since a request may hold half a surrogate pair, which no encoding has.
    return json.dumps(document, default=_time_out, separators=(",", ":"))


def _load(text: str) -> Document:
    document: Document = json.loads(text, object_hook=_time_in)
    return document


def _time_out(value: Any) -> dict[str, float]:
    if isinstance(value, datetime):
        return {_TIME: value.timestamp()}
    raise TypeError(f"a document cannot hold {type(value).__name__}")


def _time_in(value: dict[str, Any]) -> Any:
    # Maps of a request (hyperparameters, environment) hold strings only, so none is taken for a time.
    if len(value) == 1 and isinstance(value.get(_TIME), float):
        return datetime.fromtimestamp(value[_TIME], UTC)
    return value
