"""Time and randomness as arguments; the only module that sleeps, reads the clock or draws identifiers."""

from __future__ import annotations

import random
import time
import uuid
from datetime import UTC, datetime
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


def token(length: int = 12) -> str:
    """Return ``length`` random lower-case hexadecimal characters (at most 32)."""
    return uuid.uuid4().hex[:length]


def request_id() -> str:
    """Return a random identifier in the form of AWS's request ids."""
    return str(uuid.uuid4())


def jitter(seconds: float, rng: random.Random | None = None) -> float:
    """Return ``seconds`` scaled by a factor drawn from [0.8, 1.2], so that clients do not poll in step."""
    return seconds * (rng or random).uniform(0.8, 1.2)
