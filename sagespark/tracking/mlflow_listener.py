"""The listener that turns jobs into MLflow runs.

===================  ===============================================================================
of the job           in the run
===================  ===============================================================================
name                 run name
Params that were set params, by Param name
hyperparameters      params ``hyperparameter.{wire string}``, as the job got them
instances, image     params ``instanceType instanceCount image``
metrics              metrics, by AWS's name, at AWS's time
status               ``FINISHED``, ``FAILED`` or ``KILLED``; a job that only was not waited for: as it is
ARN, artifact, ...   tags ``sagespark.*``
===================  ===============================================================================

A tuning job, or a tuner's run on the driver, is a run as well; each of its trials is a run inside it, with the tuned
hyperparameters as params and the objective as the metric ``objective``, beside the training job's own metrics: every
value that its log has, where it could be read, by the number of the value. A trial that is tried again goes on in its
run: the later training job's values come behind the earlier one's.

MLflow's client is used by run id, never the run of a thread: fits may run in several threads at once.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Any

from sagespark.core.clock import SystemClock
from sagespark.ml.listeners import JobEvent, Listener

if TYPE_CHECKING:
    from sagespark.aws.training_job import MetricPoint
    from sagespark.ml.tuning_trials import Trial

TAG_JOB = "sagespark.jobName"
TAG_ARN = "sagespark.jobArn"
TAG_TRIAL = "sagespark.trial"
TAG_FIRST = "sagespark.firstStep"
_REASON = "sagespark.failureReason"
_STATUS = {"Completed": "FINISHED", "Failed": "FAILED", "Stopped": "KILLED"}
# MLflow's own limits (mlflow.utils.validation).
_LONGEST_PARAM = 6000
_LONGEST_TAG = 8000
_LONGEST_KEY = 250
_BATCH = 100
_FOREIGN = re.compile(r"[^/\w.\- :]")


@dataclass
class _Run:
    """What has been logged of one job."""

    id: str
    job: str
    first: int = 0
    """Step of the job's first values: behind those of a job that it replaced."""
    metrics: dict[str, float] = field(default_factory=dict)
    steps: dict[str, int] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    log: list[str] = field(default_factory=list)


