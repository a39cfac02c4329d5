"""Linear learner, as AWS's container declares it: one row for the container, and one for each of MLlib's kinds."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from sagespark.algorithms.spec import AlgorithmSpec, Channel, FixedParam, Hyperparameter, Metric, Output, Range, Tunable
from sagespark.algorithms.supervised import CLASSIFICATION, REGRESSION, no_weights

BINARY, MULTICLASS, REGRESSOR_TYPE = "binary_classifier", "multiclass_classifier", "regressor"
"""Values of ``predictor_type``."""
BINARY_LOSSES = ("logistic", "hinge_loss")
MULTICLASS_LOSSES = ("softmax_loss",)
REGRESSION_LOSSES = (
    "squared_loss",
    "absolute_loss",
    "eps_insensitive_squared_loss",
    "eps_insensitive_absolute_loss",
    "quantile_loss",
    "huber_loss",
)
LOSSES = {BINARY: BINARY_LOSSES, MULTICLASS: MULTICLASS_LOSSES, REGRESSOR_TYPE: REGRESSION_LOSSES}
"""Losses by predictor type; 'auto' is the first."""
CRITERIA = (
    "accuracy",
    "f1",
    "f_beta",
    "precision_at_target_recall",
    "recall_at_target_precision",
    "cross_entropy_loss",
    "loss_function",
)
"""Values of ``binary_classifier_model_selection_criteria``."""

SYMBOL_FILE, PARAMS_FILE, MORE_FILE = "mx-mod-symbol.json", "mx-mod-0000.params", "additional-params.json"
"""Members of the ZIP ``model_algo-1``."""

_AUTO = ("auto",)
_POSITIVE = Range(0, low_open=True)
_SHARE = Range(0, 1, low_open=True, high_open=True)
_CONTENT = ("application/x-recordio-protobuf", "text/csv")


def _auto(wire: str, kind: Any, doc: str, range_: Range | None = None, **more: Any) -> Hyperparameter:
    """Return a hyperparameter that is 'auto' unless it is set."""
    return Hyperparameter(wire, kind, doc, default="auto", range=range_, keywords=_AUTO, **more)


def _plain(wire: str, kind: Any, doc: str, default: Any, range_: Range | None = None, **more: Any) -> Hyperparameter:
    return Hyperparameter(wire, kind, doc, default=default, range=range_, **more)


_COMMON = (
    Hyperparameter(
        "feature_dim",
        "int",
        "Number of features; 'auto': the rows tell.",
        default="auto",
        range=Range(1),
        keywords=_AUTO,
        inferred=True,
    ),
    Hyperparameter(
        "predictor_type",
        "str",
        "What is predicted.",
        choices=(BINARY, MULTICLASS, REGRESSOR_TYPE),
        required=True,
        inferred=True,
    ),
    _plain(
        "mini_batch_size",
        "int",
        "Rows of a mini-batch.",
        1000,
        Range(1),
        tunable=Tunable("Integer", 100, 5000),
    ),
    _plain("epochs", "int", "Most passes over the training rows.", 15, Range(1), param="maxIter", mllib_default=100),
    _plain(
        "use_bias",
        "bool",
        "Whether the model has an intercept.",
        True,
        param="fitIntercept",
        tunable=Tunable("Categorical", values=("True", "False")),
    ),
    _auto(
        "num_models",
        "int",
        "Models trained side by side, of which the best one is kept; 'auto': up to 32, which differ in what is 'auto' "
        "of learning_rate, wd, l1 and positive_example_weight_mult.",
        Range(1),
    ),
    _auto("num_calibration_samples", "int", "Rows by which models are compared and thresholds set.", Range(1)),
    _plain(
        "init_method",
        "str",
        "Distribution of the initial weights.",
        "uniform",
        choices=("uniform", "normal"),
    ),
    _plain("init_scale", "float", "With 'uniform': weights begin in [-init_scale, init_scale].", 0.07, _POSITIVE),
    _plain("init_sigma", "float", "With 'normal': standard deviation of the initial weights.", 0.01, _POSITIVE),
    _plain("init_bias", "float", "Initial intercept.", 0.0),
    _plain(
        "optimizer",
        "str",
        "How weights are updated; 'auto' is 'adam'.",
        "auto",
        choices=("auto", "sgd", "adam", "rmsprop"),
    ),
    _auto("wd", "float", "Weight of the L2 penalty.", Range(0), tunable=Tunable("Continuous", 1e-7, 1)),
    _auto("l1", "float", "Weight of the L1 penalty.", Range(0), tunable=Tunable("Continuous", 1e-7, 1)),
    _auto("momentum", "float", "Momentum of 'sgd'; 'auto' is 0.9.", Range(0, 1, high_open=True)),
    _auto(
        "learning_rate",
        "float",
        "Step size of the optimizer.",
        _POSITIVE,
        tunable=Tunable("Continuous", 1e-5, 1),
    ),
    _auto("beta_1", "float", "Decay of the first moments of 'adam'; 'auto' is 0.9.", Range(0, 1, high_open=True)),
    _auto("beta_2", "float", "Decay of the second moments of 'adam'; 'auto' is 0.999.", Range(0, 1, high_open=True)),
    _auto("bias_lr_mult", "float", "The intercept's step size, as a multiple of learning_rate.", _POSITIVE),
    _auto("bias_wd_mult", "float", "The intercept's L2 penalty, as a multiple of wd; 'auto' is 0.", Range(0)),
    _plain("use_lr_scheduler", "bool", "Whether the step size falls during training.", True),
    _auto("lr_scheduler_step", "int", "Updates after which the step size falls.", Range(1)),
    _auto("lr_scheduler_factor", "float", "What the step size is multiplied by.", _SHARE),
    _auto("lr_scheduler_minimum_lr", "float", "The step size never falls below this.", _POSITIVE),
    _plain(
        "normalize_data",
        "bool",
        "Scale every feature to unit standard deviation while training.",
        True,
        keywords=_AUTO,
        param="standardization",
    ),
    _auto("normalize_label", "bool", "Scale the label likewise; 'auto': where the predictor is a regressor."),
    _auto("unbias_data", "bool", "Subtract every feature's mean while training; 'auto': where there is an intercept."),
    _auto("unbias_label", "bool", "Subtract the label's mean while training; 'auto': where there is an intercept."),
    _plain("num_point_for_scaler", "int", "Rows from which means and deviations are taken.", 10000, Range(1)),
    _plain(
        "early_stopping_patience",
        "int",
        "Epochs without an improvement after which training ends: of the model selection criterion on the validation "
        "channel where both are given, else of the loss.",
        3,
        Range(1),
    ),
    _plain(
        "early_stopping_tolerance",
        "float",
        "Share of the best value so far by which it must be better to count as an improvement.",
        0.001,
        _POSITIVE,
        param="tol",
        mllib_default=1e-6,
    ),
)
_LOSS = Hyperparameter(
    "loss",
    "str",
    "What is minimized; 'auto': 'logistic', 'softmax_loss' or 'squared_loss'.",
    default="auto",
    choices=("auto", *BINARY_LOSSES, *MULTICLASS_LOSSES, *REGRESSION_LOSSES),
)
_REGRESSION = (
    _plain("margin", "float", "Margin of 'hinge_loss'.", 1.0, _POSITIVE),
    _plain("quantile", "float", "Quantile that 'quantile_loss' predicts.", 0.5, _SHARE),
    _plain(
        "loss_insensitivity",
        "float",
        "Errors below this cost nothing with the 'eps_insensitive' losses; in units of the label as trained on.",
        0.01,
        _POSITIVE,
    ),
    _plain(
        "huber_delta",
        "float",
        "Error at which 'huber_loss' turns from squared to linear; in units of the label as trained on.",
        1.0,
        _POSITIVE,
    ),
)
_F_BETA = _plain("f_beta", "float", "Beta of the F score.", 1.0, _POSITIVE)
_CLASSES = Hyperparameter(
    "num_classes", "int", "Number of classes of a multiclass classifier.", range=Range(3, 1_000_000), inferred=True
)
_BINARY = (
    _plain(
        "binary_classifier_model_selection_criteria",
        "str",
        "How two classes' models are compared, and what the threshold is set for.",
        "accuracy",
        choices=CRITERIA,
    ),
    _plain("target_recall", "float", "Least recall with 'precision_at_target_recall'.", 0.8, _SHARE),
    _plain("target_precision", "float", "Least precision with 'recall_at_target_precision'.", 0.8, _SHARE),
    _plain(
        "positive_example_weight_mult",
        "float",
        "Weight of class 1 where class 0 has 1; 'balanced': both classes weigh the same in all; 'auto': the better of "
        "1 and 'balanced'.",
        1.0,
        _POSITIVE,
        keywords=("balanced", "auto"),
        tunable=Tunable("Continuous", 1e-5, 1e5),
    ),
)
_MULTICLASS = (
    _plain("accuracy_top_k", "int", "The k of the top-k accuracy.", 3, Range(1)),
    _plain("balance_multiclass_weights", "bool", "Let all classes weigh the same in the loss.", False),
)

_QUALITIES: tuple[tuple[str, str, str, Any, str], ...] = (
    ("objective_loss", r"\S+_objective", "loss", "Minimize", "Loss"),
    ("absolute_loss", "absolute_loss", "loss", "Minimize", "Mean absolute error of the final model"),
    ("mse", "mse", "loss", "Minimize", "Mean squared error of the final model"),
    ("binary_classification_accuracy", "binary_classification_accuracy", "score", "Maximize", "Accuracy"),
    ("binary_f_beta", r"binary_f_\S+", "score", "Maximize", "F score of class 1"),
    ("precision", "precision", "score", "Maximize", "Precision of class 1"),
    ("recall", "recall", "score", "Maximize", "Recall of class 1"),
    ("roc_auc_score", "roc_auc_score", "score", "Maximize", "Area under the ROC curve"),
    ("dcg", "dcg", "score", "Maximize", "Discounted cumulative gain"),
    ("macro_f_beta", r"macro_f_\S+", "score", "Maximize", "F score, the mean over the classes"),
    ("macro_precision", "macro_precision", "score", "Maximize", "Precision, the mean over the classes"),
    ("macro_recall", "macro_recall", "score", "Maximize", "Recall, the mean over the classes"),
    ("multiclass_accuracy", "multiclass_accuracy", "score", "Maximize", "Accuracy"),
    (
        "multiclass_top_k_accuracy",
        r"multiclass_top_k_accuracy_\S+",
        "score",
        "Maximize",
        "Share of rows whose class is among the k likeliest",
    ),
)
"""AWS's name, what the log calls it (AWS's regex), its kind, its direction, and words."""


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
    for channel in ("train", "validation", "test"):
        for name, logged, kind, direction, doc in _QUALITIES:
            final = rf"#quality_metric: host=\S+, {channel} {logged} <{kind}>=(\S+)"
            text = f"{doc} on the {channel} channel."
            objective = channel != "train"
            if name == "objective_loss" and channel != "test":
                by_epoch = rf"#quality_metric: host=\S+, epoch=\S+, {channel} {logged} <{kind}>=(\S+)"
                found.append(Metric(f"{channel}:{name}", by_epoch, direction, f"After each epoch: {text}", objective))
                found.append(Metric(f"{channel}:{name}:final", final, direction, f"Of the final model: {text}"))
            else:
                found.append(Metric(f"{channel}:{name}", final, direction, text, objective))
    return tuple(found)


LINEAR_LEARNER = AlgorithmSpec(
    name="linear-learner",
    version="1",
    doc="Linear classifiers and regressors, many trained side by side.",
    input_params=("featuresCol", "labelCol"),
    hyperparameters=(*_COMMON, _LOSS, *_REGRESSION, _F_BETA, _CLASSES, *_BINARY, *_MULTICLASS),
    channels=(
        Channel("train", True, _CONTENT, "required"),
        Channel("validation", False, _CONTENT, "required"),
        Channel("test", False, _CONTENT, "required"),
    ),
    metrics=_metrics(),
    outputs=(Output("score", "predictionCol", "prediction", "double", "Score."),),
    distributed=True,
    sources=(
        "https://docs.aws.amazon.com/sagemaker/latest/dg/linear-learner.html",
        "https://docs.aws.amazon.com/sagemaker/latest/dg/ll_how-it-works.html",
        "https://docs.aws.amazon.com/sagemaker/latest/dg/ll_hyperparameters.html",
        "https://docs.aws.amazon.com/sagemaker/latest/dg/linear-learner-tuning.html",
        "https://docs.aws.amazon.com/sagemaker/latest/dg/LL-in-formats.html",
    ),
)
"""The row of the container. Names and regexes of its metrics are what DescribeTrainingJob answers for AWS's image."""

