"""Time and randomness as arguments; the only module that sleeps, reads the clock or draws identifiers."""

from __future__ import annotations

import random
import time
import uuid
from datetime import UTC, datetime, timedelta
from typing import Protocol


class Clock(Protocol):
    """What the package asks of time. Tests pass their own."""

    def now(self) -> datetime:
        """Return the wall-clock time, aware, in UTC."""
        ...

    def monotonic(self) -> float:
        """Return seconds that never go back."""
        ...

    def sleep(self, seconds: float) -> None:
        """Block for ``seconds``."""
        ...


class SystemClock:
    """The machine's clock."""

    def now(self) -> datetime:
        """Return the wall-clock time, aware, in UTC."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Return seconds that never go back."""
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        """Block for ``seconds``."""
        if seconds > 0:
            time.sleep(seconds)

    def __eq__(self, other: object) -> bool:
        """Two system clocks are the same clock, also after a pickle."""
        return isinstance(other, SystemClock)

    def __hash__(self) -> int:
        """Hash as every system clock does."""
        return hash(SystemClock)


class ScaledClock:
    """The machine's clock, running faster: an hour of it passes in ``3600 / scale`` real seconds.

    Parameters
    ----------
    scale : float
        Seconds of this clock per real second, above 0.
    after : datetime, optional
        A time that a former clock has shown: this one begins no earlier.
    """

    def __init__(self, scale: float, after: datetime | None = None) -> None:
        if not scale > 0:
            raise ValueError(f"scale must be above 0, but got {scale!r}")
        self.scale = scale
        now = datetime.now(UTC)
        self._began = now if after is None else max(now, after)
        self._zero = time.monotonic()

    def now(self) -> datetime:
        """Return the wall-clock time, aware, in UTC: right at the start, and ahead of the machine's since."""
        return self._began + timedelta(seconds=self.monotonic())

    def monotonic(self) -> float:
        """Return seconds since this clock was made."""
        return (time.monotonic() - self._zero) * self.scale

    def sleep(self, seconds: float) -> None:
        """Block for ``seconds`` of this clock."""
        SystemClock().sleep(seconds / self.scale)


def real_seconds(clock: Clock, seconds: float) -> float:
    """Return how many real seconds ``seconds`` of a clock take, for the timeouts of locks and processes."""
    return seconds / clock.scale if isinstance(clock, ScaledClock) else seconds


def token(length: int = 12) -> str:
    """Return ``length`` random lower-case hexadecimal characters (at most 32)."""
    return uuid.uuid4().hex[:length]


def request_id() -> str:
    """Return a random identifier in the form of AWS's request ids."""
    return str(uuid.uuid4())


def jitter(seconds: float, rng: random.Random | None = None) -> float:
    """Return ``seconds`` scaled by a factor drawn from [0.8, 1.2], so that clients do not poll in step."""
    return seconds * (rng or random).uniform(0.8, 1.2)
