"""The service as a process in the background: start it, find it again by its data folder, end it.

Nothing of the service itself is imported here.
"""

from __future__ import annotations

import json
import os
import selectors
import signal
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from urllib.error import HTTPError
from urllib.parse import quote, urlencode
from urllib.request import Request, urlopen

from sagespark.core.clock import Clock, SystemClock
from sagespark.core.errors import SageSparkError, WaitTimeoutError

PACKAGES = ("uvicorn", "httptools", "sklearn", "threadpoolctl")
"""What the service imports beyond the package's own dependencies."""
START_TIMEOUT = 60.0
"""Seconds that the service may take to accept requests."""
STOP_TIMEOUT = 30.0
"""Seconds that the service may take to end its jobs and endpoints before it is killed."""
LOG_NAME = "service.log"
"""Log file in the data folder."""
RECORD_NAME = "service.json"
"""File in the data folder that says which process serves it, and where."""


_children: set[int] = set()
"""The services that this process has started and not yet waited for."""
os.register_at_fork(after_in_child=_children.clear)


@dataclass(frozen=True)
class Running:
    """A service process and what reaches it.

    Parameters
    ----------
    pid : int
        Process id.
    url : str
        The one URL of all its services.
    data : Path
        Folder of its state.
    started : str
        When it was started, ISO 8601, UTC.
    """

    pid: int
    url: str
    data: Path
    started: str

    @property
    def log(self) -> Path:
        """Its log file."""
        return self.data / LOG_NAME

    def stop(self, clock: Clock, timeout: float = STOP_TIMEOUT) -> None:
        """End the process by SIGTERM, and by SIGKILL after ``timeout`` seconds."""
        for number, patience in ((signal.SIGTERM, timeout), (signal.SIGKILL, 5.0)):
            deadline = clock.monotonic() + patience
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)
            while is_service(self.pid):
                if clock.monotonic() > deadline:
                    break
                clock.sleep(0.05)
            else:
                break
        (self.data / RECORD_NAME).unlink(missing_ok=True)


def running(data: Path) -> Running | None:
    """Return the service that uses a data folder now, or None."""
    try:
        record = json.loads((data / RECORD_NAME).read_text())
        found = Running(int(record["pid"]), str(record["url"]), data, str(record["started"]))
    except (FileNotFoundError, NotADirectoryError, ValueError, KeyError, TypeError):
        return None
    return found if is_service(found.pid) else None


def is_service(pid: int) -> bool:
    """Tell whether a process is there and is the service: a process id may have been given to another since."""
    if pid in _children:
        # Not yet waited for, so the number is still its own, also while it is ending.
        with suppress(ChildProcessError):
            if os.waitpid(pid, os.WNOHANG)[0] == 0:
                return True
        _children.discard(pid)
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    try:
        return b"sagespark.local" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except FileNotFoundError:
        # Gone since, or a system without /proc.
        return not Path("/proc/self").exists()


def launch(data: Path, port: int = 0, *, clock: Clock | None = None, options: tuple[str, ...] = ()) -> Running:
    """Start ``python -m sagespark.local`` in the background and return once it accepts requests.

    Parameters
    ----------
    data : Path
        Folder of its state; made where it is missing.
    port : int
        TCP port on loopback; 0: any free one.
    clock : Clock or None
        Time; None: the machine's.
    options : tuple of str
        More of its command line, such as ``--require-signature``.

    Raises
    ------
    SageSparkError
        If its packages are not installed, a service uses the folder already, or the process ended before it accepted
        requests; names the log file.
    WaitTimeoutError
        If it did not accept requests in time; it has been killed then.
    """
    missing = [name for name in PACKAGES if find_spec(name) is None]
    if missing:
        raise SageSparkError(
            f"the embedded service needs {', '.join(missing)}, not installed here; pip install 'sagespark[local]'"
        )
    clock = clock or SystemClock()
    data = data.expanduser().resolve()
    data.mkdir(parents=True, exist_ok=True)
    there = running(data)
    if there is not None:
        raise SageSparkError(
            f"folder {data} is in use by the embedded service at {there.url} (process {there.pid}); use that one, stop "
            f"it by `sagespark local stop --data {data}`, or take another folder"
        )
    log = data / LOG_NAME
    with log.open("ab") as stderr:
        # A session of its own: a terminal's Ctrl-C interrupts the waiting, not the service that is waited for.
        process = subprocess.Popen(
            [sys.executable, "-m", "sagespark.local", "--port", str(port), "--data", str(data), *options],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=stderr,
            start_new_session=True,
        )
    try:
        url = _ready(process, log, clock)
    except BaseException:
        process.kill()
        process.wait()
        raise
    finally:
        assert process.stdout is not None
        process.stdout.close()
    # The service outlives this object, and `Running` ends it by its id.
    process.returncode = 0
    _children.add(process.pid)
    found = Running(process.pid, url, data, clock.now().isoformat(timespec="seconds"))
    record = {"pid": found.pid, "url": url, "started": found.started}
    (data / RECORD_NAME).write_text(json.dumps(record) + "\n")
    return found


def _ready(process: subprocess.Popen[bytes], log: Path, clock: Clock) -> str:
    """Read the READY line from the service's standard output and return its URL."""
    assert process.stdout is not None
    line = b""
    deadline = clock.monotonic() + START_TIMEOUT
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        while not line.endswith(b"\n"):
            if not selector.select(max(0.0, deadline - clock.monotonic())):
                raise WaitTimeoutError(
                    f"the embedded service did not accept requests within {START_TIMEOUT:.0f} s\n{log_tail(log)}"
                )
            chunk = os.read(process.stdout.fileno(), 4096)
            if not chunk:
                raise SageSparkError(
                    f"the embedded service ended with exit code {process.wait()} before it accepted requests\n"
                    f"{log_tail(log)}"
                )
            line += chunk
    word, _, url = line.decode().strip().partition(" ")
    if word != "READY" or not url:
        raise SageSparkError(f"the embedded service said {line!r} where READY and its URL were due; its log: {log}")
    return url


def tell_job(url: str, name: str, verb: str, **values: str) -> str:
    """Tell a running service what shall happen to a training job; return its answer.

    Parameters
    ----------
    url : str
        As the READY line has it.
    name : str
        The job.
    verb : {'interrupt', 'lose-host'}
        See :mod:`sagespark.local.admin`.
    **values
        ``region`` and ``seconds``.

    Raises
    ------
    SageSparkError
        If it cannot happen; says why.
    """
    request = Request(f"{url}/_sagespark/training-jobs/{quote(name)}/{verb}?{urlencode(values)}", method="POST")
    try:
        with urlopen(request, timeout=START_TIMEOUT) as answer:
            return str(json.load(answer)["message"])
    except HTTPError as error:
        raise SageSparkError(str(json.load(error)["message"])) from None
    except OSError as error:
        raise SageSparkError(f"the embedded service at {url} does not answer: {error}") from error


def log_tail(log: Path, count: int = 20) -> str:
    """Return the last lines of the service's log as a block for an error's message."""
    lines = log.read_text(errors="replace").splitlines()[-count:] if log.exists() else []
    if not lines:
        return f"Its log {log} has no lines."
    return "\n".join([f"Last lines of its log {log}:", *(f"  | {line}" for line in lines)])
