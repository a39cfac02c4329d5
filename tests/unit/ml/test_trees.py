"""XGBoost's artifacts, read without XGBoost, against what XGBoost itself tells of them."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import xgboost
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.datasets import load_wine

from sagespark.codecs import ubjson
from sagespark.core.errors import CodecError, ValidationError
from sagespark.ml.trees import Trees, parse

X, Y = load_wine(return_X_y=True)
X = X.astype(np.float32)
X[::7, 3] = np.nan


def trained(**params: Any) -> xgboost.Booster:
    given = {"objective": "binary:logistic", "max_depth": 3, "nthread": 1, "seed": 1, **params}
    y = Y if str(given["objective"]).startswith("multi") else (Y == 1).astype(int)
    return xgboost.train(given, xgboost.DMatrix(X, y), 6)


@pytest.fixture(scope="module", params=["ubj", "json"])
def pair(request: pytest.FixtureRequest) -> tuple[Trees, xgboost.Booster]:
    booster = trained(objective="multi:softprob", num_class=3)
    return parse(bytes(booster.save_raw(request.param))), booster


def test_shape_and_importances(pair: tuple[Trees, xgboost.Booster]) -> None:
    trees, booster = pair
    assert (trees.objective, trees.numFeatures, trees.numClasses) == ("multi:softprob", 13, 3)
    assert len(trees.trees) == len(trees.weights) == 18
    gains = booster.get_score(importance_type="total_gain")
    expected = np.array([gains.get(f"f{i}", 0) for i in range(13)])
    np.testing.assert_allclose(trees.importances(), expected / expected.sum(), rtol=1e-6)
    assert trees.nodes() == sum(len(tree.splitlines()) for tree in booster.get_dump())


def test_leaves(pair: tuple[Trees, xgboost.Booster]) -> None:
    trees, booster = pair
    expected = booster.predict(xgboost.DMatrix(X), pred_leaf=True).reshape(len(X), -1)
    np.testing.assert_array_equal([trees.leaves(row) for row in X], expected)


def test_words(pair: tuple[Trees, xgboost.Booster]) -> None:
    words = pair[0].text()
    assert words.startswith("18 trees of the objective multi:softprob, 13 features\nTree 0:\n  0: if feature ")
    assert words.count("predict") == sum(tree.count("leaf=") for tree in pair[1].get_dump())


def test_dart_weighs_its_trees() -> None:
    booster = trained(booster="dart", rate_drop=0.5, one_drop=1)
    trees = parse(bytes(booster.save_raw("ubj")))
    document = json.loads(booster.save_raw("json"))
    expected = document["learner"]["gradient_booster"]["weight_drop"]
    np.testing.assert_allclose(trees.weights, expected, rtol=1e-6)
    assert (trees.weights < 1).any()
    assert len(trees.trees) == 6


def test_a_linear_model_has_no_trees() -> None:
    trees = parse(bytes(trained(booster="gblinear").save_raw("ubj")))
    assert (trees.trees, trees.nodes()) == ((), 0)
    for call in (trees.importances, trees.text, lambda: trees.leaves(X[0])):
        with pytest.raises(ValidationError, match="booster='gblinear'"):
            call()


def test_a_model_without_splits_has_no_importances() -> None:
    booster = xgboost.train({"max_depth": 2}, xgboost.DMatrix(X[:4], np.ones(4)), 1)
    assert parse(bytes(booster.save_raw("ubj"))).importances().tolist() == [0] * 13


@pytest.mark.parametrize(
    "body", [b"", b"binf", b"\x80\x04K\x01.", b"{}", b'{"learner": 3}', b"{L", b'{"learner": {"gradient_booster": {}}}']
)
def test_what_is_no_model_says_which_images_write_it(body: bytes) -> None:
    with pytest.raises(CodecError, match="not in XGBoost's JSON or UBJSON format, in which images from"):
        parse(body)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"[$Z#L\x7f\xff\xff\xff\xff\xff\xff\xff", "a container of the type b'Z' is not read"),
        (b"[$d#l\x7f\xff\xff\xff", "bytes are asked for"),
        (b"[$d", "must tell its number of members"),
        (b"[" * 70 + b"]" * 70, "more than 64 objects and arrays"),
        (b"SU\x02a", "2 bytes are asked for, but 1 are left"),
        (b"SU\x01\xff", "no UTF-8"),
        (b"Sd\x00\x00\x00\x00", "a length must be an integer"),
        (b"x", "the marker b'x' is unknown"),
        (b"i\x01i\x02", "2 bytes follow the value"),
        (b"", "1 bytes are asked for"),
        (b"SI\xff\xff", "-1 bytes are asked for"),
    ],
)
def test_hostile_ubjson_is_refused(body: bytes, words: str) -> None:
    with pytest.raises(CodecError, match=words):
        ubjson.load(body)


@given(st.binary(max_size=40))
@settings(max_examples=50, deadline=None)
def test_any_bytes_are_a_value_or_a_codec_error(body: bytes) -> None:
    for head in (b"", b"[", b"{"):
        try:
            ubjson.load(head + body)
        except CodecError:
            continue


def test_values() -> None:
    found = ubjson.load(b"{U\x01aTU\x01b[ZFCxI\x01\x00]U\x01c[$U#U\x02\x01\x02U\x01d{$i#U\x01U\x01e\xff}")
    assert found["a"] is True
    assert found["b"] == [None, False, "x", 256]
    assert found["c"].tolist() == [1, 2]
    assert found["d"] == {"e": -1}
