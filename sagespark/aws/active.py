"""The active session: one per process, seen by all its threads.

``activated()`` blocks form a stack, and each removes its own entry on leaving, so that blocks which overlap in threads
do not restore each other's session. ``activate()`` replaces the innermost entry: inside a block it lasts until the
block ends.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Generic, TypeVar

T = TypeVar("T")


class _Entry(Generic[T]):
    def __init__(self, value: T | None) -> None:
        self.value = value


class Active(Generic[T]):
    """Holds the active value of a process."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self._stack: list[_Entry[T]] = [_Entry(None)]
        # The value survives a fork; a lock held by another thread of the parent must not.
        os.register_at_fork(after_in_child=self._renew_lock)

    def _renew_lock(self) -> None:
        self.lock = threading.RLock()

    def get(self) -> T | None:
        """Return the active value, or None."""
        return self._stack[-1].value

    def set(self, value: T | None) -> None:
        """Make ``value`` the active one until the innermost block ends."""
        with self.lock:
            self._stack[-1].value = value

    @contextmanager
    def during(self, value: T) -> Iterator[T]:
        """Make ``value`` the active one inside the block and restore the former on leaving."""
        entry: _Entry[T] = _Entry(value)
        with self.lock:
            self._stack.append(entry)
        try:
            yield value
        finally:
            with self.lock:
                self._stack.remove(entry)
