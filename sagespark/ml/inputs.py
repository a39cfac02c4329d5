"""Channels of a job of any image, and one that differs from the others: the SDK's ``TrainingInput``, in camelCase."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pyspark.sql.types import StructType

from sagespark.algorithms.hyperparameter import Range
from sagespark.algorithms.spec import AlgorithmSpec
from sagespark.core.errors import ValidationError
from sagespark.core.s3uri import S3Uri
from sagespark.ml import converters as to
from sagespark.ml.columns import frame_layout
from sagespark.ml.plan import Channel, FrameChannel, UriChannel
from sagespark.ml.requests import ChannelOptions
from sagespark.ml.stage import Stage

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

MODES = ("File", "FastFile", "Pipe")
DISTRIBUTIONS = ("FullyReplicated", "ShardedByS3Key")
DATA_TYPES = ("S3Prefix", "ManifestFile", "AugmentedManifestFile")

_RULES: dict[str, Any] = {
    "contentType": to.OwnFormat("contentType", "Serializer"),
    "inputMode": to.Choice("inputMode", MODES),
    "distribution": to.Choice("distribution", DISTRIBUTIONS),
    "compression": to.Choice("compression", ("None", "Gzip")),
    "recordWrapping": to.Choice("recordWrapping", ("None", "RecordIO")),
    "shuffleSeed": to.Number("shuffleSeed", Range(0, 2**63 - 1), whole=True),
    "instanceGroups": to.Strings("instanceGroups"),
    "s3DataType": to.Choice("s3DataType", DATA_TYPES),
    "attributeNames": to.Strings("attributeNames"),
}


@dataclass(frozen=True)
class TrainingInput:
    """Data of one channel, and how it reaches the container. What is None is the estimator's own.

    Parameters
    ----------
    data : DataFrame or str
        A DataFrame, which is staged, or an S3 URI.
    contentType : str, Serializer or None
        Content type of the channel.
    inputMode : {'File', 'FastFile', 'Pipe'} or None
    distribution : {'FullyReplicated', 'ShardedByS3Key'} or None
        How several instances share the channel.
    compression : {'None', 'Gzip'} or None
        Gzip, in Pipe mode only: what is staged is compressed, what is in S3 is so already; the service decompresses it.
    recordWrapping : {'None', 'RecordIO'} or None
        RecordIO, in Pipe mode only: the service makes a record of each object.
    shuffleSeed : int or None
        The service shuffles the objects, in Pipe mode anew for each epoch.
    instanceGroups : sequence of str
        Instance groups that get the channel; empty: all.
    s3DataType : {'S3Prefix', 'ManifestFile', 'AugmentedManifestFile'} or None
        What an S3 URI names; None: a prefix.
    attributeNames : sequence of str
        Of an augmented manifest.

    Raises
    ------
    TypeError, ValueError
        If one of them is none of these.
    """

    data: DataFrame | str
    contentType: str | None = None
    inputMode: str | None = None
    distribution: str | None = None
    compression: str | None = None
    recordWrapping: str | None = None
    shuffleSeed: int | None = None
    instanceGroups: Sequence[str] = ()
    s3DataType: str | None = None
    attributeNames: Sequence[str] = ()

    def __post_init__(self) -> None:
        for name, rule in _RULES.items():
            value = getattr(self, name)
            if value is not None:
                object.__setattr__(self, name, rule(value))


# The path that users import it from.
TrainingInput.__module__ = "sagespark.ml"


def is_frame(data: Any) -> bool:
    """Tell whether something is a DataFrame; pyspark 3.5's Connect DataFrames are no `pyspark.sql.DataFrame`."""
    return hasattr(data, "sparkSession") and hasattr(data, "schema")


def data_of(given: Any) -> Any:
    """Return the data of a channel, with or without what goes with it."""
    return given.data if isinstance(given, TrainingInput) else given


def channel(
    stage: Stage, name: str, given: Any, spec: AlgorithmSpec | None, staged: str
) -> tuple[Channel | None, list[str]]:
    """Return one channel of a stage, or None, and every problem in words.

    Parameters
    ----------
    stage : Stage
        Its Params say what the channel leaves open.
    name : str
        Name of the channel.
    given : TrainingInput, DataFrame, str or StructType
        The data; a schema stands for the DataFrame that ``fit`` gets.
    spec : AlgorithmSpec or None
        The built-in algorithm.
    staged : str
        Content type of staged data where nothing else says one.
    """
    more = given if isinstance(given, TrainingInput) else TrainingInput("")
    data = data_of(given)
    groups = stage._value("instanceGroups")
    options = ChannelOptions(
        inputMode=more.inputMode,
        compression=more.compression or stage._value("compression"),
        recordWrapping=more.recordWrapping or stage._value("recordWrapping"),
        shuffleSeed=stage._value("shuffleSeed") if more.shuffleSeed is None else more.shuffleSeed,
        instanceGroups=tuple(more.instanceGroups),
        s3DataType=more.s3DataType,
        attributeNames=tuple(more.attributeNames),
    )
    mode = more.inputMode or stage._value("inputMode")
    problems = _unfit(options, mode, isinstance(data, str))
    known = [group["InstanceGroupName"] for group in groups or ()]
    problems += [
        f"instance group {group!r} is not declared: instanceGroups has {known}"
        for group in more.instanceGroups
        if group not in known
    ]
    distribution = more.distribution or stage._value("distribution")
    form = more.contentType or stage._value("contentType")
    made: Channel | None = None
    if isinstance(data, str):
        try:
            made = UriChannel(name, S3Uri.parse(data), form, distribution, options)
        except ValidationError as error:
            problems += error.problems
    elif isinstance(data, StructType) or is_frame(data):
        layout, found = frame_layout(stage, data if isinstance(data, StructType) else data.schema, spec)
        problems += found
        if layout is not None:
            made = FrameChannel(name, layout, form or staged, distribution, options=options, flat=spec is None)
    else:
        problems.append(f"must be a DataFrame or an S3 URI, but got {data!r}")
    return made, problems


def _unfit(options: ChannelOptions, mode: str, uri: bool) -> list[str]:
    """Return what does not go together: AWS packs and unpacks in Pipe mode alone."""
    found = []
    for name, value in (("compression", options.compression), ("recordWrapping", options.recordWrapping)):
        if value != "None" and mode != "Pipe":
            found.append(
                f"{name}={value!r} is for inputMode='Pipe' only, where the service reads and writes such streams, but "
                f"inputMode is {mode!r}"
            )
    if not uri and options.s3DataType is not None:
        found.append("s3DataType is for S3 URIs; a DataFrame is staged as a ManifestFile")
    augmented = options.s3DataType == "AugmentedManifestFile"
    if augmented and mode != "Pipe":
        found.append(f"s3DataType='AugmentedManifestFile' is for inputMode='Pipe' only, but inputMode is {mode!r}")
    if augmented != bool(options.attributeNames):
        found.append("s3DataType='AugmentedManifestFile' and attributeNames go together, but only one is given")
    return found
