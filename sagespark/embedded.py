"""The embedded SageMaker in Python: start the service, make its session the active one, stop it.

The one module that knows both sides. The service is a process of its own, spoken to over loopback like AWS.
"""

from __future__ import annotations

import atexit
import json
import os
import selectors
import shutil
import signal
import subprocess
import sys
import tempfile
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import Any

from sagespark.aws.session import SageMakerSession
from sagespark.core.clock import Clock, SystemClock
from sagespark.core.errors import SageSparkError, WaitTimeoutError
from sagespark.core.settings import DEFAULT_REGION
from sagespark.local.config import ServiceInfo

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
            while _is_service(self.pid):
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
    return found if _is_service(found.pid) else None


def _is_service(pid: int) -> bool:
    """Tell whether a process is there and is the service: a process id may have been given to another since."""
    with suppress(ChildProcessError):
        # A child of this process that has ended stays in the table until it is waited for.
        if os.waitpid(pid, os.WNOHANG)[0] == pid:
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


def log_tail(log: Path, count: int = 20) -> str:
    """Return the last lines of the service's log as a block for an error's message."""
    lines = log.read_text(errors="replace").splitlines()[-count:] if log.exists() else []
    if not lines:
        return f"Its log {log} has no lines."
    return "\n".join([f"Last lines of its log {log}:", *(f"  | {line}" for line in lines)])


def session_of(url: str, *, region: str = DEFAULT_REGION, **session: Any) -> SageMakerSession:
    """Return the session of a running embedded service: its role, its bucket and keys that it accepts.

    Parameters
    ----------
    url : str
        As the READY line has it.
    region : str
        AWS region.
    **session
        More arguments of `SageMakerSession`; they win.
    """
    info = ServiceInfo(url, region)
    settings: dict[str, Any] = {
        "role": info.role,
        "bucket": info.bucket,
        "region": info.region,
        "endpointUrl": info.url,
        "accessKeyId": info.access_key,
        "secretAccessKey": info.secret_key,
    }
    return SageMakerSession(**{**settings, **session})


class LocalSageMaker:
    """Run the embedded SageMaker.

    As a context manager it yields the service's session, which is the active one inside the block, in all threads; the
    former one is restored after. ``start()`` and ``stop()`` do the same without a block. Blocks may be nested: each has
    a service of its own. The service also ends with the interpreter.

    Parameters
    ----------
    data : path or None
        Folder of the service's state, kept; None: a temporary one, removed at the end.
    port : int
        TCP port on loopback; 0: any free one.
    region : str
        Region of the session.
    clock : Clock or None
        Time; None: the machine's.
    **session
        More arguments of `SageMakerSession`, such as ``prefix``, ``tags``, ``listeners``.

    Examples
    --------
    >>> with LocalSageMaker() as session:  # doctest: +SKIP
    ...     model = KMeans(k=10).fit(df)
    """

    def __init__(
        self,
        data: str | os.PathLike[str] | None = None,
        port: int = 0,
        *,
        region: str = DEFAULT_REGION,
        clock: Clock | None = None,
        **session: Any,
    ) -> None:
        self._given = None if data is None else Path(data)
        self._port = port
        self._region = region
        self._clock = clock or SystemClock()
        self._options = session
        self._running: Running | None = None
        self._session: SageMakerSession | None = None
        self._active: AbstractContextManager[SageMakerSession] | None = None
        self._owner = 0

    @property
    def running(self) -> bool:
        """Whether the service's process is there."""
        return self._running is not None and _is_service(self._running.pid)

    @property
    def session(self) -> SageMakerSession:
        """The session that speaks to the service."""
        self._started()
        assert self._session is not None
        return self._session

    @property
    def url(self) -> str:
        """The one URL of all its services."""
        return self._started().url

    @property
    def data(self) -> Path:
        """The folder of its state."""
        return self._started().data

    @property
    def log(self) -> Path:
        """Its log file."""
        return self._started().log

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._started().pid

    def _started(self) -> Running:
        if self._running is None:
            raise SageSparkError("this LocalSageMaker is not running; call start() or use it in a with block")
        return self._running

    def start(self) -> SageMakerSession:
        """Start the service, make its session the active one and return it.

        Raises
        ------
        SageSparkError
            If it runs already, a service uses the folder already, or the process ended before it accepted requests;
            names the log file, which then stays.
        WaitTimeoutError
            If it did not accept requests in time.
        """
        if self._running is not None:
            raise SageSparkError(
                f"this LocalSageMaker runs already, at {self._running.url}; make another one for a second service"
            )
        data = Path(tempfile.mkdtemp(prefix="sagespark-")) if self._given is None else self._given
        self._owner = os.getpid()
        self._running = self._launch(data, self._port)
        atexit.register(self.stop)
        self._session = session_of(self._running.url, region=self._region, **self._options)
        self._active = self._session.activated()
        return self._active.__enter__()

    def _launch(self, data: Path, port: int) -> Running:
        # Also where this process is killed and can stop nothing any more.
        return launch(data, port, clock=self._clock, options=("--parent", str(os.getpid())))

    def restart(self) -> SageMakerSession:
        """Start the service again, on the same port and data, after its process has ended.

        The session stays as it is: whoever holds it speaks to the new process.
        """
        former = self._started()
        former.stop(self._clock)
        port = int(former.url.rpartition(":")[2])
        self._running = self._launch(former.data, port)
        return self.session

    def stop(self) -> None:
        """Restore the former session, end the service and remove its temporary folder. Safe to call twice."""
        if self._running is None or self._owner != os.getpid():
            # A forked child ends without the service that belongs to its parent.
            return
        atexit.unregister(self.stop)
        there, self._running = self._running, None
        active, self._active = self._active, None
        self._session = None
        try:
            if active is not None:
                active.__exit__(None, None, None)
        finally:
            there.stop(self._clock)
            if self._given is None:
                shutil.rmtree(there.data, ignore_errors=True)

    def __enter__(self) -> SageMakerSession:
        """Start the service and return its session."""
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop the service; an error that came after its process had ended is told so."""
        if error is not None and self._running is not None and not self.running:
            error.add_note(f"The embedded service had ended by itself. {log_tail(self._running.log)}")
        self.stop()


# The path that users import it from.
LocalSageMaker.__module__ = "sagespark"
