"""Random cut forest, as AWS's container declares it."""

from __future__ import annotations

from sagespark.algorithms.spec import AlgorithmSpec, Channel, Hyperparameter, Metric, Output, Range, Tunable

_CONTENT = ("application/x-recordio-protobuf", "text/csv")


def _score(name: str, words: str, *, objective: bool = False) -> Metric:
    """Return a metric of the test channel, by AWS's name of it in the log."""
    regex = rf"#quality_metric: host=\S+, test {name} <score>=(\S+)"
    return Metric(f"test:{name}", regex, "Maximize", words, objective=objective)


RANDOM_CUT_FOREST = AlgorithmSpec(
    name="randomcutforest",
    version="1",
    doc="Random cut forest: how anomalous each row is.",
    input_params=("featuresCol", "labelCol"),
    hyperparameters=(
        Hyperparameter(
            "feature_dim", "int", "Number of features.", range=Range(1, 10000), required=True, inferred=True
        ),
        Hyperparameter(
            "num_trees",
            "int",
            "Number of trees: more of them make scores less noisy.",
            default=100,
            range=Range(50, 1000),
            tunable=Tunable("Integer", 50, 1000),
        ),
        Hyperparameter(
            "num_samples_per_tree",
            "int",
            "Rows that each tree is grown from, drawn at random; 1 / num_samples_per_tree should be about the share of "
            "anomalies.",
            default=256,
            range=Range(1, 2048),
            tunable=Tunable("Integer", 1, 2048),
        ),
        Hyperparameter(
            "eval_metrics",
            "list",
            "Metrics of the test channel: 'accuracy', and 'precision_recall_fscore' of the anomalies and of the rest.",
            default=["accuracy", "precision_recall_fscore"],
            choices=("accuracy", "precision_recall_fscore"),
        ),
    ),
    channels=(
        Channel("train", True, _CONTENT),
        Channel("test", False, _CONTENT, "required"),
    ),
    metrics=(
        Metric("train:progress", r"#progress_metric: host=\S+, completed (\S+) %", "Maximize", "Percent done."),
        Metric(
            "train:throughput",
            r"#throughput_metric: host=\S+, train throughput=(\S+) records/second",
            "Maximize",
            "Rows per second.",
        ),
        _score("f1", "F1 score of the anomalies (label 1) among the test rows.", objective=True),
        _score("accuracy", "Share of the test rows that are classified as their labels say."),
        _score("precision", "Share of anomalies among the test rows that are taken for such."),
        _score("recall", "Share of the anomalies that are taken for such."),
    ),
    outputs=(Output("score", "scoreCol", "score", "double", "Anomaly score: the larger, the more anomalous the row."),),
    distributed=True,
    sources=(
        "https://docs.aws.amazon.com/sagemaker/latest/dg/rcf_hyperparameters.html",
        "https://docs.aws.amazon.com/sagemaker/latest/dg/randomcutforest.html",
        "https://docs.aws.amazon.com/sagemaker/latest/dg/rcf_how-it-works.html",
        "https://docs.aws.amazon.com/sagemaker/latest/dg/random-cut-forest-tuning.html",
        "https://docs.aws.amazon.com/sagemaker/latest/dg/rcf-in-formats.html",
        # Guha, Mishra, Roy and Schrijvers, 2016, and AWS's own library of it:
        "https://proceedings.mlr.press/v48/guha16.html",
        "https://github.com/aws/random-cut-forest-by-aws",
    ),
)
"""The row of the container. Of its metrics AWS publishes the names, not the lines of the log: see `job.quality`."""
