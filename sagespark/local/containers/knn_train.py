"""Train k-nearest neighbours: the program ``train`` of the built-in image ``knn``.

Run as ``python -m sagespark.local.containers.knn_train`` inside a container: one pass draws the rows that are kept,
which are reduced (:mod:`~sagespark.local.containers.reduction`) and indexed
(:mod:`~sagespark.local.containers.neighbours`). Of several hosts each draws from its own rows, and the first one
indexes what stays of all. What the artifact is tells :mod:`~sagespark.local.containers.knn_model`.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from sagespark.core.clock import SystemClock
from sagespark.local.containers import contract, job

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np
    from numpy.typing import NDArray

    from sagespark.codecs.matrix import Matrix
    from sagespark.local.containers.hosts import Hosts
    from sagespark.local.containers.knn_model import Neighbours

COPIES = 4
"""Memory that the rows kept take while they are indexed, in sizes of them as dense float32."""
SPARSE = 1 / 3
"""Share of entries from which on rows are kept dense."""
_log = logging.getLogger("knn")


def train() -> None:
    """Read ``/opt/ml/input``, train, write ``/opt/ml/model`` and the metrics."""
    from sagespark.algorithms.knn import KNN, contradictions

    clock = SystemClock()
    task = job.begin(KNN)
    values = task.values
    if problems := contradictions(values, values["feature_dim"]):
        raise contract.ClientError("; ".join(problems))
    # numpy is imported from here on: its threads are limited now.
    import numpy as np
    import threadpoolctl

    from sagespark.codecs import ndarray
    from sagespark.local.containers.collective import Collective
    from sagespark.local.containers.knn_model import Neighbours
    from sagespark.local.containers.neighbours import build

    started = clock.monotonic()
    classifier = values["predictor_type"] == "classifier"
    with Collective.from_config(contract.resources()) as hosts:
        # Without a seed of the job's the hosts would draw differently.
        seed = int(hosts.broadcast(np.array([task.seed]))[0])
        random = np.random.default_rng(seed)
        projection = _projection(values, random)
        if hosts.size > 1:
            random = np.random.default_rng([seed, hosts.rank])
        points, labels, seen = _rows(task, projection, random, classifier, hosts)
    if not task.first:
        return
    if values["k"] > len(labels):
        raise contract.ClientError(f"k is {values['k']}, but {len(labels)} rows are kept; there must be at least k")
    if values["index_type"] != "faiss.Flat" and not isinstance(points, np.ndarray):
        points = _dense(points, values["index_type"])
    with threadpoolctl.threadpool_limits(limits=task.threads):
        index, order = build(points, values, seed)
    model = Neighbours(index, labels[order], values["k"], classifier, values["feature_dim"], projection)
    kind = "sparse" if index.codes is None and not isinstance(index.points, np.ndarray) else "dense"
    cells = 0 if index.centres is None else len(index.centres)
    _log.info("Kept %d of %d rows, %s; index %s, %d cells", len(labels), seen, kind, values["index_type"], cells)
    if classifier:
        job.quality(task.host, f"train classes={int(labels.max()) + 1}")
    job.progress(task.host, 100)
    job.throughput(task.host, seen, clock.monotonic() - started)
    if "test" in task.channels:
        _evaluate(task, model)
    else:
        _log.info("Test data is not provided.")
    job.write_model(ndarray.dump_dict(model.arrays()))


def _projection(values: dict[str, Any], random: np.random.Generator) -> NDArray[np.float32] | None:
    """Return the matrix that reduces features, None without ``dimension_reduction_type``."""
    kind = values["dimension_reduction_type"]
    if kind is None:
        return None
    from sagespark.local.containers.reduction import projection

    width, target = values["feature_dim"], values["dimension_reduction_target"]
    if values["index_type"] == "faiss.IVFPQ":
        # As AWS's hyperparameter says; never beyond what there is to reduce.
        target = min(width, target + -target % values["faiss_index_pq_m"])
    need, available = 16 * width * target, contract.available_memory()
    if need > available:
        raise contract.ClientError(
            f"reducing {width} features to {target} takes {need} bytes of memory, but {available} are free; lower "
            "dimension_reduction_target"
        )
    return projection(kind, width, target, random)


def _rows(
    task: job.Job,
    projection: NDArray[np.float32] | None,
    random: np.random.Generator,
    classifier: bool,
    hosts: Hosts,
) -> tuple[Any, NDArray[np.float32], int]:
    """Return the rows of all hosts that are kept, their labels, and how many there were."""
    import numpy as np

    from sagespark.local.containers.batches import cut
    from sagespark.local.containers.channels import to_csr
    from sagespark.local.containers.knn_model import prepare
    from sagespark.local.containers.nearest import MAX_DENSE_WIDTH
    from sagespark.local.containers.reservoir import Reservoir

    values, available = task.values, contract.available_memory()
    reservoir = Reservoir(values["sample_size"], random)
    size = 0
    for block, labels in _labelled(task, "train", classifier):
        at = 0
        for part in cut([block], values["mini_batch_size"]):
            rows = prepare(part, projection)
            if projection is None and values["feature_dim"] > MAX_DENSE_WIDTH and isinstance(rows, np.ndarray):
                # Later blocks may be sparse: all of them are kept alike.
                rows = to_csr(rows)
            count = rows.shape[0]
            size += rows.nbytes if isinstance(rows, np.ndarray) else 8 * rows.nnz
            kept = min(1.0, values["sample_size"] / (reservoir.seen + count)) * size
            if kept * COPIES > available:
                raise contract.ClientError(
                    f"keeping {values['sample_size']} rows takes more than the {available} bytes of memory that are "
                    "free; lower sample_size, or reduce features by dimension_reduction_type"
                )
            reservoir.add(rows, labels[at : at + count])
            at += count
    nothing = prepare(np.empty((0, values["feature_dim"]), np.float32), projection)
    reservoir.join(hosts, (nothing, np.empty(0, np.float32)))
    if not reservoir.seen:
        raise contract.ClientError("the train channel holds no row")
    if values["sample_size"] > reservoir.seen:
        _log.warning("sample_size is %d, but there are %d rows", values["sample_size"], reservoir.seen)
    points, labels = reservoir.rows()
    if not isinstance(points, np.ndarray) and points.nnz > SPARSE * points.shape[0] * points.shape[1]:
        points = _dense(points, values["index_type"])
    return points, labels, reservoir.seen


def _dense(points: Any, index: str) -> NDArray[np.float32]:
    import numpy as np

    need, available = 4 * COPIES * points.shape[0] * points.shape[1], contract.available_memory()
    if need > available:
        raise contract.ClientError(
            f"{points.shape[0]} rows of {points.shape[1]} features take {need} bytes of memory as index {index}, but "
            f"{available} are free; lower sample_size, or reduce features by dimension_reduction_type"
        )
    return np.asarray(points.toarray(), np.float32)


def _labelled(task: job.Job, channel: str, classifier: bool) -> Iterator[tuple[Matrix, NDArray[np.float32]]]:
    """Yield rows and labels, which are classes of a classifier."""
    import numpy as np

    from sagespark.local.containers.channels import labelled

    for block, labels in labelled(task.channels[channel], task.values["feature_dim"]):
        wrong = (labels < 0) | (labels != np.floor(labels))
        if classifier and wrong.any():
            raise contract.ClientError(
                f"the {channel} channel holds the label {labels[wrong][0]:g}; a classifier's labels must be the whole "
                "numbers 0, 1, ... of its classes"
            )
        yield block, labels


def _evaluate(task: job.Job, model: Neighbours) -> None:
    """Log how well the test rows are predicted."""
    import numpy as np

    rows, total = 0, 0.0
    for block, labels in _labelled(task, "test", model.classifier):
        predicted = model.predict(block)["predicted_label"].astype(np.float64)
        apart = predicted != labels if model.classifier else (predicted - labels) ** 2
        rows, total = rows + len(labels), total + float(apart.sum())
    if not rows:
        raise contract.ClientError("the test channel holds no row")
    if model.classifier:
        job.quality(task.host, f"test accuracy <score>={1 - total / rows!r}")
    else:
        job.quality(task.host, f"test mse <loss>={total / rows!r}")


if __name__ == "__main__":
    contract.run(train)
