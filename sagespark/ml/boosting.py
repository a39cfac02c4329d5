"""XGBoost on SageMaker: classifier, regressor and ranker. Users import them from ``classification``, ``regression``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any, ClassVar

from pyspark.ml.base import Predictor
from pyspark.sql import DataFrame
from pyspark.sql.types import StructType

from sagespark.algorithms.spec import AlgorithmSpec
from sagespark.algorithms.xgboost import CLASSIFIER, RANKER, REGRESSOR
from sagespark.algorithms.xgboost_checks import DEFAULT_METRICS, contradictions
from sagespark.algorithms.xgboost_hyperparameters import BINARY, MULTICLASS
from sagespark.aws.session import SageMakerSession
from sagespark.codecs.csv import CONTENT_TYPE as CSV
from sagespark.codecs.libsvm import CONTENT_TYPE as LIBSVM
from sagespark.core.errors import ValidationError
from sagespark.data.frame import WIDE, FrameLayout, quoted
from sagespark.ml.boosting_model import IMPURITIES, SCORE, SUBSETS, BoostingModel
from sagespark.ml.decoding import Fields, of_labels, of_margin, of_probabilities, of_probability, regressed
from sagespark.ml.estimator import AlgorithmEstimator
from sagespark.ml.held_out import HasValidationDataset
from sagespark.ml.hyperparameters import Inferred
from sagespark.ml.model import HostedModel
from sagespark.ml.plan import FrameChannel, Training
from sagespark.ml.stage_params import (
    XGBoostClassifierModelParams,
    XGBoostClassifierParams,
    XGBoostRankerModelParams,
    XGBoostRankerParams,
    XGBoostRegressorModelParams,
    XGBoostRegressorParams,
)
from sagespark.ml.supervised import (
    ClassifierEstimator,
    ClassifierModel,
    RegressorEstimator,
    RegressorModel,
)

_ONE_SHARD = 1 << 40
"""Most bytes of a shard of ranked rows: a query must not be cut in two, so a partition is one object."""


def several_classes(classes: int) -> str | None:
    """Return ``num_class``, which only more than two classes have while no objective is set."""
    return str(classes) if classes > 2 else None


def multiclass(classes: int) -> str:
    """Return ``num_class`` of a multi-class objective, which two classes have too."""
    return str(max(2, classes))


def objective_of(classes: int) -> str:
    """Return the objective of so many classes."""
    return "multi:softprob" if classes > 2 else "binary:logistic"


def metric_of(classes: int) -> str:
    """Return the metric of the objective of so many classes."""
    return DEFAULT_METRICS[objective_of(classes)]


class Boosting(HasValidationDataset):
    """What the three estimators share."""

    supportedFeatureSubsetStrategies: ClassVar[list[str]] = SUBSETS
    """MLlib's name; ``colsampleByNode`` is the share of the features per split."""
    supportedImpurities: ClassVar[list[str]] = IMPURITIES
    """MLlib's name; ``objective`` and ``gamma`` decide splits."""

    def _channel(self, name: str, layout: FrameLayout, distribution: str) -> FrameChannel:
        # RecordIO has no place for weights and query ids: CSV takes weights of dense rows, LibSVM both of any rows.
        if layout.group is not None:
            return FrameChannel(name, layout, LIBSVM, distribution, _ONE_SHARD)
        if layout.weight is None:
            return FrameChannel(name, layout, self._spec.training_content_type, distribution)
        wide = layout.width is not None and layout.width > WIDE and layout.vectorFormat == "auto"
        if layout.vectorFormat == "sparse" or wide:
            return FrameChannel(name, layout, LIBSVM, distribution)
        return FrameChannel(name, replace(layout, vectorFormat="dense"), CSV, distribution)

    def _weights(self) -> dict[str, Inferred]:
        """Return ``csv_weights``, where weights travel in CSV rows."""
        form = self._value("vectorFormat")
        if not self._value("weightCol") or form == "sparse":
            return {}
        if form == "dense":
            return {"csv_weights": Inferred("width", partial(_constant, "1"))}
        return {"csv_weights": Inferred("width", csv_weights, late=told_csv_weights)}

    def _problems(self) -> list[str]:
        """Return which hyperparameters do not go together, in words."""
        given = {h.wire: self._value(h.name) for h in self._spec.params if self.isSet(h.name)}
        classes = {"num_class": 2} if given.get("objective") in MULTICLASS else {}
        problems = contradictions({**given, **classes})
        if "csv_weights" in given:
            problems.append("csvWeights follows from weightCol; leave it out")
        if "early_stopping_rounds" in given and "validation" not in self._held_out():
            problems.append(
                "earlyStoppingRounds stops by the validation channel; give validationIndicatorCol or validationDataset"
            )
        return problems

    def _metric(self, objective: str | None) -> dict[str, Inferred]:
        """Return the metric to stop early by: the container takes none unless it is told."""
        if not self.isSet("earlyStoppingRounds") or self.isSet("evalMetric"):
            return {}
        if objective is None:
            return {"eval_metric": Inferred("classes", metric_of)}
        return {"eval_metric": Inferred("width", partial(_constant, DEFAULT_METRICS[objective]))}


