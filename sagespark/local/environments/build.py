"""Build an environment once, and find it again.

1. A folder per pin below the user's cache; it counts once ``ready.json`` is in it, which is written last.
2. One builder at a time: a lock on a file beside it, which pip inherits, so that a builder that was killed is not
   joined by another before its pip has ended.
3. An interrupted build goes on where it was: pip skips what is installed and takes wheels from its own cache.
4. What comes down is said first: pip resolves without installing, and the archives' sizes are asked for.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import logging
import os
import re
import shutil
import signal
import ssl
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO

from sagespark.core.clock import Clock
from sagespark.local.environments.pins import Pin

CACHE_VARIABLE = "SAGESPARK_CACHE"
"""Environment variable of the folder that keeps environments; default: ``sagespark`` in the user's cache."""
READY = "ready.json"
_PAUSE = 0.2
_SHOWN = re.compile(r"\s*(Downloading \S+ \(.*|Building wheel.*|Installing collected packages).*")
_log = logging.getLogger(__name__)

Say = Callable[[str], None]
Check = Callable[[], None]


class BuildError(Exception):
    """An environment cannot be built; the message tells why."""


def cache_folder() -> Path:
    """Return the folder that keeps environments."""
    own = os.environ.get(CACHE_VARIABLE)
    if own:
        return Path(own).expanduser() / "environments"
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser() / "sagespark" / "environments"


class Environments:
    """The environments below one folder. Safe for several processes.

    Parameters
    ----------
    clock : Clock
        Waits.
    folder : Path or None
        None: :func:`cache_folder`, at each use.
    """

    def __init__(self, clock: Clock, folder: Path | None = None) -> None:
        self._clock = clock
        self._folder = folder

    def path(self, pin: Pin) -> Path:
        """Return the folder of an environment, built or not."""
        return (self._folder or cache_folder()) / pin.key

    def python(self, pin: Pin) -> Path | None:
        """Return the interpreter of an environment that is built, else None."""
        path = self.path(pin)
        return path / "bin" / "python" if (path / READY).exists() else None

    def build(self, pin: Pin, say: Say, check: Check) -> Path:
        """Return the interpreter of an environment, building it where it is missing.

        Parameters
        ----------
        pin : Pin
            What it holds.
        say : callable
            Takes lines of progress.
        check : callable
            Is called several times a second; what it raises ends the build, to be continued by the next one.

        Raises
        ------
        BuildError
            If a package cannot be installed, or the disk is too small.
        """
        found = self.python(pin)
        if found is not None:
            return found
        path = self.path(pin)
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.with_name(path.name + ".lock").open("a") as lock:
            self._take(lock, pin, say, check)
            found = self.python(pin)
            if found is None:
                self._build(pin, path, lock, say, check)
                found = path / "bin" / "python"
        return found

    def _take(self, lock: IO[str], pin: Pin, say: Say, check: Check) -> None:
        told = False
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except BlockingIOError:
                if not told:
                    say(f"Waiting for another process that builds the environment of {pin.framework} {pin.version}")
                told = True
            check()
            self._clock.sleep(_PAUSE)

    def _build(self, pin: Pin, path: Path, lock: IO[str], say: Say, check: Check) -> None:
        def run(arguments: Sequence[str], shown: Say = lambda _: None) -> str:
            return self._run(arguments, lock, shown, check)

        name = f"{pin.framework} {pin.version}"
        say(f"Preparing the Python environment of {name}: asking what it takes")
        python = path / "bin" / "python"
        if not python.exists():
            run([getattr(sys, "_base_executable", sys.executable), "-m", "venv", str(path)])
        pip = [str(python), "-m", "pip", "--disable-pip-version-check", "--no-input"]
        report = path / "report.json"
        wanted = ["install", "--prefer-binary", *pin.requirements]
        run([*pip, *wanted, "--dry-run", "--quiet", "--report", str(report)])
        archives = [item["download_info"]["url"] for item in json.loads(report.read_text())["install"]]
        size = total_size(archives)
        free = shutil.disk_usage(path).free
        # Unpacked, a wheel takes about three times its size.
        if 4 * size > free:
            raise BuildError(
                f"the environment of {name} takes about {_megabytes(4 * size)} in {path.parent}, but only "
                f"{_megabytes(free)} are free; make room, or set {CACHE_VARIABLE} to a folder on another disk"
            )
        say(
            f"Building the Python environment of {name} in {path}: {len(archives)} packages, {_megabytes(size)} to "
            "download, once on this machine"
        )
        run([*pip, *wanted, "--progress-bar", "off"], lambda line: say(line.strip()) if _SHOWN.match(line) else None)
        run([str(python), "-c", f"import {pin.module}"])
        report.unlink(missing_ok=True)
        ready = {"requirements": pin.requirements, "built": self._clock.now().isoformat()}
        fresh = path / (READY + ".new")
        fresh.write_text(json.dumps(ready))
        fresh.replace(path / READY)
        say(f"The Python environment of {name} is ready")

    def _run(self, arguments: Sequence[str], lock: IO[str], shown: Say, check: Check) -> str:
        """Run a program to its end, or kill it when ``check`` raises."""
        environment = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "PYTHONHOME")}
        process = subprocess.Popen(
            arguments,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            env=environment,
            pass_fds=(lock.fileno(),),
            start_new_session=True,
        )
        assert process.stdout is not None  # asked for above
        lines: list[str] = []

        def read(output: IO[str]) -> None:
            for line in output:
                lines.append(line)
                shown(line)

        with process.stdout as output, ThreadPoolExecutor(1) as pool:
            reader = pool.submit(read, output)
            try:
                while process.poll() is None:
                    check()
                    self._clock.sleep(_PAUSE)
            except BaseException:
                # pip may have started compilers: the whole group goes.
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()
                raise
            reader.result()
        text = "".join(lines)
        if process.returncode != 0:
            _log.warning("%s ended with exit code %d:\n%s", " ".join(arguments), process.returncode, text)
            raise BuildError(
                f"{' '.join(arguments[:4])} ... ended with exit code {process.returncode}: {_reason(text)}"
            )
        return text


def _reason(text: str) -> str:
    """Return what pip complains about: its lines of errors, else its last lines."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("ERROR:")]
    return " ".join(errors or lines[-3:])[-800:]


def total_size(urls: Sequence[str]) -> int:
    """Return the bytes of archives; those whose server does not tell count as nothing."""
    with ThreadPoolExecutor(8) as pool:
        return sum(pool.map(_size, urls))


def _size(url: str) -> int:
    if url.startswith("file:"):
        path = Path(urllib.request.url2pathname(url.removeprefix("file://")))
        return path.stat().st_size if path.exists() else 0
    try:
        context = ssl.create_default_context(cafile=os.environ.get("PIP_CERT") or None)
        request = urllib.request.Request(url, method="HEAD")
        with urllib.request.urlopen(request, timeout=10, context=context) as answer:
            return int(answer.headers.get("content-length") or 0)
    except (OSError, ValueError):
        return 0


def _megabytes(size: int) -> str:
    return f"{size / 1e6:,.0f} MB"
