"""Where the acquisition function is largest: many candidates, then gradients and coordinate moves from the best.

1. Candidates: scrambled Sobol points over the cube, and perturbations of the best observed points at three scales. All
   are moved to points of configurations, so that the function is only ever seen where it can be evaluated.
2. The best of both kinds start an ascent along the continuous dimensions.
3. From where it ends, every integer and category is moved alone, the best move is taken, and the ascent goes on; this
   until no move helps.

Everything that was looked at is returned, best first, so that the caller can pass over what was tried already.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from sagespark.bayesopt.ascent import ascend
from sagespark.bayesopt.ranges import Continuous
from sagespark.bayesopt.scaling import Floats
from sagespark.bayesopt.sobol import sobol
from sagespark.bayesopt.space import Space

CANDIDATES = 512
CENTRES, AROUND, SCALES = 4, 12, (0.2, 0.05, 0.01)
STARTS = 8
STEPS = 30
ROUNDS = 3
FINITE = 2000
"""A space with at most that many configurations is listed instead."""


def maximise(
    space: Space,
    function: Callable[[Floats], Floats],
    gradient: Callable[[Floats], tuple[Floats, Floats]],
    centres: Floats,
    seed: list[int],
) -> Floats:
    """Return (m, d) points of configurations, those with the largest values first.

    Parameters
    ----------
    space : Space
    function : callable
        Values (S,) at (S, d) points.
    gradient : callable
        Values and gradients (S, d).
    centres : ndarray, shape (c, d)
        The best observed points, best first.
    seed : list of int
        Seeds what is drawn.
    """
    if space.size is not None and space.size <= FINITE:
        listed = np.array([space.to_unit(config) for config in space.configs()])
        return np.asarray(listed[np.argsort(-function(listed), kind="stable")])
    rng = np.random.default_rng(seed)
    wide = space.snap(sobol(len(space), CANDIDATES, seed))
    near = space.snap(_around(space, centres[:CENTRES], rng)) if len(centres) else wide[:0]
    f_wide, f_near = function(wide), function(near) if len(near) else np.empty(0)
    half = STARTS // 2
    starts = np.concatenate([wide[_largest(f_wide, half)], near[_largest(f_near, half)]])
    points, values = [wide, near], [f_wide, f_near]
    free = np.array(space.continuous)
    for _ in range(ROUNDS):
        if free.any():
            starts, reached = ascend(gradient, starts, free, STEPS)
        else:
            reached = function(starts)
        points.append(starts)
        values.append(reached)
        if free.all():
            break
        moves = [_moves(space, x, rng) for x in starts]
        f_moves = function(np.concatenate(moves))
        points.append(np.concatenate(moves))
        values.append(f_moves)
        starts, better = _best_moves(starts, reached, moves, f_moves)
        if not better:
            break
    everything, value = np.concatenate(points), np.concatenate(values)
    return np.asarray(everything[np.argsort(-value, kind="stable")])


def _largest(values: Floats, count: int) -> Any:
    return np.argsort(-values, kind="stable")[:count]


def _around(space: Space, centres: Floats, rng: np.random.Generator) -> Floats:
    """Return perturbations of the centres: a few coordinates at a time, categories redrawn."""
    d = len(space)
    free = np.array([isinstance(r, Continuous) for r in space.ranges.values()])
    categorical = np.array(space.categorical)
    out = []
    for centre in centres:
        for scale in SCALES:
            chosen = rng.random((AROUND, d)) < max(2.0 / d, 0.5)
            step = scale * rng.standard_normal((AROUND, d)) * (chosen & ~categorical)
            redrawn = (rng.random((AROUND, d)) < scale) & ~free
            out.append(np.where(redrawn, rng.random((AROUND, d)), centre + step))
    return np.asarray(np.clip(np.concatenate(out), 0.0, 1.0))


def _moves(space: Space, x: Floats, rng: np.random.Generator) -> Floats:
    """Return the points that differ from ``x`` in one integer or category."""
    out = []
    for j, r in enumerate(space.ranges.values()):
        units = r.moves(float(x[j]), rng)
        for unit in units:
            if unit != x[j]:
                moved = x.copy()
                moved[j] = unit
                out.append(moved)
    return np.array(out).reshape(-1, len(x))


def _best_moves(starts: Floats, reached: Floats, moves: list[Floats], values: Floats) -> tuple[Floats, bool]:
    """Return each start moved to its best move where that is better, and whether any was."""
    out, position, better = starts.copy(), 0, False
    for i, mine in enumerate(moves):
        f = values[position : position + len(mine)]
        position += len(mine)
        if len(f) and float(np.max(f)) > reached[i] + 1e-6:
            out[i], better = mine[int(np.argmax(f))], True
    return out, better
