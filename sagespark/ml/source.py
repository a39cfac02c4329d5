"""A script's files: what is wrong with them, and the ``sourcedir.tar.gz`` that AWS's toolkits unpack."""

from __future__ import annotations

import gzip
import io
import tarfile
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from sagespark.core.errors import ValidationError
from sagespark.core.s3uri import S3Uri

ARCHIVE = "sourcedir.tar.gz"
"""Name of the archive, as the toolkits know it."""
REQUIREMENTS = "requirements.txt"
_LEFT_OUT = ("__pycache__", ".git", ".ipynb_checkpoints")


def in_s3(values: Mapping[str, Any]) -> str | None:
    """Return the URI of the source where it is in S3 already."""
    place = values.get("sourceDir")
    return str(place) if place and str(place).startswith("s3://") else None


def problems(values: Mapping[str, Any]) -> list[str]:
    """Return everything that is wrong with a script's Params, in words; reads the driver's files.

    Parameters
    ----------
    values : mapping
        ``entryPoint sourceDir dependencies requirements inferenceEntryPoint`` of a stage.
    """
    entry, folder = values.get("entryPoint"), values.get("sourceDir")
    found = []
    if not entry:
        found.append("entryPoint must be set to the script that trains, such as 'train.py' (sagemaker_program)")
    elif not entry.endswith((".py", ".sh")):
        found.append(f"entryPoint must be a .py or .sh file, but got {entry!r}")
    if in_s3(values):
        return found + _of_archive(values)
    if folder and not Path(folder).is_dir():
        found.append(f"sourceDir must be a folder, or s3://.../{ARCHIVE}, but there is no folder {folder!r}")
    else:
        for name, path in (("entryPoint", entry), ("inferenceEntryPoint", values.get("inferenceEntryPoint"))):
            found += _missing(name, path, folder)
    found += [f"dependencies: there is no file or folder {p!r}" for p in values["dependencies"] if not Path(p).exists()]
    wanted = values.get("requirements")
    if isinstance(wanted, str) and not Path(wanted).is_file():
        found.append(f"requirements: there is no file {wanted!r}")
    if wanted and folder and (Path(folder) / REQUIREMENTS).exists():
        found.append(f"requirements and {folder}/{REQUIREMENTS} both say what pip installs; leave one of them out")
    return found


def _of_archive(values: Mapping[str, Any]) -> list[str]:
    found = []
    if not str(values["sourceDir"]).endswith(".tar.gz"):
        found.append(f"sourceDir in S3 must be a .tar.gz archive, but got {values['sourceDir']!r}")
    try:
        S3Uri.parse(values["sourceDir"])
    except ValidationError as error:
        found += [f"sourceDir: {text}" for text in error.problems]
    for name in ("dependencies", "requirements"):
        if values.get(name):
            found.append(f"{name} cannot be added to a sourceDir that is in S3; put them into the archive")
    return found


def _missing(name: str, path: str | None, folder: str | None) -> list[str]:
    if not path:
        return []
    place = Path(folder) if folder else Path(path).parent
    file = (Path(folder) / path) if folder else Path(path)
    if file.is_file():
        return [f"{name} must be inside sourceDir, but got {path!r}"] if folder and not _inside(file, place) else []
    there = sorted(p.name for p in place.iterdir() if p.suffix in (".py", ".sh")) if place.is_dir() else []
    near = get_close_matches(Path(path).name, there, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else f"; it has {', '.join(there[:10])}" if there else ""
    where = f"in sourceDir {folder!r}" if folder else f"in {str(place.resolve())!r}"
    return [f"{name}: there is no script {path!r} {where}{hint}"]


def _inside(file: Path, folder: Path) -> bool:
    return file.resolve().is_relative_to(folder.resolve())


def program(values: Mapping[str, Any]) -> str:
    """Return the script's path inside the archive (``sagemaker_program``)."""
    entry = str(values["entryPoint"])
    return entry if values.get("sourceDir") else Path(entry).name


def serving_program(values: Mapping[str, Any]) -> str:
    """Return the path, inside the archive, of the script that serves (``SAGEMAKER_PROGRAM``)."""
    own = values.get("inferenceEntryPoint")
    if not own:
        return program(values)
    return str(own) if values.get("sourceDir") else Path(own).name


def pack(values: Mapping[str, Any]) -> bytes:
    """Return ``sourcedir.tar.gz``: the same bytes for the same files.

    The whole of sourceDir, or the script alone; each of ``dependencies`` beside it; ``requirements.txt``.
    """
    raw = io.BytesIO()
    # Times and owners would make every archive another one.
    with gzip.GzipFile(fileobj=raw, mode="wb", mtime=0) as packed, tarfile.open(fileobj=packed, mode="w") as archive:
        written = set()
        for name, content, mode in _members(values):
            if name in written:
                raise ValidationError(f"two files of the script are both {name!r} in {ARCHIVE}; rename one", "pack")
            written.add(name)
            info = tarfile.TarInfo(name)
            info.size, info.mode = len(content), mode
            archive.addfile(info, io.BytesIO(content))
    return raw.getvalue()


def _members(values: Mapping[str, Any]) -> Iterator[tuple[str, bytes, int]]:
    folder = values.get("sourceDir")
    if folder:
        yield from _below(Path(folder), "")
    else:
        for path in dict.fromkeys(p for p in (values["entryPoint"], values.get("inferenceEntryPoint")) if p):
            yield _file(Path(path), Path(path).name)
    for text in values["dependencies"]:
        path = Path(text).resolve()
        if path.is_dir():
            yield from _below(path, path.name + "/")
        else:
            yield _file(path, path.name)
    wanted = values.get("requirements")
    if isinstance(wanted, str):
        yield REQUIREMENTS, Path(wanted).read_bytes(), 0o644
    elif wanted:
        yield REQUIREMENTS, ("\n".join(wanted) + "\n").encode(), 0o644


def _below(folder: Path, prefix: str) -> Iterator[tuple[str, bytes, int]]:
    for path in sorted(folder.rglob("*")):
        parts = path.relative_to(folder).parts
        if path.is_file() and not set(parts) & set(_LEFT_OUT):
            yield _file(path, prefix + "/".join(parts))


def _file(path: Path, name: str) -> tuple[str, bytes, int]:
    return name, path.read_bytes(), path.stat().st_mode & 0o777
