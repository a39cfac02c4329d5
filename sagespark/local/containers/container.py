"""A container that runs: watched, stopped, connected to."""

from __future__ import annotations

import contextlib
import logging
import os
import select
import signal
import socket
import subprocess
import threading
from collections.abc import Callable
from typing import IO

MAX_LINE = 256 * 1024
"""Longest line of output in bytes, as CloudWatch Logs bounds an event; longer ones are cut into several."""
_KILL_SECONDS = 10.0
_log = logging.getLogger(__name__)


class Container:
    """A running container.

    Made by :meth:`ContainerRuntime.run`. Thread-safe.
    """

    def __init__(
        self,
        process: subprocess.Popen[bytes],
        lifeline: socket.socket,
        on_line: Callable[[str], None],
        port: int | None,
        own_network: bool,
        on_end: Callable[[], None],
    ) -> None:
        assert process.stdout is not None  # launched with a pipe
        self._process = process
        self._lifeline = lifeline
        self._lock = threading.Lock()
        self._port = port
        self._own_network = own_network
        self._on_end = on_end
        self._output: IO[bytes] = process.stdout
        self._on_line = on_line
        self._reader = threading.Thread(target=self._read, name=f"container-{process.pid}", daemon=True)
        self._reader.start()

    @property
    def pid(self) -> int:
        """Process id of the container's launcher, whose end is the container's."""
        return self._process.pid

    def poll(self) -> int | None:
        """Return the exit code, or None while the container runs or its last lines are being read."""
        return None if self._reader.is_alive() else self._process.poll()

    def wait(self, timeout: float | None = None) -> int | None:
        """Wait until the container has ended and every line was delivered; None after ``timeout`` seconds.

        An exit code of 128 + n tells that signal n ended the program.
        """
        self._reader.join(timeout)
        return self.poll()

    def terminate(self) -> None:
        """Send SIGTERM to the program."""
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """Kill the whole process tree; returns when it is gone."""
        with self._lock:
            self._lifeline.close()
        try:
            self._process.wait(_KILL_SECONDS)
        except subprocess.TimeoutExpired:
            # The launcher itself is stuck or stopped. Its end takes init, and with it the namespace, along.
            _log.warning("Container %d did not end within %g s; killing its launcher", self.pid, _KILL_SECONDS)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGKILL)
            self._process.wait()
        self._reader.join(_KILL_SECONDS)

    def connect(self, timeout: float = 2.0) -> socket.socket:
        """Return a connection to the program's port; where the container has a network of its own, made inside it.

        Raises
        ------
        OSError
            If the container has ended, or refuses the connection.
        """
        if self._port is None:
            raise OSError("the container serves no port")
        if not self._own_network:
            return socket.create_connection(("127.0.0.1", self._port), timeout)
        with self._lock:
            self._lifeline.settimeout(timeout)
            self._lifeline.send(b"connect")
            answer, descriptors, _, _ = socket.recv_fds(self._lifeline, 16, 1)
        if not answer or not descriptors:
            raise ConnectionResetError("the container has ended")
        connection = socket.socket(fileno=descriptors[0])
        try:
            _complete(connection, timeout)
        except OSError:
            connection.close()
            raise
        return connection

    def _read(self) -> None:
        broken = False
        with self._output:
            while raw := self._output.readline(MAX_LINE):
                line = raw.rstrip(b"\r\n").decode("utf-8", "replace")
                try:
                    self._on_line(line)
                except Exception:
                    # The pipe must be drained, or the program would wait for ever; one report is enough.
                    if not broken:
                        _log.exception("Output of container %d is lost: its receiver failed", self.pid)
                    broken = True
        self._process.wait()
        with self._lock:
            self._lifeline.close()
        self._on_end()


def _complete(connection: socket.socket, timeout: float) -> None:
    """Wait for the end of a connection attempt that another process has begun, and raise its error."""
    poll = select.poll()
    poll.register(connection, select.POLLOUT)
    if not poll.poll(timeout * 1000):
        raise TimeoutError("the container does not accept the connection")
    error = connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    if error:
        raise OSError(error, os.strerror(error))
    # The error may have been taken by the process that made the attempt; then there is no other end.
    connection.getpeername()
    connection.settimeout(timeout)
