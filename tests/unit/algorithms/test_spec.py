"""The rows convert, refuse and suggest; the image table is AWS's own."""

from __future__ import annotations

import json
import re
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sagespark.algorithms.kmeans import KMEANS
from sagespark.algorithms.registry import ALGORITHMS, algorithm_of, image_uri
from sagespark.algorithms.spec import Hyperparameter, Range, camel_case
from sagespark.core.errors import ValidationError


@pytest.mark.parametrize("spec", ALGORITHMS.values(), ids=lambda s: s.name)
def test_rows_are_consistent(spec) -> None:
    wires = [h.wire for h in spec.hyperparameters]
    assert len(set(wires)) == len(wires)
    assert len({h.name for h in spec.params}) == len(spec.params)
    for group in spec.groups:
        assert set(group.members) <= set(wires)
    for h in spec.hyperparameters:
        if h.default is not None:
            assert h.convert(h.default) == h.default
            assert h.from_wire(h.to_wire(h.default)) == h.default
        if h.tunable:
            for value in (h.tunable.low, h.tunable.high):
                if value is not None:
                    h.convert(value)
            for text in h.tunable.values:
                assert h.to_wire(h.from_wire(text)) == text
    for metric in spec.metrics:
        assert re.compile(metric.regex).groups == 1
        assert len(metric.regex) <= 500
    assert spec.sources


@pytest.mark.parametrize(
    ("wire", "value", "sent"),
    [
        ("k", 10, "10"),
        ("k", 10.0, "10"),
        ("k", np.int64(10), "10"),
        ("local_lloyd_tol", 1e-4, "0.0001"),
        ("local_lloyd_tol", 0, "0.0"),
        ("local_lloyd_num_trials", "auto", "auto"),
        ("local_lloyd_num_trials", 3, "3"),
        ("local_lloyd_init_method", "k-means||", "kmeans++"),
        ("init_method", "random", "random"),
        ("eval_metrics", ["msd", "ssd"], '["msd","ssd"]'),
        ("eval_metrics", ("ssd",), '["ssd"]'),
        ("force_dense", True, "True"),
        ("half_life_time_size", 0, "0"),
        ("extra_center_factor", "auto", "auto"),
    ],
)
def test_values_become_wire_strings(wire: str, value: object, sent: str) -> None:
    h = KMEANS[wire]
    assert h.to_wire(h.convert(value)) == sent
    assert h.from_wire(sent) == h.convert(value)


@pytest.mark.parametrize(
    ("wire", "value", "error", "words"),
    [
        ("k", 1, ValueError, "k must be an integer >= 2, but got 1"),
        ("k", 2.5, TypeError, "got 2.5"),
        ("k", "ten", TypeError, "got 'ten'"),
        ("k", True, TypeError, "got True"),
        ("k", None, TypeError, "got None"),
        ("local_lloyd_tol", 1.5, ValueError, "tol (local_lloyd_tol) must be a number in [0, 1], but got 1.5"),
        ("local_lloyd_tol", float("nan"), ValueError, "got nan"),
        ("init_method", "kmean++", ValueError, "did you mean 'kmeans++'?"),
        ("init_method", 3, TypeError, "must be 'random' or 'kmeans++'"),
        ("local_lloyd_num_trials", "aut", ValueError, "did you mean 'auto'?"),
        ("local_lloyd_num_trials", 0, ValueError, "'auto' or an integer >= 1"),
        ("eval_metrics", ["mse"], ValueError, "a list of 'msd' and/or 'ssd'"),
        ("eval_metrics", [], ValueError, "got []"),
        ("eval_metrics", "msd", TypeError, "got 'msd'"),
        ("force_dense", "yes", TypeError, "True or False"),
    ],
)
def test_refusals_name_rule_and_value(wire: str, value: object, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=re.escape(words)):
        KMEANS[wire].convert(value)


