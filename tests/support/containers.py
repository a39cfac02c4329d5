"""Containers for tests: shell scripts and small Python servers under the ``/opt/ml`` contract."""

from __future__ import annotations

import sys
import threading
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from sagespark.core.clock import SystemClock
from sagespark.local.containers import isolation
from sagespark.local.containers.runner import Container, ContainerRuntime, ContainerSpec

SERVER = """
import http.server, os, socketserver
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def answer(self, body, status=200):
        self.send_response(status)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def do_GET(self):
        self.answer(b"")
    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        self.invoke(body)
    def invoke(self, body):
        self.answer(body)
    def log_message(self, *arguments):
        pass
class Server(http.server.ThreadingHTTPServer):
    request_queue_size = 64
"""
"""Head of a serving program that echoes; ``invoke`` is what tests change."""
RUN = 'Server(("127.0.0.1", int(os.environ["SAGEMAKER_BIND_TO_PORT"])), Handler).serve_forever()\n'
"""Its end; behind ``SERVER`` and what a test changes."""
PYTHON = sys.executable


@cache
def isolated() -> bool:
    """Find out once per test run whether containers get namespaces."""
    return isolation.probe() is None


class Lines:
    """What a container wrote. Thread-safe."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self._changed = threading.Condition()

    def __call__(self, line: str) -> None:
        with self._changed:
            self.lines.append(line)
            self._changed.notify_all()

    def wait_for(self, line: str, timeout: float = 30.0) -> None:
        """Return once ``line`` was written."""
        with self._changed:
            assert self._changed.wait_for(lambda: line in self.lines, timeout), self.lines


def opt_ml(folder: Path) -> Path:
    """Make an ``/opt/ml`` and return it."""
    for name in ("input/config", "input/data/train", "model", "output/data"):
        (folder / name).mkdir(parents=True)
    return folder


def run_shell(
    runtime: ContainerRuntime,
    ml: Path,
    script: str,
    *,
    port: int | None = None,
    environment: Mapping[str, str] | None = None,
    hosts: Mapping[str, str] | None = None,
) -> tuple[Container, Lines]:
    """Run a shell script as a container."""
    lines = Lines()
    spec = ContainerSpec("test", ("/bin/sh", "-c", script), ml, environment or {}, hosts=hosts or {}, port=port)
    return runtime.run(spec, lines), lines


def processes(mark: str) -> list[int]:
    """Return the ids of all processes of this machine whose command line holds ``mark``."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if mark.encode() in path.read_bytes():
                found.append(int(path.parent.name))
        except OSError:
            continue
    return found


def wait_gone(mark: str, timeout: float = 10.0) -> None:
    """Return once no process has ``mark`` in its command line."""
    clock = SystemClock()
    deadline = clock.monotonic() + timeout
    while left := processes(mark):
        assert clock.monotonic() < deadline, left
        clock.sleep(0.02)
