"""What a tuner's fit gives: the best model, the trials, and pictures of the search."""

from __future__ import annotations

import importlib
import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Self

from pyspark.ml import Model
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.types import StructType

from sagespark.aws.session import SageMakerSession
from sagespark.bayesopt import Bayesian, Grid, Hyperband, Manual, Random, Sobol, Space, Strategy
from sagespark.bayesopt.log import Event
from sagespark.core.errors import Resource, ValidationError
from sagespark.ml import cleanup, tuning_ranges, tuning_trials
from sagespark.ml.readwrite import StageReader, StageWriter
from sagespark.ml.stage import Stage
from sagespark.ml.tuning_plan import Objective
from sagespark.ml.tuning_trials import Trial

if TYPE_CHECKING:
    from matplotlib.animation import FuncAnimation
    from matplotlib.figure import Figure

_STRATEGIES: dict[str, Any] = {c.__name__: c for c in (Bayesian, Random, Grid, Sobol, Hyperband, Manual)}


_KEPT = ("ranges", "jobName", "service", "strategy", "seed", "history", "options")
"""Members of a saved model's document that `HyperparameterTunerModel._fill` takes as they are."""


class Parts(Stage):
    """A stage with other stages inside, which are saved in folders beside its document."""

    def _parts(self) -> dict[str, Any]:
        """Return the stages inside by the names of their folders."""
        return {}

    def _take_part(self, name: str, part: Any) -> None:
        """Take a loaded stage back."""
        raise NotImplementedError

    def write(self) -> PartsWriter:
        """Return a writer: ``write().overwrite().save(path)``."""
        return PartsWriter(self)

    @classmethod
    def read(cls) -> PartsReader:
        """Return a reader: ``read().sagemakerSession(session).load(path)``."""
        return PartsReader(cls)


class PartsWriter(StageWriter):
    """Write a stage and those inside it."""

    def _write(self, path: str, mode: str) -> None:
        super()._write(path, mode)
        assert isinstance(self.instance, Parts)
        for name, part in self.instance._parts().items():
            writer = part.write()
            (writer.overwrite() if mode == "overwrite" else writer).save(f"{path.rstrip('/')}/{name}")


class PartsReader(StageReader):
    """Read a stage and those inside it."""

    def load(self, path: str) -> Any:
        """Return the stage that was saved to a path; see `StageReader.load`."""
        stage = super().load(path)
        for name in stage._saved_parts:
            stage._take_part(name, self._part(f"{path.rstrip('/')}/{name}"))
        return stage

    def _part(self, path: str) -> Any:
        row = self.sparkSession.read.text(f"{path}/metadata").first()
        assert row is not None
        name = str(json.loads(row[0])["class"]).replace("org.apache.spark", "pyspark")
        module, _, last = name.rpartition(".")
        reader = getattr(importlib.import_module(module), last).read()
        if self._sagemaker is not None and isinstance(reader, StageReader):
            reader = reader.sagemakerSession(self._sagemaker)
        return reader.load(path)


