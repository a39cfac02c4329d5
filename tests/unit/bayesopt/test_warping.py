"""Input warping: the map, its fit, when it is taken, and a search under it."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sagespark.bayesopt import Bayesian, Categorical, Continuous, Space
from sagespark.bayesopt.data import Data, encode
from sagespark.bayesopt.evidence import Evidence
from sagespark.bayesopt.kernel import deltas, matern52
from sagespark.bayesopt.log import Log
from sagespark.bayesopt.posterior import condition
from sagespark.bayesopt.priors import Prior
from sagespark.bayesopt.surrogate import MEMBERS, Surrogate, fit, surrogate
from sagespark.bayesopt.warping import MOST, Warp, WarpedEvidence, identity, state_of, warp_of
from sagespark.bayesopt.weighing import LEAST, weigh, weighing

PARAMETER = st.floats(-MOST, MOST).map(math.exp)
UNIT = st.floats(0.0, 1.0)
MIXED = Space({"x": Continuous(0, 1), "kind": Categorical(["p", "q", "r"]), "y": Continuous(0, 1)})


def square(d: int) -> Space:
    return Space({f"x{i}": Continuous(0, 1) for i in range(d)})


def observed(space: Space, X: np.ndarray, y: np.ndarray, pending: int = 0) -> Data:
    log = Log(space)
    for i, (u, value) in enumerate(zip(X, y, strict=True)):
        log.ask(space.from_unit(u), None, None)
        log.tell(i, float(value), "Completed")
    for u in np.random.default_rng(9).random((pending, len(space))):
        log.ask(space.from_unit(u), None, None)
    data = encode(space, log, 1.0, 0)
    assert data is not None
    return data


def wiggly(x: np.ndarray) -> np.ndarray:
    return np.sin(20.0 * x**0.3)


def weighed(data: Data, member: int = 0) -> tuple[Data, Surrogate]:
    """The data under the warp that they earn, if any, and the member's surrogate."""
    now, thetas = weigh(data, member, fit(data, [member], [None] * len(MEMBERS)))
    return now, surrogate(now, [member], thetas)


@given(a=PARAMETER, b=PARAMETER, x=st.lists(UNIT, min_size=2, max_size=20))
def test_the_map_is_monotone_and_keeps_the_ends(a: float, b: float, x: list[float]) -> None:
    warp = Warp(np.array([a]), np.array([b]))
    points = np.sort(np.array([0.0, *x, 1.0]))[:, None]
    seen = warp(points)[:, 0]
    assert (seen[0], seen[-1]) == (0.0, 1.0)
    assert (np.diff(seen) >= -1e-15).all()
    assert np.isfinite(warp.slope(points)).all()
    assert (warp.slope(points) >= 0.0).all()
    assert np.isfinite(warp.by_parameters(points)).all()
    assert seen == pytest.approx(1.0 - (1.0 - points[:, 0] ** a) ** b, abs=1e-6)  # it loses digits near 1


@given(x=st.lists(UNIT, min_size=3, max_size=3))
def test_the_identity_changes_no_bit(x: list[float]) -> None:
    points = np.array([x])
    assert identity(3)(points).tolist() == [x]
    assert identity(3).slope(points).tolist() == [[1.0] * 3]
    other = Warp(np.array([2.0, 1.0, 1.0]), np.array([1.0, 1.0, 0.5]))
    assert other(points)[0, 1] == x[1]
    again = warp_of(json.loads(json.dumps(state_of(other))))
    assert again is not None
    assert again(points).tolist() == other(points).tolist()
    assert state_of(None) is None
    assert warp_of(None) is None