class MlflowListener(Listener):
    """Log jobs to MLflow; see `sagespark.tracking.autolog`.

    Parameters
    ----------
    trackingUri, experimentName, logOutput
        As `autolog` takes them.
    """

    def __init__(
        self, *, trackingUri: str | None = None, experimentName: str | None = None, logOutput: bool = False
    ) -> None:
        self.trackingUri = trackingUri
        self.experimentName = experimentName
        self.wantsLog = logOutput
        self._clock = SystemClock()
        self._runs: dict[str, _Run] = {}
        self._lock = threading.Lock()

    # -- what is heard ----------------------------------------------------------------------------------------------

    def onJobStarted(self, event: JobEvent) -> None:
        """Start the job's run, with its params."""
        self._run(event)

    def onPoll(self, event: JobEvent) -> None:
        """Keep new lines of the log, which come with whichever event is first."""
        if event.logLines:
            self._run(event).log += event.logLines

    def onStatus(self, event: JobEvent) -> None:
        """Note the job's ARN and status."""
        self._tag(self._run(event), _facts(event))

    def onMetrics(self, event: JobEvent) -> None:
        """Log the metrics that are new or changed."""
        self._log(self._run(event), event, {})

    def onJobEnded(self, event: JobEvent) -> None:
        """End the run as the job ended; where only the waiting ended, the run goes on as the job does."""
        self._end(self._run(event), event)

    def onTrial(self, trial: Trial) -> None:
        """Keep a trial's run, inside its tuner's, as the trial is."""
        name = trial.name or f"{trial.tuner}-{trial.id:03d}"
        metrics = dict(trial.metrics) | ({} if trial.value is None else {"objective": trial.value})
        description = dict(trial.description) or {"TrainingJobArn": trial.arn, "FailureReason": trial.failureReason}
        event = JobEvent(
            "TrainingJob",
            name,
            trial.stage,
            params={"trial": trial.id, **trial.config},
            status=trial.status,
            metrics=metrics,
            description=description,
        )
        run = self._run(event, trial)
        if run.job != name:
            self._take_over(run, name)
        self._tag(run, _facts(event))
        self._log(run, event, trial.history)
        if trial.ended:
            self._end(run, event)

    def _log(self, run: _Run, event: JobEvent, history: Mapping[str, Sequence[MetricPoint]]) -> None:
        """Log what is new: every value of a metric that has a history, the last one of any other."""
        from mlflow.entities import Metric

        times = {m["MetricName"]: m.get("Timestamp") for m in event.description.get("FinalMetricDataList", ())}
        new = []
        for name, points in history.items():
            for step, point in enumerate(points, run.first):
                if step > run.steps.get(name, -1):
                    run.metrics[name], run.steps[name] = point.value, step
                    new.append(Metric(_key(name), point.value, point.timestamp, step))
        for name, value in event.metrics.items():
            if name not in history and run.metrics.get(name) != value:
                run.metrics[name] = value
                step = run.steps[name] = max(run.steps.get(name, -1) + 1, run.first)
                moment = times.get(name) or self._clock.now()
                new.append(Metric(_key(name), value, int(moment.timestamp() * 1000), step))
        for batch in _batches(new):
            self._client().log_batch(run.id, metrics=batch)

    def _end(self, run: _Run, event: JobEvent) -> None:
        self._tag(run, _facts(event))
        client = self._client()
        if run.log:
            client.log_text(run.id, "\n".join(run.log) + "\n", "training.log")
        status = _STATUS.get(event.status)
        if status is None:
            if event.error is not None:
                self._tag(run, {"sagespark.waitingEnded": str(event.error) or type(event.error).__name__})
            return
        client.set_terminated(run.id, status)
        with self._lock:
            self._runs = {key: other for key, other in self._runs.items() if other is not run}

    def _take_over(self, run: _Run, name: str) -> None:
        """Let a trial's run go on with the job that replaced the one so far."""
        run.job = name
        run.first = max(run.steps.values(), default=-1) + 1
        client = self._client()
        client.update_run(run.id, name=name)
        self._tag(run, {TAG_JOB: name, TAG_FIRST: str(run.first)})
        if run.tags.pop(_REASON, None) is not None:
            client.delete_tag(run.id, _REASON)

    # -- runs -------------------------------------------------------------------------------------------------------

    def run_id(self, jobName: str) -> str | None:
        """Return the id of a job's run, or None where it has none; also after the job has ended."""
        found = self._find(self._client(), self._experiment(), {TAG_JOB: jobName})
        return None if found is None else str(found.info.run_id)

    def _client(self) -> Any:
        from mlflow import MlflowClient

        return MlflowClient(tracking_uri=self.trackingUri)

    def _experiment(self) -> str:
        """Return the experiment's id."""
        name = self.experimentName
        if name is None and self._parent_store():
            import mlflow

            # What mlflow.start_run() would take; MLflow has no public call for it.
            from mlflow.tracking.fluent import _get_experiment_id

            active = mlflow.active_run()
            return str(active.info.experiment_id if active is not None else _get_experiment_id())
        client = self._client()
        name = name or "Default"
        found = client.get_experiment_by_name(name)
        return str(client.create_experiment(name) if found is None else found.experiment_id)

    def _parent_store(self) -> bool:
        """Tell whether runs go where those of ``mlflow.start_run()`` go."""
        import mlflow

        return self.trackingUri is None or self.trackingUri == mlflow.get_tracking_uri()

    def _find(self, client: Any, experiment: str, tags: Mapping[str, str]) -> Any | None:
        query = " and ".join(f"tags.`{name}` = '{value}'" for name, value in tags.items())
        found = client.search_runs([experiment], query, max_results=1)
        return found[0] if found else None

    def _run(self, event: JobEvent, trial: Trial | None = None) -> _Run:
        """Return the job's run: the one in hand, the one that it had before, or a new one.

        That of a trial is inside its tuner's, and the same one whichever training job the trial has come to.
        """
        from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID

        key = event.name if trial is None else f"{trial.tuner}/{trial.id}"
        with self._lock:
            if key not in self._runs:
                client, experiment = self._client(), self._experiment()
                parent = None if trial is None else self._runs.get(trial.tuner)
                tags = {TAG_JOB: event.name}
                if trial is not None and parent is not None:
                    tags = {MLFLOW_PARENT_RUN_ID: parent.id, TAG_TRIAL: str(trial.id)}
                # Only a job that was attached to can have had one.
                known = None if event.request else self._find(client, experiment, tags)
                if known is not None:
                    client.update_run(known.info.run_id, status="RUNNING")
                    kept = dict(known.data.tags)
                    run = _Run(known.info.run_id, kept[TAG_JOB], int(kept.get(TAG_FIRST, 0)), dict(known.data.metrics))
                    run.tags = kept
                    for name in run.metrics:
                        run.steps[name] = max(m.step for m in client.get_metric_history(run.id, name))
                else:
                    run = self._start(client, experiment, event, {} if len(tags) == 1 else tags)
                self._runs[key] = run
            return self._runs[key]

    def _start(self, client: Any, experiment: str, event: JobEvent, more: Mapping[str, str]) -> _Run:
        import mlflow
        from mlflow.entities import Param
        from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID

        tags = {TAG_JOB: event.name, "sagespark.kind": event.kind, **more}
        if event.stage:
            tags["sagespark.stage"] = event.stage
        active = mlflow.active_run()
        if (
            MLFLOW_PARENT_RUN_ID not in tags
            and active is not None
            and self._parent_store()
            and str(active.info.experiment_id) == experiment
        ):
            tags[MLFLOW_PARENT_RUN_ID] = active.info.run_id
        made = client.create_run(experiment, tags=tags, run_name=event.name)
        params = [Param(_key(k), str(v)[:_LONGEST_PARAM]) for k, v in _params(event)]
        for batch in _batches(params):
            client.log_batch(made.info.run_id, params=batch)
        return _Run(made.info.run_id, event.name)

    def _tag(self, run: _Run, tags: Mapping[str, str]) -> None:
        from mlflow.entities import RunTag

        new = {k: v[:_LONGEST_TAG] for k, v in tags.items() if v and run.tags.get(k) != v}
        run.tags |= new
        for batch in _batches([RunTag(k, v) for k, v in new.items()]):
            self._client().log_batch(run.id, tags=batch)


