"""Hyperparameter tuning jobs: create, describe, list, stop, delete, and their training jobs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from sagespark.core.clock import Clock, request_id
from sagespark.local.containers.images import Image
from sagespark.local.lifecycle import status
from sagespark.local.lifecycle.metrics import MetricReader
from sagespark.local.lifecycle.metrics import definitions as metric_definitions
from sagespark.local.logs import TRAINING_JOBS, LogStore, Position
from sagespark.local.services import paging
from sagespark.local.services.arns import arn
from sagespark.local.services.tags import drop_tags, get_tags, put_tags
from sagespark.local.services.training_jobs import TrainingJobs
from sagespark.local.services.tuning_checks import problems
from sagespark.local.store import Conflict, Document, Missing, Store
from sagespark.local.tuning import document as documents
from sagespark.local.tuning import resources, warm_start
from sagespark.local.tuning.definitions import Request, definitions, too_many
from sagespark.local.tuning.journal import Journal, drop
from sagespark.local.tuning.strategies import strategies
from sagespark.local.tuning.tuner import Tuner
from sagespark.local.wire.context import AwsError, Context

_NAME = "HyperParameterTuningJobName"
_CALLER = "TuningCaller"
"""Kind of the Store: who created a tuning job, on whose behalf its training jobs are created."""
_ORDER = {"SortBy": "Name", "SortOrder": "Ascending"}
"""Defaults of both lists (API reference)."""
_SUMMARY = (
    _NAME,
    "HyperParameterTuningJobArn",
    "HyperParameterTuningJobStatus",
    "CreationTime",
    "HyperParameterTuningEndTime",
    "LastModifiedTime",
    "TrainingJobStatusCounters",
    "ObjectiveStatusCounters",
)


class TuningJobs:
    """The operations on tuning jobs.

    Parameters
    ----------
    store : Store
        Keeps the tuning jobs.
    logs : LogStore
        Keeps the training jobs' lines, which the objective is read from.
    jobs : TrainingJobs
        The operations on training jobs.
    resolve : callable
        Takes an image URI; raises UnknownImage.
    clock : Clock
        Stamps them.
    base_url : str
        URL of this service, for training jobs of tuning jobs that a former one began.
    """

    service = "sagemaker"

    def __init__(
        self,
        store: Store,
        logs: LogStore,
        jobs: TrainingJobs,
        resolve: Callable[[str], Image],
        clock: Clock,
        base_url: str,
    ) -> None:
        self._store = store
        self._resolve = resolve
        self._clock = clock
        self._tuner = Tuner(store, lambda region, name: JobTrainer(store, logs, jobs, region, name, base_url), clock)
        logs.listen(self._tuner.heard)

    def start(self) -> None:
        """Go on with what a former service left unfinished."""
        self._tuner.start()

    def stop(self) -> None:
        """Take no further step; the next service goes on."""
        self._tuner.stop()

    def CreateHyperParameterTuningJob(self, ctx: Context, request: dict[str, Any]) -> dict[str, Any]:
        """Accept a tuning job and start it."""
        name = request[_NAME]
        # First: what comes then sees the resources as those of a training job, and names them so.
        found = resources.problems(request) or [
            *problems(request, self._resolve),
            *too_many(request),
            *warm_start.problems(self._store, ctx.region, request),
        ]
        if found:
            raise AwsError("ValidationException", " ".join(found))
        identifier = arn(documents.KIND, ctx.region, ctx.account, name)
        document = documents.new(request, identifier, self._clock.now())
        with self._store.transaction():
            try:
                self._store.put(documents.KIND, ctx.region, name, document)
            except Conflict:
                raise AwsError(
                    "ResourceInUse",
                    "Hyperparameter tuning job names must be unique within an AWS account and region, and a tuning job "
                    f"with this name already exists ({identifier})",
                ) from None
            put_tags(self._store, identifier, request.get("Tags", []))
            caller = {"account": ctx.account, "access_key": ctx.access_key}
            self._store.put(_CALLER, ctx.region, name, caller, unique=False)
            self._teach(ctx.region, document)
        self._tuner.submit(ctx.region, name)
        return {"HyperParameterTuningJobArn": identifier}

    def _teach(self, region: str, document: Document) -> None:
        """Write down what the parents tell: they may be deleted from now on."""
        journal = Journal(self._store, region, document[_NAME])
        found = strategies(document, journal)
        warm_start.teach(self._store, region, document, definitions(document), found)
        for index, strategy in enumerate(found):
            if strategy.history:
                journal.append(index, strategy.history)

    def DescribeHyperParameterTuningJob(self, ctx: Context, request: dict[str, Any]) -> dict[str, Any]:
        """Tell everything about a tuning job."""
        return self._get(ctx, request[_NAME])

    def ListHyperParameterTuningJobs(self, ctx: Context, request: dict[str, Any]) -> dict[str, Any]:
        """List tuning jobs by filter, sort order and page."""
        status = "HyperParameterTuningJobStatus"
        rows = paging.select(self._store.list(documents.KIND, ctx.region), request, name=_NAME, status=status)
        keys = {"Name": _NAME, "CreationTime": "CreationTime", "Status": status}
        request = _ORDER | request
        rows, token = paging.page(rows, request, name=_NAME, keys=keys, order="Ascending")
        summaries = []
        for row in rows:
            config = row["HyperParameterTuningJobConfig"]
            more = {"Strategy": config["Strategy"], "ResourceLimits": config["ResourceLimits"]}
            summaries.append({k: row[k] for k in _SUMMARY if k in row} | more)
        return {"HyperParameterTuningJobSummaries": summaries, "NextToken": token}

    def ListTrainingJobsForHyperParameterTuningJob(self, ctx: Context, request: dict[str, Any]) -> dict[str, Any]:
        """List the training jobs of a tuning job: of each trial the latest."""
        document = self._get(ctx, request[_NAME])
        rows = self._summaries(ctx.region, document)
        if "StatusEquals" in request:
            rows = [row for row in rows if row["TrainingJobStatus"] == request["StatusEquals"]]
        request = _ORDER | request
        if request["SortBy"] == "FinalObjectiveMetricValue":
            # A training job without the metric is not listed then (API reference).
            rows = [row | {"value": documents.value_of(row)} for row in rows if documents.value_of(row) is not None]
        keys = {
            "Name": "TrainingJobName",
            "CreationTime": "CreationTime",
            "Status": "TrainingJobStatus",
            "FinalObjectiveMetricValue": "value",
        }
        rows, token = paging.page(rows, request, name="TrainingJobName", keys=keys, order="Ascending")
        return {
            "TrainingJobSummaries": [{k: v for k, v in r.items() if k != "value"} for r in rows],
            "NextToken": token,
        }

    def _summaries(self, region: str, document: Document) -> list[Document]:
        journal = Journal(self._store, region, document[_NAME])
        journal.load()
        known = definitions(document)
        rows = []
        for trial in journal.trials:
            row = trial.summary
            job = None if row is not None else self._store.get(status.KIND, region, trial.jobs[-1])
            if job is not None:
                d = known[trial.definition]
                row = documents.summary(job, trial.tuned, d.name, d.metric, d.direction)
            if row is not None:
                rows.append(row)
        return rows

    def StopHyperParameterTuningJob(self, ctx: Context, request: dict[str, Any]) -> dict[str, Any]:
        """Ask a tuning job and its training jobs to stop; one that is stopping already stays so."""
        now = self._clock.now()

        def mutate(document: Document) -> None:
            found = document["HyperParameterTuningJobStatus"]
            if found in documents.ENDED:
                raise AwsError(
                    "ValidationException", f"The request was rejected because the tuning job is in status {found}."
                )
            documents.stop(document, now)

        try:
            self._store.update(documents.KIND, ctx.region, request[_NAME], mutate)
        except Missing:
            raise _not_found(request[_NAME]) from None
        return {}

    def DeleteHyperParameterTuningJob(self, ctx: Context, request: dict[str, Any]) -> dict[str, Any]:
        """Forget a tuning job that has ended; its training jobs stay."""
        name = request[_NAME]
        with self._store.transaction():
            document = self._get(ctx, name)
            found = document["HyperParameterTuningJobStatus"]
            if found not in documents.ENDED:
                raise AwsError(
                    "ValidationException", f"The request was rejected because the tuning job is in status {found}."
                )
            self._store.delete(documents.KIND, ctx.region, name)
            self._store.delete(_CALLER, ctx.region, name)
            drop(self._store, ctx.region, name)
            drop_tags(self._store, document["HyperParameterTuningJobArn"])
        return {}

    def _get(self, ctx: Context, name: str) -> Document:
        document = self._store.get(documents.KIND, ctx.region, name)
        if document is None:
            raise _not_found(name)
        return document


class JobTrainer:
    """Run the training jobs of one tuning job, as its creator.

    Parameters
    ----------
    store, logs, jobs, base_url
        As `TuningJobs` has them.
    region, name : str
        The tuning job.
    """

    def __init__(self, store: Store, logs: LogStore, jobs: TrainingJobs, region: str, name: str, base_url: str) -> None:
        self._store = store
        self._logs = logs
        self._jobs = jobs
        caller = store.get(_CALLER, region, name) or {"account": "", "access_key": ""}
        self._ctx = Context(
            "sagemaker", "CreateTrainingJob", region, caller["account"], request_id(), caller["access_key"], base_url
        )
        self._arn = arn(documents.KIND, region, caller["account"], name)
        self._read: dict[str, tuple[list[float], Position | None]] = {}

    def create(self, request: Request) -> None:
        """Create a training job with the tuning job's tags, which AWS hands on too."""
        tagged = request | {"Tags": get_tags(self._store, self._arn)}
        self._jobs.create(self._ctx, tagged, TuningJobArn=self._arn)

    def describe(self, name: str) -> Document | None:
        """Return a training job's document, None where there is none."""
        return self._store.get(status.KIND, self._ctx.region, name)

    def stop(self, name: str) -> None:
        """Ask a training job to stop; nothing where it has ended or is gone."""
        try:
            self._jobs.StopTrainingJob(self._ctx, {"TrainingJobName": name})
        except AwsError as error:
            if error.code != "ValidationException":
                raise

    def values(self, job: Document, metric: str) -> Sequence[float]:
        """Return every value of a metric that the job's first host has written, in order."""
        name = job["TrainingJobName"]
        values, after = self._read.get(name, ([], None))
        reader = MetricReader(d for d in metric_definitions(job.get("AlgorithmSpecification", {})) if d[0] == metric)
        streams = [s.name for s in self._logs.streams(self._ctx.region, TRAINING_JOBS, f"{name}/algo-1")]
        events = self._logs.events(self._ctx.region, TRAINING_JOBS, streams, after=after) if streams else []
        for event in events:
            values += [value for _, value in reader.values(event.message)]
        self._read[name] = (values, events[-1].position if events else after)
        return values


def _not_found(name: str) -> AwsError:
    return AwsError(
        "ResourceNotFound",
        f"Amazon SageMaker can't find a tuning job with the name {name}. Check the name and try again.",
    )
