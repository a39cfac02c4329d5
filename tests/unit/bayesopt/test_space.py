"""Ranges and spaces: every value lies where it should, comes back, and nothing else is let in."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sagespark.bayesopt import Categorical, Continuous, Integer, Space
from sagespark.core.errors import ValidationError

UNIT = st.floats(0, 1)


@st.composite
def continuous(draw: st.DrawFn) -> Continuous:
    scaling = draw(st.sampled_from(["Auto", "Linear", "Logarithmic", "ReverseLogarithmic"]))
    low, high = {
        "Logarithmic": (1e-8, 1e8),
        "ReverseLogarithmic": (0.0, 0.99999),
    }.get(scaling, (-1e6, 1e6))
    a, b = sorted(draw(st.lists(st.floats(low, high), min_size=2, max_size=2)))
    return Continuous(a, b, scaling=scaling)


@st.composite
def integers(draw: st.DrawFn) -> Integer:
    scaling = draw(st.sampled_from(["Auto", "Linear", "Logarithmic"]))
    low = 1 if scaling == "Logarithmic" else -1000
    a, b = sorted(draw(st.lists(st.integers(low, 5000), min_size=2, max_size=2)))
    return Integer(a, b, scaling=scaling)


CATEGORIES = st.lists(
    st.one_of(st.text(max_size=5), st.integers(-9, 9), st.booleans(), st.none()),
    min_size=1,
    max_size=8,
    unique_by=lambda v: (type(v).__name__, v),
)
categoricals = st.builds(Categorical, CATEGORIES)
spaces = st.dictionaries(
    st.text(min_size=1, max_size=6), st.one_of(continuous(), integers(), categoricals), min_size=1, max_size=5
).map(Space)


@given(continuous(), UNIT)
def test_a_continuous_value_comes_back(range_: Continuous, u: float) -> None:
    value = range_.from_unit(u)
    assert range_.check(value) == value
    assert range_.minValue <= value <= range_.maxValue
    back = range_.from_unit(range_.to_unit(value))
    assert math.isclose(back, value, rel_tol=1e-6, abs_tol=1e-9 * max(abs(range_.minValue), abs(range_.maxValue), 1))
    assert range_.from_unit(0.0) == range_.minValue
    assert range_.from_unit(1.0) == range_.maxValue or range_.size == 1


@given(integers(), UNIT)
def test_an_integer_owns_its_share(range_: Integer, u: float) -> None:
    value = range_.from_unit(u)
    assert isinstance(value, int)
    assert range_.check(value) == value
    assert range_.from_unit(range_.to_unit(value)) == value
    assert float(range_.snap(np.array([u]))[0]) == pytest.approx(range_.to_unit(value), abs=1e-12)
    assert 0 < range_.to_unit(range_.minValue) <= range_.to_unit(range_.maxValue) < 1


def test_integers_on_a_linear_scale_have_equal_shares() -> None:
    values = [Integer(2, 10).from_unit(u) for u in (np.arange(9000) + 0.5) / 9000]
    assert sorted(set(values)) == list(range(2, 11))
    assert set(np.bincount(values)[2:]) == {1000}


@given(categoricals, UNIT)
def test_a_category_comes_back_with_its_type(range_: Categorical, u: float) -> None:
    value = range_.from_unit(u)
    assert any(value is v or (value == v and type(value) is type(v)) for v in range_.values)
    again = range_.from_unit(range_.to_unit(value))
    assert again == value
    assert type(again) is type(value)


@settings(max_examples=60)
@given(spaces, st.data())
def test_a_configuration_is_a_point_and_survives_json(space: Space, data: st.DataObject) -> None:
    u = np.array(data.draw(st.lists(UNIT, min_size=len(space), max_size=len(space))))
    config = space.from_unit(u)
    assert config in space
    assert space.check(config) == config
    again = space.check(json.loads(json.dumps(config)))
    assert again == config
    assert space.key(again) == space.key(config)
    assert np.array_equal(space.to_unit(again), space.to_unit(config))
    snapped = space.snap(u[None])[0]
    assert np.allclose(snapped, space.to_unit(config), atol=1e-6)


@settings(max_examples=40)
@given(st.dictionaries(st.text(min_size=1, max_size=3), st.one_of(
    st.builds(lambda a, n: Integer(a, a + n), st.integers(-5, 5), st.integers(0, 4)),
    st.builds(lambda n: Categorical(list(range(n))), st.integers(1, 4)),
), min_size=1, max_size=3).map(Space))  # fmt: skip
def test_a_finite_space_lists_each_configuration_once(space: Space) -> None:
    configs = list(space.configs())
    assert len(configs) == space.size == len({space.key(c) for c in configs})
    assert all(c in space for c in configs)


@pytest.mark.parametrize(
    ("range_", "scale"),
    [
        (Continuous(1e-3, 1.0), "Logarithmic"),
        (Continuous(0.1, 1.0), "Linear"),
        (Continuous(0.0, 1.0), "Linear"),
        (Continuous(-1.0, 1000.0), "Linear"),
        (Continuous(0.5, 0.999), "ReverseLogarithmic"),
        (Continuous(0.001, 0.9999), "Logarithmic"),
        (Continuous(1e-3, 1.0, scaling="Linear"), "Linear"),
        (Integer(2, 10), "Linear"),
        (Integer(1, 1000), "Logarithmic"),
        (Integer(0, 1000), "Linear"),
    ],
)
def test_auto_takes_the_logarithm_of_what_spans_two_decades(range_: Any, scale: str) -> None:
    assert range_.scale == scale


def test_the_middle_of_a_scale_is_what_one_expects() -> None:
    assert Continuous(1e-4, 1.0, scaling="Logarithmic").from_unit(0.5) == pytest.approx(1e-2)
    assert Continuous(0.0, 0.9999, scaling="ReverseLogarithmic").from_unit(0.5) == pytest.approx(0.99)
    assert Continuous(-2.0, 4.0).from_unit(0.5) == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: Continuous(2, 1), "minValue <= maxValue must hold for finite numbers, but got minValue=2, maxValue=1"),
        (lambda: Continuous(0, float("inf")), "finite"),
        (lambda: Continuous(True, 2), "finite numbers"),
        (lambda: Continuous(0, 1, scaling="Logarithmic"), "needs minValue > 0"),
        (lambda: Continuous(0, 1, scaling="ReverseLogarithmic"), "maxValue < 1"),
        (lambda: Continuous(0, 1, scaling="log"), "scaling must be one of"),
        (lambda: Integer(1.5, 2), "integers"),
        (lambda: Integer(1, 5, scaling="ReverseLogarithmic"), "Continuous ranges only"),
        (lambda: Integer(0, 5, scaling="Logarithmic"), "needs minValue > 0"),
        (lambda: Categorical([]), "at least one category"),
        (lambda: Categorical("gbtree"), "list of at least one"),
        (lambda: Categorical(["a", "a"]), "occur once"),
        (lambda: Categorical([1, 1.0]), "occur once"),
        (lambda: Categorical([(1, 2)]), "must be a string"),
        (lambda: Space({}), "at least one parameter"),
        (lambda: Space({"x": (0, 1)}), "must be a Continuous, Integer or Categorical"),
    ],
)
def test_refusals_name_the_rule_and_the_value(make: Any, text: str) -> None:
    with pytest.raises(ValidationError) as caught:
        make()
    assert text in str(caught.value)


def test_booleans_and_numbers_are_different_categories() -> None:
    range_ = Categorical([True, 1, "1", None])
    assert [range_.position(v) for v in (True, 1, "1", None)] == [0, 1, 2, 3]
    assert range_.check(np.int64(1)) == 1


def test_all_that_is_wrong_in_a_configuration_is_said_at_once() -> None:
    space = Space({"eta": Continuous(0, 1), "max_depth": Integer(2, 10), "booster": Categorical(["gbtree", "dart"])})
    with pytest.raises(ValidationError) as caught:
        space.check({"eta": 2, "max_dept": 3, "booster": "tree"})
    text = str(caught.value)
    assert len(caught.value.problems) == 4
    assert "did you mean 'max_depth'?" in text
    assert "'eta' must be a number in [0, 1], but got 2" in text
    assert "'max_depth' is missing" in text
    assert "must be one of ['gbtree', 'dart'], but got 'tree'" in text


def test_grid_levels_hold_the_bounds() -> None:
    assert Continuous(1, 100, scaling="Logarithmic").levels(3) == [1, pytest.approx(10), 100]
    assert Integer(1, 10).levels(4) == [1, 4, 7, 10]
    assert Integer(1, 3).levels(10) == [1, 2, 3]
    assert Integer(1, 1024).levels(3) == [1, 32, 1024]
    assert Categorical(["a", "b"]).levels(1) == ["a", "b"]
    assert Continuous(0, 1).levels(1) == [0.5]


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: Integer(2**60, 2**60 + 3), "within 2\\*\\*52"),
        (lambda: Integer(0, 10**400), "finite numbers|integers"),
        (lambda: Continuous(10**400, 10**401), "finite numbers"),
        (lambda: Continuous(-1.7e308, 1.7e308), "maxValue - minValue must be finite"),
    ],
)
def test_ranges_that_floats_cannot_hold_are_refused(make: Any, text: str) -> None:
    with pytest.raises(ValidationError, match=text):
        make()


def test_categories_may_be_numpys_numbers_and_integers_of_any_size() -> None:
    numpys: list[Any] = [np.int64(2), np.float64(0.5), np.bool_(True)]
    assert Categorical(numpys).values == (2, 0.5, True)
    assert Categorical([10**400]).from_unit(0.5) == 10**400
