"""One tuning job, step by step.

A step hears of the training jobs that run, tells the strategies what came of them, stops those that early stopping or
the job's end asks for, and launches as many as may run. Whatever a step decides is in the Store before it has effect,
so that a step that never ended is taken again after a restart.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from sagespark.bayesopt import Exhausted, Strategy, Trial, Waiting
from sagespark.bayesopt.progress import has_converged, not_improving
from sagespark.core.clock import Clock, token
from sagespark.core.errors import ValidationError
from sagespark.local.lifecycle.status import ENDED as JOB_ENDED
from sagespark.local.store import Document, Store
from sagespark.local.tuning import criteria, warm_start
from sagespark.local.tuning import document as documents
from sagespark.local.tuning.definitions import Definition, Request, definitions, early_stopping, max_jobs
from sagespark.local.tuning.journal import Journal, Launched
from sagespark.local.tuning.strategies import strategies

_log = logging.getLogger(__name__)


class Trainer(Protocol):
    """What a tuning job asks of the service's training jobs."""

    def create(self, request: Request) -> None:
        """Create a training job of this tuning job, inside the caller's transaction.

        Raises
        ------
        AwsError
            If it is refused.
        """
        ...

    def describe(self, name: str) -> Document | None:
        """Return a training job's document, None where there is none."""
        ...

    def stop(self, name: str) -> None:
        """Ask a training job to stop; nothing where it has ended."""
        ...

    def values(self, job: Document, metric: str) -> Sequence[float]:
        """Return every value of a metric that a job's first host has written, in order."""
        ...


@dataclass
class Search:
    """One definition and the strategy that searches it."""

    definition: Definition
    strategy: Strategy
    saved: int
    """Events of the strategy's history that are in the journal."""
    exhausted: bool = False

    def news(self) -> list[dict[str, Any]]:
        """Return the events since the last call, which the caller writes down."""
        events = self.strategy.history[self.saved :]
        self.saved += len(events)
        return list(events)


