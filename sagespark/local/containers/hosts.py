"""What the hosts of a job compute together, as algorithms see it."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from sagespark.algorithms.moments import Moments

Floats = NDArray[np.float64]


def joined(moments: Moments, hosts: Hosts) -> Moments:
    """Return the moments of all hosts' rows."""
    parts = hosts.gather(np.concatenate([[moments.count, moments.spread], moments.mean]))
    total = Moments(len(moments.mean))
    for part in parts:
        total.merge(int(part[0]), part[2:], float(part[1]))
    return total


class Hosts(Protocol):
    """The hosts of a job; every one makes the same calls in the same order.

    :class:`sagespark.local.containers.collective.Collective` is one, over sockets.
    """

    @property
    def rank(self) -> int:
        """Number of this host, from 0."""
        ...

    @property
    def size(self) -> int:
        """Number of hosts."""
        ...

    def allreduce(self, array: Floats, /) -> Floats:
        """Return the sum of all hosts' arrays, of one shape."""
        ...

    def gather(self, array: Floats, /) -> list[Floats]:
        """Return every host's array, in their order; shapes may differ."""
        ...


class Alone:
    """A host that has all rows itself."""

    rank = 0
    size = 1

    def allreduce(self, array: Floats, /) -> Floats:
        """Return the array."""
        return array

    def gather(self, array: Floats, /) -> list[Floats]:
        """Return the array in a list."""
        return [array]


ALONE = Alone()
"""The hosts of a job on one instance."""
