"""Rows that become Params: what a stage takes, from its algorithm's spec and from what all stages share.

A :class:`ParamRow` holds everything that a Param needs: name, second spelling, converter, default, documentation and
the type that editors show. :mod:`sagespark.ml.params` turns rows into Params; :mod:`sagespark.ml.stubs` writes them
down for editors.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from keyword import iskeyword
from typing import Any, Literal

from sagespark.algorithms.hyperparameter import Hyperparameter, Range
from sagespark.algorithms.spec import AlgorithmSpec, FixedParam, Group, Output
from sagespark.aws.runtime import MAX_RETRIES, TIMEOUT
from sagespark.ml import converters as to

OnModel = Literal["no", "get", "set"]
"""What a Model does with a Param of its estimator: leaves it out, shows it, or lets it be set too."""


@dataclass(frozen=True)
class ParamRow:
    """One Param of a stage.

    Parameters
    ----------
    name : str
        The Param's name, camelCase; the accessors follow from it.
    doc : str
        What ``explainParams`` shows, without the values.
    convert : callable
        Takes a value, returns it as the Param keeps it, raises TypeError or ValueError; picklable.
    type : str
        Python type for editors.
    default : object
        None: the Param has no default and its getter returns None while it is unset.
    second : str or None
        Second spelling of the same Param: the camelCase hyperparameter where the Param carries MLlib's name.
    onModel : {'no', 'get', 'set'}
        What the Model has of it.
    """

    name: str
    doc: str
    convert: Callable[[Any], Any]
    type: str
    default: Any = None
    second: str | None = None
    onModel: OnModel = "get"

    @property
    def spellings(self) -> tuple[str, ...]:
        """Every name that the Param goes by."""
        return (self.name, self.second) if self.second else (self.name,)


def hyperparameter_row(h: Hyperparameter) -> ParamRow:
    """Return the row of a hyperparameter."""
    types = {"int": "int", "float": "float", "bool": "bool", "str": "str", "list": "list[str]"}
    words = "".join(f' | Literal["{w}"]' for w in h.keywords)
    doc = f"{h.doc} Values: {h.rule}. Hyperparameter {h.wire}."
    if h.mllib_default is not None:
        doc += f" MLlib's default is {h.mllib_default!r}, SageMaker's {h.default!r}."
    second = h.camel if h.camel != h.name and not iskeyword(h.camel) else None
    return ParamRow(h.name, doc, h.convert, types[h.kind] + words, h.default, second)


def group_row(group: Group, spec: AlgorithmSpec) -> ParamRow:
    """Return the row of a Param that gives several hyperparameters their value."""
    members = ", ".join(group.members)
    # Members accept the same values: the first one's rule speaks for all.
    rule = replace(spec[group.members[0]], param=group.name)
    row = hyperparameter_row(rule)
    doc = f"{group.doc} Stands for {members}, each unless set itself."
    return ParamRow(group.name, doc, to.Spelled(rule), row.type)


def fixed_row(fixed: FixedParam) -> ParamRow:
    """Return the row of an MLlib Param that SageMaker lacks: only MLlib's default is accepted."""
    doc = f"Accepted as MLlib's default only: {fixed.reason}."
    kind = "None" if fixed.default is None else type(fixed.default).__name__
    return ParamRow(fixed.name, doc, to.Only(fixed.name, fixed.default, fixed.reason), kind, fixed.default)


def seed_row(spec: AlgorithmSpec) -> ParamRow:
    """Return the row of ``seed`` where the algorithm has no such hyperparameter."""
    doc = (
        f"Seed, 0 to {2**31 - 1}. SageMaker's {spec.name} has no such hyperparameter: it travels as SAGESPARK_SEED in "
        "the job's Environment, which the embedded service reads and AWS's container ignores."
    )
    return ParamRow("seed", doc, to.Number("seed", Range(0, 2**31 - 1), whole=True), "int")


_FEATURES: tuple[str | None, str, OnModel] = (None, "Input column (ml Vector or array of numbers).", "set")
_INPUTS: dict[str, tuple[str | None, str, OnModel]] = {
    "featuresCol": ("features", *_FEATURES[1:]),
    "labelCol": ("label", "Column of labels (numbers).", "set"),
    "weightCol": (None, "Column of weights (numbers of 0 or more); unset: every row weighs 1.", "get"),
    "qidCol": (None, "Column of query ids (whole numbers); the rows of a query are ranked among each other.", "get"),
}
"""Default, documentation and place on a Model of the Params that name input columns."""


