"""Whether what was added as the same objective is: judged by how well it foretells the own values.

A Gaussian process on the added observations alone gives ``mu_i``, ``s_i`` at each own point; ``z_i`` is the own value
there in the added ones' units, in which a guess that knows nothing has mean 0 and deviation 1. With the density of a
Student distribution, which no single value can outrage, the log odds for the added observations are

    g_i = log p((z_i - mu_i) / s_i) - log s_i - log p(z_i),   p(t) ~ (1 + t^2 / 4)^(-5/2)        (1)
    S_i = min(0, S_{i-1} + g_i)                                                                   (2)

Equation 2 is Page's test (Continuous Inspection Schemes, Biometrika 41, 1954): once ``S`` falls to ``-ODDS``, the added
observations are given up for good, and the search goes on as if they had never been. Where the added ones say nothing
both guesses are alike and ``g`` is about 0; so a value that nobody expected in a region that nobody saw is no evidence.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from sagespark.bayesopt.data import Data, encode
from sagespark.bayesopt.log import Log
from sagespark.bayesopt.scaling import Floats
from sagespark.bayesopt.space import Space
from sagespark.bayesopt.surrogate import NOISY, fit, surrogate

ODDS = 8.0
EARLY = 12
"""Own values that are looked at: later, the surrogate itself knows how much the added ones tell."""
MEMBER = 0
"""Member of the surrogate that speaks for the added observations."""
UNJUDGED: dict[str, Any] = {"added": 0, "theta": None, "refuted": False}
LEAST = 4
"""Fewer added observations foretell nothing."""


def judge(space: Space, log: Log, sign: float, seed: int, state: Any) -> dict[str, Any]:
    """Return what the state keeps of the judgement: ``added`` (how many), ``theta`` (fitted to them) and ``refuted``.

    Parameters
    ----------
    space : Space
    log : Log
    sign : {1.0, -1.0}
        -1 where larger is better.
    seed : int
    state : mapping
        The judgement at the last ask; ``UNJUDGED`` before the first.
    """
    added = sum(task is None for _, task in log.added)
    last = state
    if last["refuted"] or added < LEAST or not any(t.value is not None for t in log.told()):
        return {**last, "added": added}
    alone = Log(space)
    alone.added = [(trial, task) for trial, task in log.added if task is None]
    data = encode(space, alone, sign, seed)
    assert data is not None  # there are added ones
    theta = last["theta"]
    if theta is None or last["added"] != added:
        theta = fit(data, [MEMBER], [None] * (MEMBER + 1))[MEMBER]
    return {"added": added, "theta": theta, "refuted": bool(np.min(odds(space, log, sign, data, theta)) <= -ODDS)}


def odds(space: Space, log: Log, sign: float, data: Data, theta: Any) -> Floats:
    """Return ``S`` after each of the first own values; ``theta`` was fitted to ``data``, the added ones."""
    told = [t for t in log.told() if t.value is not None][:EARLY]
    model = surrogate(data, [MEMBER], [None] * MEMBER + [theta])
    z = model.standardised(np.array([sign * (t.value or 0.0) for t in told]))[0]
    mu, sigma = model.posteriors.moments(np.array([space.to_unit(t.config) for t in told]))
    s = np.sqrt(sigma[:, 0] ** 2 + model.posteriors.noise[0] + NOISY)
    gain = 2.5 * (np.log1p(z**2 / 4.0) - np.log1p(((z - mu[:, 0]) / s) ** 2 / 4.0)) - np.log(s)
    out, total = np.empty(len(gain)), 0.0
    for i, g in enumerate(gain):
        total = min(0.0, total + float(g))
        out[i] = total
    return out
