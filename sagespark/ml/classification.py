"""Classifiers on SageMaker."""

from __future__ import annotations

from sagespark.ml.boosting import XGBoostClassificationModel, XGBoostClassifier
from sagespark.ml.factorization import FactorizationMachinesClassificationModel, FactorizationMachinesClassifier
from sagespark.ml.knn import KNNClassificationModel, KNNClassifier
from sagespark.ml.linear import LinearLearnerClassificationModel, LinearLearnerClassifier

__all__ = [
    "FactorizationMachinesClassificationModel",
    "FactorizationMachinesClassifier",
    "KNNClassificationModel",
    "KNNClassifier",
    "LinearLearnerClassificationModel",
    "LinearLearnerClassifier",
    "XGBoostClassificationModel",
    "XGBoostClassifier",
]
