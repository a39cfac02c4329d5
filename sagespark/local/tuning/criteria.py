"""When a tuning job ends before its limit: ``TuningJobCompletionCriteria`` and ``MaxRuntimeInSeconds``."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

IMPROVEMENT = 0.01
"""Share of the best value by which a result must be better to count as an improvement (API reference,
``BestObjectiveNotImproving``)."""
PATIENCE = 15
"""Results without improvement after which a search has converged, at least."""
PATIENCE_PER_RANGE = 5
"""Such results for each tuned hyperparameter, at least."""


def not_improving(values: Sequence[float]) -> int:
    """Return how many of the last results did not improve the best one by 1 % or more.

    Parameters
    ----------
    values : sequence of float
        Results in the order in which they came, smaller is better.
    """
    best: float | None = None
    count = 0
    for value in values:
        if best is None or best - value >= IMPROVEMENT * abs(best) > 0 or (best == 0 and value < 0):
            best, count = value, 0
        else:
            count += 1
    return count


def has_converged(values: Sequence[float], ranges: int) -> bool:
    """Tell whether a search over so many hyperparameters has converged.

    AWS does not publish its rule. Ours: ``max(15, 5 * ranges)`` results in a row have not improved the best by 1 %.
    """
    return not_improving(values) >= max(PATIENCE, PATIENCE_PER_RANGE * ranges)


def reached(config: dict[str, Any], values: Sequence[float], sign: float, ranges: int) -> str:
    """Return which criterion is met, in words; empty where none is.

    Parameters
    ----------
    config : dict
        ``HyperParameterTuningJobConfig``.
    values : sequence of float
        Results in the order in which they came, smaller is better.
    sign : {1.0, -1.0}
        -1 where they were negated.
    ranges : int
        Number of tuned hyperparameters.
    """
    criteria = config.get("TuningJobCompletionCriteria", {})
    if not values:
        return ""
    target = criteria.get("TargetObjectiveMetricValue")
    if target is not None and min(values) <= sign * target:
        return f"TargetObjectiveMetricValue {target:g} was reached"
    most = criteria.get("BestObjectiveNotImproving", {}).get("MaxNumberOfTrainingJobsNotImproving")
    if most is not None and not_improving(values) >= most:
        return f"{most} training jobs did not improve the best objective"
    if criteria.get("ConvergenceDetected", {}).get("CompleteOnConvergence") == "Enabled" and has_converged(
        values, ranges
    ):
        return "the search has converged"
    return ""


def is_over(config: dict[str, Any], started: datetime, now: datetime) -> bool:
    """Tell whether ``MaxRuntimeInSeconds`` of the tuning job has passed."""
    most = config["ResourceLimits"].get("MaxRuntimeInSeconds")
    return most is not None and (now - started).total_seconds() >= most