def input_rows(spec: AlgorithmSpec) -> tuple[ParamRow, ...]:
    """Return the rows of a stage's input columns, of its indicator columns and of ``vectorFormat``."""
    rows = []
    for name in spec.input_params:
        default, doc, onModel = _INPUTS.get(name, _FEATURES)
        rows.append(ParamRow(name, doc, to.Column(name), "str", default, onModel=onModel))
    if "featuresCol" in spec.input_params:
        doc = "Numeric columns that together are the features, instead of featuresCol."
        rows.append(ParamRow("featuresCols", doc, to.Strings("featuresCols"), "list[str]", onModel="set"))
    formats = ("auto", "dense", "sparse")
    doc = "How rows of a Vector column travel: 'auto' as each row is, 'dense' or 'sparse' all alike."
    rows.append(
        ParamRow("vectorFormat", doc, to.Choice("vectorFormat", formats), "str", "auto", onModel="set"),
    )
    for channel in spec.channels:
        if not channel.required:
            name = f"{channel.name}IndicatorCol"
            doc = f"Boolean column: true rows go to the {channel.name} channel and are not trained on."
            rows.append(ParamRow(name, doc, to.Column(name), "str"))
    return tuple(rows)


def output_row(output: Output) -> ParamRow:
    """Return the row of the Param that names an output column."""
    doc = f"Output column ({output.type}): {output.doc} Response field {output.field}; '' leaves it out."
    return ParamRow(output.param, doc, to.Column(output.param, empty=True), "str", output.default_column, onModel="set")


THRESHOLDS = ParamRow(
    "thresholds",
    "Thresholds, one per class: the class with the largest probability / threshold is predicted. Numbers of 0 or more, "
    "of which at most one is 0.",
    to.Thresholds("thresholds"),
    "list[float]",
    onModel="set",
)
"""Param of classifiers with probabilities; applied while answers are decoded."""

_INSTANCE = r"ml\.[a-z0-9-]+(\.[a-z0-9-]+)+"
_WHOLE = Range(1)

RESOURCES: tuple[ParamRow, ...] = (
    ParamRow(
        "instanceType",
        "Instance type of the training job.",
        to.Text("instanceType", _INSTANCE, "an instance type such as 'ml.m5.xlarge'"),
        "str",
        "ml.m5.xlarge",
    ),
    ParamRow(
        "instanceCount",
        "Instances of the training job.",
        to.Number("instanceCount", _WHOLE, whole=True),
        "int",
        1,
    ),
    ParamRow(
        "volumeSizeInGB",
        "Storage of each training instance, in GB.",
        to.Number("volumeSizeInGB", _WHOLE, whole=True),
        "int",
        30,
    ),
    ParamRow(
        "maxRuntimeInSeconds",
        "Seconds after which the service stops the training job.",
        to.Number("maxRuntimeInSeconds", _WHOLE, whole=True),
        "int",
        86400,
    ),
    ParamRow(
        "deleteStagingData",
        "Delete the staged shards, by record, once the job has ended.",
        to.Boolean("deleteStagingData"),
        "bool",
        True,
        onModel="no",
    ),
)
"""Params of the training job's resources."""

