"""The URIs of framework images are AWS's own, and are read back."""

from __future__ import annotations

import json
from importlib import metadata
from typing import Any

import pytest

from sagespark.algorithms.frameworks import FRAMEWORKS, FrameworkImage, image_of, image_uri, newest, numbers, versions
from sagespark.core.errors import ValidationError

REGION = "us-east-1"
M5 = "ml.m5.xlarge"
SCIKIT = "683313688378/"
INSTANCES = {"cpu": M5, "gpu": "ml.g5.xlarge"}


def aws(framework: str) -> dict[str, Any]:
    path = metadata.distribution("sagemaker-core").locate_file(f"sagemaker/core/image_uri_config/{framework}.json")
    table: dict[str, Any] = json.loads(path.read_text())  # type: ignore[attr-defined]  # a SimplePath is a Path here
    return table


@pytest.mark.parametrize("framework", FRAMEWORKS)
@pytest.mark.parametrize("scope", ["training", "inference"])
def test_every_image_is_in_awss_table(framework: str, scope: Any) -> None:
    table = aws(framework)[scope]
    checked = 0
    for version in versions(framework, scope):
        row = table["versions"][version]
        base = ""
        if framework == "huggingface":
            base = [name for name in row if name.startswith("pytorch")][-1]
            row = row[base]
        row = row.get("py3", row)
        for processor in table.get("processors") or row.get("processors") or ["cpu"]:
            uri = image_uri(framework, REGION, version, INSTANCES[processor], scope, base=base[7:] or None)
            assert uri.startswith(f"{row['registries'][REGION]}.dkr.ecr.us-east-1.amazonaws.com/{row['repository']}:")
            assert image_of(uri) == FrameworkImage(framework, version, base[7:])
            checked += 1
        # Every region, one processor.
        for region, account in row["registries"].items():
            assert image_uri(framework, region, version, INSTANCES[processor], scope, base=base[7:] or None).startswith(
                account
            )
    assert checked >= 6


@pytest.mark.parametrize(
    ("framework", "version", "instance", "scope", "uri"),
    [
        ("sklearn", "1.2-1", M5, "training", SCIKIT + "sagemaker-scikit-learn:1.2-1-cpu-py3"),
        ("sklearn", "1.4-2-py312", M5, "training", SCIKIT + "sagemaker-scikit-learn:1.4-2-py312-cpu-py3"),
        ("xgboost", "3.2-0", M5, "training", SCIKIT + "sagemaker-xgboost:3.2-0"),
        ("xgboost", "1.0-1", M5, "inference", SCIKIT + "sagemaker-xgboost:1.0-1-cpu-py3"),
        ("xgboost", "1.5-1", "ml.m6g.large", "inference", SCIKIT + "sagemaker-xgboost:1.5-1-arm64"),
        ("pytorch", "2.6", M5, "training", "763104351884/pytorch-training:2.6.0-cpu-py312"),
        ("pytorch", "2.6.0", "ml.g5.xlarge", "inference", "763104351884/pytorch-inference:2.6.0-gpu-py312"),
        ("tensorflow", "2.13.0", M5, "inference", "763104351884/tensorflow-inference:2.13.0-cpu"),
        ("mxnet", "1.9.0", M5, "training", "763104351884/mxnet-training:1.9.0-cpu-py38"),
        ("huggingface", "5.3.0", "ml.g5.xlarge", "training",
         "763104351884/huggingface-pytorch-training:2.9.0-transformers5.3.0-gpu-py312-cu130-ubuntu22.04"),
    ],
)  # fmt: skip
def test_tags_as_awss_sdk_writes_them(framework: str, version: str, instance: str, scope: Any, uri: str) -> None:
    account, _, rest = uri.partition("/")
    assert image_uri(framework, REGION, version, instance, scope) == f"{account}.dkr.ecr.{REGION}.amazonaws.com/{rest}"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("pytorch", REGION, "2.66", M5, "training"), "no pytorch image of version '2.66'.*did you mean '2.6'"),
        (("pytorch", "mars-north-1", "2.6", M5, "training"), "2.6.0 in region 'mars-north-1'; it does in af"),
        (("huggingface", REGION, "5.3.0", M5, "training"), "on gpu only, but ml.m5.xlarge has a cpu"),
        (("mxnet", REGION, "1.9.0", "ml.c7g.large", "inference"), "on ml.c7g.large .Graviton."),
        (("pytorch", REGION, "2.6", M5, "training", "py39"), "2.6.0 has py312, but pyVersion is 'py39'"),
        (("huggingface", REGION, "5.3.0", "ml.g5.xlarge", "training", None, "1.0"), "PyTorch '1.0'; it does with 2.9"),
    ],
)  # fmt: skip
def test_what_there_is_not_is_refused_with_what_there_is(arguments: Any, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        image_uri(*arguments)


def test_other_images_are_none() -> None:
    for uri in ("busybox", "382416733822.dkr.ecr.us-east-1.amazonaws.com/kmeans:1", "pytorch-training:2.6.0"):
        assert image_of(uri) is None
    # Short versions and mirrors, as other clients write them.
    mirror = "123456789012.dkr.ecr.eu-west-1.amazonaws.com/pytorch-training:2.6-cpu-py312"
    assert image_of(mirror) == FrameworkImage("pytorch", "2.6")
    assert numbers("1.4-2-py312") == (1, 4)
    assert FrameworkImage("sklearn", "1.9-0").library == (1, 9)


def test_the_newest_version_serves_too() -> None:
    for framework in FRAMEWORKS:
        if framework != "huggingface":
            assert newest(framework) in versions(framework, "inference")
    assert newest("pytorch", hosted=False) == versions("pytorch", "training")[-1]
