"""k-nearest neighbours, as AWS's container declares it: one row for the container, one for each of MLlib's kinds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from sagespark.algorithms.spec import AlgorithmSpec, Channel, Hyperparameter, Metric, Output, Range, Tunable
from sagespark.algorithms.supervised import CLASSIFICATION, REGRESSION, no_weights

_POSITIVE = Range(1)
_CONTENT = ("application/x-recordio-protobuf", "text/csv")
PQ_M = (1, 2, 3, 4, 8, 12, 16, 20, 24, 28, 32, 40, 48, 56, 64, 96)
"""Values of ``faiss_index_pq_m``."""
CLASSES_METRIC = "train:classes"
"""Metric from which the classifier knows its number of classes: AWS's has no such hyperparameter."""

_COMMON = (
    Metric("train:progress", r"#progress_metric: host=\S+, completed (\S+) %", "Maximize", "Percent done."),
    Metric(
        "train:throughput",
        r"#throughput_metric: host=\S+, train throughput=(\S+) records/second",
        "Maximize",
        "Rows per second.",
    ),
)
_ACCURACY = (
    Metric(
        CLASSES_METRIC,
        r"#quality_metric: host=\S+, train classes=(\S+)",
        "Maximize",
        "Number of classes: the largest label plus 1; of the embedded service only.",
    ),
    Metric(
        "test:accuracy",
        r"#quality_metric: host=\S+, test accuracy <score>=(\S+)",
        "Maximize",
        "Share of the test rows that are classified as their labels say.",
        objective=True,
    ),
)
_MSE = (
    Metric(
        "test:mse",
        r"#quality_metric: host=\S+, test mse <loss>=(\S+)",
        "Minimize",
        "Mean squared difference of the test rows' predictions and labels.",
        objective=True,
    ),
)

