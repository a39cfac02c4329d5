"""Run the embedded service as a process of its own, as users do."""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import boto3
from botocore.config import Config

from sagespark.local.config import ServiceInfo


class ServiceProcess:
    """``python -m sagespark.local`` on a free port.

    Parameters
    ----------
    data : Path
        The data folder.
    *arguments : str
        More of its command line.
    prefix : sequence of str
        What the command line begins with, such as a program that gives up rights.
    """

    def __init__(self, data: Path, *arguments: str, prefix: Sequence[str] = ()) -> None:
        self.data = data
        self._arguments = arguments
        self._prefix = prefix
        self.process: subprocess.Popen[str] | None = None
        self.url = ""

    def start(self) -> Self:
        """Start it and wait until it accepts requests."""
        command = [
            *self._prefix,
            sys.executable,
            "-m",
            "sagespark.local",
            "--port",
            "0",
            "--data",
            str(self.data),
            *self._arguments,
        ]
        self.data.mkdir(parents=True, exist_ok=True)
        with (self.data / "stderr.log").open("a") as log:
            self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True)
        assert self.process.stdout is not None
        with selectors.DefaultSelector() as selector:
            selector.register(self.process.stdout, selectors.EVENT_READ)
            ready = selector.select(60)
        line = self.process.stdout.readline() if ready else ""
        assert line.startswith("READY "), f"{line!r}\n{self.log()}"
        self.url = line.split()[1]
        return self

    def log(self) -> str:
        """Return what it wrote to standard error."""
        return (self.data / "stderr.log").read_text()

    def kill(self) -> None:
        """End it as ``kill -9`` does."""
        assert self.process is not None
        self.process.kill()
        self.process.wait(30)
        self._close()

    def stop(self) -> int:
        """End it by SIGTERM; return its exit code."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(60)
        self._close()
        return code

    def _close(self) -> None:
        assert self.process is not None
        assert self.process.stdout is not None
        self.process.stdout.close()
        self.process = None

    def client(self, service: str, region: str = "us-east-1", **config: Any) -> Any:
        """Return a boto3 client of the service."""
        info = ServiceInfo(self.url)
        return boto3.client(
            service,
            endpoint_url=config.pop("endpoint_url", self.url),
            region_name=region,
            aws_access_key_id=config.pop("access_key", info.access_key),
            aws_secret_access_key=config.pop("secret_key", info.secret_key),
            config=Config(**{"retries": {"total_max_attempts": 1}, **config}),
        )

    def environment(self) -> dict[str, str]:
        """Return the environment for programs that shall use the service."""
        return {**os.environ, **ServiceInfo(self.url).environment(), "AWS_PAGER": ""}

    def __enter__(self) -> Self:
        """Start it."""
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop it if it still runs."""
        if self.process is not None:
            self.stop()
