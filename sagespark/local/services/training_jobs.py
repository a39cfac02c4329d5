"""Training jobs: create, describe, list, stop, update, delete."""

from __future__ import annotations

from typing import Any

from sagespark.core.clock import Clock
from sagespark.local.containers.images import scripted
from sagespark.local.lifecycle import status, warm_pool
from sagespark.local.lifecycle.supervisor import Supervisor
from sagespark.local.services import paging
from sagespark.local.services.arns import arn
from sagespark.local.services.tags import drop_tags, put_tags
from sagespark.local.services.training_checks import problems
from sagespark.local.store import Conflict, Document, Missing, Store
from sagespark.local.wire.context import AwsError, Context

_SUMMARY = (
    "TrainingJobName",
    "TrainingJobArn",
    "CreationTime",
    "TrainingEndTime",
    "LastModifiedTime",
    "TrainingJobStatus",
    "SecondaryStatus",
    "WarmPoolStatus",
)


class TrainingJobs:
    """The operations on training jobs.

    Parameters
    ----------
    store : Store
        Keeps the jobs.
    supervisor : Supervisor
        Runs them.
    clock : Clock
        Stamps them.
    secret_key : str
        Secret key that goes with every access key of the service; containers get it.
    """

    service = "sagemaker"

    def __init__(self, store: Store, supervisor: Supervisor, clock: Clock, secret_key: str) -> None:
        self._store = store
        self._supervisor = supervisor
        self._clock = clock
        self._secret_key = secret_key

    def start(self) -> None:
        """End what a former service left unfinished."""
        self._supervisor.start()

    def stop(self) -> None:
        """End all jobs: the service ends."""
        self._supervisor.stop()

    def CreateTrainingJob(self, ctx: Context, request: dict[str, Any]) -> dict[str, Any]:
        """Accept a training job and start it."""
        return self.create(ctx, request)

    def create(self, ctx: Context, request: dict[str, Any], **members: Any) -> dict[str, Any]:
        """Create a training job whose description has more members than its request, such as ``TuningJobArn``."""
        name = request["TrainingJobName"]
        found = problems(request, self._supervisor.resolve)
        if found:
            raise AwsError("ValidationException", " ".join(found))
        identifier = arn(status.KIND, ctx.region, ctx.account, name)
        document = status.new(self._with_metrics(request), identifier, self._clock.now()) | members
        with self._store.transaction():
            warm_pool.claim(self._store, ctx.region, document, self._clock.now())
            try:
                self._store.put(status.KIND, ctx.region, name, document)
            except Conflict:
                raise AwsError(
                    "ResourceInUse",
                    "Training job names must be unique within an AWS account and region, and a training job with this "
                    f"name already exists ({identifier})",
                ) from None
            put_tags(self._store, identifier, request.get("Tags", []))
        self._supervisor.submit(ctx.region, name, self._environment(ctx, document))
        return {"TrainingJobArn": identifier}

    def DescribeTrainingJob(self, ctx: Context, request: dict[str, Any]) -> dict[str, Any]:
        """Tell everything about a training job."""
        return self._get(ctx, request["TrainingJobName"])

    def ListTrainingJobs(self, ctx: Context, request: dict[str, Any]) -> dict[str, Any]:
        """List training jobs by filter, sort order and page."""
        rows = paging.select(
            self._store.list(status.KIND, ctx.region), request, name="TrainingJobName", status="TrainingJobStatus"
        )
        rows = [warm_pool.shown(row, self._clock.now()) for row in rows]
        if "WarmPoolStatusEquals" in request:
            wanted = request["WarmPoolStatusEquals"]
            rows = [row for row in rows if row.get("WarmPoolStatus", {}).get("Status") == wanted]
        # There are no training plans, so a filter by one lets nothing through.
        if "TrainingPlanArnEquals" in request:
            rows = []
        keys = {"Name": "TrainingJobName", "CreationTime": "CreationTime", "Status": "TrainingJobStatus"}
        rows, token = paging.page(rows, request, name="TrainingJobName", keys=keys, order="Ascending")
        summaries = [{k: row[k] for k in _SUMMARY if k in row} for row in rows]
        return {"TrainingJobSummaries": summaries, "NextToken": token}

    def StopTrainingJob(self, ctx: Context, request: dict[str, Any]) -> dict[str, Any]:
        """Ask a training job to stop; one that is stopping already stays so."""
        name = request["TrainingJobName"]
        now = self._clock.now()

        def mutate(document: Document) -> None:
            if document["TrainingJobStatus"] in status.ENDED:
                raise AwsError(
                    "ValidationException",
                    f"The request was rejected because the training job is in status {document['TrainingJobStatus']}.",
                )
            status.stop(document, now)

        self._update(ctx, name, mutate)
        self._supervisor.end(ctx.region, name)
        return {}

    def UpdateTrainingJob(self, ctx: Context, request: dict[str, Any]) -> dict[str, Any]:
        """Change the profiler or the remote debugging of a running job, or for how long its warm pool is kept.

        The first two are shown as set; nothing on this machine acts on them.
        """

        def mutate(document: Document) -> None:
            now = self._clock.now()
            if "ResourceConfig" in request:
                if document["TrainingJobStatus"] != "InProgress" and not warm_pool.waits(
                    warm_pool.shown(document, now)
                ):
                    pool = warm_pool.shown(document, now).get("WarmPoolStatus", {}).get("Status")
                    raise AwsError(
                        "ValidationException",
                        f"KeepAlivePeriodInSeconds cannot be updated: the training job is in status "
                        f"{document['TrainingJobStatus']} and "
                        + (f"its warm pool is {pool}." if pool else "has no warm pool."),
                    )
                warm_pool.update(document, request["ResourceConfig"]["KeepAlivePeriodInSeconds"], now)
            others = {"ProfilerConfig", "RemoteDebugConfig", "ProfilerRuleConfigurations"} & set(request)
            if not others and "ResourceConfig" in request:
                document["LastModifiedTime"] = now
                return
            if document["TrainingJobStatus"] != "InProgress":
                raise AwsError(
                    "ValidationException",
                    f"The request was rejected because the training job is in status {document['TrainingJobStatus']}.",
                )
            for member in ("ProfilerConfig", "RemoteDebugConfig"):
                if member in request:
                    document[member] = document.get(member, {}) | request[member]
            if "ProfilerRuleConfigurations" in request:
                document["ProfilerRuleConfigurations"] = request["ProfilerRuleConfigurations"]
            document["LastModifiedTime"] = now

        return {"TrainingJobArn": self._update(ctx, request["TrainingJobName"], mutate)["TrainingJobArn"]}

    def DeleteTrainingJob(self, ctx: Context, request: dict[str, Any]) -> dict[str, Any]:
        """Forget a training job that has ended; its artifacts and log stay."""
        with self._store.transaction():
            document = self._get(ctx, request["TrainingJobName"])
            if document["TrainingJobStatus"] not in status.ENDED:
                raise AwsError(
                    "ResourceInUse",
                    f"The request was rejected because the training job is in status {document['TrainingJobStatus']}.",
                )
            self._store.delete(status.KIND, ctx.region, request["TrainingJobName"])
            drop_tags(self._store, document["TrainingJobArn"])
        return {}

    def _get(self, ctx: Context, name: str) -> Document:
        document = self._store.get(status.KIND, ctx.region, name)
        if document is None:
            raise _not_found()
        return warm_pool.shown(document, self._clock.now())

    def _update(self, ctx: Context, name: str, mutate: Any) -> Document:
        try:
            return self._store.update(status.KIND, ctx.region, name, mutate)
        except Missing:
            raise _not_found() from None

    def _with_metrics(self, request: dict[str, Any]) -> dict[str, Any]:
        """Return a request with the metric definitions of a built-in algorithm, which AWS shows as the job's own."""
        specification = request["AlgorithmSpecification"]
        image = scripted(self._supervisor.resolve(specification["TrainingImage"]), request.get("HyperParameters", {}))
        algorithm = image.algorithm
        if algorithm is None:
            return request
        metrics = [{"Name": m.name, "Regex": m.regex} for m in algorithm.metrics]
        return request | {"AlgorithmSpecification": specification | {"MetricDefinitions": metrics}}

    def _environment(self, ctx: Context, document: Document) -> dict[str, str]:
        """Return what lets the container's own AWS clients reach this service, as a role does on AWS."""
        region = {"AWS_REGION": ctx.region, "AWS_DEFAULT_REGION": ctx.region}
        if document["EnableNetworkIsolation"]:
            return region
        return region | {
            "AWS_ENDPOINT_URL": ctx.base_url,
            "AWS_ACCESS_KEY_ID": ctx.access_key or "sagespark",
            "AWS_SECRET_ACCESS_KEY": self._secret_key,
        }


def _not_found() -> AwsError:
    return AwsError("ValidationException", "Requested resource not found.")
