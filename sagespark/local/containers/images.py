"""What an image URI stands for on this machine: programs, their environment and where they come from."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import sagespark
from sagespark.algorithms.registry import ALGORITHMS, algorithm_of
from sagespark.algorithms.spec import AlgorithmSpec
from sagespark.local.containers import docker, own_images
from sagespark.local.containers.own_images import OwnImage, OwnImages


class UnknownImage(Exception):  # noqa: N818 - reads as a finding, and callers turn it into AWS's own error
    """The image cannot be run here; the message tells why and what can."""


@dataclass(frozen=True)
class Image:
    """Programs of an image."""

    uri: str
    train: tuple[str, ...]
    """Program of ``docker run IMAGE train``; empty: it has none."""
    serve: tuple[str, ...]
    """Program of ``docker run IMAGE serve``; empty: it has none."""
    environment: Mapping[str, str]
    """What the image's own environment sets; the job's comes on top."""
    algorithm: AlgorithmSpec | None = None
    """The built-in algorithm, None for other images."""
    docker: str | None = None
    """Name of an image that Docker runs; None: the programs are this machine's own."""
    own: bool = False
    """Whether the user brought it: its programs may want to reach the service's S3 while they serve."""


def resolve(uri: str, own: OwnImages | None = None) -> Image:
    """Return the image that ``uri`` names.

    Parameters
    ----------
    uri : str
        An image of one's own comes first, then the built-in algorithms', then what Docker has on this machine.
    own : OwnImages or None
        The images of one's own.

    Raises
    ------
    UnknownImage
        If it is none of them, or its programs are not to be run; the message tells why.
    """
    bound = own.find(uri) if own is not None else None
    if bound is not None:
        return _own(uri, bound)
    algorithm = algorithm_of(uri)
    if algorithm is None:
        return _from_docker(uri)
    module = f"sagespark.local.containers.{algorithm.name.replace('-', '_')}"
    return Image(
        uri=uri,
        train=(sys.executable, "-m", f"{module}_train"),
        serve=(sys.executable, "-m", f"{module}_serve"),
        environment=_interpreter_environment(),
        algorithm=algorithm,
    )


def _own(uri: str, bound: OwnImage) -> Image:
    if bound.docker is not None:
        try:
            docker.check(bound.docker)
        except docker.DockerError as error:
            raise UnknownImage(f"{bound.name!r} stands for an image of Docker: {error}") from error
        return Image(uri, ("train",), ("serve",), {}, docker=bound.docker, own=True)
    assert bound.folder is not None  # one of the two
    found = own_images.problems(bound.folder)
    if found:
        raise UnknownImage(f"{bound.name!r} stands for the folder {bound.folder}: {'; '.join(found)}")
    programs = own_images.programs(bound.folder)
    train, serve = ((str(programs[name]),) if name in programs else () for name in own_images.PROGRAMS)
    # The programs find each other, and what lies beside them, by name, as on the PATH of an image.
    path = os.pathsep.join([str(bound.folder), os.environ.get("PATH", os.defpath)])
    return Image(uri, train, serve, {"PATH": path}, own=True)


def _from_docker(uri: str) -> Image:
    try:
        docker.check(uri)
    except docker.DockerError as error:
        raise UnknownImage(
            f"the embedded service has no image {uri!r}; it runs the built-in algorithms "
            f"{', '.join(sorted(ALGORITHMS))} by the URIs that AWS publishes for them, names that "
            f"`sagespark local images add NAME FOLDER` has bound, and images that Docker has on this machine ({error})"
        ) from error
    return Image(uri, ("train",), ("serve",), {}, docker=uri, own=True)


def _interpreter_environment() -> dict[str, str]:
    """Return what makes a child interpreter find this package and its dependencies, wherever they are."""
    package = str(Path(sagespark.__file__).parents[1])
    inherited = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    path = dict.fromkeys(p for p in [package, *inherited] if p)
    return {"PYTHONPATH": os.pathsep.join(path), "PYTHONUNBUFFERED": "1", "PYTHONHASHSEED": "0"}
