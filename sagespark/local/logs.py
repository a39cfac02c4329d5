"""Log events of the embedded service in the shape of CloudWatch Logs: groups, streams, events."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sagespark.local.store import connect

TRAINING_JOBS = "/aws/sagemaker/TrainingJobs"
"""Log group of all training jobs; a stream is ``JOB/algo-1-EPOCH``."""
ENDPOINTS = "/aws/sagemaker/Endpoints/"
"""Log groups of endpoints are this and the endpoint's name."""

_SCHEMA = """
create table if not exists stream (
    id integer primary key,
    region text not null,
    log_group text not null,
    name text not null,
    created integer not null,
    first integer,
    last integer,
    ingested integer,
    bytes integer not null default 0,
    unique (region, log_group, name)
);
create table if not exists event (
    id integer primary key autoincrement,
    stream integer not null references stream (id),
    time integer not null,
    ingested integer not null,
    message text not null
);
create index if not exists event_order on event (stream, time, id);
"""
_OVERHEAD = 26
"""Bytes that CloudWatch Logs counts per event beside its message."""
_SCAN = 10_000


@dataclass(frozen=True, order=True)
class Position:
    """Place of an event among those of its stream or group: by time, then by arrival."""

    time: int
    id: int


@dataclass(frozen=True)
class Event:
    """One log event; times are milliseconds since the epoch."""

    id: int
    stream: str
    time: int
    ingested: int
    message: str

    @property
    def position(self) -> Position:
        """Where it stands."""
        return Position(self.time, self.id)


@dataclass(frozen=True)
class Stream:
    """One log stream; times are milliseconds since the epoch, None where it has no event."""

    name: str
    created: int
    first: int | None
    last: int | None
    ingested: int | None
    bytes: int


@dataclass(frozen=True)
class Group:
    """One log group."""

    name: str
    created: int
    bytes: int


