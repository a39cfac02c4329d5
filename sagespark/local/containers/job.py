"""What every built-in algorithm's training program begins and ends with."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

from sagespark.algorithms.spec import AlgorithmSpec
from sagespark.local.containers import contract

MODEL_FILE = "model_algo-1"
"""Member of ``model.tar.gz`` that holds an MXNet NDArray file, as AWS's containers write it."""
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Job:
    """A training job as its program sees it."""

    values: dict[str, Any]
    """Hyperparameters by wire string, checked and with defaults filled in."""
    channels: dict[str, contract.ChannelFiles]
    """Input channels; ``train`` holds a file."""
    seed: int
    threads: int
    host: str
    hosts: tuple[str, ...] = ("algo-1",)
    """All hosts of the job, in order."""

    @property
    def first(self) -> bool:
        """Whether this host writes the model and the metrics of all."""
        return self.host == self.hosts[0]


def begin(spec: AlgorithmSpec) -> Job:
    """Read and check the job's input, and fix the number of threads; to be called before numpy is imported.

    Raises
    ------
    ClientError
        If hyperparameters, channels or the seed are refused.
    """
    values = contract.hyperparameters(spec)
    channels = contract.channels()
    hosts = tuple(contract.hosts())
    known = [channel.name for channel in spec.channels]
    names = " and ".join(map(repr, known))
    if unknown := sorted(set(channels) - set(known)):
        raise contract.ClientError(f"unknown channel {unknown[0]!r}; {spec.name} reads {names}")
    if "train" not in channels:
        raise contract.ClientError(f"the train channel is missing; {spec.name} reads {names}")
    # Of several hosts some may get no object, as AWS's documentation of ShardedByS3Key says.
    if channels["train"].empty and len(hosts) == 1:
        raise contract.ClientError("the train channel holds no file")
    job = Job(values, channels, contract.seed(), contract.threads(), contract.host(), hosts)
    contract.limit_threads(job.threads)
    _log.info("Hyperparameters: %s", values)
    _log.info("Threads: %d, seed: %d", job.threads, job.seed)
    return job


def quality(host: str, text: str) -> None:
    """Log a quality metric, such as ``test msd <loss>=1.5``, as AWS's containers do.

    The form of these lines is that of logs of AWS's K-means and DeepAR and of the MetricDefinitions that
    DescribeTrainingJob answers for its linear learner and IP insights, all of which are public. AWS publishes neither
    for LDA, k-nearest neighbours, random cut forest and factorization machines, whose pages on tuning name the metrics
    alone: that their lines are alike is taken for granted, not confirmed.
    """
    _log.info("#quality_metric: host=%s, %s", host, text)


def progress(host: str, percent: float) -> None:
    """Log how much of the training is done."""
    _log.info("#progress_metric: host=%s, completed %.1f %% of epochs", host, percent)


def throughput(host: str, rows: int, seconds: float) -> None:
    """Log how fast rows were trained on."""
    _log.info("#throughput_metric: host=%s, train throughput=%.1f records/second", host, rows / max(seconds, 1e-9))


def write_model(content: bytes) -> None:
    """Write the one file of the artifact."""
    folder = contract.base() / "model"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / MODEL_FILE).write_bytes(content)
