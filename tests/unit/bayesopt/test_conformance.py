"""What every strategy must do. A new one is added to ``STRATEGIES`` and passes, or is none."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from sagespark.bayesopt import (
    Bayesian,
    Categorical,
    Continuous,
    Exhausted,
    Grid,
    Hyperband,
    Integer,
    Manual,
    Random,
    Sobol,
    Space,
    Strategy,
    Waiting,
)
from sagespark.core.errors import ValidationError

MIXED = Space(
    {
        "eta": Continuous(1e-3, 1.0, scaling="Logarithmic"),
        "max_depth": Integer(2, 10),
        "subsample": Continuous(0.5, 1.0),
        "booster": Categorical(["gbtree", "dart", "gblinear"]),
    }
)
FINITE = Space({"n": Integer(1, 3), "flag": Categorical([True, False])})
LIST = [MIXED.from_unit(u) for u in np.random.default_rng(0).random((40, 4))]
Make = Callable[..., Strategy]


def manual(space: Space, *args: Any, **kwargs: Any) -> Strategy:
    return Manual(space, *args, configs=LIST if space is MIXED else list(FINITE.configs()), **kwargs)


def grid(space: Space, *args: Any, **kwargs: Any) -> Strategy:
    return Grid(space, *args, levels=3, **kwargs)


STRATEGIES: dict[str, Make] = {
    "Manual": manual,
    "Grid": grid,
    "Random": Random,
    "Sobol": Sobol,
    "Bayesian": Bayesian,
    "Hyperband": Hyperband,
}
SINGLE = [name for name in STRATEGIES if name != "Hyperband"]
"""Those that evaluate a configuration once; Hyperband does so once for each budget."""


def loss(config: dict[str, Any]) -> float:
    """A smooth objective of MIXED."""
    away = (
        (np.log10(config["eta"]) + 1.5) ** 2 + ((config["max_depth"] - 6) / 4) ** 2 + (config["subsample"] - 0.8) ** 2
    )
    return float(away + {"gbtree": 0.0, "dart": 0.3, "gblinear": 1.0}[config["booster"]])


def step(s: Strategy, rng: random.Random, open_: list[int], limit: int = 4) -> None:
    """Ask, or tell one of the pending trials in any order, some of them failed or stopped."""
    if len(open_) < limit and (not open_ or rng.random() < 0.6):
        try:
            open_.append(s.ask().id)
            return
        except Waiting:
            assert open_, "Waiting with nothing pending would be a stall"
    number = open_.pop(rng.randrange(len(open_)))
    trial = s.trials[number]
    draw = rng.random()
    for i in range(rng.randrange(3)):
        s.report(number, i, loss(trial.config) + 1.0 / (i + 1))
    if draw < 0.15:
        s.tell(number, None, status="Failed")
    elif draw < 0.3:
        s.tell(number, loss(trial.config) + 0.5, status="Stopped")
    else:
        s.tell(number, loss(trial.config))


def run(s: Strategy, events: int, seed: int = 3) -> Strategy:
    rng, open_ = random.Random(seed), [t.id for t in s.pending]
    while len(s.history) < events:
        step(s, rng, open_)
    return s


@pytest.fixture(params=list(STRATEGIES))
def make(request: pytest.FixtureRequest) -> Make:
    return STRATEGIES[request.param]


@pytest.fixture(params=SINGLE)
def make_single(request: pytest.FixtureRequest) -> Make:
    return STRATEGIES[request.param]


def test_asks_are_numbered_configurations_of_the_space(make: Make) -> None:
    s = make(MIXED)
    trials = []
    for i in range(5):
        trial = s.ask()
        assert trial.id == i
        assert trial.status == "InProgress"
        assert trial.config in MIXED
        assert list(trial.config) == list(MIXED.names)
        trials.append(trial)
    assert [t.id for t in s.pending] == [0, 1, 2, 3, 4]
    assert s.best is None
    assert s.recommended is None


def test_the_history_is_json_and_the_whole_state(make: Make) -> None:
    whole = run(make(MIXED, seed=5), 50)
    text = json.dumps(whole.history)
    assert tuple(json.loads(text)) == whole.history
    for cut in range(0, 50, 7):
        # Go on as the uninterrupted run did, from the first `cut` events alone.
        part = make(MIXED, seed=5, history=json.loads(text)[:cut])
        for event in whole.history[cut:]:
            if event["event"] == "ask":
                trial = part.ask()
                assert (trial.id, trial.config, trial.resource) == (event["trial"], event["config"], event["resource"])
            elif event["event"] == "report":
                part.report(event["trial"], event["step"], event["value"])
            else:
                part.tell(event["trial"], event["value"], event["status"])
        assert json.dumps(part.history) == text


def test_two_runs_are_the_same_run(make: Make) -> None:
    assert run(make(MIXED, seed=9), 30).history == run(make(MIXED, seed=9), 30).history


@pytest.mark.parametrize("name", [n for n in STRATEGIES if n not in ("Manual", "Grid")])
def test_another_seed_is_another_run(name: str) -> None:
    assert STRATEGIES[name](MIXED, seed=1).ask().config != STRATEGIES[name](MIXED, seed=2).ask().config


def test_never_the_same_configuration_twice(make_single: Make) -> None:
    s = run(make_single(MIXED, seed=1), 70)
    keys = [MIXED.key(t.config) for t in s.trials]
    assert len(set(keys)) == len(keys) > 20


def test_a_finite_space_is_used_up_and_then_exhausted(make_single: Make) -> None:
    s = make_single(FINITE, seed=4)
    s.add({"n": 2, "flag": True}, 1.0)
    seen = []
    for i in range(5):
        trial = s.ask()
        seen.append(FINITE.key(trial.config))
        if i % 2:
            s.tell(trial.id, float(i))
    assert len(set(seen)) == 5
    assert FINITE.key({"n": 2, "flag": True}) not in seen
    before = s.history
    for _ in range(2):
        with pytest.raises(Exhausted):
            s.ask()
    assert s.history == before


def test_results_out_of_order_late_and_failed_do_not_stall(make: Make) -> None:
    s = make(MIXED, seed=2)
    first = [s.ask() for _ in range(4)]
    late, *others = first
    for trial in reversed(others):
        s.tell(trial.id, None, status="Failed")
    for _ in range(8):
        trial = s.ask()
        s.tell(trial.id, loss(trial.config))
    s.tell(late.id, loss(late.config))
    assert s.trials[0].value == loss(late.config)
    s.ask()


def test_everything_failing_still_gives_trials(make: Make) -> None:
    s = make(MIXED, seed=2)
    for _ in range(15):
        s.tell(s.ask().id, None, status="Failed")
    assert s.best is None
    assert s.ask().config in MIXED


@pytest.mark.parametrize("direction", ["minimize", "maximize", "Maximize"])
def test_best_follows_the_direction(make: Make, direction: str) -> None:
    s = make(MIXED, direction=direction)
    for value in (0.3, 0.1, 0.7, 0.1):
        s.tell(s.ask().id, value)
    assert s.best is not None
    assert (s.best.value, s.best.id) == ((0.1, 1) if direction == "minimize" else (0.7, 2))
    config = LIST[-1] if make is manual else MIXED.from_unit(np.full(4, 0.123))
    s.add(config, 0.05 if direction == "minimize" else 0.9)
    assert s.best.id is None
    assert s.best.config == config
    s.add(config, -5.0 if direction == "minimize" else 5.0, task="elsewhere")
    assert s.best.value in (0.05, 0.9), "another task's values are not compared with the own ones"


def test_a_stopped_trial_has_its_last_report(make: Make) -> None:
    s = make(MIXED)
    trial = s.ask()
    s.report(trial.id, 0, 3.0)
    s.report(trial.id, 1, 2.0)
    s.report(trial.id, 1, 2.5)
    s.tell(trial.id, None, status="Stopped")
    assert s.trials[0].value == 2.5
    assert s.trials[0].reports == {0: 3.0, 1: 2.5}
    bare = s.ask()
    s.tell(bare.id, None, status="Stopped")
    assert s.trials[1].value is None
    s.ask()


def test_changing_what_was_handed_out_changes_nothing(make: Make) -> None:
    s, other = make(MIXED, seed=6), make(MIXED, seed=6)
    for t in (s, other):
        trial = t.ask()
        if t is s:
            trial.config.clear()
        t.tell(trial.id, 1.0)
    assert s.history == other.history
    assert s.ask() == other.ask()


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda s: s.tell(7, 1.0), "trial 7 was never asked for (ids so far: 0 to 1)"),
        (lambda s: s.tell(0, 1.0), "trial 0 is Completed already"),
        (lambda s: s.tell(1, float("nan")), "told as tell(id, None, status='Failed')"),
        (lambda s: s.tell(1, None), "must be a finite number, but got None"),
        (lambda s: s.tell(1, 1.0, status="Failed"), "a failed trial has no value"),
        (lambda s: s.tell(1, 1.0, status="Done"), "status must be one of 'Completed', 'Stopped', 'Failed'"),
        (lambda s: s.tell(1, "1.0"), "must be a finite number"),
        (lambda s: s.report(1, -1, 1.0), "step must be an integer >= 0, but got -1"),
        (lambda s: s.report(1, 0, float("inf")), "must be a finite number"),
        (lambda s: s.report(0, 0, 1.0), "trial 0 is Completed already"),
        (lambda s: s.should_stop(0), "trial 0 is Completed already"),
        (lambda s: s.add({"eta": 0.1}, 1.0), "3 problems"),
        (lambda s: s.add(LIST[0], None), "must be a finite number"),
    ],
)
def test_what_does_not_fit_is_refused_and_leaves_no_event(make: Make, call: Any, text: str) -> None:
    s = make(MIXED)
    s.tell(s.ask().id, 1.0)
    s.ask()
    before = s.history
    with pytest.raises(ValidationError) as caught:
        call(s)
    assert text in str(caught.value)
    assert s.history == before


def test_arguments_are_refused_together(make: Make) -> None:
    with pytest.raises(ValidationError) as caught:
        make(MIXED, direction="up", seed=-1, earlyStopping="Sometimes")
    assert len(caught.value.problems) == 3
    with pytest.raises(ValidationError, match="must be a Space"):
        make({"x": Continuous(0, 1)})


@pytest.mark.parametrize(
    ("history", "text"),
    [
        ([{"event": "tell", "trial": 0, "value": 1.0, "status": "Completed"}], "event 0: trial 0 was never asked for"),
        ([{"event": "ask", "trial": 3, "config": LIST[0], "resource": None, "state": None}], "0 is next, but got 3"),
        (
            [{"event": "ask", "trial": 0, "config": {"x": 1}, "resource": None, "state": None}],
            "'x' is not in the space",
        ),
        ([{"event": "sleep"}], "an event is ask, report, tell or add, but got 'sleep'"),
        ([{}], "event 0 is no event of a history"),
        (["ask"], "event 0 is no event of a history"),
    ],
)
def test_a_history_that_does_not_fit_is_refused(make: Make, history: Any, text: str) -> None:
    with pytest.raises(ValidationError) as caught:
        make(MIXED, history=history)
    assert text in str(caught.value)


def test_numpy_numbers_are_numbers(make: Make) -> None:
    s = make(MIXED)
    trial = s.ask()
    s.report(np.int64(trial.id), np.int32(0), np.float32(0.5))
    s.tell(np.int64(trial.id), np.float64(0.25))
    assert s.best is not None
    assert s.best.value == 0.25
    json.dumps(s.history)


@pytest.mark.parametrize("reader", ["Grid", "Sobol", "Bayesian", "Hyperband"])
@pytest.mark.parametrize("writer", ["Random", "Sobol", "Bayesian", "Hyperband"])
def test_another_strategys_history_is_gone_on_from_or_refused(writer: str, reader: str) -> None:
    s = STRATEGIES[writer](MIXED, seed=0)
    for i in range(12):
        trial = s.ask()
        s.tell(trial.id, float(i))
    # Asks without a state may be anybody's, and so may positions in a sequence.
    fits = writer == reader or (writer, reader) == ("Sobol", "Grid") or (writer == "Random" and reader != "Hyperband")
    if fits:
        assert STRATEGIES[reader](MIXED, seed=0, history=s.history).ask().id == 12
    else:
        with pytest.raises(ValidationError, match="was asked for by another strategy"):
            STRATEGIES[reader](MIXED, seed=0, history=s.history)


def test_an_answer_of_numpy_is_taken_by_the_rule_of_stopping() -> None:
    s = Hyperband(MIXED, seed=0, minResource=1, maxResource=9)
    trial = s.ask()
    s.report(trial.id, 1, 0.5)
    assert s.should_stop(np.int64(trial.id)) == s.should_stop(trial.id)  # type: ignore[arg-type]  # as a user may


def test_a_number_too_large_for_a_float_is_refused() -> None:
    s = Random(MIXED, seed=0)
    with pytest.raises(ValidationError, match="finite"):
        s.tell(s.ask().id, 10**400)
