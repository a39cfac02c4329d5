"""One instance of a production variant: a serving container that is started, watched and replaced when it dies."""

from __future__ import annotations

import enum
import http.client
import logging
import threading
from collections.abc import Callable

from sagespark.core.clock import Clock
from sagespark.local.containers.isolation import ContainerError
from sagespark.local.containers.runner import Container
from sagespark.local.hosting.client import ContainerClient

PING_SECONDS = 2.0
"""Seconds that a container has to answer ``/ping`` (AWS's container contract)."""
STOP_SECONDS = 30.0
"""Seconds between SIGTERM and SIGKILL of a serving container."""
_STARTUP_TRIES = 3
_PING_EVERY = 5.0
_PINGS_MISSED = 6
_LONGEST_PAUSE = 10.0
_SETTLED_SECONDS = 60.0
_log = logging.getLogger(__name__)


class State(enum.Enum):
    """What an instance is doing."""

    STARTING = "starting"
    READY = "ready"
    FAILED = "failed"
    """It never came up: it ended three times, or did not answer ``/ping`` in time."""
    STOPPED = "stopped"


class Instance:
    """A serving container and its successors.

    Parameters
    ----------
    name : str
        For the log.
    launch : callable
        Starts a container.
    startup_seconds : float
        Time until the first ``/ping`` must have been answered.
    clock : Clock
        Measures it.
    """

    def __init__(self, name: str, launch: Callable[[], Container], startup_seconds: float, clock: Clock) -> None:
        self.name = name
        self._launch = launch
        self._startup_seconds = startup_seconds
        self._clock = clock
        self._stopping = threading.Event()
        self._changed = threading.Condition()
        self._state = State.STARTING
        self._container: Container | None = None
        self.client: ContainerClient | None = None
        """Requests to the container that is ready; None while there is none."""
        self.in_flight = 0
        """Requests under way; written by the event loop only."""
        self._thread = threading.Thread(target=self._run, name=f"instance-{name}", daemon=True)

    @property
    def state(self) -> State:
        """What it is doing."""
        return self._state

    @property
    def pid(self) -> int | None:
        """Process id of its container's launcher."""
        container = self._container
        return None if container is None else container.pid

    def start(self) -> None:
        """Begin; returns at once."""
        self._thread.start()

    def wait(self, timeout: float | None = None) -> State:
        """Wait until it is no longer starting, and return its state."""
        with self._changed:
            self._changed.wait_for(lambda: self._state is not State.STARTING, timeout)
            return self._state

    def stop(self, drain_seconds: float = 0.0) -> None:
        """Let requests under way end, then end the container: SIGTERM, and SIGKILL after a while."""
        deadline = self._clock.monotonic() + drain_seconds
        while self.in_flight > 0 and self._clock.monotonic() < deadline:
            self._clock.sleep(0.02)
        patience = STOP_SECONDS if self.client is not None else PING_SECONDS
        self.terminate()
        self.kill(patience)
        if self._thread.ident is not None:
            self._thread.join(STOP_SECONDS)
        self._become(State.STOPPED)

    def terminate(self) -> None:
        """Send SIGTERM to the container, and start no other."""
        self._stopping.set()
        container = self._container
        if container is not None:
            container.terminate()

    def kill(self, grace: float = 0.0) -> None:
        """Kill the container, once ``grace`` seconds have passed without its end."""
        self._stopping.set()
        container = self._container
        if container is not None and container.wait(grace) is None:
            container.kill()
        self._become(State.STOPPED)

    def _become(self, state: State) -> None:
        with self._changed:
            if self._state is not State.STOPPED:
                self._state = state
            self._changed.notify_all()

    def _run(self) -> None:
        try:
            self._supervise()
        except Exception:
            # Whoever waits for the instance must not wait for ever.
            _log.exception("Instance %s: its supervision failed", self.name)
            self._become(State.FAILED)

    def _supervise(self) -> None:
        came_up, tries, pause = False, 0, 0.1
        while not self._stopping.is_set():
            tries += 1
            started = self._clock.monotonic()
            try:
                container = self._container = self._launch()
            except (ContainerError, OSError) as error:
                _log.warning("Instance %s cannot be started: %s", self.name, error)
            else:
                if self._stopping.is_set():
                    container.kill()
                    return
                if self._until_ready(container):
                    came_up = True
                    self.client = ContainerClient(container.connect)
                    self._become(State.READY)
                    self._watch(container)
                    self.client = None
                container.kill()
                if self._stopping.is_set():
                    return
                _log.warning("Instance %s: its container ended with exit code %s", self.name, container.poll())
            late = self._clock.monotonic() - started >= self._startup_seconds
            if not came_up and (late or tries >= _STARTUP_TRIES):
                self._become(State.FAILED)
                return
            self._become(State.STARTING)
            if self._clock.monotonic() - started > _SETTLED_SECONDS:
                pause = 0.1
            self._stopping.wait(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)

    def _until_ready(self, container: Container) -> bool:
        """Wait for the first answer to ``/ping``; False where the container ends or time runs out."""
        deadline = self._clock.monotonic() + self._startup_seconds
        pause = 0.02
        while not self._stopping.is_set() and self._clock.monotonic() < deadline:
            if ping(container):
                return True
            if container.wait(pause) is not None:
                return False
            pause = min(pause * 1.2, 0.25)
        return False

    def _watch(self, container: Container) -> None:
        """Return when the container has ended, or has not answered ``/ping`` for long."""
        missed = 0
        while container.wait(_PING_EVERY) is None:
            missed = 0 if ping(container) else missed + 1
            if missed >= _PINGS_MISSED and not self._stopping.is_set():
                _log.warning("Instance %s did not answer %d pings and is replaced", self.name, missed)
                return


def ping(container: Container) -> bool:
    """Tell whether the container answers ``GET /ping`` with 200 in time."""
    connection = http.client.HTTPConnection("model", timeout=PING_SECONDS)
    try:
        connection.sock = container.connect(PING_SECONDS)
        connection.request("GET", "/ping")
        return connection.getresponse().status == http.client.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
