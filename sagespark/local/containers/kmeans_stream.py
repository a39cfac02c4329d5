"""K-means over a stream of rows: AWS's scheme for data of any size.

After "How K-Means Clustering Works" of the SageMaker Developer Guide. With ``K = k * extra_center_factor``:

1. ``K`` centres are chosen among the first rows, at random or by k-means++.
2. Each mini-batch gives every row to its nearest centre and moves each centre to the weighted mean of all rows that it
   was given so far. A row's weight is 1 when it arrives and halves with every ``half_life_time_size`` further rows:

       w_j <- 2^(-b/h) w_j,    c_j <- (w_j c_j + sum of its rows) / (w_j + number of its rows),                      (1)

   ``b`` rows in the mini-batch, ``h`` the half life (0: weights never fall). This is repeated for every epoch.
3. The ``K`` centres, weighted by ``w``, are reduced to ``k`` by Lloyd's algorithm, the best of several runs.

On several hosts each one does steps 1 and 2 on its own rows, and step 3 on the centres of all.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sagespark.codecs.matrix import Csr, Matrix, Mixed
from sagespark.local.containers.channels import gather, to_csr
from sagespark.local.containers.contract import ClientError
from sagespark.local.containers.hosts import Hosts
from sagespark.local.containers.nearest import Centres

AUTO_FACTOR = 4
"""``extra_center_factor`` where it is ``auto`` and the scheme streams: the low end of the range that AWS tunes."""
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class StreamResult:
    """What the scheme found."""

    centres: NDArray[np.float64]
    """Shape (k, d)."""
    iterations: int
    """Iterations of the Lloyd run that was kept."""


def mini_batches(blocks: Iterable[Matrix], size: int) -> Iterator[Matrix]:
    """Cut and join blocks into batches of ``size`` rows; the last one may be shorter."""
    waiting: list[Matrix] = []
    rows = 0
    for block in blocks:
        start, n = 0, block.shape[0]
        while start < n:
            stop = min(n, start + size - rows)
            waiting.append(block[start:stop])
            rows += stop - start
            start = stop
            if rows == size:
                yield _join(waiting)
                waiting, rows = [], 0
    if rows:
        yield _join(waiting)


def _join(parts: list[Matrix]) -> Matrix:
    if len(parts) == 1:
        return parts[0]
    joined = gather(parts)
    if isinstance(joined, np.ndarray):
        return joined
    return Csr(joined.indptr.astype(np.int64), joined.indices.astype(np.int64), joined.data, joined.shape[1])


def fit_stream(
    rows: Callable[[], Iterable[Matrix]],
    values: dict[str, Any],
    seed: int,
    on_epoch: Callable[[int, float, int], None],
    hosts: Hosts | None = None,
) -> StreamResult:
    """Run the scheme.

    Parameters
    ----------
    rows : callable
        Returns the blocks of float32 rows from the first one on; called once per epoch.
    values : dict
        Hyperparameters of K-means by wire string.
    seed : int
        Of both initialisations.
    on_epoch : callable
        Takes the epoch (from 0), the mean squared distance to the centres as they were when each row came, and the
        number of rows.
    hosts : Hosts or None
        The hosts that have a part of the rows each; None: this one has them all.

    Raises
    ------
    ClientError
        If there are fewer rows than ``k``.
    """
    from sklearn.cluster import KMeans

    k = values["k"]
    factor = AUTO_FACTOR if values["extra_center_factor"] == "auto" else values["extra_center_factor"]
    size = max(values["mini_batch_size"], k * factor)
    half_life = values["half_life_time_size"]
    alone = hosts is None or hosts.size == 1
    # Of several hosts none needs k rows of its own.
    least = k if alone else 1
    random = np.random.RandomState(seed)
    centres: NDArray[np.float64] | None = None
    weights = np.zeros(0)
    for epoch in range(values["epochs"]):
        loss, count = 0.0, 0
        for batch in mini_batches(rows(), size):
            if centres is None:
                centres = _initial(batch, least, k * factor, values["init_method"], random)
                weights = np.zeros(len(centres))
            labels, distances = Centres(centres).nearest(batch)
            loss += float(np.dot(distances, distances))
            count += len(labels)
            centres, weights = _move(batch, labels, centres, weights, half_life)
        on_epoch(epoch, loss / max(count, 1), count)
    if hosts is not None and not alone:
        width = values["feature_dim"]
        own = np.zeros((0, width)) if centres is None else centres
        centres = np.concatenate(hosts.gather(own))
        weights = np.concatenate(hosts.gather(weights))
        if len(centres) < k:
            raise ClientError(
                f"the train channel holds {len(centres)} rows, but k is {k}; there must be at least k rows"
            )
    if centres is None:
        raise ClientError("the train channel holds no row")
    used = weights > 0
    if np.count_nonzero(used) < k:
        used[:] = True
    trials = values["local_lloyd_num_trials"]
    # Hosts that drew differently must reduce alike.
    random = random if alone else np.random.RandomState(seed)
    _log.info("Reducing %d weighted centres to %d by Lloyd's algorithm", np.count_nonzero(used), k)
    model = KMeans(
        n_clusters=k,
        init=sklearn_init(values["local_lloyd_init_method"]),
        n_init=trials,
        max_iter=values["local_lloyd_max_iter"],
        tol=values["local_lloyd_tol"],
        random_state=random,
    ).fit(centres[used], sample_weight=np.maximum(weights[used], np.finfo(float).tiny))
    return StreamResult(model.cluster_centers_, int(model.n_iter_))


def sklearn_init(method: str) -> str:
    """Return scikit-learn's word for an initialisation of AWS's."""
    return {"kmeans++": "k-means++"}.get(method, method)


def _initial(batch: Matrix, least: int, wanted: int, method: str, random: np.random.RandomState) -> NDArray[np.float64]:
    from sklearn.cluster import kmeans_plusplus

    n = batch.shape[0]
    if n < least:
        raise ClientError(f"the train channel holds {n} rows, but k is {least}; there must be at least k rows")
    if n < wanted:
        _log.info("Only %d rows: as many centres instead of %d", n, wanted)
        wanted = n
    matrix = to_csr(batch) if not isinstance(batch, np.ndarray) else batch
    if method == "random":
        chosen = matrix[np.sort(random.choice(n, wanted, replace=False))]
    else:
        chosen = matrix[kmeans_plusplus(matrix, wanted, random_state=random)[1]]
    return np.asarray(chosen.toarray() if not isinstance(chosen, np.ndarray) else chosen, np.float64)


def _move(
    batch: Matrix, labels: NDArray[np.intp], centres: NDArray[np.float64], weights: NDArray[np.float64], half_life: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return centres and weights after equation (1)."""
    from scipy.sparse import csr_matrix

    n = len(labels)
    members = csr_matrix((np.ones(n), labels, np.arange(n + 1)), shape=(n, len(centres))).T
    sums = members @ (to_csr(batch) if isinstance(batch, Csr | Mixed) else batch)
    sums = np.asarray(sums.toarray() if not isinstance(sums, np.ndarray) else sums, np.float64)
    kept = weights * 2.0 ** (-n / half_life) if half_life else weights
    total = kept + np.bincount(labels, minlength=len(centres))
    seen = total > 0
    moved = centres.copy()
    moved[seen] = (kept[seen, None] * centres[seen] + sums[seen]) / total[seen, None]
    return moved, total
