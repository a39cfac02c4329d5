"""The event log: the whole state of a strategy, and the trials that follow from it.

Four kinds of event, each a JSON object::

    {"event": "ask",    "trial": 0, "config": {...}, "resource": null, "state": {...} | null}
    {"event": "report", "trial": 0, "step": 3, "value": 0.4}
    {"event": "tell",   "trial": 0, "value": 0.31, "status": "Completed"}
    {"event": "add",    "config": {...}, "value": 0.35, "task": null}

``state`` is what the strategy wants to find again at the next ask: a counter, the surrogate's fitted hyperparameters.
Python writes floats to JSON so that they come back exactly, so a log that went through a file is the same log.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from sagespark.bayesopt.space import Config, Key, Space
from sagespark.bayesopt.trial import FINAL, Trial
from sagespark.core.errors import ValidationError

Event = dict[str, Any]


def finite(value: Any) -> float | None:
    """Return ``value`` as a float, or None where it is no finite number."""
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return number if math.isfinite(number) and not isinstance(value, str | bool) else None


def _exact(value: Any) -> Any:
    """Return a number as the float that the event keeps; anything else unchanged, to be refused by its event."""
    number = finite(value)
    return value if number is None else number


class Log:
    """Events in order, and what they amount to.

    Parameters
    ----------
    space : Space
        What configurations are checked against.
    """

    def __init__(self, space: Space) -> None:
        self.space = space
        self.events: list[Event] = []
        self.trials: list[Trial] = []
        """Every trial asked for, by its id."""
        self.added: list[tuple[Trial, str | None]] = []
        """Observations from elsewhere, each with the name of its task (None: the same task as the trials)."""
        self.order: list[int] = []
        """Ids in the order in which they were told."""
        self.used: dict[Key, int] = {}
        """How often each configuration was asked for or added to the same task."""
        self.state: Any = None
        """The state of the last ask that left one."""

    def ask(self, config: Config, resource: int | None, state: Any) -> Trial:
        """Append an ask; return its trial."""
        self._append(
            {"event": "ask", "trial": len(self.trials), "config": config, "resource": resource, "state": state}
        )
        return self.trials[-1]

    def report(self, trial: int, step: int, value: float) -> None:
        """Append an intermediate value."""
        self._append({"event": "report", "trial": trial, "step": step, "value": _exact(value)})

    def tell(self, trial: int, value: float | None, status: str) -> None:
        """Append a result."""
        self._append({"event": "tell", "trial": trial, "value": _exact(value), "status": status})

    def add(self, config: Config, value: float, task: str | None) -> None:
        """Append an observation from elsewhere."""
        self._append({"event": "add", "config": config, "value": _exact(value), "task": task})

    def replay(self, events: Iterable[Mapping[str, Any]]) -> None:
        """Append events of an earlier log.

        Raises
        ------
        ValidationError
            If one does not fit the space or those before it; the message tells its position.
        """
        for position, event in enumerate(events):
            try:
                self._append(dict(event))
            except ValidationError as error:
                raise ValidationError([f"event {position}: {p}" for p in error.problems], "history") from None
            except (KeyError, TypeError, ValueError) as error:
                raise ValidationError(
                    f"event {position} is no event of a history: {event!r} ({error})", "history"
                ) from None

    def pending(self) -> list[Trial]:
        """Return the trials in progress, in the order of asks."""
        return [t for t in self.trials if t.status == "InProgress"]

    def told(self) -> list[Trial]:
        """Return the trials that ended, in the order of tells."""
        return [self.trials[i] for i in self.order]

    def trial(self, number: Any) -> Trial:
        """Return the trial with that id; ValidationError if there is none in progress."""
        if isinstance(number, bool) or not isinstance(number, int) or not 0 <= number < len(self.trials):
            last = f"0 to {len(self.trials) - 1}" if self.trials else "none yet"
            raise ValidationError(f"trial {number!r} was never asked for (ids so far: {last})")
        trial = self.trials[number]
        if trial.status != "InProgress":
            raise ValidationError(f"trial {number} is {trial.status} already; each trial is told once")
        return trial

    def _append(self, event: Event) -> None:
        apply = {"ask": self._ask, "report": self._report, "tell": self._tell, "add": self._add}.get(event["event"])
        if apply is None:
            raise ValidationError(f"an event is ask, report, tell or add, but got {event['event']!r}")
        apply(event)
        self.events.append(event)

    def _ask(self, event: Event) -> None:
        if event["trial"] != len(self.trials):
            raise ValidationError(f"asks are numbered in order: {len(self.trials)} is next, but got {event['trial']!r}")
        config = self.space.check(event["config"], "ask")
        self.trials.append(Trial(event["trial"], config, event["resource"]))
        self._use(config)
        self.state = event["state"] if event["state"] is not None else self.state

    def _report(self, event: Event) -> None:
        trial = self.trial(event["trial"])
        step, value = event["step"], finite(event["value"])
        if isinstance(step, bool) or not isinstance(step, int) or step < 0:
            raise ValidationError(f"step must be an integer >= 0, but got {step!r}")
        if value is None:
            raise ValidationError(f"an intermediate value must be a finite number, but got {event['value']!r}")
        self.trials[event["trial"]] = replace(trial, reports={**trial.reports, step: value})

    def _tell(self, event: Event) -> None:
        trial = self.trial(event["trial"])
        status, value = event["status"], finite(event["value"])
        if status not in FINAL:
            raise ValidationError(f"status must be one of {', '.join(map(repr, FINAL))}, but got {status!r}")
        if status == "Failed" and event["value"] is not None:
            raise ValidationError(
                f"a failed trial has no value: tell(id, None, status='Failed'), got {event['value']!r}"
            )
        if status != "Failed" and value is None and not (status == "Stopped" and event["value"] is None):
            raise ValidationError(
                f"the value must be a finite number, but got {event['value']!r}; "
                "a trial without one is told as tell(id, None, status='Failed')"
            )
        if status == "Stopped" and value is None and trial.reports:
            value = trial.reports[max(trial.reports)]
        self.trials[event["trial"]] = replace(trial, status=status, value=value)
        self.order.append(event["trial"])

    def _add(self, event: Event) -> None:
        config, value, task = self.space.check(event["config"], "add"), finite(event["value"]), event.get("task")
        if value is None:
            raise ValidationError(f"the value must be a finite number, but got {event['value']!r}", "add")
        if task is not None and (not isinstance(task, str) or not task):
            raise ValidationError(f"task must be a non-empty string or None, but got {task!r}", "add")
        self.added.append((Trial(None, config, status="Completed", value=value), task))
        if task is None:
            self._use(config)

    def _use(self, config: Config) -> None:
        key = self.space.key(config)
        self.used[key] = self.used.get(key, 0) + 1
