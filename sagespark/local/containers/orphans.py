"""Records of running containers, and the end of those that outlived the service that started them."""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import signal
from pathlib import Path

from sagespark.core.clock import Clock
from sagespark.local.containers.isolation import PROBE, remove_scratch

_SUFFIX = ".container"
_PATIENCE_SECONDS = 5.0
_log = logging.getLogger(__name__)


def start_time(pid: int) -> str | None:
    """Return when a process started, in the kernel's ticks since boot (``/proc/PID/stat``, field 22), None if it ended.

    A process id alone may have been given to another process since.
    """
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in ("Z", "X") else fields[19]


def record(folder: Path, pid: int) -> Path:
    """Write down that a container runs, and return the record, to be deleted when it has ended."""
    path = folder / f"{pid}{_SUFFIX}"
    path.write_text(f"{_boot()} {start_time(pid) or '-'}")
    return path


def end_all(folder: Path, clock: Clock) -> int:
    """End every container on record that is still alive, and return how many there were.

    A launcher ends itself when its service dies, so this only has to wait for the moment that takes; one that is stuck
    is killed.
    """
    alive = []
    for path in folder.glob(f"*{_SUFFIX}"):
        pid = int(path.stem)
        if path.read_text() == f"{_boot()} {start_time(pid)}":
            alive.append(pid)
        path.unlink(missing_ok=True)
    started = {pid: start_time(pid) for pid in alive}
    deadline = clock.monotonic() + _PATIENCE_SECONDS
    while (left := [pid for pid in alive if start_time(pid) == started[pid] is not None]) and (
        clock.monotonic() < deadline
    ):
        clock.sleep(0.02)
    for pid in left:
        _log.warning("Container %d outlived its service and is killed", pid)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGKILL)
    for path in folder.glob("hosts-*"):
        path.unlink(missing_ok=True)
    for path in folder.glob("scratch-*"):
        remove_scratch(path)
    for path in folder.glob(f"{PROBE}*"):
        shutil.rmtree(path, ignore_errors=True)
    return len(alive)


def _boot() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
