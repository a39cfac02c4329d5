"""The ``/opt/ml`` contract from inside a container: where things are, and how a program tells what went wrong.

Facts: AWS's "How Amazon SageMaker AI runs your training image".
"""

from __future__ import annotations

import contextlib
import itertools
import json
import logging
import os
import socket
import sys
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from sagespark.algorithms.spec import AlgorithmSpec
from sagespark.core.clock import token
from sagespark.core.errors import SageSparkError
from sagespark.core.settings import SEED_VARIABLE

THREADS_VARIABLE = "SAGESPARK_THREADS"
"""Environment variable with the number of threads that a built-in algorithm computes with; default: the cores."""
FAILURE_LENGTH = 1024
"""Characters of ``/opt/ml/output/failure`` that become the job's FailureReason."""
HOSTS_VARIABLE = "SAGESPARK_HOSTS"
"""Environment variable with the addresses of a job's hosts, a JSON object, where containers are not isolated."""
CLIENT_ERROR_CODE = 1
"""Exit code where the user's data or hyperparameters are refused; the failure file begins with ``ClientError: ``."""
ALGORITHM_ERROR_CODE = 2
"""Exit code of every other failure."""


PEER_ERROR_CODE = 3
"""Exit code where another host of the job ended: its reason is the job's, not this one's."""


class ClientError(Exception):
    """The user's data or hyperparameters are refused."""


class PeerError(Exception):
    """Another host of the job has ended or does not answer, so this one cannot go on."""


def base() -> Path:
    """Return ``/opt/ml``, or the folder that stands for it where containers are not isolated."""
    return Path(os.environ.get("SAGEMAKER_BASE_DIR", "/opt/ml"))


def hyperparameters(spec: AlgorithmSpec) -> dict[str, Any]:
    """Return the job's hyperparameters by wire string, checked and with defaults filled in.

    Raises
    ------
    ClientError
        If one is unknown, refused or missing; the message lists all problems.
    """
    path = base() / "input" / "config" / "hyperparameters.json"
    try:
        return spec.parse(json.loads(path.read_text()))
    except ValueError as error:
        raise ClientError(str(error)) from error


@dataclass(frozen=True)
class ChannelFiles:
    """The files of one input channel."""

    name: str
    content_type: str
    """``ContentType`` of the request, empty where it has none."""
    files: tuple[Path, ...]
    """In the order of ``/opt/ml/input/data/CHANNEL-manifest``, else of their names; empty in Pipe mode."""
    epochs: Iterator[Path] | None = None
    """In Pipe mode, the pipes from the next epoch on; None where the channel is a folder of files."""

    @property
    def empty(self) -> bool:
        """Whether the channel gives nothing to this host, as far as that is known without reading."""
        return self.epochs is None and not self.files

    def parts(self) -> tuple[Path, ...]:
        """Return what to read, in order, for one pass over the rows: all files, or the next epoch's pipe."""
        return self.files if self.epochs is None else (next(self.epochs),)


def channels() -> dict[str, ChannelFiles]:
    """Return the job's input channels by name."""
    config = json.loads((base() / "input" / "config" / "inputdataconfig.json").read_text())
    found = {}
    for name, channel in config.items():
        folder = base() / "input" / "data" / name
        if channel.get("TrainingInputMode") == "Pipe":
            pipes = (folder.with_name(f"{name}_{epoch}") for epoch in itertools.count())
            found[name] = ChannelFiles(name, channel.get("ContentType") or "", (), pipes)
            continue
        manifest = folder.with_name(f"{name}-manifest")
        if manifest.exists():
            # A JSON list: {"prefix": ...}, then paths below the channel's folder.
            files = [folder / row for row in json.loads(manifest.read_text())[1:]]
        else:
            files = sorted(path for path in folder.rglob("*") if path.is_file())
        found[name] = ChannelFiles(name, channel.get("ContentType") or "", tuple(files))
    return found


def host() -> str:
    """Return this container's name, ``algo-1`` where there is one."""
    return str(resources()["current_host"])


def hosts() -> list[str]:
    """Return the names of all hosts of the job, in order."""
    return list(resources()["hosts"])


