"""Tuning by the service: one CreateHyperParameterTuningJob over data that is staged once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from pyspark.sql import DataFrame

from sagespark.aws.errors import no_answer
from sagespark.aws.session import SageMakerSession
from sagespark.aws.training_job import MetricsFollower, TrainingJob, metrics
from sagespark.aws.tuning_job import TuningJob, objective
from sagespark.core.clock import Clock
from sagespark.core.errors import JobFailedError, Resource, SageSparkError
from sagespark.ml import act
from sagespark.ml.listeners import JobEvent, Listener, tell
from sagespark.ml.tuning_plan import Candidate, TuningPlan
from sagespark.ml.tuning_trials import Trial, are_heard, history
from sagespark.ml.tuning_wire import completed

Reports = list[act.Reports]


def stage(session: SageMakerSession, plan: TuningPlan, frames: Sequence[Mapping[str, DataFrame]]) -> Reports:
    """Stage the data of every estimator, once for all trials; where one is refused, delete what was staged before."""
    reports: Reports = []
    try:
        for job, each in zip(plan.jobs, frames, strict=True):
            reports.append(act.stage_all(session, job, each))
    except BaseException:
        discard(session, reports)
        raise
    return reports


def discard(session: SageMakerSession, reports: Reports) -> None:
    """Delete the staged shards by record."""
    for each in reports:
        act.discard(session, each)


def run(
    session: SageMakerSession,
    plan: TuningPlan,
    reports: Reports,
    *,
    listeners: Sequence[Listener],
    candidates: Sequence[Candidate],
    params: Mapping[str, Any],
    keep: bool,
) -> TuningJob:
    """Create the tuning job and wait for its end.

    Parameters
    ----------
    session : SageMakerSession
    plan : TuningPlan
        Resolved.
    reports : list of dict
        What was staged; deleted once the job has ended, unless ``keep``.
    listeners, candidates, params
        As `TuningWatch` takes them.
    keep : bool
        Whether the shards stay.

    Raises
    ------
    JobFailedError
        If it ended without a best training job.
    SageSparkError
        If it could not be created, or waiting for it failed.
    """
    manifests = [Resource("S3Object", str(r.manifest)) for each in reports for r in each.values()]
    try:
        job = TuningJob.create(session, plan.tuningJob)
    except SageSparkError as error:
        if no_answer(error):
            error.createdResources += tuple(manifests)
        else:
            discard(session, [] if keep else reports)
        raise
    watch = TuningWatch(
        job, listeners, session.clock, stage=plan.stage, request=plan.tuningJob, params=params, candidates=candidates
    )
    try:
        follow(job, watch)
    except BaseException as error:
        ended = isinstance(error, JobFailedError) or _ended(job)
        if ended:
            discard(session, [] if keep else reports)
        left = (job.resource,) if ended else (job.resource, *manifests)
        if isinstance(error, SageSparkError):
            error.createdResources += tuple(r for r in left if r not in error.createdResources)
        else:
            for resource in left:
                error.add_note(f"still there: {resource}")
        raise
    discard(session, [] if keep else reports)
    return job


def follow(job: TuningJob, watch: TuningWatch) -> None:
    """Wait for a tuning job's end, telling listeners.

    Raises
    ------
    JobFailedError
        If it ended without a best training job.
    """
    watch.started()
    try:
        description = job.wait(watch.update)
        if "BestTrainingJob" not in description:
            status = description["HyperParameterTuningJobStatus"]
            raise JobFailedError(
                f"tuning job {job.name!r} ended {status} without a best training job\n{job._evidence()}",
                jobName=job.name,
                status=status,
            )
    except BaseException as error:
        watch.ended(error)
        raise
    watch.ended()


def trials(job: TuningJob, candidates: Sequence[Candidate], stage: str = "") -> list[Trial]:
    """Return the trials of a tuning job as they stand. Calls ListTrainingJobsForHyperParameterTuningJob."""
    found: list[Trial] = []
    rows = sorted(job.trials(), key=lambda row: _place(job.name, row))
    candidates = completed(candidates, rows)
    for row in rows:
        definition = row.get("TrainingJobDefinitionName", "")
        candidate = _candidate(row, candidates)
        values = row["TunedHyperParameters"]
        config = {t.name: t.from_wire(values[t.wire]) for t in candidate.tuned if t.wire in values}
        found.append(
            Trial(
                len(found),
                config,
                row["TrainingJobStatus"],
                objective(row),
                row["TrainingJobName"],
                definition if candidate.name else "",
                row.get("FailureReason", ""),
                row.get("TrainingJobArn", ""),
                row["CreationTime"],
                row.get("TrainingEndTime"),
                job.name,
                stage,
            )
        )
    return found


def _candidate(row: Mapping[str, Any], candidates: Sequence[Candidate]) -> Candidate:
    """Return the candidate whose definition a training job's summary names."""
    definition = row.get("TrainingJobDefinitionName", "")
    return next((c for c in candidates if c.name == definition), candidates[0])


