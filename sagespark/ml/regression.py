"""Regressors and rankers on SageMaker."""

from __future__ import annotations

from sagespark.ml.boosting import XGBoostRanker, XGBoostRankerModel, XGBoostRegressionModel, XGBoostRegressor

__all__ = ["XGBoostRanker", "XGBoostRankerModel", "XGBoostRegressionModel", "XGBoostRegressor"]
