"""Random search."""

from __future__ import annotations

from typing import Any

import numpy as np

from sagespark.bayesopt.space import Config
from sagespark.bayesopt.strategy import Strategy
from sagespark.bayesopt.trial import Exhausted

DRAWS = 64
"""Draws that may all be duplicates before a finite space is listed."""
LISTED = 200_000
"""Largest finite space that is listed; in a larger one that many duplicates in a row do not happen."""


class Random(Strategy):
    """Draws configurations uniformly on the scale of each range, none twice.

    Source: Bergstra and Bengio, JMLR 13, 2012.

    Parameters
    ----------
    space, direction, seed, history, earlyStopping
        As for every strategy.
    """

    def _suggest(self) -> tuple[Config, int | None, Any]:
        self._refuse_if_exhausted()
        return draw_unused(self, self._rng()), None, None


def draw_unused(strategy: Strategy, rng: np.random.Generator) -> Config:
    """Return a configuration drawn uniformly from those not used yet.

    Raises
    ------
    Exhausted
        If there is none.
    """
    space = strategy.space
    for _ in range(DRAWS):
        config = space.from_unit(rng.random(len(space)))
        if not strategy._is_used(config):
            return config
    if space.size is not None and space.size <= LISTED:
        left = [config for config in space.configs() if not strategy._is_used(config)]
        if left:
            return left[int(rng.integers(len(left)))]
    else:
        for _ in range(1000 * DRAWS):
            config = space.from_unit(rng.random(len(space)))
            if not strategy._is_used(config):
                return config
    raise Exhausted("no configuration is left that was not tried")
