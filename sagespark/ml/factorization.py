"""SageMaker's factorization machines. Users import the classes from ``classification`` and ``regression``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pyspark.ml.linalg import DenseMatrix, DenseVector
from pyspark.sql import DataFrame

from sagespark.algorithms.factorization_machines import (
    BINARY,
    FM_CLASSIFIER,
    FM_REGRESSOR,
    PARAMS_FILE,
    REGRESSOR_TYPE,
    SYMBOL_FILE,
)
from sagespark.algorithms.fm_arrays import parameters
from sagespark.algorithms.spec import AlgorithmSpec
from sagespark.codecs import mxmodel
from sagespark.core.errors import CodecError, ValidationError
from sagespark.ml.artifact import member
from sagespark.ml.decoding import Fields, regressed
from sagespark.ml.evaluation import ClassificationSummary
from sagespark.ml.held_out import HasTestDataset
from sagespark.ml.hosting import HostingRecord
from sagespark.ml.hyperparameters import Inferred
from sagespark.ml.linear import classes_of, constant
from sagespark.ml.model import HostedModel
from sagespark.ml.stage_params import (
    FactorizationMachinesClassifierModelParams,
    FactorizationMachinesClassifierParams,
    FactorizationMachinesRegressorModelParams,
    FactorizationMachinesRegressorParams,
)
from sagespark.ml.supervised import (
    ClassifierEstimator,
    ClassifierModel,
    PredictorModel,
    RegressorEstimator,
    RegressorModel,
)

_SCORE, _LABEL = "score", "predicted_label"
_WEIGHTS = ("intercept", "linear", "factors")


class FactorizationMachinesModel(PredictorModel):
    """What the two models share."""

    @property
    def intercept(self) -> float:
        """The intercept. Reads the artifact once per process: GetObject.

        Raises
        ------
        ValidationError
            If only the model's endpoint is known.
        """
        return float(self._weights()["intercept"])

    @property
    def linear(self) -> DenseVector:
        """The linear weights, of length numFeatures. Reads the artifact."""
        return DenseVector(self._weights()["linear"].copy())

    @property
    def factors(self) -> DenseMatrix:
        """The factors, numFeatures x factorSize. Reads the artifact."""
        factors = self._weights()["factors"]
        rows, columns = factors.shape
        return DenseMatrix(rows, columns, factors.flatten(order="F"))

    @property
    def numFeatures(self) -> int:
        """Number of features that the model takes."""
        width = self._width()
        return len(self._weights()["factors"]) if width is None else width

    def _weights(self) -> dict[str, NDArray[np.float64]]:
        record = self._hosting()
        found: dict[str, NDArray[np.float64]] = record.cached("weights", lambda: _read(record))
        return found


class FactorizationMachinesClassificationModel(
    FactorizationMachinesClassifierModelParams, FactorizationMachinesModel, ClassifierModel
):
    """A classifier of SageMaker's factorization machines, as ``pyspark.ml.classification.FMClassificationModel``."""

    __module__ = "sagespark.ml.classification"
    _spec: ClassVar[AlgorithmSpec] = FM_CLASSIFIER
    _response: ClassVar[tuple[str, ...]] = (_SCORE, _LABEL)

    @property
    def numClasses(self) -> int:
        """Number of classes: 2."""
        return 2

    @property
    def hasSummary(self) -> bool:
        """Whether the model was fitted in this process and has a training summary."""
        return "training" in self._kept

    def summary(self) -> ClassificationSummary:
        """Return the quality on the training rows, by their predictions of now; lazy. A method, as MLlib's here.

        Raises
        ------
        RuntimeError
            If there is none: after ``load``, and for models that were not fitted here.
        """
        if not self.hasSummary:
            raise RuntimeError(f"No training summary available for this {type(self).__name__}")
        model, rows = self._kept["training"]
        found: ClassificationSummary = model.evaluate(rows)
        return found

    def _decode(self) -> Callable[[Fields], Fields]:
        return partial(classes_of, False)


class FactorizationMachinesRegressionModel(
    FactorizationMachinesRegressorModelParams, FactorizationMachinesModel, RegressorModel
):
    """A regressor of SageMaker's factorization machines, as ``pyspark.ml.regression.FMRegressionModel``."""

    __module__ = "sagespark.ml.regression"
    _spec: ClassVar[AlgorithmSpec] = FM_REGRESSOR
    _response: ClassVar[tuple[str, ...]] = (_SCORE,)

    def _decode(self) -> Callable[[Fields], Fields]:
        return partial(regressed, _SCORE)


class FactorizationMachinesClassifier(
    FactorizationMachinesClassifierParams, HasTestDataset, ClassifierEstimator[FactorizationMachinesClassificationModel]
):
    """SageMaker's factorization machines on two classes, as ``pyspark.ml.classification.FMClassifier``.

    Params are MLlib's ``factorSize maxIter stepSize initStd regParam``, then every hyperparameter of AWS's
    factorization machines in camelCase; ``explainParams()`` lists them. ``stepSize``, ``initStd`` and ``regParam``
    stand for the intercept's, the linear weights' and the factors' own, each of which can be set by itself. Defaults
    are AWS's, of one epoch with small steps. ``testIndicatorCol`` or ``testDataset=`` give the test channel. ``seed``
    reaches the embedded service only.
    """

    __module__ = "sagespark.ml.classification"
    _spec: ClassVar[AlgorithmSpec] = FM_CLASSIFIER
    _model_class: ClassVar[type[HostedModel]] = FactorizationMachinesClassificationModel

    def _classes(self) -> int | None:
        return 2

    def _inferred(self) -> Mapping[str, Inferred]:
        return {"predictor_type": Inferred("width", partial(constant, BINARY))}

    def _model(self, record: HostingRecord, dataset: DataFrame) -> FactorizationMachinesClassificationModel:
        model = super()._model(record, dataset)
        model._kept["training"] = (model.copy(), self._split(dataset)["train"])
        return model


class FactorizationMachinesRegressor(
    FactorizationMachinesRegressorParams, HasTestDataset, RegressorEstimator[FactorizationMachinesRegressionModel]
):
    """SageMaker's factorization machines on numbers, as ``pyspark.ml.regression.FMRegressor``.

    See `FactorizationMachinesClassifier`.
    """

    __module__ = "sagespark.ml.regression"
    _spec: ClassVar[AlgorithmSpec] = FM_REGRESSOR
    _model_class: ClassVar[type[HostedModel]] = FactorizationMachinesRegressionModel

    def _inferred(self) -> Mapping[str, Inferred]:
        return {"predictor_type": Inferred("width", partial(constant, REGRESSOR_TYPE))}


def _read(record: HostingRecord) -> dict[str, Any]:
    """Return the weights of an artifact by :data:`_WEIGHTS`, as float64."""
    if record.modelData is None:
        raise ValidationError("only the model's endpoint is known, not its artifact", "factors")
    body = member(record.session, record.modelData, "model_algo-")
    found, _, _ = mxmodel.load(body, symbol=SYMBOL_FILE, params=PARAMS_FILE)
    try:
        intercept, linear, factors = parameters(found)
    except CodecError as error:
        raise CodecError(f"{record.modelData}: {error}", contentType=mxmodel.FORMAT) from error
    return {name: np.asarray(v, np.float64) for name, v in zip(_WEIGHTS, (intercept, linear, factors), strict=True)}
