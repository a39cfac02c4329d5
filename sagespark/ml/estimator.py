"""Estimators that train on SageMaker.

What ``fit`` does is ``_fit`` below, five lines: plan, stage, resolve, act, model. An estimator says what its training
job is (:meth:`TrainingEstimator._training`) and which model comes of it (``_model_class``); all else is here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Generic, TypeVar

from pyspark.ml import Estimator
from pyspark.sql import DataFrame
from pyspark.sql.types import StructType

from sagespark.algorithms.registry import image_uri
from sagespark.algorithms.spec import AlgorithmSpec
from sagespark.aws.session import SageMakerSession
from sagespark.core.errors import ValidationError
from sagespark.core.settings import SEED_VARIABLE
from sagespark.ml import act, placement, plan
from sagespark.ml.candidates import in_model_selection
from sagespark.ml.columns import frame_layout, output_columns, with_outputs
from sagespark.ml.deferred import Source
from sagespark.ml.held_out import HeldOut
from sagespark.ml.hosting import HostingRecord
from sagespark.ml.hyperparameters import INFERRED, Inferred, wire_values
from sagespark.ml.model import HostedModel
from sagespark.ml.plan import FrameChannel, Plan, Training
from sagespark.ml.requests import Scope
from sagespark.ml.stage import Stage

M = TypeVar("M", bound=HostedModel)


class TrainingEstimator(Stage, Estimator[M], Generic[M]):
    """Train on SageMaker; base of all estimators."""

    _model_class: ClassVar[type[HostedModel]]

    def plan(self, schema: StructType | DataFrame) -> Plan:
        """Return every request that ``fit`` on such a DataFrame will send, and create nothing.

        Parameters
        ----------
        schema : StructType or DataFrame
            What ``fit`` will get.

        Returns
        -------
        Plan
            Complete but for ``deferred`` values, which only the rows can tell.

        Raises
        ------
        ValidationError
            If Params, schema and session do not go together; all problems are in it.
        """
        schema = schema if isinstance(schema, StructType) else schema.schema
        return self._plan(self._known_session(), schema)

    def _fit(self, dataset: DataFrame) -> M:
        session = self._resolved_session()
        plan = self._plan(session, dataset.schema, placement.problems(session, dataset.sparkSession))
        reports = act.stage_all(session, plan, self._frames(dataset))
        record = self._train(session, act.resolve(session, plan, reports), reports)
        return self._model(record, dataset)

    def _train(self, session: SageMakerSession, plan: Plan, reports: act.Reports) -> HostingRecord:
        """Run the training job, then host its model as the plan says."""
        record = act.train(
            session,
            plan,
            reports,
            listeners=self._all_listeners(session),
            attach=f"{self._model_class.__name__}.fromTrainingJob({plan.name!r}, wait=True)",
            params=self._given(),
            keep=not self._value("deleteStagingData"),
        )
        return act.host(record, plan)

    def _model(self, record: HostingRecord, dataset: DataFrame) -> M:
        """Return the model of a record, with this estimator's uid and Params, as MLlib's have them."""
        model: Any = self._model_class()
        model._take(record)
        model._resetUid(self.uid)
        model._session = self._session
        if in_model_selection():
            record.delete_when_dropped()
        return self._copyValues(model)  # type: ignore[no-any-return]  # pyspark's Params are not generic in their class

    def transformSchema(self, schema: StructType) -> StructType:
        """Return the schema that the model's ``transform`` will give.

        Raises
        ------
        ValidationError
            If input columns are missing or of another type, or an output column exists already.
        """
        _, problems = frame_layout(self, schema, self._spec, labels=self._labelled("train"))
        columns, more = output_columns(self, schema, self._outputs())
        self._refuse([*problems, *more], "transformSchema")
        return with_outputs(schema, columns)

    # -- what a kind of estimator says ------------------------------------------------------------------------------

    def _training(self, session: SageMakerSession, schema: StructType) -> tuple[Training | None, list[str]]:
        """Return the training job on such a DataFrame, or None, and every problem in words."""
        raise NotImplementedError

    def _frames(self, dataset: DataFrame) -> Mapping[str, DataFrame]:
        """Return the DataFrame of each channel that is staged."""
        raise NotImplementedError

    def _labelled(self, channel: str) -> bool:
        """Return whether the label column travels to a channel, where the algorithm has one."""
        return True

    def _outputs(self) -> Any:
        """Return the response fields that become columns."""
        return self._spec.outputs if self._spec is not None else ()

    def _plan(self, session: SageMakerSession, schema: StructType, more: Sequence[str] = ()) -> Plan:
        scope = Scope(session, "", self._values())
        training, problems = self._training(session, schema)
        self._refuse([*more, *plan.problems(scope), *problems], "fit")
        assert training is not None
        name = session.names.make(session.prefix, training.kind)
        scope = Scope(session, name, scope.values)
        return plan.make(scope, self.uid, name, training, hosted=scope.values["endpointPolicy"] == "createOnFit")


class AlgorithmEstimator(HeldOut, TrainingEstimator[M], Generic[M]):
    """Train a built-in algorithm; its spec row says what differs from the others."""

    _spec: ClassVar[AlgorithmSpec]

    def _training(self, session: SageMakerSession, schema: StructType) -> tuple[Training | None, list[str]]:
        spec, values = self._spec, self._values()
        layout, problems = frame_layout(self, schema, spec, labels=self._labelled("train"))
        _, more = output_columns(self, schema, spec.outputs)
        problems += more
        channels: list[FrameChannel] = []
        if layout is not None:
            channels.append(self._channel("train", layout, "ShardedByS3Key"))
        held_out, more = self._held_out_channels(schema)
        problems += more
        channels += held_out
        known: dict[Source, int | None] = {}
        if layout is not None:
            known = {"width": layout.width, "classes": layout.numClasses}
        hyperparameters, more = wire_values(spec, self._given(), known, {**INFERRED, **self._inferred()})
        problems += more
        image = ""
        try:
            image = image_uri(spec.name, session.region or "")
        except ValidationError as error:
            problems += error.problems
        if problems:
            return None, problems
        environment = dict(values["environment"])
        if values.get("seed") is not None and spec.seed is None:
            environment[SEED_VARIABLE] = str(values["seed"])
        return Training(spec.name, image, hyperparameters, tuple(channels), environment), []

    def _inferred(self) -> Mapping[str, Inferred]:
        """Return which hyperparameters are inferred beside ``feature_dim``, by wire string."""
        return {}

    def _frames(self, dataset: DataFrame) -> Mapping[str, DataFrame]:
        return self._split(dataset)
