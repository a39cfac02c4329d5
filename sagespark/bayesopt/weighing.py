"""Whether the surrogate sees points through a warp (:mod:`warping`): where the evidence speaks clearly for it.

A warp has up to two parameters for each dimension, and one that is not needed makes the search blind somewhere. So it
is taken where its log likelihood exceeds that of no warp by ``VERY_CLEAR`` and, as Schwarz's criterion has it
(Estimating the Dimension of a Model, Annals of Statistics 6, 1978), by ``log(n) / 2`` for each parameter that differs
from the identity's. It is weighed at a few numbers of values only. One warp serves all members of the surrogate.
Failures have no say: the values made up for them are a cliff that a warp would try to explain.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

import numpy as np
from scipy.optimize import minimize

from sagespark.bayesopt.data import CAP, Data
from sagespark.bayesopt.evidence import MERGED, Evidence
from sagespark.bayesopt.priors import Bounds, Prior
from sagespark.bayesopt.scaling import Floats
from sagespark.bayesopt.surrogate import MEMBERS, extend, fit, log_likelihood, mode, pairs_for
from sagespark.bayesopt.warping import MOST, Warp, WarpedEvidence, identity

VERY_CLEAR = 5.0
"""Difference of log likelihoods: 150 to 1 (Kass and Raftery, Bayes Factors, JASA 90, 1995, section 3.2). Measured,
warps that help a search bring ten and more; at 20 to 1, some were taken that did not last until the next weighing."""
LEAST = 20
"""Values below which no warp is thought of."""
GROWTH = math.sqrt(2.0)
"""From one weighing to the next, the number of values grows by this factor."""
SMALL = 0.1
"""``|log a|`` or ``|log b|`` below which a parameter is the identity's."""
STEPS = 6
"""Of a search: measured, they find nine tenths of what forty find, and the next weighing goes on from there."""


def weighing(values: int) -> int:
    """Return the largest number of values, up to ``values``, at which a warp is weighed; 0 before the first."""
    last, size = 0, float(LEAST)
    while int(size) <= min(values, CAP):
        last, size = int(size), size * GROWTH
    return last


def weigh(data: Data, member: int, thetas: Sequence[Sequence[float] | None]) -> tuple[Data, list[list[float] | None]]:
    """Return the data under the warp that the evidence speaks for, if any, and hyperparameters of every member for it.

    Parameters
    ----------
    data : Data
        Under the last warp.
    member : int
        The member that is asked, a position in ``MEMBERS``; it speaks for the others.
    thetas : sequence of (sequence of float or None)
        Hyperparameters of every member; the member's are fitted to ``data``. Where there was no warp and is none, they
        come back as they were.
    """
    clean = data.succeeded if data.failed.any() else data
    warp, theta = _weigh(clean, member, thetas[member] or [], anew=clean is not data)
    kept = [None if t is None else list(t) for t in thetas]
    if warp is None and data.inputs is None:
        return data, kept
    kept[member] = theta
    now = replace(data, inputs=warp)
    # Members are compared by their last fits, so none may be left with one that is of another warp or other data.
    return now, fit(now, [i for i, t in enumerate(kept) if t is not None and (i != member or clean is not data)], kept)


def _weigh(data: Data, member: int, previous: Sequence[float], anew: bool) -> tuple[Warp | None, list[float]]:
    """Return the warp, None without, and the member's hyperparameters under it.

    1. A warp of every numeric dimension is fitted together with the hyperparameters, from the last fit of both.
    2. Unless it brings ``VERY_CLEAR`` more than one parameter costs, that is all. Dimensions that bring no more than
       their own parameters cost are taken out, and the rest is fitted again.
    3. What is left is taken if it brings ``VERY_CLEAR`` more than all its parameters cost.

    ``anew`` tells that the last fit was of other data.
    """
    space, plain = data.space, data if data.inputs is None else replace(data, inputs=None)
    prior = Prior(*MEMBERS[member], space.categorical, data.relations)
    theta = extend(previous, prior)
    # What was added as the same objective stays merged with the own values, or apart.
    bounds = list(prior.bounds)
    for i in range(len(space) + 3, len(theta)):
        bounds[i] = (MERGED, MERGED) if theta[i] >= MERGED else bounds[i]
    density = Evidence(pairs_for(plain, theta), partial(data.transform, MEMBERS[member][1]), prior)
    if data.inputs is None and not anew:
        without = _search(density, theta, bounds)
    else:
        without = mode(density, prior, theta, bounds)[1]
    base, price = log_likelihood(plain, member, without), 0.5 * math.log(len(data.v))

    def gain(warp: Warp, theta: Floats) -> float:
        return log_likelihood(replace(plain, inputs=warp), member, theta) - base

    warp = data.inputs or identity(len(space))
    free = [j for j, r in enumerate(space.ranges.values()) if not space.categorical[j] and r.size != 1]
    while free:
        warp, theta = _fit(WarpedEvidence(density, plain.X, free), warp, theta, bounds)
        most = gain(warp, theta)
        if most <= VERY_CLEAR + price:
            break
        less = {j: warp.without([j]) for j in free}
        cost = {j: price * (warp.parameters - less[j].parameters) for j in free}
        idle = [j for j in free if most - gain(less[j], theta) <= cost[j]]
        rest = warp.without(idle)
        # A warp of fewer dimensions brings no more than this one, so that a search for it may be spared.
        if most <= VERY_CLEAR + price * rest.parameters:
            break
        if not idle:
            return warp, theta.tolist()
        warp, free = rest, [j for j in free if j not in idle]
    return None, without.tolist()


def _fit(density: WarpedEvidence, warp: Warp, theta: Floats, bounds: list[Bounds]) -> tuple[Warp, Floats]:
    """Return the mode of warp and hyperparameters together, searched from given ones."""
    free, f = density.free, len(density.free)
    start = np.concatenate([np.log(warp.a[free]), np.log(warp.b[free]), theta])
    x = _search(density, start, [(-MOST, MOST)] * (2 * f) + bounds)
    shape = np.exp(np.where(np.abs(x[: 2 * f]) < SMALL, 0.0, x[: 2 * f]))
    a, b = warp.a.copy(), warp.b.copy()
    a[free], b[free] = shape[:f], shape[f:]
    return Warp(a, b), x[2 * f :]


def _search(density: Callable[[Floats], tuple[float, Floats]], start: Floats, bounds: list[Bounds]) -> Floats:
    options = {"maxiter": STEPS}
    return np.asarray(minimize(density, start, jac=True, method="L-BFGS-B", bounds=bounds, options=options).x)
