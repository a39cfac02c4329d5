"""Regressors and rankers on SageMaker."""

from __future__ import annotations

from sagespark.ml.boosting import XGBoostRanker, XGBoostRankerModel, XGBoostRegressionModel, XGBoostRegressor
from sagespark.ml.factorization import FactorizationMachinesRegressionModel, FactorizationMachinesRegressor
from sagespark.ml.knn import KNNRegressionModel, KNNRegressor
from sagespark.ml.linear import LinearLearnerRegressionModel, LinearLearnerRegressor

__all__ = [
    "FactorizationMachinesRegressionModel",
    "FactorizationMachinesRegressor",
    "KNNRegressionModel",
    "KNNRegressor",
    "LinearLearnerRegressionModel",
    "LinearLearnerRegressor",
    "XGBoostRanker",
    "XGBoostRankerModel",
    "XGBoostRegressionModel",
    "XGBoostRegressor",
]
