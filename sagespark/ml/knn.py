"""k-nearest neighbours on SageMaker. Users import the classes from ``classification`` and ``regression``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import ClassVar

import numpy as np
from pyspark.sql.types import StructType

from sagespark.algorithms.knn import CLASSES_METRIC, CLASSIFIER, REGRESSOR, contradictions
from sagespark.algorithms.spec import AlgorithmSpec
from sagespark.algorithms.supervised import PREDICTION, PROBABILITY, RAW_PREDICTION
from sagespark.aws.session import SageMakerSession
from sagespark.core.errors import CodecError, ValidationError
from sagespark.ml import act
from sagespark.ml.artifact import arrays
from sagespark.ml.decoding import Fields, regressed
from sagespark.ml.held_out import HasTestDataset
from sagespark.ml.hosting import HostingRecord
from sagespark.ml.hyperparameters import Inferred
from sagespark.ml.model import HostedModel
from sagespark.ml.plan import FrameChannel, Plan, Training
from sagespark.ml.stage_params import (
    KNNClassifierModelParams,
    KNNClassifierParams,
    KNNRegressorModelParams,
    KNNRegressorParams,
)
from sagespark.ml.supervised import (
    ClassifierEstimator,
    ClassifierModel,
    PredictorModel,
    RegressorEstimator,
    RegressorModel,
)


class _Neighbours(HasTestDataset):
    """What both estimators share."""

    _kind: ClassVar[str]
    """``predictor_type``."""

    def _inferred(self) -> dict[str, Inferred]:
        return {"sample_size": Inferred("rows")}

    def _completed(self, training: Training | None, problems: list[str]) -> tuple[Training | None, list[str]]:
        """Return the job with its ``predictor_type``, and what does not go together beside the other problems."""
        given = {h.wire: self._value(h.name) for h in self._spec.params if self.isSet(h.name)}
        frames = [c for c in training.channels if isinstance(c, FrameChannel)] if training is not None else []
        problems = [*problems, *contradictions(given, frames[0].layout.width if frames else None)]
        if training is None or problems:
            return None, problems
        return replace(training, hyperparameters={**training.hyperparameters, "predictor_type": self._kind}), []


class _NeighboursModel(PredictorModel):
    """What both models share."""

    _kind: ClassVar[str]

    def _take(self, record: HostingRecord) -> None:
        told = record.hyperparameters.get("predictor_type", self._kind)
        if told != self._kind:
            raise ValidationError(
                f"the training job {record.trainingJobName} has the predictor_type {told!r}, but {type(self).__name__} "
                f"is for {self._kind!r}",
                self.uid,
            )
        super()._take(record)


class KNNClassificationModel(KNNClassifierModelParams, _NeighboursModel, ClassifierModel):
    """A classifier by k-nearest neighbours on SageMaker, as MLlib's ``ProbabilisticClassificationModel``.

    ``transform`` adds ``rawPredictionCol`` (how many of the neighbours have each class), ``probabilityCol`` (their
    shares) and ``predictionCol``: the commonest class, the lowest where several are. It asks for SageMaker's verbose
    answers, which hold the labels of the neighbours.
    """

    __module__ = "sagespark.ml.classification"
    _spec: ClassVar[AlgorithmSpec] = CLASSIFIER
    _kind: ClassVar[str] = "classifier"
    _response: ClassVar[tuple[str, ...]] = ("predicted_label", "labels")

    @property
    def numClasses(self) -> int:
        """Number of classes: the largest label of the training rows plus 1.

        It comes from the rows where the model was fitted here, else from the job's metrics, which the embedded service
        reports, else from the artifact.

        Raises
        ------
        ValidationError
            If none of these tells: a model of AWS's that was not fitted here.
        """
        record = self._hosting()
        if CLASSES_METRIC not in record.metrics:
            record.metrics[CLASSES_METRIC] = _read_classes(record)
        return int(record.metrics[CLASSES_METRIC])

    def _decode(self) -> Callable[[Fields], Fields]:
        return partial(votes, self.numClasses)


class KNNClassifier(KNNClassifierParams, _Neighbours, ClassifierEstimator["KNNClassificationModel"]):
    """Classify by k-nearest neighbours on SageMaker.

    Params are ``featuresCol labelCol predictionCol rawPredictionCol probabilityCol thresholds seed``, then every
    hyperparameter of AWS's k-NN in camelCase; ``explainParams()`` lists them. ``k`` has no default; ``sampleSize`` is
    the number of training rows unless it is set. ``testIndicatorCol`` or ``testDataset=`` give the test channel, whose
    metric is ``test:accuracy``. ``seed`` draws the sample and starts K-means in the embedded service only: AWS's
    container has no such hyperparameter.

    Examples
    --------
    >>> from pyspark.ml.linalg import Vectors                                                    # doctest: +SKIP
    >>> df = spark.createDataFrame([(Vectors.dense([0.0]), 0.0), (Vectors.dense([9.0]), 1.0)], ["features", "label"])
    >>> with KNNClassifier(k=1).fit(df) as model:
    ...     model.transform(df).show()
    """

    __module__ = "sagespark.ml.classification"
    _spec: ClassVar[AlgorithmSpec] = CLASSIFIER
    _kind: ClassVar[str] = "classifier"
    _model_class: ClassVar[type[HostedModel]] = KNNClassificationModel

    def _training(self, session: SageMakerSession, schema: StructType) -> tuple[Training | None, list[str]]:
        return self._completed(*super()._training(session, schema))

    def _train(self, session: SageMakerSession, plan: Plan, reports: act.Reports) -> HostingRecord:
        record = super()._train(session, plan, reports)
        labels = reports["train"].labels
        assert labels is not None
        record.metrics[CLASSES_METRIC] = int(labels.max) + 1
        return record


class KNNRegressionModel(KNNRegressorModelParams, _NeighboursModel, RegressorModel):
    """A regressor by k-nearest neighbours on SageMaker, as MLlib's ``RegressionModel``.

    ``transform`` adds ``predictionCol``: the mean of the neighbours' labels.
    """

    __module__ = "sagespark.ml.regression"
    _spec: ClassVar[AlgorithmSpec] = REGRESSOR
    _kind: ClassVar[str] = "regressor"
    _response: ClassVar[tuple[str, ...]] = ("predicted_label",)

    def _decode(self) -> Callable[[Fields], Fields]:
        return partial(regressed, "predicted_label")


class KNNRegressor(KNNRegressorParams, _Neighbours, RegressorEstimator["KNNRegressionModel"]):
    """Predict numbers by k-nearest neighbours on SageMaker.

    Params are ``featuresCol labelCol predictionCol seed``, then every hyperparameter of AWS's k-NN in camelCase;
    ``explainParams()`` lists them. `KNNClassifier` tells of ``k``, ``sampleSize`` and ``seed``. The test channel's
    metric is ``test:mse``.

    Examples
    --------
    >>> from pyspark.ml.linalg import Vectors                                                    # doctest: +SKIP
    >>> df = spark.createDataFrame([(Vectors.dense([0.0]), 0.5), (Vectors.dense([9.0]), 7.5)], ["features", "label"])
    >>> with KNNRegressor(k=1).fit(df) as model:
    ...     model.transform(df).show()
    """

    __module__ = "sagespark.ml.regression"
    _spec: ClassVar[AlgorithmSpec] = REGRESSOR
    _kind: ClassVar[str] = "regressor"
    _model_class: ClassVar[type[HostedModel]] = KNNRegressionModel

    def _training(self, session: SageMakerSession, schema: StructType) -> tuple[Training | None, list[str]]:
        return self._completed(*super()._training(session, schema))


def votes(classes: int, fields: Fields) -> Fields:
    """Return the columns of a classifier from the labels of each row's neighbours, shape (n, k) or, of one, (n,)."""
    labels = fields["labels"].reshape(len(fields["predicted_label"]), -1).astype(np.intp)
    row = np.repeat(np.arange(len(labels)), labels.shape[1])
    counts = np.bincount(row * classes + labels.ravel(), minlength=len(labels) * classes)
    raw = counts.reshape(len(labels), classes).astype(np.float64)
    return {
        RAW_PREDICTION: raw,
        PROBABILITY: raw / labels.shape[1],
        PREDICTION: fields["predicted_label"].reshape(-1).astype(np.float64),
    }


def _read_classes(record: HostingRecord) -> int:
    """Return the number of classes of the labels that an artifact of the embedded service holds."""
    try:
        _, found = arrays(record, "numClasses")
        return int(found["labels"].max()) + 1
    except (CodecError, KeyError) as error:
        raise ValidationError(
            "neither the job's metrics nor the artifact tell the number of classes; fit the model here, or use "
            "SageMakerModel for its predicted_label alone",
            "numClasses",
        ) from error
