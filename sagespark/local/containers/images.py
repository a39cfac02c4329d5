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


class UnknownImage(Exception):  # noqa: N818 - reads as a finding, and callers turn it into AWS's own error
    """The image cannot be run here; the message tells why and what can."""


@dataclass(frozen=True)
class Image:
    """Programs of an image."""

    uri: str
    train: tuple[str, ...]
    """Program of ``docker run IMAGE train``."""
    serve: tuple[str, ...]
    """Program of ``docker run IMAGE serve``."""
    environment: Mapping[str, str]
    """What the image's own environment sets; the job's comes on top."""
    algorithm: AlgorithmSpec | None = None
    """The built-in algorithm, None for other images."""


def resolve(uri: str) -> Image:
    """Return the image that ``uri`` names.

    Raises
    ------
    UnknownImage
        If it is no built-in algorithm's.
    """
    algorithm = algorithm_of(uri)
    if algorithm is None:
        raise UnknownImage(
            f"the embedded service has no image {uri!r}; it runs the built-in algorithms "
            f"{', '.join(sorted(ALGORITHMS))} by the URIs that AWS publishes for them"
        )
    module = f"sagespark.local.containers.{algorithm.name.replace('-', '_')}"
    return Image(
        uri=uri,
        train=(sys.executable, "-m", f"{module}_train"),
        serve=(sys.executable, "-m", f"{module}_serve"),
        environment=_interpreter_environment(),
        algorithm=algorithm,
    )


def _interpreter_environment() -> dict[str, str]:
    """Return what makes a child interpreter find this package and its dependencies, wherever they are."""
    package = str(Path(sagespark.__file__).parents[1])
    inherited = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    path = dict.fromkeys(p for p in [package, *inherited] if p)
    return {"PYTHONPATH": os.pathsep.join(path), "PYTHONUNBUFFERED": "1", "PYTHONHASHSEED": "0"}
