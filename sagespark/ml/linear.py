"""SageMaker's linear learner. Users import its classes from ``classification`` and ``regression``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pyspark.ml.linalg import DenseMatrix, DenseVector
from pyspark.sql import DataFrame
from pyspark.sql.types import StructType

from sagespark.algorithms.linear_learner import (
    BINARY,
    BINARY_LOSSES,
    LINEAR_CLASSIFIER,
    LINEAR_REGRESSOR,
    MORE_FILE,
    MULTICLASS,
    MULTICLASS_LOSSES,
    PARAMS_FILE,
    REGRESSOR_TYPE,
    SYMBOL_FILE,
)
from sagespark.algorithms.spec import AlgorithmSpec
from sagespark.algorithms.supervised import PREDICTION
from sagespark.aws.session import SageMakerSession
from sagespark.codecs import mxmodel
from sagespark.core.errors import CodecError, ValidationError
from sagespark.data.frame import FrameLayout
from sagespark.data.invoke import PostProcess
from sagespark.ml.artifact import member
from sagespark.ml.decoding import Fields, classified, of_margin, of_probabilities, of_probability, regressed
from sagespark.ml.evaluation import ClassificationSummary, RegressionSummary
from sagespark.ml.held_out import HasTestDataset, HasValidationDataset
from sagespark.ml.hosting import HostingRecord
from sagespark.ml.hyperparameters import Inferred
from sagespark.ml.model import HostedModel
from sagespark.ml.plan import Training
from sagespark.ml.stage import Stage
from sagespark.ml.stage_params import (
    LinearLearnerClassifierModelParams,
    LinearLearnerClassifierParams,
    LinearLearnerRegressorModelParams,
    LinearLearnerRegressorParams,
)
from sagespark.ml.supervised import (
    ClassifierEstimator,
    ClassifierModel,
    PredictorModel,
    RegressorEstimator,
    RegressorModel,
)

_SCORE, _LABEL = "score", "predicted_label"


class LinearModel(PredictorModel):
    """What the two models share. Weights are for rows as they are, whatever was scaled in training."""

    @property
    def coefficients(self) -> DenseVector:
        """The weights, of length numFeatures. Reads the artifact once per process: GetObject.

        Raises
        ------
        ValidationError
            If there are several classes (`coefficientMatrix`), or only the model's endpoint is known.
        """
        return DenseVector(self._only("coefficients", "coefficientMatrix")["weights"][0].copy())

    @property
    def intercept(self) -> float:
        """The intercept. Reads the artifact.

        Raises
        ------
        ValidationError
            If there are several classes (`interceptVector`), or only the model's endpoint is known.
        """
        return float(self._only("intercept", "interceptVector")["bias"][0])

    @property
    def coefficientMatrix(self) -> DenseMatrix:
        """The weights, a row per class; one row for two classes. Reads the artifact."""
        weights = self._weights()["weights"]
        rows, columns = weights.shape
        return DenseMatrix(rows, columns, weights.flatten(order="F"))

    @property
    def interceptVector(self) -> DenseVector:
        """The intercepts, one per class; one for two classes. Reads the artifact."""
        return DenseVector(self._weights()["bias"].copy())

    @property
    def numFeatures(self) -> int:
        """Number of features that the model takes."""
        width = self._width()
        return int(self._weights()["weights"].shape[1]) if width is None else width

    @property
    def hasSummary(self) -> bool:
        """Whether the model was fitted in this process and has a training summary."""
        return "training" in self._kept

    def _training_rows(self) -> tuple[Any, DataFrame]:
        if not self.hasSummary:
            raise RuntimeError(f"No training summary available for this {type(self).__name__}")
        model, rows = self._kept["training"]
        return model, rows

    def _only(self, asked: str, other: str) -> dict[str, NDArray[np.float64]]:
        found = self._weights()
        if len(found["bias"]) > 1:
            raise ValidationError(
                f"the model has {len(found['bias'])} classes, each with its own {asked}; use {other}", asked
            )
        return found

    def _weights(self) -> dict[str, Any]:
        record = self._hosting()
        found: dict[str, Any] = record.cached("weights", lambda: _read(record))
        return found


class LinearLearnerClassificationModel(LinearLearnerClassifierModelParams, LinearModel, ClassifierModel):
    """A classifier of SageMaker's linear learner, as ``pyspark.ml.classification.LogisticRegressionModel``.

    ``transform`` adds ``rawPredictionCol``, ``probabilityCol`` (Vectors of length numClasses) and ``predictionCol``
    (double). Of two classes the prediction is SageMaker's own ``predicted_label``, by the threshold that the training
    job set for ``binaryClassifierModelSelectionCriteria``, unless ``threshold`` or ``thresholds`` is set. With
    'hinge_loss' SageMaker answers margins z: raw scores are (-z, z), and the probabilities 1 / (1 + exp(-raw)), which
    order rows and are not calibrated.
    """

    __module__ = "sagespark.ml.classification"
    _spec: ClassVar[AlgorithmSpec] = LINEAR_CLASSIFIER
    _response: ClassVar[tuple[str, ...]] = (_SCORE, _LABEL)

    @property
    def numClasses(self) -> int:
        """Number of classes."""
        given = self._hosting().hyperparameters
        if "predictor_type" in given:
            return int(given["num_classes"]) if given["predictor_type"] == MULTICLASS else 2
        return max(2, len(self._weights()["bias"]))

    @property
    def summary(self) -> ClassificationSummary:
        """Quality on the training rows, by their predictions of now; lazy.

        Raises
        ------
        RuntimeError
            If there is none: after ``load``, and for models that were not fitted here.
        """
        model, rows = self._training_rows()
        found: ClassificationSummary = model.evaluate(rows)
        return found

    def _loss(self) -> str:
        record = self._hosting()
        given = record.hyperparameters
        if given or record.modelData is None:
            return str(given.get("loss", "auto"))
        return str(self._weights()["loss"])

    def _decode(self) -> Callable[[Fields], Fields]:
        return partial(classes_of, self._loss() == "hinge_loss")

    def _columns(self, schema: StructType, where: str, more: tuple[str, ...] = ()) -> tuple[FrameLayout, Any]:
        return super()._columns(schema, where, (*more, *_threshold_problems(self, self._known_classes())))

    def _known_classes(self) -> int | None:
        return None if self._record is None or self._value("threshold") is None else self.numClasses

    def _postprocess(self) -> PostProcess | None:
        threshold = self._value("threshold")
        if threshold is None:
            return super()._postprocess()
        return partial(classified, self._decode(), [1 - threshold, threshold])


class LinearLearnerRegressionModel(LinearLearnerRegressorModelParams, LinearModel, RegressorModel):
    """A regressor of SageMaker's linear learner, as ``pyspark.ml.regression.LinearRegressionModel``."""

    __module__ = "sagespark.ml.regression"
    _spec: ClassVar[AlgorithmSpec] = LINEAR_REGRESSOR
    _response: ClassVar[tuple[str, ...]] = (_SCORE,)

    @property
    def scale(self) -> float:
        """MLlib's name of what its huber loss estimates: 1, since ``huberDelta`` is given and nothing estimated."""
        return 1.0

    @property
    def summary(self) -> RegressionSummary:
        """Quality on the training rows, by their predictions of now; lazy.

        Raises
        ------
        RuntimeError
            If there is none: after ``load``, and for models that were not fitted here.
        """
        model, rows = self._training_rows()
        found: RegressionSummary = model.evaluate(rows)
        return found

    def _decode(self) -> Callable[[Fields], Fields]:
        return partial(regressed, _SCORE)


