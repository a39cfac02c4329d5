"""A script's files: brought from where the submit directory is, with what its ``requirements.txt`` asks for."""

from __future__ import annotations

import importlib
import importlib.util
import os
import site
import subprocess
import sys
import tarfile
from pathlib import Path
from urllib.parse import urlsplit

from sagespark.local.scripts import layout


class CodeError(Exception):
    """The script's files cannot be used; the message is for the user."""


def fetch(place: str, folder: Path) -> Path:
    """Return the folder of the script's files.

    Parameters
    ----------
    place : str
        The submit directory: ``s3://`` or a path of a ``tar.gz``, or a folder in the container.
    folder : Path
        Where an archive is unpacked.

    Raises
    ------
    CodeError
        If there is no such archive or folder.
    """
    if place.startswith("s3://"):
        return _unpack(_download(place, folder.with_name(folder.name + ".tar.gz")), folder)
    path = Path(place.removeprefix("file://"))
    root = layout.base()
    if not path.exists() and path.is_relative_to("/opt/ml"):
        # Where containers are not isolated, /opt/ml is somewhere else.
        path = root / path.relative_to("/opt/ml")
    if path.is_dir():
        return path
    if not path.exists():
        raise CodeError(f"the submit directory {place} does not exist in the container")
    return _unpack(path, folder)


def _download(uri: str, target: Path) -> Path:
    boto3 = importlib.import_module("boto3")
    parts = urlsplit(uri)
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        boto3.client("s3").download_file(parts.netloc, parts.path.lstrip("/"), str(target))
    except Exception as error:
        raise CodeError(f"the script's files cannot be downloaded from {uri}: {error}") from error
    return target


def _unpack(archive: Path, folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with tarfile.open(archive) as tar:
            tar.extractall(folder, filter="data")
    except (tarfile.TarError, OSError, EOFError) as error:
        raise CodeError(f"{archive} is no archive of a script's files: {error}") from error
    return folder


def private() -> str:
    """Return a Python of this container alone, which sees the packages of the framework's.

    What pip installs into it shadows them and is gone with the container: the framework's environment serves others.
    """
    place = layout.base() / "environment"
    python = place / "bin" / "python"
    if python.exists():
        return str(python)
    options = ["--without-pip"] if importlib.util.find_spec("pip") is not None else []
    _run([sys.executable, "-m", "venv", *options, str(place)], "make an environment for")
    packages = place / "lib" / f"python{sys.version_info.major}.{sys.version_info.minor}" / "site-packages"
    paths = [path for path in sys.path if path.endswith("site-packages")]
    rows = [f"import site; site.addsitedir({path!r})" for path in dict.fromkeys([*site.getsitepackages(), *paths])]
    (packages / "framework.pth").write_text("\n".join(rows) + "\n")
    return str(python)


def interpreter(code: Path) -> str:
    """Return the Python that runs the script: :func:`private`, with what ``requirements.txt`` asks for.

    Raises
    ------
    CodeError
        If pip fails; its output is in the log.
    """
    python = private()
    wanted = code / "requirements.txt"
    if wanted.exists():
        print(f"Installing dependencies from {wanted}", flush=True)
        quiet = ["--disable-pip-version-check", "--no-input", "--progress-bar", "off"]
        _run([python, "-m", "pip", "install", *quiet, "-r", str(wanted)], "install")
    return python


def _run(command: list[str], what: str) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    if subprocess.run(command, check=False, env=environment, cwd=layout.base()).returncode != 0:
        raise CodeError(f"InstallRequirementsError: could not {what} requirements.txt; the log above has pip's reason")