def _place(tuningJob: str, row: Mapping[str, Any]) -> tuple[Any, ...]:
    """Return where a training job stands among a tuning job's: by the number in its name, else by its time.

    Names are ``{tuning job}-{number}-{token}``, the number with at least three digits: as text, 1000 is before 101.
    """
    number = row["TrainingJobName"].removeprefix(f"{tuningJob}-").partition("-")[0]
    return (int(number) if number.isdecimal() else 0, row["CreationTime"], row["TrainingJobName"])


class TuningWatch:
    """Turn a tuning job's descriptions into events, and its trials into `Listener.onTrial`.

    Parameters
    ----------
    job : TuningJob
    listeners : sequence of Listener
    clock : Clock
    stage, request, params
        See `JobEvent`.
    candidates : sequence of Candidate
        What is tuned.
    """

    def __init__(
        self,
        job: TuningJob,
        listeners: Sequence[Listener],
        clock: Clock,
        *,
        candidates: Sequence[Candidate],
        stage: str = "",
        request: Mapping[str, Any] | None = None,
        params: Mapping[str, Any] | None = None,
    ) -> None:
        self._job = job
        self._listeners = listeners
        self._clock = clock
        self._started = clock.monotonic()
        self._candidates = candidates
        self._event = JobEvent(job.kind, job.name, stage, dict(request or {}), dict(params or {}))
        self._told: dict[str, Trial] = {}
        self._logs: dict[str, MetricsFollower] = {}
        self._close = are_heard(listeners)

    def started(self) -> None:
        """Tell that the job was accepted."""
        tell(self._listeners, "onJobStarted", self._event)

    def update(self, description: Mapping[str, Any]) -> None:
        """Tell what a description says that is new."""
        before = self._event
        counters = description.get("TrainingJobStatusCounters", {})
        done = sum(counters.values()) - counters.get("InProgress", 0)
        most = description["HyperParameterTuningJobConfig"]["ResourceLimits"].get("MaxNumberOfTrainingJobs", "?")
        best = description.get("BestTrainingJob", {})
        value = objective(best)
        event = self._event = replace(
            before,
            status=str(description.get("HyperParameterTuningJobStatus", "")),
            secondaryStatus=f"{done} of {most} training jobs",
            message=f"best so far: {best['TrainingJobName']}" if best else "",
            elapsed=self._clock.monotonic() - self._started,
            metrics={} if value is None else {_candidate(best, self._candidates).objective.metric: value},
            description=description,
        )
        self._trials()
        if (event.status, event.secondaryStatus) != (before.status, before.secondaryStatus):
            tell(self._listeners, "onStatus", event)
        if event.metrics != before.metrics:
            tell(self._listeners, "onMetrics", event)
        tell(self._listeners, "onPoll", event)

    def ended(self, error: BaseException | None = None) -> None:
        """Tell that the job, or the waiting for it, ended."""
        elapsed = self._clock.monotonic() - self._started
        tell(self._listeners, "onJobEnded", replace(self._event, elapsed=elapsed, error=error))

    def _trials(self) -> None:
        if not self._close:
            return
        for trial in trials(self._job, self._candidates, self._event.stage):
            known = self._told.get(trial.name)
            if known is not None and known.ended:
                continue
            job = TrainingJob(self._job.session, trial.name)
            description = job.describe()
            found = replace(trial, metrics=metrics(description), description=description)
            if known is None or (known.status, known.metrics) != (found.status, found.metrics):
                if found.metrics:
                    follower = self._logs.setdefault(trial.name, MetricsFollower(job))
                    found = replace(found, history=history(follower, description))
                self._told[trial.name] = found
                tell(self._listeners, "onTrial", found)


def _ended(job: TuningJob) -> bool:
    try:
        return job.ended()
    except Exception:
        # Nobody knows: then it may run.
        return False
