"""The instances of a tuning job's training jobs.

A definition has a ``ResourceConfig``, or a ``HyperParameterTuningResourceConfig``: one kind of instance, or several to
choose from. Tuning jobs keep instances from one training job to the next by themselves: a ``KeepAlivePeriodInSeconds``
has no effect, and is not shown again (aws-controllers-k8s/sagemaker-controller #176 found it so).
"""

from __future__ import annotations

from typing import Any

Request = dict[str, Any]

FLEXIBLE = "HyperParameterTuningResourceConfig"
_SINGLE = ("InstanceType", "InstanceCount", "VolumeSizeInGB")
_KEEP_ALIVE = "KeepAlivePeriodInSeconds"


def problems(request: Request) -> list[str]:
    """Return what is wrong with each ``HyperParameterTuningResourceConfig`` of a request, in sentences."""
    each = [request.get("TrainingJobDefinition", {}), *request.get("TrainingJobDefinitions", [])]
    return [*dict.fromkeys(p for definition in each if FLEXIBLE in definition for p in _problems(definition[FLEXIBLE]))]


def _problems(config: Request) -> list[str]:
    several = config.get("InstanceConfigs", [])
    found = []
    if several:
        given = [name for name in _SINGLE if name in config]
        if given:
            found.append(f"{FLEXIBLE} must have InstanceConfigs or {' and '.join(given)}, not both.")
    else:
        missing = [name for name in ("InstanceType", "InstanceCount") if name not in config]
        if missing:
            found.append(f"{FLEXIBLE} must have {' and '.join(missing)}, or InstanceConfigs.")
    if any(kind.get("InstanceCount", 1) < 1 for kind in [config, *several]):
        found.append(f"{FLEXIBLE} must ask for at least one instance.")
    return found


def of_training_job(definition: Request) -> Request:
    """Return the ``ResourceConfig`` of a definition's training jobs."""
    if "ResourceConfig" in definition:
        return _without_keep_alive(definition["ResourceConfig"])
    config = dict(definition.get(FLEXIBLE, {}))
    config.pop("AllocationStrategy", None)
    # The first choice is always there: nothing is ever out of capacity here.
    first: Request = (config.pop("InstanceConfigs", None) or [{}])[0]
    return {"VolumeSizeInGB": 1} | config | first


def shown(definition: Request) -> Request:
    """Return a definition as it is shown: without what has no effect."""
    if "ResourceConfig" not in definition:
        return definition
    return definition | {"ResourceConfig": _without_keep_alive(definition["ResourceConfig"])}


def _without_keep_alive(config: Request) -> Request:
    return {name: value for name, value in config.items() if name != _KEEP_ALIVE}
