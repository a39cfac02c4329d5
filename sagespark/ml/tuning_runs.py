"""What both ways of tuning share: which stage is tuned, what is held out, and how the best model is put together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pyspark.ml import Estimator, Pipeline, PipelineModel
from pyspark.sql import DataFrame, functions
from pyspark.sql.types import BooleanType, StructType

from sagespark.aws.session import SageMakerSession
from sagespark.aws.training_job import TrainingJob
from sagespark.data.frame import quoted
from sagespark.ml import act
from sagespark.ml.estimator import AlgorithmEstimator, TrainingEstimator
from sagespark.ml.generic import SageMakerEstimator
from sagespark.ml.model import HostedModel
from sagespark.ml.tuning_plan import Candidate
from sagespark.ml.tuning_ranges import Tuned, nested
from sagespark.ml.tuning_trials import Trial

HELD_OUT = ("validation", "test")
"""Channels of rows that are evaluated and not trained on; metrics carry their names."""
_SPLIT = "sagespark_split"


@dataclass(frozen=True)
class Stages:
    """The stages of an estimator around the first one that is tuned.

    Parameters
    ----------
    before : tuple
        Stages in front of it, which every trial has alike: they are fitted once.
    first : Estimator
        The first stage that is tuned.
    after : tuple
        Stages behind it.
    alone : bool
        Whether nothing else is tuned.
    pipeline : bool
        Whether the estimator is a Pipeline: the best model is a PipelineModel then.
    """

    before: tuple[Any, ...]
    first: Any
    after: tuple[Any, ...]
    alone: bool
    pipeline: bool

    @property
    def trains(self) -> bool:
        """Whether a trial is a training job of SageMaker on data that can be staged once for all trials."""
        return self.alone and isinstance(self.first, TrainingEstimator)


def stages_of(estimator: Any, tuned: Sequence[Tuned]) -> Stages:
    """Return the stages of an estimator, Pipelines inside Pipelines opened."""
    flat = _flat(estimator)
    uids = {t.stage.uid for t in tuned}
    inside = [bool(uids & {s.uid for s in nested(stage)}) for stage in flat]
    at = (
        inside.index(True)
        if True in inside
        else max((i for i, s in enumerate(flat) if isinstance(s, Estimator)), default=0)
    )
    alone = uids <= {flat[at].uid}
    return Stages(tuple(flat[:at]), flat[at], tuple(flat[at + 1 :]), alone, isinstance(estimator, Pipeline))


def _flat(estimator: Any) -> list[Any]:
    if not isinstance(estimator, Pipeline):
        return [estimator]
    return [inner for stage in estimator.getStages() for inner in _flat(stage)]


@dataclass(frozen=True)
class Frames:
    """The rows of a run."""

    train: DataFrame
    validation: DataFrame | None = None


@dataclass(frozen=True)
class Prepared:
    """A candidate that is ready to be planned: its stage that trains, and the rows that it gets."""

    candidate: Candidate
    stages: Stages
    before: list[Any]
    """Models of the stages in front of it."""
    frames: Frames


class SchemaOnly:
    """Rows of which only the schema is known, for plans."""

    sparkSession = None

    def __init__(self, schema: StructType) -> None:
        self.schema = schema


def validation_problems(column: str | None, frame: DataFrame | None, schema: StructType) -> list[str]:
    """Return what is wrong with the tuner's validation arguments, in words."""
    found = []
    if column and frame is not None:
        found.append("validationIndicatorCol and validationDataset exclude each other; give one of them")
    if column and column not in schema.names:
        found.append(f"validationIndicatorCol: there is no column {column!r}")
    elif column and not isinstance(schema[column].dataType, BooleanType):
        kind = schema[column].dataType.simpleString()
        found.append(f"validationIndicatorCol: column {column!r} must be boolean, but is {kind}")
    return found


def split(dataset: DataFrame, column: str | None, frame: DataFrame | None, ratio: float, seed: int) -> Frames:
    """Return the rows to train on and those held out.

    Parameters
    ----------
    dataset : DataFrame
    column : str or None
        Boolean column, true for held-out rows; null is for training, so that no row is lost.
    frame : DataFrame or None
        Held-out rows of their own.
    ratio : float
        Share to train on, where neither is given.
    seed : int
        Of the random split.
    """
    if frame is not None:
        return Frames(dataset, frame)
    if column:
        held = functions.coalesce(functions.col(quoted(column)), functions.lit(False))
        return Frames(dataset.filter(~held), dataset.filter(held))
    drawn = dataset.withColumn(_SPLIT, functions.rand(seed))
    train, held_out = drawn.filter(drawn[_SPLIT] < ratio), drawn.filter(drawn[_SPLIT] >= ratio)
    return Frames(train.drop(_SPLIT), held_out.drop(_SPLIT))


