"""What is tuned: ranges by Params or by names, each found in the one stage that has it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pyspark.ml import Pipeline
from pyspark.ml.classification import OneVsRest
from pyspark.ml.param import Param

from sagespark.algorithms.hyperparameter import Hyperparameter
from sagespark.bayesopt import Categorical, Continuous, Integer, Space
from sagespark.bayesopt.ranges import Range
from sagespark.core.errors import ValidationError
from sagespark.ml.generic import SageMakerEstimator
from sagespark.ml.stage import Stage

MOST_VALUES = 30
"""Values of a CategoricalParameterRange, at most."""
KINDS = {
    Continuous: "ContinuousParameterRanges",
    Integer: "IntegerParameterRanges",
    Categorical: "CategoricalParameterRanges",
}


@dataclass(frozen=True)
class Hint:
    """An example value of a hyperparameter whose range Autotune chooses."""

    value: Any


@dataclass(frozen=True)
class Tuned:
    """One tuned hyperparameter.

    Parameters
    ----------
    name : str
        As the user names it: in trials, plots and configurations.
    range : Continuous, Integer, Categorical or Hint
    stage : Params
        The stage that has it.
    param : Param or None
        Its Param there; None where it is a hyperparameter of any image.
    wire : str or None
        The hyperparameter's wire string; None for Params that no job gets.
    """

    name: str
    range: Range | Hint
    stage: Any
    param: Param[Any] | None
    wire: str | None

    @property
    def hyperparameter(self) -> Hyperparameter | None:
        """The row of a built-in algorithm's hyperparameter."""
        spec = self.stage._spec if isinstance(self.stage, Stage) else None
        return spec[self.wire] if spec is not None and self.wire is not None else None

    @property
    def ends(self) -> tuple[Any, ...]:
        """The bounds of the range, or all its values where it has none."""
        if isinstance(self.range, Hint):
            return (self.range.value,)
        if isinstance(self.range, Categorical):
            return tuple(self.range.values)
        return (self.range.minValue, self.range.maxValue)

    def problems(self) -> list[str]:
        """Return what the Param refuses of the range's values."""
        if self.param is None:
            return []
        found = []
        for value in self.ends:
            try:
                self.param.typeConverter(value)
            except (TypeError, ValueError) as error:
                found.append(f"ranges[{self.name!r}]: {error}")
        return found

    def to_wire(self, value: Any) -> str:
        """Return a value as ``HyperParameters`` carries it."""
        row = self.hyperparameter
        if row is not None:
            return row.to_wire(row.convert(value))
        # Scripts of frameworks get JSON.
        return json.dumps(value) if self.stage.hasParam("entryPoint") else self.plain(value)

    def plain(self, value: Any) -> str:
        """Return a value as the ``hyperparameters`` of an estimator of any image hold it."""
        return repr(value) if isinstance(value, float) else str(value)

    def from_wire(self, text: str) -> Any:
        """Return the range's value that a wire string stands for."""
        if isinstance(self.range, Categorical):
            return next(v for v in self.range.values if self.to_wire(v) == text)
        return int(text) if isinstance(self.range, Integer) else float(text)

    def to_range(self) -> tuple[str, dict[str, Any]]:
        """Return the list of ``ParameterRanges`` that the range belongs to, and its entry there."""
        assert self.wire is not None
        if isinstance(self.range, Hint):
            return "AutoParameters", {"Name": self.wire, "ValueHint": self.to_wire(self.range.value)}
        if isinstance(self.range, Categorical):
            return KINDS[Categorical], {"Name": self.wire, "Values": [self.to_wire(v) for v in self.range.values]}
        bounds = {"MinValue": repr(self.range.minValue), "MaxValue": repr(self.range.maxValue)}
        return KINDS[type(self.range)], {"Name": self.wire, **bounds, "ScalingType": self.range.scaling}


def nested(estimator: Any) -> Iterator[Any]:
    """Yield an estimator and the stages inside it."""
    yield estimator
    if isinstance(estimator, Pipeline):
        for stage in estimator.getStages():
            yield from nested(stage)
    elif isinstance(estimator, OneVsRest):
        yield from nested(estimator.getClassifier())


def hinted(ranges: Mapping[Any, Any], autotune: bool) -> dict[Any, Any]:
    """Return ranges with plain values as hints, which only Autotune takes."""
    if autotune:
        return {
            key: Hint(value) if isinstance(value, bool | int | float | str) else value for key, value in ranges.items()
        }
    return {key: value.value if isinstance(value, Hint) else value for key, value in ranges.items()}


