"""What an image URI stands for."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

import sagespark
from sagespark.algorithms.registry import ALGORITHMS, image_uri
from sagespark.local.containers.images import UnknownImage, resolve


@pytest.mark.parametrize("algorithm", sorted(ALGORITHMS))
def test_a_built_in_algorithm_has_both_programs(algorithm: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", f"/extra{os.pathsep}/more")
    image = resolve(image_uri(algorithm, "eu-west-1"))
    assert image.algorithm is ALGORITHMS[algorithm]
    for program in (image.train, image.serve):
        module = program[-1]
        assert (Path(sagespark.__file__).parents[1] / Path(*module.split("."))).with_suffix(".py").exists()
    own = str(Path(sagespark.__file__).parents[1])
    assert image.environment["PYTHONPATH"].split(os.pathsep) == [own, "/extra", "/more"]


@pytest.mark.parametrize("uri", ["busybox", "123456789012.dkr.ecr.eu-west-1.amazonaws.com/kmeans:1"])
def test_any_other_image_is_refused_with_what_there_is(uri: str) -> None:
    with pytest.raises(UnknownImage, match=f"no image '{uri}'; it runs the built-in algorithms .*kmeans"):
        resolve(uri)