def test_the_derivatives_of_the_map() -> None:
    x = np.linspace(0.01, 0.99, 9)[:, None]
    h = 1e-6
    for log_a in (-1.3, 0.0, 0.9):
        for log_b in (-1.0, 0.2, 1.3):

            def warp(by_a: float = 0.0, by_b: float = 0.0) -> Warp:
                return Warp(np.exp([log_a + by_a]), np.exp([log_b + by_b]))  # noqa: B023 -- used at once

            assert warp().slope(x) == pytest.approx((warp()(x + h) - warp()(x - h)) / (2 * h), rel=1e-6, abs=1e-7)
            by_a, by_b = warp().by_parameters(x)
            assert by_a == pytest.approx((warp(h)(x) - warp(-h)(x)) / (2 * h), rel=1e-5, abs=1e-8)
            assert by_b == pytest.approx((warp(0, h)(x) - warp(0, -h)(x)) / (2 * h), rel=1e-5, abs=1e-8)


def mixed_data(pending: int = 0) -> Data:
    rng = np.random.default_rng(0)
    X = MIXED.snap(rng.random((25, 3)))
    return observed(MIXED, X, wiggly(X[:, 0]) + X[:, 1] - X[:, 2] ** 2, pending)


def test_the_gradient_of_the_warped_evidence() -> None:
    data, rng = mixed_data(), np.random.default_rng(1)
    for member, (_, family) in enumerate(MEMBERS):
        prior = Prior(*MEMBERS[member], MIXED.categorical)
        evidence = Evidence(data.pairs, partial(data.transform, family), prior)
        both = WarpedEvidence(evidence, data.X, [0, 2])
        u = np.concatenate([0.5 * rng.standard_normal(4), prior.start + 0.3 * rng.standard_normal(6)])
        value, gradient = both(u)
        steps = np.eye(len(u)) * 1e-5
        assert gradient == pytest.approx([(both(u + h)[0] - both(u - h)[0]) / 2e-5 for h in steps], rel=1e-5, abs=1e-5)
        # It is the evidence of warped points, and the prior of the warp.
        warp = Warp(np.exp([u[0], 0.0, u[1]]), np.exp([u[2], 0.0, u[3]]))
        plain = Evidence(replace(data, inputs=warp).pairs, partial(data.transform, family), prior)(u[4:])[0]
        assert value == pytest.approx(plain + 0.5 * float(np.sum((u[:4] / 0.75) ** 2)), rel=1e-12)


def test_the_posterior_is_that_of_warped_points_with_the_maps_slope() -> None:
    data = mixed_data(pending=2)
    warp = Warp(np.array([0.4, 1.0, 1.7]), np.array([1.2, 1.0, 0.6]))
    theta = np.array([[1.0, 0.3, 2.0, 0.3, -4.0, 1.0]])
    z = data.v[None]
    ours = condition(data.X, z, data.pending, MIXED.categorical, theta, warp=warp)
    plain = condition(warp(data.X), z, warp(data.pending), MIXED.categorical, theta)
    points = MIXED.snap(np.random.default_rng(1).random((6, 3)))
    assert np.array_equal(ours.moments(points), plain.moments(warp(points)))
    k = matern52(deltas(warp(points)[0], warp(data.X), MIXED.categorical) @ np.exp(theta[0, :3]))[0] * np.exp(0.3)
    assert ours.covariances(points)[0, 0, :25] == pytest.approx(k, abs=1e-12)
    _, _, dmu, dsigma = ours.gradients(points)
    for j in (0, 2):
        h = np.eye(3)[j] * 1e-6
        up, down = ours.moments(points + h), ours.moments(points - h)
        assert dmu[:, :, j] == pytest.approx((up[0] - down[0]) / 2e-6, rel=1e-5, abs=1e-6)
        assert dsigma[:, :, j] == pytest.approx((up[1] - down[1]) / 2e-6, rel=1e-5, abs=1e-6)
    assert not dmu[:, :, 1].any()


@pytest.mark.parametrize("pending", [0, 2])
def test_the_gradient_of_the_acquisition_under_a_warp(pending: int) -> None:
    data = replace(mixed_data(pending), inputs=Warp(np.array([0.4, 1.0, 1.7]), np.array([1.2, 1.0, 0.6])))
    gain = surrogate(data, [0, 1], fit(data, [0, 1], [None] * len(MEMBERS))).improvement
    points = MIXED.snap(np.random.default_rng(1).random((6, 3)))
    value, gradient = gain.gradient(points)
    assert value == pytest.approx(gain.value(points), rel=1e-9)
    for j in (0, 2):
        h = np.eye(3)[j] * 1e-6
        differences = (gain.value(points + h) - gain.value(points - h)) / 2e-6
        assert gradient[:, j] == pytest.approx(differences, rel=5e-3, abs=1e-4)
    assert not gradient[:, 1].any()