def _constant(value: str, _: Any) -> str:
    return value


def csv_weights(width: int) -> str | None:
    """Return ``csv_weights`` of rows whose form follows from their width: above `WIDE` they are LibSVM, not CSV."""
    return "1" if width <= WIDE else None


def told_csv_weights(width: int) -> str:
    """Return ``csv_weights`` of rows whose width only staging told, when they were CSV already.

    Raises
    ------
    ValidationError
        If they are too wide for their form to be decided then.
    """
    if width > WIDE:
        raise ValidationError(
            f"weightCol: the rows have {width} features, and the schema's metadata did not tell; above {WIDE} set "
            "vectorFormat to 'sparse' (zeros are missing values then) or 'dense', on the model too",
            "fit",
        )
    return "1"


class XGBoostClassificationModel(XGBoostClassifierModelParams, BoostingModel, ClassifierModel):
    """A classifier of XGBoost on SageMaker, with the members of ``pyspark.ml.classification.GBTClassificationModel``.

    ``transform`` adds ``rawPredictionCol``, ``probabilityCol`` (Vectors of length numClasses) and ``predictionCol``
    (double). Raw scores are log-odds for two classes, (-z, z), and the logarithms of the probabilities for more. The
    objectives 'multi:softmax' and 'binary:hinge' answer the class alone: both Vectors are then 1 at the class told.
    """

    __module__ = "sagespark.ml.classification"
    _spec: ClassVar[AlgorithmSpec] = CLASSIFIER
    supportedLossTypes: ClassVar[list[str]] = ["logistic"]
    """MLlib's name; ``objective`` is the loss."""

    @property
    def numClasses(self) -> int:
        """Number of classes."""
        given = self._hosting().hyperparameters
        if given:
            return int(given.get("num_class", 2))
        return max(2, self._trees().numClasses)

    def _objective(self) -> str:
        given = self._hosting().hyperparameters.get("objective")
        return given or self._trees().objective

    def _decode(self) -> Callable[[Fields], Fields]:
        return partial(scored, self._objective(), self.numClasses)


class XGBoostRegressionModel(XGBoostRegressorModelParams, BoostingModel, RegressorModel):
    """A regressor of XGBoost on SageMaker, with the members of ``pyspark.ml.regression.GBTRegressionModel``."""

    __module__ = "sagespark.ml.regression"
    _spec: ClassVar[AlgorithmSpec] = REGRESSOR
    supportedLossTypes: ClassVar[list[str]] = ["squared"]
    """MLlib's name; ``objective`` is the loss."""

    def _decode(self) -> Callable[[Fields], Fields]:
        return partial(regressed, SCORE)


class XGBoostRankerModel(XGBoostRankerModelParams, BoostingModel):
    """A ranker of XGBoost on SageMaker: the larger ``predictionCol`` (double), the higher a row ranks in its query."""

    __module__ = "sagespark.ml.regression"
    _spec: ClassVar[AlgorithmSpec] = RANKER

    def _decode(self) -> Callable[[Fields], Fields]:
        return partial(regressed, SCORE)


