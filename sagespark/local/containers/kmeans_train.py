"""Train K-means: the program ``train`` of the built-in image ``kmeans``.

Run as ``python -m sagespark.local.containers.kmeans_train`` inside a container. Two schemes, named in the log:

- **Lloyd**: scikit-learn's ``KMeans`` on all rows, where ``extra_center_factor`` is 1 or ``auto`` and the data fits in
  memory. AWS does not explain ``auto``; that it means 1 when the data fits is this package's choice.
- **Streaming** (:mod:`sagespark.local.containers.kmeans_stream`) otherwise.

On several hosts each one reads its share of the train channel. Lloyd's steps are then made on all of them together
(:mod:`sagespark.local.containers.kmeans_hosts`), and a stream's centres are joined before they are reduced.

The artifact is AWS's own: ``model_algo-1``, an MXNet NDArray list of one float32 array (k, feature_dim).
"""

from __future__ import annotations

import logging
import warnings
from typing import TYPE_CHECKING, Any

from sagespark.core.clock import SystemClock
from sagespark.local.containers import contract, job

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    import numpy as np
    from numpy.typing import NDArray

    from sagespark.codecs.matrix import Matrix
    from sagespark.local.containers.collective import Collective
    from sagespark.local.containers.nearest import Centres

COPIES = 4
"""Memory that training on all rows takes, in sizes of the rows: as read, joined, centred, and some room."""
_log = logging.getLogger("kmeans")


def train() -> None:
    """Read ``/opt/ml/input``, train, write ``/opt/ml/model`` and the metrics."""
    from sagespark.algorithms.kmeans import KMEANS

    clock = SystemClock()
    task = job.begin(KMEANS)
    values, channels, seed, threads = task.values, task.channels, task.seed, task.threads
    # numpy is imported from here on: its threads are limited now.
    import numpy as np

    from sagespark.codecs import ndarray
    from sagespark.local.containers.batches import gather_if_fits
    from sagespark.local.containers.channels import blocks
    from sagespark.local.containers.collective import Collective
    from sagespark.local.containers.nearest import Centres

    def read(name: str) -> Iterator[Matrix]:
        return blocks(channels[name], values["feature_dim"], force_dense=values["force_dense"])

    available, factor = contract.available_memory(), values["extra_center_factor"]
    started = clock.monotonic()
    with Collective.from_config(contract.resources()) as hosts:
        kept = gather_if_fits(read("train"), available, COPIES) if factor in (1, "auto") else None
        # Every host must follow the same scheme.
        fits = bool(hosts.allreduce(np.array([kept is not None], np.int64), "min")[0])
        if fits:
            assert kept is not None
            _log.info(
                "Scheme: scikit-learn's KMeans on all rows: extra_center_factor is %s, and %d copies of them fit in "
                "the %d bytes of free memory",
                *(factor, COPIES, available),
            )
            centres, iterations = _lloyd(kept, values, seed, threads, hosts)
        else:
            kept = None
            _log.info(
                "Scheme: streaming, mini-batches of %d rows: extra_center_factor is %s%s",
                values["mini_batch_size"],
                factor,
                f", but {COPIES} copies of the rows do not fit in the {available} bytes of free memory"
                if factor in (1, "auto")
                else "",
            )
            centres, iterations = _stream(lambda: read("train"), values, seed, threads, hosts)
        rows = read("train") if kept is None else kept
        count = _evaluate("train", ["msd", "ssd"], rows, Centres(centres), hosts)
    seconds = clock.monotonic() - started
    job.progress(task.host, 100)
    if not task.first:
        return
    job.quality(task.host, f"train iterations={iterations}")
    job.throughput(task.host, count, seconds)
    if "test" in channels:
        _evaluate("test", values["eval_metrics"], read("test"), Centres(centres))
    job.write_model(ndarray.dump_list([centres]))


def _import_sklearn() -> None:
    """Import scikit-learn without pandas: it only recognises DataFrames by it, and waits a fifth of a second for it."""
    with contract.without("pandas"):
        import sklearn.cluster  # noqa: F401 - OpenMP and BLAS can be limited once they are loaded


