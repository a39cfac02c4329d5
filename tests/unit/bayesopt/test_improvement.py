"""Expected improvement over what pending trials may bring, and the output transformation that data speak for."""

from __future__ import annotations

import math

import numpy as np
import pytest

from sagespark.bayesopt import Bayesian, Continuous, Space
from sagespark.bayesopt.improvement import FANTASIES, improvement
from sagespark.bayesopt.logei import log_ei
from sagespark.bayesopt.posterior import BELIEF, Posteriors, condition
from sagespark.bayesopt.surrogate import MEMBERS

THETAS = np.array([[1.0, 0.0, 0.7, 0.3, -6.0, 1.0], [2.0, -1.0, 0.2, 0.0, -9.0, 1.0]])


def posteriors(pending: int) -> tuple[Posteriors, np.ndarray]:
    rng = np.random.default_rng(0)
    X = rng.random((20, 3))
    X[:, 2] = rng.integers(0, 3, 20)
    z = np.sin(6 * X[:, 0]) + X[:, 1] ** 2 - 0.3 * X[:, 2]
    believed = X[:pending] + np.array([0.03, 0.2, 0.0])
    return condition(X, np.stack([z, z**2]), believed, (False, False, True), THETAS), np.array([z.min(), (z**2).min()])


@pytest.mark.parametrize("pending", [0, 1, 3])
def test_the_gradient(pending: int) -> None:
    function = improvement(posteriors(pending)[0], pending, posteriors(pending)[1])
    points = np.random.default_rng(1).random((6, 3))
    points[:, 2] = [0, 1, 2, 0, 1, 2]
    value, gradient = function.gradient(points)
    assert value == pytest.approx(function.value(points), rel=1e-10)
    for j in range(2):
        h = np.eye(3)[j] * 1e-6
        assert gradient[:, j] == pytest.approx(
            (function.value(points + h) - function.value(points - h)) / 2e-6, rel=1e-4, abs=1e-4
        )
    assert not gradient[:, 2].any()


def test_without_pending_points_it_is_expected_improvement() -> None:
    model, best = posteriors(0)
    points = np.random.default_rng(1).random((9, 3))
    expected = np.mean(log_ei(*model.moments(points), best)[0], axis=1)
    assert improvement(model, 0, best).value(points) == pytest.approx(expected, rel=1e-12)


def test_fantasies_are_draws_of_what_the_posterior_says_of_pending_points() -> None:
    model, best = posteriors(3)
    function = improvement(model, 3, best)
    k = model.covariances(model.X[-3:])
    for m in range(2):
        # Their mean is the believer's, at every point; at the pending ones they scatter as the observations would.
        assert np.mean(function.a[m], axis=0) == pytest.approx(model.a[m], abs=1e-8)
        drawn = model.mean[m] + k[m] @ function.a[m].T
        before = condition(model.X[:-3], np.zeros((1, 20)), model.X[-3:][:0], model.categorical, THETAS[m : m + 1])
        sigma = before.moments(model.X[-3:])[1][:, 0]
        noise = np.exp(THETAS[m, 4]) + BELIEF * np.exp(THETAS[m, 3])
        # A fantasy is of an observation; mu at the point shrinks it by the noise.
        expected = sigma**2 / np.sqrt(sigma**2 + noise)
        assert drawn.shape == (3, FANTASIES)
        assert np.std(drawn, axis=1) == pytest.approx(expected, rel=0.35)
        assert (function.best[m] <= best[m]).all()
        assert function.best[m] == pytest.approx(np.minimum(best[m], drawn.min(axis=0)))


def test_many_pending_points_and_ones_next_to_each_other_are_no_trouble() -> None:
    X = np.random.default_rng(0).random((10, 2))
    pending = np.concatenate([np.repeat(X[:1], 5, axis=0) + 1e-9, np.random.default_rng(1).random((40, 2))])
    model = condition(X, X[:, 0][None], pending, (False, False), np.array([[0.0, 0.0, 0.0, math.log(1e-6), 1.0]]))
    value, gradient = improvement(model, len(pending), np.array([X[:, 0].min()])).gradient(pending)
    assert np.isfinite(value).all()
    assert np.isfinite(gradient).all()


def test_four_at_once_get_on_and_ask_for_nothing_twice() -> None:
    """Results out of order, one that is late by the whole run, and failures: no stall, nothing twice."""
    space = Space({"x": Continuous(-5, 10, scaling="Linear"), "y": Continuous(0, 15, scaling="Linear")})
    s, rng = Bayesian(space, seed=5), np.random.default_rng(5)
    late, open_ = s.ask(), [s.ask() for _ in range(3)]
    for i in range(32):
        trial = open_.pop(int(rng.integers(3)))
        x, y = trial.config["x"], trial.config["y"]
        a = y - 5.1 / (4 * math.pi**2) * x * x + 5 / math.pi * x - 6
        value = a * a + 10 * (1 - 1 / (8 * math.pi)) * math.cos(x) + 10
        s.tell(trial.id, None if i % 10 == 3 else value, status="Failed" if i % 10 == 3 else "Completed")
        open_.append(s.ask())
    assert next(t.id for t in s.pending) == late.id
    assert len({space.key(t.config) for t in s.trials}) == len(s.trials) == 36
    assert s.best is not None
    assert s.best.value < 0.5


def test_members_whose_transformation_the_data_speak_against_are_not_asked() -> None:
    space = Space({"x": Continuous(0, 1), "y": Continuous(0, 1)})

    def asked(value: float) -> list[str]:
        s = Bayesian(space, seed=0)
        for _ in range(30):
            trial = s.ask()
            u = 3.0 * (trial.config["x"] - 0.3) ** 2 + 2.0 * (trial.config["y"] - 0.6) ** 2
            s.tell(trial.id, value**u if value else float(np.sin(6 * u)))
        return [MEMBERS[e["state"]["model"]][1] for e in s.history if e["event"] == "ask" and e["trial"] >= 16]

    # Values over nine powers of ten: only the logarithm from the best value makes them smooth.
    assert asked(1e4).count("shift") > 10
    # Nothing speaks for either: each keeps its turns.
    assert 3 <= asked(0.0).count("power") <= 14
