"""The training job definitions of a tuning job: what is searched, and the training job that a configuration makes.

A request has one ``TrainingJobDefinition``, whose objective and ranges are the tuning job's, or up to ten
``TrainingJobDefinitions``, each with a name, an objective and ranges of its own.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sagespark.algorithms.registry import algorithm_of
from sagespark.algorithms.spec import TUNING_OBJECTIVE, AlgorithmSpec, Tunable
from sagespark.bayesopt import Categorical, Continuous, Integer, Space
from sagespark.core.errors import ValidationError
from sagespark.local.tuning import resources

DEFAULT_AUTOTUNE_JOBS = 50
"""MaxNumberOfTrainingJobs that Autotune chooses."""
MOST_JOBS = 750
"""Training jobs of a tuning job where only something else ends it: AWS's default quota."""

_PASSED = (
    "AlgorithmSpecification",
    "RoleArn",
    "InputDataConfig",
    "OutputDataConfig",
    "StoppingCondition",
    "VpcConfig",
    "EnableNetworkIsolation",
    "EnableInterContainerTrafficEncryption",
    "EnableManagedSpotTraining",
    "Environment",
)

_INTEGER = re.compile(r"[+-]?[0-9]+")
_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")

Request = dict[str, Any]


@dataclass(frozen=True)
class Definition:
    """One training job definition.

    Parameters
    ----------
    name : str
        ``DefinitionName``, empty where it has none.
    request : dict
        ``HyperParameterTrainingJobDefinition``.
    metric : str
        The objective metric.
    direction : {'Minimize', 'Maximize'}
        Which of its values are better.
    ranges : dict
        ``ParameterRanges``, Autotune's among them.
    """

    name: str
    request: Request
    metric: str
    direction: str
    ranges: Request

    @property
    def sign(self) -> float:
        """-1 where larger is better."""
        return 1.0 if self.direction == "Minimize" else -1.0

    @property
    def static(self) -> dict[str, str]:
        """``StaticHyperParameters`` as the user gave them."""
        found = self.request.get("StaticHyperParameters", {})
        return {name: value for name, value in found.items() if name != TUNING_OBJECTIVE}

    @property
    def tuned(self) -> list[str]:
        """Names of the tuned hyperparameters."""
        return [r["Name"] for kind in _KINDS for r in self.ranges.get(kind, [])]

    @property
    def image(self) -> str:
        """Training image, empty where there is none."""
        return str(self.request["AlgorithmSpecification"].get("TrainingImage", ""))

    @property
    def algorithm(self) -> AlgorithmSpec | None:
        """The built-in algorithm, None for another image."""
        return algorithm_of(self.image)

    @property
    def attempts(self) -> int:
        """How often a training job is tried again after an internal error."""
        return int(self.request.get("RetryStrategy", {}).get("MaximumRetryAttempts", 0))

    def space(self) -> Space:
        """Return what is searched.

        Raises
        ------
        ValidationError
            With everything that is wrong in the ranges.
        """
        found: dict[str, Any] = {}
        problems: list[str] = []
        for kind, make in _KINDS.items():
            for row in self.ranges.get(kind, []):
                try:
                    if row["Name"] in found:
                        raise ValueError("occurs twice")
                    found[row["Name"]] = make(row)
                except ValidationError as error:
                    problems += [
                        f"The range of hyperparameter [{row['Name']}] is invalid: {p}." for p in error.problems
                    ]
                except ValueError as error:
                    problems.append(f"The range of hyperparameter [{row['Name']}] is invalid: {error}.")
        if problems:
            raise ValidationError(problems)
        return Space(found)

    def to_wire(self, config: Mapping[str, Any]) -> dict[str, str]:
        """Return a configuration as ``TunedHyperParameters``."""
        return {name: value if isinstance(value, str) else repr(value) for name, value in config.items()}

    def from_wire(self, space: Space, values: Mapping[str, str]) -> dict[str, Any] | None:
        """Return the configuration that hyperparameters stand for, None where it lies outside of the space."""
        try:
            config = {
                name: values[name]
                if isinstance(parameter, Categorical)
                else (integer if isinstance(parameter, Integer) else number)(values[name])
                for name, parameter in space.ranges.items()
            }
            return space.check(config)
        except (KeyError, ValueError):
            return None

    def training_job(self, name: str, tuned: Mapping[str, str], tags: list[dict[str, str]]) -> Request:
        """Return ``CreateTrainingJob`` of one configuration.

        ``RetryStrategy`` stays with the tuning job, which tries again itself; each job has a folder of checkpoints of
        its own.
        """
        job = {member: self.request[member] for member in _PASSED if member in self.request}
        if "CheckpointConfig" in self.request:
            uri = self.request["CheckpointConfig"]["S3Uri"].rstrip("/")
            job["CheckpointConfig"] = self.request["CheckpointConfig"] | {"S3Uri": f"{uri}/{name}"}
        return job | {
            "TrainingJobName": name,
            "HyperParameters": {TUNING_OBJECTIVE: self.metric} | self.static | dict(tuned),
            "ResourceConfig": resources.of_training_job(self.request),
            "Tags": tags,
        }


