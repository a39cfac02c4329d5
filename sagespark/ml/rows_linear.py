"""Params of MLlib's linear models that no hyperparameter of SageMaker's linear learner stands for by itself."""

from __future__ import annotations

from sagespark.algorithms.hyperparameter import Range
from sagespark.ml import converters as to
from sagespark.ml.rows import ParamRow

FAMILIES = ("auto", "binomial", "multinomial")
"""Values of ``family``."""

_REGULARIZATION = (
    "MLlib's penalty regParam (elasticNetParam |w|_1 + (1 - elasticNetParam) |w|^2 / 2) on a loss that is a mean over "
    "the rows: sent as wd = regParam (1 - elasticNetParam) and l1 = regParam elasticNetParam. Excludes wd and l1."
)
PENALTIES: tuple[ParamRow, ...] = (
    ParamRow(
        "regParam",
        f"Weight of the penalty, 0 or more. {_REGULARIZATION}",
        to.Number("regParam", Range(0)),
        "float",
    ),
    ParamRow(
        "elasticNetParam",
        f"Share of the L1 penalty, 0 to 1. {_REGULARIZATION}",
        to.Number("elasticNetParam", Range(0, 1)),
        "float",
        0.0,
    ),
)
"""Params of regularization."""
CLASSES: tuple[ParamRow, ...] = (
    ParamRow(
        "family",
        "What is trained: 'binomial' (binary_classifier), 'multinomial' (multiclass_classifier, of 3 classes or more), "
        "or 'auto', by the number of classes.",
        to.Choice("family", FAMILIES),
        "str",
        "auto",
    ),
    ParamRow(
        "threshold",
        "Probability above which class 1 of two is predicted; unset: the threshold that the training job set. "
        "Excludes thresholds.",
        to.Number("threshold", Range(0, 1)),
        "float",
        onModel="set",
    ),
)
"""Params of the classifier."""
