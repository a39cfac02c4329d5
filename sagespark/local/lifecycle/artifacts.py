"""Bring what a container left in ``/opt/ml/model`` and ``/opt/ml/output/data`` to S3.

What a container leaves may be anything. Only plain files are taken; a link counts as the file or folder that it leads
to, as long as that is inside ``/opt/ml``, so no archive holds a member that leads out of its folder.
"""

from __future__ import annotations

import os
import stat
import tarfile
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from sagespark.core.s3uri import S3Uri
from sagespark.local.objects.store import ObjectStore

INSIDE = "/opt/ml"
"""Where the container saw its folder; absolute links begin with it."""
LEVEL = 1
"""Level of gzip: model files hardly shrink, and higher levels take several times as long."""
_MAX_LINKS = 40

Warn = Callable[[str], None]


def files_of(opt_ml: Path, folder: str, warn: Warn) -> Iterator[tuple[str, Path]]:
    """Yield the plain files below a folder as paths relative to it, with their places, in order of names.

    Parameters
    ----------
    opt_ml : Path
        The host's ``/opt/ml``.
    folder : str
        Relative to it, such as ``model``.
    warn : callable
        Takes a line about each entry that is left out.
    """
    root = opt_ml.resolve()
    start = _resolve(root, PurePosixPath(folder))
    if start is not None and start.is_dir():
        yield from _walk(root, start, "", (start,), warn)


def _walk(root: Path, folder: Path, name: str, above: tuple[Path, ...], warn: Warn) -> Iterator[tuple[str, Path]]:
    try:
        entries = sorted(os.listdir(folder))
    except PermissionError:
        warn(f"{name} is left out: the program took away the right to look into it")
        return
    for entry in entries:
        path: Path | None = folder / entry
        member = f"{name}{entry}"
        shown = member.encode("utf-8", "backslashreplace").decode()
        if os.path.islink(folder / entry):
            path = _resolve(root, PurePosixPath(*(folder / entry).relative_to(root).parts))
        try:
            mode = path.lstat().st_mode if path is not None else 0
        except OSError:
            mode = 0
        if path is None or mode == 0:
            warn(f"{shown} is left out: it is a link that leads to nothing inside {INSIDE}")
        elif shown != member:
            warn(f"{shown} is left out: its name is not UTF-8")
        elif stat.S_ISDIR(mode):
            if path in above:
                warn(f"{shown} is left out: it is a link to a folder above it")
            else:
                yield from _walk(root, path, f"{member}/", (*above, path), warn)
        elif stat.S_ISREG(mode):
            if os.access(path, os.R_OK):
                yield member, path
            else:
                warn(f"{shown} is left out: the program took away the right to read it")
        else:
            warn(f"{shown} is left out: it is neither file, folder nor link")


def _resolve(root: Path, path: PurePosixPath) -> Path | None:
    """Follow the links of a path as the container saw it, relative to its ``/opt/ml``; None where it leads out."""
    steps = deque(path.parts)
    current = root
    links = 0
    while steps:
        step = steps.popleft()
        if step == "..":
            if current == root:
                return None
            current = current.parent
        elif os.path.islink(current / step):
            links += 1
            target = PurePosixPath(os.readlink(current / step))
            if links > _MAX_LINKS:
                return None
            if target.is_absolute():
                base = next((b for b in (INSIDE, str(root)) if target.is_relative_to(b)), None)
                if base is None:
                    return None
                target, current = target.relative_to(base), root
            steps.extendleft(reversed(target.parts))
        else:
            current = current / step
    return current


def gather(folders: Sequence[Path], folder: str, warn: Warn) -> dict[str, Path]:
    """Return the files of all hosts by name; of two hosts' files of one name the first host's is taken."""
    files: dict[str, Path] = {}
    for opt_ml in folders:
        for name, path in files_of(opt_ml, folder, warn):
            if name in files:
                warn(f"{name} is left out: {opt_ml.name} and a host before it wrote it")
            else:
                files[name] = path
    return files


def pack(files: dict[str, Path], target: BinaryIO) -> None:
    """Write a gzip-compressed tar archive of files, owned by root."""
    with tarfile.open(fileobj=target, mode="w:gz", compresslevel=LEVEL, dereference=True) as archive:
        for name, path in files.items():
            with path.open("rb") as file:
                member = archive.gettarinfo(arcname=name, fileobj=file)
                member.uid = member.gid = 0
                member.uname = member.gname = "root"
                archive.addfile(member, file)


def upload(objects: ObjectStore, files: dict[str, Path], uri: S3Uri, scratch: Path) -> None:
    """Put files to S3: one archive where ``uri`` names an object, an object each where it is a prefix.

    Parameters
    ----------
    objects : ObjectStore
        Takes them.
    files : dict of str to Path
        By name in the archive.
    uri : S3Uri
        Ends in ``/`` for an object each.
    scratch : Path
        Path for the archive, on the file system of ``objects``.

    Raises
    ------
    NoSuchBucketError
        If the bucket does not exist.
    """
    if not uri.key.endswith("/"):
        with scratch.open("wb") as target:
            pack(files, target)
        objects.put_path(uri.bucket, uri.key, scratch, move=True)
        return
    for name, path in files.items():
        objects.put_path(uri.bucket, uri.key + name, path)
