"""Params of every estimator and model, each made from its rows.

``stage_params.pyi`` says the same for editors and type checkers; ``python -m sagespark.ml.stubs`` writes it anew.
Only the ``HasX`` mixins are here that the stage honours: MLlib's OneVsRest looks at them. Their order is that of the
classes of MLlib that stand beside them.
"""

from __future__ import annotations

from pyspark.ml.param.shared import (
    HasCheckpointInterval,
    HasElasticNetParam,
    HasFeaturesCol,
    HasFitIntercept,
    HasInputCol,
    HasLabelCol,
    HasLoss,
    HasMaxIter,
    HasOutputCol,
    HasPredictionCol,
    HasProbabilityCol,
    HasRawPredictionCol,
    HasRegParam,
    HasStepSize,
    HasThresholds,
    HasTol,
    HasWeightCol,
)

from sagespark.algorithms.factorization_machines import FM_CLASSIFIER, FM_REGRESSOR
from sagespark.algorithms.kmeans import KMEANS
from sagespark.algorithms.knn import CLASSIFIER as KNN_CLASSIFIER
from sagespark.algorithms.knn import REGRESSOR as KNN_REGRESSOR
from sagespark.algorithms.lda import LDA
from sagespark.algorithms.linear_learner import LINEAR_CLASSIFIER, LINEAR_REGRESSOR
from sagespark.algorithms.pca import PCA
from sagespark.algorithms.random_cut_forest import RANDOM_CUT_FOREST
from sagespark.algorithms.xgboost import CLASSIFIER as XGBOOST_CLASSIFIER
from sagespark.algorithms.xgboost import RANKER as XGBOOST_RANKER
from sagespark.algorithms.xgboost import REGRESSOR as XGBOOST_REGRESSOR
from sagespark.ml.params import StageParams
from sagespark.ml.rows import algorithm_rows
from sagespark.ml.rows_frameworks import PYTORCH_VERSION, SCRIPT
from sagespark.ml.rows_generic import GENERIC
from sagespark.ml.rows_linear import CLASSES, PENALTIES
from sagespark.ml.rows_tuning import TUNING


class SageMakerParams(StageParams, HasFeaturesCol, HasPredictionCol, rows=GENERIC):
    """Params of an estimator of any image."""


class SageMakerModelParams(StageParams, HasFeaturesCol, HasPredictionCol, rows=GENERIC, model=True):
    """Params of a model of any image."""


class FrameworkParams(SageMakerParams, rows=SCRIPT):
    """Params of an estimator that runs a script."""


class FrameworkModelParams(SageMakerModelParams, rows=SCRIPT, model=True):
    """Params of a model that a script serves."""


class HuggingFaceParams(FrameworkParams, rows=(PYTORCH_VERSION,)):
    """Params of a script in Hugging Face's images."""


class HuggingFaceModelParams(FrameworkModelParams, rows=(PYTORCH_VERSION,), model=True):
    """Params of a model in Hugging Face's images."""


class TunerParams(StageParams, rows=TUNING):
    """Params of the hyperparameter tuner."""


class KMeansParams(StageParams, HasFeaturesCol, HasPredictionCol, HasMaxIter, HasTol, rows=algorithm_rows(KMEANS)):
    """Params of K-means."""


class KMeansModelParams(
    StageParams, HasFeaturesCol, HasPredictionCol, HasMaxIter, HasTol, rows=algorithm_rows(KMEANS), model=True
):
    """Params of a K-means model."""


class PCAParams(StageParams, HasInputCol, HasOutputCol, rows=algorithm_rows(PCA)):
    """Params of PCA."""


class PCAModelParams(StageParams, HasInputCol, HasOutputCol, rows=algorithm_rows(PCA), model=True):
    """Params of a PCA model."""


class LDAParams(StageParams, HasFeaturesCol, HasMaxIter, HasCheckpointInterval, rows=algorithm_rows(LDA)):
    """Params of LDA."""


class LDAModelParams(
    StageParams, HasFeaturesCol, HasMaxIter, HasCheckpointInterval, rows=algorithm_rows(LDA), model=True
):
    """Params of an LDA model."""


class RandomCutForestParams(StageParams, HasFeaturesCol, HasLabelCol, rows=algorithm_rows(RANDOM_CUT_FOREST)):
    """Params of a random cut forest."""


class RandomCutForestModelParams(
    StageParams, HasFeaturesCol, HasLabelCol, rows=algorithm_rows(RANDOM_CUT_FOREST), model=True
):
    """Params of a random cut forest's model."""


class XGBoostClassifierParams(
    StageParams,
    HasProbabilityCol,
    HasThresholds,
    HasRawPredictionCol,
    HasLabelCol,
    HasFeaturesCol,
    HasPredictionCol,
    HasWeightCol,
    HasMaxIter,
    HasStepSize,
    rows=algorithm_rows(XGBOOST_CLASSIFIER),
):
    """Params of the XGBoost classifier."""


class XGBoostClassifierModelParams(
    StageParams,
    HasProbabilityCol,
    HasThresholds,
    HasRawPredictionCol,
    HasLabelCol,
    HasFeaturesCol,
    HasPredictionCol,
    HasWeightCol,
    HasMaxIter,
    HasStepSize,
    rows=algorithm_rows(XGBOOST_CLASSIFIER),
    model=True,
):
    """Params of a model of the XGBoost classifier."""


class XGBoostRegressorParams(
    StageParams,
    HasLabelCol,
    HasFeaturesCol,
    HasPredictionCol,
    HasWeightCol,
    HasMaxIter,
    HasStepSize,
    rows=algorithm_rows(XGBOOST_REGRESSOR),
):
    """Params of the XGBoost regressor."""


