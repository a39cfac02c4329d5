"""Ranges as the service tells of them: in the description of a tuning job, or by what its trials were given."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from sagespark.algorithms.hyperparameter import Hyperparameter
from sagespark.bayesopt import Categorical, Continuous, Integer
from sagespark.bayesopt.ranges import Range
from sagespark.ml.stage import Stage
from sagespark.ml.tuning_plan import Candidate
from sagespark.ml.tuning_ranges import Hint, nested, resolve

_INTEGER = re.compile(r"[+-]?\d+", re.ASCII)


def from_request(ranges: Mapping[str, Any], estimator: Any) -> dict[str, Range | Hint]:
    """Return ``ParameterRanges`` as this package has them, categories as the estimator's hyperparameters have them."""
    found: dict[str, Range | Hint] = {}
    for row in ranges.get("ContinuousParameterRanges", ()):
        found[row["Name"]] = Continuous(float(row["MinValue"]), float(row["MaxValue"]), row.get("ScalingType", "Auto"))
    for row in ranges.get("IntegerParameterRanges", ()):
        found[row["Name"]] = Integer(int(row["MinValue"]), int(row["MaxValue"]), row.get("ScalingType", "Auto"))
    for row in ranges.get("CategoricalParameterRanges", ()):
        found[row["Name"]] = _categories(estimator, row["Name"], row["Values"])
    for row in ranges.get("AutoParameters", ()):
        found[row["Name"]] = Hint(_categories(estimator, row["Name"], [row["ValueHint"]]).values[0])
    return found


def completed(candidates: Sequence[Candidate], rows: Sequence[Mapping[str, Any]]) -> list[Candidate]:
    """Return the candidates with ranges for whatever their trials were given beside the ranges known.

    Autotune chooses ranges that no description shows. They are taken to be those that AWS's documentation recommends
    for the algorithm, and as wide as the trials have them.

    Parameters
    ----------
    candidates : sequence of Candidate
    rows : sequence of mapping
        Summaries of the training jobs.
    """
    found = []
    for candidate in candidates:
        tuned = [t for t in candidate.tuned if not isinstance(t.range, Hint)]
        known = {t.wire for t in tuned}
        seen: dict[str, list[str]] = {}
        for row in rows:
            if len(candidates) == 1 or row.get("TrainingJobDefinitionName", "") == candidate.name:
                for wire, text in row["TunedHyperParameters"].items():
                    seen.setdefault(wire, []).append(text)
        for wire in sorted(seen.keys() - known):
            more, problems = resolve(candidate.estimator, {wire: _seen(candidate.estimator, wire, seen[wire])})
            # What the estimator does not know is no Param of its model either.
            tuned += [] if problems else more
        found.append(replace(candidate, tuned=tuple(tuned)))
    return found


def _seen(estimator: Any, wire: str, texts: Sequence[str]) -> Range:
    """Return the narrowest range that holds what is recommended for a hyperparameter and what trials were given."""
    row = _row(estimator, wire)
    advised = None if row is None else row.tunable
    numbers = _numbers(texts)
    if numbers is None or (advised is not None and advised.kind == "Categorical"):
        return _categories(estimator, wire, [*(() if advised is None else advised.values), *texts])
    low, high, scaling = min(numbers), max(numbers), "Auto"
    whole = all(_INTEGER.fullmatch(text) for text in texts)
    if advised is not None and advised.low is not None and advised.high is not None:
        whole = advised.kind == "Integer"
        if advised.low <= low and high <= advised.high:
            return _range(whole, advised.low, advised.high, advised.scaling)
        low, high = min(low, advised.low), max(high, advised.high)
    return _range(whole, low, high, scaling)


def _range(whole: bool, low: float, high: float, scaling: Any) -> Range:
    return Integer(int(low), int(high), scaling) if whole else Continuous(low, high, scaling)


def _numbers(texts: Sequence[str]) -> list[float] | None:
    try:
        return [float(text) for text in texts]
    except ValueError:
        return None


def _categories(estimator: Any, wire: str, texts: Sequence[str]) -> Categorical:
    """Return the values that wire strings stand for, each once."""
    row, texts = _row(estimator, wire), list(dict.fromkeys(texts))
    if row is not None:
        values: list[Any] = [row.from_wire(text) for text in texts]
    elif any(stage.hasParam("entryPoint") for stage in nested(estimator)):
        # Scripts of frameworks get JSON.
        values = [json.loads(text) for text in texts]
    else:
        values = texts
    return Categorical(values)


def _row(estimator: Any, wire: str) -> Hyperparameter | None:
    """Return the row of a built-in algorithm's hyperparameter, None for any other image's."""
    specs = [stage._spec for stage in nested(estimator) if isinstance(stage, Stage) and stage._spec is not None]
    return next((h for spec in specs for h in spec.hyperparameters if h.wire == wire), None)