def _params(event: JobEvent) -> Iterator[tuple[str, Any]]:
    """Yield what was decided before the job: Params, hyperparameters as sent, resources."""
    yield from event.params.items()
    request = event.request
    for wire, value in request.get("HyperParameters", {}).items():
        yield f"hyperparameter.{wire}", value
    resources = request.get("ResourceConfig", {})
    facts = {
        "instanceType": resources.get("InstanceType"),
        "instanceCount": resources.get("InstanceCount"),
        "image": request.get("AlgorithmSpecification", {}).get("TrainingImage"),
    }
    yield from ((k, v) for k, v in facts.items() if v is not None and k not in event.params)


def _facts(event: JobEvent) -> dict[str, str]:
    """Return what the service says of the job, as tags."""
    description = event.description
    return {
        TAG_ARN: str(description.get(f"{event.kind}Arn", "")),
        "sagespark.status": event.status,
        "sagespark.secondaryStatus": event.secondaryStatus,
        _REASON: str(description.get("FailureReason", "")),
        "sagespark.modelData": str(description.get("ModelArtifacts", {}).get("S3ModelArtifacts", "")),
        "sagespark.billableSeconds": str(description.get("BillableTimeInSeconds", "")),
    }


def _key(name: str) -> str:
    return _FOREIGN.sub("_", name)[:_LONGEST_KEY]


def _batches(items: list[Any]) -> Iterator[list[Any]]:
    source = iter(items)
    while batch := list(islice(source, _BATCH)):
        yield batch
