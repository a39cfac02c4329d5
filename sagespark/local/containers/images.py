"""What an image URI stands for on this machine: programs, their environment and where they come from."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import sagespark
from sagespark.algorithms.frameworks import FRAMEWORKS, PROGRAM, PROGRAM_VARIABLE, FrameworkImage, image_of
from sagespark.algorithms.registry import ALGORITHMS, algorithm_of
from sagespark.algorithms.spec import AlgorithmSpec
from sagespark.local.containers import docker, own_images
from sagespark.local.containers.own_images import OwnImage, OwnImages
from sagespark.local.environments.pins import NoPinError, Pin, pin_for
from sagespark.local.scripts.layout import FRAMEWORK_VARIABLE, NOTE_VARIABLE


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
    framework: FrameworkImage | None = None
    """The framework whose image runs a script, None for other images."""
    pin: Pin | None = None
    """Environment that has to be there before the programs can run; None: they can."""
    own: bool = False
    """Whether a user's program serves: it may want to reach the service's S3, as any program with a role may."""


def resolve(uri: str, own: OwnImages | None = None) -> Image:
    """Return the image that ``uri`` names.

    Parameters
    ----------
    uri : str
        An image of one's own comes first, then the built-in algorithms', the frameworks', then what Docker has.
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
        framework = image_of(uri)
        return _from_docker(uri) if framework is None else _script(uri, framework)
    module = f"sagespark.local.containers.{algorithm.name.replace('-', '_')}"
    return Image(
        uri=uri,
        train=(sys.executable, "-m", f"{module}_train"),
        serve=(sys.executable, "-m", f"{module}_serve"),
        environment=_interpreter_environment(),
        algorithm=algorithm,
    )


def scripted(image: Image, names: Mapping[str, object]) -> Image:
    """Return the image as it runs a script, where hyperparameters or a model's environment name one, else as it is.

    AWS's image of XGBoost is both the built-in algorithm and the framework's.

    Raises
    ------
    UnknownImage
        If there is no environment for the framework's version.
    """
    if image.algorithm is None or not {PROGRAM, PROGRAM_VARIABLE} & set(names):
        return image
    framework = image_of(image.uri)
    return image if framework is None else _script(image.uri, framework)


def _script(uri: str, framework: FrameworkImage) -> Image:
    try:
        pin = pin_for(framework)
    except NoPinError as error:
        raise UnknownImage(str(error)) from error
    image = Image(uri, (), (), {}, framework=framework, pin=pin, own=True)
    ready = placed(image, Path(sys.executable), _interpreter_environment())
    # Until its environment is there nothing can be run; that there are both programs is known.
    return ready if pin is None else replace(ready, environment={}, pin=pin)


def placed(image: Image, python: Path, environment: Mapping[str, str]) -> Image:
    """Return a framework's image with the programs that an interpreter runs.

    Parameters
    ----------
    image : Image
        See ``framework``.
    python : Path
        Its environment's interpreter.
    environment : mapping
        What makes it find this package.
    """
    assert image.framework is not None  # the caller's
    path = os.pathsep.join([str(python.parent), os.environ.get("PATH", os.defpath)])
    found = {**environment, "PATH": path, "PYTHONUNBUFFERED": "1", FRAMEWORK_VARIABLE: image.framework.framework}
    if image.pin is not None and image.pin.note:
        found[NOTE_VARIABLE] = image.pin.note
    train, serve = ((str(python), "-m", f"sagespark.local.scripts.{name}") for name in own_images.PROGRAMS)
    return replace(image, train=train, serve=serve, environment=found, pin=None)


def entry(image: Image, program: tuple[str, ...]) -> tuple[str, ...]:
    """Return a program of the request's own (``ContainerEntrypoint``), with what it needs of a framework's image."""
    if image.framework is None:
        return program
    return (image.train[0], "-m", "sagespark.local.scripts.entry", *program)


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
            f"{', '.join(sorted(ALGORITHMS))} and scripts of {', '.join(FRAMEWORKS)} by AWS's URIs, names that "
            f"`sagespark local images add NAME FOLDER` has bound, and images that Docker has on this machine ({error})"
        ) from error
    return Image(uri, ("train",), ("serve",), {}, docker=uri, own=True)


def _interpreter_environment() -> dict[str, str]:
    """Return what makes a child interpreter find this package and its dependencies, wherever they are."""
    package = str(Path(sagespark.__file__).parents[1])
    inherited = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    path = dict.fromkeys(p for p in [package, *inherited] if p)
    return {"PYTHONPATH": os.pathsep.join(path), "PYTHONUNBUFFERED": "1", "PYTHONHASHSEED": "0"}
