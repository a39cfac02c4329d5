"""Going on with a run that exists: a tuning job of the service, or a driver's run by its journal."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pyspark.sql import DataFrame

from sagespark.algorithms.registry import algorithm_of
from sagespark.aws.session import SageMakerSession
from sagespark.aws.tuning_job import TuningJob
from sagespark.core.errors import ResourceNotFoundError, ValidationError
from sagespark.ml import tuning_runs, tuning_service
from sagespark.ml.tuning_journal import FILE, journal
from sagespark.ml.tuning_plan import Candidate
from sagespark.ml.tuning_ranges import from_json, resolve
from sagespark.ml.tuning_wire import from_request

if TYPE_CHECKING:
    from sagespark.ml.tuning import HyperparameterTuner
    from sagespark.ml.tuning_model import HyperparameterTunerModel


@dataclass(frozen=True)
class Resume:
    """A run that exists."""

    name: str
    service: bool
    """Whether it is a tuning job of the service."""


def attach(tuner: HyperparameterTuner, name: str, estimator: Any) -> HyperparameterTuner:
    """Return the tuner with what a run's own description, or journal, says.

    Raises
    ------
    ResourceNotFoundError
        If there is neither a tuning job nor a driver's run of that name.
    ValidationError
        If an estimator is needed, or the one given is not what was tuned.
    """
    folder = "/" in name or (Path(name).expanduser() / FILE).exists()
    session = tuner.getSagemakerSession()
    missing: ResourceNotFoundError | None = None
    if not folder:
        session = tuner._resolved_session()
        try:
            description = TuningJob(session, name).describe()
        except ResourceNotFoundError as error:
            missing = error
        else:
            return _of_service(tuner, name, description, estimator)
    rows = journal(name if folder else None, session, name).read()
    if not rows:
        text = (
            f"there is no journal of a run in {name}" if folder else f"there is no tuning job and no run named {name!r}"
        )
        raise ResourceNotFoundError(f"{text}; check the name, the region and the account") from missing
    return _of_journal(tuner, name if folder else None, rows[0], estimator)


def _of_journal(
    tuner: HyperparameterTuner, folder: str | None, head: Mapping[str, Any], estimator: Any
) -> HyperparameterTuner:
    if estimator is None:
        raise ValidationError(
            f"run {head['name']!r} is a driver's, whose estimator is not kept: attach({head['name']!r}, estimator=...)",
            "attach",
        )
    ranges = from_json(head["ranges"])
    _, problems = resolve(estimator, ranges)
    if problems:
        raise ValidationError([f"the estimator is not what was tuned: {p}" for p in problems], "attach")
    tuner.setParams(**head["params"]).setEstimator(estimator).setRanges(ranges).setConfigs(head["configs"])
    if folder is not None:
        tuner._set(checkpointDir=folder)
    tuner._resume = Resume(head["name"], False)
    return tuner


def _of_service(
    tuner: HyperparameterTuner, name: str, description: Mapping[str, Any], estimator: Any
) -> HyperparameterTuner:
    config = description["HyperParameterTuningJobConfig"]
    several = description.get("TrainingJobDefinitions")
    estimators: dict[str, Any] = {}
    ranges: dict[str, Any] = {}
    for definition in several or [description["TrainingJobDefinition"]]:
        key = definition.get("DefinitionName", "") if several else ""
        given = estimator.get(key) if isinstance(estimator, Mapping) else estimator
        one = given if given is not None else _estimator_of(definition)
        found = from_request(definition.get("HyperParameterRanges") or config.get("ParameterRanges", {}), one)
        _, problems = resolve(one, found)
        if problems:
            raise ValidationError([f"the estimator is not what was tuned: {p}" for p in problems], "attach")
        estimators[key], ranges[key] = one, found
    goals = {d.get("DefinitionName", ""): d["TuningObjective"] for d in several or ()}
    goals = goals or {"": config["HyperParameterTuningJobObjective"]}
    metrics = {name: goal["MetricName"] for name, goal in goals.items()}
    same = len(set(metrics.values())) == 1
    limits = config["ResourceLimits"]
    tuner._set(
        strategy=config["Strategy"],
        objectiveMetricName=next(iter(metrics.values())) if same else metrics,
        # Those of several definitions have one type.
        objectiveType=next(iter(goals.values()))["Type"],
        maxJobs=limits.get("MaxNumberOfTrainingJobs"),
        maxParallelJobs=limits["MaxParallelTrainingJobs"],
        seed=config.get("RandomSeed"),
        earlyStoppingType=config.get("TrainingJobEarlyStoppingType"),
        autotune=True if "Autotune" in description else None,
        tuningJobName=name,
        runOn="service",
    )
    tuner.setEstimator(estimators if several else estimators[""]).setRanges(ranges if several else ranges[""])
    tuner._resume = Resume(name, True)
    return tuner


def _estimator_of(definition: Mapping[str, Any]) -> Any:
    """Return the estimator of a definition's built-in algorithm, with the hyperparameters that were static."""
    from sagespark.ml.estimator import AlgorithmEstimator
    from sagespark.ml.hyperparameters import param_values

    image = definition["AlgorithmSpecification"].get("TrainingImage", "")
    spec = algorithm_of(image)
    classes = [] if spec is None else [c for c in _classes(AlgorithmEstimator) if c.__dict__.get("_spec") is spec]
    if spec is None or len(classes) != 1:
        names = ", ".join(c.__name__ for c in classes) or "none of this package's"
        raise ValidationError(
            f"the tuning job trains {image!r}, whose estimator may be {names}: attach(name, estimator=...)", "attach"
        )
    made = classes[0]()
    made._set(**param_values(spec, definition.get("StaticHyperParameters", {})))
    return made


