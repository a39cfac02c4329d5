"""The embedded SageMaker in Python: start the service, make its session the active one, stop it.

The one module that knows both sides. The service is a process of its own, spoken to over loopback like AWS.
"""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType
from typing import Any

from sagespark.aws.session import SageMakerSession
from sagespark.core.clock import Clock, SystemClock
from sagespark.core.errors import SageSparkError
from sagespark.core.settings import DEFAULT_REGION
from sagespark.local.config import ServiceInfo
from sagespark.local.process import Running, is_service, launch, log_tail, tell_job


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
    timeScale : float
        Seconds of the training and tuning jobs' time per real second: with 3600 an hour of theirs passes in a second.
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
        timeScale: float = 1.0,
        clock: Clock | None = None,
        **session: Any,
    ) -> None:
        self._given = None if data is None else Path(data)
        self._port = port
        self._region = region
        self._scale = timeScale
        self._clock = clock or SystemClock()
        self._options = session
        self._running: Running | None = None
        self._session: SageMakerSession | None = None
        self._active: AbstractContextManager[SageMakerSession] | None = None
        self._owner = 0

    @property
    def running(self) -> bool:
        """Whether the service's process is there."""
        return self._running is not None and is_service(self._running.pid)

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
        options = ["--parent", str(os.getpid())]
        if self._scale != 1:
            options += ["--time-scale", str(self._scale)]
        return launch(data, port, clock=self._clock, options=tuple(options))

    def interrupt(self, trainingJobName: str, seconds: float = 0.0) -> None:
        """Take a managed spot training job's instances away; there are others after ``seconds`` of its time.

        Raises
        ------
        SageSparkError
            If there is no such job, it has no spot instances, or none now.
        """
        tell_job(self.url, trainingJobName, "interrupt", region=self._region, seconds=str(seconds))

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
