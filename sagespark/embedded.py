"""The embedded SageMaker in Python: start the service, make its session the active one, stop it.

The one module that knows both sides. The service is a process of its own, spoken to over loopback like AWS.
"""

from __future__ import annotations

import atexit
import os
import selectors
import shutil
import subprocess
import sys
import tempfile
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType
from typing import Any

from sagespark.aws.session import SageMakerSession
from sagespark.core.clock import Clock, SystemClock
from sagespark.core.errors import SageSparkError, WaitTimeoutError
from sagespark.core.settings import DEFAULT_REGION, LOCAL_ACCOUNT

START_TIMEOUT = 60.0
"""Seconds that the service may take to accept requests."""
STOP_TIMEOUT = 30.0
"""Seconds that the service may take to end its jobs and endpoints before it is killed."""
LOG_NAME = "service.log"
"""Log file in the data folder."""


class LocalSageMaker:
    """Run the embedded SageMaker.

    As a context manager it yields the service's session, which is the active one inside the block, in all threads; the
    former one is restored after. ``start()`` and ``stop()`` do the same without a block. Blocks may be nested: each has
    a service of its own.

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
        self.port = port
        self.region = region
        self._given = None if data is None else Path(data).expanduser()
        self._clock = clock or SystemClock()
        self._options = session
        self._data: Path | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._session: SageMakerSession | None = None
        self._active: AbstractContextManager[SageMakerSession] | None = None
        self._owner = 0

    # -- what runs --------------------------------------------------------------------------------------------------

    @property
    def running(self) -> bool:
        """Whether the service's process is there."""
        return self._process is not None and self._process.poll() is None

    @property
    def session(self) -> SageMakerSession:
        """The session that speaks to the service."""
        if self._session is None:
            raise SageSparkError("LocalSageMaker is not running; call start() or use it in a with block")
        return self._session

    @property
    def url(self) -> str:
        """The one URL of all its services."""
        return str(self.session.endpointUrl)

    @property
    def data(self) -> Path:
        """The folder of its state."""
        if self._data is None:
            raise SageSparkError("LocalSageMaker is not running and has no folder yet; call start()")
        return self._data

    @property
    def log(self) -> Path:
        """Its log file."""
        return self.data / LOG_NAME

    @property
    def pid(self) -> int:
        """Its process id."""
        if self._process is None:
            raise SageSparkError("LocalSageMaker is not running; call start() or use it in a with block")
        return self._process.pid

    # -- start and stop ---------------------------------------------------------------------------------------------

    def start(self) -> SageMakerSession:
        """Start the service, make its session the active one and return it.

        Raises
        ------
        SageSparkError
            If it runs already, or the process ended before it accepted requests; names the log file.
        WaitTimeoutError
            If it did not accept requests in time.
        """
        self._launch()
        self._active = self.session.activated()
        return self._active.__enter__()

    def _launch(self) -> None:
        if self._process is not None:
            raise SageSparkError("this LocalSageMaker runs already; make another one for a second service")
        self._owner = os.getpid()
        if self._given is None:
            self._data = Path(tempfile.mkdtemp(prefix="sagespark-"))
        else:
            self._data = self._given.resolve()
            self._data.mkdir(parents=True, exist_ok=True)
        atexit.register(self.stop)
        try:
            with self.log.open("ab") as log:
                # A session of its own: a terminal's Ctrl-C interrupts the waiting, not the service that is waited for.
                self._process = subprocess.Popen(
                    [sys.executable, "-m", "sagespark.local", "--port", str(self.port), "--data", str(self._data)],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=log,
                    start_new_session=True,
                )
            url = self._ready(self._process)
            self._session = session_of(url, region=self.region, **self._options)
        except BaseException:
            self.stop()
            raise

    def _ready(self, process: subprocess.Popen[bytes]) -> str:
        """Read the READY line from the service's standard output and return its URL."""
        assert process.stdout is not None
        line = b""
        deadline = self._clock.monotonic() + START_TIMEOUT
        with selectors.DefaultSelector() as selector:
            selector.register(process.stdout, selectors.EVENT_READ)
            while not line.endswith(b"\n"):
                if not selector.select(max(0.0, deadline - self._clock.monotonic())):
                    raise WaitTimeoutError(
                        f"the embedded service did not accept requests within {START_TIMEOUT:.0f} s{self._log_tail()}"
                    )
                chunk = os.read(process.stdout.fileno(), 4096)
                if not chunk:
                    raise SageSparkError(
                        f"the embedded service ended with exit code {process.wait()} before it accepted requests"
                        f"{self._log_tail()}"
                    )
                line += chunk
        word, _, url = line.decode().strip().partition(" ")
        if word != "READY" or not url:
            raise SageSparkError(f"the embedded service said {line!r} where READY and its URL were due")
        return url

    def _log_tail(self, count: int = 20) -> str:
        """Return the log's last lines for an error, and the file's name where it stays."""
        lines = self.log.read_text(errors="replace").splitlines()[-count:] if self.log.exists() else []
        where = f" (whole log: {self.log})" if self._given is not None else ""
        body = "".join(f"\n  | {line}" for line in lines)
        return f"; the last lines of its log{where}:{body}" if lines else f"; its log {self.log} is empty"

    def stop(self) -> None:
        """Restore the former session, end the service and remove its temporary folder. Safe to call twice."""
        if self._owner != os.getpid():
            # A forked child ends without the service that belongs to its parent.
            return
        atexit.unregister(self.stop)
        active, self._active = self._active, None
        try:
            if active is not None:
                active.__exit__(None, None, None)
        finally:
            self._end_process()
            if self._given is None and self._data is not None:
                shutil.rmtree(self._data, ignore_errors=True)
            self._session = None

    def _end_process(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(STOP_TIMEOUT)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        if process.stdout is not None:
            process.stdout.close()

    def __enter__(self) -> SageMakerSession:
        """Start the service and return its session."""
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop the service."""
        self.stop()


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
    settings: dict[str, Any] = {
        "role": f"arn:aws:iam::{LOCAL_ACCOUNT}:role/sagespark",
        "bucket": f"sagemaker-{region}-{LOCAL_ACCOUNT}",
        "region": region,
        "endpointUrl": url,
        # Any key is accepted; these only have to be there for the signature.
        "accessKeyId": "sagespark",
        "secretAccessKey": "sagespark",
    }
    return SageMakerSession(**{**settings, **session})
