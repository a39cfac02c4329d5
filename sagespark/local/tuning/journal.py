"""The events of a search in the Store, a row each: the whole state of a tuning job beside its document.

A row is one of::

    {"definition": 0, "events": [...], "job": "t-001-0a1b2c3d", "trial": 0, "number": 1, "tuned": {...}}   launched
    {"definition": 0, "events": [...]}                                                 heard: reports, warm start
    {"definition": 0, "events": [...], "ended": "t-001-0a1b2c3d", "summary": {...}}    ended

``events`` are those that the strategy has added to its history. A row and the training job that it launches are written
in one transaction, so a killed service finds both or none.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from sagespark.local.store import Document, Store

Event = dict[str, Any]


@dataclass
class Launched:
    """One trial and its training jobs."""

    definition: int
    trial: int
    number: int
    """Position among the tuning job's trials, from 1: part of the training job's name."""
    tuned: dict[str, str]
    jobs: list[str]
    """Its training jobs, the latest last: more than one after internal errors."""
    summary: Document | None = None
    """What the latest one ended as, None while it runs."""


@dataclass
class Journal:
    """What the rows of a tuning job amount to.

    Parameters
    ----------
    store : Store
    region, name : str
        The tuning job.
    """

    store: Store
    region: str
    name: str
    events: dict[int, list[Event]] = field(default_factory=dict)
    """The strategies' histories, by definition."""
    trials: list[Launched] = field(default_factory=list)
    """In the order of launches."""
    order: list[Launched] = field(default_factory=list)
    """Those that have ended, in the order of ends."""
    _rows: int = 0

    def load(self) -> None:
        """Read the rows that are there."""
        for row in self.store.list(kind(self.name), self.region):
            self._apply(row)

    def append(self, definition: int, events: Sequence[Event], **members: Any) -> None:
        """Add a row."""
        row = {"definition": definition, "events": list(events), **members}
        self.store.put(kind(self.name), self.region, f"{self._rows:07d}", row)
        self._apply(row)

    def _apply(self, row: Document) -> None:
        self._rows += 1
        self.events.setdefault(row["definition"], []).extend(row["events"])
        if "job" in row:
            known = [t for t in self.trials if (t.definition, t.trial) == (row["definition"], row["trial"])]
            if known:
                known[0].jobs.append(row["job"])
            else:
                trial = Launched(row["definition"], row["trial"], row["number"], row["tuned"], [row["job"]])
                self.trials.append(trial)
        if "ended" in row:
            trial = next(t for t in self.trials if t.jobs[-1] == row["ended"])
            trial.summary = row["summary"]
            self.order.append(trial)


def kind(name: str) -> str:
    """Return the kind of the Store under which the rows of a tuning job are kept."""
    return f"TuningEvents/{name}"


def drop(store: Store, region: str, name: str) -> None:
    """Delete the rows of a tuning job."""
    for _, key, _ in store.items(kind(name), region):
        store.delete(kind(name), region, key)
