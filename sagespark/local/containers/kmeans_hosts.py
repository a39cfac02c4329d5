"""Lloyd's algorithm over rows that lie on several hosts; every host computes the same centres.

What one host would do on all rows, with sums added up over the hosts, so that only ``k`` rows travel per step:

1. k-means++ with local trials, as scikit-learn has it: each next centre is the best of ``2 + ln k`` rows drawn with
   probability proportional to the squared distance to the nearest centre so far (Arthur and Vassilvitskii, 2007).
2. Lloyd's steps: sums and numbers of each centre's rows are added up; a centre without rows moves to the row that is
   farthest from its own. They end when no row changes its centre, or the squared movement of the centres is at most
   ``tol`` times the mean variance of the features.
3. Of several runs the one with the least sum of squared distances is kept.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from sagespark.algorithms.moments import Moments
from sagespark.codecs.matrix import Csr, Matrix, Mixed
from sagespark.local.containers.channels import to_csr
from sagespark.local.containers.contract import ClientError
from sagespark.local.containers.hosts import Floats, Hosts
from sagespark.local.containers.nearest import MAX_DENSE_WIDTH, Centres

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Found:
    """What the hosts found."""

    centres: Floats
    """Shape (k, d)."""
    iterations: int
    """Lloyd steps of the run that was kept."""


class Rows:
    """The rows of one host among all, and sums over all.

    Parameters
    ----------
    blocks : list of Matrix
        This host's rows, float32; perhaps none.
    width : int
        ``d``.
    hosts : Hosts
    threads : int
        That this host computes with.
    """

    def __init__(self, blocks: list[Matrix], width: int, hosts: Hosts, threads: int) -> None:
        self.hosts = hosts
        self._threads = threads
        self.width = width
        self._blocks = [_plain(block) for block in blocks if block.shape[0]]
        counts = np.zeros(hosts.size)
        counts[hosts.rank] = sum(block.shape[0] for block in self._blocks)
        counts = hosts.allreduce(counts)
        self.total = int(counts.sum())
        """Number of all hosts' rows."""
        self._first = int(counts[: hosts.rank].sum())
        self._count = int(counts[hosts.rank])

    def centre(self) -> tuple[Floats, float]:
        """Subtract the mean of all rows where they are dense, for the sake of float32's digits.

        Returns
        -------
        ndarray of float64, shape (d,)
            What was subtracted.
        float
            The mean variance of the features.
        """
        moments = Moments(self.width)
        for block in self._blocks:
            moments.add(block)
        sums = self.hosts.allreduce(np.concatenate([moments.mean * moments.count, [moments.spread]]))
        mean = sums[:-1] / self.total
        apart = moments.mean - mean
        spread = sums[-1] + self.hosts.allreduce(np.array([moments.count * float(apart @ apart)]))[0]
        sparse = float(any(isinstance(block, Csr) for block in self._blocks))
        if self.hosts.allreduce(np.array([sparse]))[0]:
            mean = np.zeros(self.width)
        else:
            self._blocks = [_shifted(block, mean) for block in self._blocks]
        return mean, float(spread) / self.total / self.width

    def take(self, numbers: NDArray[np.intp]) -> Floats:
        """Return rows by their number among all."""
        out = np.zeros((len(numbers), self.width))
        for place, number in enumerate(numbers):
            at = int(number) - self._first
            if 0 <= at < self._count:
                out[place] = self._row(at)
        return self.hosts.allreduce(out)

    def _row(self, at: int) -> Floats:
        for block in self._blocks:
            if at < block.shape[0]:
                row = block[at : at + 1]
                dense: Floats = np.asarray(row.to_dense() if isinstance(row, Csr) else row, np.float64)
                return dense.ravel()
            at -= block.shape[0]
        raise IndexError(at)

    def squares(self, centres: Floats) -> Floats:
        """Return the squared distance of each of this host's rows to its nearest centre, shape (n,)."""
        return self._search(centres)[1]

    def draw(self, weights: Floats, shots: Floats) -> NDArray[np.intp]:
        """Return the numbers of rows at ``shots`` (in [0, 1)) of the weights' sum over all hosts."""
        own = np.zeros(self.hosts.size)
        own[self.hosts.rank] = weights.sum()
        sums = self.hosts.allreduce(own)
        bounds = np.concatenate([[0.0], np.cumsum(sums)])
        targets = shots * bounds[-1]
        found = np.zeros(len(shots))
        mine = np.searchsorted(bounds, targets, side="right") - 1 == self.hosts.rank
        if mine.any() and self._count:
            inside = np.searchsorted(np.cumsum(weights), targets[mine] - bounds[self.hosts.rank], side="right")
            found[mine] = self._first + np.minimum(inside, self._count - 1)
        return self.hosts.allreduce(found).astype(np.intp)

    def assign(self, centres: Floats) -> tuple[NDArray[np.intp], Floats]:
        """Return this host's labels, and all hosts' sums and numbers of each centre's rows, shape (k, d + 1)."""
        found = [_assigned(block, centres, self._threads) for block in self._blocks]
        sums = np.zeros((len(centres), self.width + 1))
        for _, part in found:
            sums += part
        labels = np.concatenate([labels for labels, _ in found]) if found else np.empty(0, np.intp)
        return labels, self.hosts.allreduce(sums)

    def _search(self, centres: Floats) -> tuple[NDArray[np.intp], Floats]:
        search = Centres(centres)
        found = [search.closest(block) for block in self._blocks]
        if not found:
            return np.empty(0, np.intp), np.empty(0)
        return np.concatenate([labels for labels, _ in found]), np.concatenate([squares for _, squares in found])

    def farthest(self, squares: Floats, wanted: int) -> NDArray[np.intp]:
        """Return the numbers of the ``wanted`` rows of all hosts with the largest squared distances."""
        own = np.argsort(squares)[::-1][:wanted]
        offered = np.full((self.hosts.size, wanted, 2), 0.0)
        offered[self.hosts.rank, :, 0] = -1
        offered[self.hosts.rank, : len(own), 0] = squares[own]
        offered[self.hosts.rank, : len(own), 1] = self._first + own
        offers = self.hosts.allreduce(offered).reshape(-1, 2)
        best = np.argsort(-offers[:, 0], kind="stable")[:wanted]
        numbers: NDArray[np.intp] = offers[best, 1].astype(np.intp)
        return numbers

    def label_of(self, numbers: NDArray[np.intp], labels: NDArray[np.intp]) -> NDArray[np.intp]:
        """Return the labels of rows by their number among all."""
        out = np.zeros(len(numbers))
        for place, number in enumerate(numbers):
            at = int(number) - self._first
            if 0 <= at < self._count:
                out[place] = labels[at]
        return self.hosts.allreduce(out).astype(np.intp)


