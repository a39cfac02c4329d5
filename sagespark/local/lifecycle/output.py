"""What a job's containers write: log events, and the metrics in them."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable
from datetime import datetime
from queue import Empty, Queue
from typing import Any

from sagespark.core.clock import Clock
from sagespark.local.lifecycle.hosts import Host
from sagespark.local.lifecycle.metrics import Definition, MetricReader
from sagespark.local.logs import TRAINING_JOBS, LogStore

_RECORD_SECONDS = 0.2
_BATCH = 1000
_WAITING = 10_000
_log = logging.getLogger(__name__)

Line = tuple[str, datetime, str]
"""Stream, time and text."""


class JobOutput:
    """Take the lines of all hosts of a job.

    A thread of its own writes them: what comes in while it writes goes into the next transaction, so a program that
    writes much is hardly slowed down, and a line that comes alone is in the log at once. A program that is faster than
    the disk has to wait.

    Parameters
    ----------
    logs : LogStore
        Takes the events, in streams ``JOB/algo-N-EPOCH``.
    region, name : str
        The job.
    metrics : iterable of (str, str)
        Name and regex of each metric.
    record : callable
        Takes ``FinalMetricDataList`` when it has changed, five times a second at most.
    clock : Clock
        Stamps the events.
    """

    def __init__(
        self,
        logs: LogStore,
        region: str,
        name: str,
        metrics: Iterable[Definition],
        record: Callable[[list[dict[str, Any]]], None],
        clock: Clock,
    ) -> None:
        self._logs = logs
        self._region = region
        self._name = name
        self._reader = MetricReader(metrics)
        self._record = record
        self._clock = clock
        self._epoch = int(clock.now().timestamp())
        self._lines: Queue[Line | None] = Queue(_WAITING)
        self._writer = threading.Thread(target=self._write, name=f"training-log-{name}", daemon=True)
        self._recorded = clock.monotonic()
        self._unrecorded = False

    def start(self) -> None:
        """Begin to write."""
        self._writer.start()

    def restart(self) -> None:
        """Begin new streams, for the containers of another attempt."""
        self._epoch = max(self._epoch + 1, int(self._clock.now().timestamp()))

    def of(self, host: Host) -> Callable[[str], None]:
        """Return what takes the lines of one host's container."""
        stream = f"{self._name}/{host.name}-{self._epoch}"
        return lambda line: self._lines.put((stream, self._clock.now(), line))

    def close(self) -> None:
        """Return once every line is in the log and every metric recorded."""
        self._lines.put(None)
        self._writer.join()

    def _write(self) -> None:
        open_ = True
        while open_:
            batch, open_ = self._take()
            try:
                self._log_lines(batch)
                self._read_metrics(batch, last=not open_)
            except Exception:
                # The containers must not wait for ever because the disk is full.
                _log.exception("%d log lines of training job %s are lost", len(batch), self._name)

    def _take(self) -> tuple[list[Line], bool]:
        """Wait for a line and return it with those behind it, and whether more may come."""
        batch: list[Line] = []
        line = self._lines.get()
        while line is not None:
            # Log shipping writes a TAB as #011, and metric definitions are made for what it writes.
            batch.append((line[0], line[1], line[2].replace("\t", "#011")))
            if len(batch) == _BATCH:
                return batch, True
            try:
                line = self._lines.get_nowait()
            except Empty:
                return batch, True
        return batch, False

    def _log_lines(self, batch: list[Line]) -> None:
        for stream in dict.fromkeys(stream for stream, _, _ in batch):
            rows = [(int(time.timestamp() * 1000), text) for name, time, text in batch if name == stream]
            self._logs.append(self._region, TRAINING_JOBS, stream, rows)

    def _read_metrics(self, batch: list[Line], *, last: bool) -> None:
        for _, time, text in batch:
            self._unrecorded |= self._reader.read(text, time)
        moment = self._clock.monotonic()
        if self._unrecorded and (last or moment - self._recorded >= _RECORD_SECONDS):
            self._recorded, self._unrecorded = moment, False
            self._record(self._reader.final())