class Coordinator:
    """Run one tuning job.

    Parameters
    ----------
    store : Store
        Keeps the tuning job and its journal.
    trainer : Trainer
        Runs the training jobs.
    clock : Clock
        Stamps the end.
    region, name : str
        Key of the tuning job in the Store.
    token : callable
        Takes a length and returns that many lower-case hexadecimal characters.
    """

    def __init__(
        self,
        store: Store,
        trainer: Trainer,
        clock: Clock,
        region: str,
        name: str,
        token: Callable[[int], str] = token,
    ) -> None:
        self._store = store
        self._trainer = trainer
        self._clock = clock
        self._region = region
        self._name = name
        self._token = token
        self._journal = Journal(store, region, name)
        self._journal.load()
        self._document = self._get()
        self._config = self._document["HyperParameterTuningJobConfig"]
        self._most = max_jobs(self._document)
        self.watches = early_stopping(self._document) or self._config["Strategy"] == "Hyperband"
        """Whether what training jobs write decides how long they run."""
        self._stopping: set[str] = set()
        self._over = ""
        self.searches = [
            Search(definition, strategy, len(strategy.history))
            for definition, strategy in zip(
                definitions(self._document), strategies(self._document, self._journal), strict=True
            )
        ]
        if self._document["HyperParameterTuningJobStatus"] == "InProgress":
            # What ended the search before a restart ends it now as well.
            self._over = self._criterion()

    # -- one step ---------------------------------------------------------------------------------------------------

    def step(self) -> bool:
        """Take one step; return whether the tuning job has ended."""
        self._document = self._get()
        if self._document["HyperParameterTuningJobStatus"] in documents.ENDED:
            return True
        ended_jobs = [trial for trial in self._running() if self._hear(trial)]
        changed = bool(ended_jobs)
        stopped = self._document["HyperParameterTuningJobStatus"] == "Stopping"
        self._over = self._over or self._criterion()
        if stopped or self._over:
            for trial in self._running():
                self._stop(trial)
        else:
            changed |= self._launch_all()
        ended = not self._running() and (stopped or bool(self._over) or self._is_done())
        if changed or ended:
            self._record(ended, stopped)
        return ended

    def fail(self, reason: str) -> None:
        """End the tuning job as Failed and ask its training jobs to stop."""
        for trial in self._running():
            self._stop(trial)
        now = self._clock.now()
        self._store.update(documents.KIND, self._region, self._name, lambda d: documents.end(d, "Failed", now, reason))

    def _get(self) -> Document:
        found = self._store.get(documents.KIND, self._region, self._name)
        if found is None:
            raise ValidationError(f"there is no tuning job {self._name}")
        return found

    def _running(self) -> list[Launched]:
        return [trial for trial in self._journal.trials if trial.summary is None]

    def _is_done(self) -> bool:
        return len(self._journal.trials) >= self._most or all(search.exhausted for search in self.searches)

    # -- hearing ----------------------------------------------------------------------------------------------------

    def _hear(self, trial: Launched) -> bool:
        """Take in what a training job did; return whether it has ended."""
        job = self._trainer.describe(trial.jobs[-1])
        search = self.searches[trial.definition]
        if job is None:
            # It was deleted by hand once it had ended, before this step saw its end.
            job = {"TrainingJobName": trial.jobs[-1], "TrainingJobStatus": "Stopped"}
            job |= {"TrainingJobArn": "", "CreationTime": self._clock.now()}
        ended = job["TrainingJobStatus"] in JOB_ENDED
        if self.watches:
            self._report(search, trial, job)
        if not ended:
            return False
        row = self._summary(search, trial, job)
        if documents.is_retryable(row) and len(trial.jobs) <= search.definition.attempts and not self._is_ending():
            self._retry(search, trial)
            return True
        value = documents.value_of(row)
        if job["TrainingJobStatus"] == "Completed" and value is not None:
            search.strategy.tell(trial.trial, value)
        elif job["TrainingJobStatus"] == "Completed" or (
            row["TrainingJobStatus"] == "Failed" and not documents.is_retryable(row)
        ):
            # A job without its objective tells as little as one that failed by its configuration.
            search.strategy.tell(trial.trial, None, "Failed")
        else:
            # An internal error is no fault of the configuration.
            search.strategy.tell(trial.trial, value, "Stopped")
        self._journal.append(trial.definition, search.news(), ended=trial.jobs[-1], summary=row)
        return True

    def _report(self, search: Search, trial: Launched, job: Document) -> None:
        """Report the new values of the objective, and stop the job where the rule says so."""
        strategy = search.strategy
        known = next(len(t.reports) for t in strategy.pending if t.id == trial.trial)
        values = self._trainer.values(job, search.definition.metric)
        stop = False
        for step, value in enumerate(values[known:], known):
            strategy.report(trial.trial, step, value)
            stop = stop or strategy.should_stop(trial.trial)
        if len(values) > known:
            self._journal.append(trial.definition, search.news())
        if stop and job["TrainingJobStatus"] not in JOB_ENDED:
            self._stop(trial)

    def _summary(self, search: Search, trial: Launched, job: Document) -> documents.Summary:
        definition = search.definition
        return documents.summary(job, trial.tuned, definition.name, definition.metric, definition.direction)

    def _stop(self, trial: Launched) -> None:
        if trial.jobs[-1] not in self._stopping:
            self._stopping.add(trial.jobs[-1])
            self._trainer.stop(trial.jobs[-1])

    # -- launching --------------------------------------------------------------------------------------------------

    def _launch_all(self) -> bool:
        """Launch as many training jobs as may run; return whether any was."""
        limits = self._config["ResourceLimits"]
        launched = False
        while (
            len(self._running()) < limits["MaxParallelTrainingJobs"] and len(self._journal.trials) < self._most
        ) and self._launch_one():
            launched = True
        return launched

    def _launch_one(self) -> bool:
        """Launch one training job of the definition that has the fewest; return whether there was one."""
        counts = [sum(t.definition == i for t in self._journal.trials) for i in range(len(self.searches))]
        for index in sorted(range(len(self.searches)), key=lambda i: (counts[i], i)):
            search = self.searches[index]
            if search.exhausted:
                continue
            try:
                trial = search.strategy.ask()
            except Exhausted:
                search.exhausted = True
                continue
            except Waiting:
                continue
            self._launch(index, trial)
            return True
        return False

    def _launch(self, index: int, trial: Trial) -> None:
        number = len(self._journal.trials) + 1
        search = self.searches[index]
        tuned = search.definition.to_wire(trial.config)
        self._create(index, search.news(), number, int(trial.id or 0), tuned)

    def _retry(self, search: Search, trial: Launched) -> None:
        self._create(trial.definition, search.news(), trial.number, trial.trial, trial.tuned)

    def _create(self, index: int, events: list[Any], number: int, trial: int, tuned: dict[str, str]) -> None:
        """Write a launch down and create its training job, both or none."""
        name = f"{self._name}-{number:03d}-{self._token(8)}"
        request = self.searches[index].definition.training_job(name, tuned, [])
        with self._store.transaction():
            self._journal.append(index, events, job=name, trial=trial, number=number, tuned=tuned)
            self._trainer.create(request)

    # -- the end ----------------------------------------------------------------------------------------------------

    def _is_ending(self) -> bool:
        return bool(self._over) or self._document["HyperParameterTuningJobStatus"] == "Stopping"

    def _values(self) -> list[float]:
        """Return the results in the order in which they came, smaller is better."""
        found = []
        for trial in self._journal.order:
            value = documents.value_of(trial.summary or {})
            if value is not None:
                found.append(self.searches[trial.definition].definition.sign * value)
        return found

    def _ranges(self) -> int:
        return sum(len(search.definition.tuned) for search in self.searches)

    def _criterion(self) -> str:
        """Return why the search ends before its limit, empty where it does not."""
        if criteria.is_over(self._config, self._document["CreationTime"], self._clock.now()):
            return "MaxRuntimeInSeconds has passed"
        return criteria.reached(self._config, self._values(), self.searches[0].definition.sign, self._ranges())

    def _record(self, ended: bool, stopped: bool) -> None:
        """Write counters, the best job and, at the end, the final status, in one transaction."""
        rows = []
        for trial in self._journal.trials:
            job = trial.summary
            if job is None:
                found = self._trainer.describe(trial.jobs[-1])
                job = self._summary(self.searches[trial.definition], trial, found) if found is not None else None
            if job is not None:
                rows.append(job)
        values, now = self._values(), self._clock.now()

        def mutate(document: Document) -> None:
            documents.count(document, rows)
            details = {"NumberOfTrainingJobsObjectiveNotImproving": not_improving(values)}
            before = document.get("TuningJobCompletionDetails", {})
            if "ConvergenceDetectedTime" in before or has_converged(values, self._ranges()):
                details["ConvergenceDetectedTime"] = before.get("ConvergenceDetectedTime", now)
            document["TuningJobCompletionDetails"] = details
            seconds = sum(_seconds(row) for row in rows)
            document["ConsumedResources"] = {"RuntimeInSeconds": seconds}
            document["LastModifiedTime"] = now
            overall = warm_start.overall_best(self._store, self._region, document)
            if overall is not None:
                document["OverallBestTrainingJob"] = overall
            if not ended:
                return
            if document["HyperParameterTuningJobStatus"] == "Stopping":
                documents.end(document, "Stopped", now)
            elif rows and not values:
                reason = (
                    f"No training job succeeded after {len(rows)} attempts. For additional details, please take a look "
                    "at the training job failures by listing training jobs for the hyperparameter tuning job."
                )
                documents.end(document, "Failed", now, reason)
            else:
                documents.end(document, "Completed", now)

        self._document = self._store.update(documents.KIND, self._region, self._name, mutate)
        if ended and not stopped:
            _log.info("Tuning job %s ended: %s", self._name, self._over or "every training job was launched")


def tuning_job_of(stream: str) -> str:
    """Return the name of the tuning job that a training job's log stream belongs to, if it has one."""
    return stream.partition("/")[0].rsplit("-", 2)[0]


def _seconds(row: Document) -> int:
    if "TrainingStartTime" not in row or "TrainingEndTime" not in row:
        return 0
    return max(1, int((row["TrainingEndTime"] - row["TrainingStartTime"]).total_seconds()))
