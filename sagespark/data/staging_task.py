"""The executor's part of staging: one partition's rows to shards in S3, with flat memory."""

from __future__ import annotations

import pickle
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from sagespark.aws.errors import is_transient
from sagespark.aws.multipart import HeldUpload, MultipartWriter
from sagespark.aws.session import SageMakerSession
from sagespark.codecs.base import Codec
from sagespark.codecs.matrix import Csr, Matrix, Mixed
from sagespark.core.clock import token
from sagespark.core.errors import SageSparkError
from sagespark.core.s3uri import S3Uri
from sagespark.data.batches import BadRowError, from_arrow, to_matrix
from sagespark.data.columns import GROUP, INDICES, KIND, LABEL, VALUES, WEIGHT
from sagespark.data.formats import OwnCodec, codec_of
from sagespark.data.frame import FrameLayout
from sagespark.data.labels import LabelSummary, summary, to_groups, to_labels, to_weights

REPORT = "report"
"""Name of the column in which reports travel."""
BLOCK_BYTES = 1 << 20
"""Bytes encoded at once, about: what stays in the processor's cache."""
EXTENSIONS = {
    "application/x-recordio-protobuf": "pbr",
    "text/csv": "csv",
    "text/libsvm": "libsvm",
    "application/json": "json",
    "application/jsonlines": "jsonl",
}


@dataclass(frozen=True)
class Shard:
    """One object of a channel.

    Parameters
    ----------
    uri : S3Uri
    partition : int
        Whose rows it holds.
    rows, bytes : int
        How many.
    held : HeldUpload or None
        What the driver has to finish before the object is there; None: it is.
    """

    uri: S3Uri
    partition: int
    rows: int
    bytes: int
    held: HeldUpload | None = None


@dataclass(frozen=True)
class StagingTask:
    """What every task of a run is told.

    Parameters
    ----------
    session : SageMakerSession
    folder : S3Uri
        The run's own folder; ends in ``/``.
    layout : FrameLayout
    contentType : str
        Format of the shards.
    maxShardBytes : int
        Most bytes of a shard; a single row may still be larger.
    gzip : bool
        Compress the shards.
    hold : bool
        Leave every shard for the driver to finish.
    """

    session: SageMakerSession
    folder: S3Uri
    layout: FrameLayout
    contentType: str
    maxShardBytes: int
    gzip: bool = False
    hold: bool = False


@dataclass(frozen=True)
class TaskReport:
    """What one attempt at a partition did.

    Parameters
    ----------
    partition : int
    shards : tuple of Shard
        Finished objects, in order of rows.
    rows, width : int
        Number of rows and of features; ``width`` means nothing without rows.
    labels : LabelSummary or None
    error : SageSparkError or None
        Why the attempt was given up; trying again would not help.
    """

    partition: int
    shards: tuple[Shard, ...]
    rows: int
    width: int
    labels: LabelSummary | None
    error: SageSparkError | None = None


