"""What handles of jobs share beside `Handle`: waiting, stopping, logs, and what an interrupt and a failure say."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

from botocore import xform_name

from sagespark.aws import interrupt, logs
from sagespark.aws.errors import call, is_missing
from sagespark.aws.handle import Handle
from sagespark.aws.interrupt import OnInterrupt
from sagespark.aws.waiter import Subject, Waiter, WaitSpec
from sagespark.core.errors import JobFailedError, SageSparkError, ServiceError

LOG_LINES = 15
"""Lines of the log that a failure shows."""


@dataclass(frozen=True)
class Job(Handle):
    """A handle of something that runs and ends by itself."""

    spec: ClassVar[WaitSpec]
    log_group: ClassVar[str]
    attach_with: ClassVar[str]
    """The call that attaches to a job, with a place for its name."""

    def wait(
        self,
        on_update: Callable[[dict[str, Any]], None] | None = None,
        timeout: float | None = None,
        *,
        noAnswerTimeout: float | None = None,
        attach: str | None = None,
        onInterrupt: OnInterrupt | None = None,
    ) -> dict[str, Any]:
        """Wait for the end and return the last description.

        Parameters
        ----------
        on_update : callable or None
            Gets every description.
        timeout : float or None
            Seconds until the waiting, not the job, is given up; None: never.
        noAnswerTimeout : float or None
            Seconds without any answer; None: Spark conf ``spark.sagespark.noAnswerTimeout``, environment
            ``SAGESPARK_NO_ANSWER_TIMEOUT``, else 120.
        attach : str or None
            Python that goes on waiting, for messages; None: that of the generic model.
        onInterrupt : callable or None
            Decides on KeyboardInterrupt; None: the user is asked where somebody can answer, else told.

        Raises
        ------
        JobFailedError
            If it ended Failed, or Stopped with nothing to show for it.
        WaitTimeoutError
            If there was no answer, or no end, in time.
        KeyboardInterrupt
            After an interrupt, unless the answer was to go on waiting.
        """
        subject = Subject(self.name, self.url, attach or self.attach_with.format(name=self.name))
        while True:
            try:
                description = self._wait(subject, on_update, timeout, noAnswerTimeout)
                break
            except KeyboardInterrupt as stop:
                choice = (onInterrupt or interrupt.ask)(subject)
                if choice == "wait":
                    continue
                text = self._stop_and_wait(subject) if choice == "stop" else self._how_to(subject)
                interrupt.tell(text)
                stop.add_note(text)
                raise
        return self._judge(description)

    def _wait(
        self,
        subject: Subject,
        on_update: Callable[[dict[str, Any]], None] | None,
        timeout: float | None,
        noAnswerTimeout: float | None,
    ) -> dict[str, Any]:
        waiter = Waiter(self.session.clock)
        return waiter.wait(self._look, self.spec, subject, on_update, timeout=timeout, noAnswerTimeout=noAnswerTimeout)

    def _stop_and_wait(self, subject: Subject) -> str:
        """Stop the job after an interrupt and say how that went; a second interrupt ends the waiting, not the stop."""
        try:
            self.stop()
            status = self.spec.status(self._wait(subject, None, None, None))
        except KeyboardInterrupt:
            return f"{self.spec.noun} {self.name!r} has been asked to stop; it ends by itself."
        except SageSparkError as error:
            return f"{self.spec.noun} {self.name!r} could not be stopped: {error}\n{self._how_to(subject)}"
        return f"{self.spec.noun} {self.name!r} ended {status}."

    def _how_to(self, subject: Subject) -> str:
        lines = [f"{self.spec.noun} {self.name!r} is still running, and billed while it runs."]
        lines.append(f"  to stop it:       {type(self).__name__}(session, {self.name!r}).stop(), or: {self._stop_line}")
        lines.append(f"  to go on waiting: {subject.attach}")
        return "\n".join(lines)

    @property
    def _stop_line(self) -> str:
        session = self.session.lookup()
        option = f" --endpoint-url {session.endpointUrl}" if session.endpointUrl else ""
        verb = xform_name(f"Stop{self.kind}", "-")
        argument = xform_name(f"{self.kind}Name", "-")
        return f"aws sagemaker {verb} --{argument} {self.name} --region {session.region}{option}"

    def _judge(self, description: dict[str, Any]) -> dict[str, Any]:
        """Return the last description, or raise where the job has nothing to show."""
        outcome = self.spec.outcome(description)
        if outcome == "succeeded" or (outcome == "stopped" and self._has_result(description)):
            return description
        status = self.spec.status(description)
        reason = str(description.get(self.spec.reasonField, ""))
        secondary = str(description.get(self.spec.secondaryField, ""))
        ended = status if secondary in ("", status) else f"{status} ({secondary})"
        first = f"{self.spec.noun} {self.name!r} ended {ended}" + (f": {reason}" if reason else "")
        raise JobFailedError(
            f"{first}\n{self._evidence()}",
            jobName=self.name,
            status=status,
            failureReason=reason,
        )

    def _evidence(self) -> str:
        """Return what a failure's message shows below its first line."""
        return logs.excerpt(self.session, self.log_group, f"{self.name}/", LOG_LINES)

    def _has_result(self, description: dict[str, Any]) -> bool:
        """Tell whether a stopped job left something that is worth having."""
        return False

    def stop(self, missing_ok: bool = True) -> None:
        """Ask the job to stop; it is gone some time later. Calls Stop{kind}.

        Parameters
        ----------
        missing_ok : bool
            Whether it may be unknown or ended already.
        """
        try:
            call(self.session.client("sagemaker"), f"Stop{self.kind}", **self._key)
        except ServiceError as error:
            if not missing_ok or not (is_missing(error) or self.ended()):
                raise

    def follow_logs(self) -> logs.LogFollower:
        """Return a reader of the job's log; each ``read()`` gives what is new."""
        return logs.LogFollower(self.session, self.log_group, f"{self.name}/")

    def last_log_lines(self, count: int = LOG_LINES) -> list[logs.LogLine]:
        """Return the last lines of the job's log."""
        return logs.last_lines(self.session, self.log_group, f"{self.name}/", count)

    def ended(self) -> bool:
        """Tell whether the job has ended, one way or another. Calls Describe{kind}."""
        return self.spec.outcome(self.describe()) is not None
