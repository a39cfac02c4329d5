"""Bayesian optimisation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from sagespark.bayesopt import feasibility
from sagespark.bayesopt.acquisition import Acquisition
from sagespark.bayesopt.data import Data, encode
from sagespark.bayesopt.feasibility import Feasibility
from sagespark.bayesopt.log import Log
from sagespark.bayesopt.random_search import draw_unused
from sagespark.bayesopt.search import maximise
from sagespark.bayesopt.sobol import sobol
from sagespark.bayesopt.space import Config
from sagespark.bayesopt.strategy import Strategy, copy_of
from sagespark.bayesopt.surrogate import MEMBERS, NOISY, Surrogate, fit, is_related, surrogate
from sagespark.bayesopt.threads import one_thread
from sagespark.bayesopt.trial import Trial

TURNS: tuple[tuple[int, ...], ...] = ((0,), (1,), (2,), (3,))
"""Members of the surrogate that are fitted and asked, in turn. Measured: one at a time finds as much as all at once."""
FIRST_MOST = 12
"""First points drawn without a model, at most."""


class Bayesian(Strategy):
    """Models the objective by Gaussian processes, and asks where improvement is most expected.

    1. The first points are those of a scrambled Sobol sequence, ``min(2 d + 1, 12)`` of them for ``d`` parameters;
       fewer where observations were added and turn out to be of use.
    2. Then a member of the surrogate (:mod:`surrogate`), in turn another one, is fitted to all that is known, and
       the configuration with the largest log expected improvement is asked for. A pending trial counts as
       observed at its posterior mean; failed ones count as worst, and the chance of success multiplies expected
       improvement (:mod:`feasibility`). No configuration is asked for twice.
    3. The fitted hyperparameters go into the ask event; the next fit starts from there.

    Parameters
    ----------
    space, direction, seed, history, earlyStopping
        As for every strategy.
    """

    def _suggest(self) -> tuple[Config, int | None, Any]:
        self._refuse_if_exhausted()
        data = encode(self.space, self._log, self._sign, self.seed)
        asked = len(self._log.trials)
        values = 0 if data is None else int(np.count_nonzero(~data.failed))
        first = min(2 * len(self.space) + 1, FIRST_MOST) - (len(self._log.added) if self._is_added_useful() else 0)
        if data is None or asked < first or values < 3:
            return self._first(), None, None
        with one_thread():
            return self._model(data)

    def _is_added_useful(self) -> bool:
        """Tell whether what was added stands for first points: not once two members found it unlike what was told."""
        thetas = self._log.state["thetas"] if self._log.state else []
        unlike = [t for t in thetas if t is not None and not is_related(t, len(self.space))]
        return len(unlike) < 2

    def _first(self) -> Config:
        """Return the next point of the sequence that was not used."""
        for point in sobol(len(self.space), 64, [self.seed], len(self._log.trials)):
            config = self.space.from_unit(point)
            if not self._is_used(config):
                return config
        return draw_unused(self, self._rng())

    def _model(self, data: Data) -> tuple[Config, int | None, Any]:
        """Return the configuration that the surrogate prefers, and the state."""
        asked = len(self._log.trials)
        state = self._log.state or {"thetas": [None] * len(MEMBERS), "feasibility": None}
        members = TURNS[asked % len(TURNS)]
        thetas = fit(data, members, state["thetas"])
        theta = feasibility.fit(data, state["feasibility"]) if data.failed.any() else None
        acquisition = acquire(data, members, thetas, theta)
        new = {"thetas": thetas, "feasibility": theta}
        known = np.flatnonzero((data.groups == 0) & ~data.failed)
        centres = data.X[known[np.argsort(data.v[known], kind="stable")]]
        for point in maximise(self.space, acquisition.value, acquisition.gradient, centres, [self.seed, asked, 1]):
            config = self.space.from_unit(point)
            if not self._is_used(config):
                return config, None, new
        return draw_unused(self, self._rng()), None, new

    def surrogate(self) -> Surrogate | None:
        """Return the surrogate of every member fitted so far, on all that was told; None before the first fit."""
        data = encode(self.space, self._log, self._sign, self.seed)
        thetas = self._log.state["thetas"] if self._log.state else []
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
        if state is None:
            return None
        before = Log(self.space)
        before.replay(self._log.events[:position])
        data = encode(self.space, before, self._sign, self.seed)
        assert data is not None  # a surrogate was fitted to it
        with one_thread():
            return acquire(data, TURNS[id % len(TURNS)], state["thetas"], state["feasibility"])

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