def run(task: StagingTask, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Stage the rows of this task's partition and yield the report; for ``mapInArrow``."""
    from pyspark import TaskContext

    context = TaskContext.get()
    assert context is not None
    report = stage_partition(task, batches, context.partitionId(), context.taskAttemptId())
    yield pa.RecordBatch.from_pydict({REPORT: pa.array([pickle.dumps(report)], pa.binary())})


def stage_partition(task: StagingTask, batches: Iterator[pa.RecordBatch], partition: int, attempt: int) -> TaskReport:
    """Stage rows and return the report.

    Parameters
    ----------
    task : StagingTask
    batches : iterator of RecordBatch
        The columns of :func:`sagespark.data.columns.staged_columns`.
    partition, attempt : int
        Spark's numbers; they go into the keys. The attempt's does not where the driver finishes the shards: only one
        attempt's ever are.

    Raises
    ------
    ServiceError
        If S3 did not answer, or only with errors that may pass: another attempt can help.
    """
    stem = f"part-{partition:05d}"
    writer = ShardWriter(task, partition, stem if task.hold else f"{stem}-{attempt}-{token(6)}")
    try:
        return _stage(task, batches, partition, writer)
    except BadRowError as error:
        # Its position is in the partition already.
        return TaskReport(partition, (), 0, 0, None, error.located(partition, 0))
    except SageSparkError as error:
        if is_transient(error):
            raise
        return TaskReport(partition, (), 0, 0, None, error)
    finally:
        writer.abort()


def _stage(task: StagingTask, batches: Iterator[pa.RecordBatch], partition: int, writer: ShardWriter) -> TaskReport:
    layout, form = task.layout, codec_of(task.contentType, task.layout)
    rows, width, told = 0, layout.width, "the column's ML attributes say {width}"
    labels: LabelSummary | None = None
    for batch in batches:
        if not batch.num_rows:
            continue
        columns = dict(zip(batch.schema.names, batch.columns, strict=True))
        try:
            matrix, lead = _rows(columns, layout, width, told)
        except BadRowError as error:
            error.position += rows
            raise
        if width is None:
            width, told = matrix.shape[1], "the rows before have {width}"
        if lead is not None and layout.label is not None:
            part = summary(lead if lead.ndim == 1 else lead[:, 0])
            labels = part if labels is None else labels.merged(part)
        for part_rows in blocks(matrix, min(BLOCK_BYTES, task.maxShardBytes)):
            writer.write(form, matrix[part_rows], None if lead is None else lead[part_rows])
        rows += batch.num_rows
    return TaskReport(partition, writer.close(), rows, width or 0, labels)


def _rows(
    columns: dict[str, Any], layout: FrameLayout, width: int | None, told: str
) -> tuple[Matrix, NDArray[Any] | None]:
    """Return features and leading columns of a batch; the first bad row of all columns is raised.

    These are the label, behind it the weight where there is one; with query ids always three, in float64: label, weight
    (NaN where there is none) and id.
    """
    bad: list[BadRowError] = []
    matrix: Matrix | None = None
    lead: list[NDArray[Any]] = []
    try:
        matrix = to_matrix(from_arrow(columns[VALUES], columns[KIND], columns.get(INDICES)), layout, width, told)
    except BadRowError as error:
        bad.append(error)
    for name, check in ((LABEL, to_labels), (WEIGHT, to_weights), (GROUP, to_groups)):
        if name in columns:
            try:
                lead.append(check(columns[name], layout))
            except BadRowError as error:
                bad.append(error)
    if bad:
        raise min(bad, key=lambda error: error.position)
    assert matrix is not None
    if layout.group is not None and layout.weight is None:
        lead.insert(1, np.full(len(lead[0]), np.nan))
    return matrix, np.column_stack(lead) if len(lead) > 1 else lead[0] if lead else None


def blocks(matrix: Matrix, size: int) -> Iterator[slice]:
    """Yield runs of rows whose encoded form is about ``size`` bytes."""
    rows, width = matrix.shape
    if isinstance(matrix, np.ndarray):
        stored = rows * width
    elif isinstance(matrix, Csr):
        stored = 2 * len(matrix.values)
    else:
        assert isinstance(matrix, Mixed)
        stored = matrix.dense.size + 2 * len(matrix.sparse.values)
    step = max(1, size * rows // max(1, 4 * stored + 32 * rows))
    for start in range(0, rows, step):
        yield slice(start, min(start + step, rows))


class ShardWriter:
    """Write encoded rows to one shard after the other.

    Parameters
    ----------
    task : StagingTask
    partition : int
    stem : str
        Beginning of the objects' names; no other attempt has it, unless shards are left for the driver to finish.
    """

    def __init__(self, task: StagingTask, partition: int, stem: str) -> None:
        self._task = task
        self._partition = partition
        self._stem = stem
        self._extension = EXTENSIONS.get(task.contentType.split(";")[0].strip().lower(), "data")
        if task.gzip:
            self._extension += ".gz"
        self._writer: MultipartWriter | None = None
        self._packer: Any = None
        self._rows = 0
        self._shards: list[Shard] = []

    def write(self, form: Codec | OwnCodec, features: Matrix, labels: NDArray[Any] | None) -> None:
        """Encode rows and append them; begin another shard where they would not fit."""
        rows = features.shape[0]
        body = memoryview(form.encode(features, labels))
        if len(body) > self._task.maxShardBytes and rows > 1:
            for half in (slice(0, rows // 2), slice(rows // 2, rows)):
                self.write(form, features[half], None if labels is None else labels[half])
            return
        if self._writer is not None and self._writer.written + len(body) > self._task.maxShardBytes:
            self._finish()
        if self._writer is None:
            name = f"{self._stem}-{len(self._shards):04d}.{self._extension}"
            self._writer = MultipartWriter(
                self._task.session, self._task.folder / name, contentType=str(self._task.contentType)
            )
            # A gzip member per shard (RFC 1952), at the level that costs least.
            self._packer = zlib.compressobj(1, zlib.DEFLATED, 16 + zlib.MAX_WBITS) if self._task.gzip else None
        self._writer.write(body if self._packer is None else self._packer.compress(body))
        self._rows += rows

    def close(self) -> tuple[Shard, ...]:
        """Finish the last shard and return all."""
        self._finish()
        return tuple(self._shards)

    def abort(self) -> None:
        """Give up the shard that is not finished; nothing after ``close()``."""
        if self._writer is not None:
            self._writer.abort()

    def _finish(self) -> None:
        if self._writer is None:
            return
        if self._packer is not None:
            self._writer.write(self._packer.flush())
        held = None
        if self._task.hold:
            held = self._writer.hold()
        else:
            self._writer.close()
        self._shards.append(Shard(self._writer.uri, self._partition, self._rows, self._writer.written, held))
        self._writer, self._rows = None, 0
