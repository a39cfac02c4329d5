"""What CreateHyperParameterTuningJob refuses beyond the service model, in AWS's words where they are known.

Sources: botocore's ``sagemaker`` model; the developer guide ("Automatic model tuning"); messages as users quote them
(aws/amazon-sagemaker-examples #861 and #1207, aws/sagemaker-python-sdk #3693 and #3932).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sagespark.algorithms.spec import TUNING_OBJECTIVE, AlgorithmSpec
from sagespark.bayesopt import Categorical
from sagespark.core.errors import ValidationError
from sagespark.local.containers.images import Image
from sagespark.local.lifecycle.metrics import definitions as metric_definitions
from sagespark.local.services import tags, training_checks
from sagespark.local.tuning.definitions import Definition, definitions
from sagespark.local.tuning.strategies import resources

MOST_TUNED = 30
"""Hyperparameters that may be tuned together (API reference of ``ParameterRanges``)."""
MOST_HYPERPARAMETERS = 100
"""Tuned and static ones together."""
MOST_DEFINITIONS = 10


def problems(request: dict[str, Any], resolve: Callable[[str], Image]) -> list[str]:
    """Return everything that is wrong with a request, in sentences; empty where it is accepted.

    Parameters
    ----------
    request : dict
        Parsed, and valid by the service model.
    resolve : callable
        Takes an image URI; raises UnknownImage.
    """
    found = _shape(request)
    if found:
        return found
    config = request["HyperParameterTuningJobConfig"]
    for definition in definitions(request):
        found += _objective(definition)
        found += _hyperparameters(definition, "Autotune" in request)
        found += _strategy(config, definition)
        found += _training(request, definition, resolve)
    found += _limits(request)
    return [*dict.fromkeys([*found, *tags.problems(request.get("Tags", []))])]


def _shape(request: dict[str, Any]) -> list[str]:
    """Return what is wrong with the one or several definitions and with where objective and ranges stand."""
    config = request["HyperParameterTuningJobConfig"]
    single, several = "TrainingJobDefinition" in request, "TrainingJobDefinitions" in request
    if single == several:
        return ["Exactly one of TrainingJobDefinition and TrainingJobDefinitions must be given."]
    if single:
        if "HyperParameterTuningJobObjective" not in config:
            return ["HyperParameterTuningJobObjective is required with TrainingJobDefinition."]
        unwanted = [m for m in ("TuningObjective", "HyperParameterRanges") if m in request["TrainingJobDefinition"]]
        return [f"{m} is for TrainingJobDefinitions; give it in HyperParameterTuningJobConfig." for m in unwanted]
    found = [
        f"{member} of HyperParameterTuningJobConfig excludes TrainingJobDefinitions: give it in each definition."
        for member in ("HyperParameterTuningJobObjective", "ParameterRanges")
        if member in config
    ]
    each = request["TrainingJobDefinitions"]
    names = [d.get("DefinitionName", "") for d in each]
    if "" in names and len(each) > 1:
        found.append("DefinitionName is required in each of several TrainingJobDefinitions.")
    found += [f"DefinitionName [{n}] occurs twice." for n in sorted(set(names)) if n and names.count(n) > 1]
    if len(each) > MOST_DEFINITIONS:
        found.append(f"A tuning job can have at most {MOST_DEFINITIONS} TrainingJobDefinitions, but got {len(each)}.")
    found += [
        "TuningObjective is required in each of TrainingJobDefinitions." for d in each if "TuningObjective" not in d
    ]
    directions = {d.get("TuningObjective", {}).get("Type") for d in each}
    if len(directions) > 1:
        found.append(
            "The objectives of all TrainingJobDefinitions must have the same Type, so that they can be compared."
        )
    return found


def _objective(definition: Definition) -> list[str]:
    spec = definition.algorithm
    if spec is None:
        names = [name for name, _ in metric_definitions(definition.request["AlgorithmSpecification"])]
        if definition.metric in names:
            return []
        return [
            "A metric is required for this hyperparameter tuning job objective. Provide a metric in the metric "
            f"definitions. (The objective is [{definition.metric}], the metric definitions have: "
            f"{', '.join(names) or 'none'}.)"
        ]
    metric = next((m for m in spec.metrics if m.name == definition.metric), None)
    if metric is None:
        names = [m.name for m in spec.metrics if m.objective] or [m.name for m in spec.metrics]
        return [
            f"The objective metric, [{definition.metric}], isn't valid for the [{spec.name}] algorithm. "
            f"Choose one of: {', '.join(names)}."
        ]
    if metric.direction != definition.direction:
        return [
            f"The objective metric type, [{definition.direction}], that you specified for objective metric, "
            f"[{metric.name}], isn't valid for the [{spec.name}] algorithm. Choose a valid objective metric type: "
            f"[{metric.direction}]."
        ]
    return []


def _hyperparameters(definition: Definition, automatic: bool) -> list[str]:
    try:
        space = definition.space() if definition.tuned else None
    except ValidationError as error:
        return list(error.problems)
    found = []
    if space is None:
        found.append(
            "No hyperparameter is tuned: give ParameterRanges, or Autotune for an algorithm with tunable ones."
        )
    if not automatic and definition.ranges.get("AutoParameters"):
        found.append("AutoParameters need Autotune: set Autotune.Mode to Enabled, or give ranges.")
    tuned, static = definition.tuned, definition.static
    found += [f"Hyperparameter [{n}] is both tuned and static." for n in tuned if n in static]
    if len(tuned) > MOST_TUNED:
        found.append(f"At most {MOST_TUNED} hyperparameters can be tuned, but got {len(tuned)}.")
    if len(tuned) + len(static) > MOST_HYPERPARAMETERS:
        found.append(f"At most {MOST_HYPERPARAMETERS} hyperparameters are allowed, but got {len(tuned) + len(static)}.")
    if definition.algorithm is None or space is None:
        return found
    ends: list[tuple[str, str]] = list(static.items())
    for name, parameter in space.ranges.items():
        if isinstance(parameter, Categorical):
            ends += [(name, str(value)) for value in parameter.values]
        else:
            ends += definition.to_wire({name: parameter.minValue}).items()
            ends += definition.to_wire({name: parameter.maxValue}).items()
    return found + _values(definition.algorithm, ends)


def _values(spec: AlgorithmSpec, values: list[tuple[str, str]]) -> list[str]:
    """Return what a built-in algorithm would refuse of values of its hyperparameters."""
    found = []
    for name, text in values:
        try:
            spec[name].from_wire(text)
        except KeyError:
            if name != TUNING_OBJECTIVE:
                found.append(f"The hyperparameter [{name}] isn't one of the [{spec.name}] algorithm.")
        except ValueError as error:
            found.append(f"A value of hyperparameter [{name}] isn't valid for the [{spec.name}] algorithm: {error}.")
    return found


def _strategy(config: dict[str, Any], definition: Definition) -> list[str]:
    strategy = config["Strategy"]
    found = []
    others = [kind for kind in ("ContinuousParameterRanges", "IntegerParameterRanges") if definition.ranges.get(kind)]
    if strategy == "Grid" and others:
        found.append(f"Grid search takes CategoricalParameterRanges only, but got {' and '.join(others)}.")
    if strategy == "Hyperband":
        if config.get("TrainingJobEarlyStoppingType", "Off") != "Off":
            found.append("TrainingJobEarlyStoppingType must be Off with Hyperband, which stops training jobs itself.")
        try:
            low, high = resources(config, definition)
            if low > high:
                found.append(f"Hyperband's MinResource {low} must not be above its MaxResource {high}.")
        except ValidationError as error:
            found += error.problems
    elif "StrategyConfig" in config:
        found.append(f"StrategyConfig.HyperbandStrategyConfig is for Hyperband only, but Strategy is {strategy}.")
    return found


def _limits(request: dict[str, Any]) -> list[str]:
    config = request["HyperParameterTuningJobConfig"]
    limits = config["ResourceLimits"]
    most, parallel = limits.get("MaxNumberOfTrainingJobs"), limits["MaxParallelTrainingJobs"]
    try:
        spaces = [d.space() for d in definitions(request) if d.tuned]
    except ValidationError:
        return []
    sizes = [space.size for space in spaces]
    size = None if None in sizes else sum(s for s in sizes if s is not None)
    found = []
    if most is not None and parallel > most:
        found.append(
            f"MaxParallelTrainingJobs must not be above MaxNumberOfTrainingJobs, but got {parallel} and {most}."
        )
    if most is not None and size is not None and most > size and config["Strategy"] != "Hyperband":
        found.append(
            f"There are not enough combinations of hyperparameter ranges: MaxNumberOfTrainingJobs is {most}, but the "
            f"ranges have {size}."
        )
    if config["Strategy"] == "Grid" and most is not None and size is not None and most != size:
        found.append(
            f"MaxNumberOfTrainingJobs of Grid search must be left out or be the number of combinations, {size}."
        )
    ends = {"MaxRuntimeInSeconds"} & limits.keys() or config.get("TuningJobCompletionCriteria")
    if most is None and size is None and not ends and "Autotune" not in request:
        found.append("MaxNumberOfTrainingJobs is required where nothing else ends the tuning job.")
    return found


def _training(request: dict[str, Any], definition: Definition, resolve: Callable[[str], Image]) -> list[str]:
    """Return what CreateTrainingJob would refuse of the definition's training jobs."""
    own, flexible = "ResourceConfig" in definition.request, "HyperParameterTuningResourceConfig" in definition.request
    if own == flexible:
        return ["Exactly one of ResourceConfig and HyperParameterTuningResourceConfig must be given."]
    job = definition.training_job(f"{request['HyperParameterTuningJobName']}-001-00000000", {}, [])
    return training_checks.problems(job, resolve)
