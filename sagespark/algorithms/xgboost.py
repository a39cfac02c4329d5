"""XGBoost, as AWS's container 3.2-0 declares it: one row for the container, and one for each of MLlib's kinds."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from sagespark.algorithms.spec import AlgorithmSpec, Channel, FixedParam, Hyperparameter, Metric, Output
from sagespark.algorithms.supervised import CLASSIFICATION, REGRESSION
from sagespark.algorithms.xgboost_hyperparameters import (
    BINARY,
    HYPERPARAMETERS,
    MAXIMIZED,
    MINIMIZED,
    MULTICLASS,
    NUMBERS,
    RANKING,
)

OBJECTIVES = frozenset(
    ("accuracy", "auc", "error", "f1", "logloss", "mae", "map", "merror", "mlogloss", "mse", "ndcg", "rmse")
)
"""Metrics of the validation channel that AWS's page lists for tuning."""
CONTENT_TYPES = (
    "text/libsvm",
    "text/x-libsvm",
    "text/csv",
    "application/x-recordio-protobuf",
    "application/x-parquet",
)
"""What the container reads; ``text/libsvm`` where a channel does not say."""


def _metric(channel: str, name: str, direction: str) -> Metric:
    # A log line of one round, whose tabs CloudWatch Logs shows as #011. AWS's regex ends in (\S+), which takes the
    # metrics behind this one along.
    regex = rf".*\[[0-9]+\].*#011{channel}-{name}:([^#\s]+)"
    doc = f"{name} of the {channel} rows after each round."
    objective = channel == "validation" and name in OBJECTIVES
    return Metric(f"{channel}:{name}", regex, direction, doc, objective)  # type: ignore[arg-type]  # two literals below


_METRICS = tuple(
    _metric(channel, name, direction)
    for channel in ("train", "validation")
    for names, direction in ((MAXIMIZED, "Maximize"), (MINIMIZED, "Minimize"))
    for name in names
)

XGBOOST = AlgorithmSpec(
    name="xgboost",
    version="3.2-0",
    doc="Gradient boosted trees.",
    input_params=("featuresCol", "labelCol", "weightCol"),
    hyperparameters=HYPERPARAMETERS,
    channels=(
        Channel("train", True, CONTENT_TYPES, "required"),
        Channel("validation", False, CONTENT_TYPES, "required"),
    ),
    metrics=_METRICS,
    outputs=(Output("score", "predictionCol", "prediction", "double", "What XGBoost predicts for its objective."),),
    missing="keep",
    accept="application/json",
    seed="seed",
    distributed=True,
    repository="sagemaker-xgboost",
    aliases={"learning_rate": "eta", "min_split_loss": "gamma", "reg_lambda": "lambda", "reg_alpha": "alpha"},
    sources=(
        "https://docs.aws.amazon.com/sagemaker/latest/dg/xgboost.html",
        "https://docs.aws.amazon.com/sagemaker/latest/dg/xgboost_hyperparameters.html",
        "https://docs.aws.amazon.com/sagemaker/latest/dg/xgboost-tuning.html",
        "https://github.com/aws/sagemaker-xgboost-container",
    ),
)
"""The row of the container."""

_OWN = "SageMaker's XGBoost has no such setting"
FIXED: tuple[FixedParam, ...] = (
    FixedParam("minInstancesPerNode", 1, f"{_OWN}; minChildWeight bounds a child"),
    FixedParam("minWeightFractionPerNode", 0.0, f"{_OWN}; minChildWeight bounds a child"),
    FixedParam("minInfoGain", 0.0, f"{_OWN}; gamma is the least gain of a split"),
    FixedParam("maxMemoryInMB", 256, _OWN),
    FixedParam("cacheNodeIds", False, _OWN),
    FixedParam("checkpointInterval", 10, f"{_OWN}; checkpointS3Uri keeps checkpoints"),
    FixedParam("leafCol", "", f"{_OWN}: its answers hold no leaves; predictLeaf(v) tells them"),
    FixedParam("impurity", "variance", f"{_OWN}; objective and gamma decide splits"),
    FixedParam("featureSubsetStrategy", "all", f"{_OWN}; colsampleByNode is the share of the features per split"),
    FixedParam("validationTol", 0.01, f"{_OWN}; earlyStoppingRounds stops a training that does not improve"),
)
"""Params of MLlib's gradient boosted trees that XGBoost lacks."""


def _with_objectives(choices: tuple[str, ...], doc: str, **how: Any) -> tuple[Hyperparameter, ...]:
    return tuple(
        replace(h, default=None, choices=choices, doc=doc, **how) if h.wire == "objective" else h
        for h in HYPERPARAMETERS
    )


CLASSIFIER = replace(
    XGBOOST,
    hyperparameters=_with_objectives(
        (*BINARY, *MULTICLASS),
        "What is minimized; unset: 'binary:logistic' for two classes, 'multi:softprob' for more.",
    ),
    outputs=CLASSIFICATION,
    fixed=(*FIXED, FixedParam("lossType", "logistic", f"{_OWN}; objective is the loss")),
)
"""The row of the classifier."""
REGRESSOR = replace(
    XGBOOST,
    hyperparameters=_with_objectives(NUMBERS, "What is minimized; unset: 'reg:squarederror'."),
    outputs=REGRESSION,
    fixed=(*FIXED, FixedParam("lossType", "squared", f"{_OWN}; objective is the loss")),
)
"""The row of the regressor."""
RANKER = replace(
    XGBOOST,
    input_params=("featuresCol", "labelCol", "qidCol"),
    hyperparameters=_with_objectives(
        RANKING, "What is minimized; unset: 'rank:ndcg' is sent.", required=True, send="rank:ndcg"
    ),
    outputs=REGRESSION,
    fixed=(FixedParam("weightCol", None, "XGBoost weighs queries, not rows"),),
    training_content_type="text/libsvm",
)
"""The row of the ranker."""
