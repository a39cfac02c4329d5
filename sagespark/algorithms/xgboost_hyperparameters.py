"""Every hyperparameter of AWS's XGBoost container 3.2-0, with objectives and metrics.

Ranges are those of ``algorithm_mode/hyperparameter_validation.py`` in the container's repository, defaults those of
AWS's page on XGBoost's hyperparameters; what tuning may search is its page on tuning XGBoost.
"""

from __future__ import annotations

from sagespark.algorithms.spec import Hyperparameter, Range, Tunable

BINARY = ("binary:logistic", "binary:logitraw", "binary:hinge")
"""Objectives of two classes."""
MULTICLASS = ("multi:softprob", "multi:softmax")
"""Objectives of several classes."""
RANKING = ("rank:ndcg", "rank:pairwise", "rank:map")
"""Objectives of ranking."""
NUMBERS = (
    "reg:squarederror",
    "reg:linear",
    "reg:logistic",
    "reg:gamma",
    "reg:tweedie",
    "reg:squaredlogerror",
    "reg:absoluteerror",
    "reg:pseudohubererror",
    "count:poisson",
    "survival:aft",
    "survival:cox",
)
"""Objectives of regression."""

MAXIMIZED: tuple[str, ...] = (
    "accuracy",
    "auc",
    "aucpr",
    "balanced_accuracy",
    "f1",
    "f1_binary",
    "f1_macro",
    "map",
    "ndcg",
    "precision",
    "precision_macro",
    "precision_micro",
    "r2",
    "recall",
    "recall_macro",
    "recall_micro",
)
"""Values of ``eval_metric`` of which more is better."""
MINIMIZED: tuple[str, ...] = (
    "aft-nloglik",
    "cox-nloglik",
    "error",
    "gamma-deviance",
    "gamma-nloglik",
    "interval-regression-accuracy",
    "logloss",
    "mae",
    "mape",
    "merror",
    "mlogloss",
    "mphe",
    "mse",
    "poisson-nloglik",
    "rmse",
    "rmsle",
    "tweedie-nloglik",
)
"""Values of ``eval_metric`` of which less is better."""
_SHARE, _POSITIVE, _ABOVE_ZERO = Range(0, 1, low_open=True), Range(1), Range(0)
_FLAG = Range(0, 1)


def _continuous(low: float, high: float) -> Tunable:
    return Tunable("Continuous", low, high)