def definitions(request: Request) -> list[Definition]:
    """Return the definitions of a request or document, in order; ranges as Autotune completes them."""
    config = request["HyperParameterTuningJobConfig"]
    automatic = "Autotune" in request
    found = []
    if "TrainingJobDefinition" in request:
        objective, ranges = config.get("HyperParameterTuningJobObjective", {}), config.get("ParameterRanges", {})
        found.append(_definition(request["TrainingJobDefinition"], objective, ranges, automatic))
    for each in request.get("TrainingJobDefinitions", []):
        objective, ranges = each.get("TuningObjective", {}), each.get("HyperParameterRanges", {})
        found.append(_definition(each, objective, ranges, automatic))
    return found


def _definition(request: Request, objective: Request, ranges: Request, automatic: bool) -> Definition:
    found = Definition(
        request.get("DefinitionName", ""),
        request,
        objective.get("MetricName", ""),
        objective.get("Type", "Minimize"),
        ranges,
    )
    if not automatic:
        return found
    return Definition(found.name, request, found.metric, found.direction, _autotuned(found))


def max_jobs(request: Request) -> int:
    """Return the most training jobs that a tuning job launches."""
    limits = request["HyperParameterTuningJobConfig"]["ResourceLimits"]
    if "MaxNumberOfTrainingJobs" in limits:
        return int(limits["MaxNumberOfTrainingJobs"])
    sizes = [d.space().size for d in definitions(request)]
    if None not in sizes:
        return min(sum(size for size in sizes if size is not None), MOST_JOBS)
    return DEFAULT_AUTOTUNE_JOBS if "Autotune" in request else MOST_JOBS


def too_many(request: Request) -> list[str]:
    """Return in a sentence that Grid search has more combinations than a tuning job may have training jobs.

    The quota counts them whether they are told by ``MaxNumberOfTrainingJobs`` or inferred, and cannot be raised
    ("Resource Limits for Automatic Model Tuning"); a tuning job that left some out would not have searched the grid.
    """
    if request["HyperParameterTuningJobConfig"]["Strategy"] != "Grid":
        return []
    try:
        sizes = [d.space().size for d in definitions(request)]
    except ValidationError:
        return []
    size = sum(s for s in sizes if s is not None)
    if None in sizes or size <= MOST_JOBS:
        return []
    return [
        f"Grid search tries every combination of the ranges, but they have {size}, and a tuning job can have at most "
        f"{MOST_JOBS} training jobs: give fewer values, or take Random search."
    ]


def early_stopping(request: Request) -> bool:
    """Tell whether training jobs are stopped early by the median rule; Autotune says yes where nothing is said."""
    config = request["HyperParameterTuningJobConfig"]
    automatic = "Auto" if "Autotune" in request and config["Strategy"] != "Hyperband" else "Off"
    return bool(config.get("TrainingJobEarlyStoppingType", automatic) == "Auto")