class XGBoostRegressorModelParams(
    StageParams,
    HasLabelCol,
    HasFeaturesCol,
    HasPredictionCol,
    HasWeightCol,
    HasMaxIter,
    HasStepSize,
    rows=algorithm_rows(XGBOOST_REGRESSOR),
    model=True,
):
    """Params of a model of the XGBoost regressor."""


class XGBoostRankerParams(
    StageParams,
    HasLabelCol,
    HasFeaturesCol,
    HasPredictionCol,
    HasMaxIter,
    HasStepSize,
    rows=algorithm_rows(XGBOOST_RANKER),
):
    """Params of the XGBoost ranker."""


class XGBoostRankerModelParams(
    StageParams,
    HasLabelCol,
    HasFeaturesCol,
    HasPredictionCol,
    HasMaxIter,
    HasStepSize,
    rows=algorithm_rows(XGBOOST_RANKER),
    model=True,
):
    """Params of a model of the XGBoost ranker."""


class LinearLearnerClassifierParams(
    StageParams,
    HasProbabilityCol,
    HasThresholds,
    HasRawPredictionCol,
    HasLabelCol,
    HasFeaturesCol,
    HasPredictionCol,
    HasMaxIter,
    HasRegParam,
    HasTol,
    HasFitIntercept,
    HasElasticNetParam,
    rows=(*algorithm_rows(LINEAR_CLASSIFIER), *PENALTIES, *CLASSES),
):
    """Params of the linear learner's classifier."""


class LinearLearnerClassifierModelParams(
    StageParams,
    HasProbabilityCol,
    HasThresholds,
    HasRawPredictionCol,
    HasLabelCol,
    HasFeaturesCol,
    HasPredictionCol,
    HasMaxIter,
    HasRegParam,
    HasTol,
    HasFitIntercept,
    HasElasticNetParam,
    rows=(*algorithm_rows(LINEAR_CLASSIFIER), *PENALTIES, *CLASSES),
    model=True,
):
    """Params of a model of the linear learner's classifier."""


class LinearLearnerRegressorParams(
    StageParams,
    HasLabelCol,
    HasFeaturesCol,
    HasPredictionCol,
    HasMaxIter,
    HasRegParam,
    HasTol,
    HasFitIntercept,
    HasElasticNetParam,
    HasLoss,
    rows=(*algorithm_rows(LINEAR_REGRESSOR), *PENALTIES),
):
    """Params of the linear learner's regressor."""


class LinearLearnerRegressorModelParams(
    StageParams,
    HasLabelCol,
    HasFeaturesCol,
    HasPredictionCol,
    HasMaxIter,
    HasRegParam,
    HasTol,
    HasFitIntercept,
    HasElasticNetParam,
    HasLoss,
    rows=(*algorithm_rows(LINEAR_REGRESSOR), *PENALTIES),
    model=True,
):
    """Params of a model of the linear learner's regressor."""


class FactorizationMachinesClassifierParams(
    StageParams,
    HasProbabilityCol,
    HasThresholds,
    HasRawPredictionCol,
    HasLabelCol,
    HasFeaturesCol,
    HasPredictionCol,
    HasMaxIter,
    HasStepSize,
    HasRegParam,
    rows=algorithm_rows(FM_CLASSIFIER),
):
    """Params of the classifier of factorization machines."""


class FactorizationMachinesClassifierModelParams(
    StageParams,
    HasProbabilityCol,
    HasThresholds,
    HasRawPredictionCol,
    HasLabelCol,
    HasFeaturesCol,
    HasPredictionCol,
    HasMaxIter,
    HasStepSize,
    HasRegParam,
    rows=algorithm_rows(FM_CLASSIFIER),
    model=True,
):
    """Params of a model of the classifier of factorization machines."""


class FactorizationMachinesRegressorParams(
    StageParams,
    HasLabelCol,
    HasFeaturesCol,
    HasPredictionCol,
    HasMaxIter,
    HasStepSize,
    HasRegParam,
    rows=algorithm_rows(FM_REGRESSOR),
):
    """Params of the regressor of factorization machines."""


class FactorizationMachinesRegressorModelParams(
    StageParams,
    HasLabelCol,
    HasFeaturesCol,
    HasPredictionCol,
    HasMaxIter,
    HasStepSize,
    HasRegParam,
    rows=algorithm_rows(FM_REGRESSOR),
    model=True,
):
    """Params of a model of the regressor of factorization machines."""


class KNNClassifierParams(
    StageParams,
    HasProbabilityCol,
    HasThresholds,
    HasRawPredictionCol,
    HasLabelCol,
    HasFeaturesCol,
    HasPredictionCol,
    rows=algorithm_rows(KNN_CLASSIFIER),
):
    """Params of the classifier by k-nearest neighbours."""


class KNNClassifierModelParams(
    StageParams,
    HasProbabilityCol,
    HasThresholds,
    HasRawPredictionCol,
    HasLabelCol,
    HasFeaturesCol,
    HasPredictionCol,
    rows=algorithm_rows(KNN_CLASSIFIER),
    model=True,
):
    """Params of a model of the classifier by k-nearest neighbours."""


class KNNRegressorParams(
    StageParams, HasLabelCol, HasFeaturesCol, HasPredictionCol, rows=algorithm_rows(KNN_REGRESSOR)
):
    """Params of the regressor by k-nearest neighbours."""


class KNNRegressorModelParams(
    StageParams, HasLabelCol, HasFeaturesCol, HasPredictionCol, rows=algorithm_rows(KNN_REGRESSOR), model=True
):
    """Params of a model of the regressor by k-nearest neighbours."""
