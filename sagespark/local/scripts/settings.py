"""What a training script is told: the ``SM_*`` variables and its arguments, as AWS's training toolkit has them.

Source of names and forms: README of ``aws/sagemaker-training-toolkit``, "Environment variables".
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from typing import Any

from sagespark.local.scripts import layout

TUNING = "_tuning_objective_metric"
"""Hyperparameter that automatic model tuning adds, which a script never gets to see."""
_FRAMEWORK_MODULES = {
    "sklearn": "sagemaker_sklearn_container.training:main",
    "xgboost": "sagemaker_xgboost_container.training:main",
    "pytorch": "sagemaker_pytorch_container.training:main",
    "tensorflow": "sagemaker_tensorflow_container.training:main",
    "mxnet": "sagemaker_mxnet_container.training:main",
    "huggingface": "sagemaker_pytorch_container.training:main",
}


def split(hyperparameters: Mapping[str, str]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the script's hyperparameters and the toolkit's own (``sagemaker_*``, and tuning's), decoded."""
    values = {name: layout.decoded(text) for name, text in hyperparameters.items()}
    own = {name: value for name, value in values.items() if name.startswith("sagemaker_") or name == TUNING}
    return {name: value for name, value in values.items() if name not in own}, own


def arguments(values: Mapping[str, Any]) -> list[str]:
    """Return hyperparameters as arguments: ``--name value``, ``-n value`` for names of one letter."""
    found = []
    for name, value in sorted(values.items()):
        text = value
        if isinstance(value, Mapping):
            text = ",".join(f"{key}={inner}" for key, inner in sorted(value.items()))
        found += [f"--{name}" if len(name) > 1 else f"-{name}", "" if text is None else str(text)]
    return found


def variables(values: Mapping[str, Any], own: Mapping[str, Any], code: str) -> dict[str, str]:
    """Return the ``SM_*`` variables.

    Parameters
    ----------
    values : mapping
        The script's hyperparameters.
    own : mapping
        The toolkit's own.
    code : str
        Folder of the script's files.
    """
    root = layout.base()
    resources = layout.config("resourceconfig")
    data = layout.config("inputdataconfig")
    hosts = resources.get("hosts", ["algo-1"])
    current = resources.get("current_host", "algo-1")
    groups = resources.get("instance_groups", [])
    group = resources.get("current_group_name", "homogeneousCluster")
    program = str(own.get("sagemaker_program", ""))
    channels = {name: str(root / "input" / "data" / name) for name in data}
    module = re.sub(r"\.py$", "", program)
    facts: dict[str, Any] = {
        "hosts": hosts,
        "current_host": current,
        "current_instance_type": resources.get("current_instance_type", ""),
        "current_instance_group": group,
        "current_instance_group_hosts": next((g["hosts"] for g in groups if g["instance_group_name"] == group), hosts),
        "instance_groups": [g["instance_group_name"] for g in groups],
        "instance_groups_dict": {g["instance_group_name"]: g for g in groups},
        "is_hetero": len(groups) > 1,
        "is_master": current == sorted(hosts)[0],
        "master_hostname": sorted(hosts)[0],
        "network_interface_name": resources.get("network_interface_name", "eth0"),
        "hps": values,
        "user_entry_point": program,
        "framework_params": own,
        "resource_config": resources,
        "input_data_config": data,
        "output_data_dir": str(root / "output" / "data"),
        "channels": sorted(channels),
        "module_name": module,
        "log_level": own.get("sagemaker_container_log_level", 20),
        "framework_module": _FRAMEWORK_MODULES.get(layout.framework(), ""),
        "input_dir": str(root / "input"),
        "input_config_dir": str(root / "input" / "config"),
        "output_dir": str(root / "output"),
        "num_cpus": len(os.sched_getaffinity(0)),
        "num_gpus": 0,
        "num_neurons": 0,
        "model_dir": str(root / "model"),
        "module_dir": own.get("sagemaker_submit_directory", code),
        "job_name": own.get("sagemaker_job_name", os.environ.get("TRAINING_JOB_NAME", "")),
        "user_args": arguments(values),
        "output_intermediate_dir": str(root / "output" / "intermediate"),
    }
    # One document with all of it, for programs that want no variables.
    facts["training_env"] = {
        **{name: fact for name, fact in facts.items() if name not in ("hps", "user_args", "training_env")},
        "hyperparameters": dict(values),
        "channel_input_dirs": channels,
        "job_name": facts["job_name"],
    }
    found = {f"SM_{name.upper()}": _text(fact) for name, fact in facts.items()}
    found |= {f"SM_CHANNEL_{name.upper()}": path for name, path in channels.items()}
    found |= {f"SM_HP_{name.upper()}": _text(value) for name, value in values.items()}
    return found


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True)
