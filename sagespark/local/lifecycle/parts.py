"""What every training job needs of the service."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from sagespark.core.clock import Clock
from sagespark.local.containers.runner import ContainerRuntime
from sagespark.local.logs import LogStore
from sagespark.local.objects.store import ObjectStore
from sagespark.local.store import Store

GRACE_SECONDS = 120.0
"""Seconds between SIGTERM and SIGKILL."""


@dataclass(frozen=True)
class Parts:
    """The parts of the service that a job needs."""

    store: Store
    logs: LogStore
    objects: ObjectStore
    runtime: ContainerRuntime
    folder: Path
    """Folder of the jobs' ``/opt/ml``; on the file system of ``objects``, or channels are copied."""
    clock: Clock
    """May run faster than the machine's: MaxRuntimeInSeconds and all other durations are in its seconds."""
    grace: float = GRACE_SECONDS
    """Seconds between SIGTERM and SIGKILL."""
    is_default_bucket: Callable[[str], bool] = lambda _: False
    """Tells whether a bucket exists in its region from the start, and may have to be made now."""
