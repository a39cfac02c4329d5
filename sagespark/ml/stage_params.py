"""Params of every estimator and model, each made from its rows.

``stage_params.pyi`` says the same for editors and type checkers; ``python -m sagespark.ml.stubs`` writes it anew.
Only the ``HasX`` mixins are here that the stage honours: MLlib's OneVsRest looks at them.
"""

from __future__ import annotations

from pyspark.ml.param.shared import (
    HasCheckpointInterval,
    HasFeaturesCol,
    HasInputCol,
    HasLabelCol,
    HasMaxIter,
    HasOutputCol,
    HasPredictionCol,
    HasTol,
)

from sagespark.algorithms.kmeans import KMEANS
from sagespark.algorithms.lda import LDA
from sagespark.algorithms.pca import PCA
from sagespark.algorithms.random_cut_forest import RANDOM_CUT_FOREST
from sagespark.ml.params import StageParams
from sagespark.ml.rows import algorithm_rows
from sagespark.ml.rows_generic import GENERIC
from sagespark.ml.rows_tuning import TUNING


class SageMakerParams(StageParams, HasFeaturesCol, HasPredictionCol, rows=GENERIC):
    """Params of an estimator of any image."""


class SageMakerModelParams(StageParams, HasFeaturesCol, HasPredictionCol, rows=GENERIC, model=True):
    """Params of a model of any image."""


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
