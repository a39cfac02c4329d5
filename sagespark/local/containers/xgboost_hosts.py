"""The hosts of a job of XGBoost: what they agree on, and XGBoost's own collective among them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from sagespark.local.containers import contract
from sagespark.local.containers.collective import Collective
from sagespark.local.containers.xgboost_data import Data

if TYPE_CHECKING:
    import xgboost

    from sagespark.local.containers.job import Job

SILENT_SECONDS = 300
"""Seconds after which a silent host is given up."""
_NETWORK = ("rabit", "collective", "tracker", "socket", "connect", "poll", "comm.", "peer")


def agree(found: Mapping[str, Data | None], hosts: Collective) -> int:
    """Return the number of features that all hosts' rows have together.

    Raises
    ------
    ClientError
        If no host has rows of a channel, or dense rows differ in width.
    """
    widths, filled = [], []
    for data in found.values():
        widths.append(0 if data is None else data.width)
        filled.append(0 if data is None else len(data.labels))
    totals = hosts.allreduce(np.array(filled, np.int64))
    for name, rows in zip(found, totals, strict=True):
        if not rows:
            raise contract.ClientError(f"the {name} channel holds no row")
    width = int(hosts.allreduce(np.array(widths, np.int64), "max").max())
    for name, data in found.items():
        if data is not None and isinstance(data.features, np.ndarray) and data.width != width:
            raise contract.ClientError(
                f"the rows of the {name} channel have {data.width} features, but others {width}; all must have the same"
            )
    return width


def same_checkpoint(booster: xgboost.Booster | None, hosts: Collective) -> tuple[xgboost.Booster | None, int]:
    """Return the first host's checkpoint and the rounds that it has, on every host; None and 0 without one."""
    import xgboost

    if hosts.size > 1:
        raw = np.frombuffer(b"" if booster is None else bytes(booster.save_raw("ubj")), np.uint8)
        size = int(hosts.broadcast(np.array([len(raw)], np.int64))[0])
        body = hosts.broadcast(raw if hosts.leads else np.zeros(size, np.uint8)) if size else None
        booster = None if body is None else xgboost.Booster(model_file=bytearray(body.tobytes()))
    return booster, 0 if booster is None else booster.num_boosted_rounds()


def nothing(width: int) -> Data:
    """Return the data of a host that has no rows."""
    return Data(np.empty((0, width), np.float32), np.empty(0, np.float32))


def extremes(labels: NDArray[np.float32], hosts: Collective) -> tuple[float, float]:
    """Return the smallest and the largest label of all hosts."""
    low = float(labels.min()) if len(labels) else np.inf
    high = float(labels.max()) if len(labels) else -np.inf
    least = hosts.allreduce(np.array([low]), "min")
    most = hosts.allreduce(np.array([high]), "max")
    return float(least[0]), float(most[0])


@contextmanager
def joined(task: Job, hosts: Collective) -> Iterator[None]:
    """Join XGBoost's collective; its tracker runs on the first host and has the ranks follow the hosts' order."""
    if hosts.size == 1:
        with nullcontext():
            yield
        return
    from xgboost import collective
    from xgboost.tracker import RabitTracker

    first = contract.address(task.hosts[0])
    port = np.zeros(1, np.int64)
    tracker = None
    if hosts.leads:
        tracker = RabitTracker(hosts.size, first, sortby="task")
        tracker.start()
        port[0] = int(tracker.worker_args()["dmlc_tracker_port"])
    port = hosts.broadcast(port)
    arguments: dict[str, int | str | None] = {
        "dmlc_communicator": "rabit",
        "dmlc_tracker_uri": first,
        "dmlc_tracker_port": int(port[0]),
        # Sorted as text: ranks are the positions in the list of hosts.
        "dmlc_task_id": f"{hosts.rank:06d}",
        "dmlc_timeout": SILENT_SECONDS,
    }
    with collective.CommunicatorContext(**arguments):
        yield
    if tracker is not None:
        tracker.wait_for(SILENT_SECONDS)


def is_network(error: Exception) -> bool:
    """Tell whether an error of XGBoost's is about its collective."""
    text = str(error).lower()
    return any(word in text for word in _NETWORK)
