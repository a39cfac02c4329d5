"""Containers: real processes under the ``/opt/ml`` contract.

What a container is here: a program, a folder that it sees as ``/opt/ml``, an environment, a host name, and its output
line by line. :class:`ContainerRuntime` starts them, :class:`Container` watches, stops and connects to one.
"""

from __future__ import annotations

import json
import logging
import os
import socket
import subprocess
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import sagespark
from sagespark.core.clock import Clock, SystemClock, token
from sagespark.local.containers import docker, isolation, orphans
from sagespark.local.containers.container import MAX_LINE as MAX_LINE
from sagespark.local.containers.container import Container as Container
from sagespark.local.containers.contract import HOSTS_VARIABLE
from sagespark.local.containers.images import Image, placed, resolve
from sagespark.local.containers.own_images import OwnImages
from sagespark.local.containers.relay import Relay
from sagespark.local.environments.build import BuildError, Environments

SERVING_PORT = 8080
"""Port of ``/ping`` and ``/invocations`` in the container contract."""
_START_SECONDS = 60.0
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ContainerSpec:
    """What to run."""

    image: str
    """Image URI; only told in the log, since :func:`resolve` has made the program of it."""
    program: tuple[str, ...]
    """Arguments of the program, the first one its name."""
    opt_ml: Path
    """Folder of this machine that the program sees as ``/opt/ml``."""
    environment: Mapping[str, str]
    """The whole environment, but for what the runtime adds (``PATH``, ``HOME``, the two fallback variables)."""
    host: str = "algo-1"
    """Host name."""
    hosts: Mapping[str, str] = field(default_factory=dict)
    """Names of all the job's hosts and their loopback addresses."""
    network: isolation.Network | None = None
    """A network to be in instead of this machine's; only where containers are isolated."""
    port: int | None = None
    """Port the program serves on, :data:`SERVING_PORT`; None: it serves nothing, and shares the network."""
    docker: str | None = None
    """Name of an image that Docker runs ``program`` in; None: it is a program of this machine."""
    alone: bool = False
    """Whether Docker's container may reach nothing (``EnableNetworkIsolation``)."""
    reaches_service: bool = False
    """Whether a program that serves, in a network of its own, finds the embedded service at the service's address."""


