"""The row that declares a built-in algorithm.

One :class:`AlgorithmSpec` gives the Spark Params with their checks, the wire strings, the tunable ranges, the channels,
the metrics and the response fields. Nothing here knows Spark or AWS's SDK; the embedded containers read the same rows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any, Literal

from sagespark.algorithms.hyperparameter import Hyperparameter, Range, Tunable, camel_case

__all__ = [
    "AlgorithmSpec",
    "Channel",
    "FixedParam",
    "Group",
    "Hyperparameter",
    "Metric",
    "Output",
    "Range",
    "Tunable",
    "camel_case",
]


TUNING_OBJECTIVE = "_tuning_objective_metric"
"""Hyperparameter that automatic model tuning adds to a training job's own: the objective metric."""


@dataclass(frozen=True)
class Group:
    """A Param that stands for several hyperparameters and has no wire string of its own.

    Parameters
    ----------
    name : str
        The Param, such as ``initMode``.
    members : tuple of str
        Wire strings that take its value unless they are set themselves.
    doc : str
        One sentence.
    """

    name: str
    members: tuple[str, ...]
    doc: str


@dataclass(frozen=True)
class FixedParam:
    """An MLlib Param that SageMaker lacks: its default is accepted, anything else is refused with the reason."""

    name: str
    default: Any
    reason: str


@dataclass(frozen=True)
class Channel:
    """An input channel of the training job."""

    name: str
    required: bool
    content_types: tuple[str, ...]
    labels: Literal["required", "optional", "none"] = "none"
    """Whether rows carry a label."""


@dataclass(frozen=True)
class Metric:
    """A metric that the algorithm writes to its log, and how the service reads it."""

    name: str
    """AWS's name, such as ``test:msd``."""
    regex: str
    """Regex with one group, as the service's MetricDefinitions have it."""
    direction: Literal["Minimize", "Maximize"]
    doc: str = ""
    objective: bool = False
    """Whether AWS's documentation lists it as an objective for tuning."""


@dataclass(frozen=True)
class Output:
    """One field of the endpoint's response and the column that it becomes."""

    field: str
    """The service's name, such as ``closest_cluster``."""
    param: str
    """The Param that names the column, such as ``predictionCol``."""
    default_column: str | None
    """That Param's default; None: MLlib's, such as ``{uid}__output`` of ``outputCol``."""
    type: Literal["int", "double", "vector"]
    """Spark type of the column."""
    doc: str = ""


@dataclass(frozen=True)
class AlgorithmSpec:
    """Everything that tells one built-in algorithm from another.

    Parameters
    ----------
    name : str
        The algorithm, such as ``kmeans``; also the repository of its image where ``repository`` is not given.
    version : str
        Tag of the image.
    input_params : tuple of str
        Params that name the stage's input columns: ``featuresCol`` or ``inputCol`` first, then ``labelCol``,
        ``weightCol`` and ``qidCol`` where the algorithm has them.
    hyperparameters, groups, fixed, channels, metrics, outputs
        See the classes.
    missing : {'refuse', 'keep'}
        What NaN in the features means to the algorithm.
    training_content_type, invocation_content_type, accept : str
        Content types of shards, requests and responses that the package uses.
    repository : str
        Repository of the image where it is called otherwise.
    aliases : mapping of str to str
        Other wire strings that the container accepts, and which they stand for.
    sources : tuple of str
        Where the declarations come from.
    """

    name: str
    version: str
    doc: str
    input_params: tuple[str, ...]
    hyperparameters: tuple[Hyperparameter, ...]
    channels: tuple[Channel, ...]
    metrics: tuple[Metric, ...]
    outputs: tuple[Output, ...]
    groups: tuple[Group, ...] = ()
    fixed: tuple[FixedParam, ...] = ()
    missing: Literal["refuse", "keep"] = "refuse"
    training_content_type: str = "application/x-recordio-protobuf"
    invocation_content_type: str = "application/x-recordio-protobuf"
    accept: str = "application/x-recordio-protobuf"
    seed: str | None = None
    """Wire string of the algorithm's own seed; None: ``SAGESPARK_SEED`` in the job's Environment."""
    distributed: bool = False
    """Whether the embedded service trains it on several instances. AWS's page "Common Parameters for Built-in
    Algorithms" calls all of those here parallelizable but LDA, "single instance only", and K-means, which takes "one or
    more instances"."""
    repository: str = ""
    aliases: Mapping[str, str] = field(default_factory=dict)
    sources: tuple[str, ...] = ()

    def __getitem__(self, wire: str) -> Hyperparameter:
        """Return the hyperparameter with that wire string."""
        for hyperparameter in self.hyperparameters:
            if hyperparameter.wire == wire:
                return hyperparameter
        raise KeyError(wire)

    @property
    def params(self) -> tuple[Hyperparameter, ...]:
        """The hyperparameters that are Params, in order."""
        return tuple(h for h in self.hyperparameters if not h.inferred)

    def names(self) -> dict[str, str]:
        """Return every accepted spelling of a hyperparameter (MLlib, camelCase, wire) with its wire string."""
        return {s: h.wire for h in self.hyperparameters for s in (h.wire, h.camel, h.name)}

    def suggest(self, name: str) -> str | None:
        """Return the accepted spelling nearest to ``name``, or None."""
        known = [n for h in self.params for n in (h.name, h.camel)] + [g.name for g in self.groups]
        near = get_close_matches(name, known, n=1)
        return near[0] if near else None

    def parse(self, hyperparameters: Mapping[str, str]) -> dict[str, Any]:
        """Return the values of a job's ``HyperParameters`` with defaults filled in, by wire string.

        Raises
        ------
        ValueError
            If one is unknown, refused, or required and absent; the message lists all problems.
        """
        problems: list[str] = []
        values = {h.wire: h.default for h in self.hyperparameters}
        known = {h.wire for h in self.hyperparameters}
        for given, text in hyperparameters.items():
            if given == TUNING_OBJECTIVE:
                continue
            wire = self.aliases.get(given, given)
            if wire != given and wire in hyperparameters:
                problems.append(f"{given!r} is another name of {wire!r}; give one of them")
                continue
            if wire not in known:
                near = get_close_matches(wire, known, n=1)
                problems.append(f"Unknown hyperparameter {wire!r}" + (f" (did you mean {near[0]!r}?)" if near else ""))
                continue
            try:
                values[wire] = self[wire].from_wire(text)
            except ValueError as error:
                problems.append(str(error))
        problems += [
            f"Required hyperparameter {h.wire!r} is missing"
            for h in self.hyperparameters
            if h.required and h.wire not in {self.aliases.get(given, given) for given in hyperparameters}
        ]
        if problems:
            raise ValueError("; ".join(problems))
        return values
