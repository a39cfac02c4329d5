"""What tuning on the service will do, as a value: the one request, and what has to be staged for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from sagespark.algorithms.registry import algorithm_of
from sagespark.bayesopt import Categorical
from sagespark.core.errors import ValidationError
from sagespark.ml import tuning_ranges
from sagespark.ml.deferred import Deferred, find
from sagespark.ml.plan import Plan
from sagespark.ml.requests import Request, Scope, compact

if TYPE_CHECKING:
    from sagespark.data.shards import StagingReport
    from sagespark.ml.tuning import HyperparameterTuner

TAG_VALIDATION = "sagespark:validation"
"""Tag of a tuning job: how rows are held out, as `validation` writes it; no description of the service has it."""
DATASET = "validationDataset"
SERVICE_STRATEGIES = ("Bayesian", "Random", "Grid", "Hyperband")
_SPECIFICATION = ("TrainingImage", "AlgorithmName", "TrainingInputMode", "MetricDefinitions")
_PASSED = (
    "RoleArn",
    "InputDataConfig",
    "OutputDataConfig",
    "StoppingCondition",
    "VpcConfig",
    "EnableNetworkIsolation",
    "EnableInterContainerTrafficEncryption",
    "EnableManagedSpotTraining",
    "CheckpointConfig",
    "Environment",
)


@dataclass(frozen=True)
class Objective:
    """What is optimised."""

    metric: str
    """Name of the metric, or of the evaluator's."""
    direction: str
    """Minimize or Maximize."""

    @property
    def request(self) -> Request:
        """``HyperParameterTuningJobObjective``."""
        return {"Type": self.direction, "MetricName": self.metric}


@dataclass(frozen=True)
class Candidate:
    """One estimator that is tuned; several make one tuning job with several training job definitions.

    Parameters
    ----------
    name : str
        Name of the definition; empty where there is one estimator.
    estimator : TrainingEstimator
        The stage that trains.
    tuned : tuple of Tuned
    objective : Objective
    """

    name: str
    estimator: Any
    tuned: tuple[tuning_ranges.Tuned, ...]
    objective: Objective


@dataclass(frozen=True)
class TuningPlan:
    """Every request of a tuner's ``fit`` on the service, and what has to be staged for it.

    Parameters
    ----------
    stage : str
        Uid of the tuner.
    name : str
        Name of the tuning job.
    jobs : tuple of Plan
        The plan of each estimator's training jobs; their channels are staged once.
    tuningJob : dict
        ``CreateHyperParameterTuningJob``.
    """

    stage: str
    name: str
    jobs: tuple[Plan, ...]
    tuningJob: Request

    @property
    def requests(self) -> tuple[tuple[str, Request], ...]:
        """Operation and request, in the order in which they are sent; the best model's hosting comes after them."""
        return (("CreateHyperParameterTuningJob", self.tuningJob),)

    @property
    def deferred(self) -> tuple[Deferred, ...]:
        """What only the staging pass can know; empty once resolved."""
        return tuple(find([self.tuningJob]))

    def resolve(self, reports: Sequence[Mapping[str, StagingReport]]) -> TuningPlan:
        """Return the plan with exact requests.

        Parameters
        ----------
        reports : sequence of mapping
            What staging found, for each estimator by channel.

        Raises
        ------
        ValidationError
            If the channels contradict each other or the schema; nothing was created.
        """
        jobs = tuple(job.resolve(found) for job, found in zip(self.jobs, reports, strict=True))
        request = dict(self.tuningJob)
        if "TrainingJobDefinition" in request:
            request["TrainingJobDefinition"] = _filled(request["TrainingJobDefinition"], jobs[0])
        else:
            each = zip(request["TrainingJobDefinitions"], jobs, strict=True)
            request["TrainingJobDefinitions"] = [_filled(definition, job) for definition, job in each]
        return replace(self, jobs=jobs, tuningJob=request)


def _filled(definition: Request, job: Plan) -> Request:
    """Return a definition with what its plan has resolved."""
    kept = definition["StaticHyperParameters"]
    values = job.trainingJob.get("HyperParameters", {})
    passed = {k: job.trainingJob[k] for k in _PASSED if k in job.trainingJob and k in definition}
    return {**definition, **passed, "StaticHyperParameters": {k: v for k, v in values.items() if k in kept}}


