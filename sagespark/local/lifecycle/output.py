"""What a job's containers write: log events, and the metrics in them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from typing import Any

from sagespark.core.clock import Clock
from sagespark.local.lifecycle.hosts import Host
from sagespark.local.lifecycle.metrics import Definition, MetricReader
from sagespark.local.logs import TRAINING_JOBS, LogStore

_RECORD_SECONDS = 0.2


class JobOutput:
    """Take the lines of all hosts of a job. Thread-safe.

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
        self._lock = threading.Lock()
        self._recorded = clock.monotonic()
        self._unrecorded = False

    def of(self, host: Host) -> Callable[[str], None]:
        """Return what takes the lines of one host's container."""
        stream = f"{self._name}/{host.name}-{self._epoch}"
        return lambda line: self._take(stream, line)

    def flush(self) -> None:
        """Record the metrics that are not recorded yet."""
        with self._lock:
            if self._unrecorded:
                self._unrecorded = False
                self._record(self._reader.final())

    def _take(self, stream: str, line: str) -> None:
        # Log shipping writes a TAB as #011, and metric definitions are made for what it writes.
        line = line.replace("\t", "#011")
        now = self._clock.now()
        self._logs.append(self._region, TRAINING_JOBS, stream, [(int(now.timestamp() * 1000), line)])
        with self._lock:
            if self._reader.read(line, now):
                self._unrecorded = True
            moment = self._clock.monotonic()
            if self._unrecorded and moment - self._recorded >= _RECORD_SECONDS:
                self._recorded, self._unrecorded = moment, False
                self._record(self._reader.final())
