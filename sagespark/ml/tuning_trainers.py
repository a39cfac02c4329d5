"""How the driver runs one trial: as a training job of SageMaker, or as a fit on the Spark cluster."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from pyspark.ml import Pipeline, PipelineModel

from sagespark.aws.session import SageMakerSession
from sagespark.aws.training_job import MetricPoint, MetricsFollower, TrainingJob, metrics
from sagespark.core.errors import EndpointFailedError, InvocationError, JobFailedError, Resource, SageSparkError
from sagespark.ml import act, cleanup, placement, tuning_runs
from sagespark.ml.made import HANDLES, Made
from sagespark.ml.plan import Plan
from sagespark.ml.tuning_plan import Candidate
from sagespark.ml.tuning_ranges import any_config, configured

INTERNAL = "InternalServerError"
Report = Callable[[Sequence[float]], bool]
"""Gets the objective's values of a running trial so far, one a step; tells whether it shall stop."""


@dataclass
class Outcome:
    """What came of a trial."""

    status: str
    value: float | None = None
    reason: str = ""
    job: str = ""
    arn: str = ""
    metrics: Mapping[str, float] = field(default_factory=dict)
    description: Mapping[str, Any] = field(default_factory=dict)
    history: Mapping[str, tuple[MetricPoint, ...]] = field(default_factory=dict)
    """Every value of the job's metrics, where a listener wants them."""
    model: Any = None
    """Fitted in this process; None where it is a training job's."""

    @property
    def is_internal(self) -> bool:
        """Whether it failed by an internal error of the service."""
        return self.reason.startswith(INTERNAL)


class Trainer(Protocol):
    """Runs trials."""

    def prepare(self, note: Callable[[list[str]], None]) -> None:
        """Do what all trials need once; ``note`` gets the URIs of staged objects."""
        ...

    def launch(self, config: Mapping[str, Any]) -> tuple[str, Callable[[], None]]:
        """Return the name of the job that a trial will run, empty where none, and what creates it."""
        ...

    def run(self, config: Mapping[str, Any], job: str, report: Report | None) -> Outcome:
        """Return what came of a trial; waits for it."""
        ...

    def stop(self, job: str) -> None:
        """Ask a running trial to stop, where that is possible."""
        ...

    def model(self, config: Mapping[str, Any], job: str, kept: Any) -> Any:
        """Return the whole model of a trial, hosted as the estimator says."""
        ...

    def close(self, running: bool) -> None:
        """Delete what `prepare` made; ``running`` tells that jobs were left running, which read it."""
        ...


class JobTrainer:
    """Trials are training jobs over data that is staged once; with an evaluator each is scored on an endpoint.

    Parameters
    ----------
    session : SageMakerSession
    prepared : Prepared
        The stage that trains, the stages around it, and the rows.
    evaluator : Evaluator or None
        Scores the transformed held-out rows; None: the metric of the job is the objective.
    keep : bool
        Whether the staged objects stay.
    """

    def __init__(self, session: SageMakerSession, prepared: tuning_runs.Prepared, evaluator: Any, keep: bool) -> None:
        self._session = session
        self._prepared = prepared
        self._evaluator = evaluator
        self._keep = keep
        self._reports: act.Reports = {}
        self._plans: dict[str, Plan] = {}

    @property
    def _candidate(self) -> Candidate:
        return self._prepared.candidate

    def plan(self, config: Mapping[str, Any]) -> Plan:
        """Return the plan of one trial's training job, with the values that only staging knows deferred."""
        return self._estimator(config)._plan(self._session, self._prepared.frames.train.schema)  # type: ignore[no-any-return]  # an estimator of this package, whose class is not known here

    def _estimator(self, config: Mapping[str, Any]) -> Any:
        return configured(self._candidate.estimator, self._candidate.tuned, config)

    def prepare(self, note: Callable[[list[str]], None]) -> None:
        """Stage every channel."""
        train = self._prepared.frames.train
        plan = self.plan(any_config(self._candidate.tuned))
        self._reports = act.stage_all(self._session, plan, self._candidate.estimator._frames(train))
        try:
            plan.resolve(self._reports)
            found = [(r.manifest, *(s.uri for s in r.shards)) for r in self._reports.values()]
            note([str(uri) for uris in found for uri in uris])
        except BaseException:
            act.discard(self._session, self._reports)
            raise

    def launch(self, config: Mapping[str, Any]) -> tuple[str, Callable[[], None]]:
        """Return the training job's name, and what creates it."""
        plan = self.plan(config).resolve(self._reports)
        self._plans[plan.name] = plan
        return plan.name, lambda: _create(self._session, plan)

    def run(self, config: Mapping[str, Any], job: str, report: Report | None) -> Outcome:
        """Wait for the training job, and score its model."""
        handle = TrainingJob(self._session, job)
        metric = self._candidate.objective.metric
        logged = MetricsFollower(handle, metric)
        stopped = False

        def heard(description: dict[str, Any]) -> None:
            nonlocal stopped
            if report is None or stopped:
                return
            # The last values of a job that has ended are what later trials are compared with.
            worse = report([point.value for point in logged.read(description).get(metric, ())])
            if worse and handle.spec.outcome(description) is None:
                stopped = True
                handle.stop()

        try:
            description = handle.wait(heard, onInterrupt=lambda _: "leave")
        except JobFailedError as error:
            description = handle.describe()
            if error.status != "Stopped":
                return self._outcome("Failed", None, description, error.failureReason or error.message)
            if self._evaluator is not None:
                return self._outcome("Stopped", None, description, "the job was stopped before it had a model")
        status = str(description["TrainingJobStatus"])
        if self._evaluator is None:
            value = metrics(description).get(metric)
            reason = "" if value is not None else f"the job wrote no metric {metric}"
            return self._outcome(
                status if value is not None or status == "Stopped" else "Failed", value, description, reason
            )
        return self._scored(config, description)

    def _outcome(self, status: str, value: float | None, description: Mapping[str, Any], reason: str = "") -> Outcome:
        name, arn = description["TrainingJobName"], description["TrainingJobArn"]
        return Outcome(status, value, reason, name, arn, metrics(dict(description)), description)

    def _scored(self, config: Mapping[str, Any], description: dict[str, Any]) -> Outcome:
        """Host the model, score it, and delete the endpoint again.

        What hosts it has the training job's name, which the journal had before all of it: where a killed driver left
        it behind, the one that goes on knows what to delete.
        """
        name = str(description["TrainingJobName"])
        if name not in self._plans:
            Made(self._session, [Resource(cls.kind, name) for cls in HANDLES]).delete_hosting()
        estimator = self._estimator(config)
        estimator = estimator.copy({estimator.endpointPolicy: "createOnTransform"})
        prepared = self._prepared
        inner = estimator._model(act.record(self._session, description), prepared.frames.train)
        try:
            inner._hosting().endpoint(lambda: inner._requests().named(name))
            # The held-out rows are behind the stages in front already.
            whole = tuning_runs.assemble(prepared.stages, [], inner, prepared.frames.train)
            value = float(self._evaluator.evaluate(whole.transform(prepared.frames.validation)))
        except (InvocationError, EndpointFailedError) as error:
            return self._outcome("Failed", None, description, error.message)
        finally:
            inner.delete()
        return self._outcome("Completed", value, description)

    def stop(self, job: str) -> None:
        """Ask the training job to stop."""
        TrainingJob(self._session, job).stop()

    def model(self, config: Mapping[str, Any], job: str, kept: Any) -> Any:
        """Return the model of a trial's job, hosted as the estimator's policy says."""
        prepared = self._prepared
        plan = self._plans.get(job) or self.plan(config)
        inner = tuning_runs.model_of_job(self._estimator(config), self._session, job, prepared.frames.train, plan)
        return tuning_runs.assemble(prepared.stages, prepared.before, inner, prepared.frames.train)

    def close(self, running: bool) -> None:
        """Delete what was staged; where jobs run on, the run that goes on deletes it, by the journal."""
        act.discard(self._session, {} if self._keep or running else self._reports)


