"""Automatic model tuning as an MLlib Estimator: by SageMaker's tuning jobs, or by this driver over any estimator."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pyspark.ml import Estimator
from pyspark.sql import DataFrame
from pyspark.sql.types import StructType

from sagespark.aws.session import SageMakerSession
from sagespark.aws.tags import problems as tag_problems
from sagespark.core.errors import ValidationError
from sagespark.core.names import MAX_TUNING_JOB_NAME
from sagespark.ml import (
    placement,
    tuning_attach,
    tuning_checks,
    tuning_driver,
    tuning_plan,
    tuning_runs,
    tuning_service,
)
from sagespark.ml.estimator import TrainingEstimator
from sagespark.ml.plan import Plan
from sagespark.ml.requests import Scope
from sagespark.ml.tuning_arguments import TunerArguments, WarmStart
from sagespark.ml.tuning_model import HyperparameterTunerModel
from sagespark.ml.tuning_plan import Candidate, Objective, TuningPlan, grid_size, make, objective
from sagespark.ml.tuning_ranges import any_config, as_json, configured, hinted, resolve
from sagespark.ml.tuning_trials import Trial
from sagespark.ml.tuning_wire import completed

__all__ = ["HyperparameterTuner", "HyperparameterTunerModel", "Trial", "WarmStart"]


class HyperparameterTuner(TunerArguments, Estimator[HyperparameterTunerModel]):
    """Search the hyperparameters of an estimator.

    Two ways to run, one interface. On the service, one tuning job chooses and trains. On the driver, this process
    chooses: for strategies that the service lacks (Sobol, Manual), for an MLlib Evaluator as the objective, and for
    plain MLlib estimators, whose trials run on the Spark cluster. Data is staged once for all trials.

    Parameters
    ----------
    estimator : Estimator, or dict of str to Estimator
        What is tuned; a Pipeline may be around it. A dict makes a tuning job of several training job definitions:
        ``ranges``, and where they differ ``objectiveMetricName``, are dicts with the same names then.
    ranges : dict
        Ranges (`sagespark.bayesopt`: Continuous, Integer, Categorical) by Param, or by a name that exactly one stage
        has. With ``autotune``, an example value in a range's place lets the service choose the range.
    evaluator : Evaluator or None
        MLlib's, on the transformed validation rows, instead of ``objectiveMetricName``.
    validationDataset : DataFrame or None
        Held-out rows; else ``validationIndicatorCol``, else ``trainRatio``.
    warmStart : WarmStart or None
        Earlier tuning jobs to learn from.
    configs : list of dict
        Configurations of strategy Manual.
    sagemakerSession, listeners
        As for every stage.
    **params
        ``explainParams()`` lists them.

    Examples
    --------
    >>> km = KMeans(featuresCol="f")                                                            # doctest: +SKIP
    >>> tuner = HyperparameterTuner(estimator=km, ranges={km.k: Integer(2, 20)}, objectiveMetricName="test:msd",
    ...                             maxJobs=20, maxParallelJobs=4)                              # doctest: +SKIP
    >>> model = tuner.fit(df)                                                                   # doctest: +SKIP
    """

    _resume: tuning_attach.Resume | None = None

    # -- fit ----------------------------------------------------------------------------------------------------------

    def fit(self, dataset: Any = None, params: Any = None) -> Any:
        """Tune, and return the best model.

        Parameters
        ----------
        dataset : DataFrame or None
            The rows; None for a tuner that was attached to a tuning job of the service, which has them.
        params : dict, list of dict or None
            As in MLlib.

        Raises
        ------
        ValidationError
            If arguments, ranges, estimator, schema and session do not go together; nothing was created.
        JobFailedError
            If no trial had a result.
        """
        if dataset is None:
            if self._resume is None or not self._resume.service:
                raise ValidationError("fit needs a DataFrame", self.uid)
            return tuning_attach.wait(self, self._resume)
        return super().fit(dataset, params)

    def wait(self) -> HyperparameterTunerModel:
        """Wait for the tuning job that this tuner was attached to, and return the best model; `fit` without rows."""
        found: HyperparameterTunerModel = self.fit()
        return found

    def plan(self, schema: StructType | DataFrame) -> TuningPlan:
        """Return the request that ``fit`` on such a DataFrame will send to the service, and create nothing.

        Stages in front of the tuned one have to be fitted first, so an estimator with some has no plan.

        Parameters
        ----------
        schema : StructType or DataFrame
            What ``fit`` will get.

        Raises
        ------
        ValidationError
            If arguments, ranges, estimator, schema and session do not go together, or it will run on the driver; all
            problems are in it.
        """
        schema = schema if isinstance(schema, StructType) else schema.schema
        session = self._known_session()
        candidates, problems = self._candidates()
        problems += self._argument_problems(candidates, schema)
        if not problems and self._where(candidates) == "driver":
            problems.append(
                "it runs on the driver, which plans one trial at a time; estimator.plan shows a trial's job"
            )
        stages = [tuning_runs.stages_of(c.estimator, c.tuned) for c in candidates]
        problems += [
            f"{s.first.uid} has stages in front of it, which must be fitted before its rows are known"
            for s in stages
            if s.before
        ]
        if problems:
            self._refuse(problems, "plan")
        name = self._name(session)
        held = [None if self._held_back(c) is None else schema for c in candidates]
        return self._service_plan(session, name, candidates, [schema] * len(candidates), held)

    def _fit(self, dataset: DataFrame) -> HyperparameterTunerModel:
        if self._resume is not None and self._resume.service:
            return tuning_attach.wait(self, self._resume, dataset)
        self._refuse(tuning_attach.lacking(self), "fit")
        candidates, problems = self._candidates()
        problems += self._argument_problems(candidates, dataset.schema)
        self._refuse(problems, "fit")
        if self._where(candidates) == "driver":
            return tuning_driver.fit(self, candidates[0], dataset)
        return self._fit_on_service(candidates, dataset)

    def _fit_on_service(self, candidates: list[Candidate], dataset: DataFrame) -> HyperparameterTunerModel:
        session = self._resolved_session()
        self._refuse([*placement.problems(session, dataset.sparkSession), *session.problems()], "fit")
        parts = [self._prepared(c, dataset) for c in candidates]
        ready = [part.candidate for part in parts]
        schemas = [part.frames.train.schema for part in parts]
        plan = self._service_plan(session, self._name(session), ready, schemas, None)
        reports = tuning_service.stage(session, plan, [p.candidate.estimator._frames(p.frames.train) for p in parts])
        try:
            plan = plan.resolve(reports)
        except BaseException:
            tuning_service.discard(session, reports)
            raise
        job = tuning_service.run(
            session,
            plan,
            reports,
            listeners=self._all_listeners(session),
            candidates=ready,
            params=self._given(),
            keep=not all(c.estimator._value("deleteStagingData") for c in ready),
        )
        found: HyperparameterTunerModel = self._service_model(job, parts, plan)
        return found

    def _service_model(self, job: Any, parts: Sequence[tuning_runs.Prepared], plan: TuningPlan | None) -> Any:
        """Return the model of a tuning job that has ended."""
        candidates = [part.candidate for part in parts]
        if self._value("autotune"):
            candidates = completed(candidates, list(job.trials()))
        best = job.describe()["BestTrainingJob"]
        index = next((i for i, c in enumerate(candidates) if c.name == best.get("TrainingJobDefinitionName", "")), 0)
        part = parts[index]
        trials = tuning_service.trials(job, candidates, self.uid)
        chosen = next(t for t in trials if t.name == best["TrainingJobName"])
        tuned = [t for t in candidates[index].tuned if t.name in chosen.config]
        estimator = configured(part.candidate.estimator, tuned, chosen.config)
        host = None if plan is None else plan.jobs[index]
        inner = tuning_runs.model_of_job(estimator, job.session, chosen.name, part.frames.train, host)
        return self._made(
            tuning_runs.assemble(part.stages, part.before, inner, part.frames.train),
            trials=trials,
            # Of what Autotune chose for a definition without trials nothing is known.
            ranges={c.name: as_json(c.tuned) for c in candidates if c.tuned},
            objective=part.candidate.objective,
            jobName=job.name,
            service=True,
            strategy=self._value("strategy"),
            seed=self._value("seed") or 0,
        )

    def _made(self, bestModel: Any, **found: Any) -> HyperparameterTunerModel:
        model = HyperparameterTunerModel()
        model._fill(bestModel=bestModel, **found)
        model._resetUid(self.uid)
        model._session = self._session
        return model

    # -- what is tuned ------------------------------------------------------------------------------------------------

    def _candidates(self) -> tuple[list[Candidate], list[str]]:
        """Return the estimators with their ranges and objectives, and every problem in words."""
        estimator, ranges = self.getEstimator(), self.getRanges()
        if estimator is None:
            return [], ["estimator must be set to what is tuned"]
        several = isinstance(estimator, Mapping)
        each = dict(estimator) if several else {"": estimator}
        problems: list[str] = []
        if several and set(ranges) != set(each):
            problems.append(
                f"ranges must be a dict with the estimators' names {sorted(each)}, but got {sorted(map(str, ranges))}"
            )
        metrics, more = tuning_plan.metrics(self._value("objectiveMetricName"), list(each) if several else None)
        problems += more
        found = []
        for name, one in each.items():
            own = ranges.get(name, {}) if several else ranges
            tuned, more = resolve(one, hinted(own, self._value("autotune")))
            problems += more
            if not own and not self._value("autotune"):
                problems.append("ranges must hold at least one range")
            goal, more = (None, []) if metrics is None else self._objective(one, tuned, metrics[name])
            problems += more
            if goal is not None:
                found.append(Candidate(name, one, tuple(tuned), goal))
        if len({c.objective.direction for c in found}) > 1:
            each_way = ", ".join(f"{c.objective.metric} of {c.name!r} is to {c.objective.direction}" for c in found)
            problems.append(f"objectiveMetricName: objectives of one tuning job must be compared, but {each_way}")
        return found, problems

    def _objective(self, estimator: Any, tuned: Any, metric: str | None) -> tuple[Objective | None, list[str]]:
        kind, evaluator = self._value("objectiveType"), self.getEvaluator()
        if (metric is None) == (evaluator is None):
            return None, ["give exactly one of objectiveMetricName and evaluator"]
        if evaluator is not None:
            direction = "Maximize" if evaluator.isLargerBetter() else "Minimize"
            if kind is not None and kind != direction:
                return None, [
                    f"objectiveType: the evaluator's metric is to {direction}, but got {kind!r}; leave it out"
                ]
            name = evaluator.getMetricName() if hasattr(evaluator, "getMetricName") else type(evaluator).__name__
            return Objective(name, direction), []
        first = tuning_runs.stages_of(estimator, tuned).first
        if not isinstance(first, TrainingEstimator):
            return None, [
                f"objectiveMetricName is a metric of training jobs, and {first.uid} runs none; give an evaluator"
            ]
        return objective(first, metric or "", kind)

    def _where(self, candidates: Sequence[Candidate]) -> str:
        """Return where the trials are chosen."""
        if (given := self._value("runOn")) is not None:
            return str(given)
        return "driver" if tuning_checks.not_by_service(self, candidates) else "service"

    def _argument_problems(self, candidates: Sequence[Candidate], schema: StructType) -> list[str]:
        where = self._where(candidates) if candidates else ""
        return tuning_checks.problems(self, candidates, schema, where)

    def _held_back(self, candidate: Candidate) -> str | None:
        """Return the channel that held-out rows go to on the service, None where none are held out."""
        first = tuning_runs.stages_of(candidate.estimator, candidate.tuned).first
        given = self._value("validationIndicatorCol") is not None or self.getValidationDataset() is not None
        metric = candidate.objective.metric
        if not tuning_runs.needs_validation(first, metric, given or self.isSet(self.trainRatio)):
            return None
        return tuning_runs.channel_for(first, metric)

    def _prepared(
        self, candidate: Candidate, dataset: DataFrame, seed: int | None = None, *, scored: bool = False
    ) -> tuning_runs.Prepared:
        """Fit the stages in front of the tuned one, and give it the held-out rows.

        Parameters
        ----------
        candidate : Candidate
        dataset : DataFrame
        seed : int or None
            Of the split; None: the tuner's.
        scored : bool
            Whether an evaluator scores the held-out rows, which are no channel then.
        """
        stages = tuning_runs.stages_of(candidate.estimator, candidate.tuned)
        frames = tuning_runs.Frames(dataset)
        if scored or self._held_back(candidate) is not None:
            frames = self._split(dataset, seed)
        before, frames = tuning_runs.fit_before(stages, frames)
        held_out = None if scored else frames.validation
        first = tuning_runs.with_validation(stages.first, candidate.objective.metric, held_out)
        first._session = first._session or self._session
        ready = Candidate(candidate.name, first, candidate.tuned, candidate.objective)
        return tuning_runs.Prepared(ready, stages, before, frames)

    def _split(self, dataset: DataFrame, seed: int | None = None) -> tuning_runs.Frames:
        v = self._values()
        column, frame = v.get("validationIndicatorCol"), self.getValidationDataset()
        seed = int(v.get("seed") or 0) if seed is None else seed
        return tuning_runs.split(dataset, column, frame, v["trainRatio"], seed)

    def _service_plan(
        self,
        session: SageMakerSession,
        name: str,
        candidates: Sequence[Candidate],
        schemas: Sequence[StructType],
        held: Sequence[StructType | None] | None,
    ) -> TuningPlan:
        values = self._values()
        if values["autotune"]:
            # What is not set is Autotune's choice.
            values |= {p.name: None for p in (self.maxJobs, self.earlyStoppingType) if not self.isSet(p)}
        elif values["strategy"] == "Grid" and not self.isSet(self.maxJobs):
            values["maxJobs"] = grid_size(values, candidates)
            values["maxParallelJobs"] = min(values["maxParallelJobs"], values["maxJobs"])
        jobs: list[Plan] = []
        problems: list[str] = []
        for index, (candidate, schema) in enumerate(zip(candidates, schemas, strict=True)):
            # Whatever is required and tuned must have a value for the plan; the service chooses another.
            estimator = configured(candidate.estimator, candidate.tuned, any_config(candidate.tuned))
            if held is not None and (rows := held[index]) is not None:
                estimator = tuning_runs.with_schema(estimator, candidate.objective.metric, rows)
            try:
                jobs.append(estimator._plan(session, schema))
            except ValidationError as error:
                problems += error.problems
        self._refuse(problems, "fit")
        warm = self.getWarmStart()
        # Training jobs get the tuning job's tags, so that the estimators' have to be among them.
        own = [candidate.estimator._value("tags") or {} for candidate in candidates]
        values["tags"] = {k: v for tags in (*own, values["tags"]) for k, v in tags.items()}
        # Whoever goes on with it fits the stages around the tuned one on the same rows.
        held_out = {tuning_plan.TAG_VALIDATION: tuning_plan.validation(self)}
        if any(held_out.values()) and not tag_problems({**session.tags, **values["tags"], **held_out}):
            values["tags"] |= held_out
        scope = Scope(session, name, values)
        return make(scope, self.uid, name, jobs, candidates, None if warm is None else warm.request)

    def _name(self, session: SageMakerSession) -> str:
        return self._value("tuningJobName") or session.names.make(session.prefix, limit=MAX_TUNING_JOB_NAME)

    def transformSchema(self, schema: StructType) -> StructType:
        """Return the schema that the best model's ``transform`` will give, where the estimator tells."""
        estimator = self.getEstimator()
        if not hasattr(estimator, "transformSchema"):
            raise ValidationError(f"{type(estimator).__name__} does not tell its schema in Python", self.uid)
        found: StructType = estimator.transformSchema(schema)
        return found

    # -- attaching ----------------------------------------------------------------------------------------------------

    @classmethod
    def attach(
        cls,
        name: str,
        estimator: Any = None,
        sagemakerSession: SageMakerSession | None = None,
        evaluator: Any = None,
        validationDataset: DataFrame | None = None,
    ) -> HyperparameterTuner:
        """Return the tuner of a run that exists, whose ``fit`` goes on with it and loses no trial.

        Parameters
        ----------
        name : str
            A tuning job of the service; or a driver's run, by its name or by its ``checkpointDir``.
        estimator : Estimator or None
            What is tuned. None, on the service: the built-in algorithm's own estimator.
        sagemakerSession : SageMakerSession or None
            None: the active one.
        evaluator : Evaluator or None
            What scored the trials of a driver's run, which cannot be kept.
        validationDataset : DataFrame or None
            The held-out rows, where they were given as a DataFrame, which cannot be kept either.

        Raises
        ------
        ResourceNotFoundError
            If there is neither a tuning job nor a driver's run of that name.
        ValidationError
            If an estimator is needed, or the one given is not what was tuned.
        """
        tuner = cls(sagemakerSession=sagemakerSession, evaluator=evaluator, validationDataset=validationDataset)
        return tuning_attach.attach(tuner, name, estimator)
