"""Names that SageMaker accepts.

Training jobs, endpoints and endpoint configs take ``[a-zA-Z0-9](-*[a-zA-Z0-9]){0,62}``, models nearly the same
(botocore's ``sagemaker`` service model); tuning jobs at most 32 characters.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from sagespark.core.clock import Clock, SystemClock, token

MAX_NAME = 63
"""Longest name of a training job, model, endpoint config or endpoint."""
MAX_TUNING_JOB_NAME = 32
"""Longest name of a hyperparameter tuning job."""

_PATTERN = re.compile(r"[a-zA-Z0-9](-*[a-zA-Z0-9])*")


def is_valid(name: str, limit: int = MAX_NAME) -> bool:
    """Tell whether SageMaker accepts ``name`` for a job, an endpoint config or an endpoint."""
    return len(name) <= limit and _PATTERN.fullmatch(name) is not None


def slug(text: str) -> str:
    """Return ``text`` with every run of characters that SageMaker refuses turned into one hyphen."""
    return re.sub(r"-+", "-", re.sub(r"[^a-zA-Z0-9]+", "-", text)).strip("-")


class Names:
    """Make unique names: ``prefix-kind-yyyymmdd-hhmmss-token``.

    Parameters
    ----------
    clock : Clock
        Gives the time stamp (UTC).
    token : callable
        Takes a length and returns that many lower-case hexadecimal characters.
    """

    def __init__(self, clock: Clock | None = None, token: Callable[[int], str] = token) -> None:
        self._clock = clock or SystemClock()
        self._token = token

    def make(self, prefix: str, kind: str = "", limit: int = MAX_NAME) -> str:
        """Return a new valid name of at most ``limit`` characters.

        Parameters
        ----------
        prefix : str
            Anything; characters that SageMaker refuses become hyphens, and what does not fit is cut off.
        kind : str
            A word that tells what the name is for; kept whole when the prefix is cut.
        limit : int
            24 or more.
        """
        if limit < 24:
            raise ValueError(f"limit must be 24 or more to hold a time stamp and a token, but got {limit}")
        tail = f"{self._clock.now():%Y%m%d-%H%M%S}-{self._token(6)}"
        room = limit - len(tail) - 1
        kind = slug(kind)[:room]
        room -= len(kind) + 1 if kind else 0
        head = slug(prefix)[: max(room, 0)].strip("-")
        return "-".join(part for part in (head, kind.strip("-"), tail) if part)

    def __eq__(self, other: object) -> bool:
        """Equal when both draw from the same clock and token source."""
        return isinstance(other, Names) and (self._clock, self._token) == (other._clock, other._token)

    def __hash__(self) -> int:
        """Hash on clock and token source."""
        return hash((self._clock, self._token))