def _lloyd(
    parts: list[Matrix], values: dict[str, Any], seed: int, threads: int, hosts: Collective
) -> tuple[NDArray[np.float32], int]:
    if hosts.size > 1:
        return _lloyd_on_hosts(parts, values, seed, threads, hosts)
    from sagespark.local.containers.channels import gather
    from sagespark.local.containers.kmeans_stream import sklearn_init

    n, k = sum(part.shape[0] for part in parts), values["k"]
    if n < k:
        raise contract.ClientError(f"the train channel holds {n} rows, but k is {k}; there must be at least k rows")
    rows = gather(parts)
    _log.info("Read %d rows of %d features, %s", n, values["feature_dim"], type(rows).__name__)
    _import_sklearn()
    import threadpoolctl
    from sklearn.cluster import KMeans
    from sklearn.exceptions import ConvergenceWarning

    model = KMeans(
        n_clusters=k,
        init=sklearn_init(values["local_lloyd_init_method"]),
        n_init=values["local_lloyd_num_trials"],
        max_iter=values["local_lloyd_max_iter"],
        tol=values["local_lloyd_tol"],
        random_state=seed,
    )
    with threadpoolctl.threadpool_limits(limits=threads), warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", ConvergenceWarning)
        model.fit(rows)
    for warning in caught:
        _log.warning("scikit-learn: %s", warning.message)
    return model.cluster_centers_, int(model.n_iter_)


def _lloyd_on_hosts(
    parts: list[Matrix], values: dict[str, Any], seed: int, threads: int, hosts: Collective
) -> tuple[NDArray[np.float32], int]:
    _import_sklearn()
    import numpy as np
    import threadpoolctl

    from sagespark.local.containers.kmeans_hosts import fit

    _log.info("Host %d of %d holds %d rows", hosts.rank + 1, hosts.size, sum(part.shape[0] for part in parts))
    # The first host's seed is every host's: without one of the job's they would differ.
    shared = int(hosts.broadcast(np.array([seed]))[0])
    with threadpoolctl.threadpool_limits(limits=threads):
        found = fit(parts, values, shared, threads, hosts)
    return found.centres.astype(np.float32), found.iterations


def _stream(
    read: Callable[[], Iterable[Matrix]], values: dict[str, Any], seed: int, threads: int, hosts: Collective
) -> tuple[NDArray[np.float32], int]:
    _import_sklearn()
    import numpy as np
    import threadpoolctl

    from sagespark.local.containers.kmeans_stream import fit_stream

    def on_epoch(epoch: int, msd: float, rows: int) -> None:
        done = 100.0 * (epoch + 1) / values["epochs"]
        job.progress(contract.host(), done)
        _log.info("Epoch %d: %d rows, mean squared distance while streaming %r", epoch, rows, msd)

    shared = int(hosts.broadcast(np.array([seed]))[0])
    with threadpoolctl.threadpool_limits(limits=threads):
        found = fit_stream(read, values, shared, on_epoch, hosts)
    return found.centres.astype(np.float32), found.iterations


def _evaluate(
    channel: str, metrics: list[str], blocks: Iterable[Matrix], centres: Centres, hosts: Collective | None = None
) -> int:
    """Log the metrics of a channel, and for training rows the sizes of the clusters; return the number of rows.

    With ``hosts`` the rows are all hosts', and the first one logs.
    """
    import numpy as np

    ssd, sizes = 0.0, np.zeros(centres.shape[0], np.int64)
    for block in blocks:
        labels, squares = centres.closest(block)
        ssd += float(squares.sum())
        sizes += np.bincount(labels, minlength=len(sizes))
    if hosts is not None:
        ssd = float(hosts.allreduce(np.array([ssd]))[0])
        sizes = hosts.allreduce(sizes)
    rows = int(sizes.sum())
    if not rows:
        raise contract.ClientError(f"the {channel} channel holds no row")
    if hosts is not None and not hosts.leads:
        return rows
    found = {"msd": ssd / rows, "ssd": ssd}
    for metric in metrics:
        job.quality(contract.host(), f"{channel} {metric} <loss>={found[metric]!r}")
    if channel == "train":
        _log.info("Cluster sizes: %s", sizes.tolist())
    return rows


if __name__ == "__main__":
    contract.run(train)
