"""What CreateTrainingJob refuses beyond the service model: combinations, and what is not built here."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sagespark.core.errors import ValidationError
from sagespark.core.s3uri import S3Uri
from sagespark.local.containers.images import Image, UnknownImage, scripted
from sagespark.local.lifecycle import checkpoints, metrics, status
from sagespark.local.services import tags

MAX_HYPERPARAMETERS = 100
"""Most hyperparameters of a job."""
_TAKEN = ("input", "model", "output", "code")
"""Folders below /opt/ml that hold something else than checkpoints."""
_NOT_HERE = "the embedded service does not run it"


def problems(request: dict[str, Any], resolve: Callable[[str], Image]) -> list[str]:
    """Return everything that is wrong with a request, in sentences; empty where it is accepted.

    Parameters
    ----------
    request : dict
        Parsed, and valid by the service model.
    resolve : callable
        Takes an image URI; raises UnknownImage.
    """
    return [
        *_algorithm(request, resolve),
        *_channels(request),
        *_location("OutputDataConfig.S3OutputPath", request["OutputDataConfig"]["S3OutputPath"]),
        *_resources(request),
        *_instances(request, resolve),
        *_stopping(request),
        *_checkpoints(request),
        *_absent(request),
        *tags.problems(request.get("Tags", [])),
    ]


def _algorithm(request: dict[str, Any], resolve: Callable[[str], Image]) -> list[str]:
    specification = request.get("AlgorithmSpecification")
    if specification is None:
        return ["AlgorithmSpecification is required."]
    found = []
    image, name = specification.get("TrainingImage"), specification.get("AlgorithmName")
    if image and name:
        found.append("Exactly one of TrainingImage and AlgorithmName must be given, not both.")
    elif name:
        found.append(f'Could not find algorithm "{name}".')
    elif not image:
        found.append("AlgorithmSpecification must have a TrainingImage.")
    own = metrics.definitions(specification)
    found += metrics.problems(own)
    if image:
        try:
            resolved = scripted(resolve(image), request.get("HyperParameters", {}))
            if not resolved.train and "ContainerEntrypoint" not in specification:
                found.append(f"Image {image} has no program `train`; give ContainerEntrypoint, or add the program.")
            if resolved.algorithm is not None and own:
                found.append(
                    "You can't override the metric definitions for Amazon SageMaker algorithms. "
                    "Please retry the request without specifying metric definitions."
                )
        except UnknownImage as error:
            found.append(f"Requested image {image} not found: {error}.")
    count = len(request.get("HyperParameters", {}))
    if count > MAX_HYPERPARAMETERS:
        found.append(f"A job can have at most {MAX_HYPERPARAMETERS} hyperparameters, but got {count}.")
    return found


def _channels(request: dict[str, Any]) -> list[str]:
    found = []
    channels = request.get("InputDataConfig", [])
    names = [channel["ChannelName"] for channel in channels]
    found += [
        f"Channel names must be unique, but {n!r} occurs twice." for n in sorted(set(names)) if names.count(n) > 1
    ]
    found += [
        f"Channel names {n!r} and {n + '-manifest'!r} exclude each other: the manifest of the first has that name."
        for n in sorted(set(names))
        if n + "-manifest" in names
    ]
    default = request.get("AlgorithmSpecification", {}).get("TrainingInputMode", "File")
    groups = {group["InstanceGroupName"] for group in request.get("ResourceConfig", {}).get("InstanceGroups", [])}
    for channel in channels:
        where = f"channel {channel['ChannelName']!r}"
        if channel["ChannelName"] in (".", ".."):
            found.append(f"The name of {where} cannot be a folder's.")
        mode = channel.get("InputMode", default)
        found += _format(where, mode, channel)
        source = channel["DataSource"].get("S3DataSource")
        if source is None:
            other = ", ".join(channel["DataSource"]) or "nothing"
            found.append(f"The DataSource of {where} has {other}: {_NOT_HERE}; use S3DataSource.")
            continue
        kind = source["S3DataType"]
        if kind == "AugmentedManifestFile":
            if mode != "Pipe":
                found.append(f"S3DataType {kind} of {where} needs input mode Pipe, but it is {mode}.")
            if not source.get("AttributeNames"):
                found.append(f"S3DataType {kind} of {where} needs AttributeNames.")
        elif kind not in ("S3Prefix", "ManifestFile"):
            found.append(
                f"S3DataType {kind} of {where}: {_NOT_HERE}; use S3Prefix, ManifestFile or AugmentedManifestFile."
            )
        elif source.get("AttributeNames"):
            found.append(f"AttributeNames of {where} are for S3DataType AugmentedManifestFile only.")
        for group in sorted(set(source.get("InstanceGroupNames", ())) - groups):
            found.append(f"InstanceGroupNames of {where} has {group!r}, which ResourceConfig does not declare.")
        found += _location(f"S3Uri of {where}", source["S3Uri"])
    return found


def _format(where: str, mode: str, channel: dict[str, Any]) -> list[str]:
    """Return what does not go together with an input mode: AWS packs and unpacks in Pipe mode only."""
    if mode == "Pipe":
        return []
    given = {name: channel.get(name, "None") for name in ("CompressionType", "RecordWrapperType")}
    return [
        f"{name} {value} of {where} is for input mode Pipe only, but it is {mode}; leave it out."
        for name, value in given.items()
        if value != "None"
    ]


def _location(where: str, text: str) -> list[str]:
    if text.startswith("https:"):
        return [f"{where} is {text!r}: the embedded service reads s3:// locations only."]
    try:
        S3Uri.parse(text.rstrip("/") + "/")
    except ValidationError as error:
        return [f"{where} is {text!r}: {'; '.join(error.problems)}."]
    return []


def _resources(request: dict[str, Any]) -> list[str]:
    resources = request.get("ResourceConfig")
    if resources is None:
        return ["ResourceConfig is required."]
    groups = resources.get("InstanceGroups")
    single = [name for name in ("InstanceType", "InstanceCount") if name in resources]
    found = []
    if groups and single:
        found.append(f"ResourceConfig must have InstanceGroups or {' and '.join(single)}, not both.")
    elif not groups and len(single) < 2:
        missing = {"InstanceType", "InstanceCount"} - set(single)
        found.append(f"ResourceConfig must have {' and '.join(sorted(missing))}.")
    count = sum(g["InstanceCount"] for g in groups or []) or resources.get("InstanceCount", 1)
    if count < 1:
        found.append("ResourceConfig must ask for at least one instance.")
    if resources.get("KeepAlivePeriodInSeconds"):
        if request.get("EnableManagedSpotTraining"):
            found.append("KeepAlivePeriodInSeconds (a warm pool) and EnableManagedSpotTraining exclude each other.")
        if groups:
            found.append("KeepAlivePeriodInSeconds (a warm pool) and InstanceGroups exclude each other.")
    return found


def _instances(request: dict[str, Any], resolve: Callable[[str], Image]) -> list[str]:
    """Return why an algorithm cannot train on as many instances."""
    resources = request.get("ResourceConfig", {})
    count = sum(g["InstanceCount"] for g in resources.get("InstanceGroups", [])) or resources.get("InstanceCount", 1)
    try:
        image = resolve(request["AlgorithmSpecification"]["TrainingImage"])
        algorithm = scripted(image, request.get("HyperParameters", {})).algorithm
    except (KeyError, UnknownImage):
        return []
    if count == 1 or algorithm is None or algorithm.distributed:
        return []
    return [f"InstanceCount is {count}, but {algorithm.name} trains on one instance: {_NOT_HERE} on several."]


def _stopping(request: dict[str, Any]) -> list[str]:
    condition = request.get("StoppingCondition", {})
    runtime, wait = condition.get("MaxRuntimeInSeconds", status.DEFAULT_RUNTIME), condition.get("MaxWaitTimeInSeconds")
    if request.get("EnableManagedSpotTraining", False):
        if wait is None or wait < runtime:
            return [
                "Invalid MaxWaitTimeInSeconds. It must be present and be greater than or equal to MaxRuntimeInSeconds."
            ]
    elif wait is not None:
        return ["MaxWaitTimeInSeconds is allowed only if EnableManagedSpotTraining is true."]
    return []


def _checkpoints(request: dict[str, Any]) -> list[str]:
    config = request.get("CheckpointConfig")
    if config is None:
        return []
    found = _location("CheckpointConfig.S3Uri", config["S3Uri"])
    steps = checkpoints.inside(config).split("/")
    if steps[0] in (".", "..", *_TAKEN):
        found.append(
            f"CheckpointConfig.LocalPath is {config.get('LocalPath')!r}: the embedded service keeps checkpoints in a "
            f"folder below /opt/ml, none of {', '.join(_TAKEN)}; leave it out for {checkpoints.DEFAULT_PATH}."
        )
    return found


def _absent(request: dict[str, Any]) -> list[str]:
    found = [f"{name}: {_NOT_HERE}." for name in ("ServerlessJobConfig",) if name in request]
    if "TrainingPlanArn" in request.get("ResourceConfig", {}):
        found.append(f"ResourceConfig.TrainingPlanArn: {_NOT_HERE}.")
    return found
