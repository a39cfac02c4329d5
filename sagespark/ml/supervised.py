"""What classifiers and regressors share: MLlib's base classes, their columns, and predictions of one vector.

An algorithm says with its spec row which Params it has, and with two methods of its model what its answers mean::

    class XClassifier(XClassifierParams, HasValidationDataset, ClassifierEstimator["XClassificationModel"]): ...

    class XClassificationModel(XClassifierModelParams, ClassifierModel):
        _response = ("score",)                            # response fields to ask for
        numClasses                                        # a property
        def _decode(self): return of_probability_field    # response fields -> raw scores, probabilities (decoding.py)
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from functools import partial
from typing import Any, ClassVar, Generic, TypeVar

from pyspark.ml.classification import ProbabilisticClassificationModel, ProbabilisticClassifier
from pyspark.ml.linalg import DenseVector
from pyspark.ml.regression import RegressionModel, Regressor
from pyspark.sql import DataFrame
from pyspark.sql.types import StructType

from sagespark.algorithms.supervised import PREDICTION, PROBABILITY, RAW_PREDICTION
from sagespark.aws.session import SageMakerSession
from sagespark.data.batches import as_sent
from sagespark.data.frame import FrameLayout, LabelKind
from sagespark.data.invoke import InvokeSpec, OutputColumn, PostProcess, predict
from sagespark.ml.decoding import Fields, classified
from sagespark.ml.estimator import AlgorithmEstimator
from sagespark.ml.evaluation import BinaryClassificationSummary, ClassificationSummary, RegressionSummary
from sagespark.ml.model import HostedModel
from sagespark.ml.plan import FrameChannel, Training
from sagespark.ml.vectors import to_row

M = TypeVar("M", bound=HostedModel)


class ClassifierEstimator(AlgorithmEstimator[M], ProbabilisticClassifier, Generic[M]):
    """Train a built-in algorithm on classes 0, 1, ..., K - 1, as MLlib's ``ProbabilisticClassifier``."""

    _labelKind: ClassVar[LabelKind | None] = "class"

    def _training(self, session: SageMakerSession, schema: StructType) -> tuple[Training | None, list[str]]:
        training, problems = super()._training(session, schema)
        thresholds = self._value("thresholds")
        channels = [] if training is None else [c for c in training.channels if isinstance(c, FrameChannel)]
        classes = channels[0].layout.numClasses if channels else None
        if thresholds is not None and classes is not None and len(thresholds) != classes:
            problems = [*problems, f"thresholds must be one per class ({classes}), but got {len(thresholds)}"]
        return training, problems


class RegressorEstimator(AlgorithmEstimator[M], Regressor[M], Generic[M]):
    """Train a built-in algorithm on numbers, as MLlib's ``Regressor``."""


class PredictorModel(HostedModel):
    """A model that predicts a number per row."""

    _response: ClassVar[tuple[str, ...]]
    """Response fields that are asked for."""

    @property
    def numFeatures(self) -> int:
        """Number of features that the model takes; -1 where nothing tells."""
        width = self._width()
        return -1 if width is None else width

    def predict(self, value: Any) -> float:
        """Return the prediction for one vector. Calls InvokeEndpoint.

        Parameters
        ----------
        value : Vector, sequence of numbers or ndarray of shape (numFeatures,)

        Raises
        ------
        DataError
            If it has another width, or a value that cannot be a feature.
        InvocationError
            If the endpoint refused it.
        """
        return float(self._answer(value)[PREDICTION][0])

    def _answer(self, value: Any) -> Fields:
        """Return the columns of one vector, shape (1,) or (1, m) each."""
        spec = self._driver_invocation(self._response)
        return predict(spec, as_sent(to_row(value, width=spec.width, missing=spec.layout.missing), spec.layout))

    def _driver_layout(self) -> FrameLayout:
        """Return the layout of a vector that is at hand in this process."""
        assert self._spec is not None
        return FrameLayout(
            "vector", ("value",), missing=self._spec.missing, vectorFormat=self._value("vectorFormat") or "auto"
        )

    def _driver_invocation(self, fields: tuple[str, ...]) -> InvokeSpec:
        return self._invocation(self._driver_layout(), ())

    def _fields(self, columns: tuple[OutputColumn, ...]) -> tuple[str, ...]:
        return self._response

    @abstractmethod
    def _decode(self) -> Callable[[Fields], Fields]:
        """Return the module-level function, or a partial of one, from the response's fields to the columns' values."""

    def _postprocess(self) -> PostProcess | None:
        return self._decode()


class RegressorModel(PredictorModel, RegressionModel[Any]):
    """A regressor on SageMaker."""

    def evaluate(self, dataset: DataFrame) -> RegressionSummary:
        """Return the quality of the predictions on a DataFrame with labels. Lazy: the figures make Spark run.

        Parameters
        ----------
        dataset : DataFrame
        """
        return RegressionSummary(
            self.transform(dataset),
            self._value("predictionCol"),
            self._value("labelCol"),
            self._value("featuresCol"),
            self._value("weightCol"),
            self.numFeatures,
        )


class ClassifierModel(PredictorModel, ProbabilisticClassificationModel):
    """A classifier on SageMaker."""

    @property
    @abstractmethod
    def numClasses(self) -> int:
        """Number of classes."""

    def predictRaw(self, value: Any) -> DenseVector:
        """Return the raw score of each class for one vector, as `predict`; of length numClasses."""
        return DenseVector(self._answer(value)[RAW_PREDICTION][0])

    def predictProbability(self, value: Any) -> DenseVector:
        """Return the probability of each class for one vector, as `predict`; of length numClasses."""
        return DenseVector(self._answer(value)[PROBABILITY][0])

    def evaluate(self, dataset: DataFrame) -> ClassificationSummary:
        """Return the quality of the predictions on a DataFrame with labels. Lazy: the figures make Spark run.

        Parameters
        ----------
        dataset : DataFrame

        Returns
        -------
        ClassificationSummary
            A BinaryClassificationSummary where there are two classes.
        """
        kind = BinaryClassificationSummary if self.numClasses == 2 else ClassificationSummary
        return kind(
            self.transform(dataset),
            self._value("predictionCol"),
            self._value("labelCol"),
            self._value("probabilityCol"),
            self._value("weightCol"),
            self.numClasses,
        )

    def _columns(self, schema: StructType, where: str, more: tuple[str, ...] = ()) -> tuple[FrameLayout, Any]:
        thresholds = self._value("thresholds")
        if thresholds is not None and self._record is not None and len(thresholds) != self.numClasses:
            text = f"thresholds must be one per class ({self.numClasses}), but got {len(thresholds)}"
            more = (*more, text)
        return super()._columns(schema, where, more)

    def _postprocess(self) -> PostProcess | None:
        return partial(classified, self._decode(), self._value("thresholds"))