def _create(session: SageMakerSession, plan: Plan) -> None:
    TrainingJob.create(session, plan.trainingJob)


class FitTrainer:
    """Trials are fits of the estimator in this process, on the Spark cluster.

    Parameters
    ----------
    candidate : Candidate
    stages : Stages
    before : list of Model
        Models of the stages in front, which have been applied to the rows.
    frames : Frames
        Behind these stages.
    evaluator : Evaluator
    """

    def __init__(
        self,
        candidate: Candidate,
        stages: tuning_runs.Stages,
        before: list[Any],
        frames: tuning_runs.Frames,
        evaluator: Any,
    ) -> None:
        self._candidate = candidate
        self._stages = stages
        self._before = before
        self._frames = frames
        self._evaluator = evaluator

    def prepare(self, note: Callable[[list[str]], None]) -> None:
        """Keep the rows in the cluster's memory, for every trial reads them."""
        self._frames.train.persist()
        assert self._frames.validation is not None
        self._frames.validation.persist()

    def launch(self, config: Mapping[str, Any]) -> tuple[str, Callable[[], None]]:
        """Return that no job runs."""
        return "", lambda: None

    def run(self, config: Mapping[str, Any], job: str, report: Report | None) -> Outcome:
        """Fit and score."""
        model = self._fit(config)
        try:
            value = float(self._evaluator.evaluate(model.transform(self._frames.validation)))
        finally:
            cleanup.delete(model)
        return Outcome("Completed", value, model=model)

    def _fit(self, config: Mapping[str, Any]) -> Any:
        rest = [self._stages.first, *self._stages.after]
        estimator = Pipeline(stages=rest) if len(rest) > 1 else rest[0]
        return configured(estimator, self._candidate.tuned, config).fit(self._frames.train)

    def stop(self, job: str) -> None:
        """Do nothing: a fit in this process cannot be stopped."""

    def model(self, config: Mapping[str, Any], job: str, kept: Any) -> Any:
        """Return the model that the trial fitted; one of a former process is fitted again."""
        model = kept if kept is not None else self._fit(config)
        if not self._stages.pipeline:
            return model
        inner = tuning_runs.nested_models(model)
        return PipelineModel([*self._before, *inner])

    def close(self, running: bool) -> None:
        """Let the cluster's memory go."""
        self._frames.train.unpersist()
        if self._frames.validation is not None:
            self._frames.validation.unpersist()


def reaches(session: SageMakerSession, spark: Any) -> list[str]:
    """Return why the session cannot be used from this Spark session, in words."""
    return [*placement.problems(session, spark), *session.problems()]


def is_the_trials(error: Exception) -> bool:
    """Tell whether an error is a trial's own, and the next configuration may do better.

    What the service refuses or does not answer is no configuration's fault: the run ends, and can be gone on with.
    """
    return not isinstance(error, SageSparkError) or isinstance(
        error, InvocationError | EndpointFailedError | JobFailedError
    )
