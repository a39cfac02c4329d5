"""Bayesian optimisation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from sagespark.bayesopt import feasibility
from sagespark.bayesopt.acquisition import Acquisition
from sagespark.bayesopt.data import Data, encode
from sagespark.bayesopt.feasibility import Feasibility
from sagespark.bayesopt.log import Log
from sagespark.bayesopt.parents import UNJUDGED, judge
from sagespark.bayesopt.random_search import draw_unused
from sagespark.bayesopt.search import maximise
from sagespark.bayesopt.sobol import sobol
from sagespark.bayesopt.space import Config
from sagespark.bayesopt.strategy import Strategy, copy_of
from sagespark.bayesopt.surrogate import MEMBERS, NOISY, Surrogate, choose, is_related, surrogate
from sagespark.bayesopt.threads import one_thread
from sagespark.bayesopt.trial import Trial
from sagespark.bayesopt.warping import state_of, warp_of
from sagespark.bayesopt.weighing import weigh, weighing

FIRST_MOST = 9
"""First points drawn without a model, at most. More cost spaces of many parameters; fewer miss one of many minima."""
WHILE_PENDING = tuple(i for i, (lengthscales, _) in enumerate(MEMBERS) if lengthscales == "short")
"""Members that ask while trials are pending. The others are surer of places that nobody has seen, and so see less to
find out by several trials at once: measured, more regret."""
NOTHING: dict[str, Any] = {
    "thetas": [None] * len(MEMBERS),
    "feasibility": None,
    "judgement": UNJUDGED,
    "warp": None,
    "weighed": 0,
    "drawn": 0,
    "model": None,
}
"""The state before the first trial: hyperparameters, :mod:`parents`' judgement, the :mod:`warping` and at how many
values it was weighed last, how many first points were drawn, and which member the trial came from."""


class Bayesian(Strategy):
    """Models the objective by Gaussian processes, and asks where improvement is most expected.

    1. The first points are those of a scrambled Sobol sequence, ``min(2 d + 1, 9)`` of them for ``d`` parameters; fewer
       where observations were added and turn out to be of use. Those added as the same objective are given up once
       they foretell the own values badly (:mod:`parents`).
    2. Then a member of the surrogate (:mod:`surrogate`), in turn another one unless the data speak clearly against it,
       is fitted to all that is known, and the configuration with the largest log expected improvement is asked for:
       the mean over what pending trials may bring (:mod:`improvement`). Failed trials count as worst, and the chance
       of success multiplies expected improvement (:mod:`feasibility`). No configuration is asked for twice.
    3. From 20 values on, where the objective varies far faster at one end of a range than at the other, and the data
       say so very clearly, the surrogate sees that range through a warp (:mod:`weighing`).
    4. The fitted hyperparameters go into the ask event; the next fit starts from there.

    Parameters
    ----------
    space, direction, seed, history, earlyStopping
        As for every strategy.
    """

    STATE = frozenset({"thetas", "feasibility", "judgement", "drawn", "model"})

    def _suggest(self) -> tuple[Config, int | None, Any]:
        self._refuse_if_exhausted()
        with one_thread():
            # A history may have no states, or older ones that lack an entry.
            last = {**NOTHING, "drawn": len(self._log.trials), **(self._log.state or {})}
            judgement = judge(self.space, self._log, self._sign, self.seed, last["judgement"])
            state = {**last, "judgement": judgement, "model": None}
            if judgement["refuted"] and not last["judgement"]["refuted"]:
                state.update({key: NOTHING[key] for key in ("thetas", "warp", "weighed")})
            data = self._data(self._log, state)
            values = 0 if data is None else int(np.count_nonzero(~data.failed))
            if data is None or self._is_first(state) or values < 3:
                return self._first(state["drawn"]), None, {**state, "drawn": state["drawn"] + 1}
            return self._model(data, state)

    def _data(self, log: Log, state: Any) -> Data | None:
        """Return the arrays of a log under a state's warp; what was added as the same objective unless refuted."""
        data = encode(self.space, log, self._sign, self.seed, same=not state["judgement"]["refuted"])
        return data if data is None else replace(data, inputs=warp_of(state.get("warp")))

    def _is_first(self, state: Any) -> bool:
        """Tell whether the next trial is drawn without a model.

        What was added, while it is of use, stands for half of the first trials; the others alternate with the model's,
        and tell whether it is. What was added as the same objective is trusted most, so there one of the others comes
        first: if it is refuted, little was lost.
        """
        first = min(2 * len(self.space) + 1, FIRST_MOST)
        added = sum(task is not None or not state["judgement"]["refuted"] for _, task in self._log.added)
        unlike = sum(theta is not None and not is_related(theta, len(self.space)) for theta in state["thetas"])
        if unlike >= 2 or not added:
            return bool(state["drawn"] < first)
        turn = 0 if any(task is None for _, task in self._log.added) else 1
        return bool(state["drawn"] < max(first - added, first // 2)) and len(self._log.trials) % 2 == turn

    def _first(self, drawn: int) -> Config:
        """Return the next point of the sequence that was not used."""
        for point in sobol(len(self.space), 64, [self.seed], drawn):
            config = self.space.from_unit(point)
            if not self._is_used(config):
                return config
        return draw_unused(self, self._rng())

    def _model(self, data: Data, state: Any) -> tuple[Config, int | None, Any]:
        """Return the configuration that the surrogate prefers, and the state."""
        asked = len(self._log.trials)
        # One member at a time, in turn: measured, that finds as much as all at once.
        members = WHILE_PENDING if len(data.pending) else range(len(MEMBERS))
        turn, place = divmod(asked, len(members))
        member, thetas = choose(data, members[place], state["thetas"], is_quick=turn % 2 == 1)
        due = weighing(int(np.count_nonzero((data.groups == 0) & ~data.failed)))
        if due > state["weighed"]:
            data, thetas = weigh(data, member, thetas)
            state = {**state, "warp": state_of(data.inputs), "weighed": due}
        theta = feasibility.fit(data, state["feasibility"]) if data.failed.any() else None
        acquisition = acquire(data, [member], thetas, theta)
        new = {**state, "thetas": thetas, "feasibility": theta, "model": member}
        known = np.flatnonzero((data.groups == 0) & ~data.failed)
        centres = data.X[known[np.argsort(data.v[known], kind="stable")]]
        for point in maximise(self.space, acquisition.value, acquisition.gradient, centres, [self.seed, asked, 1]):
            config = self.space.from_unit(point)
            if not self._is_used(config):
                return config, None, new
        return draw_unused(self, self._rng()), None, new

    def surrogate(self) -> Surrogate | None:
        """Return the surrogate of every member fitted so far, on all that was told; None before the first fit."""
        state = self._log.state
        if state is None:
            return None
        data, thetas = self._data(self._log, state), state["thetas"]
        members = [i for i, theta in enumerate(thetas) if theta is not None]
        with one_thread():
            return surrogate(data, members, thetas) if data is not None and members else None

    def acquisition(self, id: int) -> Acquisition | None:
        """Return the function whose maximum became a trial, as it was at its ask; None for one of the first points.

        Parameters
        ----------
        id : int
            The trial's id.
        """
        position = [i for i, e in enumerate(self._log.events) if e["event"] == "ask"][id]
        state = self._log.events[position]["state"]
        if state is None or state["model"] is None:
            return None
        before = Log(self.space)
        before.replay(self._log.events[:position])
        data = self._data(before, state)
        assert data is not None  # a surrogate was fitted to it
        with one_thread():
            return acquire(data, [state["model"]], state["thetas"], state["feasibility"])

    @property
    def recommended(self) -> Trial | None:
        """The observation to go with.

        Where the fitted noise is noticeable, the one with the best posterior mean; else the best one.
        """
        model = self.surrogate()
        if model is None or model.noise <= NOISY or not model.data.observations:
            return self.best
        known = np.flatnonzero((model.data.groups == 0) & ~model.data.failed)
        with one_thread():
            return copy_of(model.data.observations[int(np.argmin(model.centre(model.data.X[known])))])


def acquire(data: Data, members: Sequence[int], thetas: Any, theta: Sequence[float] | None) -> Acquisition:
    """Return the acquisition function for given hyperparameters; ``theta`` is the chance of success's, None without."""
    return Acquisition(surrogate(data, members, thetas), Feasibility(data, theta) if theta is not None else None)
