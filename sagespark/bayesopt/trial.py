"""What a strategy hands out, and how it says that it has nothing to hand out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from sagespark.bayesopt.space import Config

Status = Literal["InProgress", "Completed", "Stopped", "Failed"]
FINAL: tuple[str, ...] = ("Completed", "Stopped", "Failed")


class Exhausted(Exception):  # noqa: N818 -- a signal like StopIteration, and the name is public
    """Nothing is left to try: every configuration of the list, grid or space was handed out."""


class Waiting(Exception):  # noqa: N818 -- as above
    """Nothing can be handed out before a pending trial is told; ask again then."""


@dataclass(frozen=True)
class Trial:
    """One evaluation of the objective.

    Parameters
    ----------
    id : int or None
        Number of the trial, from 0 in the order of asks; None for an observation that was added from elsewhere.
    config : dict
        One value for each parameter of the space.
    resource : int or None
        Budget of the evaluation, such as a number of epochs; None where the strategy sets none.
    status : {'InProgress', 'Completed', 'Stopped', 'Failed'}
        ``InProgress`` from ask to tell.
    value : float or None
        The objective in the caller's own direction; None while in progress, if failed, or if stopped before any value.
    reports : mapping of int to float
        Intermediate values by step, the last one reported for each step, in the order of first report.
    """

    id: int | None
    config: Config
    resource: int | None = None
    status: Status = "InProgress"
    value: float | None = None
    reports: Mapping[int, float] = field(default_factory=dict)
