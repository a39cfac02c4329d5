"""The frameworks whose images run a user's script, and the URIs that AWS publishes for them.

The table is ``framework_images.json``: AWS's own image tables (``image_uri_config`` of ``sagemaker-core``), without
accelerators that only one framework had and without Python 2. How a tag is put together: ``image_uris.retrieve`` there.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from importlib import resources
from typing import Any, Literal

from sagespark.algorithms.registry import host
from sagespark.core.errors import ValidationError

FRAMEWORKS = ("sklearn", "xgboost", "pytorch", "tensorflow", "mxnet", "huggingface")
"""Frameworks by AWS's names."""
Scope = Literal["training", "inference"]
PROGRAM = "sagemaker_program"
"""Hyperparameter that makes an image run a script: its name, as JSON."""
PROGRAM_VARIABLE = "SAGEMAKER_PROGRAM"
"""Environment variable of a model that does the same for serving."""
# Families of Graviton carry a g behind the generation: c7g, m6gd, r8g.
_GRAVITON = re.compile(r"ml\.[a-z]\d+g[a-z]*\.")
_URI = re.compile(r"\d{12}\.dkr\.ecr(?:-fips)?\.[a-z0-9-]+\.[a-z0-9.-]+/(?P<repository>[^:@]+):(?P<tag>[^@]+)")


@dataclass(frozen=True)
class FrameworkImage:
    """What the URI of a framework's image says."""

    framework: str
    version: str
    """Version as AWS writes it: ``2.6.0``, and ``1.9-0`` where the image has a number of its own."""
    base: str = ""
    """For ``huggingface``: the version of the framework below it, such as ``2.6.0``."""

    @property
    def library(self) -> tuple[int, ...]:
        """Version of the library, as numbers: (2, 6, 0)."""
        return numbers(self.version)


def numbers(version: str) -> tuple[int, ...]:
    """Return a version's numbers, without what follows a dash: ``1.4-2`` is (1, 4)."""
    return tuple(int(part) for part in re.findall(r"\d+", version.partition("-")[0]))


@cache
def _table() -> dict[str, Any]:
    text = resources.files("sagespark.algorithms").joinpath("framework_images.json").read_text(encoding="utf-8")
    table: dict[str, Any] = json.loads(text)
    return table


@cache
def _repositories() -> dict[str, str]:
    """Return the frameworks by the repositories of their images."""
    found = {}
    for framework, scopes in _table()["images"].items():
        for scope in scopes.values():
            for row in scope["versions"].values():
                for image in row.get("bases", {"": row}).values():
                    found[image["repository"]] = framework
    return found


def versions(framework: str, scope: Scope) -> tuple[str, ...]:
    """Return the versions with an image, oldest first."""
    return tuple(_table()["images"][framework][scope]["versions"])


def newest(framework: str, hosted: bool = True) -> str:
    """Return the newest version that trains and, where asked, serves."""
    found = versions(framework, "training")
    serving = set(versions(framework, "inference"))
    return next(v for v in reversed(found) if not hosted or v in serving)