def test_the_service_side_reports_all_problems() -> None:
    with pytest.raises(ValueError) as caught:
        KMEANS.parse({"k": "1", "epoch": "3", "local_lloyd_tol": "x"})
    text = str(caught.value)
    assert "Unknown hyperparameter 'epoch' (did you mean 'epochs'?)" in text
    assert "k must be an integer >= 2" in text
    assert "local_lloyd_tol" in text
    assert "Required hyperparameter 'feature_dim' is missing" in text


def test_the_service_side_fills_defaults() -> None:
    values = KMEANS.parse({"k": "3", "feature_dim": "4", "force_dense": "true"})
    assert values["k"] == 3
    assert values["force_dense"] is True
    assert values["local_lloyd_max_iter"] == 300
    assert values["extra_center_factor"] == "auto"


def test_spellings_and_suggestions() -> None:
    names = KMEANS.names()
    assert names["maxIter"] == names["localLloydMaxIter"] == names["local_lloyd_max_iter"] == "local_lloyd_max_iter"
    assert camel_case("half_life_time_size") == "halfLifeTimeSize"
    assert KMEANS.suggest("maxIters") == "maxIter"
    assert KMEANS.suggest("initmode") == "initMode"
    assert KMEANS.suggest("zzz") is None
    with pytest.raises(KeyError):
        KMEANS["no_such"]


@given(st.floats(allow_nan=False), st.booleans(), st.booleans())
def test_ranges_agree_with_comparison(value: float, low_open: bool, high_open: bool) -> None:
    inside = Range(-1, 2, low_open, high_open)
    expected = (value > -1 or (value == -1 and not low_open)) and (value < 2 or (value == 2 and not high_open))
    assert (value in inside) == expected


@pytest.mark.parametrize(
    ("bounds", "words"),
    [
        (Range(), "any number"),
        (Range(1), ">= 1"),
        (Range(0, low_open=True), "> 0"),
        (Range(high=3), "<= 3"),
        (Range(high=3, high_open=True), "< 3"),
        (Range(0, 1, True, False), "in (0, 1]"),
    ],
)
def test_ranges_in_words(bounds: Range, words: str) -> None:
    assert str(bounds) == words


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_floats_survive_the_wire(value: float) -> None:
    h = Hyperparameter("x", "float", "Anything.")
    assert h.from_wire(h.to_wire(value)) == value


@pytest.mark.parametrize("algorithm", sorted(ALGORITHMS))
def test_the_image_table_is_awss_own(algorithm: str) -> None:
    path = metadata.distribution("sagemaker-core").locate_file(f"sagemaker/core/image_uri_config/{algorithm}.json")
    table = json.loads(Path(str(path)).read_text())
    version = ALGORITHMS[algorithm].version
    theirs = table.get("training", table)["versions"][version]
    for region, account in theirs["registries"].items():
        uri = image_uri(algorithm, region)
        assert uri.startswith(f"{account}.dkr.ecr.{region}.")
        assert uri.endswith(f"/{theirs['repository']}:{version}")
        assert algorithm_of(uri) is ALGORITHMS[algorithm]


@pytest.mark.parametrize(
    ("region", "host"),
    [
        ("us-east-1", "amazonaws.com"),
        ("cn-north-1", "amazonaws.com.cn"),
        ("us-gov-west-1", "amazonaws.com"),
        ("us-iso-east-1", "c2s.ic.gov"),
        ("us-isob-east-1", "sc2s.sgov.gov"),
    ],
)
def test_image_hosts_by_partition(region: str, host: str) -> None:
    assert f".dkr.ecr.{region}.{host}/kmeans:1" in image_uri("kmeans", region)


def test_a_region_without_an_image_is_refused() -> None:
    with pytest.raises(ValidationError, match="us-east-1"):
        image_uri("kmeans", "mars-north-1")


@pytest.mark.parametrize(
    "uri",
    [
        "123456789012.dkr.ecr.us-east-1.amazonaws.com/kmeans:1",
        "kmeans:1",
        "382416733822.dkr.ecr.us-east-1.amazonaws.com/mine:1",
    ],
)
def test_other_images_are_not_built_in(uri: str) -> None:
    assert algorithm_of(uri) is None
