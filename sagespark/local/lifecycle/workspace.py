"""The folder that a host's container sees as ``/opt/ml``."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from pathlib import Path
from typing import Any

from sagespark.local.lifecycle import checkpoints
from sagespark.local.lifecycle.hosts import Host, resource_config

_FOLDERS = ("input/config", "input/data", "model", "output/data", "checkpoints", "code")


def create(opt_ml: Path, document: dict[str, Any], hosts: tuple[Host, ...], current: Host) -> None:
    """Make the folders and the configuration files.

    Parameters
    ----------
    opt_ml : Path
        Made here; it must not exist.
    document : dict
        The job, as DescribeTrainingJob answers it.
    hosts : tuple of Host
        All hosts of the job.
    current : Host
        The host whose folder it is.
    """
    for name in _FOLDERS:
        (opt_ml / name).mkdir(parents=True)
    files = {
        "hyperparameters": document.get("HyperParameters", {}),
        "inputdataconfig": input_data_config(document),
        "resourceconfig": resource_config(hosts, current),
    }
    if "CheckpointConfig" in document:
        files["checkpointconfig"] = {"LocalPath": checkpoints.DEFAULT_PATH} | document["CheckpointConfig"]
    for name, content in files.items():
        path = opt_ml / "input" / "config" / f"{name}.json"
        path.write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")


def input_data_config(document: dict[str, Any]) -> dict[str, Any]:
    """Return what ``inputdataconfig.json`` tells of the job's channels."""
    default = document["AlgorithmSpecification"]["TrainingInputMode"]
    return {
        channel["ChannelName"]: {
            "TrainingInputMode": channel.get("InputMode", default),
            "S3DistributionType": channel["DataSource"]["S3DataSource"]["S3DataDistributionType"],
            "RecordWrapperType": channel["RecordWrapperType"],
        }
        | ({"CompressionType": "Gzip"} if channel["CompressionType"] == "Gzip" else {})
        | ({"ContentType": channel["ContentType"]} if "ContentType" in channel else {})
        for channel in document.get("InputDataConfig", [])
    }


def remove(folder: Path) -> None:
    """Remove a folder of a job, whatever its container left inside."""
    shutil.rmtree(folder, ignore_errors=True)
    if folder.exists():
        # An ordinary user cannot look into a folder whose rights the container took away.
        for path, names, _ in os.walk(folder):
            for name in names:
                if not os.path.islink(os.path.join(path, name)):
                    with contextlib.suppress(OSError):
                        os.chmod(os.path.join(path, name), 0o700)
        shutil.rmtree(folder, ignore_errors=True)