def image_uri(
    framework: str,
    region: str,
    version: str,
    instance_type: str,
    scope: Scope,
    py_version: str | None = None,
    base: str | None = None,
) -> str:
    """Return the URI of a framework's image.

    Parameters
    ----------
    framework : str
        One of :data:`FRAMEWORKS`.
    region : str
        AWS region.
    version : str
        Full (``2.6.0``) or short (``2.6``).
    instance_type : str
        Tells an image for CPUs, GPUs or Graviton.
    scope : {'training', 'inference'}
        What it is for.
    py_version : str or None
        Such as ``py312``; None where the version has only one.
    base : str or None
        For ``huggingface``: version of PyTorch; None where there is only one.

    Raises
    ------
    ValidationError
        If AWS publishes no such image; the message names what there is.
    """
    scopes = _table()["images"][framework]
    kind: str = scope
    if _GRAVITON.match(instance_type):
        if scope == "training" or "graviton" not in scopes:
            raise _error(f"AWS publishes no {framework} image for {scope} on {instance_type} (Graviton)")
        kind = "graviton"
    entry = scopes[kind]
    full = entry["aliases"].get(version, version)
    if full not in entry["versions"]:
        known = [*entry["versions"]]
        near = get_close_matches(version, known + list(entry["aliases"]), n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        there = ", ".join(known)
        raise _error(f"AWS publishes no {framework} image of version {version!r} for {scope}; it does of {there}{hint}")
    row, prefix = entry["versions"][full], full
    if "bases" in row:
        base = _base(framework, full, row, base)
        row, prefix = row["bases"][f"pytorch{base}"], f"{base}-transformers{full}"
    processor = _processor(framework, instance_type, entry["processors"] or row.get("processors"), scope)
    python = _python(framework, full, row.get("py"), py_version)
    container = row.get("container", {}).get(processor)
    if row["repository"] == f"{framework}-inference-graviton":
        container = f"{container}-sagemaker"
    tag = "-".join(part for part in (row.get("tag", prefix), processor, python, container) if part)
    if kind == "graviton" and framework in ("xgboost", "sklearn"):
        tag = tag.replace(full, f"{full}-arm64", 1)
    accounts: dict[str, str] = _table()["accounts"][row["accounts"]]
    if region not in accounts:
        raise _error(
            f"AWS publishes no {framework} image of version {full} in region {region!r}; it does in "
            f"{', '.join(sorted(accounts))}"
        )
    return f"{accounts[region]}.dkr.ecr.{region}.{host(region)}/{row['repository']}:{tag}"


def image_of(uri: str) -> FrameworkImage | None:
    """Return what a framework's image URI says, or None where it is another image.

    Whose registry it is doesn't matter: people mirror AWS's images into their own.
    """
    match = _URI.fullmatch(uri)
    framework = _repositories().get(match["repository"]) if match is not None else None
    if match is None or framework is None:
        return None
    tag = match["tag"]
    if framework == "huggingface":
        found = re.match(r"(?P<base>[\d.]+)-transformers(?P<version>[\d.]+)", tag)
        return FrameworkImage(framework, found["version"], found["base"]) if found is not None else None
    # The images of scikit-learn and XGBoost have a number of their own behind a dash: 1.9-0-cpu-py3.
    own = framework in ("sklearn", "xgboost")
    found = re.match(r"[\d.]+-\d+(?:-py\d+(?=-cpu))?" if own else r"[\d.]+", tag) or re.match(r"[\d.]+", tag)
    return FrameworkImage(framework, found[0]) if found is not None else None


def _base(framework: str, version: str, row: dict[str, Any], base: str | None) -> str:
    known = [name.removeprefix("pytorch") for name in row["bases"] if name.startswith("pytorch")]
    if base is None and known:
        return str(known[-1])
    full = row["aliases"].get(f"pytorch{base}", f"pytorch{base}").removeprefix("pytorch")
    if full not in known:
        raise _error(
            f"AWS publishes no {framework} image of version {version} with PyTorch {base!r}; it does with "
            f"{', '.join(known) or 'none'}"
        )
    return str(full)


def _processor(framework: str, instance_type: str, known: list[str] | None, scope: str) -> str | None:
    if not known:
        return None
    family = instance_type.removeprefix("ml.").partition(".")[0]
    found = "gpu" if re.match(r"(g|p)\d", family) else "cpu"
    if found not in known:
        raise _error(
            f"AWS publishes {framework} images for {scope} on {' and '.join(known)} only, but {instance_type} has a "
            f"{found}; choose an instance type such as "
            f"{'ml.g5.xlarge' if 'gpu' in known else 'ml.m5.xlarge'}"
        )
    return found


def _python(framework: str, version: str, known: list[str] | None, asked: str | None) -> str | None:
    if not known:
        return None
    if asked is None:
        return known[-1]
    if asked not in known:
        raise _error(f"the {framework} image of version {version} has {' or '.join(known)}, but pyVersion is {asked!r}")
    return asked


def _error(text: str) -> ValidationError:
    return ValidationError(text, "image_uri")
