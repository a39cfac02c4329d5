"""Hosts of a job inside one process: threads that add up arrays at a barrier."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

LOOPBACK = "127.77.0.1"
"""Where hosts listen that do use sockets: no other process's connections take ports of this address."""


def free_port() -> int:
    """Return a port of `LOOPBACK` that nobody listens on."""
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        return int(probe.getsockname()[1])


class Together:
    """One host's part of what the threads compute together."""

    def __init__(self, rank: int, shared: _Shared) -> None:
        self.rank = rank
        self.size = shared.size
        self._shared = shared

    def allreduce(self, array: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.sum(self.gather(array), axis=0, dtype=np.float64)

    def gather(self, array: NDArray[np.float64]) -> list[NDArray[np.float64]]:
        self._shared.arrays[self.rank] = array
        self._shared.barrier.wait(30)
        found = list(self._shared.arrays)
        self._shared.barrier.wait(30)
        return found


class _Shared:
    def __init__(self, size: int) -> None:
        self.size = size
        self.arrays: list[Any] = [None] * size
        self.barrier = threading.Barrier(size)


def on_hosts(size: int, work: Callable[[Together], Any]) -> list[Any]:
    """Run ``work`` on each host and return what each returned; the first error is raised."""
    shared = _Shared(size)
    results: list[Any] = [None] * size
    errors: list[BaseException] = []

    def run(rank: int) -> None:
        try:
            results[rank] = work(Together(rank, shared))
        except BaseException as error:
            errors.append(error)
            shared.barrier.abort()

    threads = [threading.Thread(target=run, args=(rank,)) for rank in range(size)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise next((e for e in errors if not isinstance(e, threading.BrokenBarrierError)), errors[0])
    return results