class ContainerRuntime:
    """Start containers, isolated from each other where the kernel allows.

    Parameters
    ----------
    folder : Path
        Keeps a record of each running container, by which the next service finds what outlived this one.
    isolated : bool or None
        None: found out at first use (see :mod:`sagespark.local.containers.isolation`).
    clock : Clock
        Waits for orphans.
    images : OwnImages or None
        The images of one's own.
    service : tuple of str and int, or None
        Host and port at which the embedded service listens, for containers that may reach it.
    """

    def __init__(
        self,
        folder: Path,
        *,
        isolated: bool | None = None,
        clock: Clock | None = None,
        images: OwnImages | None = None,
        service: tuple[str, int] | None = None,
    ) -> None:
        self._service = service
        self._folder = folder
        self._images = images
        self._environments = Environments(clock or SystemClock())
        self._isolated = isolated
        self._clock = clock or SystemClock()
        self._lock = threading.Lock()

    @property
    def isolated(self) -> bool:
        """Whether containers get namespaces of their own; the first look tells the log."""
        with self._lock:
            if self._isolated is None:
                self._folder.mkdir(parents=True, exist_ok=True)
                self._isolated = isolation.detect(self._folder)
            return self._isolated

    def network(self) -> isolation.Network | None:
        """Return a network for the hosts of a job that may reach nothing else; None where nothing is isolated.

        Raises
        ------
        ContainerError
            If the kernel refuses it.
        """
        return isolation.Network(_START_SECONDS) if self.isolated else None

    def start(self) -> None:
        """Make sure that no container of a former service on this folder is alive."""
        orphans.end_all(self._folder, self._clock)
        if self._docker_mark.exists():
            docker.remove_all(self._folder)
            self._docker_mark.unlink(missing_ok=True)

    @property
    def _docker_mark(self) -> Path:
        """A file that is there once a container of Docker was started: only then is Docker asked for orphans."""
        return self._folder / "docker"

    def resolve(self, image: str) -> Image:
        """Return what an image URI stands for.

        Raises
        ------
        UnknownImage
            With the reason, where the image cannot be run here.
        """
        return resolve(image, self._images)

    def prepare(self, image: Image, say: Callable[[str], None], check: Callable[[], None]) -> Image:
        """Return an image whose programs can be run, building the environment that it needs.

        Parameters
        ----------
        image : Image
            From :meth:`resolve`.
        say : callable
            Takes lines of progress; what comes down, and its size, are said first.
        check : callable
            Is called several times a second; what it raises ends the build.

        Raises
        ------
        ContainerError
            If the environment cannot be built.
        """
        if image.pin is None:
            return image
        try:
            python = self._environments.build(image.pin, say, check)
        except (BuildError, OSError) as error:
            raise isolation.ContainerError(f"its Python environment cannot be built: {error}") from error
        # The environment shall find this package, and nothing of what is installed beside it.
        library = self._folder / "library"
        library.mkdir(parents=True, exist_ok=True)
        link, package = library / "sagespark", Path(sagespark.__file__).parent
        with self._lock:
            if not link.exists() or link.resolve() != package.resolve():
                link.unlink(missing_ok=True)
                link.symlink_to(package)
        return placed(image, python, {"PYTHONPATH": str(library)})

    def run(self, spec: ContainerSpec, on_line: Callable[[str], None]) -> Container:
        """Start a container.

        Parameters
        ----------
        spec : ContainerSpec
            What to run.
        on_line : callable
            Takes each line of standard output and standard error, in order, on a thread of the container's own. The
            program waits while it runs: a slow receiver slows the program down and nothing piles up.

        Raises
        ------
        ContainerError
            If the kernel refuses a namespace or a mount. A program that is missing is no error here: it ends with
            exit code 127 and a line that says so, as a shell has it.
        """
        if spec.docker is not None:
            return self._run_docker(spec, on_line)
        isolated = self.isolated
        own_network = isolated and spec.port is not None
        port = spec.port
        if port is not None and not own_network:
            port = _free_port()
        self._folder.mkdir(parents=True, exist_ok=True)
        name = token()
        hosts = self._folder / f"hosts-{name}"
        hosts.write_text(_hosts(spec))
        scratch = isolation.make_scratch(self._folder / f"scratch-{name}")
        orders = {
            "isolated": isolated,
            "network": own_network,
            "join": spec.network.spaces if isolated and spec.network is not None else [],
            "opt_ml": str(spec.opt_ml.resolve()),
            "scratch": str(scratch.resolve()),
            "hosts": str(hosts.resolve()),
            "host": spec.host,
            "program": list(spec.program),
            "environment": _environment(spec, isolated, port),
            "folder": "/opt/ml" if isolated else str(spec.opt_ml.resolve()),
            "port": port or 0,
            "relay": self._relayed(spec) if own_network else None,
        }
        try:
            process, lifeline, listener = isolation.launch(orders, subprocess.PIPE, _START_SECONDS)
        except BaseException:
            isolation.remove_scratch(scratch)
            raise
        finally:
            hosts.unlink(missing_ok=True)
        record = orphans.record(self._folder, process.pid)
        bridge = None if listener is None or self._service is None else Relay(listener, self._service)

        def on_end() -> None:
            if bridge is not None:
                bridge.close()
            isolation.remove_scratch(scratch)
            record.unlink(missing_ok=True)

        return Container(process, lifeline, on_line, port, own_network, on_end)

    def _relayed(self, spec: ContainerSpec) -> tuple[str, int] | None:
        """Return where the container finds the service."""
        if not spec.reaches_service or self._service is None:
            return None
        if self._service[1] == spec.port:
            _log.warning(
                "The embedded service listens on port %d, which containers serve on: their AWS clients find "
                "nothing there; start the service on another --port",
                spec.port,
            )
            return None
        return self._service

    def _run_docker(self, spec: ContainerSpec, on_line: Callable[[str], None]) -> Container:
        """Start a container of Docker; what is launched and watched is ``docker run``."""
        assert spec.docker is not None  # asked by the caller
        self._folder.mkdir(parents=True, exist_ok=True)
        self._docker_mark.touch()
        name = f"sagespark-{token()}"
        port = None if spec.port is None else _free_port()
        program = docker.command(
            spec.docker,
            spec.program,
            name=name,
            folder=self._folder,
            opt_ml=spec.opt_ml.resolve(),
            environment=spec.environment,
            host=spec.host,
            hosts=spec.hosts,
            ports=None if port is None or spec.port is None else (port, spec.port),
            isolated=spec.alone,
        )
        orders = {
            "isolated": False,
            "network": False,
            "join": [],
            "program": program,
            "environment": dict(os.environ),
            "folder": str(spec.opt_ml.resolve()),
            "port": port or 0,
        }
        process, lifeline, _ = isolation.launch(orders, subprocess.PIPE, _START_SECONDS)
        record = orphans.record(self._folder, process.pid)

        def on_end() -> None:
            # The end of `docker run` is not always the container's.
            docker.remove(name)
            record.unlink(missing_ok=True)

        return Container(process, lifeline, on_line, port, own_network=False, on_end=on_end)


def _environment(spec: ContainerSpec, isolated: bool, port: int | None) -> dict[str, str]:
    environment = {"PATH": os.environ.get("PATH", os.defpath), "HOME": os.environ.get("HOME", "/")}
    environment |= spec.environment
    if port is not None:
        environment["SAGEMAKER_BIND_TO_PORT"] = str(port)
    if not isolated:
        environment["SAGEMAKER_BASE_DIR"] = str(spec.opt_ml.resolve())
        # There is no /etc/hosts of the container's own that could tell them.
        environment[HOSTS_VARIABLE] = json.dumps(dict(spec.hosts))
    return environment


def _hosts(spec: ContainerSpec) -> str:
    rows = ["127.0.0.1 localhost", "::1 localhost ip6-localhost ip6-loopback"]
    rows += [f"{address} {name}" for name, address in ({spec.host: "127.0.0.1"} | dict(spec.hosts)).items()]
    return "\n".join(rows) + "\n"


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
