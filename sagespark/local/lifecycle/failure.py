"""How a job fails: AWS's three kinds of FailureReason."""

from __future__ import annotations

import os
import stat
from pathlib import Path

INTERNAL = "InternalServerError:"
"""What the FailureReason of a job begins with that ``RetryStrategy`` retries."""
MAX_REASON = 1024
"""Longest FailureReason, characters."""
INTERRUPTED = (
    "InternalServerError: We encountered an internal error. Please try again. "
    "The job was interrupted: the embedded service ended while the job was running."
)
"""FailureReason of a job that its service did not survive."""


class JobFailure(Exception):  # noqa: N818 - the end of a job, not a defect of this program
    """The job ends as Failed; ``reason`` is its FailureReason."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason[:MAX_REASON]

    @property
    def internal(self) -> bool:
        """Whether it is an InternalServerError."""
        return self.reason.startswith(INTERNAL)


def client_error(text: str) -> JobFailure:
    """Return the failure of a job whose request or data are at fault."""
    return JobFailure(f"ClientError: {text}")


def internal_error(text: str) -> JobFailure:
    """Return the failure of a job that neither its request nor its program is to blame for; it may be retried."""
    return JobFailure(f"{INTERNAL} {text}")


def algorithm_error(code: int, text: str) -> JobFailure:
    """Return the failure of a job whose container ended with an exit code other than 0.

    Parameters
    ----------
    code : int
        The exit code; 128 + n tells that signal n ended the program.
    text : str
        ``/opt/ml/output/failure``, empty where the container wrote none. A built-in algorithm's begins with
        ``ClientError:`` where data or hyperparameters are at fault.
    """
    text = text.strip()
    if text.startswith(("ClientError:", "AlgorithmError:")):
        return JobFailure(text)
    return JobFailure(f"AlgorithmError: {text or f'Exit Code: {code}'}")


def read_failure(opt_ml: Path) -> str:
    """Return the first 1,024 characters of ``output/failure``, empty where it is missing or no plain file.

    The container may have put anything there: a link is not followed and a pipe not waited for.
    """
    try:
        descriptor = os.open(opt_ml / "output" / "failure", os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return ""
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        return ""
    with open(descriptor, "rb") as file:
        # A character takes at most four bytes of UTF-8.
        return file.read(4 * MAX_REASON).decode("utf-8", "replace")[:MAX_REASON]