class LinearLearner(HasValidationDataset, HasTestDataset):
    """What the two estimators share."""

    _keywords: ClassVar[tuple[str, ...]] = (*Stage._keywords, "validationDataset", "testDataset")

    def _penalties(self) -> tuple[dict[str, Inferred], list[str]]:
        """Return ``wd`` and ``l1`` as MLlib's Params mean them, and what is wrong."""
        if not (self.isSet("regParam") or self.isSet("elasticNetParam")):
            return {}, []
        problems = [
            f"{mllib} and {own} exclude each other: {mllib} is sent as wd and l1"
            for mllib in ("regParam", "elasticNetParam")
            for own in ("wd", "l1")
            if self.isSet(mllib) and self.isSet(own)
        ]
        if not self.isSet("regParam"):
            problems.append("elasticNetParam shares out regParam; set regParam too")
        strength, share = self._value("regParam") or 0.0, self._value("elasticNetParam")
        values = {"wd": strength * (1 - share), "l1": strength * share}
        return {wire: Inferred("width", partial(constant, repr(value))) for wire, value in values.items()}, problems


class LinearLearnerClassifier(
    LinearLearnerClassifierParams, LinearLearner, ClassifierEstimator[LinearLearnerClassificationModel]
):
    """SageMaker's linear learner on classes, with the Params of MLlib's ``LogisticRegression`` and ``LinearSVC``.

    Params are MLlib's ``maxIter fitIntercept standardization regParam elasticNetParam tol family threshold``, then
    every hyperparameter of AWS's linear learner in camelCase; ``explainParams()`` lists them. Two classes are
    trained as binary_classifier (``loss`` 'logistic', or 'hinge_loss' as LinearSVC's), more as
    multiclass_classifier. K comes from the label column's ML attributes, else from the rows.
    ``validationIndicatorCol`` or ``validationDataset=`` give the validation channel, by which the best of the
    models is chosen, and ``testIndicatorCol`` or ``testDataset=`` the test channel. The linear learner has no row
    weights; ``positiveExampleWeightMult`` and ``balanceMulticlassWeights`` weigh classes. ``seed`` reaches the
    embedded service only.

    Examples
    --------
    >>> from pyspark.ml.linalg import Vectors                                                    # doctest: +SKIP
    >>> df = spark.createDataFrame([(1.0, Vectors.dense(1.0)), (0.0, Vectors.dense(0.0))], ["label", "features"])
    >>> with LinearLearnerClassifier(maxIter=50).fit(df) as model:
    ...     model.transform(df).show()
    """

    __module__ = "sagespark.ml.classification"
    _spec: ClassVar[AlgorithmSpec] = LINEAR_CLASSIFIER
    _model_class: ClassVar[type[HostedModel]] = LinearLearnerClassificationModel

    def _classes(self) -> int | None:
        return 2 if self._value("family") == "binomial" else None

    def _inferred(self) -> Mapping[str, Inferred]:
        family, loss = self._value("family"), self._value("loss")
        return {
            "predictor_type": Inferred("classes", partial(predictor_of, family, loss)),
            "num_classes": Inferred("classes", several_classes),
            **self._penalties()[0],
        }

    def _training(self, session: SageMakerSession, schema: StructType) -> tuple[Training | None, list[str]]:
        training, problems = super()._training(session, schema)
        problems = [*self._penalties()[1], *_threshold_problems(self, None), *problems]
        return (None if problems else training), problems

    def _model(self, record: HostingRecord, dataset: DataFrame) -> LinearLearnerClassificationModel:
        model = super()._model(record, dataset)
        model._kept["training"] = (model.copy(), self._split(dataset)["train"])
        return model


