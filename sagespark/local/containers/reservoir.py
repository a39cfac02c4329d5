"""Draw rows at random, without replacement, from a stream of unknown length and with bounded memory.

AWS's page "How RCF Works" names reservoir sampling (Park, Ostrouchov, Samatova and Geist, 2004). Here every row draws a
number, and those of the smallest numbers stay: the same distribution, and blocks are dealt with at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sagespark.local.containers.hosts import Hosts


class Reservoir:
    """The rows that stay.

    Parameters
    ----------
    size : int
        Most rows that stay, 1 or more.
    random : numpy.random.Generator
    """

    def __init__(self, size: int, random: np.random.Generator) -> None:
        self.seen = 0
        """Rows offered so far."""
        self._size = size
        self._random = random
        self._keys: NDArray[np.float64] = np.empty(0)
        self._parts: list[tuple[Any, ...]] = []
        self._limit = np.inf

    def add(self, *arrays: Any) -> None:
        """Offer a block of rows.

        Parameters
        ----------
        *arrays : ndarray or scipy.sparse.csr_matrix, of as many rows each
            What belongs to a row: its features, and whatever is kept beside them.
        """
        keys = self._random.random(arrays[0].shape[0])
        self.seen += len(keys)
        chosen = keys < self._limit
        self._keys = np.concatenate([self._keys, keys[chosen]])
        self._parts.append(tuple(array[chosen] for array in arrays))
        # Not at every block: selecting costs a pass over all that is kept.
        if len(self._keys) > 2 * self._size:
            self._shrink()

    def join(self, hosts: Hosts, empty: tuple[Any, ...]) -> None:
        """Let the rows stay, on every host, that would stay of all hosts' streams one after the other.

        Parameters
        ----------
        hosts : Hosts
            Each with a random generator of its own.
        empty : tuple
            What is offered with a block of no rows, for a host that has none.
        """
        if hosts.size == 1:
            return
        kept = self.rows() or empty
        self.seen = int(hosts.allreduce(np.array([float(self.seen)]))[0])
        self._keys = np.concatenate(hosts.gather(self._keys))
        self._parts = [tuple(_of_all(hosts, array) for array in kept)]
        self._limit = np.inf

    def _shrink(self) -> None:
        best = np.argpartition(self._keys, self._size - 1)[: self._size]
        # In the order of the stream, so that the outcome does not depend on how often this ran.
        best.sort()
        self._keys = self._keys[best]
        self._parts = [tuple(array[best] for array in self._joined())]
        self._limit = float(self._keys.max())

    def _joined(self) -> tuple[Any, ...]:
        return tuple(_join(arrays) for arrays in zip(*self._parts, strict=True))

    def rows(self) -> tuple[Any, ...]:
        """Return the rows that stay, in the order of the stream; no array where none was offered."""
        if len(self._keys) > self._size:
            self._shrink()
        return self._joined()


def _of_all(hosts: Hosts, array: Any) -> Any:
    """Return every host's rows, sparse where those of any host are."""
    is_sparse = not isinstance(array, np.ndarray)
    if not hosts.allreduce(np.array([float(is_sparse)]))[0]:
        return np.concatenate(hosts.gather(array))
    from scipy.sparse import csr_matrix

    matrix = csr_matrix(array)
    parts = [hosts.gather(a) for a in (matrix.data, matrix.indices.astype(np.int64), matrix.indptr.astype(np.int64))]
    shapes = [(len(ends) - 1, matrix.shape[1]) for ends in parts[2]]
    return _join([csr_matrix(tuple(part), shape=shape) for *part, shape in zip(*parts, shapes, strict=True)])


def _join(arrays: Sequence[Any]) -> Any:
    if isinstance(arrays[0], np.ndarray):
        return np.concatenate(arrays)
    from scipy.sparse import vstack

    return vstack(arrays, format="csr")
