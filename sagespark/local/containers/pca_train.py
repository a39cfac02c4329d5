"""Train PCA: the program ``train`` of the built-in image ``pca``.

Run as ``python -m sagespark.local.containers.pca_train`` inside a container. The mathematics is in
:mod:`sagespark.local.containers.pca_fit`.

The artifact is AWS's own: ``model_algo-1``, an MXNet NDArray dictionary of float32 arrays: ``s`` (k,) in increasing
order, ``v`` (feature_dim, k) with one component a column in the same order, and ``mean`` (1, feature_dim), which is
left out without ``subtract_mean``. The spec row's sources hold such an artifact of AWS's.

On several hosts each one reads its share of the train channel; the first one writes what all have found.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from sagespark.core.clock import SystemClock
from sagespark.local.containers import contract, job

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sagespark.codecs.matrix import Matrix
    from sagespark.local.containers.pca_fit import Components

COPIES = 2
"""Memory that keeping the rows for further passes takes, in sizes of the rows: themselves, and some room."""
_log = logging.getLogger("pca")


def train() -> None:
    """Read ``/opt/ml/input``, train, write ``/opt/ml/model`` and the metrics."""
    from sagespark.algorithms.pca import PCA

    clock = SystemClock()
    task = job.begin(PCA)
    values = task.values
    # numpy is imported from here on: its threads are limited now.
    import numpy as np

    from sagespark.local.containers.batches import gather_if_fits
    from sagespark.local.containers.channels import blocks
    from sagespark.local.containers.collective import Collective
    from sagespark.local.containers.pca_fit import fit

    def read(name: str) -> Iterable[Matrix]:
        return blocks(task.channels[name], values["feature_dim"])

    started = clock.monotonic()
    available = contract.available_memory()
    # Only 'randomized' reads the rows more than once.
    several = values["algorithm_mode"] == "randomized"
    kept = gather_if_fits(read("train"), available, COPIES) if several else None
    if several:
        where = "kept in memory" if kept is not None else "read again for each pass"
        _log.info("Rows are %s: %d bytes of memory are free", where, available)
    with Collective.from_config(contract.resources()) as hosts:
        # Without a seed of the job's the hosts would draw differently.
        seed = int(hosts.broadcast(np.array([task.seed]))[0])
        found = fit(lambda: read("train") if kept is None else kept, values, seed, available, hosts)
    if not task.first:
        return
    _log.info("%d rows of %d features; singular values: %s", found.rows, values["feature_dim"], found.singular.tolist())
    job.quality(task.host, f"train total_squares={found.total!r}")
    job.progress(task.host, 100)
    job.throughput(task.host, found.rows, clock.monotonic() - started)
    if "test" in task.channels:
        _evaluate(task.host, read("test"), found)
    else:
        _log.info("Test data is not provided.")
    _write(found)


def _evaluate(host: str, blocks: Iterable[Matrix], found: Components) -> None:
    """Log the mean squared distance of the test rows to what their projections tell of them."""
    from sagespark.local.containers.projection import Projection

    projection = Projection(found.vectors, found.mean)
    rows, squares = 0, 0.0
    for block in blocks:
        rows += block.shape[0]
        squares += projection.residual(block)
    if not rows:
        raise contract.ClientError("the test channel holds no row")
    job.quality(host, f"test reconstruction_msd={squares / rows!r}")


def _write(found: Components) -> None:
    import numpy as np

    from sagespark.codecs import ndarray

    arrays = {"s": found.singular, "v": found.vectors}
    if found.mean is not None:
        arrays["mean"] = found.mean[np.newaxis]
    job.write_model(ndarray.dump_dict({name: array.astype(np.float32) for name, array in arrays.items()}))


if __name__ == "__main__":
    contract.run(train)
