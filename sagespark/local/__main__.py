"""Run the embedded service in the foreground: ``python -m sagespark.local --port N --data FOLDER``."""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sqlite3
import sys
import threading
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from sagespark.core.clock import SystemClock
from sagespark.core.settings import DEFAULT_REGION
from sagespark.local.app import FolderInUseError, Service
from sagespark.local.config import DEFAULT_PORT, LocalConfig
from sagespark.local.http import HttpServer, listen
from sagespark.local.objects.index import IndexVersionError

log = logging.getLogger("sagespark.local")

LEAVE_SECONDS = 2.0
"""How long the end waits for threads that are still at work."""


def parse(argv: Sequence[str] | None = None) -> LocalConfig:
    """Return the settings that the command line asks for."""
    parser = argparse.ArgumentParser(
        prog="python -m sagespark.local",
        description="SageMaker, S3, STS, IAM and CloudWatch Logs on this machine, on loopback only. "
        "Prints `READY http://127.0.0.1:PORT` once it accepts requests; logs go to standard error; SIGTERM ends it.",
    )
    parser.add_argument(
        "--port", type=int, default=DEFAULT_PORT, help="TCP port; 0 takes any free one (default: %(default)s)"
    )
    parser.add_argument(
        "--data", type=Path, default=Path("~/.sagespark"), help="folder of all state (default: %(default)s)"
    )
    parser.add_argument("--host", default="127.0.0.1", help="loopback address to listen on (default: %(default)s)")
    parser.add_argument(
        "--region", default=DEFAULT_REGION, help="region of requests that name none (default: %(default)s)"
    )
    parser.add_argument("--require-signature", action="store_true", help="refuse requests without a valid signature")
    parser.add_argument("--parent", type=int, help="end when this process, which started the service, has ended")
    parser.add_argument(
        "--time-scale",
        type=float,
        default=1.0,
        help="seconds of the jobs' time per real second, for tests: of MaxRuntimeInSeconds, of the 120 s "
        "between SIGTERM and SIGKILL, of waiting for spot capacity, of warm pools (default: %(default)s)",
    )
    parser.add_argument("--log-level", default="INFO", choices=["DEBUG", "INFO", "WARNING", "ERROR"])
    arguments = parser.parse_args(argv)
    if not 0 <= arguments.port <= 65535:
        parser.error(f"--port must be 0 to 65535, but got {arguments.port}")
    if not 0 < arguments.time_scale < float("inf"):
        parser.error(f"--time-scale must be above 0, but got {arguments.time_scale}")
    logging.basicConfig(
        level=arguments.log_level, stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    logging.getLogger("botocore").setLevel(logging.INFO)
    if arguments.parent is not None:
        threading.Thread(target=end_with, args=(arguments.parent,), daemon=True).start()
    return LocalConfig(
        data=arguments.data.expanduser().resolve(),
        port=arguments.port,
        host=arguments.host,
        require_signature=arguments.require_signature,
        region=arguments.region,
        time_scale=arguments.time_scale,
    )


def end_with(parent: int) -> None:
    """Wait until the process that started this one has ended, however it ended, then end this one as SIGTERM does."""
    clock = SystemClock()
    while os.getppid() == parent:
        clock.sleep(1.0)
    os.kill(os.getpid(), signal.SIGTERM)


def main(argv: Sequence[str] | None = None) -> int:
    """Serve until SIGTERM or SIGINT; return the exit code."""
    config = parse(argv)
    try:
        sockets = listen(config)
    except (OSError, ValueError) as error:
        print(f"sagespark.local: cannot listen on {config.host} port {config.port}: {error}", file=sys.stderr)
        return 1
    config = replace(config, port=sockets[0].getsockname()[1])
    try:
        service = Service.build(config)
    except (FolderInUseError, IndexVersionError, OSError) as error:
        print(f"sagespark.local: {error}", file=sys.stderr)
        return 1
    except sqlite3.DatabaseError as error:
        print(f"sagespark.local: the data folder {config.data} cannot be read: {error}", file=sys.stderr)
        return 1

    def ready() -> None:
        print(f"READY {config.url}", flush=True)

    code = 0
    try:
        HttpServer(service.front, config, service.start, service.stop, ready).run(sockets)
    except Exception:
        log.exception("the embedded service ends by a defect")
        code = 1
    leave(code)
    return code


def leave(code: int) -> None:
    """End the process even while a call is stuck in a thread: it was cancelled, and all state is on disk.

    The interpreter would otherwise wait for that thread however long it takes.
    """
    threads = [t for t in threading.enumerate() if t is not threading.main_thread() and not t.daemon]
    clock = SystemClock()
    end = clock.monotonic() + LEAVE_SECONDS
    for thread in threads:
        thread.join(max(end - clock.monotonic(), 0.0))
    stuck = [t.name for t in threads if t.is_alive()]
    if stuck:
        log.warning("ending while threads are at work: %s", ", ".join(stuck))
        logging.shutdown()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    sys.exit(main())
