"""Runs of the driver over trials that are a script: no Spark, no service, no time."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from sagespark.bayesopt import Continuous, Integer
from sagespark.core.errors import JobFailedError, ServiceError
from sagespark.ml import tuning_driver
from sagespark.ml.clustering import KMeans
from sagespark.ml.listeners import Listener
from sagespark.ml.tuning import HyperparameterTuner, HyperparameterTunerModel, Trial
from sagespark.ml.tuning_driver import _Run
from sagespark.ml.tuning_trainers import Outcome, Report, is_the_trials
from support.clocks import FakeClock


class Evaluator:
    """An MLlib evaluator, as far as a tuner asks."""

    def evaluate(self, frame: Any) -> float:
        raise NotImplementedError  # scripted trials are not scored: a call fails the test

    def isLargerBetter(self) -> bool:
        return False

    def copy(self, extra: Any = None) -> Evaluator:
        return self


class Scripted:
    """A trainer whose outcomes the test gives, by configuration; notes what it was asked."""

    def __init__(self, outcome: Callable[[dict[str, Any], int, Report | None], Outcome], jobs: bool = False) -> None:
        self._outcome = outcome
        self._jobs = jobs
        self._lock = threading.Lock()
        self.runs: list[dict[str, Any]] = []
        self.stopped: list[str] = []
        self.closed = 0

    def prepare(self, note: Callable[[list[str]], None]) -> None:
        note(["s3://bucket/shard"])

    def launch(self, config: Mapping[str, Any]) -> tuple[str, Callable[[], None]]:
        with self._lock:
            name = f"job-{len(self.runs)}" if self._jobs else ""
        return name, lambda: None

    def run(self, config: Mapping[str, Any], job: str, report: Report | None) -> Outcome:
        with self._lock:
            self.runs.append(dict(config))
            number = len(self.runs)
        return self._outcome(dict(config), number, report)

    def stop(self, job: str) -> None:
        self.stopped.append(job)

    def model(self, config: Mapping[str, Any], job: str, kept: Any) -> Any:
        return ("model", dict(config), kept)

    def close(self, running: bool) -> None:
        self.closed += not running


class Heard(Listener):
    def __init__(self) -> None:
        self.trials: list[Trial] = []
        self.ended: list[str] = []

    def onTrial(self, trial: Trial) -> None:
        self.trials.append(trial)

    def onJobEnded(self, event: Any) -> None:
        self.ended.append(event.status)


@pytest.fixture(autouse=True)
def _plain_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tuning_driver, "inheritable_thread_target", lambda session: lambda function: function)
    monkeypatch.setattr(tuning_driver, "is_remote", lambda: True)


class NoFrame:
    sparkSession = None


def execute(trainer: Scripted, **given: Any) -> HyperparameterTunerModel:
    """Run a tuner over ``x`` in [0, 1] with a scripted trainer."""
    defaults: dict[str, Any] = {"ranges": {"tol": Continuous(0.0, 1.0)}, "strategy": "Random", "seed": 1, "maxJobs": 6}
    if "objectiveMetricName" not in given:
        defaults["evaluator"] = Evaluator()
    estimator = given.pop("estimator", None) or KMeans()
    tuner = HyperparameterTuner(estimator=estimator, runOn="driver", **{**defaults, **given})
    candidates, problems = tuner._candidates()
    assert problems == []
    run = _Run(tuner, candidates[0], None)
    run.open()
    frame: Any = NoFrame()
    return run.execute(trainer, frame)


def completed(config: dict[str, Any], number: int, report: Report | None) -> Outcome:
    return Outcome("Completed", config["tol"])


def test_the_limit_and_the_best() -> None:
    heard = Heard()
    trainer = Scripted(completed)
    model = execute(trainer, maxParallelJobs=3, listeners=[heard])
    assert len(trainer.runs) == 6
    assert model.bestModel[1] == {"tol": min(run["tol"] for run in trainer.runs)}
    assert [t.id for t in model._trials] == list(range(6))
    assert sorted(t.id for t in heard.trials if t.ended) == list(range(6))
    assert (trainer.closed, heard.ended) == (1, ["Completed"])


@pytest.mark.parametrize(
    ("given", "count"),
    [
        ({"targetObjectiveMetricValue": 2.0}, 1),
        ({"maxJobsNotImproving": 3}, 4),
        ({"completeOnConvergence": True, "maxJobs": 40}, 16),
    ],
)
def test_criteria_end_it_before_the_limit(given: dict[str, Any], count: int) -> None:
    trainer = Scripted(lambda config, number, report: Outcome("Completed", 1.0))
    execute(trainer, **{"maxJobs": 9, **given})
    assert len(trainer.runs) == count


def test_what_a_trial_raises_is_its_own_and_what_is_no_number_fails() -> None:
    def outcome(config: dict[str, Any], number: int, report: Report | None) -> Outcome:
        if number == 1:
            raise ValueError("first\nsecond line")
        return Outcome("Completed", float("nan") if number == 2 else config["tol"])

    model = execute(Scripted(outcome))
    found = [(t.status, t.failureReason) for t in model._trials[:2]]
    assert found == [("Failed", "ValueError: first"), ("Failed", "the objective is nan")]
    assert {t.status for t in model._trials[2:]} == {"Completed"}


def test_an_internal_error_is_tried_again_where_asked_for_and_blames_no_configuration() -> None:
    def outcome(config: dict[str, Any], number: int, report: Report | None) -> Outcome:
        return (
            Outcome("Failed", None, "InternalServerError: sorry") if number == 1 else completed(config, number, report)
        )

    trainer = Scripted(outcome)
    model = execute(trainer, maxRetryAttempts=1)
    assert len(trainer.runs) == 7
    assert trainer.runs[0] == trainer.runs[1]
    assert {t.status for t in model._trials} == {"Completed"}
    model = execute(Scripted(outcome))
    assert model._trials[0].failureReason == "InternalServerError: sorry"
    assert model.strategy().trials[0].status == "Stopped"


def test_early_stopping_follows_the_reports() -> None:
    def outcome(config: dict[str, Any], number: int, report: Report | None) -> Outcome:
        assert report is not None
        values = [(9.0 if number == 6 else 1.0) - 0.05 * step for step in range(10)]
        # A look at the log shows what several steps brought; every look gives all values so far.
        for seen in range(1, 11, 3):
            if report(values[:seen]):
                return Outcome("Stopped", values[seen - 1], job=f"job-{number}")
        return Outcome("Completed", values[-1], job=f"job-{number}")

    model = execute(Scripted(outcome), earlyStoppingType="Auto", objectiveMetricName="train:msd", maxJobs=7)
    assert [t.status for t in model._trials] == ["Completed"] * 5 + ["Stopped", "Completed"]
    assert model._trials[5].value is not None
    assert [len(t.reports) for t in model.strategy().trials] == [10] * 5 + [4, 10]


@pytest.mark.parametrize("look", [1, 2, 4])
def test_early_stopping_does_not_depend_on_how_often_one_looks(look: int) -> None:
    def outcome(config: dict[str, Any], number: int, report: Report | None) -> Outcome:
        assert report is not None
        values = [1.0, 9.0, 9.0, 0.1] if number == 6 else [1.0] * 4
        for seen in range(look, 5, look):
            if report(values[:seen]):
                return Outcome("Stopped", values[seen - 1])
        return Outcome("Completed", values[-1])

    model = execute(Scripted(outcome), earlyStoppingType="Auto", objectiveMetricName="train:msd", maxJobs=6)
    assert [t.status for t in model._trials] == ["Completed"] * 5 + ["Stopped"]


def test_what_the_service_refuses_ends_the_run_and_it_goes_on_from_its_folder(tmp_path: Path) -> None:
    def outcome(config: dict[str, Any], number: int, report: Report | None) -> Outcome:
        if number == 3:
            raise ServiceError("no answer", code="Gone")
        return completed(config, number, report)

    broken = Scripted(outcome)
    with pytest.raises(ServiceError, match="no answer") as caught:
        execute(broken, checkpointDir=str(tmp_path / "run"))
    again = f"HyperparameterTuner.attach({str(tmp_path / 'run')!r}, estimator=..., evaluator=Evaluator(...)).fit(df)"
    assert caught.value.__notes__[0].endswith(f"go on with it by {again}")
    # The job may run on, and read what was staged.
    assert broken.closed == 0
    fine = Scripted(completed)
    model = execute(fine, checkpointDir=str(tmp_path / "run"))
    # Two had ended; the third, which was pending, comes first.
    assert fine.runs[0] == broken.runs[2]
    assert len(fine.runs) == 4
    whole = execute(Scripted(completed))
    assert [t.config for t in model._trials] == [t.config for t in whole._trials]
    # All is done: nothing runs, and the model is there again.
    idle = Scripted(completed)
    assert execute(idle, checkpointDir=str(tmp_path / "run")).bestParams == model.bestParams
    assert idle.runs == []


def test_an_interrupt_asks_what_becomes_of_the_trials(monkeypatch: pytest.MonkeyPatch) -> None:
    waiting = threading.Event()
    trainer = Scripted(
        lambda config, number, report: (waiting.wait(5), completed(config, number, report))[1], jobs=True
    )
    monkeypatch.setattr(tuning_driver.interrupt, "ask", lambda subject: "stop")
    get = tuning_driver.queue.Queue.get

    def interrupted(self: Any, *args: Any, **kwargs: Any) -> Any:
        if kwargs.get("timeout") == 0.5:
            raise KeyboardInterrupt
        return get(self, *args, **kwargs)

    monkeypatch.setattr(tuning_driver.queue.Queue, "get", interrupted)
    monkeypatch.setattr(_Run, "_exists", lambda self, job: True)
    with pytest.raises(KeyboardInterrupt):
        execute(trainer, maxParallelJobs=2)
    waiting.set()
    assert trainer.stopped == ["job-0", "job-0"] or set(trainer.stopped) <= {"job-0", "job-1"}


def test_where_nothing_has_a_result_the_error_says_why() -> None:
    trainer = Scripted(lambda config, number, report: Outcome("Failed", None, "ClientError: bad data"))
    with pytest.raises(JobFailedError, match=r"none of 2 trials .* had a result") as caught:
        execute(trainer, maxJobs=2)
    assert "trial 1: ClientError: bad data" in str(caught.value)


def test_whose_fault_an_error_is() -> None:
    assert is_the_trials(ValueError("x"))
    assert is_the_trials(JobFailedError("x"))
    assert not is_the_trials(ServiceError("x"))


def test_grid_runs_all_of_it_where_no_limit_is_set() -> None:
    trainer = Scripted(lambda config, number, report: Outcome("Completed", float(config["k"])))
    given: dict[str, Any] = {"ranges": {"k": Integer(2, 31)}, "strategy": "Grid", "levels": 30, "maxJobs": None}
    assert len(execute(trainer, **given)._trials) == 30


def test_the_strategy_of_the_model_goes_on_as_the_runs() -> None:
    trainer = Scripted(lambda config, number, report: Outcome("Completed", float(config["k"])))
    given: dict[str, Any] = {"ranges": {"k": Integer(2, 31)}, "strategy": "Grid", "levels": 30, "maxJobs": 3}
    strategy = execute(trainer, objectiveMetricName="train:msd", earlyStoppingType="Auto", **given).strategy()
    assert strategy.earlyStopping == "Median"
    assert [strategy.ask().config["k"] for _ in range(2)] == [5, 6]
    given = {"strategy": "Manual", "configs": [{"tol": 0.1}, {"tol": 0.2}, {"tol": 0.3}], "maxJobs": 2}
    assert execute(Scripted(completed), **given).strategy().ask().config == {"tol": 0.3}


class Stoppable(Scripted):
    """Trials run until they are asked to stop, but for those that the test lets end."""

    def __init__(self, ends: Callable[[int], float | None]) -> None:
        super().__init__(self._until, jobs=True)
        self._ends = ends
        self._asked = threading.Event()

    def _until(self, config: dict[str, Any], number: int, report: Report | None) -> Outcome:
        value = self._ends(number)
        if value is not None:
            return Outcome("Completed", value)
        assert self._asked.wait(60), "it was not asked to stop"
        return Outcome("Stopped", 5.0)

    def stop(self, job: str) -> None:
        super().stop(job)
        self._asked.set()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> FakeClock:
    clock = FakeClock()
    monkeypatch.setattr("sagespark.ml.tuning_state.SystemClock", lambda: clock)
    monkeypatch.setattr(_Run, "_exists", lambda self, job: True)
    return clock


def test_a_criterion_stops_the_trials_that_run(clock: FakeClock) -> None:
    trainer = Stoppable(lambda number: 0.5 if number == 3 else None)
    model = execute(trainer, maxParallelJobs=3, targetObjectiveMetricValue=1.0, maxJobs=9)
    assert sorted(t.status for t in model._trials) == ["Completed", "Stopped", "Stopped"]
    assert model.bestTrial.value == 0.5
    assert len(trainer.stopped) == 2


def test_trials_that_run_are_stopped_when_time_is_up(clock: FakeClock) -> None:
    def ends(number: int) -> float | None:
        if number == 3:
            clock.advance(600)
        return 1.0 if number == 1 else None

    model = execute(Stoppable(ends), maxParallelJobs=2, maxRuntimeInSeconds=600, maxJobs=9)
    assert sorted(t.status for t in model._trials) == ["Completed", "Stopped", "Stopped"]


def test_time_counts_from_the_first_drivers_start(
    clock: FakeClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def outcome(config: dict[str, Any], number: int, report: Report | None) -> Outcome:
        if number == 3:
            raise ServiceError("no answer", code="Gone")
        return completed(config, number, report)

    given: dict[str, Any] = {"checkpointDir": str(tmp_path / "run"), "maxRuntimeInSeconds": 600, "maxParallelJobs": 1}
    with pytest.raises(ServiceError):
        execute(Scripted(outcome), **given)
    clock.advance(600)
    later = Scripted(completed)
    model = execute(later, **given)
    # The third had no job that could be waited for.
    assert [t.status for t in model._trials] == ["Completed", "Completed", "Stopped"]
    assert later.runs == []
