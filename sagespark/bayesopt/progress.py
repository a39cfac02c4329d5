"""How a search gets on: results without improvement, and whether it has converged."""

from __future__ import annotations

from collections.abc import Sequence

IMPROVEMENT = 0.01
"""Share of the best value by which a result must be better to count as an improvement, as the service's
``BestObjectiveNotImproving`` has it (API reference)."""
PATIENCE = 15
"""Results without improvement after which a search has converged, at least."""
PATIENCE_PER_RANGE = 5
"""Such results for each parameter, at least."""


def not_improving(values: Sequence[float]) -> int:
    """Return how many of the last results did not improve the best one by 1 % or more.

    Parameters
    ----------
    values : sequence of float
        Results in the order in which they came, smaller is better.
    """
    best: float | None = None
    count = 0
    for value in values:
        if best is None or best - value >= IMPROVEMENT * abs(best) > 0 or (best == 0 and value < 0):
            best, count = value, 0
        else:
            count += 1
    return count


def has_converged(values: Sequence[float], ranges: int) -> bool:
    """Tell whether a search over so many parameters has converged.

    AWS does not publish its rule. Ours: ``max(15, 5 * ranges)`` results in a row have not improved the best by 1 %.
    """
    return not_improving(values) >= max(PATIENCE, PATIENCE_PER_RANGE * ranges)
