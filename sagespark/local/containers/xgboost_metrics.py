"""The metrics that AWS's container adds to XGBoost's own, from sums that several hosts can add up.

Notation: ``C`` the confusion table, ``C[i, j]`` rows of class ``i`` that are predicted ``j``; ``y`` labels, ``f``
predictions. Weights do not count, as in AWS's container.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import xgboost

Floats = NDArray[np.float64]
Sum = Callable[[Floats], Floats]
"""Adds up an array over all hosts."""


def _share(top: Floats, below: Floats) -> Floats:
    return np.divide(top, below, out=np.zeros_like(top), where=below > 0)


def _precision(table: Floats) -> Floats:
    return _share(np.diag(table), table.sum(axis=0))


def _recall(table: Floats) -> Floats:
    return _share(np.diag(table), table.sum(axis=1))


def _f1(table: Floats) -> Floats:
    return _share(2 * np.diag(table), table.sum(axis=0) + table.sum(axis=1))


def _mean(values: Floats, table: Floats) -> float:
    """Return the mean over the classes that occur, as label or prediction."""
    present = table.sum(axis=0) + table.sum(axis=1) > 0
    return float(values[present].mean())


def _accuracy(table: Floats) -> float:
    return float(np.trace(table) / table.sum())


def _balanced(table: Floats) -> float:
    """Return the mean recall of the classes that occur as labels."""
    return float(_recall(table)[table.sum(axis=1) > 0].mean())


OF_TABLES: Mapping[str, Callable[[Floats], float]] = {
    "accuracy": _accuracy,
    "balanced_accuracy": _balanced,
    "f1": lambda t: _mean(_f1(t), t),
    "f1_binary": lambda t: float(_f1(t)[1]),
    "f1_macro": lambda t: _mean(_f1(t), t),
    "precision": lambda t: float(_precision(t)[1]),
    "precision_macro": lambda t: _mean(_precision(t), t),
    "precision_micro": _accuracy,
    "recall": lambda t: float(_recall(t)[1]),
    "recall_macro": lambda t: _mean(_recall(t), t),
    "recall_micro": _accuracy,
}
"""Metrics of classes; each class having one label, micro averages are the accuracy."""
BINARY_ONLY = frozenset(("f1_binary", "precision", "recall"))
"""Those that speak of class 1 alone."""
OF_NUMBERS = ("mse", "r2")
CUSTOM = frozenset((*OF_TABLES, *OF_NUMBERS))
"""Values of ``eval_metric`` that XGBoost itself does not have."""


def evaluator(
    names: Sequence[str], objective: str, classes: int, total: Sum
) -> Callable[[NDArray[Any], xgboost.DMatrix], list[tuple[str, float]]]:
    """Return what ``xgboost.train`` takes as ``custom_metric``.

    Parameters
    ----------
    names : sequence of str
        Members of `CUSTOM`.
    objective : str
        Tells what predictions are: probabilities, margins or classes.
    classes : int
    total : callable
    """

    def evaluate(predictions: NDArray[Any], rows: xgboost.DMatrix) -> list[tuple[str, float]]:
        labels = rows.get_label().astype(np.float64)
        found: dict[str, float] = {}
        if any(name in OF_TABLES for name in names):
            told = _classes(predictions, objective)
            table = np.zeros((classes, classes))
            np.add.at(table, (labels.astype(np.intp), told), 1)
            table = total(table)
            found = {name: OF_TABLES[name](table) for name in names if name in OF_TABLES}
        if any(name in OF_NUMBERS for name in names):
            error = labels - predictions.reshape(len(labels), -1)[:, 0]
            count, one, two, squares = total(np.array([len(labels), labels.sum(), (labels**2).sum(), (error**2).sum()]))
            around = two - one**2 / count
            found |= {"mse": float(squares / count), "r2": float(1 - squares / around) if around > 0 else 0.0}
        return [(name, found[name]) for name in names]

    return evaluate


def _classes(predictions: NDArray[Any], objective: str) -> NDArray[np.intp]:
    if predictions.ndim == 2:
        told: NDArray[np.intp] = predictions.argmax(axis=1)
        return told
    if objective in ("multi:softmax", "binary:hinge"):
        return predictions.astype(np.intp)
    return (predictions > (0.0 if objective == "binary:logitraw" else 0.5)).astype(np.intp)