def test_a_function_that_is_wiggly_at_one_end_earns_a_warp_and_is_foretold_better() -> None:
    rng = np.random.default_rng(0)
    X, held = MIXED.snap(rng.random((40, 3))), MIXED.snap(rng.random((200, 3)))
    value = lambda u: wiggly(u[:, 0]) + 0.5 * u[:, 1] + (u[:, 2] - 0.4) ** 2  # noqa: E731 -- short
    data = observed(MIXED, X, value(X))
    thetas = fit(data, [0], [None] * len(MEMBERS))
    now, warped = weighed(data)
    assert now.inputs is not None
    assert now.inputs.a[0] < 0.7
    assert (now.inputs.a[1], now.inputs.b[1]) == (1.0, 1.0), "categories have no order"

    def error_and_density(model: Surrogate) -> tuple[float, float]:
        mu, sigma = model.posteriors.moments(held)
        s2 = sigma[:, 0] ** 2 + model.posteriors.noise[0]
        off = model.standardised(value(held))[0] - mu[:, 0]
        return float(np.sqrt(np.mean(off**2))), float(np.mean(-0.5 * off**2 / s2 - 0.5 * np.log(s2)))

    before, after = error_and_density(surrogate(data, [0], thetas)), error_and_density(warped)
    assert after[0] < 0.7 * before[0]
    assert after[1] > before[1] + 0.3


def sample(X: np.ndarray, seed: int) -> np.ndarray:
    """Values of a stationary Gaussian process."""
    k = matern52(deltas(X[:, None], X[None], (False,) * X.shape[1]) @ np.array([4.0, 1.0, 12.0])[: X.shape[1]])[0]
    return np.linalg.cholesky(k + 1e-6 * np.eye(len(X))) @ np.random.default_rng([seed, 1]).standard_normal(len(X))


def test_a_stationary_function_keeps_its_points() -> None:
    """No sample of a Gaussian process is warped, whichever member speaks, nor is Branin's function."""
    for seed in range(8):
        X = np.random.default_rng(seed).random((24 + 8 * seed, 3))
        data, member = observed(square(3), X, sample(X, seed)), seed % len(MEMBERS)
        thetas = fit(data, [member], [None] * len(MEMBERS))
        now, after = weigh(data, member, thetas)
        assert now is data
        assert after == thetas
    for seed in range(4):
        X = np.random.default_rng(seed).random((40, 2))
        x, y = 15 * X[:, 0] - 5, 15 * X[:, 1]
        bowl = y - 5.1 / (4 * math.pi**2) * x * x + 5 / math.pi * x - 6
        assert weighed(observed(square(2), X, bowl**2 + 10 * (1 - 1 / (8 * math.pi)) * np.cos(x)))[0].inputs is None


def test_values_made_up_for_failures_are_no_cliff_to_be_warped_away() -> None:
    space = square(2)
    for seed in range(4):
        X, log = np.random.default_rng(seed).random((60, 2)), Log(space)
        for i, (u, value) in enumerate(zip(X, sample(X, seed), strict=True)):
            log.ask(space.from_unit(u), None, None)
            fails = u[0] < 0.2
            log.tell(i, None if fails else float(value), "Failed" if fails else "Completed")
        data = encode(space, log, 1.0, 0)
        assert data is not None
        assert data.failed.any()
        assert len(data.succeeded.X) == np.count_nonzero(~data.failed)
        assert weighed(data)[0].inputs is None


def test_a_warp_that_is_not_needed_is_taken_back() -> None:
    space, rng = square(2), np.random.default_rng(2)
    X = rng.random((40, 2))
    bent = replace(observed(space, X, np.sin(6 * X[:, 0]) + X[:, 1]), inputs=Warp(np.full(2, 3.0), np.full(2, 0.4)))
    assert weighed(bent)[0].inputs is None


