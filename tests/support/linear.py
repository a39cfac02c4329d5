"""Fits of the linear learner inside the test's own process, as near to the optimum as they come."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from sagespark.algorithms.linear_learner import LINEAR_LEARNER
from sagespark.local.containers.collective import Collective
from sagespark.local.containers.linear_data import Rows
from sagespark.local.containers.linear_fit import Fitted, fit
from sagespark.local.containers.linear_learner_train import resolve

ALONE = Collective("algo-1", ("algo-1",), {})
PENALTY = 0.01
EXACT = {
    "num_models": 1,
    "wd": PENALTY,
    "l1": 0,
    "epochs": 2000,
    "mini_batch_size": 10_000,
    "learning_rate": 0.05,
    "lr_scheduler_minimum_lr": 1e-9,
    "early_stopping_patience": 10_000,
}
BINARY, REGRESSOR = {"predictor_type": "binary_classifier"}, {"predictor_type": "regressor"}
MEMORY = 1 << 30


def values(width: int, **changed: Any) -> dict[str, Any]:
    return resolve(LINEAR_LEARNER.parse({k: str(v) for k, v in {"feature_dim": width, **changed}.items()}))


def rows(features: Any, labels: NDArray[Any], size: int = 10_000, memory: int = MEMORY) -> Rows:
    labels = labels.astype(np.float32)
    cuts = range(0, len(labels), size)
    return Rows(lambda: [(features[i : i + size], labels[i : i + size]) for i in cuts], memory)


def train(features: Any, labels: NDArray[Any], validation: Rows | None = None, **changed: Any) -> Fitted:
    return fit(rows(features, labels), validation, values(features.shape[1], **{**EXACT, **changed}), 1, ALONE)