class XGBoostClassifier(XGBoostClassifierParams, Boosting, ClassifierEstimator[XGBoostClassificationModel]):
    """XGBoost's classifier on SageMaker, with the Params of ``pyspark.ml.classification.GBTClassifier`` and AWS's own.

    Params are MLlib's ``maxIter stepSize maxDepth maxBins subsamplingRate``, then every hyperparameter of AWS's
    container in camelCase; ``explainParams()`` lists them. Labels are 0, 1, ..., K - 1; K comes from the label column's
    ML attributes, else from the rows. ``validationIndicatorCol`` or ``validationDataset=`` give the validation channel,
    by which ``earlyStoppingRounds`` stops.

    NaN in the features is a missing value, which XGBoost learns from. Up to 1,024 features rows travel dense, and zeros
    are zeros. Above, all rows travel sparse, and a zero is missing too, whichever kind of Vector holds it.

    Examples
    --------
    >>> from pyspark.ml.linalg import Vectors                                                    # doctest: +SKIP
    >>> df = spark.createDataFrame([(1.0, Vectors.dense(1.0)), (0.0, Vectors.dense(0.0))], ["label", "features"])
    >>> with XGBoostClassifier(maxIter=5, maxDepth=2, minChildWeight=0).fit(df) as model:
    ...     model.transform(df).show()
    """

    __module__ = "sagespark.ml.classification"
    _spec: ClassVar[AlgorithmSpec] = CLASSIFIER
    _model_class: ClassVar[type[HostedModel]] = XGBoostClassificationModel
    supportedLossTypes: ClassVar[list[str]] = XGBoostClassificationModel.supportedLossTypes
    """MLlib's name; ``objective`` is the loss."""

    def _classes(self) -> int | None:
        return 2 if self._value("objective") in BINARY else None

    def _inferred(self) -> Mapping[str, Inferred]:
        objective = self._value("objective")
        found = {**self._weights(), **self._metric(objective)}
        if objective is None:
            found["objective"] = Inferred("classes", objective_of)
            found["num_class"] = Inferred("classes", several_classes)
        elif objective in MULTICLASS:
            found["num_class"] = Inferred("classes", multiclass)
        return found

    def _training(self, session: SageMakerSession, schema: StructType) -> tuple[Training | None, list[str]]:
        return _with(self._problems(), super()._training(session, schema))


class XGBoostRegressor(XGBoostRegressorParams, Boosting, RegressorEstimator[XGBoostRegressionModel]):
    """XGBoost's regressor on SageMaker, with the Params of ``pyspark.ml.regression.GBTRegressor`` and AWS's own.

    ``objective`` is 'reg:squarederror' unless it is set; `XGBoostClassifier` tells of missing values and validation.
    With 'survival:aft' every label is its own interval: nothing is censored.
    """

    __module__ = "sagespark.ml.regression"
    _spec: ClassVar[AlgorithmSpec] = REGRESSOR
    _model_class: ClassVar[type[HostedModel]] = XGBoostRegressionModel
    supportedLossTypes: ClassVar[list[str]] = XGBoostRegressionModel.supportedLossTypes
    """MLlib's name; ``objective`` is the loss."""

    def _inferred(self) -> Mapping[str, Inferred]:
        return {**self._weights(), **self._metric(self._value("objective") or "reg:squarederror")}

    def _training(self, session: SageMakerSession, schema: StructType) -> tuple[Training | None, list[str]]:
        return _with(self._problems(), super()._training(session, schema))


class XGBoostRanker(
    XGBoostRankerParams, Boosting, AlgorithmEstimator[XGBoostRankerModel], Predictor[XGBoostRankerModel]
):
    """XGBoost's ranker on SageMaker: learns the order of the rows of each query.

    ``qidCol`` names the column of query ids, whole numbers; ``labelCol`` is the relevance, the higher the better. Rows
    are sorted by query while they are staged, so that a query's rows stand together in one object, and travel as LibSVM
    (``qid:``): it is the one format of AWS's container that carries queries.
    """

    __module__ = "sagespark.ml.regression"
    _spec: ClassVar[AlgorithmSpec] = RANKER
    _model_class: ClassVar[type[HostedModel]] = XGBoostRankerModel

    def _inferred(self) -> Mapping[str, Inferred]:
        return self._metric(self._value("objective") or "rank:ndcg")

    def _training(self, session: SageMakerSession, schema: StructType) -> tuple[Training | None, list[str]]:
        problems = self._problems()
        if not self._value("qidCol"):
            problems.append("qidCol must name the column of query ids, whose rows are ranked among each other")
        return _with(problems, super()._training(session, schema))

    def _frames(self, dataset: DataFrame) -> Mapping[str, DataFrame]:
        # A range of ids per partition: no query is in two, and ids increase over all shards.
        return {name: frame.orderBy(quoted(self._value("qidCol"))) for name, frame in self._split(dataset).items()}


def _with(problems: list[str], planned: tuple[Training | None, list[str]]) -> tuple[Training | None, list[str]]:
    training, more = planned
    return (None if problems else training), [*problems, *more]


def scored(objective: str, classes: int, fields: Fields) -> Fields:
    """Return the columns of a classifier from XGBoost's prediction, whose meaning the objective tells."""
    score = fields[SCORE]
    if objective == "binary:logitraw":
        return of_margin(score)
    if objective in ("binary:hinge", "multi:softmax"):
        return of_labels(score, classes)
    if objective == "binary:logistic":
        return of_probability(score)
    return of_probabilities(score)
