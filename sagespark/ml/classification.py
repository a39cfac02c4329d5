"""Classifiers on SageMaker."""

from __future__ import annotations

from sagespark.ml.boosting import XGBoostClassificationModel, XGBoostClassifier

__all__ = ["XGBoostClassificationModel", "XGBoostClassifier"]
