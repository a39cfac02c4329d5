"""Bayesian optimisation: it resumes at any event bit for bit, and finds what the others do not."""

from __future__ import annotations

import json
import math
import random
from typing import Any

import numpy as np
import pytest

from sagespark.bayesopt import Bayesian, Categorical, Continuous, Exhausted, Integer, Random, Space
from sagespark.bayesopt import surrogate as surrogates

MIXED = Space(
    {
        "eta": Continuous(1e-3, 1.0, scaling="Logarithmic"),
        "depth": Integer(2, 10),
        "booster": Categorical(["gbtree", "dart", "gblinear"]),
    }
)
BRANIN = Space({"x": Continuous(-5, 10, scaling="Linear"), "y": Continuous(0, 15, scaling="Linear")})


def branin(c: dict[str, Any]) -> float:
    x, y = c["x"], c["y"]
    a = y - 5.1 / (4 * math.pi**2) * x * x + 5 / math.pi * x - 6
    return a * a + 10 * (1 - 1 / (8 * math.pi)) * math.cos(x) + 10


def loss(c: dict[str, Any]) -> float:
    away = (math.log10(c["eta"]) + 1.2) ** 2 + ((c["depth"] - 6) / 3) ** 2
    return away + {"gbtree": 0.0, "dart": 0.4, "gblinear": 1.0}[c["booster"]]


def play(s: Bayesian, history: tuple[dict[str, Any], ...]) -> None:
    """Do to a strategy what the events say was done to another, and see that it asks the same."""
    for event in history:
        if event["event"] == "ask":
            assert s.ask().config == event["config"]
        elif event["event"] == "report":
            s.report(event["trial"], event["step"], event["value"])
        elif event["event"] == "add":
            s.add(event["config"], event["value"], event["task"])
        else:
            s.tell(event["trial"], event["value"], event["status"])


def long_run() -> Bayesian:
    """At least 60 events with four pending, failures, stops, reports and additions, then ten asks."""
    s, rng, open_ = Bayesian(MIXED, seed=11), random.Random(0), []
    s.add(MIXED.from_unit(np.array([0.1, 0.2, 0.3])), 3.0)
    s.add(MIXED.from_unit(np.array([0.6, 0.9, 0.9])), 40.0, task="other data")
    while len(s.history) < 60:
        if len(open_) < 4:
            open_.append(s.ask())
            continue
        trial = open_.pop(rng.randrange(4))
        draw = rng.random()
        if draw < 0.3:
            s.report(trial.id, 0, loss(trial.config) + 1)
        if draw < 0.1:
            s.tell(trial.id, None, status="Failed")
        else:
            s.tell(trial.id, loss(trial.config), status="Stopped" if draw < 0.2 else "Completed")
    for _ in range(10):
        s.ask()
    return s


@pytest.mark.parametrize(
    "most",
    [
        # One ask at each cut is enough: the event that it adds is the next cut's history.
        pytest.param(1, id="next"),
        pytest.param(10, id="ten", marks=pytest.mark.slow),
    ],
)
def test_a_cut_at_any_event_gives_the_same_next_asks(monkeypatch: pytest.MonkeyPatch, most: int) -> None:
    whole = long_run()
    text = json.dumps(whole.history)
    fits: list[int] = []
    fit = surrogates.fit

    def counted(*args: Any) -> Any:
        fits.append(1)
        return fit(*args)

    monkeypatch.setattr("sagespark.bayesopt.surrogate.fit", counted)
    for cut in range(61):
        s = Bayesian(MIXED, seed=11, history=json.loads(text)[:cut])
        assert not fits, "a resume fits nothing"
        # The next asks after the cut, up to ten, with what came between.
        asks = [i for i, event in enumerate(whole.history) if event["event"] == "ask" and i >= cut]
        end = asks[9 if cut % 30 == 0 else most - 1] + 1
        play(s, whole.history[cut:end])
        assert json.dumps(s.history) == json.dumps(whole.history[:end])
        fits.clear()


def test_parents_are_given_up_once_they_foretell_badly_and_kept_otherwise() -> None:
    """Opposite values said to be the same objective are refuted; equal ones, and equal ones with noise, are not."""

    def refuted(value: Any) -> bool:
        s = Bayesian(BRANIN, seed=4)
        for u in np.random.default_rng(1).random((30, 2)):
            config = BRANIN.from_unit(u)
            s.add(config, value(config))
        for _ in range(8):
            trial = s.ask()
            s.tell(trial.id, branin(trial.config))
        state = s.history[-2]["state"]
        # Whether or not, it resumes where it was, after a passage through JSON.
        again = Bayesian(BRANIN, seed=4, history=json.loads(json.dumps(s.history)))
        assert again.ask() == s.ask()
        return bool(state["judgement"]["refuted"])

    noise = np.random.default_rng(2)
    assert refuted(lambda c: -branin(c))
    assert not refuted(branin)
    assert not refuted(lambda c: branin(c) + noise.standard_normal())