def make(
    scope: Scope,
    stage: str,
    name: str,
    jobs: Sequence[Plan],
    candidates: Sequence[Candidate],
    warmStart: Request | None,
) -> TuningPlan:
    """Return the plan of tuning on the service; everything was checked before.

    Parameters
    ----------
    scope : Scope
        Session and the tuner's Params.
    stage, name : str
        Uid of the tuner, name of the tuning job.
    jobs : sequence of Plan
        A plan of one training job of each candidate.
    candidates : sequence of Candidate
    warmStart : dict or None
        ``WarmStartConfig``.
    """
    v = scope.values
    config = _config(v)
    definitions = [_definition(v, job, candidate) for job, candidate in zip(jobs, candidates, strict=True)]
    request: Request = {"HyperParameterTuningJobName": name}
    if not candidates[0].name:
        config["HyperParameterTuningJobObjective"] = candidates[0].objective.request
        config["ParameterRanges"] = _ranges(v, candidates[0])
        request["TrainingJobDefinition"] = definitions[0]
    else:
        request["TrainingJobDefinitions"] = [
            {
                "DefinitionName": candidate.name,
                "TuningObjective": candidate.objective.request,
                "HyperParameterRanges": _ranges(v, candidate),
                **definition,
            }
            for candidate, definition in zip(candidates, definitions, strict=True)
        ]
    request |= {
        "HyperParameterTuningJobConfig": compact(config),
        "WarmStartConfig": warmStart,
        "Autotune": {"Mode": "Enabled"} if v["autotune"] else None,
        "Tags": scope.tags,
    }
    return TuningPlan(stage, name, tuple(jobs), compact(request))


def _config(v: Mapping[str, Any]) -> Request:
    criteria = compact(
        {
            "TargetObjectiveMetricValue": v.get("targetObjectiveMetricValue"),
            "BestObjectiveNotImproving": compact({"MaxNumberOfTrainingJobsNotImproving": v.get("maxJobsNotImproving")}),
            "ConvergenceDetected": {"CompleteOnConvergence": "Enabled"} if v["completeOnConvergence"] else None,
        }
    )
    resources = compact({"MinResource": v.get("minResource"), "MaxResource": v.get("maxResource")})
    limits = {
        "MaxNumberOfTrainingJobs": v["maxJobs"],
        "MaxParallelTrainingJobs": v["maxParallelJobs"],
        "MaxRuntimeInSeconds": v.get("maxRuntimeInSeconds"),
    }
    return {
        "Strategy": v["strategy"],
        "StrategyConfig": {"HyperbandStrategyConfig": resources}
        if v["strategy"] == "Hyperband" and resources
        else None,
        "ResourceLimits": compact(limits),
        "TrainingJobEarlyStoppingType": v["earlyStoppingType"],
        "TuningJobCompletionCriteria": criteria,
        "RandomSeed": v.get("seed"),
    }


def _definition(v: Mapping[str, Any], job: Plan, candidate: Candidate) -> Request:
    """Return ``HyperParameterTrainingJobDefinition`` of a training job, without name, objective and ranges."""
    source = job.trainingJob
    tuned = {t.wire for t in candidate.tuned}
    attempts = v.get("maxRetryAttempts")
    found: Request = {
        "StaticHyperParameters": {k: x for k, x in source.get("HyperParameters", {}).items() if k not in tuned},
        "AlgorithmSpecification": {k: x for k, x in source["AlgorithmSpecification"].items() if k in _SPECIFICATION},
        **{k: source[k] for k in _PASSED if k in source},
        "RetryStrategy": {"MaximumRetryAttempts": attempts} if attempts else source.get("RetryStrategy"),
    }
    types = v.get("instanceTypes")
    resources = dict(source["ResourceConfig"])
    # AWS keeps the instances of a tuning job warm by itself and refuses the field.
    resources.pop("KeepAlivePeriodInSeconds", None)
    if types:
        count, size = resources.pop("InstanceCount"), resources.pop("VolumeSizeInGB")
        del resources["InstanceType"]
        each = [{"InstanceType": t, "InstanceCount": count, "VolumeSizeInGB": size} for t in types]
        found["HyperParameterTuningResourceConfig"] = {
            "AllocationStrategy": "Prioritized",
            "InstanceConfigs": each,
            **resources,
        }
    else:
        found["ResourceConfig"] = resources
    # The empty map stays: resolving a plan looks for what is static.
    return {"StaticHyperParameters": found.pop("StaticHyperParameters"), **compact(found)}


