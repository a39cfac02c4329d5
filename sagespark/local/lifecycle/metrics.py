"""Metrics in log lines: regexes with one group, as MetricDefinitions has them."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any

Definition = tuple[str, str]
"""Name and regex."""
Point = tuple[str, float]
"""Name and value."""


def definitions(specification: dict[str, Any]) -> list[Definition]:
    """Return the metric definitions of an ``AlgorithmSpecification``."""
    return [(d["Name"], d["Regex"]) for d in specification.get("MetricDefinitions", [])]


def problems(metrics: Iterable[Definition]) -> list[str]:
    """Return what is wrong with metric definitions."""
    found = []
    for name, regex in metrics:
        try:
            groups = re.compile(regex).groups
        except re.error as error:
            found.append(f"The regex {regex!r} of metric definition {name!r} is invalid: {error}.")
            continue
        if groups == 0:
            found.append(f"The regex {regex!r} of metric definition {name!r} has no group that captures the value.")
    return found


class MetricReader:
    """Collect the last value of each metric from a job's log lines.

    Parameters
    ----------
    metrics : iterable of (str, str)
        Name and regex of each; the first group is the value.
    """

    def __init__(self, metrics: Iterable[Definition]) -> None:
        self._patterns = [(name, re.compile(regex)) for name, regex in metrics]
        self._last: dict[str, tuple[float, datetime]] = {}

    def values(self, line: str) -> Iterator[Point]:
        """Yield the metrics in one line."""
        for name, pattern in self._patterns:
            match = pattern.search(line)
            if match is None:
                continue
            try:
                value = float(match[1])
            except (TypeError, ValueError):
                continue
            # CloudWatch takes finite numbers only.
            if math.isfinite(value):
                yield name, value

    def read(self, line: str, time: datetime) -> bool:
        """Look for metrics in one line; tell whether a value was found."""
        found = {name: (value, time) for name, value in self.values(line)}
        self._last.update(found)
        return bool(found)

    def final(self) -> list[dict[str, Any]]:
        """Return ``FinalMetricDataList``: the last value of each metric, in the order of first sight."""
        return [{"MetricName": n, "Value": v, "Timestamp": t} for n, (v, t) in self._last.items()]
