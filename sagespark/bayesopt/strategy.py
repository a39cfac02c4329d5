"""The interface that every strategy has: ask, report, tell, add, and the history that is its whole state."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np

from sagespark.bayesopt.early_stopping import MedianRule
from sagespark.bayesopt.log import Event, Log
from sagespark.bayesopt.space import Config, Space
from sagespark.bayesopt.trial import Exhausted, Trial
from sagespark.core.errors import ValidationError

DIRECTIONS = {"minimize": 1.0, "maximize": -1.0}


class Strategy(ABC):
    """Base of the strategies; see :class:`sagespark.bayesopt.Random` for the plainest one.

    A subclass answers one question, :meth:`_suggest`, from nothing but the log, the space and the seed. So the same
    history gives the same next trial, bit for bit, in the process that wrote it and in any later one.

    Parameters
    ----------
    space : Space
        What is searched.
    direction : {'minimize', 'maximize'}
        Which values of the objective are better. ``Minimize`` and ``Maximize``, the service's spelling, are accepted.
    seed : int
        Seed of everything drawn, >= 0.
    history : iterable of mapping
        Events of an earlier strategy with the same arguments, which this one goes on from.
    earlyStopping : {'Off', 'Median'}
        Rule that :meth:`should_stop` follows.

    Raises
    ------
    ValidationError
        If an argument cannot be used, or the history does not fit the space.
    """

    EARLY_STOPPING: ClassVar[tuple[str, ...]] = ("Off", "Median")
    STATE: ClassVar[frozenset[str]] = frozenset()
    """What a state of this strategy holds."""
    KEEPS_STATE: ClassVar[bool] = False
    """Whether every ask has a state."""

    def __init__(
        self,
        space: Space,
        direction: str = "minimize",
        seed: int = 0,
        history: Iterable[Mapping[str, Any]] = (),
        earlyStopping: str = "Off",
    ) -> None:
        if not isinstance(space, Space):
            raise ValidationError(f"space must be a Space, but got {space!r}", type(self).__name__)
        problems = []
        if not isinstance(direction, str) or direction.lower() not in DIRECTIONS:
            problems.append(f"direction must be 'minimize' or 'maximize', but got {direction!r}")
        if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or seed < 0:
            problems.append(f"seed must be an integer >= 0, but got {seed!r}")
        if earlyStopping not in self.EARLY_STOPPING:
            rule = " or ".join(map(repr, self.EARLY_STOPPING))
            problems.append(f"earlyStopping must be {rule}, but got {earlyStopping!r}")
        if problems:
            raise ValidationError(problems, type(self).__name__)
        self.space = space
        self.direction = direction.lower()
        self.seed = int(seed)
        self.earlyStopping = earlyStopping
        self._sign = DIRECTIONS[self.direction]
        self._median = MedianRule(self._sign)
        self._log = Log(space)
        self._log.replay(history)
        for event in self._log.events:
            if event["event"] == "ask" and not self._is_own(event["state"]):
                raise ValidationError(
                    f"history must be one of {type(self).__name__}, but trial {event['trial']} was asked for by "
                    "another strategy; add() takes observations from elsewhere",
                    type(self).__name__,
                )

    def _is_own(self, state: Any) -> bool:
        """Tell whether this strategy can go on from a state."""
        if state is None:
            return not self.KEEPS_STATE
        return not self.STATE or (isinstance(state, Mapping) and state.keys() >= self.STATE)

    @abstractmethod
    def _suggest(self) -> tuple[Config, int | None, Any]:
        """Return the next configuration, its resource, and the state to keep (None: keep the last one).

        Raises
        ------
        Exhausted, Waiting
            If there is none.
        """

    def ask(self) -> Trial:
        """Return a new trial, pending from now on until it is told.

        Raises
        ------
        Exhausted
            If nothing is left to try. No event is added.
        Waiting
            If pending trials have to be told first. No event is added.
        """
        return copy_of(self._log.ask(*self._suggest()))

    def report(self, id: int, step: int, value: float) -> None:
        """Record an intermediate value of a pending trial; a second one for the same step replaces the first.

        Parameters
        ----------
        id : int
            The trial's id.
        step : int
            Epoch, boosting round or the like, >= 0.
        value : float
            The objective at that step, finite.

        Raises
        ------
        ValidationError
            If the trial is not pending, or step or value cannot be used.
        """
        self._log.report(plain(id), plain(step), plain(value))

    def tell(self, id: int, value: float | None, status: str = "Completed") -> None:
        """Record the result of a pending trial.

        Parameters
        ----------
        id : int
            The trial's id.
        value : float or None
            The objective, finite. None for a failed trial, and for a stopped one, which then has its last reported
            value.
        status : {'Completed', 'Stopped', 'Failed'}
            How it ended.

        Raises
        ------
        ValidationError
            If the trial is not pending, or value and status do not go together.
        """
        self._log.tell(plain(id), plain(value), status)

    def add(self, config: Mapping[str, Any], value: float, task: str | None = None) -> None:
        """Record an observation from elsewhere (warm start).

        Parameters
        ----------
        config : mapping
            A configuration of the space.
        value : float
            The objective there, finite.
        task : str or None
            Where it comes from. None: the same objective on the same data, as good as an own evaluation. A name: an
            objective that may differ in level, scale and shape, such as the same algorithm on other data; how much it
            tells is learned. Only None keeps the configuration from being asked for and counts for ``best``.

        Raises
        ------
        ValidationError
            If the configuration is not in the space, or the value is not finite.
        """
        self._log.add(self.space.check(config, "add"), plain(value), task)

    def should_stop(self, id: int) -> bool:
        """Tell whether a pending trial should be stopped now, by the rule ``earlyStopping``.

        Raises
        ------
        ValidationError
            If the trial is not pending.
        """
        trial = self._log.trial(plain(id))
        return self.earlyStopping == "Median" and self._median.should_stop(trial, self._log.told())

    @property
    def history(self) -> tuple[Event, ...]:
        """The events in order, for :func:`json.dumps` and for ``history=``; read only."""
        return tuple(self._log.events)

    @property
    def trials(self) -> tuple[Trial, ...]:
        """Every trial asked for, in order, as it stands now."""
        return tuple(copy_of(t) for t in self._log.trials)

    @property
    def pending(self) -> tuple[Trial, ...]:
        """The trials in progress, in order."""
        return tuple(copy_of(t) for t in self._log.pending())

    @property
    def observations(self) -> tuple[Trial, ...]:
        """What was added to the same task, then what was told with a value, in order."""
        added = [t for t, task in self._log.added if task is None]
        return tuple(copy_of(t) for t in added + self._log.told() if t.value is not None)

    @property
    def best(self) -> Trial | None:
        """The best observation, the earliest of equals; None while there is none."""
        return min(self.observations, key=lambda t: self._sign * _value(t), default=None)

    @property
    def recommended(self) -> Trial | None:
        """The observation to go with: the best one, unless the strategy knows how to see through noise."""
        return self.best

    def _rng(self, purpose: int = 0) -> np.random.Generator:
        """Return the generator of the next ask: the number of asks is the random counter."""
        return np.random.default_rng([self.seed, len(self._log.trials), purpose])

    def _is_used(self, config: Config) -> bool:
        return self.space.key(config) in self._log.used

    def _refuse_if_exhausted(self) -> None:
        size = self.space.size
        if size is not None and len(self._log.used) >= size:
            raise Exhausted(f"all {size} configurations of the space were tried")


def _value(trial: Trial) -> float:
    assert trial.value is not None  # observations have one
    return trial.value


def copy_of(trial: Trial) -> Trial:
    """Return the trial with containers of its own, which the caller may change."""
    return replace(trial, config=dict(trial.config), reports=dict(trial.reports))


def plain(value: Any) -> Any:
    """Return numpy's scalars as Python's, which JSON can carry; anything else unchanged, for the log to judge."""
    return value.item() if isinstance(value, np.generic) else value