def resolve(estimator: Any, ranges: Mapping[Any, Any]) -> tuple[list[Tuned], list[str]]:
    """Return what is tuned, in order, and everything that is wrong with it in words."""
    stages = list(nested(estimator))
    found: list[Tuned] = []
    problems: list[str] = []
    for key, parameter in ranges.items():
        label = key.name if isinstance(key, Param) else key
        if not isinstance(parameter, Continuous | Integer | Categorical | Hint):
            problems.append(
                f"ranges[{label!r}] must be a Continuous, Integer or Categorical range, but got {parameter!r}"
            )
            continue
        if isinstance(key, Param):
            owner = next((s for s in stages if s.uid == key.parent and s.hasParam(key.name)), None)
            if owner is None:
                problems.append(
                    f"ranges: Param {key.name!r} belongs to {key.parent!r}, which is not inside the estimator; take "
                    "the Param from the stage that is tuned"
                )
                continue
            found.append(_of_param(key.name, parameter, owner, owner.getParam(key.name)))
        elif isinstance(key, str):
            owners = [t for stage in stages if (t := _named(key, parameter, stage)) is not None]
            # Only where no stage has a Param of that name it is a hyperparameter of an image that may be anything.
            known = [t for t in owners if t.param is not None] or owners
            if len(known) == 1:
                found.append(known[0])
            elif known:
                names = ", ".join(t.stage.uid for t in known)
                problems.append(f"ranges: {key!r} is in several stages ({names}); give the Param instead of its name")
            else:
                problems.append(f"ranges: no stage has a Param {key!r}{_hint(key, stages)}")
        else:
            problems.append(f"ranges: keys are Params or their names, but got {key!r}")
    problems += _twice(found)
    return _told_apart(found), problems + [text for tuned in found for text in tuned.problems()]


def space(tuned: Sequence[Tuned]) -> Space:
    """Return the search space."""
    return Space({t.name: t.range for t in tuned if not isinstance(t.range, Hint)})


def configured(estimator: Any, tuned: Sequence[Tuned], config: Mapping[str, Any]) -> Any:
    """Return a copy of an estimator with the values of a configuration."""
    extra: dict[Any, Any] = {}
    for t in tuned:
        if t.param is not None:
            extra[t.param] = config[t.name]
        else:
            holder = t.stage.getParam("hyperparameters")
            before = extra.get(holder, t.stage.getOrDefault(holder))
            extra[holder] = {**before, t.wire: t.plain(config[t.name])}
    return estimator.copy(extra)


def any_config(tuned: Sequence[Tuned]) -> dict[str, Any]:
    """Return some configuration, for plans that need all values and use none of these."""
    return {t.name: t.range.value if isinstance(t.range, Hint) else t.range.levels(1)[0] for t in tuned}


def _named(name: str, parameter: Range | Hint, stage: Any) -> Tuned | None:
    """Return the Param or hyperparameter of a stage that goes by a name, None where there is none."""
    if isinstance(stage, SageMakerEstimator) and not stage.hasParam(name):
        return Tuned(name, parameter, stage, None, name)
    if isinstance(stage, Stage) and stage._spec is not None:
        wire = stage._spec.names().get(name)
        if wire is not None and stage.hasParam(stage._spec[wire].name):
            return Tuned(name, parameter, stage, stage.getParam(stage._spec[wire].name), wire)
    return _of_param(name, parameter, stage, stage.getParam(name)) if stage.hasParam(name) else None


def _of_param(name: str, parameter: Range | Hint, stage: Any, param: Param[Any]) -> Tuned:
    spec = stage._spec if isinstance(stage, Stage) else None
    wire = None if spec is None else spec.names().get(param.name)
    return Tuned(name, parameter, stage, param, wire)


def _twice(found: list[Tuned]) -> list[str]:
    keys = [(t.stage.uid, t.param.name if t.param is not None else t.wire) for t in found]
    return [f"ranges: {name} of {uid} is tuned twice" for uid, name in sorted({k for k in keys if keys.count(k) > 1})]


def _told_apart(found: list[Tuned]) -> list[Tuned]:
    """Return the hyperparameters, those with one name in several stages under the stage's uid too."""
    names = [t.name for t in found]
    return [
        t if names.count(t.name) == 1 else Tuned(f"{t.stage.uid}.{t.name}", t.range, t.stage, t.param, t.wire)
        for t in found
    ]


def _hint(name: str, stages: Sequence[Any]) -> str:
    for stage in stages:
        if isinstance(stage, Stage) and stage._spec is not None and (near := stage._spec.suggest(name)):
            return f"; did you mean {near!r}?"
    return ""


def as_json(tuned: Sequence[Tuned]) -> list[dict[str, Any]]:
    """Return the ranges as JSON holds them, by name."""
    rows = []
    for t in tuned:
        row: dict[str, Any] = {"name": t.name, "kind": type(t.range).__name__}
        if isinstance(t.range, Hint):
            row["value"] = t.range.value
        elif isinstance(t.range, Categorical):
            row["values"] = list(t.range.values)
        else:
            row |= {"minValue": t.range.minValue, "maxValue": t.range.maxValue, "scaling": t.range.scaling}
        rows.append(row)
    return rows


def from_json(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the ranges that :func:`as_json` gave, by name."""
    kinds = {kind.__name__: kind for kind in (Continuous, Integer, Categorical, Hint)}
    found: dict[str, Any] = {}
    for row in rows:
        kind = kinds.get(row["kind"])
        if kind is None:
            raise ValidationError(f"a range is Continuous, Integer or Categorical, but got {row['kind']!r}", "ranges")
        found[row["name"]] = kind(**{k: v for k, v in row.items() if k not in ("name", "kind")})
    return found
