"""Rows of the tuner's Params."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sagespark.algorithms.hyperparameter import Range
from sagespark.core.names import MAX_TUNING_JOB_NAME
from sagespark.ml import converters as to
from sagespark.ml.rows import JOB, ParamRow

STRATEGIES = ("Bayesian", "Random", "Grid", "Hyperband", "Sobol", "Manual")
"""Strategies; the last two are the driver's only."""
_WHOLE = Range(1)


@dataclass(frozen=True)
class TextByName:
    """A string that is not empty, or a dict of names to such strings."""

    name: str

    def __call__(self, value: Any) -> str | dict[str, str]:
        """Return the string, or a copy of the dict."""
        if not isinstance(value, Mapping):
            return to.Text(self.name, rule="a string, or a dict of names to strings")(value)
        if not value or not all(isinstance(key, str) for key in value):
            raise TypeError(f"{self.name} must be a string, or a dict of names to strings, but got {value!r}")
        return {key: to.Text(f"{self.name}[{key!r}]")(each) for key, each in value.items()}


def _whole(name: str, doc: str, default: int | None = None, rule: Range = _WHOLE) -> ParamRow:
    return ParamRow(name, doc, to.Number(name, rule, whole=True), "int", default, onModel="no")


def _number(name: str, doc: str, rule: Range, default: float | None = None) -> ParamRow:
    return ParamRow(name, doc, to.Number(name, rule), "float", default, onModel="no")


def _choice(name: str, doc: str, choices: tuple[str, ...], default: str | None = None) -> ParamRow:
    return ParamRow(name, doc, to.Choice(name, choices), "str", default, onModel="no")


def _boolean(name: str, doc: str) -> ParamRow:
    return ParamRow(name, doc, to.Boolean(name), "bool", False, onModel="no")


TUNING: tuple[ParamRow, ...] = (
    _choice("strategy", "How configurations are chosen.", STRATEGIES, "Bayesian"),
    _choice(
        "runOn",
        "'service': one CreateHyperParameterTuningJob; 'driver': this process chooses and runs the trials. Unset: the "
        "service, unless it lacks what is asked for (an evaluator, plain MLlib estimators, Sobol, Manual).",
        ("service", "driver"),
    ),
    ParamRow(
        "objectiveMetricName",
        "Metric of the training jobs that is the objective, such as 'validation:logloss'; excludes an evaluator. Where "
        "several estimators' metrics differ, a dict with the estimators' names.",
        TextByName("objectiveMetricName"),
        "str | dict[str, str]",
        onModel="no",
    ),
    _choice(
        "objectiveType",
        "Which values are better. Unset: as the built-in algorithm declares the metric; 'Maximize' for other images.",
        ("Minimize", "Maximize"),
    ),
    _whole("maxJobs", "Most trials (MaxNumberOfTrainingJobs). Grid runs all combinations where it is unset.", 20),
    _whole("maxParallelJobs", "Trials at a time (MaxParallelTrainingJobs).", 1),
    _whole(
        "maxRuntimeInSeconds",
        "Seconds after which tuning ends with what it has, at least 120; the estimator's own ends a training job.",
        rule=Range(120, 15768000),
    ),
    _choice(
        "earlyStoppingType", "'Auto' stops trials that do worse than the median did by then.", ("Off", "Auto"), "Off"
    ),
    ParamRow(
        "validationIndicatorCol",
        "Boolean column: true rows are for validation and not trained on.",
        to.Column("validationIndicatorCol"),
        "str",
        onModel="no",
    ),
    _number(
        "trainRatio",
        "Share of the rows to train on, where neither a validation dataset nor an indicator column is given.",
        Range(0, 1, low_open=True, high_open=True),
        0.75,
    ),
    _whole("seed", "Seed of the search and of the split.", rule=Range(0, 2**31 - 1)),
    _whole("minResource", "Hyperband: fewest epochs of a trial."),
    _whole("maxResource", "Hyperband: most epochs of a trial; unset: taken from the estimator's epochs."),
    _whole("levels", "Grid: values of each numeric range.", 10),
    _number("targetObjectiveMetricValue", "Objective at which tuning ends.", Range()),
    _whole("maxJobsNotImproving", "Trials in a row without an improvement of 1 % that end tuning.", rule=Range(3)),
    _boolean("completeOnConvergence", "End tuning once the search has converged."),
    _whole("maxRetryAttempts", "How often a trial is tried again after an internal error.", rule=Range(1, 30)),
    _boolean("autotune", "Let the service choose the ranges that are not given, and other settings."),
    ParamRow(
        "instanceTypes",
        "Instance types in order of preference, instead of the estimator's instanceType.",
        to.Strings("instanceTypes"),
        "list[str]",
        onModel="no",
    ),
    ParamRow(
        "tuningJobName",
        "Name of the tuning job; unset: a new one each time.",
        to.Text(
            "tuningJobName",
            rf"[a-zA-Z0-9](-*[a-zA-Z0-9]){{0,{MAX_TUNING_JOB_NAME - 1}}}",
            f"1 to {MAX_TUNING_JOB_NAME} letters, digits and inner hyphens",
        ),
        "str",
        onModel="no",
    ),
    ParamRow(
        "checkpointDir",
        "Folder, or S3 prefix, of the driver's journal of trials; unset: under the session's S3 prefix.",
        to.Text("checkpointDir"),
        "str",
        onModel="no",
    ),
    _boolean("collectSubModels", "Keep the models of all trials that run in this process; a job's is always there."),
    next(row for row in JOB if row.name == "tags"),
)
"""Params of HyperparameterTuner."""
