"""Hyperband: the brackets of the paper, halving by hand, and no stall."""

from __future__ import annotations

import random

import pytest

from sagespark.bayesopt import Continuous, Exhausted, Hyperband, Integer, Space, Waiting
from sagespark.bayesopt.hyperband import brackets
from sagespark.core.errors import ValidationError

LINE = Space({"x": Continuous(0, 1)})


def test_the_brackets_are_the_papers() -> None:
    # Table 1 of Li et al. 2018: R = 81, eta = 3; (n_i, r_i) for s = 4 .. 0.
    table = [
        [(81, 1), (27, 3), (9, 9), (3, 27), (1, 81)],
        [(34, 3), (11, 9), (3, 27), (1, 81)],
        [(15, 9), (5, 27), (1, 81)],
        [(8, 27), (2, 81)],
        [(5, 81)],
    ]
    assert [[(r.trials, r.resource) for r in b] for b in brackets(1, 81)] == table
    assert [[(r.trials, r.resource) for r in b] for b in brackets(5, 14)] == [[(1, 14)]]
    assert brackets(10, 100)[0][0].resource >= 10


def test_the_best_third_goes_on_with_three_times_the_resource() -> None:
    s = Hyperband(LINE, minResource=1, maxResource=9, seed=0)
    first = [s.ask() for _ in range(9)]
    assert {t.resource for t in first} == {1}
    with pytest.raises(Waiting):
        s.ask()
    for trial in first:
        s.tell(trial.id, trial.config["x"])
    best = sorted(t.config["x"] for t in first)[:3]
    second = [s.ask() for _ in range(3)]
    assert [t.config["x"] for t in second] == best
    assert {t.resource for t in second} == {3}
    assert not {t.id for t in second} & {t.id for t in first}


def test_what_is_certain_does_not_wait() -> None:
    s = Hyperband(LINE, minResource=1, maxResource=9, direction="maximize", seed=0)
    first = [s.ask() for _ in range(9)]
    for trial, value in zip(first[:7], (9, 8, 7, 6, 5, 4, 3), strict=True):
        s.tell(trial.id, float(value))
    # Two are pending and three go on: only the best one is certain.
    assert s.ask().config == first[0].config
    before = s.history
    with pytest.raises(Waiting):
        s.ask()
    assert s.history == before
    s.tell(first[7].id, 1.0)
    assert s.ask().config == first[1].config
    s.tell(first[8].id, 7.5)
    assert s.ask().config == first[8].config


def test_failed_trials_are_replaced_by_the_next_best_or_by_nobody() -> None:
    s = Hyperband(LINE, minResource=1, maxResource=9, seed=0)
    first = [s.ask() for _ in range(9)]
    for trial in first[:7]:
        s.tell(trial.id, None, status="Failed")
    s.tell(first[7].id, 2.0)
    s.tell(first[8].id, 1.0)
    assert [s.ask().config for _ in range(2)] == [first[8].config, first[7].config]
    with pytest.raises(Waiting):
        s.ask()
    for trial in s.pending:
        s.tell(trial.id, None, status="Failed")
    # The next bracket begins.
    assert s.ask().resource == 3


def test_it_stops_a_trial_that_has_used_up_its_resource() -> None:
    s = Hyperband(LINE, minResource=3, maxResource=27)
    trial = s.ask()
    assert trial.resource == 3
    decisions = []
    for step in range(3):
        s.report(trial.id, step, 1.0)
        decisions.append(s.should_stop(trial.id))
    assert decisions == [False, False, True]
    sparse = s.ask()
    s.report(sparse.id, 3, 1.0)
    assert s.should_stop(sparse.id)


def test_a_whole_run_with_parallel_trials_keeps_the_books() -> None:
    s, rng, open_ = Hyperband(LINE, minResource=1, maxResource=27, seed=3), random.Random(0), []
    while len(s.trials) < 150:
        try:
            if len(open_) < 5:
                open_.append(s.ask())
                continue
        except Waiting:
            assert open_
        trial = open_.pop(rng.randrange(len(open_)))
        s.tell(trial.id, trial.config["x"] + 1.0 / trial.resource)
    once: dict[tuple[float, int], int] = {}
    for t in s.trials:
        key = (t.config["x"], t.resource)
        once[key] = once.get(key, 0) + 1
    assert set(once.values()) == {1}, "no configuration twice on one budget"
    assert s.recommended is not None
    assert s.recommended.resource == 27
    assert s.recommended.config["x"] < 0.1


def test_a_small_space_is_used_up() -> None:
    s, seen = Hyperband(Space({"n": Integer(1, 4)}), minResource=1, maxResource=9), []

    def go_on() -> None:
        while True:
            trial = s.ask()
            seen.append((trial.config["n"], trial.resource))
            s.tell(trial.id, float(trial.config["n"]))

    with pytest.raises(Exhausted):
        go_on()
    assert {n for n, r in seen if r == 1} == {1, 2, 3, 4}
    assert seen[-1] == (1, 9)


@pytest.mark.parametrize("bounds", [(0, 9), (9, 3), (1.5, 9), (True, 9)])
def test_bounds_are_checked(bounds: tuple[int, int]) -> None:
    with pytest.raises(ValidationError, match="1 <= minResource <= maxResource"):
        Hyperband(LINE, minResource=bounds[0], maxResource=bounds[1])


def test_only_its_own_rule_stops() -> None:
    with pytest.raises(ValidationError, match="earlyStopping must be 'Off'"):
        Hyperband(LINE, earlyStopping="Median")
