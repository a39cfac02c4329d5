"""How good predictions are: thresholds for two classes, the choice among models, and the metrics of AWS's log.

Notation: two classes, margins ``p`` (n,), labels ``y`` of 0 and 1; a row is called 1 where ``p >= t``. With ``TP``,
``FP``, ``P`` and ``N`` the rows called 1 rightly and wrongly, and those of each class:

    precision = TP / (TP + FP),  recall = TP / P,  F = (1 + b^2) precision recall / (b^2 precision + recall)        (1)
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sagespark.local.containers.linear_losses import logistic

Floats = NDArray[np.float64]

CALIBRATION_ROWS = 1_000_000
"""Rows by which models are compared where num_calibration_samples is 'auto'."""


def calibration_rows(values: Mapping[str, Any]) -> int:
    """Return the number of rows by which models are compared, and thresholds set."""
    most = values["num_calibration_samples"]
    return CALIBRATION_ROWS if most == "auto" else int(most)


def f_score(precision: Floats, recall: Floats, beta: float) -> Floats:
    """Equation (1); 0 where both are 0."""
    below = beta**2 * precision + recall
    return np.divide((1 + beta**2) * precision * recall, below, out=np.zeros_like(below), where=below > 0)


def threshold(margins: Floats, labels: Floats, values: Mapping[str, Any]) -> tuple[float, float]:
    """Return the threshold that is best by the model selection criterion, and how good it is (more is better).

    Thresholds tried lie halfway between neighbouring margins, below the least and above the greatest. Of several that
    are equally good the one nearest to 0 is taken, where both classes are as likely.

    Parameters
    ----------
    margins, labels : ndarray of shape (n,)
    values : mapping
        Hyperparameters of the linear learner.
    """
    criterion = values["binary_classifier_model_selection_criteria"]
    if criterion == "cross_entropy_loss":
        return 0.0, -float(logistic(margins[:, np.newaxis], labels)[0].mean())
    order = np.argsort(-margins, kind="stable")
    falling, hits = margins[order], np.cumsum(labels[order])
    # Position i: the first i rows are called 1. Equal margins are not parted.
    last = np.flatnonzero(np.diff(falling, append=-np.inf) != 0)
    tp = np.concatenate([[0.0], hits[last]])
    called = np.concatenate([[0.0], last + 1.0])
    edges = np.concatenate([[falling[0] + 2], falling[last], [falling[-1] - 2]])
    cuts = (edges[:-1] + edges[1:]) / 2
    positives = hits[-1]
    precision = np.divide(tp, called, out=np.ones_like(tp), where=called > 0)
    recall = tp / positives if positives else np.zeros_like(tp)
    if criterion == "accuracy":
        quality = (tp + (len(labels) - positives) - (called - tp)) / len(labels)
    elif criterion in ("f1", "f_beta"):
        quality = f_score(precision, recall, 1.0 if criterion == "f1" else values["f_beta"])
    elif criterion == "precision_at_target_recall":
        quality = np.where(recall >= values["target_recall"], precision, -1.0)
    else:
        # Where the target is out of reach the most precise threshold is the next best; calling none 1 is no answer.
        reached = (precision >= values["target_precision"]) & (called > 0)
        quality = np.where(reached, recall, precision - 2)
        quality[0] = -2
    best = np.flatnonzero(quality >= quality.max() - 1e-12)
    chosen = best[np.abs(cuts[best]).argmin()]
    return float(cuts[chosen]), float(quality[chosen])


def roc_auc(margins: Floats, labels: Floats) -> float:
    """Return the area under the ROC curve: the share of pairs in order, ties counting half; NaN with one class."""
    _, group, size = np.unique(margins, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(size) - (size - 1) / 2)[group]
    positives = labels.sum()
    negatives = len(labels) - positives
    if not positives or not negatives:
        return float("nan")
    return float((ranks[labels == 1].sum() - positives * (positives + 1) / 2) / (positives * negatives))


def binary_metrics(margins: Floats, labels: Floats, cut: float, beta: float) -> dict[str, float]:
    """Return the metrics of two classes as the log calls them, with ``<score>``."""
    called = margins >= cut
    tp, fp = float(labels[called].sum()), float((1 - labels[called]).sum())
    fn = float(labels.sum()) - tp
    precision, recall = tp / (tp + fp) if tp + fp else 0.0, tp / (tp + fn) if tp + fn else 0.0
    return {
        "binary_classification_accuracy <score>": float((called == (labels == 1)).mean()),
        f"binary_f_{beta:.3f} <score>": float(f_score(np.array(precision), np.array(recall), beta)),
        "precision <score>": precision,
        "recall <score>": recall,
        "roc_auc_score <score>": roc_auc(margins, labels),
    }


def multiclass_metrics(scores: Floats, labels: Floats, top: int, beta: float) -> dict[str, float]:
    """Return the metrics of several classes as the log calls them.

    Parameters
    ----------
    scores : ndarray of shape (n, K)
    labels : ndarray of shape (n,)
    top : int
        The k of the top-k accuracy.
    beta : float
    """
    classes = scores.shape[1]
    right = labels.astype(np.intp)
    called = scores.argmax(axis=1)
    hits = np.bincount(right[called == right], minlength=classes).astype(np.float64)
    given = np.bincount(called, minlength=classes)
    there = np.bincount(right, minlength=classes)
    precision = np.divide(hits, given, out=np.zeros(classes), where=given > 0)
    recall = np.divide(hits, there, out=np.zeros(classes), where=there > 0)
    present = there > 0
    own = scores[np.arange(len(right)), right][:, np.newaxis]
    # Place of the right class, from 0; the earlier of equal scores is named first.
    ahead = (scores > own) | ((scores == own) & (np.arange(classes) < right[:, np.newaxis]))
    place = ahead.sum(axis=1)
    return {
        "multiclass_accuracy <score>": float((place == 0).mean()),
        f"multiclass_top_k_accuracy_{top} <score>": float((place < top).mean()),
        "dcg <score>": float((1 / np.log2(place + 2.0)).mean()),
        "macro_recall <score>": float(recall[present].mean()),
        "macro_precision <score>": float(precision[present].mean()),
        f"macro_f_{beta:.3f} <score>": float(f_score(precision, recall, beta)[present].mean()),
    }


def regression_metrics(predicted: Floats, labels: Floats) -> dict[str, float]:
    """Return the metrics of a regressor as the log calls them, in the label's own units."""
    error = predicted - labels
    return {"mse <loss>": float((error**2).mean()), "absolute_loss <loss>": float(np.abs(error).mean())}
