"""Tuning by the driver: this process asks a strategy, runs the trials, and keeps a journal of all of it.

1. The stages in front of the tuned one are fitted once, the data is staged, or kept in the cluster, once.
2. As long as the limit allows, the strategy is asked for a configuration; the journal gets it before anything starts.
3. Trials run in threads; each outcome goes to the strategy and the journal in the order in which it comes.
4. A killed driver goes on from the journal: trials that ended are known, training jobs that run are waited for.
5. Where time is up, or a criterion is met, before the limit, training jobs that run are asked to stop.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pyspark
from pyspark import inheritable_thread_target
from pyspark.sql import DataFrame
from pyspark.sql.utils import is_remote

from sagespark.aws import interrupt, s3
from sagespark.aws.session import SageMakerSession
from sagespark.aws.training_job import MetricsFollower, TrainingJob
from sagespark.aws.waiter import Subject
from sagespark.bayesopt import Exhausted, Waiting
from sagespark.bayesopt.log import finite
from sagespark.bayesopt.progress import has_converged, not_improving
from sagespark.core.errors import JobFailedError
from sagespark.core.s3uri import S3Uri
from sagespark.ml import tuning_ranges, tuning_runs, tuning_trials
from sagespark.ml.listeners import JobEvent, everywhere, tell
from sagespark.ml.progress import with_progress
from sagespark.ml.stage import Stage
from sagespark.ml.tuning_plan import Candidate
from sagespark.ml.tuning_state import RunState
from sagespark.ml.tuning_trainers import FitTrainer, JobTrainer, Outcome, Report, Trainer, is_the_trials, reaches
from sagespark.ml.tuning_trials import Trial

if TYPE_CHECKING:
    from sagespark.ml.tuning import HyperparameterTuner
    from sagespark.ml.tuning_model import HyperparameterTunerModel

KIND = "Tuning"
"""Kind of the run in events: no job of the service."""


def problems(tuner: HyperparameterTuner, candidates: Sequence[Candidate]) -> list[str]:
    """Return why the driver cannot run this, in words."""
    found = []
    if len(candidates) > 1 or candidates[0].name:
        found.append("several estimators make a tuning job of the service; give one estimator for runOn='driver'")
    if tuner._value("strategy") == "Hyperband":
        found.append("strategy 'Hyperband' is the service's only: it stops training jobs by their epochs")
    if tuner.getWarmStart() is not None:
        found.append("warmStart is the service's only; on the driver a run goes on by attach, or by its checkpointDir")
    if tuner._value("autotune"):
        found.append("autotune is the service's only; give ranges")
    if tuner._value("earlyStoppingType") == "Auto" and tuner.getEvaluator() is not None:
        found.append("earlyStoppingType='Auto' needs an objective metric: an evaluator scores a model only once")
    if tuner._value("instanceTypes"):
        found.append("instanceTypes is the service's only; set the estimator's instanceType")
    return found


def fit(tuner: HyperparameterTuner, candidate: Candidate, dataset: DataFrame) -> HyperparameterTunerModel:
    """Run or go on with a run, and return its model."""
    stages = tuning_runs.stages_of(candidate.estimator, candidate.tuned)
    ours = any(isinstance(s, Stage) for s in tuning_ranges.nested(candidate.estimator))
    session = tuner._resolved_session() if ours else tuner.getSagemakerSession()
    if ours and session is not None:
        tuner._refuse(reaches(session, dataset.sparkSession), "fit")
    run = _Run(tuner, candidate, session)
    run.open()
    # Behind `open`: the split of a run that goes on is the former one's.
    evaluator = tuner.getEvaluator()
    if stages.trains and session is not None:
        prepared = tuner._prepared(candidate, dataset, run.seed, scored=evaluator is not None)
        keep = not candidate.estimator._value("deleteStagingData") if isinstance(candidate.estimator, Stage) else False
        trainer: Trainer = JobTrainer(session, prepared, evaluator, keep)
    else:
        before, frames = tuning_runs.fit_before(stages, tuner._split(dataset, run.seed))
        trainer = FitTrainer(candidate, stages, before, frames, evaluator)
    return run.execute(trainer, dataset)


class _Run(RunState):
    """One run, from its journal to its model."""

    def __init__(self, tuner: HyperparameterTuner, candidate: Candidate, session: SageMakerSession | None) -> None:
        super().__init__(tuner, candidate, session)
        self._models: dict[int, Any] = {}
        self._done: queue.Queue[tuple[int, Outcome | BaseException]] = queue.Queue()
        self._running: set[int] = set()
        self._stopping: set[int] = set()
        self._over = False
        """Whether the search has ended before its limit."""
        heard = () if session is None else session.listeners
        self._listeners = with_progress((*everywhere(), *heard, *tuner.getListeners()))
        self._event = JobEvent(KIND, "", tuner.uid, params=tuner._given())
        self._began = self._clock.monotonic()

    # -- the loop -----------------------------------------------------------------------------------------------------

    def execute(self, trainer: Trainer, dataset: DataFrame) -> HyperparameterTunerModel:
        """Run the trials and return the model."""
        self._event = replace(self._event, name=self.name)
        tell(self._listeners, "onJobStarted", self._event)
        try:
            needs_work = self._open_trials() or not self._is_over()
            if needs_work:
                trainer.prepare(self._note_staged)
            self._loop(trainer, dataset)
            model = self._finish(trainer)
        except BaseException as error:
            self._end("Failed", error)
            kept = f"run {self.name!r} keeps its {len(self._trials)} trials"
            error.add_note(f"{kept}; go on with it by {self.command}.fit(df)")
            raise
        finally:
            trainer.close(bool(self._running))
        self._end("Completed", None)
        return model

    def _note_staged(self, uris: list[str]) -> None:
        self._staged += uris
        self._journal.append({"staged": uris})

    def _open_trials(self) -> list[Trial]:
        return [t for t in self._trials.values() if not t.ended]

    def _loop(self, trainer: Trainer, dataset: DataFrame) -> None:
        v = self._tuner._values()
        # pyspark 3.5 takes the session over Connect only, and the function itself otherwise.
        takes_session = is_remote() or not pyspark.__version__.startswith("3.")
        target = inheritable_thread_target(dataset.sparkSession) if takes_session else inheritable_thread_target
        # What ended the search before the driver was killed ends it now as well.
        self._over = self._criterion()
        # Those that a former driver launched come first.
        for trial in self._open_trials():
            self._start(trainer, target, trial)
        while True:
            if self._over or self._criterion():
                self._stop_all(trainer)
            while len(self._running) < v["maxParallelJobs"] and not self._is_over():
                asked = self._ask(trainer)
                if asked is None:
                    break
                self._start(trainer, target, asked)
            if not self._running:
                return
            self._take(trainer, *self._next(trainer))

    def _is_over(self) -> bool:
        """Tell whether no further trial is launched."""
        v = self._tuner._values()
        grid = v["strategy"] in ("Grid", "Manual") and not self._tuner.isSet(self._tuner.maxJobs)
        return self._over or (len(self._trials) >= v["maxJobs"] and not grid) or self._criterion()

    def _criterion(self) -> bool:
        """Tell whether the search ends before its limit."""
        v = self._tuner._values()
        sign = 1.0 if self._candidate.objective.direction == "Minimize" else -1.0
        told = [e["value"] for e in self._strategy.history if e["event"] == "tell" and e["value"] is not None]
        values = [sign * value for value in told]
        goal, patience = v.get("targetObjectiveMetricValue"), v.get("maxJobsNotImproving")
        return (
            self._time_is_up()
            or (goal is not None and bool(values) and min(values) <= sign * goal)
            or (patience is not None and not_improving(values) >= patience)
            or (v["completeOnConvergence"] and has_converged(values, len(self._candidate.tuned)))
        )

    def _time_is_up(self) -> bool:
        most = self._tuner._values().get("maxRuntimeInSeconds")
        return most is not None and (self._now() - self.started).total_seconds() >= most

    def _stop_all(self, trainer: Trainer) -> None:
        """Ask the trials that run to stop, once each."""
        with self._lock:
            self._over = True
            names = [self._trials[number].name for number in sorted(self._running - self._stopping)]
            self._stopping |= self._running
        for name in names:
            trainer.stop(name)

    def _ask(self, trainer: Trainer) -> Trial | None:
        """Launch the next trial, None where there is none; the journal has it before it starts."""
        with self._lock:
            try:
                asked = self._strategy.ask()
            except (Exhausted, Waiting):
                return None
            number = int(asked.id or 0)
            job, create = trainer.launch(asked.config)
            trial = Trial(number, asked.config, name=job, startTime=self._now(), tuner=self.name, stage=self._tuner.uid)
            self._write(trial=number, config=asked.config, job=job, time=self._now().isoformat())
            self._trials[number] = trial
        create()
        return trial

    def _start(self, trainer: Trainer, target: Callable[[Any], Any], trial: Trial) -> None:
        """Follow a trial on a thread of its own, which an interrupted driver need not wait for."""

        def follow() -> None:
            try:
                outcome = self._attempt(trainer, trial)
                if outcome.job and self._session is not None and tuning_trials.are_heard(self._listeners):
                    follower = MetricsFollower(TrainingJob(self._session, outcome.job))
                    outcome.history = tuning_trials.history(follower, outcome.description)
                self._done.put((trial.id, outcome))
            except BaseException as error:
                self._done.put((trial.id, error))

        self._running.add(trial.id)
        tell(self._listeners, "onTrial", trial)
        threading.Thread(target=target(follow), name=f"tuning-{self.name}-{trial.id}", daemon=True).start()

    def _attempt(self, trainer: Trainer, trial: Trial) -> Outcome:
        """Run a trial, again where the service failed it and that is asked for."""
        attempts = int(self._tuner._value("maxRetryAttempts") or 0)
        job = trial.name
        runs = bool(job) and self._exists(job)
        if self._over and not runs:
            return Outcome("Stopped", reason="the search had ended")
        if job and not runs:
            # The former driver was killed between the journal and the job.
            job = self._again(trainer, trial)
        report = self._report(trial.id) if self._tuner._value("earlyStoppingType") == "Auto" else None
        while True:
            outcome = trainer.run(trial.config, job, report)
            if not outcome.is_internal or attempts == 0 or self._over:
                return outcome
            attempts -= 1
            job = self._again(trainer, trial)

    def _exists(self, job: str) -> bool:
        return self._session is not None and TrainingJob(self._session, job).exists()

    def _again(self, trainer: Trainer, trial: Trial) -> str:
        with self._lock:
            job, create = trainer.launch(trial.config)
            time = self._now()
            self._write(trial=trial.id, config=dict(trial.config), job=job, time=time.isoformat())
            self._trials[trial.id] = replace(trial, name=job, startTime=time)
        create()
        if self._over:
            # All were asked to stop before there was this one.
            trainer.stop(job)
        return job

    def _report(self, trial: int) -> Report:
        def report(values: Sequence[float]) -> bool:
            with self._lock:
                # What a former driver or attempt has reported stands.
                known = len(self._strategy.trials[trial].reports)
                if len(values) <= known:
                    return False
                stop = False
                for step in range(known, len(values)):
                    self._strategy.report(trial, step, values[step])
                    # After each value, as the service does: it must not matter how many a look at the log brings.
                    stop = stop or self._strategy.should_stop(trial)
                self._write()
                return stop

        return report

    def _next(self, trainer: Trainer) -> tuple[int, Outcome | BaseException]:
        """Return the next outcome; an interrupt asks what becomes of the trials that run."""
        while True:
            try:
                # With a timeout, an interrupt is heard while waiting.
                return self._done.get(timeout=0.5)
            except queue.Empty:
                if self._time_is_up():
                    self._stop_all(trainer)
            except KeyboardInterrupt:
                subject = Subject(self.name, "", f"{self.command}.fit(df)")
                choice = interrupt.ask(subject)
                if choice == "wait":
                    continue
                if choice == "stop":
                    for trial in self._running:
                        trainer.stop(self._trials[trial].name)
                raise

    def _take(self, trainer: Trainer, number: int, found: Outcome | BaseException) -> None:
        """Tell the strategy and the journal what came of a trial."""
        if isinstance(found, BaseException):
            if not isinstance(found, Exception) or not is_the_trials(found):
                raise found
            found = Outcome("Failed", reason=f"{type(found).__name__}: {found}".splitlines()[0])
        if found.value is not None and finite(found.value) is None:
            found = replace(found, status="Failed", value=None, reason=f"the objective is {found.value}")
        trial = self._trials[number]
        with self._lock:
            if found.value is None and (found.is_internal or found.status == "Stopped"):
                # No fault of the configuration.
                self._strategy.tell(number, None, "Stopped")
            elif found.status == "Failed" or found.value is None:
                self._strategy.tell(number, None, "Failed")
            else:
                self._strategy.tell(number, found.value, found.status)
            trial = replace(
                trial, status=found.status, value=found.value, failureReason=found.reason, arn=found.arn,
                endTime=self._now(), metrics=dict(found.metrics), name=found.job or trial.name,
            )  # fmt: skip
            self._write(outcome=trial.to_json())
            self._trials[number] = trial
        self._running.discard(number)
        self._stopping.discard(number)
        self._keep(number, found.model)
        tell(self._listeners, "onTrial", replace(trial, description=found.description, history=found.history))
        self._progress()

    def _keep(self, number: int, model: Any) -> None:
        """Keep a model that was fitted here, unless a better one is there and nobody asked for all."""
        if model is None:
            return
        self._models[number] = model
        if not self._tuner._value("collectSubModels"):
            best = tuning_trials.best(list(self._trials.values()), self._candidate.objective.direction)
            self._models = {n: m for n, m in self._models.items() if best is not None and n == best.id}

    def _progress(self) -> None:
        ended = [t for t in self._trials.values() if t.ended]
        best = tuning_trials.best(ended, self._candidate.objective.direction)
        before = self._event
        self._event = replace(
            before,
            status="InProgress",
            secondaryStatus=f"{len(ended)} of {self._tuner._value('maxJobs')} trials",
            message=f"best so far: trial {best.id}" if best is not None else "",
            elapsed=self._clock.monotonic() - self._began,
            metrics={} if best is None else {self._candidate.objective.metric: float(best.value or 0.0)},
        )
        tell(self._listeners, "onStatus", self._event)
        if self._event.metrics != before.metrics:
            tell(self._listeners, "onMetrics", self._event)

    def _end(self, status: str, error: BaseException | None) -> None:
        elapsed = self._clock.monotonic() - self._began
        self._event = replace(self._event, status=status, elapsed=elapsed, error=error)
        tell(self._listeners, "onJobEnded", self._event)

    # -- the model ----------------------------------------------------------------------------------------------------

    def _finish(self, trainer: Trainer) -> HyperparameterTunerModel:
        trials = [self._trials[number] for number in sorted(self._trials)]
        objective = self._candidate.objective
        best = tuning_trials.best(trials, objective.direction)
        if best is None:
            reasons = [f"  trial {t.id}: {t.failureReason}" for t in trials[-5:]]
            raise JobFailedError(
                "\n".join([f"none of {len(trials)} trials of {self.name!r} had a result; the last ones:", *reasons]),
                jobName=self.name,
                status="Failed",
            )
        model = trainer.model(best.config, best.name, self._models.get(best.id))
        collected = self._tuner._value("collectSubModels") and bool(self._models)
        made = self._tuner._made(
            model,
            trials=trials,
            ranges={"": tuning_ranges.as_json(self._candidate.tuned)},
            objective=objective,
            jobName=self.name,
            service=False,
            strategy=self._tuner._value("strategy"),
            seed=self.seed,
            history=self._strategy.history,
            options=self._options(),
            subModels=[self._models.get(t.id) for t in trials] if collected else None,
        )
        self._sweep()
        return made

    def _sweep(self) -> None:
        """Delete, by record, what former drivers of this run have staged."""
        keep = isinstance(self._candidate.estimator, Stage) and not self._candidate.estimator._value(
            "deleteStagingData"
        )
        if self._session is not None and self._staged and not keep:
            s3.delete_keys(self._session, [S3Uri.parse(uri) for uri in self._staged])
