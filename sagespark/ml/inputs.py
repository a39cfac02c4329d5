"""A channel that differs from the others: the SDK's ``TrainingInput``, in camelCase."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sagespark.ml import converters as to

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
    "shuffleSeed": to.Number("shuffleSeed", to.Range(0, 2**63 - 1), whole=True),
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
