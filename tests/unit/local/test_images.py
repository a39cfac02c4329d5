"""What an image URI stands for."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

import sagespark
from sagespark.algorithms import frameworks
from sagespark.algorithms.registry import ALGORITHMS, image_uri
from sagespark.local.containers.images import UnknownImage, entry, placed, resolve, scripted


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
    with pytest.raises(UnknownImage, match=f"no image '{uri}'; it runs the built-in .*kmeans.* images add NAME"):
        resolve(uri)


def script_image(framework: str, version: str) -> str:
    return frameworks.image_uri(framework, "us-east-1", version, "ml.m5.xlarge", "training")


def test_a_frameworks_image_waits_for_its_environment() -> None:
    image = resolve(script_image("tensorflow", "2.19.0"))
    assert image.pin is not None
    assert image.own
    assert (image.train, image.serve) != ((), ())
    ready = placed(image, Path("/cache/tf/bin/python"), {"PYTHONPATH": "/library"})
    assert ready.pin is None
    assert ready.train == ("/cache/tf/bin/python", "-m", "sagespark.local.scripts.train")
    assert ready.serve == ("/cache/tf/bin/python", "-m", "sagespark.local.scripts.serve")
    assert ready.environment["PATH"].split(os.pathsep)[0] == "/cache/tf/bin"
    assert ready.environment["SAGESPARK_FRAMEWORK"] == "tensorflow"
    assert ready.environment["PYTHONPATH"] == "/library"
    # A program of the request's own runs with a Python that it may install into.
    assert entry(ready, ("/bin/sh", "-c", "x"))[:3] == ("/cache/tf/bin/python", "-m", "sagespark.local.scripts.entry")


def test_the_services_own_environment_is_ready_at_once() -> None:
    from sagespark.local.environments.pins import _installed

    major, minor = _installed("scikit-learn")
    image = resolve(f"683313688378.dkr.ecr.us-east-1.amazonaws.com/sagemaker-scikit-learn:{major}.{minor}-0-cpu-py3")
    assert image.pin is None
    assert image.train[0] == sys.executable


def test_xgboosts_image_is_two_things() -> None:
    uri = script_image("xgboost", "3.2-0")
    image = resolve(uri)
    assert image.algorithm is not None
    assert scripted(image, {"max_depth": "3"}) is image
    for names in ({"sagemaker_program": "x"}, {"SAGEMAKER_PROGRAM": "x"}):
        script = scripted(image, names)
        assert script.algorithm is None
        assert script.framework == frameworks.FrameworkImage("xgboost", "3.2-0")
    # Other built-in algorithms run no scripts.
    kmeans = resolve(image_uri("kmeans", "us-east-1"))
    assert scripted(kmeans, {"sagemaker_program": "x"}) is kmeans


def test_a_version_without_environment_is_unknown() -> None:
    with pytest.raises(UnknownImage, match=r"no environment for tensorflow 2\.11\.0: scripts run on"):
        resolve(script_image("tensorflow", "2.11.0"))
