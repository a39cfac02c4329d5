"""Train factorization machines: the program ``train`` of the built-in image ``factorization-machines``.

Run as ``python -m sagespark.local.containers.factorization_machines_train`` inside a container. The mathematics is in
:mod:`sagespark.local.containers.fm_fit`, the artifact in :mod:`sagespark.local.containers.fm_model`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from sagespark.core.clock import SystemClock
from sagespark.local.containers import contract, job

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from sagespark.codecs.matrix import Matrix
    from sagespark.local.containers.linear_data import Rows


def train() -> None:
    """Read ``/opt/ml/input``, train, write ``/opt/ml/model`` and the metrics."""
    from sagespark.algorithms.factorization_machines import BINARY, FACTORIZATION_MACHINES

    clock = SystemClock()
    task = job.begin(FACTORIZATION_MACHINES)
    values = task.values
    # Products of a mini-batch are small: further threads of BLAS would wait for each other most of the time.
    contract.limit_threads(1)
    # numpy is imported from here on: its threads are limited now.
    import numpy as np

    from sagespark.local.containers.channels import labelled, recordio_type
    from sagespark.local.containers.collective import Collective
    from sagespark.local.containers.fm_fit import Metrics, check_labels, fit
    from sagespark.local.containers.fm_model import entries
    from sagespark.local.containers.linear_data import Rows

    def rows_of(name: str) -> Rows:
        def read() -> Iterable[tuple[Matrix, NDArray[np.float32]]]:
            return labelled(task.channels[name], values["feature_dim"], (recordio_type(),))

        return Rows(read, contract.available_memory() // 2, entries)

    def on_epoch(epoch: int, metrics: dict[str, float]) -> None:
        if not task.first:
            return
        for name, value in metrics.items():
            job.quality(task.host, f"epoch={epoch}, train {name}={value!r}")
        job.progress(task.host, 100 * (epoch + 1) / values["epochs"])

    binary = values["predictor_type"] == BINARY
    started = clock.monotonic()
    rows = rows_of("train")
    test = rows_of("test") if "test" in task.channels else None
    if test is not None and task.first:
        if not test.count:
            raise contract.ClientError("the test channel holds no row")
        check_labels(test, binary, "test")
    with Collective.from_config(contract.resources()) as hosts:
        # Without a seed of the job's the hosts would draw differently.
        seed = int(hosts.broadcast(np.array([task.seed]))[0])
        total = int(hosts.allreduce(np.array([rows.count]))[0])
        model = fit(rows, values, seed, on_epoch, hosts)
    if not task.first:
        return
    job.throughput(task.host, total * values["epochs"], clock.monotonic() - started)
    if test is not None:
        scored = Metrics(binary)
        for block, labels in test.pieces():
            scored.add(model.margins(block), labels)
        for name, value in scored.named().items():
            job.quality(task.host, f"test {name}={value!r}")
    job.write_model(model.dump())


if __name__ == "__main__":
    contract.run(train)