class LogStore:
    """Log events by region, group and stream, in an SQLite file of their own. Thread-safe.

    Parameters
    ----------
    path : Path
        The database file; its folder is made at the first call.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._open: sqlite3.Connection | None = None
        self._ids: dict[tuple[str, str, str], int] = {}
        self._listeners: list[Callable[[str, str, str], None]] = []

    def listen(self, heard: Callable[[str, str, str], None]) -> None:
        """Call ``heard`` with region, group and stream whenever events were added; it must be quick."""
        self._listeners.append(heard)

    def close(self) -> None:
        """Close the file; the next call opens it again."""
        with self._lock:
            if self._open is not None:
                self._open.close()
                self._open = None
            self._ids.clear()

    def append(self, region: str, group: str, stream: str, lines: Sequence[tuple[int, str]]) -> None:
        """Add events in the order given; the stream is made where it is missing.

        Parameters
        ----------
        region, group, stream : str
            Where they belong.
        lines : sequence of (int, str)
            Milliseconds since the epoch, and the message.
        """
        if not lines:
            return
        times = [time for time, _ in lines]
        size = sum(len(text.encode("utf-8", "surrogatepass")) + _OVERHEAD for _, text in lines)
        with self._lock:
            connection = self._connect()
            connection.execute("begin immediate")
            try:
                key = self._id(region, group, stream, times[0])
                connection.executemany(
                    "insert into event (stream, time, ingested, message) values (?, ?, ?, ?)",
                    [(key, time, times[-1], text) for time, text in lines],
                )
                connection.execute(
                    "update stream set first = min(ifnull(first, ?1), ?1), last = max(ifnull(last, ?2), ?2),"
                    " ingested = ?3, bytes = bytes + ?4 where id = ?5",
                    (min(times), max(times), times[-1], size, key),
                )
            except BaseException:
                connection.execute("rollback")
                self._ids.clear()
                raise
            connection.execute("commit")
        for heard in self._listeners:
            heard(region, group, stream)

    def groups(self, region: str, prefix: str = "") -> list[Group]:
        """Return the groups whose name begins with ``prefix``, by name."""
        sql = (
            "select log_group, min(created), sum(bytes) from stream where region = ? and substr(log_group, 1, ?) = ?"
            " group by log_group order by log_group"
        )
        return [Group(*row) for row in self._rows(sql, (region, len(prefix), prefix))]

    def streams(self, region: str, group: str, prefix: str = "") -> list[Stream]:
        """Return the streams of a group whose name begins with ``prefix``, by name."""
        sql = (
            "select name, created, first, last, ingested, bytes from stream"
            " where region = ? and log_group = ? and substr(name, 1, ?) = ? order by name"
        )
        return [Stream(*row) for row in self._rows(sql, (region, group, len(prefix), prefix))]

    def events(
        self,
        region: str,
        group: str,
        streams: Sequence[str] | None = None,
        *,
        start: int | None = None,
        end: int | None = None,
        after: Position | None = None,
        before: Position | None = None,
        newest: bool = False,
        limit: int = 10_000,
        keep: Callable[[str], bool] | None = None,
    ) -> list[Event]:
        """Return events of a group in order.

        Parameters
        ----------
        region, group : str
            Where to look.
        streams : sequence of str, optional
            Only these streams.
        start, end : int, optional
            Earliest time, and the time from which on events are left out, milliseconds since the epoch.
        after, before : Position, optional
            Only events behind, or in front of, this place.
        newest : bool
            Take the last ``limit`` events that match instead of the first ones; their order stays.
        limit : int
            Most events returned.
        keep : callable, optional
            Takes a message and tells whether the event matches.
        """
        where = ["s.region = ?", "s.log_group = ?"]
        values: list[object] = [region, group]
        if streams is not None:
            where.append(f"s.name in ({', '.join('?' * len(streams))})")
            values += streams
        for clause, value in (("e.time >= ?", start), ("e.time < ?", end)):
            if value is not None:
                where.append(clause)
                values.append(value)
        order, sign = ("desc", "<") if newest else ("asc", ">")
        if after is not None:
            where.append("(e.time, e.id) > (?, ?)")
            values += [after.time, after.id]
        if before is not None:
            where.append("(e.time, e.id) < (?, ?)")
            values += [before.time, before.id]
        found: list[Event] = []
        step = limit if keep is None else _SCAN
        cursor: list[object] = []
        while True:
            clauses = [*where, f"(e.time, e.id) {sign} (?, ?)"] if cursor else where
            sql = (
                "select e.id, s.name, e.time, e.ingested, e.message from event e join stream s on e.stream = s.id"
                f" where {' and '.join(clauses)} order by e.time {order}, e.id {order} limit ?"
            )
            rows = [Event(*row) for row in self._rows(sql, (*values, *cursor, step))]
            found += rows if keep is None else [event for event in rows if keep(event.message)]
            if len(rows) < step or len(found) >= limit:
                break
            cursor = [rows[-1].time, rows[-1].id]
        found = found[:limit]
        return found[::-1] if newest else found

    def delete(self, region: str, group: str, stream: str | None = None) -> bool:
        """Delete a stream with its events, or a whole group; tell whether there was one."""
        where = "region = ? and log_group = ? and name = ifnull(?, name)"
        with self._lock:
            connection = self._connect()
            connection.execute("begin immediate")
            connection.execute(
                f"delete from event where stream in (select id from stream where {where})", (region, group, stream)
            )
            gone = connection.execute(f"delete from stream where {where}", (region, group, stream)).rowcount
            connection.execute("commit")
            self._ids.clear()
        return gone > 0

    def _rows(self, sql: str, values: tuple[object, ...]) -> list[tuple[Any, ...]]:
        with self._lock:
            return self._connect().execute(sql, values).fetchall()

    def _id(self, region: str, group: str, stream: str, time: int) -> int:
        key = (region, group, stream)
        if key not in self._ids:
            self._connect().execute(
                "insert or ignore into stream (region, log_group, name, created) values (?, ?, ?, ?)", (*key, time)
            )
            sql = "select id from stream where region = ? and log_group = ? and name = ?"
            self._ids[key] = self._connect().execute(sql, key).fetchone()[0]
        return self._ids[key]

    def _connect(self) -> sqlite3.Connection:
        if self._open is None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._open = connect(self._path, _SCHEMA)
        return self._open