KNN = AlgorithmSpec(
    name="knn",
    version="1",
    doc="k-nearest neighbours: the commonest class, or the mean of the labels, of the nearest training rows.",
    input_params=("featuresCol", "labelCol"),
    hyperparameters=(
        Hyperparameter("feature_dim", "int", "Number of features.", range=_POSITIVE, required=True, inferred=True),
        Hyperparameter(
            "k",
            "int",
            "Number of nearest neighbours.",
            range=_POSITIVE,
            required=True,
            tunable=Tunable("Integer", 1, 1024),
        ),
        Hyperparameter(
            "predictor_type",
            "str",
            "What is predicted: the commonest label, or the mean.",
            choices=("classifier", "regressor"),
            required=True,
            inferred=True,
        ),
        Hyperparameter(
            "sample_size",
            "int",
            "Number of training rows that are kept, drawn at random; unset: all rows of the train channel.",
            range=_POSITIVE,
            required=True,
            tunable=Tunable("Integer", 256, 20_000_000),
        ),
        Hyperparameter(
            "dimension_reduction_type",
            "str",
            "Reduce the number of features by a random projection, 'sign', or the fast Johnson-Lindenstrauss "
            "transform, 'fjlt'; unset: do not.",
            choices=("sign", "fjlt"),
        ),
        Hyperparameter(
            "dimension_reduction_target",
            "int",
            "Number of features to reduce to, less than there are; required with dimensionReductionType.",
            range=_POSITIVE,
        ),
        Hyperparameter(
            "index_type",
            "str",
            "Index: 'faiss.Flat' compares with every row kept; 'faiss.IVFFlat' with those of the nearest cells of a "
            "K-means partition; 'faiss.IVFPQ' likewise, with rows that product quantisation has compressed. The "
            "embedded service does the same without FAISS.",
            default="faiss.Flat",
            choices=("faiss.Flat", "faiss.IVFFlat", "faiss.IVFPQ"),
        ),
        Hyperparameter(
            "index_metric",
            "str",
            "What is near: 'L2' by Euclidean distance, 'INNER_PRODUCT' or 'COSINE' similarity; 'faiss.IVFPQ' takes "
            "'L2' alone.",
            default="L2",
            choices=("L2", "INNER_PRODUCT", "COSINE"),
        ),
        Hyperparameter(
            "faiss_index_ivf_nlists",
            "int",
            "Number of cells of 'faiss.IVFFlat' and 'faiss.IVFPQ'; 'auto': the square root of sample_size.",
            default="auto",
            range=_POSITIVE,
            keywords=("auto",),
        ),
        Hyperparameter(
            "faiss_index_pq_m",
            "int",
            f"Number of parts of a row that 'faiss.IVFPQ' quantises, one of {', '.join(map(str, PQ_M))}; features are "
            "padded with zeros to a multiple of it.",
            range=Range(1, 96),
        ),
        Hyperparameter("mini_batch_size", "int", "Rows that are read at a time.", default=5000, range=_POSITIVE),
    ),
    channels=(
        Channel("train", True, _CONTENT, "required"),
        Channel("test", False, _CONTENT, "required"),
    ),
    metrics=(*_COMMON, *_ACCURACY, *_MSE),
    outputs=(Output("predicted_label", "predictionCol", "prediction", "double", "Class or number."),),
    distributed=True,
    fixed=(no_weights("k-nearest neighbours"),),
    sources=(
        "https://docs.aws.amazon.com/sagemaker/latest/dg/kNN_hyperparameters.html",
        "https://docs.aws.amazon.com/sagemaker/latest/dg/k-nearest-neighbors.html",
        "https://docs.aws.amazon.com/sagemaker/latest/dg/kNN_how-it-works.html",
        "https://docs.aws.amazon.com/sagemaker/latest/dg/kNN-tuning.html",
        "https://docs.aws.amazon.com/sagemaker/latest/dg/kNN-inference-formats.html",
        "https://docs.aws.amazon.com/sagemaker/latest/dg/kNN-in-formats.html",
    ),
)
"""The row of the container. Of its metrics AWS publishes the names, not the lines of the log: see `job.quality`."""
CLASSIFIER = replace(
    KNN,
    outputs=CLASSIFICATION,
    metrics=(*_COMMON, *_ACCURACY),
    # Raw scores and probabilities are counts of the neighbours' labels, which only a verbose answer holds.
    accept="application/x-recordio-protobuf; verbose=true",
)
"""The row of the classifier."""
REGRESSOR = replace(KNN, outputs=REGRESSION, metrics=(*_COMMON, *_MSE))
"""The row of the regressor."""


def contradictions(values: Mapping[str, Any], width: int | None = None) -> list[str]:
    """Return which hyperparameters do not go together, in words.

    Parameters
    ----------
    values : mapping
        By wire string; those that are absent or None are unset.
    width : int or None
        ``feature_dim``, where it is known.
    """
    problems: list[str] = []
    kind, target = values.get("dimension_reduction_type"), values.get("dimension_reduction_target")
    if (kind is None) != (target is None):
        has, lacks = ("dimension_reduction_type", "dimension_reduction_target")[:: 1 if target is None else -1]
        problems.append(f"{has} needs {lacks} beside it; give both or neither")
    elif target is not None and width is not None and target >= width:
        problems.append(f"dimension_reduction_target must be less than feature_dim ({width}), but got {target}")
    index = values.get("index_type") or "faiss.Flat"
    metric, m = values.get("index_metric") or "L2", values.get("faiss_index_pq_m")
    if index == "faiss.IVFPQ" and metric != "L2":
        problems.append(f"index_type 'faiss.IVFPQ' takes index_metric 'L2' alone, but got {metric!r}")
    if index == "faiss.IVFPQ" and m is None:
        problems.append("index_type 'faiss.IVFPQ' needs faiss_index_pq_m, the number of parts of a row")
    if m is not None and m not in PQ_M:
        problems.append(f"faiss_index_pq_m must be one of {', '.join(map(str, PQ_M))}, but got {m}")
    return problems