def address(name: str) -> str:
    """Return the IP address of a host of the job.

    Raises
    ------
    OSError
        If the name is not known.
    """
    # Without namespaces there is no /etc/hosts of the container's own.
    known: dict[str, str] = json.loads(os.environ.get(HOSTS_VARIABLE, "{}"))
    return known.get(name) or socket.gethostbyname(name)


def resources() -> dict[str, Any]:
    """Return ``resourceconfig.json``: the hosts of the job and which one this is."""
    path = base() / "input" / "config" / "resourceconfig.json"
    alone = {"current_host": "algo-1", "hosts": ["algo-1"]}
    return dict(json.loads(path.read_text())) if path.exists() else alone


def seed() -> int:
    """Return the job's seed, or a random one."""
    text = os.environ.get(SEED_VARIABLE)
    if text is None:
        return int(token(8), 16) & 0x7FFFFFFF
    try:
        value = int(text)
    except ValueError:
        value = -1
    if not 0 <= value <= 0x7FFFFFFF:
        raise ClientError(f"{SEED_VARIABLE} must be an integer in 0..2147483647, but got {text!r}")
    return value


def threads() -> int:
    """Return the number of threads to compute with: :data:`THREADS_VARIABLE`, ``OMP_NUM_THREADS``, or the cores."""
    text = os.environ.get(THREADS_VARIABLE) or os.environ.get("OMP_NUM_THREADS") or ""
    return int(text) if text.isdigit() and int(text) > 0 else len(os.sched_getaffinity(0))


def limit_threads(count: int) -> None:
    """Fix the number of threads of OpenMP and BLAS; to be called before numpy is imported.

    More threads change the order of sums, and so the last digits of a result.
    """
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = str(count)


def available_memory() -> int:
    """Return the bytes of memory that can be used without swapping: the machine's, or what a control group leaves."""
    available = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    with open("/proc/meminfo") as file:
        for line in file:
            if line.startswith("MemAvailable:"):
                available = int(line.split()[1]) * 1024
    # Version 2, then version 1, where this machine is itself a container with a limit.
    for limit, used in (
        ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
        ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.usage_in_bytes"),
    ):
        with contextlib.suppress(OSError, ValueError):
            available = min(available, max(0, int(Path(limit).read_text()) - int(Path(used).read_text())))
    return available


def log_to_stdout() -> None:
    """Write log lines to standard output in the form of AWS's algorithm containers."""
    logging.basicConfig(
        stream=sys.stdout,
        level=logging.INFO,
        format="[%(asctime)s %(levelname)s %(thread)d] %(message)s",
        datefmt="%m/%d/%Y %H:%M:%S",
        force=True,
    )


@contextlib.contextmanager
def without(package: str) -> Iterator[None]:
    """Let imports in this block do without a package that is not used here, unless it is imported already.

    Libraries import others wherever they find them, for what only some callers need, and that takes time.
    """
    if package in sys.modules:
        yield
        return
    sys.modules[package] = None  # type: ignore[assignment]  # makes an import fail, as Python's reference tells
    try:
        yield
    finally:
        del sys.modules[package]


def run(program: Callable[[], None]) -> NoReturn:
    """Run a training program; say what went wrong in ``/opt/ml/output/failure`` and by the exit code."""
    log_to_stdout()
    try:
        program()
    except (ClientError, SageSparkError) as error:
        _fail(f"ClientError: {error}", CLIENT_ERROR_CODE)
    except PeerError as error:
        _fail(str(error), PEER_ERROR_CODE)
    except MemoryError as error:
        _fail(f"The data does not fit in memory: {error}", ALGORITHM_ERROR_CODE)
    except Exception as error:
        traceback.print_exc(file=sys.stdout)
        _fail(f"{type(error).__name__}: {error}", ALGORITHM_ERROR_CODE)
    _leave(0)


def _fail(text: str, code: int) -> NoReturn:
    logging.getLogger(__name__).error("%s", text)
    path = base() / "output" / "failure"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text[:FAILURE_LENGTH])
    _leave(code)


def _leave(code: int) -> NoReturn:
    """End without tearing down the interpreter, which takes a tenth of a second after scikit-learn."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
