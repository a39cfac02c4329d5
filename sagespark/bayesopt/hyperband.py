"""Hyperband: many configurations on a small budget, the best of them on a larger one.

Notation, of Li et al., Hyperband, JMLR 18, 2018, algorithm 1: ``R = maxResource / minResource``, ``eta`` the factor,
``s_max`` the largest integer with ``eta^s_max <= R``. Bracket ``s = s_max .. 0`` starts
``n = ceil((s_max + 1) / (s + 1) eta^s)`` configurations on ``maxResource eta^-s`` each; each rung hands the best
``floor(n / eta)`` of its trials on to the next, with ``eta`` times the resource, until ``maxResource``. After the last
bracket the first one begins again.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from sagespark.bayesopt.random_search import draw_unused
from sagespark.bayesopt.space import Config, Space
from sagespark.bayesopt.strategy import Strategy, copy_of, plain
from sagespark.bayesopt.trial import Trial, Waiting
from sagespark.core.errors import ValidationError

ETA = 3


@dataclass(frozen=True)
class Rung:
    """One rung of a bracket: so many trials on so much resource."""

    trials: int
    resource: int


def brackets(minResource: int, maxResource: int) -> tuple[tuple[Rung, ...], ...]:
    """Return the rungs of every bracket, the most aggressive bracket first."""
    s_max = 0
    while minResource * ETA ** (s_max + 1) <= maxResource:
        s_max += 1
    out = []
    for s in range(s_max, -1, -1):
        n = math.ceil((s_max + 1) / (s + 1) * ETA**s)
        rungs = [
            Rung(n // ETA**i, max(minResource, int(maxResource * float(ETA) ** (i - s) + 0.5))) for i in range(s + 1)
        ]
        out.append(tuple(r for r in rungs if r.trials > 0))
    return tuple(out)


class Hyperband(Strategy):
    """Successive halving in brackets; ``trial.resource`` is the budget of the trial's rung.

    A configuration that a rung hands on is a new trial, with a new id and a larger resource. A failed trial is handed
    on nowhere. :meth:`should_stop` says yes once a trial has used up its resource.

    Trials are handed on as soon as it is certain that they are among the best of their rung, whatever the pending ones
    bring; :meth:`ask` raises ``Waiting`` only when nothing is certain.

    Parameters
    ----------
    space, direction, seed, history
        As for every strategy.
    earlyStopping : {'Off'}
        Hyperband stops by its own rule.
    minResource, maxResource : int
        Smallest and largest budget of a trial, such as epochs, 1 <= minResource <= maxResource.

    Raises
    ------
    ValidationError
        If an argument cannot be used.
    """

    EARLY_STOPPING: ClassVar[tuple[str, ...]] = ("Off",)
    STATE = frozenset({"place", "source"})
    KEEPS_STATE = True

    def __init__(
        self,
        space: Space,
        direction: str = "minimize",
        seed: int = 0,
        history: Iterable[Mapping[str, Any]] = (),
        earlyStopping: str = "Off",
        *,
        minResource: int = 1,
        maxResource: int = 81,
    ) -> None:
        super().__init__(space, direction, seed, history, earlyStopping)
        sound = all(isinstance(r, int) and not isinstance(r, bool) for r in (minResource, maxResource))
        if not sound or not 1 <= minResource <= maxResource:
            raise ValidationError(
                f"1 <= minResource <= maxResource must hold for integers, but got minResource={minResource!r}, "
                f"maxResource={maxResource!r}",
                "Hyperband",
            )
        self.minResource, self.maxResource = minResource, maxResource
        self.brackets = brackets(minResource, maxResource)

    def _suggest(self) -> tuple[Config, int | None, Any]:
        bracket, rung = (self._log.state or {"place": [0, 0]})["place"]
        while True:
            rungs = self.brackets[bracket % len(self.brackets)]
            asked = self._members(bracket, rung)
            state = {"place": [bracket, rung], "source": None}
            if rung == 0:
                used_up = self.space.size is not None and len(self._log.used) >= self.space.size
                if not asked:
                    self._refuse_if_exhausted()
                if len(asked) < rungs[0].trials and not used_up:
                    return draw_unused(self, self._rng()), rungs[0].resource, state
            elif len(asked) < rungs[rung].trials:
                below = [trial for trial, _ in self._members(bracket, rung - 1)]
                source = self._certain(below, rungs[rung].trials, {source for _, source in asked})
                if source is not None:
                    return dict(source.config), rungs[rung].resource, {**state, "source": source.id}
                if any(t.status == "InProgress" for t in below):
                    raise Waiting(f"rung {rung} of bracket {bracket} needs the pending trials of the rung below it")
            # The rung is full, or nothing is left to fill it with.
            bracket, rung = (bracket, rung + 1) if rung + 1 < len(rungs) else (bracket + 1, 0)

    def _members(self, bracket: int, rung: int) -> list[tuple[Trial, int | None]]:
        """Return the trials of a rung in the order of asks, each with the id of the trial that it continues."""
        return [
            (self._log.trials[event["trial"]], event["state"]["source"])
            for event in self._log.events
            if event["event"] == "ask" and event["state"]["place"] == [bracket, rung]
        ]

    def _certain(self, below: list[Trial], places: int, taken: set[int | None]) -> Trial | None:
        """Return the best trial below that has a place whatever the pending ones bring, and was not handed on yet."""
        pending = sum(t.status == "InProgress" for t in below)
        ranked = sorted((t for t in below if t.value is not None), key=lambda t: (self._sign * (t.value or 0.0), t.id))
        for trial in ranked[: max(places - pending, 0)]:
            if trial.id not in taken:
                return trial
        return None

    def should_stop(self, id: int) -> bool:
        """Tell whether a pending trial has used up its resource.

        It has when it reported that many times, or a step of that number: steps may be counted from 0 or from 1, and
        reported one by one or now and then.

        Raises
        ------
        ValidationError
            If the trial is not pending.
        """
        trial = self._log.trial(plain(id))
        spent = max([len(trial.reports), *trial.reports])
        return trial.resource is not None and spent >= trial.resource

    @property
    def recommended(self) -> Trial | None:
        """The best observation among those with the largest resource so far: smaller budgets flatter or slander."""
        seen = [t for t in self._log.told() if t.value is not None]
        top = max((t.resource or 0 for t in seen), default=0)
        at_top = [t for t in seen if (t.resource or 0) == top]
        best = min(at_top, key=lambda t: self._sign * (t.value or 0.0), default=None)
        return copy_of(best) if best is not None else self.best