HYPERPARAMETERS: tuple[Hyperparameter, ...] = (
    Hyperparameter(
        "num_round",
        "int",
        "Rounds of boosting; with one tree a round and class, the number of trees.",
        range=_POSITIVE,
        param="maxIter",
        required=True,
        send=100,
        mllib_default=20,
        tunable=Tunable("Integer", 1, 4000),
    ),
    Hyperparameter("num_class", "int", "Number of classes, for 'multi:'.", range=Range(2), inferred=True),
    Hyperparameter(
        "objective",
        "str",
        "What is minimized.",
        default="reg:squarederror",
        choices=(*BINARY, *MULTICLASS, *RANKING, *NUMBERS),
    ),
    Hyperparameter(
        "eval_metric",
        "list",
        "Metrics of the train and validation rows after each round; unset: the objective's own.",
        choices=tuple(sorted((*MAXIMIZED, *MINIMIZED))),
        pattern=r"(error|ndcg|map)@\d+(\.\d+)?",
        example="error@0.7",
        separator=",",
    ),
    Hyperparameter(
        "early_stopping_rounds",
        "int",
        "Stop once the last metric of eval_metric (or of tuning) on the validation channel has not improved for this "
        "many rounds, and keep the best round's model.",
        range=_POSITIVE,
    ),
    Hyperparameter(
        "booster", "str", "Trees, or a linear model.", default="gbtree", choices=("gbtree", "gblinear", "dart")
    ),
    Hyperparameter(
        "eta",
        "float",
        "Step size: each tree's share in the sum.",
        default=0.3,
        range=_FLAG,
        param="stepSize",
        mllib_default=0.1,
        tunable=_continuous(0.1, 0.5),
    ),
    Hyperparameter(
        "gamma", "float", "Least gain of a split.", default=0.0, range=_ABOVE_ZERO, tunable=_continuous(0, 5)
    ),
    Hyperparameter(
        "max_depth",
        "int",
        "Most splits on the way to a leaf; 0: no limit.",
        default=6,
        range=_ABOVE_ZERO,
        param="maxDepth",
        mllib_default=5,
        tunable=Tunable("Integer", 0, 10),
    ),
    Hyperparameter(
        "min_child_weight",
        "float",
        "Least sum of second derivatives in a child.",
        default=1.0,
        range=_ABOVE_ZERO,
        tunable=_continuous(0, 120),
    ),
    Hyperparameter(
        "max_delta_step",
        "float",
        "Most that a leaf may give; 0: no limit.",
        default=0.0,
        range=_ABOVE_ZERO,
        tunable=Tunable("Integer", 0, 10),
    ),
    Hyperparameter(
        "subsample",
        "float",
        "Share of the rows that each round is grown on.",
        default=1.0,
        range=_SHARE,
        param="subsamplingRate",
        tunable=_continuous(0.5, 1),
    ),
    Hyperparameter(
        "colsample_bytree",
        "float",
        "Share of the features per tree.",
        default=1.0,
        range=_SHARE,
        tunable=_continuous(0.5, 1),
    ),
    Hyperparameter(
        "colsample_bylevel",
        "float",
        "Share of the features per level.",
        default=1.0,
        range=_SHARE,
        tunable=_continuous(0.1, 1),
    ),
    Hyperparameter(
        "colsample_bynode",
        "float",
        "Share of the features per split.",
        default=1.0,
        range=_SHARE,
        tunable=_continuous(0.1, 1),
    ),
    Hyperparameter(
        "lambda",
        "float",
        "L2 regularization of the leaves.",
        default=1.0,
        range=_ABOVE_ZERO,
        param="regLambda",
        tunable=_continuous(0, 1000),
    ),
    Hyperparameter(
        "alpha",
        "float",
        "L1 regularization of the leaves.",
        default=0.0,
        range=_ABOVE_ZERO,
        param="regAlpha",
        tunable=_continuous(0, 1000),
    ),
    Hyperparameter(
        "tree_method",
        "str",
        "How splits are found.",
        default="auto",
        choices=("auto", "exact", "approx", "hist", "gpu_hist"),
    ),
    Hyperparameter(
        "max_bin",
        "int",
        "Most bins of a feature's values, for 'hist' and 'approx'.",
        default=256,
        range=_ABOVE_ZERO,
        param="maxBins",
        mllib_default=32,
    ),
    Hyperparameter(
        "grow_policy", "str", "Which node is split next.", default="depthwise", choices=("depthwise", "lossguide")
    ),
    Hyperparameter("max_leaves", "int", "Most leaves of a tree; 0: no limit.", default=0, range=_ABOVE_ZERO),
    Hyperparameter("num_parallel_tree", "int", "Trees grown in each round: a forest.", default=1, range=_POSITIVE),
    Hyperparameter(
        "monotone_constraints",
        "str",
        "Which features may only raise (1) or lower (-1) predictions, such as '(1,0,-1)'; needs treeMethod 'hist' or "
        "'exact'.",
        pattern=r"\(\s*(-?1|0)(\s*,\s*(-?1|0))*\s*,?\s*\)",
        example="(1,0,-1)",
        brackets="()",
    ),
    Hyperparameter(
        "interaction_constraints",
        "str",
        "Which features may stand in one branch, such as '[[0,1],[2,3]]'; needs treeMethod 'hist', 'exact', 'approx'.",
        pattern=r"\[\s*\[[\d,\s]*\](\s*,\s*\[[\d,\s]*\])*\s*\]",
        example="[[0,1],[2,3]]",
        brackets="[]",
    ),
    Hyperparameter(
        "scale_pos_weight", "float", "Weight of the rows of class 1.", default=1.0, range=Range(0, low_open=True)
    ),
    Hyperparameter(
        "base_score",
        "float",
        "The prediction before the first tree; unset: estimated from the labels.",
        range=_ABOVE_ZERO,
    ),
    Hyperparameter("seed", "int", "Seed, 0 to 2147483647.", default=0, range=Range(-(2**31) + 1, 2**31 - 1)),
    Hyperparameter(
        "sampling_method", "str", "How rows are sampled.", default="uniform", choices=("uniform", "gradient_based")
    ),
    Hyperparameter(
        "updater",
        "list",
        "The updaters of trees, or the one of a linear model.",
        choices=(
            "grow_colmaker",
            "grow_histmaker",
            "grow_quantile_histmaker",
            "sync",
            "refresh",
            "prune",
            "shotgun",
            "coord_descent",
            "distcol",
            "grow_skmaker",
        ),
        separator=",",
    ),
    Hyperparameter("refresh_leaf", "int", "Refresh leaves too, for the updater 'refresh'.", default=1, range=_FLAG),
    Hyperparameter(
        "process_type", "str", "Grow trees, or update them.", default="default", choices=("default", "update")
    ),
    Hyperparameter("sample_type", "str", "How dart drops trees.", default="uniform", choices=("uniform", "weighted")),
    Hyperparameter("normalize_type", "str", "How dart weighs trees.", default="tree", choices=("tree", "forest")),
    Hyperparameter("rate_drop", "float", "Share of the trees that dart drops.", default=0.0, range=_FLAG),
    Hyperparameter("one_drop", "int", "Drop one tree at least, for dart.", default=0, range=_FLAG),
    Hyperparameter("skip_drop", "float", "Probability that dart drops none.", default=0.0, range=_FLAG),
    Hyperparameter(
        "tweedie_variance_power",
        "float",
        "Power of the variance, for 'reg:tweedie'.",
        default=1.5,
        range=Range(1, 2, low_open=True, high_open=True),
    ),
    Hyperparameter(
        "aft_loss_distribution",
        "str",
        "Distribution of the noise, for 'survival:aft'.",
        default="normal",
        choices=("normal", "logistic", "extreme"),
    ),
    Hyperparameter(
        "aft_loss_distribution_scale", "float", "Its scale, for 'survival:aft'.", default=1.0, range=_ABOVE_ZERO
    ),
    Hyperparameter("nthread", "int", "Threads; unset: all.", range=_POSITIVE),
    Hyperparameter(
        "verbosity", "int", "0 silent, 1 warnings, 2 information, 3 everything.", default=1, range=Range(0, 3)
    ),
    Hyperparameter("csv_weights", "int", "1: the second column of CSV rows is their weight.", default=0, range=_FLAG),
    Hyperparameter(
        "save_model_on_termination",
        "str",
        "Save the model after each round, so that a job that is stopped has one.",
        default="false",
        choices=("true", "false"),
    ),
    Hyperparameter(
        "prob_buffer_row",
        "float",
        "Rows that the container buffers per row it expects, when it reads in parts; it does not change the result.",
        range=Range(1, low_open=True),
    ),
    Hyperparameter("deterministic_histogram", "str", "For GPUs.", choices=("true", "false")),
    Hyperparameter(
        "use_dask_gpu_training", "str", "Train on all GPUs by Dask.", default="false", choices=("true", "false")
    ),
    Hyperparameter("lambda_bias", "float", "L2 regularization of the bias of a linear model.", range=_FLAG),
    Hyperparameter(
        "sketch_eps", "float", "Accuracy of the sketch, for 'approx'.", range=Range(0, 1, low_open=True, high_open=True)
    ),
    Hyperparameter("dsplit", "str", "How hosts share the data.", choices=("row", "col")),
    Hyperparameter(
        "predictor", "str", "Where predictions are computed.", choices=("auto", "cpu_predictor", "gpu_predictor")
    ),
)
"""Every hyperparameter of the container; those of older images, which its XGBoost no longer has, among them."""