class HyperparameterTunerModel(Parts, Model):
    """The best model of a tuning run; transforms as that model does.

    Attributes
    ----------
    bestModel : Model
        The best trial's model: of the training job, or a PipelineModel around it.
    """

    __module__ = "sagespark.ml.tuning"
    bestModel: Any = None
    _saved_parts: ClassVar[tuple[str, ...]] = ("bestModel",)
    _jobName: str = ""
    _service: bool = False

    def _fill(
        self,
        *,
        bestModel: Any,
        trials: Sequence[Trial],
        ranges: Mapping[str, Sequence[Mapping[str, Any]]],
        objective: Objective,
        jobName: str,
        service: bool,
        strategy: str,
        seed: int,
        history: Sequence[Event] | None = None,
        options: Mapping[str, Any] | None = None,
        subModels: Sequence[Any] | None = None,
    ) -> Self:
        """Take what a run found.

        Parameters
        ----------
        bestModel : Model
        trials : sequence of Trial
        ranges : mapping
            The ranges of each definition, as `tuning_ranges.as_json` gives them; '' is the name of the only one.
        objective : Objective
        jobName : str
            Name of the tuning job or of the driver's run.
        service : bool
            Whether it is a tuning job of the service.
        strategy, seed
            What chose the trials.
        history : sequence of mapping or None
            The driver's event log; None: made of the trials.
        options : mapping or None
            Arguments of the driver's strategy beside space, direction and seed: its next trial depends on them.
        subModels : sequence of Model or None
            Of all trials, None where they were not collected.
        """
        self.bestModel = bestModel
        self._trials = tuple(trials)
        self._ranges = {name: [dict(r) for r in rows] for name, rows in ranges.items()}
        self._objective = objective
        self._jobName, self._service = jobName, service
        self._chosen, self._seed = strategy, seed
        self._history = None if history is None else [dict(e) for e in history]
        self._options = dict(options or {})
        self._sub = None if subModels is None else list(subModels)
        return self

    # -- what was found -----------------------------------------------------------------------------------------------

    @property
    def trials(self) -> DataFrame:
        """The trials, a row each in the order of launches; see `tuning_trials.frame` for the columns."""
        spaces = [Space(tuning_ranges.from_json(rows)) for rows in self._ranges.values()]
        return tuning_trials.frame(SparkSession.builder.getOrCreate(), spaces, self._trials)

    @property
    def bestTrial(self) -> Trial:
        """The trial whose model is ``bestModel``."""
        found = tuning_trials.best(self._trials, self._objective.direction)
        assert found is not None  # without one there would be no model
        return found

    @property
    def bestParams(self) -> dict[str, Any]:
        """Values of the tuned hyperparameters in the best trial."""
        return dict(self.bestTrial.config)

    @property
    def subModels(self) -> list[Any] | None:
        """Models of all trials by trial, None where one has none; None where they were not collected.

        Those of training jobs are made on demand and host nothing until they are asked to.
        """
        if self._sub is None and any(t.name for t in self._trials):
            from sagespark.ml.tuning_runs import models_of

            self._sub = models_of(self._trials, self._resolved_session(), self.bestModel)
        return self._sub

    def _held_models(self) -> list[Any]:
        """Return the models that are in memory."""
        return [self.bestModel, *(model for model in self._sub or () if model is not None)]

    @property
    def tuningJobName(self) -> str:
        """Name of the tuning job, or of the driver's run."""
        return self._jobName

    @property
    def objectiveMetricName(self) -> str:
        """The objective."""
        return self._objective.metric

    @property
    def objectiveType(self) -> str:
        """Minimize or Maximize."""
        return self._objective.direction

    @property
    def createdResources(self) -> tuple[Resource, ...]:
        """What this package created for the best model and is still there."""
        return tuple(r for model in cleanup.hosted_models(self.bestModel) for r in model.createdResources)

    def delete(self) -> None:
        """Delete what hosts the best model; training jobs, their artifacts and the tuning job stay."""
        cleanup.delete(self.bestModel)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.delete()

    # -- transform ----------------------------------------------------------------------------------------------------

    def _transform(self, dataset: DataFrame) -> DataFrame:
        if self.bestModel is None:
            raise ValidationError("HyperparameterTunerModel() alone is no model; fit a tuner, or load one", self.uid)
        found: DataFrame = self.bestModel.transform(dataset)
        return found

    def transformSchema(self, schema: StructType) -> StructType:
        """Return the schema that ``transform`` of the best model will give.

        Raises
        ------
        ValidationError
            If input columns are missing or of another type, or the best model cannot tell.
        """
        if not hasattr(self.bestModel, "transformSchema"):
            raise ValidationError(f"{type(self.bestModel).__name__} does not tell its schema in Python", self.uid)
        found: StructType = self.bestModel.transformSchema(schema)
        return found

    # -- pictures -----------------------------------------------------------------------------------------------------

    def strategy(self, definition: str | None = None) -> Strategy:
        """Return the search as a strategy of `sagespark.bayesopt`, for questions that nothing here answers.

        Parameters
        ----------
        definition : str or None
            Which training job definition, where there are several.

        Raises
        ------
        ValidationError
            If there are several and none, or another name, is given.
        """
        names = list(self._ranges)
        if definition is None and len(names) == 1:
            definition = names[0]
        if definition not in names:
            raise ValidationError(f"definition must be one of {', '.join(map(repr, names))}, but got {definition!r}")
        space = Space(tuning_ranges.from_json(self._ranges[definition]))
        direction = self._objective.direction
        if self._history is not None:
            kind = _STRATEGIES[self._chosen]
            made: Strategy = kind(space, direction, self._seed, history=self._history, **self._options)
            return made
        chosen = [t for t in self._trials if t.definition == definition]
        return Bayesian(space, direction, self._seed, history=tuning_trials.as_events(chosen))

    def plotSurrogate(
        self, param: Any = None, *, step: int | None = None, definition: str | None = None, **options: Any
    ) -> Figure:
        """Draw the surrogate along one hyperparameter, and the acquisition function with the next trial below it.

        Parameters
        ----------
        param : str, Param or None
            None: the most important one.
        step : int or None
            Number of a trial: the picture before it was chosen. None: now.
        definition : str or None
            Which training job definition, where there are several.
        **options
            Of `sagespark.bayesopt.plots.surrogate`: ``objective band figure``.

        Raises
        ------
        ValidationError
            If there is no such hyperparameter or trial, or fewer than three results.
        """
        from sagespark.bayesopt import plots

        strategy = self.strategy(definition)
        options = {"label": self._objective.metric, **options}
        return plots.surrogate(strategy, self._axis(strategy, param, definition), step=step, **options)

    def replaySurrogate(self, param: Any = None, *, definition: str | None = None, **options: Any) -> FuncAnimation:
        """Return the picture of `plotSurrogate` for every trial as an animation; ``to_jshtml()`` plays it."""
        from sagespark.bayesopt import plots

        strategy = self.strategy(definition)
        options = {"label": self._objective.metric, **options}
        return plots.animate(strategy, self._axis(strategy, param, definition), **options)

    def plotSlices(self, params: Sequence[str] | None = None, *, definition: str | None = None) -> Figure:
        """Draw the surrogate along each hyperparameter through the best trial."""
        from sagespark.bayesopt import plots

        return plots.slices(self.strategy(definition), params, label=self._objective.metric)

    def plotContour(self, first: Any, second: Any, *, definition: str | None = None) -> Figure:
        """Draw the surrogate over two hyperparameters, with its uncertainty beside it."""
        from sagespark.bayesopt import plots

        names = (_name(first), _name(second))
        return plots.contour(self.strategy(definition), *names, label=self._objective.metric)

    def plotHistory(self, *, definition: str | None = None) -> Figure:
        """Draw every trial's value, and the best so far."""
        from sagespark.bayesopt import plots

        return plots.history(self.strategy(definition), label=self._objective.metric)

    def plotParallel(self, *, definition: str | None = None) -> Figure:
        """Draw every trial as a line over the hyperparameters."""
        from sagespark.bayesopt import plots

        return plots.parallel(self.strategy(definition), label=self._objective.metric)

    def plotImportances(self, *, definition: str | None = None) -> Figure:
        """Draw `importances`."""
        from sagespark.bayesopt import plots

        return plots.importances(self.strategy(definition))

    def importances(self, *, definition: str | None = None) -> dict[str, float]:
        """Return each hyperparameter's share of the objective's variance, interactions included, the largest first."""
        from sagespark.bayesopt import insight

        found = insight.importances(self.strategy(definition))
        return {name: share.total for name, share in found.items()}

    def _axis(self, strategy: Strategy, param: Any, definition: str | None) -> str:
        if param is not None:
            return _name(param)
        names = strategy.space.names
        return names[0] if len(names) == 1 else next(iter(self.importances(definition=definition)))

    # -- copies and persistence ---------------------------------------------------------------------------------------

    def copy(self, extra: Any = None) -> Self:
        """Return a copy, with a copy of the best model: MLlib transforms copies."""
        that = super().copy(extra)
        that.bestModel = self.bestModel.copy(extra)
        return that

    def _parts(self) -> dict[str, Any]:
        return {"bestModel": self.bestModel}

    def _take_part(self, name: str, part: Any) -> None:
        self.bestModel = part

    def _saved(self) -> dict[str, Any]:
        return {
            "tuning": {
                "trials": [t.to_json() for t in self._trials],
                "ranges": self._ranges,
                "metric": self._objective.metric,
                "direction": self._objective.direction,
                "jobName": self._jobName,
                "service": self._service,
                "strategy": self._chosen,
                "seed": self._seed,
                "history": self._history,
                "options": self._options,
            }
        }

    def _restore(self, saved: dict[str, Any], session: SageMakerSession | None) -> None:
        super()._restore(saved, session)
        kept = saved["tuning"]
        self._fill(
            bestModel=None,
            trials=[Trial.from_json(t) for t in kept["trials"]],
            objective=Objective(kept["metric"], kept["direction"]),
            **{name: kept[name] for name in _KEPT},
        )


def _name(param: Any) -> str:
    return param if isinstance(param, str) else str(param.name)
