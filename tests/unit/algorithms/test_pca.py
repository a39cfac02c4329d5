"""The row of PCA: AWS's values and no others."""

from __future__ import annotations

import re

import pytest

from sagespark.algorithms.pca import PCA

REQUIRED = {"feature_dim": "4", "num_components": "2", "mini_batch_size": "500"}


def test_defaults_are_aws_own() -> None:
    assert PCA.parse(REQUIRED) == {
        "feature_dim": 4,
        "num_components": 2,
        "mini_batch_size": 500,
        "algorithm_mode": "regular",
        "extra_components": -1,
        "subtract_mean": True,
    }


@pytest.mark.parametrize(
    ("wire", "value", "sent"),
    [
        ("num_components", 3, "3"),
        ("extra_components", -1, "-1"),
        ("extra_components", 0, "0"),
        ("subtract_mean", False, "False"),
        ("algorithm_mode", "randomized", "randomized"),
    ],
)
def test_values_become_wire_strings(wire: str, value: object, sent: str) -> None:
    assert PCA[wire].to_wire(PCA[wire].convert(value)) == sent


def test_the_documentations_spelling_of_booleans() -> None:
    assert PCA.parse(REQUIRED | {"subtract_mean": "false"})["subtract_mean"] is False


@pytest.mark.parametrize(
    ("wire", "value", "words"),
    [
        ("num_components", 0, "k (num_components) must be an integer >= 1, but got 0"),
        ("extra_components", -2, "extraComponents (extra_components) must be an integer >= -1"),
        ("algorithm_mode", "stable", "must be 'regular' or 'randomized', but got 'stable'"),
        ("algorithm_mode", "randomised", "did you mean 'randomized'?"),
    ],
)
def test_refusals(wire: str, value: object, words: str) -> None:
    with pytest.raises(ValueError, match=re.escape(words)):
        PCA[wire].convert(value)


@pytest.mark.parametrize("missing", REQUIRED)
def test_what_aws_requires(missing: str) -> None:
    with pytest.raises(ValueError, match=f"Required hyperparameter '{missing}' is missing"):
        PCA.parse({name: value for name, value in REQUIRED.items() if name != missing})