def _classes(base: type) -> list[type]:
    for name in ("anomaly", "classification", "clustering", "feature", "regression"):
        importlib.import_module(f"sagespark.ml.{name}")

    found: list[type] = []
    subclasses: list[type] = base.__subclasses__()
    for cls in subclasses:
        found += [cls, *_classes(cls)]
    return found


def wait(tuner: HyperparameterTuner, resume: Resume, dataset: DataFrame | None = None) -> HyperparameterTunerModel:
    """Wait for a tuning job of the service and return its model.

    Parameters
    ----------
    tuner : HyperparameterTuner
    resume : Resume
    dataset : DataFrame or None
        What the former ``fit`` got: needed where stages of a Pipeline around the tuned one have to be fitted again.

    Raises
    ------
    ValidationError
        If such stages are there and no DataFrame.
    JobFailedError
        If it ended without a best training job.
    """
    session: SageMakerSession = tuner._resolved_session()
    candidates, problems = tuner._candidates()
    tuner._refuse(problems, "attach")
    parts = []
    for candidate in candidates:
        stages = tuning_runs.stages_of(candidate.estimator, candidate.tuned)
        if dataset is None and (stages.before or stages.after):
            raise ValidationError(
                f"{stages.first.uid} has stages around it that must be fitted again; give fit the DataFrame of before",
                "attach",
            )
        if dataset is not None:
            parts.append(tuner._prepared(candidate, dataset))
        else:
            first = stages.first.copy()
            first._session = first._session or tuner._session
            ready = Candidate(candidate.name, first, candidate.tuned, candidate.objective)
            rows: Any = None
            parts.append(tuning_runs.Prepared(ready, stages, [], tuning_runs.Frames(rows)))
    job = TuningJob(session, resume.name)
    watch = tuning_service.TuningWatch(
        job, tuner._all_listeners(session), session.clock, stage=tuner.uid, candidates=[p.candidate for p in parts]
    )
    tuning_service.follow(job, watch)
    found: HyperparameterTunerModel = tuner._service_model(job, parts, None)
    return found
