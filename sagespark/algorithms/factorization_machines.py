"""Factorization machines, as AWS's container declares them: one row for the container, and one for each kind."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from sagespark.algorithms.spec import (
    AlgorithmSpec,
    Channel,
    FixedParam,
    Group,
    Hyperparameter,
    Metric,
    Output,
    Range,
    Tunable,
)
from sagespark.algorithms.supervised import CLASSIFICATION, REGRESSION, no_weights

BINARY, REGRESSOR_TYPE = "binary_classifier", "regressor"
"""Values of ``predictor_type``."""
PARTS = {"bias": "the intercept", "linear": "the linear weights", "factors": "the factors"}
"""The three groups of weights, as hyperparameters call them."""
SYMBOL_FILE, PARAMS_FILE, META_FILE = "symbol.json", "params", "meta.json"
"""Members of the ZIP ``model_algo-1``."""

_POSITIVE, _FROM_ZERO = Range(1), Range(0)
_WIDE = Tunable("Continuous", 1e-8, 512)
_RATES = {"bias": 0.1, "linear": 0.001, "factors": 0.0001}
_DECAYS = {"bias": 0.01, "linear": 0.001, "factors": 0.00001}
_SIGMAS = {"bias": 0.01, "linear": 0.01, "factors": 0.001}


def _part(part: str, words: str) -> tuple[Hyperparameter, ...]:
    return (
        Hyperparameter(
            f"{part}_lr",
            "float",
            f"Step size of {words}.",
            default=_RATES[part],
            range=_FROM_ZERO,
            tunable=_WIDE,
        ),
        Hyperparameter(
            f"{part}_wd",
            "float",
            f"Weight of the L2 penalty on {words}.",
            default=_DECAYS[part],
            range=_FROM_ZERO,
            tunable=_WIDE,
        ),
        Hyperparameter(
            f"{part}_init_method",
            "str",
            f"How {words} begin: drawn from a distribution, or a constant.",
            default="normal",
            choices=("normal", "uniform", "constant"),
        ),
        Hyperparameter(
            f"{part}_init_scale",
            "float",
            "With 'uniform': values begin in [-scale, scale].",
            range=_FROM_ZERO,
            tunable=_WIDE,
        ),
        Hyperparameter(
            f"{part}_init_sigma",
            "float",
            "With 'normal': standard deviation of the first values.",
            default=_SIGMAS[part],
            range=_FROM_ZERO,
            tunable=_WIDE,
        ),
        Hyperparameter(
            f"{part}_init_value",
            "float",
            "With 'constant': the first value.",
            tunable=_WIDE,
        ),
    )


def _metrics() -> tuple[Metric, ...]:
    found = [
        Metric("train:progress", r"#progress_metric: host=\S+, completed (\S+) %", "Maximize", "Percent done."),
        Metric(
            "train:throughput",
            r"#throughput_metric: host=\S+, train throughput=(\S+) records/second",
            "Maximize",
            "Rows per second.",
        ),
    ]
    qualities: tuple[tuple[str, str, str, Any, str], ...] = (
        ("rmse", "rmse", "loss", "Minimize", "Root of the mean squared error"),
        ("mse", "mse", "loss", "Minimize", "Mean squared error"),
        ("absolute_loss", "absolute_loss", "loss", "Minimize", "Mean absolute error"),
        ("binary_classification_accuracy", "binary_classification_accuracy", "score", "Maximize", "Accuracy"),
        (
            "binary_classification_cross_entropy",
            "binary_classification_cross_entropy",
            "loss",
            "Minimize",
            "Mean logistic loss",
        ),
        ("binary_f_beta", r"binary_f_\S+", "score", "Maximize", "F1 score of class 1"),
    )
    for name, logged, kind, direction, doc in qualities:
        by_epoch = rf"#quality_metric: host=\S+, epoch=\S+, train {logged} <{kind}>=(\S+)"
        final = rf"#quality_metric: host=\S+, test {logged} <{kind}>=(\S+)"
        objective = name not in ("mse", "absolute_loss")
        found.append(Metric(f"train:{name}:epoch", by_epoch, direction, f"{doc} of each epoch's predictions."))
        found.append(Metric(f"test:{name}", final, direction, f"{doc} on the test channel.", objective))
    return tuple(found)


_CONTENT = ("application/x-recordio-protobuf",)

FACTORIZATION_MACHINES = AlgorithmSpec(
    name="factorization-machines",
    version="1",
    doc="Factorization machines of the second order.",
    input_params=("featuresCol", "labelCol"),
    hyperparameters=(
        Hyperparameter("feature_dim", "int", "Number of features.", range=_POSITIVE, required=True, inferred=True),
        Hyperparameter(
            "predictor_type",
            "str",
            "What is predicted.",
            choices=(BINARY, REGRESSOR_TYPE),
            required=True,
            inferred=True,
        ),
        Hyperparameter(
            "num_factors",
            "int",
            "Number of factors of each feature.",
            default=8,
            range=_POSITIVE,
            param="factorSize",
            required=True,
            send=8,
        ),
        Hyperparameter(
            "mini_batch_size",
            "int",
            "Rows of a mini-batch.",
            default=1000,
            range=_POSITIVE,
            tunable=Tunable("Integer", 100, 10000),
        ),
        Hyperparameter(
            "epochs",
            "int",
            "Passes over the training rows.",
            default=1,
            range=_POSITIVE,
            param="maxIter",
            mllib_default=100,
            tunable=Tunable("Integer", 1, 1000),
        ),
        Hyperparameter(
            "clip_gradient",
            "float",
            "Gradients are cut to [-clip_gradient, clip_gradient], after rescale_grad.",
            range=Range(0, low_open=True),
        ),
        Hyperparameter("eps", "float", "Added to the optimizer's divisor.", range=Range(0, low_open=True)),
        Hyperparameter(
            "rescale_grad",
            "float",
            "What the sum of a mini-batch's gradients is multiplied by; unset: 1 / rows of the mini-batch.",
            range=Range(0, low_open=True),
        ),
        *(h for part, words in PARTS.items() for h in _part(part, words)),
    ),
    groups=(
        Group("stepSize", tuple(f"{p}_lr" for p in PARTS), "Step size of all weights."),
        Group("initStd", tuple(f"{p}_init_sigma" for p in PARTS), "Standard deviation of the first values."),
        Group("regParam", tuple(f"{p}_wd" for p in PARTS), "Weight of the L2 penalty on all weights."),
    ),
    channels=(Channel("train", True, _CONTENT, "required"), Channel("test", False, _CONTENT, "required")),
    metrics=_metrics(),
    outputs=(Output("score", "predictionCol", "prediction", "double", "Score."),),
    distributed=True,
    sources=(
        "https://docs.aws.amazon.com/sagemaker/latest/dg/fact-machines.html",
        "https://docs.aws.amazon.com/sagemaker/latest/dg/fact-machines-howitworks.html",
        "https://docs.aws.amazon.com/sagemaker/latest/dg/fact-machines-hyperparameters.html",
        "https://docs.aws.amazon.com/sagemaker/latest/dg/fm-tuning.html",
        "https://docs.aws.amazon.com/sagemaker/latest/dg/fm-in-formats.html",
        # Names of the artifact's files and arrays:
        "https://aws.amazon.com/blogs/machine-learning/extending-amazon-sagemaker-factorization-machines-algorithm-to-"
        "predict-top-x-recommendations/",
    ),
)
"""The row of the container. Of its metrics AWS publishes the names, not the lines of the log: see `job.quality`."""

_OWN = "SageMaker's factorization machines have no such setting"
_FIXED = (
    no_weights("factorization machines"),
    FixedParam("fitIntercept", True, f"{_OWN}: they always have an intercept"),
    FixedParam("fitLinear", True, f"{_OWN}: they always have linear weights"),
    FixedParam("miniBatchFraction", 1.0, f"{_OWN}; miniBatchSize is the rows of a step"),
    FixedParam("solver", "adamW", f"{_OWN}: they are trained with Adam"),
    FixedParam("tol", 1e-6, f"{_OWN}: they train for maxIter epochs"),
)
FM_CLASSIFIER = replace(FACTORIZATION_MACHINES, outputs=CLASSIFICATION, fixed=_FIXED)
"""The row of the classifier."""
FM_REGRESSOR = replace(FACTORIZATION_MACHINES, outputs=REGRESSION, fixed=_FIXED)
"""The row of the regressor."""
