"""Rows to requests and answers: cut by the endpoint's limits, several in flight, in order.

Spark cuts a partition into Arrow batches as its settings say. What an endpoint takes is another matter: batches are cut
and joined here, so that a request is as large as the limits allow wherever the batches end.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sagespark.aws import runtime
from sagespark.aws.session import SageMakerSession
from sagespark.codecs import recordio
from sagespark.codecs.matrix import Csr, Matrix, Mixed
from sagespark.codecs.registry import codec
from sagespark.core.errors import CodecError, DataError, InvocationError
from sagespark.data.formats import Deserializer, codec_of, decode
from sagespark.data.frame import FrameLayout
from sagespark.data.joining import concatenate

MAX_PAYLOAD_BYTES = 6 << 20
"""Bytes that a real-time endpoint takes (BodyBlob in botocore's sagemaker-runtime model)."""
MAX_CONCURRENT_REQUESTS = 4
"""Requests in flight per task."""
TEXT_BYTES = 16
"""Bytes that a number takes in a text format, about; a body that turns out too large is cut again."""

Fields = dict[str, NDArray[Any]]
"""Response field -> values, shape (n,) or (n, m)."""
PostProcess = Callable[[Fields], Fields]


@dataclass(frozen=True)
class InvokeSpec:
    """How rows are sent to an endpoint, and what is taken from its answers.

    Parameters
    ----------
    session : SageMakerSession
    endpointName : str
    contentType, accept : str
        Content types of requests and answers: declared ones, or the user's own with their functions.
    fields : tuple of str
        Response fields that are wanted.
    layout : FrameLayout
        Which columns are sent.
    width : int or None
        Number of features that the model takes; None where it is not known.
    columns : int or None
        Number of leading features that are sent, where the model knows fewer than the rows have; None: all.
    maxPayloadBytes : int
        Most bytes of a request.
    maxRecordsPerRequest : int or None
        Most rows of a request; None: what `maxPayloadBytes` allows.
    maxConcurrentRequests : int or None
        Requests in flight per task; None: `MAX_CONCURRENT_REQUESTS`.
    timeoutSeconds : float or None
        Seconds without a byte of the answer after which a try is given up; None: 60.
    maxRetries : int or None
        Tries after the first one; None: 6.
    variant : str or None
        Production variant to ask; None: by their weights.
    postprocess : callable or None
        Module-level function from the answer's fields to those that become columns.
    """

    session: SageMakerSession
    endpointName: str
    contentType: str
    accept: str
    fields: tuple[str, ...]
    layout: FrameLayout
    width: int | None = None
    columns: int | None = None
    maxPayloadBytes: int = MAX_PAYLOAD_BYTES
    maxRecordsPerRequest: int | None = None
    maxConcurrentRequests: int | None = None
    timeoutSeconds: float | None = None
    maxRetries: int | None = None
    variant: str | None = None
    postprocess: PostProcess | None = None


class Invoker:
    """One task's way to the endpoint.

    Parameters
    ----------
    spec : InvokeSpec
    """

    def __init__(self, spec: InvokeSpec) -> None:
        self.spec = spec
        self._codec = codec_of(spec.contentType, spec.layout)
        # Shrinks where the endpoint says 413: a container may take less than the service.
        self._limit = spec.maxPayloadBytes
        self._options: dict[str, Any] = {"variant": spec.variant}
        if spec.timeoutSeconds is not None:
            self._options["timeout"] = spec.timeoutSeconds
        if spec.maxRetries is not None:
            self._options["maxRetries"] = spec.maxRetries

    def answers(self, batches: Iterable[Matrix]) -> Iterator[tuple[int, Fields]]:
        """Yield the number of rows and the fields of each request, in order of rows.

        At most ``maxConcurrentRequests`` are in flight or wait to be taken, so that memory stays flat.

        Parameters
        ----------
        batches : iterable of Matrix
            Of one width.

        Raises
        ------
        DataError
            If a single row is larger than a request may be.
        InvocationError
            If the endpoint refused or failed a request, or its answer does not fit the rows.
        """
        limit = self.spec.maxConcurrentRequests or MAX_CONCURRENT_REQUESTS
        flying: deque[tuple[int, Future[Fields]]] = deque()
        pool = ThreadPoolExecutor(limit, thread_name_prefix="sagespark-invoke")
        try:
            for rows in self.requests(leading(batch, self.spec.columns) for batch in batches):
                if len(flying) == limit:
                    yield _landed(flying)
                flying.append((rows.shape[0], pool.submit(self.answer, rows)))
                while flying and flying[0][1].done():
                    yield _landed(flying)
            while flying:
                yield _landed(flying)
        finally:
            # On an error, and where nobody wants more rows (limit), what waits is not sent.
            pool.shutdown(wait=False, cancel_futures=True)

    def requests(self, batches: Iterable[Matrix]) -> Iterator[Matrix]:
        """Yield the rows of each request: as many as fit, cut from batches and joined across them."""
        most = self.spec.maxRecordsPerRequest
        held: list[Matrix] = []
        records = size = 0
        for batch in batches:
            ends = np.cumsum(self._sizes(batch))
            start, count = 0, batch.shape[0]
            while start < count:
                taken = int(ends[start - 1]) if start else 0
                stop = int(np.searchsorted(ends, taken + self._limit - size, side="right"))
                if most is not None:
                    stop = min(stop, start + most - records)
                if stop <= start and not held:
                    # A row that is too large on its own: the answer says so.
                    stop = start + 1
                if stop > start:
                    held.append(batch[start:stop])
                    records += stop - start
                    size += int(ends[stop - 1]) - taken
                    start = stop
                if start < count or records == most:
                    yield concatenate(held)
                    held, records, size = [], 0, 0
        if held:
            yield concatenate(held)

    def _sizes(self, batch: Matrix) -> NDArray[np.int64]:
        """Return the bytes of each row: exact where the format tells, else about."""
        if self._codec.content_type == recordio.RECORDIO.content_type:
            return recordio.row_sizes(batch, False)
        rows, width = batch.shape
        if isinstance(batch, np.ndarray):
            return np.full(rows, TEXT_BYTES * (width + 1), np.int64)
        if isinstance(batch, Csr):
            return TEXT_BYTES * (2 * np.diff(batch.indptr) + 2)
        assert isinstance(batch, Mixed)
        sizes = np.full(rows, TEXT_BYTES * (width + 1), np.int64)
        sizes[batch.is_sparse] = TEXT_BYTES * (2 * np.diff(batch.sparse.indptr) + 2)
        return sizes

    def answer(self, rows: Matrix) -> Fields:
        """Send rows and return the fields of the answer; in halves where they are too many for one request."""
        body = self._codec.encode(rows)
        count = rows.shape[0]
        if len(body) <= self._limit:
            try:
                return self._sent(body, count)
            except InvocationError as error:
                if error.status != 413 or count == 1:
                    raise
                self._limit = min(self._limit, len(body) // 2)
        elif count == 1:
            raise DataError(
                f"a row of {rows.shape[1]} features takes {len(body)} bytes as {self.spec.contentType}, but a request "
                f"to endpoint {self.spec.endpointName!r} may have {self._limit} (maxPayloadInMB, at most what the "
                "endpoint takes)"
            )
        return joined([self.answer(rows[: count // 2]), self.answer(rows[count // 2 :])])

    def _sent(self, body: bytes | memoryview, count: int) -> Fields:
        spec = self.spec
        answer = runtime.invoke(spec.session, spec.endpointName, body, spec.contentType, spec.accept, **self._options)
        try:
            if isinstance(spec.accept, Deserializer):
                fields = decode(spec.accept, answer.body, spec.fields)
            else:
                fields = dict(codec(answer.contentType or spec.accept).decode_predictions(answer.body, spec.fields))
        except CodecError as error:
            raise InvocationError(
                f"endpoint {spec.endpointName!r} answered a request of {count} rows with a body that cannot be read: "
                f"{error}",
                endpointName=spec.endpointName,
            ) from error
        if spec.postprocess is not None:
            fields = spec.postprocess(fields)
        for name, values in fields.items():
            if len(values) != count:
                raise InvocationError(
                    f"endpoint {spec.endpointName!r} answered {len(values)} rows ({name}) to a request of {count}; "
                    "there must be one answer per row",
                    endpointName=spec.endpointName,
                )
        return fields


def _landed(flying: deque[tuple[int, Future[Fields]]]) -> tuple[int, Fields]:
    count, future = flying.popleft()
    return count, future.result()


def leading(rows: Matrix, columns: int | None) -> Matrix:
    """Return the first ``columns`` features of rows; all where there are no more."""
    if columns is None or rows.shape[1] <= columns:
        return rows
    if isinstance(rows, np.ndarray):
        return np.ascontiguousarray(rows[:, :columns])
    if isinstance(rows, Mixed):
        dense, sparse = leading(rows.dense, columns), leading(rows.sparse, columns)
        assert isinstance(dense, np.ndarray)
        assert isinstance(sparse, Csr)
        return Mixed(rows.is_sparse, dense, sparse)
    kept = rows.indices < columns
    before = np.concatenate([[0], np.cumsum(kept)])
    return Csr(before[rows.indptr], rows.indices[kept], rows.values[kept], columns)


def joined(parts: list[Fields]) -> Fields:
    """Return the answers to consecutive rows as one."""
    first = parts[0]
    if len(parts) == 1:
        return first
    return {name: np.concatenate([part[name] for part in parts]) for name in first}


def one_value(values: NDArray[Any], name: str, endpointName: str) -> NDArray[Any]:
    """Return a field of one value per row, shape (n,).

    Raises
    ------
    InvocationError
        If it has several.
    """
    if values.ndim == 2 and values.shape[1] == 1:
        return values[:, 0]
    if values.ndim != 1:
        raise InvocationError(
            f"endpoint {endpointName!r} answered {values.shape[1]} values of {name} per row, but one is expected",
            endpointName=endpointName,
        )
    return values


def integers(values: NDArray[Any], name: str, endpointName: str) -> NDArray[np.int32]:
    """Return a field of integers, shape (n,).

    Raises
    ------
    InvocationError
        If one is none.
    """
    found = one_value(values, name, endpointName)
    with np.errstate(invalid="ignore"):
        whole = found.astype(np.int32)
    wrong = whole != found
    if wrong.any():
        raise InvocationError(
            f"endpoint {endpointName!r} answered {float(found[wrong.argmax()])!r} as {name}, which must be an integer",
            endpointName=endpointName,
        )
    return whole
