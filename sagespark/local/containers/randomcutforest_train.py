"""Train a random cut forest: the program ``train`` of the built-in image ``randomcutforest``.

Run as ``python -m sagespark.local.containers.randomcutforest_train`` inside a container. One pass draws the rows of all
trees, on several hosts each from its own rows; :mod:`sagespark.algorithms.random_cuts` grows them, on the first host.

AWS does not publish the format of its artifact, so ours is one that AWS's container cannot read: ``model_algo-1``, an
MXNet NDArray dictionary as its other algorithms write, of the nodes' arrays (:meth:`Forest.arrays`). It needs no
pickle, so that a model of unknown origin can be read safely.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from sagespark.core.clock import SystemClock
from sagespark.local.containers import contract, job

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from sagespark.algorithms.random_cuts import Forest
    from sagespark.local.containers.reservoir import Reservoir

DEVIATIONS = 3
"""Standard deviations above the mean from which a score is taken for an anomaly's (AWS's page of the algorithm)."""
_log = logging.getLogger("randomcutforest")


def train() -> None:
    """Read ``/opt/ml/input``, train, write ``/opt/ml/model`` and the metrics."""
    from sagespark.algorithms.random_cut_forest import RANDOM_CUT_FOREST

    clock = SystemClock()
    task = job.begin(RANDOM_CUT_FOREST)
    values = task.values
    # numpy is imported from here on: its threads are limited now.
    import numpy as np

    from sagespark.algorithms.random_cuts import grow
    from sagespark.codecs import ndarray
    from sagespark.local.containers.channels import blocks
    from sagespark.local.containers.collective import Collective
    from sagespark.local.containers.reservoir import Reservoir

    width, trees, samples = (values[name] for name in ("feature_dim", "num_trees", "num_samples_per_tree"))
    # The points, the boxes of twice as many nodes, and some room.
    need, available = 4 * width * trees * samples * 8, contract.available_memory()
    if need > available:
        raise contract.ClientError(
            f"{trees} trees of {samples} rows of {width} features take {need} bytes of memory, but {available} are "
            "free; lower num_trees or num_samples_per_tree"
        )
    started = clock.monotonic()
    with Collective.from_config(contract.resources()) as hosts:
        # Without a seed of the job's the hosts would draw differently.
        seed = int(hosts.broadcast(np.array([task.seed]))[0])
        random = np.random.default_rng(seed if hosts.size == 1 else [seed, hosts.rank])
        reservoir = Reservoir(trees * samples, random)
        for block in blocks(task.channels["train"], width, force_dense=True):
            reservoir.add(np.asarray(block, np.float32))
        reservoir.join(hosts, (np.empty((0, width), np.float32),))
    if not task.first:
        return
    if not reservoir.seen:
        raise contract.ClientError("the train channel holds no row")
    points, sizes = _deal(reservoir, trees, samples, random)
    forest = grow(points, sizes, random)
    _log.info("%d trees of %d of %d rows: %d nodes", trees, sizes[0], reservoir.seen, len(forest.feature))
    job.progress(task.host, 100)
    job.throughput(task.host, reservoir.seen, clock.monotonic() - started)
    if "test" in task.channels:
        _evaluate(task, forest)
    else:
        _log.info("Test data is not provided.")
    job.write_model(ndarray.dump_dict(forest.arrays()))


def _deal(
    reservoir: Reservoir, trees: int, samples: int, random: np.random.Generator
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Return the points of all trees, and how many each has.

    Each tree has rows of its own, as AWS's does; where there are too few for that, trees share them.
    """
    import numpy as np

    (rows,) = reservoir.rows()
    if len(rows) == trees * samples:
        return rows[random.permutation(len(rows))], np.full(trees, samples)
    size = min(samples, len(rows))
    _log.info("The train channel holds %d rows: fewer than %d trees of %d; trees share rows", len(rows), trees, samples)
    chosen = np.argpartition(random.random((trees, len(rows))), size - 1, axis=1)[:, :size]
    return rows[chosen.ravel()], np.full(trees, size)


def _evaluate(task: job.Job, forest: Forest) -> None:
    """Log how well scores beyond three standard deviations of the mean find the rows whose label is 1."""
    import numpy as np

    from sagespark.local.containers.channels import dense, labelled

    scores, labels = [], []
    for block, given in labelled(task.channels["test"], forest.width):
        wrong = (given != 0) & (given != 1)
        if wrong.any():
            raise contract.ClientError(
                f"the test channel holds the label {given[wrong][0]:g}; a label must be 1 for an anomaly and 0 for any "
                "other row"
            )
        scores.append(forest.scores(dense(block)))
        labels.append(given)
    if not scores:
        raise contract.ClientError("the test channel holds no row")
    found, truth = np.concatenate(scores), np.concatenate(labels) == 1
    threshold = float(found.mean() + DEVIATIONS * found.std())
    _log.info("Threshold: %r, the mean of the test rows' scores plus %d deviations", threshold, DEVIATIONS)
    metrics = task.values["eval_metrics"]
    for name, value in quality(truth, found > threshold).items():
        if ("accuracy" if name.startswith("accuracy") else "precision_recall_fscore") in metrics:
            job.quality(task.host, f"test {name} <score>={value!r}")


def quality(truth: NDArray[np.bool_], found: NDArray[np.bool_]) -> dict[str, float]:
    """Return accuracy, and precision, recall and F1 of the anomalies and of the other rows; 0 where undefined."""
    result = {"accuracy": float((truth == found).mean())}
    for suffix, one, other in (("", truth, found), ("_negative", ~truth, ~found)):
        hits = float((one & other).sum())
        precision, recall = hits / max(float(other.sum()), 1.0), hits / max(float(one.sum()), 1.0)
        both = precision + recall
        result[f"precision{suffix}"], result[f"recall{suffix}"] = precision, recall
        result[f"f1{suffix}"] = 2 * precision * recall / both if both else 0.0
    return result


if __name__ == "__main__":
    contract.run(train)
