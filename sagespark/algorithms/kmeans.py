"""K-means, as AWS's container declares it."""

from __future__ import annotations

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

_POSITIVE = Range(1)
_INIT = ("random", "kmeans++")
_MLLIB_INIT = {"k-means||": "kmeans++"}
_CONTENT = ("application/x-recordio-protobuf", "text/csv")

KMEANS = AlgorithmSpec(
    name="kmeans",
    version="1",
    doc="Web-scale K-means clustering.",
    input_params=("featuresCol",),
    hyperparameters=(
        Hyperparameter("feature_dim", "int", "Number of features.", range=_POSITIVE, required=True, inferred=True),
        Hyperparameter("k", "int", "Number of clusters.", default=2, range=Range(2), param="k", required=True, send=2),
        Hyperparameter(
            "mini_batch_size",
            "int",
            "Rows per mini-batch of the streaming scheme.",
            default=5000,
            range=_POSITIVE,
            tunable=Tunable("Integer", 3000, 15000),
        ),
        Hyperparameter(
            "init_method",
            "str",
            "How the streaming scheme chooses its initial centres.",
            default="random",
            choices=_INIT,
            spellings=_MLLIB_INIT,
            tunable=Tunable("Categorical", values=("kmeans++", "random")),
        ),
        Hyperparameter(
            "local_lloyd_max_iter",
            "int",
            "Most iterations of Lloyd's algorithm, which builds the final centres.",
            default=300,
            range=_POSITIVE,
            param="maxIter",
            mllib_default=20,
        ),
        Hyperparameter(
            "local_lloyd_tol",
            "float",
            "Change of the loss below which Lloyd's algorithm stops.",
            default=0.0001,
            range=Range(0, 1),
            param="tol",
        ),
        Hyperparameter(
            "local_lloyd_num_trials",
            "int",
            "Runs of Lloyd's algorithm, of which the one with the lowest loss is kept.",
            default="auto",
            range=_POSITIVE,
            keywords=("auto",),
        ),
        Hyperparameter(
            "local_lloyd_init_method",
            "str",
            "How Lloyd's algorithm chooses its initial centres.",
            default="kmeans++",
            choices=_INIT,
            spellings=_MLLIB_INIT,
        ),
        Hyperparameter(
            "half_life_time_size",
            "int",
            "Rows after which the weight of a row in its centre's mean has fallen to a half; 0: never.",
            default=0,
            range=Range(0),
        ),
        Hyperparameter(
            "epochs",
            "int",
            "Passes of the streaming scheme over the data.",
            default=1,
            range=_POSITIVE,
            tunable=Tunable("Integer", 1, 10),
        ),
        Hyperparameter(
            "extra_center_factor",
            "int",
            "The streaming scheme keeps k times this many centres and reduces them to k at the end.",
            default="auto",
            range=_POSITIVE,
            keywords=("auto",),
            tunable=Tunable("Integer", 4, 10),
        ),
        Hyperparameter(
            "eval_metrics",
            "list",
            "Metrics reported for the test channel: mean square deviation, sum of square distances.",
            default=["msd"],
            choices=("msd", "ssd"),
        ),
        Hyperparameter(
            "force_dense",
            "bool",
            "Turn sparse rows into dense ones; sent by SageMaker's own SDK.",
            default=False,
        ),
    ),
    groups=(
        Group(
            "initMode",
            ("init_method", "local_lloyd_init_method"),
            "How initial centres are chosen: 'random', or 'k-means||' (AWS's 'kmeans++').",
        ),
    ),
    fixed=(
        FixedParam("distanceMeasure", "euclidean", "SageMaker's K-means measures Euclidean distance only"),
        FixedParam(
            "initSteps",
            2,
            "SageMaker's K-means has no k-means|| steps; localLloydInitMethod chooses the initialisation",
        ),
        FixedParam("solver", "auto", "SageMaker's K-means has one solver"),
        FixedParam("maxBlockSizeInMB", 0.0, "rows are not stacked into blocks; miniBatchSize cuts the stream"),
        FixedParam("intermediateStorageLevel", "MEMORY_AND_DISK", "no intermediate dataset is kept in Spark"),
        FixedParam("weightCol", None, "SageMaker's K-means has no row weights; repeat rows instead"),
    ),
    channels=(
        Channel("train", True, _CONTENT),
        Channel("test", False, _CONTENT),
    ),
    metrics=(
        Metric(
            "test:msd",
            r"#quality_metric: host=\S+, test msd <loss>=(\S+)",
            "Minimize",
            "Mean squared distance of the test rows to their closest centre.",
            objective=True,
        ),
        Metric(
            "test:ssd",
            r"#quality_metric: host=\S+, test ssd <loss>=(\S+)",
            "Minimize",
            "Sum of squared distances of the test rows to their closest centre.",
            objective=True,
        ),
        Metric(
            "train:msd",
            r"#quality_metric: host=\S+, train msd <loss>=(\S+)",
            "Minimize",
            "Mean squared distance of the training rows to their closest centre.",
        ),
        Metric(
            "train:ssd",
            r"#quality_metric: host=\S+, train ssd <loss>=(\S+)",
            "Minimize",
            "Sum of squared distances of the training rows to their closest centre.",
        ),
        Metric(
            "train:iterations",
            r"#quality_metric: host=\S+, train iterations=(\S+)",
            "Minimize",
            "Iterations of Lloyd's algorithm; of the embedded service only.",
        ),
        Metric("train:progress", r"#progress_metric: host=\S+, completed (\S+) %", "Maximize", "Percent done."),
        Metric(
            "train:throughput",
            r"#throughput_metric: host=\S+, train throughput=(\S+) records/second",
            "Maximize",
            "Rows per second.",
        ),
    ),
    outputs=(
        Output("closest_cluster", "predictionCol", "prediction", "int", "Number of the closest cluster, from 0."),
        Output(
            "distance_to_cluster",
            "distanceCol",
            "distance_to_cluster",
            "double",
            "Euclidean distance to that cluster's centre.",
        ),
    ),
    missing="refuse",
    distributed=True,
    sources=(
        "https://docs.aws.amazon.com/sagemaker/latest/dg/k-means-api-config.html",
        "https://docs.aws.amazon.com/sagemaker/latest/dg/k-means-tuning.html",
        "https://docs.aws.amazon.com/sagemaker/latest/dg/km-in-formats.html",
    ),
)
