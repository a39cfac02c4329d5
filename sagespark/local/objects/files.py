"""Body files: written under ``tmp``, moved to ``bodies`` once the index knows them.

The names are random ids, so no key can lead out of the folder. A body is never changed after its move: readers that
have it open, and hard links to it, stay right when the object is replaced or deleted.
"""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from pathlib import Path

from sagespark.core.clock import token

READ_ONLY = 0o444


class Files:
    """The folder of bodies.

    Parameters
    ----------
    root : Path
        Holds ``tmp`` and ``bodies``.
    """

    def __init__(self, root: Path) -> None:
        self._tmp = root / "tmp"
        self._bodies = root / "bodies"
        self._tmp.mkdir(parents=True, exist_ok=True)
        for number in range(256):
            (self._bodies / f"{number:02x}").mkdir(parents=True, exist_ok=True)

    def new(self) -> tuple[str, Path]:
        """Return an id and the path under ``tmp`` to write its body to."""
        body = token(32)
        return body, self._tmp / body

    def path(self, body: str) -> Path:
        """Return the path of a body once it is kept."""
        return self._bodies / body[:2] / body

    def keep(self, body: str) -> None:
        """Move a body to its place; called right after the index has it."""
        os.replace(self._tmp / body, self.path(body))

    def find(self, body: str) -> Path:
        """Return where a body is: its place, or ``tmp`` in the moment before its move."""
        path = self.path(body)
        if not path.exists() and (self._tmp / body).exists():
            return self._tmp / body
        return path

    def drop(self, body: str) -> None:
        """Delete a body wherever it is."""
        for path in (self.path(body), self._tmp / body):
            with suppress(FileNotFoundError):
                path.unlink()

    def unfinished(self) -> list[str]:
        """Return the ids of bodies under ``tmp``: left by a process that was killed."""
        return [path.name for path in self._tmp.iterdir()]


def copy_range(source: int, target: int, offset: int, length: int) -> None:
    """Append ``length`` bytes of ``source`` from ``offset`` to ``target``, inside the kernel where it can."""
    while length > 0:
        try:
            moved = os.copy_file_range(source, target, min(length, 1 << 30), offset)
        except (OSError, AttributeError):
            moved = 0
        if moved == 0:
            # Another filesystem, or one that cannot: through this process.
            data = os.pread(source, min(length, 1 << 20), offset)
            if not data:
                raise EOFError(f"the body ends {length} bytes early")
            view = memoryview(data)
            while view:
                view = view[os.write(target, view) :]
            moved = len(data)
        offset += moved
        length -= moved


def link_or_copy(source: Path, target: Path) -> None:
    """Make ``target`` a hard link to ``source``, or a copy where links are not possible."""
    try:
        os.link(source, target)
    except FileNotFoundError:
        raise
    except OSError:
        shutil.copyfile(source, target)
