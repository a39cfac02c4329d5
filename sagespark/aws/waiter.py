"""Waiting for a job or an endpoint, told what to look at by a row of data.

1. Describe, again and again: at first after 0.2 s, then after ever longer, at most 5 s, each time jittered.
2. Throttling, HTTP 5xx, resets and timeouts are answers to be patient about, never the end of the waiting.
3. No answer at all for ``noAnswerTimeout`` seconds, or no end for ``timeout`` seconds: `WaitTimeoutError`, which names
   the job, the URL and how to attach again. The job itself goes on.
4. An interrupt offers to stop the job (`sagespark.aws.interrupt`).
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from sagespark.aws import lookup
from sagespark.aws.errors import is_missing, is_throttling, is_transient, no_answer
from sagespark.core.clock import Clock, SystemClock, jitter
from sagespark.core.errors import SageSparkError, ServiceError, ValidationError, WaitTimeoutError

FIRST_INTERVAL = 0.2
"""Seconds before the second look."""
GROWTH = 1.03
"""Factor from one interval to the next: an end is seen late by some hundredths of the time that was waited."""
LONGEST_INTERVAL = 5.0
"""Seconds between looks, at most."""
LONGEST_THROTTLED_INTERVAL = 30.0
"""Seconds between looks, at most, while the service asks for fewer requests."""
NO_ANSWER_TIMEOUT = 120.0
"""Seconds without any answer after which waiting is given up."""
NO_ANSWER_VARIABLE = "SAGESPARK_NO_ANSWER_TIMEOUT"
"""Environment variable for it, in seconds; Spark conf ``spark.sagespark.noAnswerTimeout`` comes first."""

Description = dict[str, Any]


@dataclass(frozen=True)
class WaitSpec:
    """What waiting for one kind of resource looks at.

    Parameters
    ----------
    noun : str
        The kind in a message, such as ``training job``.
    statusField : str
        Member of the description that holds the status.
    succeeded, stopped, failed : frozenset of str
        Statuses that end the waiting, in AWS's words.
    secondaryField, reasonField : str
        Members that hold the secondary status and the failure's reason.
    ends : bool
        Whether waiting is for the resource to be gone: "not found" is then the end.
    """

    noun: str
    statusField: str
    succeeded: frozenset[str]
    failed: frozenset[str] = frozenset({"Failed"})
    stopped: frozenset[str] = frozenset()
    secondaryField: str = "SecondaryStatus"
    reasonField: str = "FailureReason"
    ends: bool = False

    def status(self, description: Mapping[str, Any]) -> str:
        """Return the status in a description."""
        return str(description.get(self.statusField, ""))

    def outcome(self, description: Mapping[str, Any]) -> Literal["succeeded", "failed", "stopped"] | None:
        """Return how the resource ended, or None while it has not."""
        status = self.status(description)
        if status in self.succeeded:
            return "succeeded"
        if status in self.failed:
            return "failed"
        return "stopped" if status in self.stopped else None


def _job(noun: str, statusField: str) -> WaitSpec:
    return WaitSpec(noun, statusField, succeeded=frozenset({"Completed"}), stopped=frozenset({"Stopped"}))


TRAINING_JOB = _job("training job", "TrainingJobStatus")
TRANSFORM_JOB = _job("transform job", "TransformJobStatus")
TUNING_JOB = _job("tuning job", "HyperParameterTuningJobStatus")
COMPILATION_JOB = WaitSpec(
    "compilation job",
    "CompilationJobStatus",
    succeeded=frozenset({"COMPLETED"}),
    failed=frozenset({"FAILED"}),
    stopped=frozenset({"STOPPED"}),
)
ENDPOINT = WaitSpec(
    "endpoint",
    "EndpointStatus",
    succeeded=frozenset({"InService"}),
    failed=frozenset({"Failed", "OutOfService", "UpdateRollbackFailed"}),
)
ENDPOINT_DELETED = WaitSpec("endpoint", "EndpointStatus", succeeded=frozenset(), ends=True)


@dataclass(frozen=True)
class Subject:
    """What is waited for, as messages name it.

    Parameters
    ----------
    name : str
        The job's or endpoint's name.
    url : str
        Where it is: the endpoint URL, or ``https://api.sagemaker.{region}.amazonaws.com``.
    attach : str
        Python that goes on waiting, such as ``KMeansModel.fromTrainingJob('km-1', wait=True)``.
    """

    name: str
    url: str = ""
    attach: str = ""


def no_answer_timeout(given: float | None = None, environ: Mapping[str, str] | None = None) -> float:
    """Return the seconds to wait without any answer: given, else Spark conf, else environment, else 120.

    Raises
    ------
    ValidationError
        If it is not a number above 0.
    """
    if given is None:
        variables = os.environ if environ is None else environ
        text = lookup.spark_conf("noAnswerTimeout") or variables.get(NO_ANSWER_VARIABLE)
        if not text:
            return NO_ANSWER_TIMEOUT
        try:
            given = float(text)
        except ValueError:
            given = -1.0
    else:
        text = str(given)
    if not given > 0:
        raise ValidationError(
            f"noAnswerTimeout must be a number of seconds above 0, but got {text!r} (from the call, Spark conf "
            f"spark.sagespark.noAnswerTimeout or environment {NO_ANSWER_VARIABLE})",
            "wait",
        )
    return given


@dataclass(frozen=True)
class Waiter:
    """Wait with given time and randomness.

    Parameters
    ----------
    clock : Clock
        Time; tests pass their own.
    rng : random.Random or None
        Draws the jitter.
    """

    clock: Clock = field(default_factory=SystemClock)
    rng: random.Random | None = None

    def wait(
        self,
        describe: Callable[[], Description],
        spec: WaitSpec,
        subject: Subject,
        on_update: Callable[[Description], None] | None = None,
        *,
        timeout: float | None = None,
        noAnswerTimeout: float | None = None,
    ) -> Description:
        """Describe until the end and return the last description.

        Parameters
        ----------
        describe : callable
            Makes one call and returns its answer.
        spec : WaitSpec
            What to look at.
        subject : Subject
            Names for messages.
        on_update : callable or None
            Gets every description, the last one too.
        timeout : float or None
            Seconds until the waiting is given up; None: never.
        noAnswerTimeout : float or None
            Seconds without any answer until the waiting is given up; see `no_answer_timeout`.

        Returns
        -------
        dict
            The last description; where the waiting is for the end of a resource, the last one seen before it was gone.

        Raises
        ------
        WaitTimeoutError
            If there was no answer, or no end, in time.
        ServiceError
            If the service refused to describe it; the resource itself goes on.
        """
        patience = no_answer_timeout(noAnswerTimeout)
        started = answered = self.clock.monotonic()
        interval = FIRST_INTERVAL
        description: Description = {}
        while True:
            growth, longest = GROWTH, LONGEST_INTERVAL
            try:
                description = _described(describe(), spec)
            except Exception as error:
                if spec.ends and is_missing(error):
                    return description
                if not is_transient(error):
                    if isinstance(error, SageSparkError):
                        error.add_note(_goes_on(spec, subject))
                    raise
                if not no_answer(error):
                    answered = self.clock.monotonic()
                    if is_throttling(error):
                        growth, longest = 2.0, LONGEST_THROTTLED_INTERVAL
                silent = self.clock.monotonic() - answered
                if silent >= patience:
                    raise WaitTimeoutError(
                        f"no answer from {subject.url or 'the service'} about {spec.noun} {subject.name!r} for "
                        f"{silent:.0f} s (noAnswerTimeout={patience:g}); the last error was: {error}\n"
                        f"{_goes_on(spec, subject)}"
                    ) from error
            else:
                answered = self.clock.monotonic()
                if on_update is not None:
                    on_update(description)
                if spec.outcome(description) is not None:
                    return description
            elapsed = self.clock.monotonic() - started
            if timeout is not None and elapsed >= timeout:
                raise WaitTimeoutError(
                    f"{spec.noun} {subject.name!r} at {subject.url or 'the service'} is still "
                    f"{spec.status(description) or 'unknown'} after {elapsed:.0f} s (timeout={timeout:g})\n"
                    f"{_goes_on(spec, subject)}"
                )
            pause = jitter(interval, self.rng)
            if timeout is not None:
                pause = min(pause, timeout - elapsed)
            self.clock.sleep(pause)
            interval = min(interval * growth, longest)


def _described(answer: Description, spec: WaitSpec) -> Description:
    """Return an answer that is a description; one without a status came from something else, such as a proxy."""
    if spec.statusField not in answer:
        raise ServiceError(f"an answer without {spec.statusField}: {str(answer)[:200]}", code="NoStatus")
    return answer


def _goes_on(spec: WaitSpec, subject: Subject) -> str:
    text = f"The {spec.noun} may still be running."
    return f"{text} To go on waiting: {subject.attach}" if subject.attach else text