def channel_for(estimator: Any, metric: str) -> str | None:
    """Return the channel that held-out rows go to, None where the estimator has none or has rows of its own."""
    if isinstance(estimator, AlgorithmEstimator):
        names = [c.name for c in estimator._spec.channels if not c.required]
        if estimator._held_out():
            return None
    elif isinstance(estimator, SageMakerEstimator):
        names = [name for name in HELD_OUT if name not in (estimator.getChannels() or {})]
    else:
        return None
    named = metric.partition(":")[0]
    return next((name for name in (named, *HELD_OUT) if name in names), None)


def needs_validation(estimator: Any, metric: str, given: bool) -> bool:
    """Tell whether rows are to be held out for the estimator's own metric."""
    channel = channel_for(estimator, metric)
    return channel is not None and (given or metric.partition(":")[0] == channel)


def with_validation(estimator: Any, metric: str, frame: DataFrame | None) -> Any:
    """Return a copy of an estimator whose held-out channel has these rows."""
    copied = estimator.copy()
    channel = channel_for(copied, metric)
    if frame is None or channel is None:
        return copied
    if isinstance(copied, SageMakerEstimator):
        copied._kept["channels"] = {**copied.getChannels(), channel: frame}
    else:
        copied._kept[f"{channel}Dataset"] = frame
    return copied


def with_schema(estimator: Any, metric: str, schema: StructType) -> Any:
    """Return a copy of an estimator whose held-out channel has rows of this schema."""
    rows: Any = SchemaOnly(schema)
    return with_validation(estimator, metric, rows)


def fit_before(stages: Stages, frames: Frames) -> tuple[list[Any], Frames]:
    """Fit the stages in front of the tuned one on the training rows; return their models and the rows behind them."""
    if not stages.before:
        return [], frames
    fitted = Pipeline(stages=list(stages.before)).fit(frames.train)
    held = frames.validation
    return list(fitted.stages), Frames(fitted.transform(frames.train), None if held is None else fitted.transform(held))


def assemble(stages: Stages, before: Sequence[Any], model: Any, train: DataFrame) -> Any:
    """Return the whole model: the fitted stages, the tuned one's model, and the stages behind it, fitted now."""
    if not stages.pipeline:
        return model
    rows, after, unapplied = train, [], [model]
    for stage in stages.after:
        if isinstance(stage, Estimator):
            for done in unapplied:
                rows = done.transform(rows)
            unapplied, stage = [], stage.fit(rows)
        after.append(stage)
        unapplied.append(stage)
    return PipelineModel([*before, model, *after])


def model_of_job(
    estimator: Any, session: SageMakerSession, name: str, dataset: DataFrame, host: Any = None
) -> HostedModel:
    """Return the model of a training job as its estimator would, hosted where ``host``, a plan, says so."""
    record = act.record(session, TrainingJob(session, name).describe())
    if host is not None:
        record = act.host(record, host)
    found: HostedModel = estimator._model(record, dataset)
    return found


def models_of(trials: Sequence[Trial], session: SageMakerSession, best: Any) -> list[Any]:
    """Return a model of each trial's training job, None where it left none; nothing is hosted.

    Parameters
    ----------
    trials : sequence of Trial
    session : SageMakerSession
    best : Model
        The best model: the others are of the same class, with the same Params.
    """
    inner = next(m for m in nested_models(best) if isinstance(m, HostedModel))
    found: list[Any] = []
    for trial in trials:
        if not trial.name or trial.status == "Failed":
            found.append(None)
            continue
        model = type(inner)()
        model._take(act.record(session, TrainingJob(session, trial.name).describe()))
        model._session = session
        found.append(inner._copyValues(model))
    return found


def nested_models(model: Any) -> list[Any]:
    """Return a model's stages, or the model alone."""
    return list(model.stages) if isinstance(model, PipelineModel) else [model]