def _ranges(v: Mapping[str, Any], candidate: Candidate) -> Request:
    """Return ``ParameterRanges``; Grid's numeric ranges become lists of values, which is all that AWS's takes."""
    found: Request = {}
    for t in candidate.tuned:
        kind, entry = t.to_range()
        if v["strategy"] == "Grid" and not isinstance(t.range, Categorical | tuning_ranges.Hint):
            values = [t.to_wire(x) for x in t.range.levels(min(v["levels"], tuning_ranges.MOST_VALUES))]
            kind, entry = "CategoricalParameterRanges", {"Name": t.wire, "Values": values}
        found.setdefault(kind, []).append(entry)
    return found


def metrics(given: Any, names: Sequence[str] | None) -> tuple[dict[str, Any] | None, list[str]]:
    """Return the objective metric by the estimators' names, and what is wrong with it in words.

    Parameters
    ----------
    given : str, dict or None
        ``objectiveMetricName``.
    names : sequence of str or None
        The estimators' names; None: there is one, without a name.
    """
    if not isinstance(given, Mapping):
        return dict.fromkeys(names or [""], given), []
    if names is None:
        return None, [f"objectiveMetricName must be a string where one estimator is tuned, but got {given!r}"]
    if set(given) != set(names):
        text = f"must have the estimators' names {sorted(names)}, but got {sorted(given)}"
        return None, [f"objectiveMetricName {text}"]
    return dict(given), []


def objective(estimator: Any, metric: str, kind: str | None) -> tuple[Objective | None, list[str]]:
    """Return the objective of an estimator's training jobs, and what is wrong with it in words.

    Parameters
    ----------
    estimator : TrainingEstimator
    metric : str
        Its name.
    kind : str or None
        Minimize or Maximize; None: as the algorithm declares it.
    """
    spec = estimator._spec or algorithm_of(estimator._value("imageUri") or "")
    if spec is None:
        names = [d["Name"] for d in estimator._value("metricDefinitions") or ()]
        if metric not in names:
            return None, [
                f"objectiveMetricName: {estimator.uid} has no metric definition {metric!r}; it has "
                f"{', '.join(names) or 'none'}: set metricDefinitions=[{{'Name': {metric!r}, 'Regex': ...}}]"
            ]
        return Objective(metric, kind or "Maximize"), []
    row = next((m for m in spec.metrics if m.name == metric), None)
    if row is None:
        from difflib import get_close_matches

        names = [m.name for m in spec.metrics]
        near = get_close_matches(metric, names, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        return None, [f"objectiveMetricName: {spec.name} has no metric {metric!r}, but {', '.join(names)}{hint}"]
    if kind is not None and kind != row.direction:
        return None, [f"objectiveType: {metric} of {spec.name} is to {row.direction}, but got {kind!r}; leave it out"]
    return Objective(metric, row.direction), []


def validation(tuner: HyperparameterTuner) -> str:
    """Return in words how a tuner holds rows out, empty where nothing was said; `validation_params` reads it again."""
    if tuner.getValidationDataset() is not None:
        return DATASET
    if (column := tuner._value("validationIndicatorCol")) is not None:
        return f"validationIndicatorCol {column}"
    return f"trainRatio {tuner._value('trainRatio')!r}" if tuner.isSet(tuner.trainRatio) else ""


def validation_params(text: str) -> dict[str, Any]:
    """Return the Params that `validation` wrote down; a dataset is none of them."""
    name, _, value = text.partition(" ")
    if name == "trainRatio":
        return {name: float(value)}
    return {name: value} if name == "validationIndicatorCol" else {}


def grid_size(v: Mapping[str, Any], candidates: Sequence[Candidate]) -> int:
    """Return the number of combinations of a grid."""
    total = 0
    for candidate in candidates:
        size = 1
        for parameter in tuning_ranges.space(candidate.tuned).ranges.values():
            size *= len(parameter.levels(min(v["levels"], tuning_ranges.MOST_VALUES)))
        total += size
    return total


def refuse(problems: Sequence[str], where: str) -> None:
    """Raise where there are problems, all of them together."""
    if problems:
        raise ValidationError(list(dict.fromkeys(problems)), where)
