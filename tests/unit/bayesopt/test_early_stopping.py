"""The median rule, worked by hand."""

from __future__ import annotations

from sagespark.bayesopt import Continuous, Random, Space

SPACE = Space({"x": Continuous(0, 1)})


def with_curves(curves: list[list[float]], direction: str = "minimize", rule: str = "Median") -> Random:
    s = Random(SPACE, direction=direction, earlyStopping=rule)
    for curve in curves:
        trial = s.ask()
        for i, v in enumerate(curve):
            s.report(trial.id, i, v)
        s.tell(trial.id, curve[-1])
    return s


def stops(s: Random, curve: list[float]) -> list[bool]:
    trial = s.ask()
    out = []
    for i, v in enumerate(curve):
        s.report(trial.id, i, v)
        out.append(s.should_stop(trial.id))
    return out


# Running averages at step 2 are 2, 3, 4, 5, 6: their median is 4.
CURVES = [[c + 1, c, c - 1, c - 2] for c in (2.0, 3.0, 4.0, 5.0, 6.0)]


def test_worse_than_the_median_of_running_averages_is_stopped() -> None:
    assert stops(with_curves(CURVES), [9.0, 9.0, 4.1]) == [False, True, True]
    assert stops(with_curves(CURVES), [9.0, 4.5, 4.0]) == [False, False, False]


def test_maximizing_is_the_mirror_image() -> None:
    mirrored = [[-v for v in c] for c in CURVES]
    assert stops(with_curves(mirrored, "maximize"), [-9.0, -9.0, -4.1]) == [False, True, True]
    assert stops(with_curves(mirrored, "maximize"), [-9.0, -4.5, -4.0]) == [False, False, False]


def test_off_never_stops_and_few_trials_stop_nothing() -> None:
    assert stops(with_curves(CURVES, rule="Off"), [99.0] * 4) == [False] * 4
    assert stops(with_curves(CURVES[:4]), [99.0] * 4) == [False] * 4


def test_failed_and_stopped_trials_set_no_standard() -> None:
    s = with_curves(CURVES[:4])
    for status, value in (("Failed", None), ("Stopped", 5.0)):
        trial = s.ask()
        s.report(trial.id, 0, 5.0)
        s.tell(trial.id, value, status=status)
    assert stops(s, [99.0] * 4) == [False] * 4


def test_the_first_tenth_of_the_usual_length_is_left_alone() -> None:
    s = with_curves([[float(c)] * 100 for c in range(5)])
    decisions = stops(s, [50.0] * 20)
    assert decisions == [False] * 10 + [True] * 10


def test_a_trial_without_reports_goes_on() -> None:
    s = with_curves(CURVES)
    assert s.should_stop(s.ask().id) is False


def test_no_comparison_before_anyone_was_there() -> None:
    s = Random(SPACE, earlyStopping="Median")
    for _ in range(5):
        trial = s.ask()
        for i in range(10, 14):
            s.report(trial.id, i, 1.0)
        s.tell(trial.id, 1.0)
    trial = s.ask()
    s.report(trial.id, 0, 9.0)
    s.report(trial.id, 2, 9.0)
    assert s.should_stop(trial.id) is False
