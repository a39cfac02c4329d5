"""Staging: a DataFrame's rows as shards in S3, in one pass, each row checked.

1. Every task writes its rows to objects of bounded size, under keys that no other attempt uses
   (:mod:`sagespark.data.staging_task`), and returns a report.
2. Spark hands the driver one report per partition: the successful attempt's. Its shards go into the manifest.
3. What other attempts (killed, retried, speculative) left in the run's folder is deleted.

Programs of one's own often list their channel's folder. AWS lays the objects of a ManifestFile under their whole keys
there, in sub-folders (aws/sagemaker-python-sdk issue 723), and those of an S3Prefix flat, but an S3Prefix takes
whatever lies below it. With ``flat`` the executors therefore upload the shards' parts into a folder for files alone,
and only the driver finishes the uploads, those of the successful attempts: no other attempt can leave an object there,
however late it is. The idea is that of Hadoop's S3A "magic" committer.

A refused row travels in the report, not as an exception: Spark neither repeats the task nor prints a traceback.
"""

from __future__ import annotations

import json
import logging
import pickle
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from sagespark.aws import s3
from sagespark.aws.session import SageMakerSession
from sagespark.codecs.libsvm import LIBSVM
from sagespark.codecs.registry import parse_content_type
from sagespark.core.clock import token
from sagespark.core.errors import DataError, SageSparkError, ValidationError
from sagespark.core.s3uri import S3Uri
from sagespark.data.columns import staged_columns
from sagespark.data.failures import unwrapped
from sagespark.data.formats import Serializer
from sagespark.data.frame import FrameLayout
from sagespark.data.labels import LabelSummary
from sagespark.data.staging_task import REPORT, Shard, StagingTask, TaskReport, run

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

__all__ = ["LabelSummary", "Shard", "StagingReport", "StagingRequest", "stage", "unstage"]

MAX_SHARD_BYTES = 128 << 20
"""Most bytes of a shard."""
FILES = "files"
"""Folder of the shards alone, inside the run's."""
FINISHERS = 8
"""Uploads that are finished at a time."""
KILL_SECONDS = 3.0
"""Seconds that Spark gives a killed task's Python worker, and a margin."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class StagingRequest:
    """What to stage, and where.

    Parameters
    ----------
    session : SageMakerSession
    prefix : S3Uri
        Prefix below which the run makes a folder of its own.
    channel : str
        Name of the channel, for messages.
    layout : FrameLayout
        Made from the DataFrame's schema.
    contentType : str
        Format of the shards.
    maxShardBytes : int
        Most bytes of a shard.
    gzip : bool
        Compress the shards.
    flat : bool
        Make a folder of the shards alone, for S3Prefix.
    """

    session: SageMakerSession
    prefix: S3Uri
    channel: str
    layout: FrameLayout
    contentType: str
    maxShardBytes: int = MAX_SHARD_BYTES
    gzip: bool = False
    flat: bool = False


@dataclass(frozen=True)
class StagingReport:
    """What was staged.

    Parameters
    ----------
    manifest : S3Uri
        The ManifestFile: the shards in order of partition.
    shards : tuple of Shard
        In the manifest's order.
    rows, width : int
        Number of rows and of features; both at least 1.
    labels : LabelSummary or None
        None where no label travels.
    token : str
        Names this run's folder, in which nobody else writes.
    """

    manifest: S3Uri
    shards: tuple[Shard, ...]
    rows: int
    width: int
    labels: LabelSummary | None
    token: str

    @property
    def bytes(self) -> int:
        """Bytes of all shards."""
        return sum(shard.bytes for shard in self.shards)

    @property
    def folder(self) -> S3Uri:
        """The run's folder; ends in ``/``."""
        return self.manifest.parent

    @property
    def files(self) -> S3Uri:
        """The folder of the shards; ends in ``/``. With ``flat`` it holds nothing else, now and later."""
        return self.shards[0].uri.parent


def stage(df: DataFrame, request: StagingRequest) -> StagingReport:
    """Write a DataFrame's rows to S3 and return what was written. Runs one Spark job.

    Calls PutObject, CreateMultipartUpload, UploadPart and CompleteMultipartUpload in the executors; HeadBucket,
    ListObjectsV2, DeleteObjects, ListMultipartUploads and PutObject in this process.

    Parameters
    ----------
    df : DataFrame
        Classic or Connect.
    request : StagingRequest

    Raises
    ------
    DataError
        If a row is refused, there is none, or the partitions differ in their number of features. Nothing is left in S3.
    ValidationError
        If the content type cannot carry weights.
    ServiceError
        If S3 refused. Nothing is left where it can be deleted.
    """
    layout, session = request.layout, request.session
    kind = parse_content_type(request.contentType)[0]
    own = isinstance(request.contentType, Serializer)
    weighted = ("text/csv", LIBSVM.content_type)
    if not own and layout.weight is not None and (layout.label is None or kind not in weighted):
        raise ValidationError(
            f"weightCol: only rows of text/csv and {LIBSVM.content_type} with a label carry a weight, but the content "
            f"type is {request.contentType} and the label {layout.label!r}; leave weightCol out",
            request.channel,
        )
    if not own and layout.group is not None and (layout.label is None or kind != LIBSVM.content_type):
        raise ValidationError(
            f"qidCol: only rows of {LIBSVM.content_type} with a label carry a query id, but the content type is "
            f"{request.contentType} and the label {layout.label!r}; leave qidCol out",
            request.channel,
        )
    if request.prefix.bucket == session.lookup().bucket:
        s3.ensure_bucket(session)
    mark = token()
    folder = (request.prefix / mark).prefix
    files = (folder / FILES).prefix if request.flat else folder
    task = StagingTask(session, files, layout, request.contentType, request.maxShardBytes, request.gzip, request.flat)
    try:
        reports = _run(df, task)
        _check(reports, request)
        shards = _finished(session, [shard for report in reports for shard in report.shards])
        _sweep_losers(session, folder, shards)
        manifest = folder / f"{request.channel}.manifest"
        s3.upload_bytes(session, manifest, _manifest(folder, shards), "application/json")
    except BaseException as error:
        refused = isinstance(error, DataError)
        _sweep_failed(session, folder, error, again=not refused)
        found = unwrapped(error) if isinstance(error, Exception) else error
        if found is error:
            raise
        raise found from error
    labels = [report.labels for report in reports if report.labels is not None]
    summary = None
    for part in labels:
        summary = part if summary is None else summary.merged(part)
    width = next(report.width for report in reports if report.rows)
    return StagingReport(manifest, shards, sum(r.rows for r in reports), width, summary, mark)


