"""Rows of the stages of any image: what SageMaker's own SDK calls its estimator's arguments, in camelCase."""

from __future__ import annotations

from sagespark.algorithms.hyperparameter import Range
from sagespark.ml import converters as to
from sagespark.ml.rows import ENDPOINT, INVOCATION, JOB, RESOURCES, ParamRow

_FORMATS = ("auto", "dense", "sparse")

TRAINING: tuple[ParamRow, ...] = (
    ParamRow(
        "imageUri",
        "Image that trains and serves.",
        to.Text("imageUri"),
        "str",
    ),
    ParamRow(
        "hyperparameters",
        "Hyperparameters by AWS's names; lists and dicts become JSON, everything else its text. What a built-in "
        "algorithm infers from the data, such as feature_dim, is added where it is not given.",
        to.Hyperparameters("hyperparameters"),
        "dict[str, Any]",
        {},
        onModel="no",
    ),
    ParamRow(
        "inputMode",
        "How the channels reach the container: 'File', 'FastFile' or 'Pipe'.",
        to.Choice("inputMode", ("File", "FastFile", "Pipe")),
        "str",
        "File",
        onModel="no",
    ),
    ParamRow(
        "contentType",
        "Content type of the channels, or a Serializer that writes them; unset: that of the built-in algorithm, else "
        "text/csv.",
        to.OwnFormat("contentType", "Serializer"),
        "str",
        onModel="no",
    ),
    ParamRow(
        "distribution",
        "How several instances share a channel: 'FullyReplicated' or 'ShardedByS3Key'.",
        to.Choice("distribution", ("FullyReplicated", "ShardedByS3Key")),
        "str",
        "FullyReplicated",
        onModel="no",
    ),
    ParamRow(
        "compression",
        "'Gzip' in Pipe mode: what is staged is compressed, what is in S3 is so already; the service decompresses it.",
        to.Choice("compression", ("None", "Gzip")),
        "str",
        "None",
        onModel="no",
    ),
    ParamRow(
        "recordWrapping",
        "'RecordIO' in Pipe mode: the service makes a record of each object.",
        to.Choice("recordWrapping", ("None", "RecordIO")),
        "str",
        "None",
        onModel="no",
    ),
    ParamRow(
        "shuffleSeed",
        "Seed by which the service shuffles the objects of each channel, in Pipe mode anew for each epoch; unset: it "
        "doesn't.",
        to.Number("shuffleSeed", Range(0, 2**63 - 1), whole=True),
        "int",
        onModel="no",
    ),
    ParamRow(
        "instanceGroups",
        "Groups of instances, in place of instanceType and instanceCount: [{'InstanceGroupName': ..., 'InstanceType': "
        "..., 'InstanceCount': ...}].",
        to.InstanceGroups("instanceGroups"),
        "list[dict[str, Any]]",
        onModel="no",
    ),
    ParamRow(
        "maxRetryAttempts",
        "How often the service retries a job that failed by an InternalServerError, 1 to 30; unset: never.",
        to.Number("maxRetryAttempts", Range(1, 30), whole=True),
        "int",
        onModel="no",
    ),
    ParamRow(
        "checkpointLocalPath",
        "Folder of checkpoints in the container; unset: /opt/ml/checkpoints.",
        to.Text("checkpointLocalPath", "/.+", "an absolute path"),
        "str",
        onModel="no",
    ),
    ParamRow(
        "encryptInterContainerTraffic",
        "Encrypt what the instances of a job send each other.",
        to.Boolean("encryptInterContainerTraffic"),
        "bool",
        False,
        onModel="no",
    ),
    ParamRow(
        "containerEntryPoint",
        "Program and its first arguments that train, in place of the image's own.",
        to.Arguments("containerEntryPoint"),
        "list[str]",
        onModel="no",
    ),
    ParamRow(
        "containerArguments",
        "Further arguments of the program that trains.",
        to.Arguments("containerArguments"),
        "list[str]",
        onModel="no",
    ),
    ParamRow(
        "metricDefinitions",
        "Metrics that the service reads from the log: [{'Name': ..., 'Regex': ...}].",
        to.MetricDefinitions("metricDefinitions"),
        "list[dict[str, str]]",
        [],
        onModel="no",
    ),
    ParamRow(
        "labelCol",
        "Column of labels (numbers), the first one in CSV; unset: rows carry no label.",
        to.Column("labelCol"),
        "str",
        onModel="no",
    ),
)
"""Params of training alone."""

COLUMNS: tuple[ParamRow, ...] = (
    ParamRow(
        "featuresCol",
        "Input column (ml Vector or array of numbers).",
        to.Column("featuresCol"),
        "str",
        "features",
        onModel="set",
    ),
    ParamRow(
        "featuresCols",
        "Numeric columns that together are the features, instead of featuresCol.",
        to.Strings("featuresCols"),
        "list[str]",
        onModel="set",
    ),
    ParamRow(
        "vectorFormat",
        "How rows of a Vector column travel: 'auto' as each row is, 'dense' or 'sparse' all alike.",
        to.Choice("vectorFormat", _FORMATS),
        "str",
        "auto",
        onModel="set",
    ),
    ParamRow(
        "predictionCol",
        "Output column of the first response field; '' leaves it out. The others keep their names.",
        to.Column("predictionCol", empty=True),
        "str",
        "prediction",
        onModel="set",
    ),
    ParamRow(
        "responseFields",
        "Fields of the response and their types, 'int', 'double' or 'vector'; unset: those of the built-in algorithm, "
        "else one number.",
        to.Fields("responseFields"),
        "dict[str, str]",
        onModel="set",
    ),
    ParamRow(
        "serializer",
        "Content type of requests, or a Serializer that writes them; unset: that of the built-in algorithm, else "
        "text/csv.",
        to.OwnFormat("serializer", "Serializer"),
        "str",
        onModel="set",
    ),
    ParamRow(
        "deserializer",
        "Content type of responses, or a Deserializer that reads them; unset: that of the built-in algorithm, else "
        "text/csv.",
        to.OwnFormat("deserializer", "Deserializer"),
        "str",
        onModel="set",
    ),
)
"""Params of rows on their way to the container and back."""

GENERIC: tuple[ParamRow, ...] = (*TRAINING, *COLUMNS, *RESOURCES, *JOB, *ENDPOINT, *INVOCATION)
"""All of them."""
