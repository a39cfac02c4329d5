"""What a ``fit`` will do, as a value: every request it sends, complete but for what only the rows can tell.

1. ``estimator.plan(schema)`` is pure: it reads Params, the schema and the session, and calls nothing.
2. ``plan.resolve(reports)`` is pure too: the staging reports fill the deferred values.
3. Only then does ``fit`` create anything (:mod:`sagespark.ml.act`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from sagespark.aws import tags
from sagespark.core.errors import ValidationError
from sagespark.core.s3uri import S3Uri
from sagespark.ml import requests
from sagespark.ml.deferred import Deferred, Value, fill, find
from sagespark.ml.requests import PLAIN, ChannelOptions, Hosting, Request, Scope

if TYPE_CHECKING:
    from sagespark.data.frame import FrameLayout
    from sagespark.data.shards import StagingReport


@dataclass(frozen=True)
class FrameChannel:
    """A channel whose rows come from a DataFrame.

    Parameters
    ----------
    name : str
        Channel name.
    layout : FrameLayout
        Which columns travel, and how.
    contentType : str
        Format of the shards.
    distribution : {'ShardedByS3Key', 'FullyReplicated'}
        How several instances share the shards.
    maxShardBytes : int or None
        Most bytes of a shard; None: the default.
    options : ChannelOptions
        The rest of its request.
    flat : bool
        Whether its files lie in the channel's folder itself, for programs of one's own: AWS puts those of a manifest
        into sub-folders.
    """

    name: str
    layout: FrameLayout
    contentType: str
    distribution: str
    maxShardBytes: int | None = None
    options: ChannelOptions = PLAIN
    flat: bool = False


@dataclass(frozen=True)
class UriChannel:
    """A channel whose objects are in S3 already."""

    name: str
    uri: S3Uri
    contentType: str | None
    distribution: str
    options: ChannelOptions = PLAIN


Channel = FrameChannel | UriChannel


@dataclass(frozen=True)
class Training:
    """What tells one training job from another, before names and tags.

    Parameters
    ----------
    kind : str
        Word for names, such as ``kmeans``.
    image : str
        Image of training and hosting.
    hyperparameters : mapping
        Wire strings to strings or deferred values.
    channels : sequence of Channel
        In order.
    environment : mapping
        Of the job.
    metricDefinitions : sequence of mapping
        For images that are not built-in.
    inputMode : str
        ``TrainingInputMode``.
    hostingImage : str or None
        Image that serves; None: ``image`` does both.
    hostingEnvironment : mapping
        Of the serving container.
    """

    kind: str
    image: str
    hyperparameters: Mapping[str, Value]
    channels: Sequence[Channel]
    environment: Mapping[str, str]
    metricDefinitions: Sequence[Mapping[str, str]] = ()
    inputMode: str = "File"
    hostingImage: str | None = None
    hostingEnvironment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Plan:
    """Every request of a fit, in order, and what has to be staged for it.

    Parameters
    ----------
    stage : str
        Uid of the estimator.
    name : str
        Name of the training job and, where hosted, of model, endpoint config and endpoint.
    channels : tuple of FrameChannel
        The DataFrames to stage.
    staging : S3Uri
        Prefix below which the shards go, one folder per channel.
    trainingJob : dict
        ``CreateTrainingJob``.
    hosting : Hosting or None
        ``CreateModel``, ``CreateEndpointConfig`` and ``CreateEndpoint``; None where fit creates no endpoint.
    """

    stage: str
    name: str
    channels: tuple[FrameChannel, ...]
    staging: S3Uri
    trainingJob: Request
    hosting: Hosting | None

    @property
    def requests(self) -> tuple[tuple[str, Request], ...]:
        """Operation and request, in the order in which they are sent."""
        found = [("CreateTrainingJob", self.trainingJob)]
        if self.hosting is not None:
            found += self.hosting.requests
        return tuple(found)

    @property
    def deferred(self) -> tuple[Deferred, ...]:
        """What only the staging pass can know; empty once resolved."""
        return tuple(find([request for _, request in self.requests]))

    def resolve(self, reports: StagingReport | Mapping[str, StagingReport]) -> Plan:
        """Return the plan with exact requests.

        Parameters
        ----------
        reports : StagingReport, or mapping of channel name to StagingReport
            What staging found; one report alone is the train channel's.

        Raises
        ------
        ValidationError
            If the channels contradict each other or the schema; nothing was created.
        """
        given = reports if isinstance(reports, Mapping) else {"train": reports}
        problems = self._contradictions(given)
        if problems:
            raise ValidationError(problems, self.stage)
        return replace(self, trainingJob=fill(self.trainingJob, given))

    def _contradictions(self, reports: Mapping[str, StagingReport]) -> list[str]:
        problems = [f"channel {c.name!r} was not staged" for c in self.channels if c.name not in reports]
        widths = {c.name: reports[c.name].width for c in self.channels if c.name in reports}
        told = {c.name: c.layout.width for c in self.channels if c.layout.width is not None}
        for name, width in widths.items():
            if told.get(name, width) != width:
                problems.append(
                    f"channel {name!r}: the schema's metadata says {told[name]} features, but the rows have {width}"
                )
        if len(set(widths.values())) > 1:
            each = ", ".join(f"{name}: {width}" for name, width in widths.items())
            problems.append(f"all channels must have the same number of features, but got {each}")
        return problems + self._class_problems(reports)

    def _class_problems(self, reports: Mapping[str, StagingReport]) -> list[str]:
        """Return what is wrong with the classes of the rows, where the labels are classes."""
        problems = []
        highest: float | None = None
        for channel in self.channels:
            if channel.layout.labelKind != "class" or channel.name not in reports:
                continue
            labels = reports[channel.name].labels
            assert labels is not None
            if highest is None:
                highest = labels.max
                if labels.min == labels.max:
                    problems.append(
                        f"channel {channel.name!r}: every label ({channel.layout.label}) is {labels.min:g}; a "
                        "classifier needs rows of two classes at least"
                    )
            elif labels.max > highest:
                problems.append(
                    f"channel {channel.name!r} has the label {labels.max:g}, but the classes of the train channel are "
                    f"0 to {highest:g}"
                )
        return problems


def make(scope: Scope, stage: str, name: str, training: Training, hosted: bool) -> Plan:
    """Return the plan of a fit; everything was checked before."""
    staging = scope.session.location / name / "input"
    channels = []
    for channel in training.channels:
        uri: Value
        if isinstance(channel, UriChannel):
            uri = str(channel.uri)
        else:
            uri = Deferred("S3Uri", "files" if channel.flat else "manifest", channel.name)
        channels.append(
            requests.channel(
                channel.name,
                uri,
                manifest=isinstance(channel, FrameChannel) and not channel.flat,
                contentType=channel.contentType,
                distribution=channel.distribution,
                options=channel.options,
            )
        )
    job = requests.training_job(
        scope,
        name=name,
        image=training.image,
        hyperparameters=training.hyperparameters,
        channels=channels,
        environment=training.environment,
        metricDefinitions=training.metricDefinitions,
        inputMode=training.inputMode,
    )
    hosting = requests.hosting(
        scope,
        name=name,
        image=training.hostingImage or training.image,
        modelData=requests.artifact(job),
        environment=training.hostingEnvironment,
    )
    return Plan(
        stage=stage,
        name=name,
        channels=tuple(c for c in training.channels if isinstance(c, FrameChannel)),
        staging=staging.prefix,
        trainingJob=job,
        hosting=hosting if hosted else None,
    )


def problems(scope: Scope) -> list[str]:
    """Return what the service would refuse of the Params that all training jobs share, in words."""
    v = scope.values
    found = list(scope.session.problems())
    found += tags.problems({**scope.session.tags, **(v.get("tags") or {})})
    wait, runtime = v.get("maxWaitInSeconds"), v["maxRuntimeInSeconds"]
    if wait is not None and not v.get("useSpotInstances"):
        found.append("maxWaitInSeconds is for useSpotInstances=True only; leave it out, or train on spot instances")
    elif wait is not None and wait < runtime:
        found.append(f"maxWaitInSeconds must be at least maxRuntimeInSeconds ({runtime}), but got {wait}")
    if v.get("checkpointLocalPath") and not v.get("checkpointS3Uri"):
        found.append("checkpointLocalPath is for jobs with checkpointS3Uri only; set that too, or leave it out")
    if v.get("instanceGroups") and v.get("keepAlivePeriodInSeconds"):
        found.append("keepAlivePeriodInSeconds (a warm pool) and instanceGroups exclude each other")
    if v.get("useSpotInstances") and v.get("keepAlivePeriodInSeconds"):
        found.append("keepAlivePeriodInSeconds (a warm pool) and useSpotInstances exclude each other")
    subnets = bool(v.get("subnets") or scope.session.subnets)
    if subnets != bool(v.get("securityGroupIds") or scope.session.securityGroupIds):
        found.append("subnets and securityGroupIds go together (VpcConfig), but only one is given")
    return found
