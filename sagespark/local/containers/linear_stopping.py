"""When the linear learner's training ends before its last epoch.

AWS's page on the linear learner's hyperparameters, ``early_stopping_patience``: where a value of
``binary_classifier_model_selection_criteria`` was given, that is the metric, on the validation channel; else, and
wherever there is no validation channel, it is the loss. ``early_stopping_tolerance``: an improvement by less than this
share of the best value so far counts as none. The page leaves open which weights a model keeps: here those of its
lowest loss.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sagespark.algorithms.linear_learner import BINARY
from sagespark.local.containers.collective import Collective
from sagespark.local.containers.linear_data import Rows, Scaling, forward
from sagespark.local.containers.linear_quality import calibration_rows, threshold

Floats = NDArray[np.float64]


class Patience:
    """Count epochs without an improvement of a value of which less is better."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        self._patience = int(values["early_stopping_patience"])
        self._tolerance = float(values["early_stopping_tolerance"])
        self._lowest: float | None = None
        self._since = 0

    def ends(self, value: float) -> bool:
        """Take an epoch's value; tell whether there have been too many without an improvement."""
        lowest = self._lowest
        improved = lowest is None or value < lowest - self._tolerance * abs(lowest)
        self._lowest = value if lowest is None else min(lowest, value)
        self._since = 0 if improved else self._since + 1
        return self._since >= self._patience


def has_criterion(values: Mapping[str, Any]) -> bool:
    """Tell whether the model selection criterion is another metric than the loss."""
    chosen: str = values["binary_classifier_model_selection_criteria"]
    return bool(values["predictor_type"] == BINARY and chosen != "loss_function")


def criterion(
    weights: Floats, scaling: Scaling, validation: Rows, values: Mapping[str, Any], group: Collective
) -> float:
    """Return the best model's value of the model selection criterion; more is better.

    Parameters
    ----------
    weights : ndarray of shape (d + 1, M)
        For scaled rows; the intercepts are the last row.
    scaling : Scaling
    validation : Rows
        This host's.
    values : mapping
        Hyperparameters by wire string.
    group : Collective
        All hosts.
    """
    # As many rows as calibrate the final threshold, from all hosts.
    parts, left = [np.zeros((0, weights.shape[1] + 1), np.float32)], -(-calibration_rows(values) // group.size)
    for block, labels in validation.pieces():
        block, labels = block[:left], labels[:left]
        left -= len(labels)
        with np.errstate(over="ignore", invalid="ignore"):
            margins = forward(block, scaling, weights)[1]
            parts.append(np.column_stack([margins, labels]).astype(np.float32))
        if not left:
            break
    together = np.concatenate(group.gather(np.concatenate(parts))).astype(np.float64)
    labels = together[:, -1]
    found = [threshold(column, labels, values)[1] for column in together[:, :-1].T if np.isfinite(column).all()]
    return max(found, default=-np.inf)
