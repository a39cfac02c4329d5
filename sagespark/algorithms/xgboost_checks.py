"""What XGBoost's hyperparameters must be beside each other, and which of them its newer versions have no longer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sagespark.algorithms.xgboost_hyperparameters import MULTICLASS

RETIRED: Mapping[str, tuple[str, str]] = {
    "silent": ("1 to 1.0-1", "use verbosity"),
    "sketch_eps": ("1 to 1.5-1", "use max_bin"),
    "dsplit": ("1 to 1.7-1", "leave it out: hosts share the rows"),
    "predictor": ("0.90-1 to 1.7-1", "leave it out: predictions are computed where the data is"),
    "lambda_bias": ("", "leave it out: the bias is not regularized"),
    "deterministic_histogram": ("1.2-1 to 1.3-1", "leave it out: histograms are deterministic"),
    "single_precision_histogram": ("1.2-1 to 1.5-1", "leave it out"),
}
"""Hyperparameters that XGBoost has no longer: images in which they do something, empty for none, and what to do.

The container's list (``hyperparameter_validation.py``, by its branch of each image) refuses only ``silent``, from 1.2-1
on, and ``single_precision_histogram``, from 1.7-1 on; the others are still valid there, and XGBoost itself only warns
that they are not used. In which version it dropped them: its sources by tag (dmlc/xgboost, ``src/learner.cc``,
``src/gbm``, ``src/tree``); ``lambda_bias`` was gone before 0.72, which image 1 has, though AWS's page lists it.
"""
RETIRED_VALUES: Mapping[tuple[str, str], tuple[str, str]] = {
    ("tree_method", "gpu_hist"): ("1.2-1 to 3.0-5", "use 'hist'"),
    ("updater", "distcol"): ("1 to 1.0-1", "use tree_method"),
    ("updater", "grow_skmaker"): ("1 to 1.2-2", "use tree_method"),
}
"""Values that XGBoost has no longer, as `RETIRED`; from the same sources, ``src/gbm/gbtree.h`` for ``gpu_hist``."""
_VERSION = "3.2"

_BUILDERS = frozenset(("grow_colmaker", "distcol", "grow_histmaker", "grow_quantile_histmaker", "grow_skmaker"))
_LINEAR = frozenset(("shotgun", "coord_descent"))
_UPDATES = frozenset(("refresh", "prune"))

LABELS: Mapping[str, tuple[float, float, bool]] = {
    "binary:logistic": (0, 1, True),
    "binary:logitraw": (0, 1, True),
    "binary:hinge": (0, 1, True),
    "reg:logistic": (0, 1, True),
    "count:poisson": (0, float("inf"), True),
    "reg:tweedie": (0, float("inf"), True),
    "reg:gamma": (0, float("inf"), False),
    "reg:squaredlogerror": (-1, float("inf"), False),
    "survival:aft": (0, float("inf"), False),
}
"""Smallest and largest label by objective, and whether the smallest itself is allowed."""


def retired(given: Mapping[str, str]) -> list[str]:
    """Return what of a job's ``HyperParameters`` the newest images do not take, in words."""
    problems = [
        f"hyperparameter {wire!r} is none of XGBoost {_VERSION}: {_takers(images)}; {way}"
        for wire, (images, way) in RETIRED.items()
        if wire in given
    ]
    for (wire, value), (images, way) in RETIRED_VALUES.items():
        if value in [part.strip() for part in given.get(wire, "").split(",")]:
            problems.append(f"{value!r} as {wire!r} is none of XGBoost {_VERSION}: {_takers(images)}; {way}")
    return problems


def _takers(images: str) -> str:
    return f"only images {images} take it" if images else "no image's XGBoost has had it"


def contradictions(values: Mapping[str, Any]) -> list[str]:
    """Return which hyperparameters do not go together, in words; the rules are the container's.

    Parameters
    ----------
    values : mapping
        Values that are given, by wire string.
    """
    problems: list[str] = []
    objective = values.get("objective")
    if objective in MULTICLASS and values.get("num_class") is None:
        problems.append(f"num_class is required for the objective {objective!r}: the number of classes")
    if objective is not None and objective not in MULTICLASS and values.get("num_class") is not None:
        problems.append(f"num_class is for multi-class objectives only, but objective is {objective!r}")
    metrics = values.get("eval_metric") or []
    if "auc" in metrics and objective is not None and not objective.startswith(("binary:", "rank:")):
        problems.append(f"eval_metric 'auc' is for binary and ranking objectives, but objective is {objective!r}")
    if "aft-nloglik" in metrics and objective != "survival:aft":
        problems.append(
            f"eval_metric 'aft-nloglik' is for the objective 'survival:aft', but objective is {objective!r}"
        )
    method = values.get("tree_method", "auto")
    for wire, methods in (
        ("monotone_constraints", ("exact", "hist")),
        ("interaction_constraints", ("exact", "hist", "approx")),
    ):
        if values.get(wire) is not None and method not in methods:
            problems.append(f"{wire} needs tree_method to be {' or '.join(map(repr, methods))}, but it is {method!r}")
    if values.get("updater") is not None:
        problems += _updaters(frozenset(values["updater"]), values)
    if values.get("max_bin") in (0, 1):
        problems.append(f"max_bin must be at least 2, but got {values['max_bin']}")
    return problems


def _updaters(given: frozenset[str], values: Mapping[str, Any]) -> list[str]:
    names = ", ".join(sorted(given))
    if values.get("booster") == "gblinear":
        return (
            []
            if len(given) == 1 and given <= _LINEAR
            else [f"updater of a linear model must be one of {', '.join(sorted(_LINEAR))}, but got {names}"]
        )
    if values.get("process_type") == "update":
        return (
            []
            if given <= _UPDATES
            else [f"updater with process_type 'update' must be refresh or prune, but got {names}"]
        )
    problems = []
    if given & _LINEAR:
        problems.append(f"updater {', '.join(sorted(given & _LINEAR))} is for the booster 'gblinear'")
    if len(given & _BUILDERS) > 1:
        problems.append(f"updater may hold one that grows trees, but got {', '.join(sorted(given & _BUILDERS))}")
    return problems


DEFAULT_METRICS: Mapping[str, str] = {
    "reg:squarederror": "rmse",
    "reg:linear": "rmse",
    "reg:logistic": "rmse",
    "reg:squaredlogerror": "rmsle",
    "reg:absoluteerror": "mae",
    "reg:pseudohubererror": "mphe",
    "reg:gamma": "gamma-nloglik",
    # XGBoost's own name of tweedie's holds a number, which the container does not take.
    "reg:tweedie": "rmse",
    "count:poisson": "poisson-nloglik",
    "survival:aft": "aft-nloglik",
    "survival:cox": "cox-nloglik",
    "binary:logistic": "logloss",
    "binary:logitraw": "logloss",
    "binary:hinge": "error",
    "multi:softmax": "merror",
    "multi:softprob": "mlogloss",
    "rank:ndcg": "ndcg",
    "rank:pairwise": "ndcg",
    "rank:map": "map",
}
"""Metric by objective; the container stops early by a metric that it is given, and by no other."""