def _shifted(block: Any, mean: Floats) -> NDArray[np.float32]:
    shifted: NDArray[np.float32] = (block - mean).astype(np.float32)
    return shifted


def _plain(block: Matrix) -> NDArray[Any] | Csr:
    """Return a block whose rows are all of one kind: dense up to a width, as one host has them."""
    if isinstance(block, np.ndarray):
        return np.ascontiguousarray(block)
    if block.shape[1] <= MAX_DENSE_WIDTH:
        if isinstance(block, Csr):
            return block.to_dense()
        out = np.empty(block.shape, np.float32)
        out[~block.is_sparse], out[block.is_sparse] = block.dense, block.sparse.to_dense()
        return out
    if isinstance(block, Mixed):
        joined = to_csr(block)
        return Csr(joined.indptr.astype(np.int64), joined.indices.astype(np.int64), joined.data, block.shape[1])
    return block


def _assigned(block: NDArray[Any] | Csr, centres: Floats, threads: int) -> tuple[NDArray[Any], Floats]:
    """Return the labels of a block, and the sums and numbers of each centre's rows, shape (k, d + 1)."""
    k = len(centres)
    if isinstance(block, np.ndarray):
        labels, sums = _dense_step(block, centres, threads)
    else:
        labels = Centres(centres).closest(block)[0]
        members = csr_matrix((np.ones(len(labels)), labels, np.arange(len(labels) + 1)), shape=(len(labels), k)).T
        sums = np.asarray((members @ to_csr(block)).toarray(), np.float64)
    return labels, np.column_stack([sums, np.bincount(labels, minlength=k)])


