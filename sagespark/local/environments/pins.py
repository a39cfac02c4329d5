"""What each framework's environment holds: the declared pins.

An image of AWS names a version of its framework and a Python; here the environment is of this machine's Python. A pin
says for which versions of the images it stands, and exactly what is installed. Where it stands for versions that it is
not itself, the job's log says so.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata

from sagespark.algorithms.frameworks import FrameworkImage

CLIENT = "boto3>=1.35,<2"
"""What every environment has beside its framework: AWS's images have it, and scripts use it."""
OWN_PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"
"""This machine's Python, such as ``3.11``."""


class NoPinError(Exception):
    """No environment can stand for an image; the message tells why and what can."""


@dataclass(frozen=True)
class Pin:
    """One environment."""

    framework: str
    version: str
    """Version of the framework that is installed."""
    requirements: tuple[str, ...]
    """What pip installs."""
    module: str
    """What is imported to see that it works."""
    note: str = ""
    """What the job's log says where this is not just what the image has."""

    @property
    def key(self) -> str:
        """Name of its folder: another one for each content and Python."""
        text = json.dumps([self.requirements, sys.version_info[:3], sys.platform])
        digest = hashlib.sha256(text.encode()).hexdigest()[:10]
        return f"{self.framework}-{self.version}-py{OWN_PYTHON}-{digest}"


def pin_for(image: FrameworkImage) -> Pin | None:
    """Return the environment that stands for an image; None: the service's own has just what the image has.

    Raises
    ------
    NoPinError
        If there is none for this version.
    """
    return _RULES[image.framework](image)


def _installed(distribution: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in metadata.version(distribution).split(".")[:2])
    except (metadata.PackageNotFoundError, ValueError):
        return ()


def _sklearn(image: FrameworkImage) -> Pin | None:
    library = image.library[:2]
    if library == _installed("scikit-learn"):
        return None
    if library < (1, 2):
        raise _too_old(image, "scikit-learn has wheels for it since 1.2")
    short = ".".join(map(str, library))
    # scikit-learn before 1.4.2 was built for numpy 1.
    more = ("numpy<2", "scipy<1.14") if library < (1, 5) else ()
    return _pin(image, short, (f"scikit-learn=={short}.*", "pandas<3", *more), "sklearn")


def _xgboost(image: FrameworkImage) -> Pin | None:
    library = image.library[:2]
    if library == _installed("xgboost-cpu"):
        return None
    short = ".".join(map(str, library))
    if library >= (3, 0):
        return _pin(image, short, (f"xgboost-cpu=={short}.*", "scikit-learn<1.8", "pandas<3"), "xgboost")
    if library < (1, 2):
        raise _too_old(image, "the oldest XGBoost that works with it is 1.2")
    return _pin(
        image, short, (f"xgboost=={short}.*", "numpy<2", "scipy<1.14", "scikit-learn<1.3", "pandas<3"), "xgboost"
    )


def _pytorch(image: FrameworkImage) -> Pin:
    return _torch(image, image.library, ())


def _huggingface(image: FrameworkImage) -> Pin:
    if image.library < (4, 26):
        raise _too_old(image, "transformers works with it since 4.26")
    base = tuple(map(int, image.base.split(".")))
    return _torch(image, base, (f"transformers=={image.version}", "datasets", "accelerate"))


def _torch(image: FrameworkImage, library: tuple[int, ...], more: tuple[str, ...]) -> Pin:
    if library < (2, 0):
        raise _too_old(image, "PyTorch 1 has no build for it that works with today's numpy")
    return Pin(
        image.framework,
        image.version if more else TORCH,
        (f"torch=={TORCH}", "numpy", *more, CLIENT),
        "torch",
        f"PyTorch {TORCH} stands for {'.'.join(map(str, library))}: each release takes up to 3 GB where pip finds no "
        "build for CPUs, so there is one for all images of PyTorch 2",
    )


def _tensorflow(image: FrameworkImage) -> Pin:
    library = image.library
    if library < (2, 12):
        raise _too_old(image, "TensorFlow has wheels for it since 2.12")
    short = ".".join(map(str, library[:2]))
    return _pin(image, short, (f"tensorflow-cpu=={short}.*",), "tensorflow")


def _mxnet(image: FrameworkImage) -> Pin:
    if image.library < (1, 6):
        raise _too_old(image, "MXNet 1.9.1 stands for 1.6 and newer")
    # MXNet is retired: 1.9.1 uses names that numpy dropped in 1.24, and dots out of later ones crash.
    return Pin(
        "mxnet",
        "1.9.1",
        ("mxnet==1.9.1", "numpy==1.23.5", CLIENT),
        "mxnet",
        f"MXNet 1.9.1, the last release, stands for {image.version}",
    )


def _pin(image: FrameworkImage, short: str, requirements: tuple[str, ...], module: str) -> Pin:
    return Pin(image.framework, short, (*requirements, CLIENT), module)


def _too_old(image: FrameworkImage, why: str) -> NoPinError:
    return NoPinError(
        f"the embedded service has no environment for {image.framework} {image.version}: scripts run on this machine's "
        f"Python {OWN_PYTHON}, and {why}; choose a newer version, or bind the image to programs or a Docker image of "
        "your own by `sagespark local images add`"
    )


TORCH = "2.13.0"
"""The release of PyTorch that stands for every image of PyTorch 2."""
_RULES: dict[str, Callable[[FrameworkImage], Pin | None]] = {
    "sklearn": _sklearn,
    "xgboost": _xgboost,
    "pytorch": _pytorch,
    "tensorflow": _tensorflow,
    "mxnet": _mxnet,
    "huggingface": _huggingface,
}
