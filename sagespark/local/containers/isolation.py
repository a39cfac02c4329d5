"""Find out once whether this machine gives a container namespaces of its own, and say so."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

LAUNCHER = Path(__file__).with_name("launcher.py")
_log = logging.getLogger(__name__)
_PROBE_SECONDS = 20.0
PROBE = "probe-"
"""What the name of the probe's folder begins with."""
_PROOF = "isolation-probe"


class ContainerError(Exception):
    """A container could not be started; the message is the kernel's reason."""


def launch(
    orders: Mapping[str, Any], stdout: int, timeout: float
) -> tuple[subprocess.Popen[bytes], socket.socket, socket.socket | None]:
    """Start the launcher with its orders and wait until the program runs.

    Parameters
    ----------
    orders : mapping
        ``isolated``, ``network``, ``join`` (two descriptors, or none), ``opt_ml``, ``scratch``, ``hosts``
        (a file), ``host``, ``program``, ``environment``, ``folder`` (working folder), ``port`` and, optionally,
        ``relay``, as ``launcher.py`` reads them.
    stdout : int
        File descriptor, or one of ``subprocess``'s constants, that takes standard output and error.
    timeout : float
        Seconds until the program must have been started.

    Returns
    -------
    Popen, socket, socket or None
        The launcher, this end of the socket (closing it kills the container), and what listens inside for ``relay``.

    Raises
    ------
    ContainerError
        If a namespace or a mount is refused, or nothing answers in time.
    """
    process, ours, descriptors = _launch(orders, stdout, timeout, orders["join"])
    return process, ours, socket.socket(fileno=descriptors[0]) if descriptors else None


class Network:
    """A network of its own for the hosts of one job: they reach each other by loopback addresses, and nothing else.

    Raises
    ------
    ContainerError
        If the kernel refuses it.
    """

    def __init__(self, timeout: float) -> None:
        process, ours, self.spaces = _launch({"make_network": True}, subprocess.DEVNULL, timeout, ())
        ours.close()
        process.wait()

    def close(self) -> None:
        """Let it go once its last host has ended."""
        while self.spaces:
            os.close(self.spaces.pop())


def _launch(
    orders: Mapping[str, Any], stdout: int, timeout: float, pass_on: Sequence[int]
) -> tuple[subprocess.Popen[bytes], socket.socket, list[int]]:
    """Start the launcher; return it, this end of the socket, and the descriptors that it handed over."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        process = subprocess.Popen(
            [sys.executable, "-I", "-S", str(LAUNCHER), str(theirs.fileno())],
            stdin=subprocess.PIPE,
            stdout=stdout,
            stderr=subprocess.STDOUT,
            pass_fds=(theirs.fileno(), *pass_on),
            start_new_session=True,
            cwd="/",
        )
    try:
        assert process.stdin is not None  # asked for above
        with process.stdin as orders_pipe:
            orders_pipe.write(json.dumps(dict(orders)).encode())
        ours.settimeout(timeout)
        answer, descriptors, _, _ = socket.recv_fds(ours, 4096, 2)
        ours.settimeout(None)
        if not answer:
            raise ContainerError("the container's launcher ended before it started the program")
        reason = json.loads(answer).get("error")
        if reason:
            raise ContainerError(reason)
    except (OSError, ContainerError) as error:
        ours.close()
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()
        if isinstance(error, ContainerError):
            raise
        raise ContainerError(f"the container's launcher did not answer: {error}") from error
    return process, ours, descriptors


def make_scratch(folder: Path) -> Path:
    """Make the two folders that an overlay needs, and return their parent."""
    for name in ("upper", "work"):
        (folder / name).mkdir(parents=True)
    return folder


def remove_scratch(folder: Path) -> None:
    """Remove what :func:`make_scratch` made; the kernel leaves a folder in it that nobody may enter."""
    for place in folder.glob("work/*/work"):
        with contextlib.suppress(OSError):
            place.chmod(0o700)
    shutil.rmtree(folder, ignore_errors=True)


def probe(folder: Path | None = None) -> str | None:
    """Run a program in namespaces of its own; return None where that works, else the reason why not.

    Parameters
    ----------
    folder : Path or None
        Where it works; None: the folder of temporary files.
    """
    with tempfile.TemporaryDirectory(prefix=PROBE, dir=folder) as name:
        root = Path(name)
        (root / "ml").mkdir()
        (root / "ml" / _PROOF).touch()
        scratch = make_scratch(root / "scratch")
        hosts = root / "hosts"
        hosts.write_text("127.0.0.1 localhost\n")
        orders = {
            "isolated": True,
            "network": True,
            "join": [],
            "opt_ml": str(root / "ml"),
            "scratch": str(scratch),
            "hosts": str(hosts),
            "host": "probe",
            "program": ["test", "-e", f"/opt/ml/{_PROOF}"],
            "environment": {"PATH": "/usr/local/bin:/usr/bin:/bin"},
            "folder": "/opt/ml",
            "port": 8080,
        }
        try:
            process, lifeline, _ = launch(orders, subprocess.DEVNULL, _PROBE_SECONDS)
        except ContainerError as error:
            return str(error)
        with lifeline:
            code = process.wait(_PROBE_SECONDS)
        return None if code == 0 else f"a probe in namespaces of its own ended with exit code {code}"


def detect(folder: Path | None = None) -> bool:
    """Tell whether containers can be isolated; the log says it, loudly where they cannot. See :func:`probe`."""
    reason = probe(folder)
    if reason is None:
        _log.info("Containers run in user, mount, process and host-name namespaces of their own: /opt/ml is private")
        return True
    _log.warning(
        "USER NAMESPACES ARE OFF (%s). Containers are NOT isolated: they see this machine's files, processes and "
        "ports, and find their folders by SAGEMAKER_BASE_DIR instead of /opt/ml and their port by "
        "SAGEMAKER_BIND_TO_PORT. Programs that hard-code /opt/ml or port 8080 fail. Way out: allow unprivileged "
        "user namespaces (sysctl kernel.unprivileged_userns_clone=1, kernel.apparmor_restrict_unprivileged_userns=0, "
        "user.max_user_namespaces > 0).",
        reason,
    )
    return False