def _dense_step(block: NDArray[Any], centres: Floats, threads: int) -> tuple[NDArray[Any], Floats]:
    """Return labels and sums by scikit-learn's own step, which numpy takes twice as long for."""
    # Not public: the public classes run whole fits, with checks and copies in every one.
    from sklearn.cluster._k_means_lloyd import lloyd_iter_chunked_dense

    n, k = len(block), len(centres)
    old = np.ascontiguousarray(centres, block.dtype)
    new, weights = np.zeros_like(old), np.zeros(k, block.dtype)
    labels = np.full(n, -1, np.int32)
    shift = np.zeros(k, block.dtype)
    lloyd_iter_chunked_dense(block, np.ones(n, block.dtype), old, new, weights, labels, shift, threads)
    if (np.bincount(labels, minlength=k) > 0).all():
        return labels, new.astype(np.float64) * weights[:, np.newaxis]
    # It has moved a centre that is only here without rows.
    sums = np.zeros(centres.shape)
    np.add.at(sums, labels, block.astype(np.float64))
    return labels, sums


def fit(blocks: list[Matrix], values: dict[str, Any], seed: int, threads: int, hosts: Hosts) -> Found:
    """Find the centres.

    Parameters
    ----------
    blocks : list of Matrix
        This host's rows.
    values : dict
        Hyperparameters of K-means by wire string.
    seed : int
        The same on every host.
    threads : int
        That this host computes with.
    hosts : Hosts

    Raises
    ------
    ClientError
        If all hosts together have fewer rows than ``k``.
    """
    k, trials = values["k"], values["local_lloyd_num_trials"]
    rows = Rows(blocks, values["feature_dim"], hosts, threads)
    if rows.total < k:
        raise ClientError(
            f"the train channel holds {rows.total} rows, but k is {k}; there must be at least k rows on all hosts"
        )
    mean, variance = rows.centre()
    least = values["local_lloyd_tol"] * variance
    # scikit-learn's 'auto': one run of k-means++, ten of random rows.
    runs = trials if trials != "auto" else 1 if values["local_lloyd_init_method"] == "kmeans++" else 10
    random = np.random.RandomState(seed)
    best: Found | None = None
    lowest = np.inf
    for number in range(runs):
        start = _first_centres(rows, k, values["local_lloyd_init_method"], random)
        found, cost = _lloyd(rows, start, values["local_lloyd_max_iter"], least)
        _log.info("Run %d: %d iterations, sum of squared distances %r", number + 1, found.iterations, cost)
        if best is None or cost < lowest:
            best, lowest = found, cost
    assert best is not None  # there is a run
    return Found(best.centres + mean, best.iterations)


def _first_centres(rows: Rows, k: int, method: str, random: np.random.RandomState) -> Floats:
    if method == "random":
        return rows.take(np.sort(random.choice(rows.total, k, replace=False)))
    trials = 2 + int(np.log(k))
    centres = rows.take(np.array([random.randint(rows.total)]))
    squares = rows.squares(centres)
    while len(centres) < k:
        drawn = rows.take(rows.draw(squares, random.uniform(size=trials)))
        offered = [np.minimum(squares, rows.squares(row[np.newaxis])) for row in drawn]
        costs = rows.hosts.allreduce(np.array([float(offer.sum()) for offer in offered]))
        chosen = int(costs.argmin())
        centres = np.vstack([centres, drawn[chosen]])
        squares = offered[chosen]
    return centres


def _lloyd(rows: Rows, centres: Floats, steps: int, least: float) -> tuple[Found, float]:
    before: NDArray[np.intp] | None = None
    made = 0
    while made < steps:
        made += 1
        labels, sums = rows.assign(centres)
        changed = 1.0 if before is None else float((labels != before).sum())
        _fill(rows, labels, centres, sums)
        counts = sums[:, -1:]
        moved = np.where(counts > 0, sums[:, :-1] / np.maximum(counts, 1), centres)
        shift = float(((moved - centres) ** 2).sum())
        centres, before = moved, labels
        if rows.hosts.allreduce(np.array([changed]))[0] == 0 or shift <= least:
            break
    cost = rows.hosts.allreduce(np.array([float(rows.squares(centres).sum())]))[0]
    return Found(centres, made), float(cost)


def _fill(rows: Rows, labels: NDArray[np.intp], centres: Floats, sums: Floats) -> None:
    """Give each centre without rows the row that is farthest from its own, which then lacks it."""
    empty = np.flatnonzero(sums[:, -1] == 0)
    if not len(empty):
        return
    numbers = rows.farthest(rows.squares(centres), len(empty))
    given, former = rows.take(numbers), rows.label_of(numbers, labels)
    for centre, row, old in zip(empty, given, former, strict=True):
        if sums[old, -1] < 2:
            # There are fewer different rows than centres.
            continue
        sums[old, :-1] -= row
        sums[old, -1] -= 1
        sums[centre, :-1], sums[centre, -1] = row, 1
