"""Bodies that nothing refers to any more: noted in the transaction that lets go of them, deleted after it.

A process killed in between leaves the note, and the next one deletes the body. So no body is ever lost or left over.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from sqlite3 import Connection

from sagespark.local.objects.files import Files
from sagespark.local.objects.index import Index


class Garbage:
    """The notes of one store.

    Parameters
    ----------
    index : Index
        Holds the notes.
    files : Files
        Holds the bodies.
    """

    def __init__(self, index: Index, files: Files) -> None:
        self._index = index
        self._files = files
        self._gone: list[str] = []
        self._lock = threading.Lock()

    def note(self, db: Connection, bodies: Iterable[str]) -> None:
        """Note, in a transaction, that nothing refers to ``bodies`` any more; `delete` follows it."""
        with self._lock:
            gone, self._gone = self._gone, []
        db.executemany("DELETE FROM garbage WHERE body=?", [(body,) for body in gone])
        db.executemany("INSERT OR IGNORE INTO garbage VALUES (?)", [(body,) for body in bodies])

    def delete(self, bodies: Sequence[str]) -> None:
        """Delete noted bodies; their notes go with the next transaction, or at the next start."""
        for body in bodies:
            self._files.drop(body)
        with self._lock:
            self._gone.extend(bodies)

    def recover(self) -> None:
        """Finish or undo what a killed process left half done."""
        reader = self._index.reader
        for body in self._files.unfinished():
            known = reader.execute(
                "SELECT EXISTS(SELECT 1 FROM objects WHERE body=?) OR EXISTS(SELECT 1 FROM parts WHERE body=?)",
                (body, body),
            ).fetchone()[0]
            if known:
                self._files.keep(body)
            else:
                self._files.drop(body)
        self.delete([row[0] for row in reader.execute("SELECT body FROM garbage")])