class LinearLearnerRegressor(
    LinearLearnerRegressorParams, LinearLearner, RegressorEstimator[LinearLearnerRegressionModel]
):
    """SageMaker's linear learner on numbers, with the Params of MLlib's ``LinearRegression``.

    Params are MLlib's ``maxIter fitIntercept standardization regParam elasticNetParam tol loss``, then every
    hyperparameter of AWS's linear learner in camelCase. Features and label are scaled in training, and the penalty is
    on the weights of what is scaled: MLlib's own penalty where the label's standard deviation is 1. See
    `LinearLearnerClassifier` for channels, weights and ``seed``.
    """

    __module__ = "sagespark.ml.regression"
    _spec: ClassVar[AlgorithmSpec] = LINEAR_REGRESSOR
    _model_class: ClassVar[type[HostedModel]] = LinearLearnerRegressionModel

    def _inferred(self) -> Mapping[str, Inferred]:
        return {"predictor_type": Inferred("width", partial(constant, REGRESSOR_TYPE)), **self._penalties()[0]}

    def _training(self, session: SageMakerSession, schema: StructType) -> tuple[Training | None, list[str]]:
        training, problems = super()._training(session, schema)
        problems = [*self._penalties()[1], *problems]
        return (None if problems else training), problems

    def _model(self, record: HostingRecord, dataset: DataFrame) -> LinearLearnerRegressionModel:
        model = super()._model(record, dataset)
        model._kept["training"] = (model.copy(), self._split(dataset)["train"])
        return model


