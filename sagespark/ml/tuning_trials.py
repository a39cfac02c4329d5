"""Trials of a tuner: what listeners hear of, what the model keeps, and the DataFrame that users look at."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.types import (
    BooleanType,
    DataType,
    DoubleType,
    IntegerType,
    LongType,
    StringType,
    StructField,
    StructType,
    TimestampType,
)

from sagespark.aws.training_job import MetricPoint, MetricsFollower
from sagespark.bayesopt import Categorical, Integer, Space
from sagespark.bayesopt.log import Event
from sagespark.core.errors import SageSparkError
from sagespark.ml.listeners import Listener

ENDED = ("Completed", "Failed", "Stopped")


@dataclass(frozen=True)
class Trial:
    """One trial as it stands.

    Parameters
    ----------
    id : int
        Number of the trial, from 0 in the order of launches.
    config : mapping
        Value of each tuned hyperparameter.
    status : {'InProgress', 'Stopping', 'Completed', 'Failed', 'Stopped'}
    value : float or None
        The objective; None while it runs, and where it has none.
    name : str
        The training job's name, empty where none runs.
    definition : str
        Name of the training job definition where there are several.
    failureReason, arn : str
        Of the training job, or of what failed in this process.
    startTime, endTime : datetime or None
        When it was launched, and when it ended.
    tuner, stage : str
        Name of the tuning run and uid of the tuner.
    metrics : mapping of str to float
        Last value of each metric of the training job.
    description : mapping
        The training job's description, for listeners; empty where there is none.
    history : mapping of str to tuple of MetricPoint
        Every value that the training job's log has of each metric so far, for listeners; empty where none was read.
    """

    id: int
    config: Mapping[str, Any]
    status: str = "InProgress"
    value: float | None = None
    name: str = ""
    definition: str = ""
    failureReason: str = ""
    arn: str = ""
    startTime: datetime | None = None
    endTime: datetime | None = None
    tuner: str = ""
    stage: str = ""
    metrics: Mapping[str, float] = field(default_factory=dict)
    description: Mapping[str, Any] = field(default_factory=dict, repr=False)
    history: Mapping[str, tuple[MetricPoint, ...]] = field(default_factory=dict, repr=False)

    @property
    def ended(self) -> bool:
        """Whether it runs no more."""
        return self.status in ENDED

    def to_json(self) -> dict[str, Any]:
        """Return what a saved model keeps."""
        kept = {k: getattr(self, k) for k in ("id", "status", "value", "name", "definition", "failureReason", "arn")}
        times = {k: t.isoformat() for k in ("startTime", "endTime") if (t := getattr(self, k)) is not None}
        return {**kept, **times, "config": dict(self.config), "metrics": dict(self.metrics)}

    @classmethod
    def from_json(cls, saved: Mapping[str, Any]) -> Trial:
        """Return the trial of a saved model."""
        times = {k: datetime.fromisoformat(saved[k]) for k in ("startTime", "endTime") if saved.get(k)}
        return cls(**{**saved, **times})


def best(trials: Sequence[Trial], direction: str) -> Trial | None:
    """Return the trial with the best objective, the earliest of equals; None where none has one."""
    sign = 1.0 if direction == "Minimize" else -1.0
    known = [t for t in trials if t.value is not None and t.ended and t.status != "Failed"]
    return min(known, key=lambda t: (sign * (t.value or 0.0), t.id), default=None)


def are_heard(listeners: Iterable[Listener]) -> bool:
    """Tell whether anybody listens to trials; only then are their descriptions and logs read."""
    return any(type(listener).onTrial is not Listener.onTrial for listener in listeners)


def history(follower: MetricsFollower, description: Mapping[str, Any]) -> dict[str, tuple[MetricPoint, ...]]:
    """Return what `Trial.history` holds; nothing, with a warning, where the log cannot be read."""
    try:
        return follower.read(description)
    except SageSparkError as error:
        text = f"a training job's log cannot be read, and its metrics have their last values only: {error}"
        warnings.warn(text, RuntimeWarning, stacklevel=2)
        return {}


def frame(spark: SparkSession, spaces: Sequence[Space], trials: Sequence[Trial]) -> DataFrame:
    """Return the trials as a DataFrame, a row each in the order of launches.

    Columns: ``trial status value``, one for each tuned hyperparameter, ``trainingJobName definition failureReason
    startTime endTime seconds``.
    """
    names: dict[str, DataType] = {}
    for space in spaces:
        for name, parameter in space.ranges.items():
            names.setdefault(name, _type(parameter))
    fields = [
        StructField("trial", IntegerType(), False),
        StructField("status", StringType(), False),
        StructField("value", DoubleType()),
        *(StructField(name, kind) for name, kind in names.items()),
        StructField("trainingJobName", StringType()),
        StructField("definition", StringType()),
        StructField("failureReason", StringType()),
        StructField("startTime", TimestampType()),
        StructField("endTime", TimestampType()),
        StructField("seconds", DoubleType()),
    ]
    rows = [
        (
            t.id,
            t.status,
            t.value,
            *(_plain(t.config.get(name), kind) for name, kind in names.items()),
            t.name or None,
            t.definition or None,
            t.failureReason or None,
            t.startTime,
            t.endTime,
            (t.endTime - t.startTime).total_seconds() if t.startTime and t.endTime else None,
        )
        for t in trials
    ]
    return spark.createDataFrame(rows, StructType(fields))


def _type(parameter: Any) -> DataType:
    if isinstance(parameter, Integer):
        return LongType()
    if not isinstance(parameter, Categorical):
        return DoubleType()
    kinds = {type(v) for v in parameter.values if v is not None}
    for kind, made in ((bool, BooleanType()), (int, LongType()), (float, DoubleType())):
        if kinds == {kind}:
            return made
    return StringType()


def _plain(value: Any, kind: DataType) -> Any:
    return value if value is None or not isinstance(kind, StringType) else str(value)


def as_events(trials: Sequence[Trial]) -> list[Event]:
    """Return the trials of one definition as a strategy's history, for models and pictures of what a service chose.

    Asks and tells are in the order of their times, so that the picture before a trial shows what was known then.
    """
    moments: list[tuple[float, int, Event]] = []
    for number, trial in enumerate(trials):
        start = trial.startTime.timestamp() if trial.startTime else 0.0
        ask = {"event": "ask", "trial": number, "config": dict(trial.config), "resource": None, "state": None}
        moments.append((start, number, ask))
        if trial.ended:
            end = max(start, trial.endTime.timestamp()) if trial.endTime else start
            failed = trial.value is None and trial.status != "Stopped"
            status = "Failed" if failed else trial.status
            tell = {"event": "tell", "trial": number, "value": trial.value, "status": status}
            # Behind every ask of the same moment: asks are numbered in order.
            moments.append((end, len(trials) + number, tell))
    ordered = sorted(moments, key=lambda m: (m[0], m[1]))
    asks = iter(sorted((e for _, _, e in ordered if e["event"] == "ask"), key=lambda e: e["trial"]))
    return [next(asks) if event["event"] == "ask" else event for _, _, event in ordered]
