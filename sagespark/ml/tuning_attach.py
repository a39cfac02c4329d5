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
from sagespark.ml.tuning_plan import DATASET, TAG_VALIDATION, Candidate, validation_params
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
    evaluator: str = ""
    """How the evaluator was made that scored its trials; empty where none did."""
    validation: str = ""
    """How rows were held out; see `tuning_plan.validation`."""
    folder: str | None = None
    """Its ``checkpointDir``."""


def command(name: str, evaluator: str, dataset: bool) -> str:
    """Return the call that goes on with a run of the driver: what cannot be kept has to be given again.

    Parameters
    ----------
    name : str
        Its name, or its ``checkpointDir``.
    evaluator : str
        How its evaluator was made, empty where it has none.
    dataset : bool
        Whether it has a ``validationDataset``.
    """
    given = ["estimator=...", *([f"evaluator={evaluator}"] if evaluator else [])]
    given += ["validationDataset=..."] if dataset else []
    return f"HyperparameterTuner.attach({name!r}, {', '.join(given)})"


def made(evaluator: str | None, metric: str) -> str:
    """Return how an evaluator was made, by its class and metric; empty for None."""
    if evaluator is None:
        return ""
    return f"{evaluator}(...)" if metric == evaluator else f"{evaluator}(metricName={metric!r}, ...)"


def lacking(tuner: HyperparameterTuner) -> list[str]:
    """Return what a tuner that was attached to a run has to be given again, in words."""
    resume = tuner._resume
    if resume is None:
        return []
    evaluator = resume.evaluator if tuner.getEvaluator() is None else ""
    dataset = resume.validation == DATASET and tuner.getValidationDataset() is None
    if not evaluator and not dataset:
        return []
    call = command(resume.folder or resume.name, resume.evaluator, resume.validation == DATASET)
    what = " and ".join([*(["evaluator"] if evaluator else []), *(["validationDataset"] if dataset else [])])
    return [f"run {resume.name!r} had an argument that could not be kept, {what}: {call}"]


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
    resume = Resume(
        head["name"], False, made(head.get("evaluator"), head.get("metric", "")), head.get("validation", ""), folder
    )
    if estimator is None:
        call = command(folder or resume.name, resume.evaluator, resume.validation == DATASET)
        raise ValidationError(f"run {resume.name!r} is a driver's, whose estimator is not kept: {call}", "attach")
    ranges = from_json(head["ranges"])
    _, problems = resolve(estimator, ranges)
    if problems:
        raise ValidationError([f"the estimator is not what was tuned: {p}" for p in problems], "attach")
    tuner.setParams(**head["params"]).setEstimator(estimator).setRanges(ranges).setConfigs(head["configs"])
    if folder is not None:
        tuner._set(checkpointDir=folder)
    tuner._resume = resume
    return tuner


def _of_service(
    tuner: HyperparameterTuner, name: str, description: Mapping[str, Any], estimator: Any
) -> HyperparameterTuner:
    config = description["HyperParameterTuningJobConfig"]
    several = description.get("TrainingJobDefinitions")
    estimators: dict[str, Any] = {}
    ranges: dict[str, Any] = {}
    around = False
    for definition in several or [description["TrainingJobDefinition"]]:
        key = definition.get("DefinitionName", "") if several else ""
        given = estimator.get(key) if isinstance(estimator, Mapping) else estimator
        one = given if given is not None else _estimator_of(definition)
        found = from_request(definition.get("HyperParameterRanges") or config.get("ParameterRanges", {}), one)
        tuned, problems = resolve(one, found)
        if problems:
            raise ValidationError([f"the estimator is not what was tuned: {p}" for p in problems], "attach")
        around = around or _around(tuning_runs.stages_of(one, tuned))
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
    # Only stages around the tuned one are fitted again, on the split of before.
    held = TuningJob(tuner._resolved_session(), name).tags().get(TAG_VALIDATION, "") if around else ""
    tuner._set(**validation_params(held))
    tuner._resume = Resume(name, True, validation=held)
    return tuner


def _around(stages: tuning_runs.Stages) -> bool:
    """Tell whether stages around the tuned one have to be fitted again for the best model."""
    return bool(stages.before or stages.after)


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
        if _around(stages):
            tuner._refuse(lacking(tuner), "attach")
        if dataset is None and _around(stages):
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