def constant(value: str, _: Any) -> str:
    """Return a value that nothing has to tell."""
    return value


def several_classes(classes: int) -> str | None:
    """Return ``num_classes``, which only more than two classes have."""
    return str(classes) if classes > 2 else None


def predictor_of(family: str, loss: str, classes: int) -> str:
    """Return the predictor type of so many classes.

    Raises
    ------
    ValidationError
        If family or loss are for another number.
    """
    problems = []
    if family == "multinomial" and classes < 3:
        problems.append(
            f"family is 'multinomial', but there are {classes} classes; SageMaker's {MULTICLASS} takes 3 or more: use "
            "'binomial' or 'auto'"
        )
    if family == "binomial" and classes > 2:
        problems.append(f"family is 'binomial', but there are {classes} classes; use 'multinomial' or 'auto'")
    wrong = BINARY_LOSSES if classes > 2 else MULTICLASS_LOSSES
    if loss in wrong:
        problems.append(f"loss is {loss!r}, which is not for {classes} classes; 'auto' chooses by their number")
    if problems:
        raise ValidationError(problems, "fit")
    return MULTICLASS if classes > 2 else BINARY


def _threshold_problems(stage: Stage, classes: int | None) -> list[str]:
    if stage._value("threshold") is None:
        return []
    problems = []
    if stage._value("thresholds") is not None:
        problems.append("threshold and thresholds exclude each other; set one of them")
    if classes is not None and classes > 2:
        problems.append(f"threshold is for two classes, but the model has {classes}; use thresholds")
    return problems


def classes_of(margins: bool, fields: Fields) -> Fields:
    """Return the columns of a classifier from score and label, whose choice of the class is kept.

    Parameters
    ----------
    margins : bool
        Whether the scores of two classes are margins, and not probabilities.
    fields : dict
        Of the response.
    """
    score = fields[_SCORE]
    if score.ndim == 2 and score.shape[1] > 1:
        found = of_probabilities(score)
    else:
        found = of_margin(score.reshape(-1)) if margins else of_probability(score.reshape(-1))
    found[PREDICTION] = fields[_LABEL].reshape(-1).astype(np.float64)
    return found


def _read(record: HostingRecord) -> dict[str, Any]:
    """Return ``weights`` (C, d), ``bias`` (C,) and ``loss`` of an artifact."""
    if record.modelData is None:
        raise ValidationError("only the model's endpoint is known, not its artifact", "coefficients")
    body = member(record.session, record.modelData, "model_algo-")
    found, _, more = mxmodel.load(body, symbol=SYMBOL_FILE, params=PARAMS_FILE, more=(MORE_FILE,))
    weights = found.get("fc0_weight")
    if weights is None or weights.ndim != 2:
        raise CodecError(f"{record.modelData} holds no array fc0_weight of a linear model", contentType=mxmodel.FORMAT)
    bias = found.get("fc0_bias", np.zeros(len(weights))).reshape(-1).astype(np.float64)
    told = more.get(MORE_FILE)
    loss = told.get("loss", "auto") if isinstance(told, dict) else "auto"
    return {"weights": weights.astype(np.float64), "bias": bias, "loss": loss}