def test_it_is_weighed_at_a_few_numbers_of_values() -> None:
    assert weighing(LEAST - 1) == 0
    assert sorted({weighing(n) for n in range(2000)}) == [0, 20, 28, 40, 56, 80, 113, 160, 226, 320]
    assert all(weighing(n) <= n for n in range(500))


DECADES = Space(
    {"rate": Continuous(1e-3, 10, scaling="Linear"), "kind": Categorical(["p", "q"]), "x": Continuous(0, 1)}
)


def loss(c: dict[str, Any]) -> float:
    return abs(math.log10(c["rate"]) + 1.2) + (c["x"] - 0.3) ** 2 + 0.3 * (c["kind"] == "q")


def search(values: int) -> Bayesian:
    """A search with two pending that warps ``rate``, which is on the wrong scale."""
    s = Bayesian(DECADES, seed=0)
    open_ = [s.ask(), s.ask()]
    for i in range(values):
        trial = open_.pop(i % 2)
        s.tell(trial.id, loss(trial.config))
        open_.append(s.ask())
    return s


def test_a_search_warps_what_needs_it_and_resumes_with_the_warp() -> None:
    s = search(32)
    states = [e["state"] for e in s.history if e["event"] == "ask"]
    values = [sum(e["event"] == "tell" for e in s.history[:i]) for i, e in enumerate(s.history) if e["event"] == "ask"]
    for state, n in zip(states, values, strict=True):
        assert state["weighed"] == weighing(n)
        assert n >= LEAST or state["warp"] is None
    warp = states[-1]["warp"]
    assert warp is not None
    assert warp["a"][0] < 0.7
    assert (warp["a"][1], warp["b"][1]) == (1.0, 1.0)
    text, later = json.dumps(s.history), [s.ask() for _ in range(3)]
    model, again = s.surrogate(), Bayesian(DECADES, seed=0, history=json.loads(text))
    assert [again.ask() for _ in range(3)] == later
    assert again.history == s.history
    # The next ask from any event around a weighing is the same, and so is what is said of the model.
    for cut in range(2 * 20 - 3, 2 * 28 + 7, 3):
        part = Bayesian(DECADES, seed=0, history=json.loads(text)[:cut])
        event = json.loads(text)[cut]
        if event["event"] == "ask":
            assert part.ask().config == event["config"]
            assert part.history[-1] == event
    assert model is not None
    asked = s.acquisition(len(states) - 1)
    assert asked is not None
    assert asked.model.data.inputs is not None


def test_what_was_added_as_the_same_objective_decides_and_other_tasks_go_along() -> None:
    s, rng = Bayesian(DECADES, seed=1), np.random.default_rng(0)
    for i, u in enumerate(rng.random((40, 3))):
        config = DECADES.from_unit(u)
        s.add(config, 3 * loss(config) + 5 if i >= 25 else loss(config), "other" if i >= 25 else None)
    for i in range(6):
        trial = s.ask()
        s.tell(trial.id, None if i == 3 else loss(trial.config), "Failed" if i == 3 else "Completed")
    state = s.history[42]["state"]  # of the second trial: the first is drawn without a model
    assert state["weighed"] == 20
    assert state["warp"]["a"][0] < 0.7
    history = json.loads(json.dumps(s.history))
    for cut in range(40, len(history), 2):
        part = Bayesian(DECADES, seed=1, history=history[:cut])
        part.ask()
        assert part.history[-1] == history[cut]


def test_a_history_from_before_warps_loads() -> None:
    history = json.loads(json.dumps(search(30).history))
    for event in history:
        if event["event"] == "ask":
            event["state"] = {key: value for key, value in event["state"].items() if key not in ("warp", "weighed")}
    old = Bayesian(DECADES, seed=0, history=history)
    model = old.surrogate()
    assert model is not None
    assert model.data.inputs is None
    old.ask()
    assert old.history[-1]["state"]["weighed"] == 28
