"""What the next configuration is chosen by: log expected improvement, plus the log chance of success."""

from __future__ import annotations

from dataclasses import dataclass

from sagespark.bayesopt.feasibility import Feasibility
from sagespark.bayesopt.scaling import Floats
from sagespark.bayesopt.surrogate import Surrogate


@dataclass(frozen=True, eq=False)
class Acquisition:
    """A surrogate, and the chance of success where evaluations failed."""

    model: Surrogate
    chance: Feasibility | None

    def value(self, points: Floats) -> Floats:
        """Return the acquisition at (S, d) points of the encoded cube, shape (S,)."""
        log_ei = self.model.improvement.value(points)
        return log_ei if self.chance is None else log_ei + self.chance.log_probability(points)

    def gradient(self, points: Floats) -> tuple[Floats, Floats]:
        """Return the same with its gradient, shape (S, d)."""
        f, g = self.model.improvement.gradient(points)
        if self.chance is None:
            return f, g
        log_p, dlog_p = self.chance.gradient(points)
        return f + log_p, g + dlog_p
