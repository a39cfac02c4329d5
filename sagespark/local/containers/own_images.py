"""Images of one's own: a name bound to a folder of programs, or to an image of Docker, kept in the data folder.

The service and ``sagespark local images`` both work on the one file, ``images.json``: what is added is there for the
next job, without a restart.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from sagespark.core.clock import token
from sagespark.core.errors import ValidationError

FILE_NAME = "images.json"
"""Name of the file in the data folder."""
PROGRAMS = ("train", "serve")
"""Programs of an image, by the names that AWS runs it with: ``docker run IMAGE train``."""
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/@-]{0,254}")
_CONTRACT = "AWS's container contract runs `train` and `serve` (docker run IMAGE train, docker run IMAGE serve)"


@dataclass(frozen=True)
class OwnImage:
    """What a name stands for: exactly one of a folder and an image of Docker."""

    name: str
    folder: Path | None = None
    docker: str | None = None


class OwnImages:
    """The images of one data folder. Safe for several processes.

    Parameters
    ----------
    path : Path
        The file; made when the first image is added.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def all(self) -> tuple[OwnImage, ...]:
        """Return every image, by name."""
        try:
            rows = json.loads(self._path.read_text())
        except FileNotFoundError:
            return ()
        return tuple(
            OwnImage(name, Path(row["folder"]) if row.get("folder") else None, row.get("docker"))
            for name, row in sorted(rows.items())
        )

    def add(self, name: str, *, folder: Path | None = None, docker: str | None = None) -> OwnImage:
        """Bind a name, also one that is bound already.

        Parameters
        ----------
        name : str
            What jobs and models call the image: a name such as ``churn``, which also stands for ``churn`` with any
            tag in any registry, or one exact URI.
        folder : Path or None
            Holds executable files ``train``, ``serve`` or both.
        docker : str or None
            An image that Docker has on this machine.

        Raises
        ------
        ValidationError
            If the name is none, or the folder's programs cannot be run; all problems are in it.
        """
        found = [] if _NAME.fullmatch(name) else [f"{name!r} is no name of an image: letters, digits and ._:/@-"]
        if folder is not None:
            folder = folder.expanduser().resolve()
            found += problems(folder)
        if found:
            raise ValidationError(found, "images add")
        image = OwnImage(name, folder, docker)
        with self._changed() as rows:
            rows[name] = {"folder": str(folder)} if folder is not None else {"docker": str(docker)}
        return image

    def remove(self, name: str) -> bool:
        """Unbind a name; return whether it was bound. What it stands for stays as it is."""
        with self._changed() as rows:
            return rows.pop(name, None) is not None

    def find(self, uri: str) -> OwnImage | None:
        """Return the image that ``uri`` names: bound as it is, else by repository and tag, else by its repository."""
        images = {image.name: image for image in self.all()}
        repository, tag = _parts(uri)
        names = [uri, f"{repository}:{tag}" if tag else repository, repository]
        return next((images[name] for name in names if name in images), None)

    @contextlib.contextmanager
    def _changed(self) -> Iterator[dict[str, dict[str, str]]]:
        """Yield the rows to be changed, while no other process changes them; the file is whole at every moment."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.with_suffix(".lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            rows = json.loads(self._path.read_text()) if self._path.exists() else {}
            yield rows
            fresh = self._path.with_suffix(f".{token()}")
            fresh.write_text(json.dumps(rows, indent=1, sort_keys=True))
            os.replace(fresh, self._path)


def problems(folder: Path) -> list[str]:
    """Return what keeps a folder's programs from running, in words; empty where nothing does."""
    if not folder.is_dir():
        return [f"there is no folder {folder}"]
    there = [name for name in PROGRAMS if (folder / name).exists()]
    if not there:
        return [f"{folder} has neither a program `train` nor `serve`; {_CONTRACT}"]
    return [text for name in there for text in _unfit(folder / name)]


def programs(folder: Path) -> dict[str, Path]:
    """Return the programs that a folder has, by name."""
    return {name: folder / name for name in PROGRAMS if (folder / name).is_file()}


def _unfit(path: Path) -> list[str]:
    """Return why the kernel would not run a file."""
    if not path.is_file():
        return [f"{path} is not a file"]
    if not os.access(path, os.X_OK):
        return [f"{path} is not executable; run: chmod +x {path}"]
    with path.open("rb") as file:
        head = file.read(256)
    if head[:4] == b"\x7fELF":
        return []
    if head[:2] != b"#!":
        return [f"{path} is neither a compiled program nor a script whose first line names its interpreter (#!/bin/sh)"]
    line = head.split(b"\n", 1)[0]
    if line.endswith(b"\r"):
        return [f"the first line of {path} ends with a carriage return; save it with line ends of Unix"]
    words = line[2:].decode("utf-8", "replace").split()
    if not words or not Path(words[0]).exists():
        return [f"the first line of {path} names an interpreter that is not there: {' '.join(words) or 'none'}"]
    if Path(words[0]).name == "env" and len(words) == 2 and shutil.which(words[1]) is None:
        return [f"the first line of {path} names an interpreter that is not on PATH: {words[1]}"]
    return []


def _parts(uri: str) -> tuple[str, str]:
    """Return repository and tag of an image URI, without the registry's host and a digest."""
    path = uri.partition("@")[0]
    host, slash, rest = path.partition("/")
    if slash and ("." in host or ":" in host or host == "localhost"):
        path = rest
    repository, _, tag = path.partition(":")
    return repository, tag
