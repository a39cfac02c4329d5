"""Carry a plan out: stage, train, host. What exists at each step is known, and told where a step fails.

========================  =====================================================  ===================================
step that fails           what is left                                           ``createdResources`` of the error
========================  =====================================================  ===================================
staging                   nothing: the shards written are deleted                none
CreateTrainingJob         nothing                                                none
the job ends Failed       the job                                                the job
waiting for the job       the job, which may run, and the shards that it reads   the job, the manifests
hosting                   the job and its artifact; the hosting is deleted       the job, the artifact
========================  =====================================================  ===================================
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from pyspark.sql import DataFrame

from sagespark.aws.errors import no_answer
from sagespark.aws.session import SageMakerSession
from sagespark.aws.training_job import TrainingJob, artifact, metrics
from sagespark.core.errors import JobFailedError, Resource, SageSparkError
from sagespark.data.shards import MAX_SHARD_BYTES, StagingReport, StagingRequest, stage, unstage
from sagespark.ml.hosting import HostingRecord
from sagespark.ml.listeners import Listener, Watch
from sagespark.ml.plan import Plan
from sagespark.ml.requests import Request

Reports = dict[str, StagingReport]


def stage_all(session: SageMakerSession, plan: Plan, frames: Mapping[str, DataFrame]) -> Reports:
    """Stage every DataFrame of the plan; where one is refused, delete what was staged before it.

    Raises
    ------
    DataError
        If a row is refused.
    """
    reports: Reports = {}
    with _undone(session, reports):
        for channel in plan.channels:
            request = StagingRequest(
                session=session,
                prefix=(plan.staging / channel.name).prefix,
                channel=channel.name,
                layout=channel.layout,
                contentType=channel.contentType,
                gzip=channel.options.compression == "Gzip",
                maxShardBytes=channel.maxShardBytes or MAX_SHARD_BYTES,
                flat=channel.flat,
            )
            reports[channel.name] = stage(frames[channel.name], request)
    return reports


def resolve(session: SageMakerSession, plan: Plan, reports: Reports) -> Plan:
    """Resolve the plan; where channels contradict each other, delete what was staged."""
    with _undone(session, reports):
        return plan.resolve(reports)


@contextmanager
def _undone(session: SageMakerSession, reports: Reports) -> Iterator[None]:
    try:
        yield
    except BaseException:
        discard(session, reports)
        raise


def discard(session: SageMakerSession, reports: Reports) -> None:
    """Delete the staged shards by record. What cannot be deleted is worth a warning, not a trained model's loss."""
    for report in reports.values():
        try:
            unstage(session, report)
        except SageSparkError as error:
            warnings.warn(
                f"staged data below {report.manifest.parent} could not be deleted: {error.message}",
                RuntimeWarning,
                stacklevel=3,
            )


def train(
    session: SageMakerSession,
    plan: Plan,
    reports: Reports,
    *,
    listeners: Sequence[Listener],
    attach: str,
    params: Mapping[str, Any],
    keep: bool,
) -> HostingRecord:
    """Create the training job, wait for its end, and return the record of what it made.

    Parameters
    ----------
    session : SageMakerSession
    plan : Plan
        Resolved.
    reports : dict
        What was staged; deleted once the job has ended, unless ``keep``.
    listeners : sequence of Listener
    attach : str
        Python that goes on waiting, for messages.
    params : mapping
        Params that were set, for listeners.
    keep : bool
        Whether the shards stay.

    Raises
    ------
    JobFailedError
        If the job ended without a model.
    SageSparkError
        If it could not be created, or waiting for it failed.
    """
    request = plan.trainingJob
    try:
        job = TrainingJob.create(session, request)
    except SageSparkError as error:
        if no_answer(error):
            # The service may have heard it: a job may run that reads the shards.
            _tell(error, _manifests(reports))
        else:
            discard(session, {} if keep else reports)
        raise
    watch = Watch(job, listeners, session.clock, stage=plan.stage, request=request, params=params)
    watch.started()
    try:
        description = job.wait(watch.update, attach=attach)
    except BaseException as error:
        watch.ended(error)
        if isinstance(error, JobFailedError) or _ended(job):
            discard(session, {} if keep else reports)
            _tell(error, (job.resource,))
        else:
            _tell(error, (job.resource, *_manifests(reports)))
        raise
    watch.ended()
    discard(session, {} if keep else reports)
    return record(session, description, (job.resource, *(_manifests(reports) if keep else ())))


def host(record: HostingRecord, plan: Plan) -> HostingRecord:
    """Host the model where the plan says so.

    Raises
    ------
    SageSparkError
        If hosting failed; it is deleted again, the job and its artifact stay and are named.
    """
    if plan.hosting is not None:
        container = {**plan.hosting.model["PrimaryContainer"], "ModelDataUrl": record.modelData}
        record.host(plan.hosting.with_container(container))
    return record


def record(session: SageMakerSession, description: Request, created: Sequence[Resource] = ()) -> HostingRecord:
    """Return the record of a training job that ended with a model."""
    uri = artifact(description)
    data = None if uri is None else str(uri)
    made = [*created, Resource("S3Object", data)] if created and data else list(created)
    return HostingRecord(
        session,
        imageUri=description["AlgorithmSpecification"].get("TrainingImage"),
        modelData=data,
        trainingJobName=description["TrainingJobName"],
        hyperparameters=description.get("HyperParameters"),
        metrics=metrics(description),
        created=made,
    )


def _ended(job: TrainingJob) -> bool:
    try:
        return job.ended()
    except Exception:
        # Nobody knows: then it may run.
        return False


def _manifests(reports: Reports) -> tuple[Resource, ...]:
    return tuple(Resource("S3Object", str(report.manifest)) for report in reports.values())


def _tell(error: BaseException, resources: Sequence[Resource]) -> None:
    """Put what exists on the error."""
    if isinstance(error, SageSparkError):
        known = {(r.kind, r.name) for r in error.createdResources}
        error.createdResources += tuple(r for r in resources if (r.kind, r.name) not in known)
    else:
        for resource in resources:
            error.add_note(f"still there: {resource}")
