"""The built-in algorithms by name, and the container images that hold them."""

from __future__ import annotations

import json
import re
from functools import cache
from importlib import resources
from typing import Any

from sagespark.algorithms.factorization_machines import FACTORIZATION_MACHINES
from sagespark.algorithms.kmeans import KMEANS
from sagespark.algorithms.knn import KNN
from sagespark.algorithms.lda import LDA
from sagespark.algorithms.linear_learner import LINEAR_LEARNER
from sagespark.algorithms.pca import PCA
from sagespark.algorithms.random_cut_forest import RANDOM_CUT_FOREST
from sagespark.algorithms.spec import AlgorithmSpec
from sagespark.algorithms.xgboost import XGBOOST
from sagespark.core.errors import ValidationError

ALGORITHMS: dict[str, AlgorithmSpec] = {
    spec.name: spec
    for spec in (KMEANS, PCA, LDA, XGBOOST, RANDOM_CUT_FOREST, LINEAR_LEARNER, FACTORIZATION_MACHINES, KNN)
}
"""The algorithms whose rows are declared, by name."""

_IMAGE = re.compile(
    r"(?P<account>\d{12})\.dkr\.ecr(?:-fips)?\.(?P<region>[a-z0-9-]+)\.(?P<suffix>[a-z0-9.-]+)/"
    r"(?P<repository>[^:@]+)(?::(?P<tag>[^@]+))?"
)


@cache
def _images() -> dict[str, Any]:
    text = resources.files("sagespark.algorithms").joinpath("images.json").read_text(encoding="utf-8")
    table: dict[str, Any] = json.loads(text)
    return table


def image_uri(algorithm: str, region: str, version: str | None = None) -> str:
    """Return the URI of the algorithm's image in a region.

    Parameters
    ----------
    algorithm : str
        Name, such as ``kmeans``.
    region : str
        AWS region.
    version : str or None
        Tag; None: the spec's.

    Raises
    ------
    ValidationError
        If AWS publishes no image of it there; the message names the regions that have one.
    """
    spec = ALGORITHMS.get(algorithm)
    repository = (spec.repository if spec is not None else "") or algorithm
    accounts: dict[str, str] = _images()["registries"].get(repository, {})
    if region not in accounts:
        raise ValidationError(
            f"AWS publishes no image of {algorithm!r} in region {region!r}; "
            f"it does in {', '.join(sorted(accounts)) or 'none'}",
            "image_uri",
        )
    tag = version or ALGORITHMS[algorithm].version
    return f"{accounts[region]}.dkr.ecr.{region}.{host(region)}/{repository}:{tag}"


def host(region: str) -> str:
    """Return the domain of AWS's registries in a region."""
    return str(next((s for prefix, s in _images()["suffixes"].items() if region.startswith(prefix)), "amazonaws.com"))


def algorithm_of(image: str) -> AlgorithmSpec | None:
    """Return the built-in algorithm that an image URI names, or None where it is another image."""
    match = _IMAGE.fullmatch(image)
    if match is None:
        return None
    found = next((s for s in ALGORITHMS.values() if (s.repository or s.name) == match["repository"]), None)
    if found is None:
        return None
    return found if match["account"] in _images()["registries"][match["repository"]].values() else None