_OWN = "SageMaker's linear learner has no such setting"
_WEIGHTS = no_weights("linear learner")
_FIXED = (
    _WEIGHTS,
    FixedParam("aggregationDepth", 2, _OWN),
    FixedParam("maxBlockSizeInMB", 0.0, f"{_OWN}; miniBatchSize is the rows of a step"),
)
_BOUNDS = tuple(
    FixedParam(f"{side}BoundsOn{what}", None, _OWN)
    for side in ("lower", "upper")
    for what in ("Coefficients", "Intercepts")
)

LINEAR_CLASSIFIER = replace(
    LINEAR_LEARNER,
    hyperparameters=(
        *_COMMON,
        replace(
            _LOSS,
            doc="What is minimized; 'auto': 'logistic' for two classes, 'softmax_loss' for more.",
            choices=("auto", *BINARY_LOSSES, *MULTICLASS_LOSSES),
            spellings={"hinge": "hinge_loss"},
        ),
        _REGRESSION[0],
        _F_BETA,
        _CLASSES,
        *_BINARY,
        *_MULTICLASS,
    ),
    outputs=CLASSIFICATION,
    fixed=(*_FIXED, *_BOUNDS),
)
"""The row of the classifier."""
LINEAR_REGRESSOR = replace(
    LINEAR_LEARNER,
    hyperparameters=(
        *_COMMON,
        replace(
            _LOSS,
            doc="What is minimized; 'auto' is 'squared_loss'.",
            choices=("auto", *REGRESSION_LOSSES),
            spellings={"squaredError": "squared_loss", "huber": "huber_loss"},
            mllib_default="squaredError",
        ),
        *_REGRESSION[1:],
    ),
    outputs=REGRESSION,
    fixed=(
        *_FIXED,
        FixedParam("solver", "auto", f"{_OWN}; optimizer is how weights are updated"),
        FixedParam("epsilon", 1.35, f"{_OWN}; huberDelta is where the huber loss turns linear"),
    ),
)
"""The row of the regressor."""