JOB: tuple[ParamRow, ...] = (
    ParamRow(
        "environment",
        "Environment variables of the training job.",
        to.StringMap("environment"),
        "dict[str, str]",
        {},
        onModel="no",
    ),
    ParamRow(
        "tags",
        "Tags of everything that the stage creates, beside the session's.",
        to.StringMap("tags"),
        "dict[str, str]",
        {},
    ),
    ParamRow(
        "subnets",
        "Subnets of job and endpoint; unset: the session's.",
        to.Strings("subnets"),
        "list[str]",
    ),
    ParamRow(
        "securityGroupIds",
        "Security groups of job and endpoint; unset: the session's.",
        to.Strings("securityGroupIds"),
        "list[str]",
    ),
    ParamRow(
        "volumeKmsKey",
        "KMS key of the training instances' volumes; unset: the session's kmsKey.",
        to.Text("volumeKmsKey"),
        "str",
        onModel="no",
    ),
    ParamRow(
        "outputKmsKey",
        "KMS key of the model artifact; unset: the session's kmsKey.",
        to.Text("outputKmsKey"),
        "str",
        onModel="no",
    ),
    ParamRow(
        "enableNetworkIsolation",
        "Run the containers without network.",
        to.Boolean("enableNetworkIsolation"),
        "bool",
        False,
    ),
    ParamRow(
        "useSpotInstances",
        "Train on spot instances.",
        to.Boolean("useSpotInstances"),
        "bool",
        False,
        onModel="no",
    ),
    ParamRow(
        "maxWaitInSeconds",
        "With useSpotInstances: seconds that waiting for instances and training may take together; "
        "unset: maxRuntimeInSeconds.",
        to.Number("maxWaitInSeconds", _WHOLE, whole=True),
        "int",
        onModel="no",
    ),
    ParamRow(
        "checkpointS3Uri",
        "S3 prefix of checkpoints.",
        to.S3("checkpointS3Uri"),
        "str",
        onModel="no",
    ),
    ParamRow(
        "keepAlivePeriodInSeconds",
        "Seconds that the instances stay warm for the next job, 0 to 3600.",
        to.Number("keepAlivePeriodInSeconds", Range(0, 3600), whole=True),
        "int",
        onModel="no",
    ),
)
"""Params that pass a field of CreateTrainingJob through."""

ENDPOINT: tuple[ParamRow, ...] = (
    ParamRow(
        "endpointInstanceType",
        "Instance type of the endpoint; unset: instanceType.",
        to.Text("endpointInstanceType", _INSTANCE, "an instance type such as 'ml.m5.xlarge'"),
        "str",
        onModel="set",
    ),
    ParamRow(
        "endpointInstanceCount",
        "Instances of the endpoint.",
        to.Number("endpointInstanceCount", _WHOLE, whole=True),
        "int",
        1,
        onModel="set",
    ),
    ParamRow(
        "endpointPolicy",
        "When the endpoint is created: 'createOnFit', 'createOnTransform' (the first transform) or 'never' (deploy()).",
        to.Choice("endpointPolicy", ("createOnFit", "createOnTransform", "never")),
        "str",
        "createOnFit",
        onModel="set",
    ),
)
"""Params of hosting."""

INVOCATION: tuple[ParamRow, ...] = (
    ParamRow(
        "maxPayloadInMB",
        "Largest request, in MiB; unset: the endpoint's limit.",
        to.Number("maxPayloadInMB", Range(0, low_open=True)),
        "float",
        onModel="set",
    ),
    ParamRow(
        "maxRecordsPerRequest",
        "Most rows in one request; unset: as many as fit.",
        to.Number("maxRecordsPerRequest", _WHOLE, whole=True),
        "int",
        onModel="set",
    ),
    ParamRow(
        "maxConcurrentRequests",
        "Requests in flight per task.",
        to.Number("maxConcurrentRequests", _WHOLE, whole=True),
        "int",
        4,
        onModel="set",
    ),
    ParamRow(
        "invocationTimeoutInSeconds",
        "Seconds that one request may take.",
        to.Number("invocationTimeoutInSeconds", Range(0, low_open=True)),
        "float",
        TIMEOUT,
        onModel="set",
    ),
    ParamRow(
        "maxRetries",
        "Retries of a request that was throttled, failed with 5xx, timed out or was reset.",
        to.Number("maxRetries", Range(0), whole=True),
        "int",
        MAX_RETRIES,
        onModel="set",
    ),
)
"""Params of invocation."""


def algorithm_rows(spec: AlgorithmSpec) -> tuple[ParamRow, ...]:
    """Return all rows of a built-in algorithm's estimator: its spec's, then those that all stages share."""
    rows = [
        *input_rows(spec),
        *(output_row(o) for o in spec.outputs),
        *(hyperparameter_row(h) for h in spec.params),
        *(group_row(g, spec) for g in spec.groups),
        *(fixed_row(f) for f in spec.fixed),
    ]
    if any(o.param == "probabilityCol" for o in spec.outputs):
        rows.append(THRESHOLDS)
    if spec.seed is None:
        rows.append(seed_row(spec))
    return (*rows, *RESOURCES, *JOB, *ENDPOINT, *INVOCATION)
