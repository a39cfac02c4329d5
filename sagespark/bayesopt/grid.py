"""Grid search."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from typing import Any

from sagespark.bayesopt.space import Config, Space
from sagespark.bayesopt.strategy import Strategy
from sagespark.bayesopt.trial import Exhausted
from sagespark.core.errors import ValidationError


class Grid(Strategy):
    """Hands out the product of every parameter's levels, the last parameter fastest.

    Parameters
    ----------
    space, direction, seed, history, earlyStopping
        As for every strategy; nothing is drawn.
    levels : int
        Values of a continuous range, and at most that many of an integer one, evenly spaced on its scale, bounds
        included. A categorical range has all of its values.

    Raises
    ------
    ValidationError
        If ``levels`` is no integer >= 1.
    """

    STATE = frozenset({"position"})

    def __init__(
        self,
        space: Space,
        direction: str = "minimize",
        seed: int = 0,
        history: Iterable[Mapping[str, Any]] = (),
        earlyStopping: str = "Off",
        *,
        levels: int = 10,
    ) -> None:
        super().__init__(space, direction, seed, history, earlyStopping)
        if isinstance(levels, bool) or not isinstance(levels, int) or levels < 1:
            raise ValidationError(f"levels must be an integer >= 1, but got {levels!r}", "Grid")
        self.levels = levels

    def _suggest(self) -> tuple[Config, int | None, Any]:
        # The grid is walked lazily from where the last ask left it: it may be larger than memory.
        start = self._log.state["position"] if self._log.state else 0
        for position, config in enumerate(itertools.islice(self.space.grid(self.levels), start, None), start):
            if not self._is_used(config):
                return config, None, {"position": position + 1}
        raise Exhausted("every point of the grid was tried")
