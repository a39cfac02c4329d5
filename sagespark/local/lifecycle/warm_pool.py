"""Warm pools: instances that stay for the next job that looks like the last one.

Facts: "SageMaker Managed Warm Pools" of the SageMaker Developer Guide. Processes need no instances, so what is kept
here is what a job sees of the pool: its status and billing, and the folder ``/opt/ml/sagemaker/warmpoolcache``, whose
files the next job finds again. A pool ends with the service.

A job's pool is ``InUse`` while it runs; then ``Available`` until KeepAlivePeriodInSeconds are over (``Terminated``) or
a matching job takes it (``Reused``). It is kept after a job that was stopped, or failed by its own or its user's fault.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

from sagespark.local.lifecycle.failure import INTERNAL
from sagespark.local.lifecycle.status import KIND
from sagespark.local.store import Document, Store

CACHE = Path("sagemaker", "warmpoolcache")
"""Folder below ``/opt/ml`` that is kept."""
_POOLS = "warm-pools"
_STATUS = "WarmPoolStatus"
_PERIOD = "KeepAlivePeriodInSeconds"
_FROM = "_WarmPoolFrom"
_OF = "_WarmPoolOf"


def period(document: Document) -> int:
    """Return for how many seconds a job's instances are kept."""
    return int(document["ResourceConfig"].get(_PERIOD, 0))


def keep(document: Document, now: datetime) -> None:
    """Keep the instances of a job that has just ended."""
    if _STATUS not in document:
        return
    healthy = not document.get("FailureReason", "").startswith(INTERNAL) and "TrainingStartTime" in document
    document[_STATUS]["Status"] = "Available" if healthy and period(document) else "Terminated"
    document[_FROM] = now


def shown(document: Document, now: datetime) -> Document:
    """Return a job with the state of its pool as it is now."""
    if not waits(document):
        return document
    kept = min((now - document[_FROM]).total_seconds(), period(document))
    pool = {"Status": "Available", "ResourceRetainedBillableTimeInSeconds": int(kept)}
    if kept >= period(document):
        pool["Status"] = "Terminated"
    return document | {_STATUS: pool}


def claim(kept: Store, region: str, document: Document, now: datetime) -> None:
    """Take the pool of a former job that a new one matches, inside a transaction; else begin a pool where asked for."""
    for other_region, name, former in kept.items(KIND):
        if other_region != region or not waits(shown(former, now)) or not matches(former, document):
            continue
        pool = shown(former, now)[_STATUS] | {"Status": "Reused", "ReusedByJob": document["TrainingJobName"]}
        kept.update(KIND, region, name, partial(dict.update, **{_STATUS: pool}))
        document[_OF] = _folder_name(former)
        break
    if _OF in document or period(document):
        document[_STATUS] = _new()


def waits(document: Document) -> bool:
    """Tell whether a job's instances were kept when last looked at."""
    return bool(document.get(_STATUS, {}).get("Status") == "Available")


def terminate(document: Document, now: datetime) -> None:
    """End a job's pool, where it has one that is kept."""
    if waits(document):
        document[_STATUS] = shown(document, now)[_STATUS] | {"Status": "Terminated"}


def update(document: Document, seconds: int, now: datetime) -> None:
    """Change for how long the instances of a job that runs, or was kept warm, are kept; 0 ends a pool that is kept."""
    document["ResourceConfig"] = document["ResourceConfig"] | {_PERIOD: seconds}
    if seconds == 0:
        terminate(document, now)
    elif _STATUS not in document:
        document[_STATUS] = _new()


def _new() -> Document:
    return {"Status": "InUse", "ResourceRetainedBillableTimeInSeconds": 0}


def matches(former: Document, new: Document) -> bool:
    """Tell whether a job may run on the instances of a former one.

    AWS compares role, instance count and type, volume size and key, VPC, network isolation and traffic encryption.
    """
    return _key(former) == _key(new) and "InstanceGroups" not in new["ResourceConfig"]


def _key(document: Document) -> list[Any]:
    resources, vpc = document["ResourceConfig"], document.get("VpcConfig", {})
    return [
        document["RoleArn"],
        *(resources.get(name) for name in ("InstanceCount", "InstanceType", "VolumeSizeInGB", "VolumeKmsKeyId")),
        *(sorted(vpc.get(name, ())) for name in ("SecurityGroupIds", "Subnets")),
        document["EnableNetworkIsolation"],
        document["EnableInterContainerTrafficEncryption"],
    ]


def furnish(folder: Path, document: Document, hosts: Sequence[Path]) -> None:
    """Give each host of a job with a pool the folder that is kept, with what the pool's former job left there."""
    if _STATUS not in document:
        return
    former = document.get(_OF)
    for opt_ml in hosts:
        (opt_ml / CACHE).parent.mkdir(parents=True, exist_ok=True)
        kept = folder / _POOLS / former / opt_ml.name if former else None
        if kept is not None and kept.is_dir():
            shutil.copytree(kept, opt_ml / CACHE, symlinks=True)
        else:
            (opt_ml / CACHE).mkdir()


def store(folder: Path, document: Document, hosts: Sequence[Path]) -> None:
    """Keep what a job's hosts left in that folder, in place of what its pool's former job left."""
    if _STATUS not in document:
        return
    if _OF in document:
        shutil.rmtree(folder / _POOLS / document[_OF], ignore_errors=True)
    for opt_ml in hosts if period(document) else ():
        if (opt_ml / CACHE).is_dir() and not (opt_ml / CACHE).is_symlink():
            target = folder / _POOLS / _folder_name(document) / opt_ml.name
            target.parent.mkdir(parents=True, exist_ok=True)
            (opt_ml / CACHE).rename(target)


def _folder_name(document: Document) -> str:
    return str(document["TrainingJobArn"]).replace(":", "-").replace("/", "-")
