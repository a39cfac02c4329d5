"""When a tuning job ends before its limit: ``TuningJobCompletionCriteria`` and ``MaxRuntimeInSeconds``."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sagespark.bayesopt.progress import has_converged, not_improving


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
