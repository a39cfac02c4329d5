"""Listeners of jobs: the progress display (:mod:`sagespark.ml.progress`) is one, MLflow's logging another.

=================  ====================================================================================
``onJobStarted``   the service accepted the job
``onStatus``       its status, secondary status or status message changed
``onPoll``         the service was asked again; nothing need have changed
``onMetrics``      it reported metrics that are new or changed
``onJobEnded``     it ended, well or not, or the waiting ended
``onTrial``        a tuner's trial changed
=================  ====================================================================================

A listener never fails the job: what it raises becomes a warning.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from sagespark.aws.training_job import TrainingJob, metrics
from sagespark.core.clock import Clock


@dataclass(frozen=True)
class JobEvent:
    """What is known of a job when a listener is called.

    Parameters
    ----------
    kind : str
        AWS's word: ``TrainingJob``.
    name : str
        The job's name.
    stage : str
        Uid of the estimator; empty where the job was attached to.
    request : mapping
        The request that created it; empty where the job was attached to.
    params : mapping
        Values of the estimator's Params that were set, by name.
    status, secondaryStatus, message : str
        As the service gives them.
    elapsed : float
        Seconds since the waiting began.
    metrics : mapping of str to float
        Last value of each metric.
    logLines : tuple of str
        Lines of its log that are new since the last event; filled for listeners with ``wantsLog``.
    description : mapping
        The service's description; empty before the first.
    error : BaseException or None
        In ``onJobEnded``: what ended the waiting.
    """

    kind: str
    name: str
    stage: str = ""
    request: Mapping[str, Any] = field(default_factory=dict, repr=False)
    params: Mapping[str, Any] = field(default_factory=dict, repr=False)
    status: str = ""
    secondaryStatus: str = ""
    message: str = ""
    elapsed: float = 0.0
    metrics: Mapping[str, float] = field(default_factory=dict)
    logLines: tuple[str, ...] = ()
    description: Mapping[str, Any] = field(default_factory=dict, repr=False)
    error: BaseException | None = None


class Listener:
    """Hear of jobs; override what is wanted."""

    wantsLog: bool = False
    """Whether events carry the job's new log lines, which costs two calls per poll."""

    def onJobStarted(self, event: JobEvent) -> None:
        """Hear that the service accepted a job."""

    def onStatus(self, event: JobEvent) -> None:
        """Hear that its status changed."""

    def onPoll(self, event: JobEvent) -> None:
        """Hear that it was described again."""

    def onMetrics(self, event: JobEvent) -> None:
        """Hear that its metrics changed."""

    def onJobEnded(self, event: JobEvent) -> None:
        """Hear that it ended, or that the waiting for it did."""

    def onTrial(self, trial: Any) -> None:
        """Hear that a tuner's trial changed."""


_everywhere: list[Listener] = []


def add_everywhere(listener: Listener) -> None:
    """Let a listener hear of every job of this process, beside those of sessions and stages."""
    if listener not in _everywhere:
        _everywhere.append(listener)


def remove_everywhere(listener: Listener) -> None:
    """Undo `add_everywhere`; one that was not added is no error."""
    if listener in _everywhere:
        _everywhere.remove(listener)


def everywhere() -> tuple[Listener, ...]:
    """Return the listeners that hear of every job."""
    return tuple(_everywhere)


def tell(listeners: Iterable[Listener], callback: str, event: Any) -> None:
    """Call one method of every listener; what one raises becomes a warning."""
    for listener in listeners:
        try:
            getattr(listener, callback)(event)
        except Exception as error:
            warnings.warn(
                f"listener {type(listener).__name__}.{callback} failed and is ignored: {type(error).__name__}: {error}",
                RuntimeWarning,
                stacklevel=2,
            )


class Watch:
    """Turn a job's descriptions into events.

    Parameters
    ----------
    job : TrainingJob
    listeners : sequence of Listener
    clock : Clock
    stage, request, params
        See `JobEvent`.
    """

    def __init__(
        self,
        job: TrainingJob,
        listeners: Sequence[Listener],
        clock: Clock,
        *,
        stage: str = "",
        request: Mapping[str, Any] | None = None,
        params: Mapping[str, Any] | None = None,
    ) -> None:
        self._listeners = listeners
        self._clock = clock
        self._started = clock.monotonic()
        self._log = job.follow_logs() if any(listener.wantsLog for listener in listeners) else None
        self._event = JobEvent(job.kind, job.name, stage, dict(request or {}), dict(params or {}))

    def started(self) -> None:
        """Tell that the job was accepted."""
        tell(self._listeners, "onJobStarted", self._event)

    def update(self, description: Mapping[str, Any]) -> None:
        """Tell what a description says that is new."""
        before = self._event
        transitions = description.get("SecondaryStatusTransitions") or [{}]
        event = self._event = replace(
            before,
            status=str(description.get("TrainingJobStatus", "")),
            secondaryStatus=str(description.get("SecondaryStatus", "")),
            message=str(transitions[-1].get("StatusMessage", "")),
            elapsed=self._clock.monotonic() - self._started,
            metrics=metrics(dict(description)),
            logLines=self._new_lines(),
            description=description,
        )
        if _status(event) != _status(before):
            tell(self._listeners, "onStatus", event)
        if event.metrics != before.metrics:
            tell(self._listeners, "onMetrics", event)
        tell(self._listeners, "onPoll", event)

    def ended(self, error: BaseException | None = None) -> None:
        """Tell that the job, or the waiting for it, ended."""
        elapsed = self._clock.monotonic() - self._started
        tell(self._listeners, "onJobEnded", replace(self._event, elapsed=elapsed, error=error))

    def _new_lines(self) -> tuple[str, ...]:
        if self._log is None:
            return ()
        try:
            return tuple(line.message for line in self._log.read())
        except Exception as error:
            # Without permission to read logs the display goes on without them.
            self._log = None
            warnings.warn(f"the job's log cannot be read and is not shown: {error}", RuntimeWarning, stacklevel=2)
            return ()


def _status(event: JobEvent) -> tuple[str, str, str]:
    return event.status, event.secondaryStatus, event.message