# -- ranges -----------------------------------------------------------------------------------------------------------


def integer(text: str) -> int:
    """Return the integer that a text is, in decimal digits.

    Raises
    ------
    ValueError
        If it is anything else, also where Python would take it: spaces, underscores, other scripts' digits.
    """
    if _INTEGER.fullmatch(text) is None:
        raise ValueError(f"{text!r} is not an integer")
    return int(text)


def number(text: str) -> float:
    """Return the finite number that a text is, in decimal digits with or without an exponent.

    Raises
    ------
    ValueError
        If it is anything else.
    """
    value = float(text) if _NUMBER.fullmatch(text) else math.inf
    if not math.isfinite(value):
        raise ValueError(f"{text!r} is not a number")
    return value


_KINDS: dict[str, Any] = {
    "ContinuousParameterRanges": lambda r: Continuous(
        number(r["MinValue"]), number(r["MaxValue"]), r.get("ScalingType", "Auto")
    ),
    "IntegerParameterRanges": lambda r: Integer(
        integer(r["MinValue"]), integer(r["MaxValue"]), r.get("ScalingType", "Auto")
    ),
    "CategoricalParameterRanges": lambda r: Categorical(r["Values"]),
}


def _autotuned(definition: Definition) -> Request:
    """Return the ranges as Autotune completes them.

    A hyperparameter of ``AutoParameters`` takes the range that AWS's documentation recommends where the algorithm is
    built in, else one around its hint: a tenth to ten times it, both booleans, or the hint alone. Without any range all
    tunable hyperparameters of the algorithm are searched that are not static.
    """
    ranges = {kind: list(definition.ranges.get(kind, [])) for kind in _KINDS}
    spec = definition.algorithm
    rows = {} if spec is None else {h.wire: h.tunable for h in spec.hyperparameters if h.tunable is not None}
    hints = {p["Name"]: p["ValueHint"] for p in definition.ranges.get("AutoParameters", [])}
    if not hints and not any(ranges.values()):
        hints = {name: "" for name in rows if name not in definition.static}
    given = {r["Name"] for kind in _KINDS for r in ranges[kind]}
    for name, hint in hints.items():
        if name in given:
            continue
        kind, row = _tunable(name, rows[name]) if name in rows else _around(name, hint)
        ranges[kind].append(row)
    return {kind: found for kind, found in ranges.items() if found}


def _tunable(name: str, row: Tunable) -> tuple[str, Request]:
    if row.kind == "Categorical":
        return "CategoricalParameterRanges", {"Name": name, "Values": list(row.values)}
    assert row.low is not None  # rows of numbers have both bounds
    assert row.high is not None
    low, high = (row.low, row.high) if row.kind == "Continuous" else (int(row.low), int(row.high))
    found = {"Name": name, "MinValue": repr(low), "MaxValue": repr(high), "ScalingType": row.scaling}
    return f"{row.kind}ParameterRanges", found


def _around(name: str, hint: str) -> tuple[str, Request]:
    for word, other in (("true", "false"), ("True", "False")):
        if hint in (word, other):
            return "CategoricalParameterRanges", {"Name": name, "Values": [word, other]}
    for kind, parse in (("Integer", integer), ("Continuous", number)):
        try:
            value = parse(hint)
        except ValueError:
            continue
        low, high = sorted((value / 10, value * 10)) if value else (0, 1)
        bounds = (max(1, int(low)) if value > 0 else int(low), int(high)) if kind == "Integer" else (low, high)
        found = {"Name": name, "MinValue": str(bounds[0]), "MaxValue": str(bounds[1]), "ScalingType": "Auto"}
        return f"{kind}ParameterRanges", found
    return "CategoricalParameterRanges", {"Name": name, "Values": [hint]}