def test_it_beats_random_search_on_branin() -> None:
    s = Bayesian(BRANIN, seed=0)
    for _ in range(30):
        trial = s.ask()
        s.tell(trial.id, branin(trial.config))
    plain = Random(BRANIN, seed=0)
    for _ in range(100):
        trial = plain.ask()
        plain.tell(trial.id, branin(trial.config))
    assert s.best is not None
    assert plain.best is not None
    assert s.best.value < plain.best.value
    assert s.best.value == pytest.approx(0.39789, abs=0.02)


def test_maximizing_is_minimizing_the_mirror_image() -> None:
    up, down = Bayesian(BRANIN, direction="maximize", seed=3), Bayesian(BRANIN, direction="minimize", seed=3)
    for _ in range(12):
        a, b = up.ask(), down.ask()
        assert a.config == b.config
        up.tell(a.id, -branin(a.config))
        down.tell(b.id, branin(b.config))


def test_it_learns_where_evaluations_fail() -> None:
    s, late = Bayesian(BRANIN, seed=1), 0
    for i in range(35):
        trial = s.ask()
        if trial.config["x"] + trial.config["y"] > 12:  # two of the three minima lie there
            s.tell(trial.id, None, status="Failed")
            late += i >= 10
        else:
            s.tell(trial.id, branin(trial.config))
    assert late <= 0.2 * 25
    assert s.best is not None
    assert s.best.value < 1.0


def test_under_noise_the_recommended_one_is_not_the_luckiest_one() -> None:
    rng = np.random.default_rng(0)
    line = Space({"x": Continuous(0, 1)})
    s = Bayesian(line, seed=0)
    for _ in range(40):
        trial = s.ask()
        s.tell(trial.id, (trial.config["x"] - 0.4) ** 2 * 4 + 0.3 * rng.standard_normal())
    assert s.recommended is not None
    assert s.recommended in s.observations
    assert abs(s.recommended.config["x"] - 0.4) < 0.15
    again = Bayesian(line, seed=0, history=s.history)
    assert again.recommended == s.recommended


def test_without_noise_the_recommended_one_is_the_best_one() -> None:
    s = Bayesian(BRANIN, seed=0)
    for _ in range(15):
        trial = s.ask()
        s.tell(trial.id, branin(trial.config))
    assert s.recommended == s.best


@pytest.mark.parametrize("values", [[1.0], [1e30, -1e30, 0.0], [1e-300, 2e-300], [5.0, 5.0, 5.0]])
def test_odd_values_do_not_stop_it(values: list[float]) -> None:
    s = Bayesian(MIXED, seed=2)
    for i in range(14):
        trial = s.ask()
        s.tell(trial.id, values[i % len(values)])
    assert s.ask().config in MIXED


def test_a_finite_space_is_searched_to_its_end_best_first() -> None:
    space = Space({"n": Integer(1, 30)})
    s, order = Bayesian(space, seed=0), []
    for _ in range(30):
        trial = s.ask()
        order.append(trial.config["n"])
        s.tell(trial.id, abs(trial.config["n"] - 20))
    assert sorted(order) == list(range(1, 31))
    assert order.index(20) < 12
    with pytest.raises(Exhausted):
        s.ask()


def test_what_was_added_is_used_at_once() -> None:
    s = Bayesian(BRANIN, seed=0)
    rng = np.random.default_rng(0)
    for u in rng.random((30, 2)):
        config = BRANIN.from_unit(u)
        s.add(config, branin(config))
    before = s.best
    for _ in range(8):
        trial = s.ask()
        s.tell(trial.id, branin(trial.config))
    assert before is not None
    assert s.best is not None
    assert s.best.value < before.value
    assert s.best.id is not None
    assert s.best.value == pytest.approx(0.39789, abs=0.1)


def test_a_related_task_shows_the_way_and_a_misleading_one_is_seen_through() -> None:
    def after(task_value: Any, n: int) -> float:
        s = Bayesian(BRANIN, seed=0)
        for u in np.random.default_rng(0).random((30, 2)):
            config = BRANIN.from_unit(u)
            s.add(config, task_value(config), task="parent")
        for _ in range(n):
            trial = s.ask()
            s.tell(trial.id, branin(trial.config))
        assert s.best is not None
        return float(s.best.value)

    assert after(lambda c: 7 * branin(c) + 1000, 8) < 1.5
    assert after(lambda c: -branin(c), 25) < 1.5


def test_the_band_covers_what_it_says() -> None:
    """95 of 100 held-out values of smooth functions lie in the 95 % band, give or take."""
    cube = Space({f"x{i}": Continuous(0, 1) for i in range(3)})
    inside = []
    for seed in range(6):
        rng = np.random.default_rng(seed)
        w, b = 2.5 * rng.standard_normal((8, 3)), 6.3 * rng.random(8)
        s = Bayesian(cube, seed=seed)
        for u in rng.random((30, 3)):
            s.add(cube.from_unit(u), float(np.sum(np.cos(w @ u + b))))
        s.ask()
        s.ask()
        model = s.surrogate()
        assert model is not None
        held = rng.random((200, 3))
        low, _, high = model.predict(held)
        truth = np.sum(np.cos(held @ w.T + b), axis=1)
        inside.append(np.mean((truth >= low) & (truth <= high)))
    assert 0.90 <= np.mean(inside) <= 0.985, inside
