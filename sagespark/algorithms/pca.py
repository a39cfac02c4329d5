"""PCA, as AWS's container declares it."""

from __future__ import annotations

from sagespark.algorithms.spec import AlgorithmSpec, Channel, Hyperparameter, Metric, Output, Range

_POSITIVE = Range(1)
_CONTENT = ("application/x-recordio-protobuf", "text/csv")

TOTAL_METRIC = "train:total_squares"
"""Metric from which the proportion of each component's variance follows."""

PCA = AlgorithmSpec(
    name="pca",
    version="1",
    doc="Principal component analysis.",
    input_params=("inputCol",),
    hyperparameters=(
        Hyperparameter("feature_dim", "int", "Number of features.", range=_POSITIVE, required=True, inferred=True),
        Hyperparameter(
            "num_components",
            "int",
            "Number of principal components.",
            range=_POSITIVE,
            param="k",
            required=True,
        ),
        Hyperparameter(
            "mini_batch_size",
            "int",
            "Rows of a mini-batch. SageMaker requires it and has no default: while it is unset, 1000 is sent.",
            default=1000,
            range=_POSITIVE,
            required=True,
            send=1000,
        ),
        Hyperparameter(
            "algorithm_mode",
            "str",
            "'regular' adds up the covariance matrix; 'randomized' approximates it, for many features.",
            default="regular",
            choices=("regular", "randomized"),
        ),
        Hyperparameter(
            "extra_components",
            "int",
            "Components computed beyond those asked for, in the mode 'randomized': more are more accurate and take "
            "more time and memory; -1: the larger of 10 and the number of components.",
            default=-1,
            range=Range(-1),
        ),
        Hyperparameter(
            "subtract_mean",
            "bool",
            "Subtract the mean of the training rows, in training and from every row that is projected.",
            default=True,
        ),
    ),
    channels=(
        Channel("train", True, _CONTENT),
        Channel("test", False, _CONTENT),
    ),
    metrics=(
        Metric("train:progress", r"#progress_metric: host=\S+, completed (\S+) %", "Maximize", "Percent done."),
        Metric(
            "train:throughput",
            r"#throughput_metric: host=\S+, train throughput=(\S+) records/second",
            "Maximize",
            "Rows per second.",
        ),
        Metric(
            TOTAL_METRIC,
            r"#quality_metric: host=\S+, train total_squares=(\S+)",
            "Maximize",
            "Sum of squared distances of the training rows to their mean, or to zero without subtract_mean; of the "
            "embedded service only.",
        ),
        Metric(
            "test:reconstruction_msd",
            r"#quality_metric: host=\S+, test reconstruction_msd=(\S+)",
            "Minimize",
            "Mean squared distance of the test rows to what their projections tell of them; of the embedded service "
            "only: AWS scores the test channel and does not say how.",
        ),
    ),
    outputs=(
        Output(
            "projection",
            "outputCol",
            None,
            "vector",
            "The row in the space of the components, the one of the largest variance first.",
        ),
    ),
    distributed=True,
    sources=(
        "https://docs.aws.amazon.com/sagemaker/latest/dg/PCA-reference.html",
        "https://docs.aws.amazon.com/sagemaker/latest/dg/pca.html",
        "https://docs.aws.amazon.com/sagemaker/latest/dg/how-pca-works.html",
        "https://docs.aws.amazon.com/sagemaker/latest/dg/PCA-in-formats.html",
        # An artifact of AWS's container, its log, and the order of its answers (the largest component last):
        "https://github.com/udacity/ML_SageMaker_Studies/tree/master/Population_Segmentation",
    ),
)
