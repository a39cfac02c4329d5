"""What a log holds, as arrays for the surrogate."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from sagespark.bayesopt.evidence import Pairs
from sagespark.bayesopt.log import Log
from sagespark.bayesopt.outputs import Family, Scale, Transformed, scale, transform
from sagespark.bayesopt.priors import RELATED, SAME, Relation
from sagespark.bayesopt.scaling import Floats
from sagespark.bayesopt.space import Space
from sagespark.bayesopt.trial import Trial
from sagespark.bayesopt.warping import Warp

CAP = 400
"""Observations that the surrogate takes, at most."""


@dataclass(frozen=True, eq=False)
class Data:
    """Observations, failures and pending points. ``n`` observations: own ones first, then added ones, then failures."""

    space: Space
    X: Floats
    """(n, d) points of the encoded cube."""
    v: Floats
    """(n,) scaled outputs, smaller is better; a failure has the worst."""
    tasks: NDArray[np.int64]
    """(n,) 0: own; then one number for each task added from."""
    groups: NDArray[np.int64]
    """(n,) like tasks, but what was added as the same objective is in group 0 too."""
    failed: NDArray[np.bool_]
    """(n,)"""
    pending: Floats
    """(p, d) points of the encoded cube."""
    relations: tuple[Relation, ...]
    """What is believed of the other tasks."""
    scale: Scale
    """Of group 0."""
    worst: float
    """The worst value of group 0, smaller is better; of all where it has none."""
    observations: tuple[Trial, ...]
    """Of group 0, with a value, in the order of ``X``."""
    inputs: Warp | None = None
    """What the surrogate sees points through; None: as they are."""

    @property
    def own(self) -> NDArray[np.bool_]:
        """(n,) which observations are own ones with a value."""
        return np.asarray((self.tasks == 0) & ~self.failed)

    @property
    def offsets(self) -> tuple[float, ...]:
        """Prior deviations of the other tasks' levels."""
        return tuple(relation.offset for relation in self.relations)

    @cached_property
    def seen(self) -> Floats:
        """(n, d) points as the surrogate sees them."""
        return self.X if self.inputs is None else self.inputs(self.X)

    @cached_property
    def pairs(self) -> Pairs:
        """What the evidence needs of every pair of observations."""
        return Pairs(self.seen, self.space.categorical, self.tasks, self.offsets)

    @property
    def succeeded(self) -> Data:
        """The same without failures, whose values are made up."""
        keep = ~self.failed
        return replace(
            self,
            X=self.X[keep],
            v=self.v[keep],
            tasks=self.tasks[keep],
            groups=self.groups[keep],
            failed=self.failed[keep],
        )

    def transform(self, family: Family, t: float) -> Transformed:
        """Return the transformed outputs."""
        return transform(family, t, self.v, self.groups)


def encode(space: Space, log: Log, sign: float, seed: int, same: bool = True) -> Data | None:
    """Return the arrays of a log; None while it holds no value.

    Parameters
    ----------
    space : Space
    log : Log
    sign : {1.0, -1.0}
        -1 where larger is better.
    seed : int
        Chooses the observations that stay when there are more than ``CAP``.
    same : bool
        Whether to take what was added as the same objective.
    """
    told = log.told()
    added = [(trial, task) for trial, task in log.added if same or task is not None]
    names = list(dict.fromkeys(task for _, task in added))
    rows: list[tuple[Trial, int, int, float]] = [(t, 0, 0, sign * t.value) for t in told if t.value is not None]
    named = 0
    groups = {}
    for task in names:
        named += task is not None
        groups[task] = named if task is not None else 0
    for trial, task in added:
        assert trial.value is not None  # the log takes no other
        rows.append((trial, names.index(task) + 1, groups[task], sign * trial.value))
    if not rows:
        return None
    rows = _cap(rows, seed)
    failures = [t for t in told if t.status == "Failed"][-CAP:]
    y, group = np.array([r[3] for r in rows]), np.array([r[2] for r in rows])
    v, own_scale = np.empty_like(y), scale(y if not np.any(group == 0) else y[group == 0])
    for g in range(named + 1):
        inside = group == g
        if inside.any():
            v[inside] = (own_scale if g == 0 else scale(y[inside]))(y[inside])
    worst = float(np.max(v[group == 0])) if np.any(group == 0) else float(np.max(v))
    zeros = np.zeros(len(failures), dtype=np.int64)
    return Data(
        space=space,
        X=_points(space, [r[0] for r in rows] + failures),
        v=np.concatenate([v, np.full(len(failures), worst)]),
        tasks=np.concatenate([np.array([r[1] for r in rows], dtype=np.int64), zeros]),
        groups=np.concatenate([group.astype(np.int64), zeros]),
        failed=np.arange(len(rows) + len(failures)) >= len(rows),
        pending=_points(space, log.pending()),
        relations=tuple(SAME if name is None else RELATED for name in names),
        scale=own_scale,
        worst=float(np.max(y[group == 0] if np.any(group == 0) else y)),
        observations=tuple(r[0] for r in rows if r[2] == 0),
    )


def _points(space: Space, trials: list[Trial]) -> Floats:
    return np.array([space.to_unit(t.config) for t in trials], dtype=np.float64).reshape(-1, len(space))


def _cap(rows: list[tuple[Trial, int, int, float]], seed: int) -> list[tuple[Trial, int, int, float]]:
    """Return at most ``CAP`` rows in order: the best quarter of that, and a random rest."""
    if len(rows) <= CAP:
        return rows
    keep = set(np.argsort([r[3] for r in rows], kind="stable")[: CAP // 4].tolist())
    # A row's lot does not depend on how many rows follow, so that the choice hardly changes from ask to ask.
    for i in np.argsort(np.random.default_rng([seed, CAP]).random(len(rows)), kind="stable").tolist():
        if len(keep) == CAP:
            break
        keep.add(i)
    return [rows[i] for i in sorted(keep)]
