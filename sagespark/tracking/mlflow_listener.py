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
hyperparameters as params and the objective as the metric ``objective``, beside the training job's own metrics.

MLflow's client is used by run id, never the run of a thread: fits may run in several threads at once.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Any

from sagespark.core.clock import SystemClock
from sagespark.ml.listeners import JobEvent, Listener

if TYPE_CHECKING:
    from sagespark.ml.tuning_trials import Trial

TAG_JOB = "sagespark.jobName"
TAG_ARN = "sagespark.jobArn"
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
        from mlflow.entities import Metric

        run = self._run(event)
        times = {m["MetricName"]: m.get("Timestamp") for m in event.description.get("FinalMetricDataList", ())}
        new = []
        for name, value in event.metrics.items():
            if run.metrics.get(name) != value:
                run.metrics[name] = value
                step = run.steps[name] = run.steps.get(name, -1) + 1
                moment = times.get(name) or self._clock.now()
                new.append(Metric(_key(name), value, int(moment.timestamp() * 1000), step))
        for batch in _batches(new):
            self._client().log_batch(run.id, metrics=batch)

    def onJobEnded(self, event: JobEvent) -> None:
        """End the run as the job ended; where only the waiting ended, the run goes on as the job does."""
        run = self._run(event)
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
            self._runs.pop(event.name, None)

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
        with self._lock:
            parent = self._runs.get(trial.tuner)
        self._run(event, None if parent is None else parent.id)
        self.onStatus(event)
        if metrics:
            self.onMetrics(event)
        if trial.ended:
            self.onJobEnded(event)

    # -- runs -------------------------------------------------------------------------------------------------------

    def run_id(self, jobName: str) -> str | None:
        """Return the id of a job's run, or None where it has none; also after the job has ended."""
        found = self._find(self._client(), self._experiment(), jobName)
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

    def _find(self, client: Any, experiment: str, jobName: str) -> Any | None:
        found = client.search_runs([experiment], f"tags.`{TAG_JOB}` = '{jobName}'", max_results=1)
        return found[0] if found else None

    def _run(self, event: JobEvent, parent: str | None = None) -> _Run:
        """Return the job's run: the one in hand, the one that it had before, or a new one inside ``parent``."""
        with self._lock:
            if event.name not in self._runs:
                client, experiment = self._client(), self._experiment()
                # Only a job that was attached to can have had one.
                known = None if event.request else self._find(client, experiment, event.name)
                if known is not None:
                    client.update_run(known.info.run_id, status="RUNNING")
                    run = _Run(known.info.run_id, dict(known.data.metrics))
                    for name in run.metrics:
                        run.steps[name] = len(client.get_metric_history(run.id, name)) - 1
                else:
                    run = self._start(client, experiment, event, parent)
                self._runs[event.name] = run
            return self._runs[event.name]

    def _start(self, client: Any, experiment: str, event: JobEvent, parent: str | None) -> _Run:
        import mlflow
        from mlflow.entities import Param
        from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID

        tags = {TAG_JOB: event.name, "sagespark.kind": event.kind}
        if event.stage:
            tags["sagespark.stage"] = event.stage
        active = mlflow.active_run()
        if parent is not None:
            tags[MLFLOW_PARENT_RUN_ID] = parent
        elif active is not None and self._parent_store() and str(active.info.experiment_id) == experiment:
            tags[MLFLOW_PARENT_RUN_ID] = active.info.run_id
        made = client.create_run(experiment, tags=tags, run_name=event.name)
        params = [Param(_key(k), str(v)[:_LONGEST_PARAM]) for k, v in _params(event)]
        for batch in _batches(params):
            client.log_batch(made.info.run_id, params=batch)
        return _Run(made.info.run_id)

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
        "sagespark.failureReason": str(description.get("FailureReason", "")),
        "sagespark.modelData": str(description.get("ModelArtifacts", {}).get("S3ModelArtifacts", "")),
        "sagespark.billableSeconds": str(description.get("BillableTimeInSeconds", "")),
    }


def _key(name: str) -> str:
    return _FOREIGN.sub("_", name)[:_LONGEST_KEY]


def _batches(items: list[Any]) -> Iterator[list[Any]]:
    source = iter(items)
    while batch := list(islice(source, _BATCH)):
        yield batch
