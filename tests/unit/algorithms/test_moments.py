"""Moments of rows in batches are those of all rows, whatever their kind."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sagespark.algorithms.moments import Moments
from sagespark.codecs.matrix import Mixed
from support.programs import as_csr


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 40), st.integers(1, 5), st.integers(1, 17), st.integers(0, 1000))
def test_batches_of_any_kind_give_the_moments_of_all_rows(n: int, width: int, step: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    rows = (random.normal(3, 2, (n, width)) * (random.random((n, width)) < 0.6)).astype(np.float32)
    found = Moments(width)
    for number, start in enumerate(range(0, n, step)):
        part = rows[start : start + step]
        is_sparse = random.random(len(part)) < 0.5
        kinds = (part, as_csr(part), Mixed(is_sparse, part[~is_sparse], as_csr(part[is_sparse])))
        found.add(kinds[number % 3])
    exact = rows.astype(np.float64)
    mean = exact.mean(axis=0) if n else np.zeros(width)
    assert found.count == n
    np.testing.assert_allclose(found.mean, mean, atol=1e-12)
    assert found.spread == pytest.approx(((exact - mean) ** 2).sum(), abs=1e-9)
    assert found.squares == pytest.approx((exact**2).sum(), abs=1e-9)


def test_a_mean_far_from_zero_costs_no_digits() -> None:
    rows = np.random.default_rng(0).normal(size=(4000, 3)) + 1e8
    found = Moments(3)
    for start in range(0, 4000, 64):
        found.add(rows[start : start + 64])
    assert found.spread == pytest.approx(((rows - rows.mean(axis=0)) ** 2).sum(), rel=1e-9)


def test_moments_of_other_rows_are_merged() -> None:
    rows = np.random.default_rng(1).normal(size=(50, 4))
    one, other, both = Moments(4), Moments(4), Moments(4)
    one.add(rows[:20])
    other.add(rows[20:])
    both.add(rows)
    one.merge(other.count, other.mean, other.spread)
    one.merge(0, np.full(4, np.nan), np.nan)
    assert one.count == 50
    np.testing.assert_allclose(one.mean, both.mean)
    assert one.spread == pytest.approx(both.spread)
