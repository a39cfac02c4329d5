"""The journal of a run that the driver chooses: append-only JSON lines, from which a killed driver goes on.

::

    {"format": 1, "name": ..., "ranges": [...], "strategy": ..., "seed": ..., ...}       the first row: what is searched
    {"events": [...], "trial": 0, "job": "km-...", "time": ...}                           a trial was launched
    {"events": [...], "outcome": {...}}                                                   it ended
    {"staged": ["s3://..."]}                                                              objects to delete at the end

``events`` are those of the strategy's history. In a folder the journal is one file; S3 has no append, so there each row
is an object of its own.
"""

from __future__ import annotations

import json
import os
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

from sagespark.aws import s3
from sagespark.aws.session import SageMakerSession
from sagespark.core.errors import ValidationError
from sagespark.core.s3uri import S3Uri

FILE = "trials.jsonl"
Row = dict[str, Any]


class Journal(ABC):
    """Rows in the order in which they were appended."""

    @abstractmethod
    def read(self) -> list[Row]:
        """Return the rows that are there."""

    @abstractmethod
    def append(self, row: Row) -> None:
        """Add a row, for good once this returns."""


class MemoryJournal(Journal):
    """A journal that ends with the process: there is neither a session nor a checkpointDir."""

    def __init__(self) -> None:
        self._rows: list[Row] = []

    def read(self) -> list[Row]:
        """Return the rows of this process."""
        return list(self._rows)

    def append(self, row: Row) -> None:
        """Add a row."""
        self._rows.append(row)


class FileJournal(Journal):
    """A journal in a folder."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / FILE

    def read(self) -> list[Row]:
        """Return the rows of the file; half a line, which a killed process left, is cut off."""
        if not self._path.exists():
            return []
        content = self._path.read_bytes()
        whole = content[: content.rfind(b"\n") + 1]
        if len(whole) < len(content):
            with self._path.open("r+b") as file:
                file.truncate(len(whole))
        return [json.loads(line) for line in whole.splitlines()]

    def append(self, row: Row) -> None:
        """Add a line and see it written to disk."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.open("ab") as file:
            file.write(json.dumps(row).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())


class S3Journal(Journal):
    """A journal below an S3 prefix, an object a row."""

    def __init__(self, session: SageMakerSession, prefix: S3Uri) -> None:
        self._session = session
        self._prefix = prefix.prefix
        self._next = 0

    def read(self) -> list[Row]:
        """Return the rows below the prefix."""
        keys = sorted(s3.list_keys(self._session, self._prefix), key=str)
        rows = [json.loads(s3.read_bytes(self._session, key)) for key in keys]
        self._next = len(rows)
        return rows

    def append(self, row: Row) -> None:
        """Put the next object."""
        body = json.dumps(row).encode()
        s3.upload_bytes(self._session, self._prefix / f"{self._next:08d}.json", body, "application/json")
        self._next += 1


def journal(checkpointDir: str | None, session: SageMakerSession | None, name: str) -> Journal:
    """Return the journal of a run: in ``checkpointDir``, else below the session's prefix, else in memory.

    Raises
    ------
    ValidationError
        If the folder is of a file system that is neither local nor S3.
    """
    if checkpointDir is None:
        return MemoryJournal() if session is None else S3Journal(session, session.location / "tuning" / name)
    if checkpointDir.startswith(("s3:", "s3a:", "s3n:")):
        if session is None:
            raise ValidationError(f"checkpointDir {checkpointDir!r} is in S3, which needs a SageMakerSession", "tuning")
        return S3Journal(session, S3Uri.parse(checkpointDir.rstrip("/") + "/"))
    path = checkpointDir.removeprefix("file://").removeprefix("file:")
    if "://" in path or path.startswith(("hdfs:", "dbfs:", "gs:", "abfss:")):
        raise ValidationError(
            f"checkpointDir must be a local folder or an s3:// prefix, but got {checkpointDir!r}; mount it, or leave "
            "it out and the journal goes below the session's S3 prefix",
            "tuning",
        )
    return FileJournal(Path(path).expanduser())
