"""What does not go together in a tuner's arguments."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pyspark.sql.types import StructType

from sagespark.ml import tuning_driver, tuning_runs
from sagespark.ml.estimator import TrainingEstimator
from sagespark.ml.tuning_plan import SERVICE_STRATEGIES, Candidate
from sagespark.ml.tuning_ranges import nested

if TYPE_CHECKING:
    from sagespark.ml.tuning import HyperparameterTuner


def not_by_service(tuner: HyperparameterTuner, candidates: Sequence[Candidate]) -> list[str]:
    """Return why the service cannot run this, in words."""
    found = []
    if tuner._value("strategy") not in SERVICE_STRATEGIES:
        found.append(f"strategy {tuner._value('strategy')} is the driver's only")
    if tuner.getEvaluator() is not None:
        found.append("an evaluator scores on the driver")
    if tuner._value("checkpointDir") is not None:
        found.append("checkpointDir is the driver's journal; the service keeps its own state")
    for candidate in candidates:
        stages = tuning_runs.stages_of(candidate.estimator, candidate.tuned)
        if not isinstance(stages.first, TrainingEstimator):
            found.append(f"{stages.first.uid} trains no job of the service")
        elif stages.first._value("containerEntryPoint") or stages.first._value("containerArguments"):
            found.append(f"a tuning job runs its image's own program, not {stages.first.uid}'s containerEntryPoint")
        elif not stages.alone:
            found.append(f"the service tunes one stage, and {stages.first.uid} is not the only one with ranges")
        found += [
            f"{t.name} is no hyperparameter of {stages.first.uid}'s jobs" for t in candidate.tuned if t.wire is None
        ]
    return found


def problems(tuner: HyperparameterTuner, candidates: Sequence[Candidate], schema: StructType, where: str) -> list[str]:
    """Return what does not go together in a tuner's arguments, in words; ``where`` its trials are chosen."""
    v = tuner._values()
    found = tuning_runs.validation_problems(v.get("validationIndicatorCol"), tuner.getValidationDataset(), schema)
    # Else the service chooses the limit.
    limited = v["strategy"] != "Grid" and (tuner.isSet(tuner.maxJobs) or not v["autotune"])
    if limited and v["maxParallelJobs"] > v["maxJobs"]:
        found.append(f"maxParallelJobs must not be above maxJobs ({v['maxJobs']}), but got {v['maxParallelJobs']}")
    if v["strategy"] == "Hyperband" and v["earlyStoppingType"] == "Auto":
        found.append("earlyStoppingType must be 'Off' with Hyperband, which stops trials itself")
    if v["strategy"] != "Hyperband" and (v.get("minResource") or v.get("maxResource")):
        found.append("minResource and maxResource are for strategy 'Hyperband' only")
    if v["strategy"] == "Manual" and not tuner.getConfigs():
        found.append("strategy 'Manual' needs configs=[{...}, ...]")
    elif v["strategy"] != "Manual" and tuner.getConfigs():
        found.append(f"configs are for strategy 'Manual' only, but strategy is {v['strategy']!r}")
    if v.get("instanceTypes") and any(
        s._value("instanceGroups") for c in candidates for s in nested(c.estimator) if isinstance(s, TrainingEstimator)
    ):
        found.append("instanceTypes and the estimator's instanceGroups exclude each other; give one of them")
    if where == "service":
        found += [f"runOn='service': {reason}; take runOn='driver'" for reason in not_by_service(tuner, candidates)]
    elif candidates:
        found += tuning_driver.problems(tuner, candidates)
    return found
