"""Quasi-random search by a scrambled Sobol sequence."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from sagespark.bayesopt.random_search import DRAWS, draw_unused
from sagespark.bayesopt.scaling import Floats
from sagespark.bayesopt.space import Config
from sagespark.bayesopt.strategy import Strategy


def sobol(dimensions: int, n: int, seed: Any, start: int = 0) -> Floats:
    """Return points ``start`` to ``start + n`` of a scrambled Sobol sequence, shape (n, dimensions), in [0, 1).

    Sources: Sobol' 1967; direction numbers of Joe and Kuo, SIAM J. Sci. Comput. 30, 2008; scrambling of Matousek, J.
    Complexity 14, 1998 (a random linear matrix and a digital shift), all as SciPy has them.
    """
    from scipy.stats import qmc  # here: it takes half a second, which other strategies need not wait for

    engine = qmc.Sobol(dimensions, scramble=True, seed=np.random.default_rng(seed))
    if start:
        engine.fast_forward(start)
    with warnings.catch_warnings():
        # SciPy warns that the sequence balances at powers of two. Trials come one at a time; any prefix is asked for.
        warnings.filterwarnings("ignore", message="The balance properties", category=UserWarning)
        return np.asarray(engine.random(n), dtype=np.float64)


class Sobol(Strategy):
    """Hands out the points of one scrambled Sobol sequence, leaving out configurations met before.

    Parameters
    ----------
    space, direction, seed, history, earlyStopping
        As for every strategy; the seed chooses the scrambling.
    """

    STATE = frozenset({"position"})

    def _suggest(self) -> tuple[Config, int | None, Any]:
        self._refuse_if_exhausted()
        start = self._log.state["position"] if self._log.state else 0
        points = sobol(len(self.space), DRAWS, [self.seed], start)
        for position, point in enumerate(points, start):
            config = self.space.from_unit(point)
            if not self._is_used(config):
                return config, None, {"position": position + 1}
        # Only in a finite space, and nearly used up: the sequence would go on hitting what was tried.
        return draw_unused(self, self._rng()), None, {"position": start + DRAWS}
