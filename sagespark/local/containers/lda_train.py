"""Train LDA: the program ``train`` of the built-in image ``lda``.

Run as ``python -m sagespark.local.containers.lda_train`` inside a container. :mod:`sagespark.local.containers.lda_fit`
tells what is scikit-learn's of it.

The artifact is AWS's own: ``model_algo-1``, an MXNet NDArray list of two float32 arrays: ``alpha`` (num_topics,) and
``beta`` (num_topics, feature_dim), the probabilities of the words. The spec row's sources show such an artifact.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from sagespark.core.clock import SystemClock
from sagespark.local.containers import contract, job

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from sagespark.codecs.matrix import Matrix
    from sagespark.local.containers.lda_fit import Found

COPIES = 6
"""Memory that training takes, in sizes of the rows: as read, joined, in float64, and some room."""
_log = logging.getLogger("lda")


def train() -> None:
    """Read ``/opt/ml/input``, train, write ``/opt/ml/model`` and the metrics."""
    from sagespark.algorithms.lda import LDA

    clock = SystemClock()
    task = job.begin(LDA)
    values = task.values
    # numpy is imported from here on: its threads are limited now.
    import numpy as np
    import threadpoolctl

    from sagespark.codecs import ndarray
    from sagespark.local.containers.batches import gather_if_fits
    from sagespark.local.containers.channels import blocks, gather, to_csr
    from sagespark.local.containers.lda_fit import fit

    def read(name: str) -> Iterator[Matrix]:
        return _counts(name, blocks(task.channels[name], values["feature_dim"]))

    started = clock.monotonic()
    available = contract.available_memory()
    kept = gather_if_fits(read("train"), available, COPIES)
    if kept is None:
        raise contract.ClientError(
            f"LDA takes {COPIES} copies of the train channel in memory, and {available} bytes are free; train on fewer "
            "documents, or leave rare words out of the vocabulary"
        )
    if not kept:
        raise contract.ClientError("the train channel holds no row")
    counts = to_csr(gather(kept)) if all(isinstance(part, np.ndarray) for part in kept) else gather(kept)
    counts = counts.astype(np.float64)
    counts.eliminate_zeros()
    rows = counts.shape[0]
    if not counts.nnz:
        raise contract.ClientError(f"the {rows} rows of the train channel hold no word: every count is 0")
    if values["mini_batch_size"] != rows:
        _log.warning("mini_batch_size is %d, but there are %d documents", values["mini_batch_size"], rows)
    _log.info("Read %d documents of %d words, %d different ones", rows, int(counts.sum()), values["feature_dim"])
    with threadpoolctl.threadpool_limits(limits=task.threads):
        found = fit(counts, values, task.seed)
    _log.info("Seed %d: %d passes", found.seed, found.passes)
    job.quality(task.host, f"train perplexity <loss>={found.perplexity!r}")
    job.progress(task.host, 100)
    job.throughput(task.host, rows, clock.monotonic() - started)
    if "test" in task.channels:
        _evaluate(task.host, read("test"), found)
    else:
        _log.info("Test data is not provided.")
    job.write_model(ndarray.dump_list([found.alpha.astype(np.float32), found.beta.astype(np.float32)]))


def _counts(channel: str, blocks: Iterable[Matrix]) -> Iterator[Matrix]:
    """Yield the blocks, every value of which must be a count.

    Raises
    ------
    ClientError
        If one is negative or has a fraction; the message names the row in the channel and the value.
    """
    from sagespark.algorithms.topics import problem
    from sagespark.local.containers.channels import parts

    position = 0
    for block in blocks:
        for values, row_of in parts(block):
            at = problem(values.ravel())
            if at is not None:
                raise contract.ClientError(
                    f"channel {channel!r}: row {position + int(row_of(at))} holds {values.ravel()[at]:g}; LDA counts "
                    "words, so every feature must be a whole number of 0 or more"
                )
        position += block.shape[0]
        yield block


def _evaluate(host: str, blocks: Iterable[Matrix], found: Found) -> None:
    """Log the bound of the test rows' log-likelihood per word."""
    from sagespark.algorithms.topics import Topics

    topics = Topics(found.alpha, found.beta)
    total = words = 0.0
    for block in blocks:
        bound, count = topics.bounds(block)
        total, words = total + bound, words + count
    if not words:
        raise contract.ClientError("the test channel holds no word: it has no row, or every count is 0")
    job.quality(host, f"test pwll <score>={total / words!r}")


if __name__ == "__main__":
    contract.run(train)
