"""Images of Docker, where its daemon runs on this machine: the same containers, started by ``docker run``.

Training shares this machine's network, so that the embedded service is reached at its own address; serving has a
network of Docker's with port 8080 published on loopback, since programs may insist on that port.
"""

from __future__ import annotations

import logging
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

LABEL = "sagespark.containers"
"""Label of every container; its value is the folder of the service's records."""
_TIMEOUT = 20.0
_log = logging.getLogger(__name__)


class DockerError(Exception):
    """Docker cannot be used, or does not have the image; the message tells why and the way out."""


def check(reference: str) -> None:
    """Raise where an image cannot be run.

    Parameters
    ----------
    reference : str
        Name of the image, as ``docker run`` takes it.

    Raises
    ------
    DockerError
        If there is no ``docker``, no daemon answers, or it does not have the image.
    """
    if shutil.which("docker") is None:
        raise DockerError("this machine has no `docker` command; install Docker, or bind the name to a folder instead")
    found = _docker("image", "inspect", "--format", "{{.Id}}", reference)
    if found.returncode == 0:
        return
    said = found.stderr.strip() or "no answer"
    if "No such image" in said or "not found" in said:
        raise DockerError(f"Docker does not have the image {reference!r}; run: docker pull {reference}")
    raise DockerError(f"Docker's daemon does not answer ({said}); start it, or bind the name to a folder instead")


def command(
    reference: str,
    program: tuple[str, ...],
    *,
    name: str,
    folder: Path,
    opt_ml: Path,
    environment: Mapping[str, str],
    host: str,
    hosts: Mapping[str, str],
    ports: tuple[int, int] | None,
    isolated: bool = False,
) -> list[str]:
    """Return the ``docker run`` of a container.

    Parameters
    ----------
    reference : str
        Name of the image.
    program : tuple of str
        What follows it: ``train`` or ``serve``, or a whole command line that replaces the image's own entry point.
    name : str
        Name of the container.
    folder : Path
        Folder of the service's records.
    opt_ml : Path
        Folder that becomes ``/opt/ml``.
    environment : mapping
        Its environment.
    host : str
        Host name.
    hosts : mapping
        Names of all the job's hosts and their loopback addresses.
    ports : tuple of int, or None
        For serving: port of this machine and port of the program. None: the machine's network is shared.
    isolated : bool
        Whether the container may reach nothing.
    """
    line = ["docker", "run", "--rm", "--init", "--name", name, "--label", f"{LABEL}={folder}"]
    line += ["--volume", f"{opt_ml}:/opt/ml", "--pull", "never"]
    if ports is not None:
        line += ["--publish", f"127.0.0.1:{ports[0]}:{ports[1]}", "--hostname", host]
    elif isolated:
        line += ["--network", "none", "--hostname", host]
    else:
        line += ["--network", "host"]
    for other, address in hosts.items():
        line += ["--add-host", f"{other}:{address}"]
    for key, value in environment.items():
        line += ["--env", f"{key}={value}"]
    if len(program) > 1:
        return [*line, "--entrypoint", program[0], reference, *program[1:]]
    return [*line, reference, *program]


def remove(name: str) -> None:
    """End a container, if it is still there."""
    _docker("rm", "--force", name)


def remove_all(folder: Path) -> None:
    """End every container that a former service on this folder left."""
    if shutil.which("docker") is None:
        return
    found = _docker("ps", "--all", "--quiet", "--filter", f"label={LABEL}={folder}")
    for name in found.stdout.split():
        _log.warning("Docker's container %s outlived its service and is removed", name)
        remove(name)


def _docker(*arguments: str) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(["docker", *arguments], capture_output=True, text=True, timeout=_TIMEOUT, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return subprocess.CompletedProcess(arguments, 1, "", str(error))