def unstage(session: SageMakerSession, report: StagingReport) -> None:
    """Delete what a run staged: its shards and manifest by record, and what late attempts left in its own folder.

    Calls DeleteObjects, ListObjectsV2, ListMultipartUploads.

    Raises
    ------
    ServiceError
        If something could not be deleted.
    """
    s3.delete_keys(session, [report.manifest, *(shard.uri for shard in report.shards)])
    _sweep(session, report.folder, frozenset())


def _run(df: DataFrame, task: StagingTask) -> list[TaskReport]:
    """Run the Spark job and return the reports in order of partition."""
    columns = staged_columns(df.schema, task.layout)
    frame = df.select(*(column.alias(name) for name, column in columns.items()))
    rows = frame.mapInArrow(_function(task), f"{REPORT} binary").collect()
    reports: list[TaskReport] = [pickle.loads(row[0]) for row in rows]
    return sorted(reports, key=lambda report: report.partition)


def _function(task: StagingTask) -> Callable[[Iterator[Any]], Iterator[Any]]:
    # A closure over one frozen value, so that the executors load the code from the package.
    def stage_partition(batches: Iterator[Any]) -> Iterator[Any]:
        return run(task, batches)

    return stage_partition


def _check(reports: list[TaskReport], request: StagingRequest) -> None:
    """Raise the first partition's error; refuse no rows at all, and partitions of different widths."""
    errors = [report.error for report in reports if report.error is not None]
    if errors:
        first = errors[0]
        if len(errors) > 1:
            first.add_note(f"{len(errors) - 1} more partitions were refused")
        raise first
    filled = [report for report in reports if report.rows]
    if not filled:
        raise DataError(
            f"channel {request.channel!r}: the DataFrame has no rows; at least one is needed",
            column=request.layout.title,
        )
    for report in filled:
        if report.width != filled[0].width:
            raise DataError(
                f"column {request.layout.title!r}, partition {report.partition}, row 0 of the partition (from 0): it "
                f"has {report.width} features, but those of partition {filled[0].partition} have {filled[0].width}",
                column=request.layout.title,
                partition=report.partition,
                position=0,
                value=str(report.width),
            )


def _finished(session: SageMakerSession, shards: list[Shard]) -> tuple[Shard, ...]:
    """Finish the shards that executors left for it, several at a time, and return all."""

    def finish(shard: Shard) -> Shard:
        if shard.held is None:
            return shard
        shard.held.complete(session)
        return replace(shard, held=None)

    with ThreadPoolExecutor(FINISHERS, thread_name_prefix="sagespark-finish") as pool:
        return tuple(pool.map(finish, shards))


def _manifest(folder: S3Uri, shards: Iterable[Shard]) -> bytes:
    """Return the ManifestFile; see S3DataSource in the SageMaker API reference."""
    return json.dumps([{"prefix": str(folder)}, *(shard.uri.key[len(folder.key) :] for shard in shards)]).encode()


def _sweep(session: SageMakerSession, folder: S3Uri, keep: frozenset[S3Uri]) -> int:
    """Delete what the run's folder holds beside ``keep``, finished or not, and return how many objects."""
    stopped = s3.abort_uploads(session, folder)
    return stopped + s3.delete_keys(session, (uri for uri in s3.list_keys(session, folder) if uri not in keep))


def _sweep_losers(session: SageMakerSession, folder: S3Uri, shards: Iterable[Shard]) -> None:
    try:
        count = _sweep(session, folder, frozenset(shard.uri for shard in shards))
    except SageSparkError as error:
        # The manifest names the right shards whatever else lies there.
        log.warning("what lost attempts may have left below %s could not be looked for: %s", folder, error)
    else:
        if count:
            log.info("deleted %d objects of lost attempts below %s", count, folder)


def _sweep_failed(session: SageMakerSession, folder: S3Uri, error: BaseException, again: bool) -> None:
    """Delete everything in the folder of a run that failed; tell on the error what could not be deleted."""
    try:
        _sweep(session, folder, frozenset())
        if again:
            # Tasks of a failed job may write until Spark has killed their workers.
            session.clock.sleep(KILL_SECONDS)
            _sweep(session, folder, frozenset())
    except SageSparkError as second:
        error.add_note(f"shards below {folder} may be left; they could not be deleted: {second}")
