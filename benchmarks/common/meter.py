"""Processor time and memory of this process, Spark's JVM and its Python workers, from outside."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import psutil

from sagespark.core.clock import SystemClock

CLOCK = SystemClock()


@dataclass(frozen=True)
class Spent:
    """Seconds of one run: by the clock, of the JVM's processors, and of the Python workers'."""

    wall: float
    jvm: float
    workers: float

    @property
    def cpu(self) -> float:
        """JVM and workers together."""
        return self.jvm + self.workers


def _jvm() -> psutil.Process:
    return next(p for p in psutil.Process().children() if "java" in p.name())


def _seconds(process: psutil.Process, ended: bool) -> float:
    times = process.cpu_times()
    return float(times.user + times.system + (times.children_user + times.children_system if ended else 0))


def measure(call: Callable[[], object]) -> Spent:
    """Run a call and return what it cost."""
    jvm = _jvm()

    def now() -> tuple[float, float, float]:
        workers = 0.0
        for process in jvm.children(recursive=True):
            try:
                workers += _seconds(process, ended=True)
            except psutil.Error:
                continue
        return CLOCK.monotonic(), _seconds(jvm, ended=False), workers

    before = now()
    call()
    after = now()
    return Spent(*(b - a for a, b in zip(before, after, strict=True)))


class PeakMemory:
    """While entered, watch the resident memory of this process and of the largest Python worker; in MiB."""

    def __init__(self) -> None:
        self.driver = self.worker = 0.0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        me, jvm = psutil.Process(), _jvm()
        while not self._stop.wait(0.05):
            self.driver = max(self.driver, me.memory_info().rss / 2**20)
            for process in jvm.children(recursive=True):
                try:
                    self.worker = max(self.worker, process.memory_info().rss / 2**20)
                except psutil.Error:
                    continue
