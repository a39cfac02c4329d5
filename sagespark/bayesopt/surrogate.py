"""The surrogate: Gaussian processes that differ in what they believe before they see data.

A member has a prior of length scales (:mod:`priors`) and a family of output transformations (:mod:`outputs`). Its
hyperparameters are the mode of their posterior density (:mod:`evidence`), searched from where the last fit left them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, partial

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from sagespark.bayesopt.data import Data
from sagespark.bayesopt.evidence import MERGED, Evidence, Pairs
from sagespark.bayesopt.improvement import Improvement, improvement
from sagespark.bayesopt.outputs import WORST, Family, forward, inverse
from sagespark.bayesopt.posterior import Posteriors, condition
from sagespark.bayesopt.priors import SAME, LengthScales, Prior
from sagespark.bayesopt.scaling import Floats

MEMBERS: tuple[tuple[LengthScales, Family], ...] = (
    ("short", "power"),
    ("long", "shift"),
    ("long", "power"),
    ("short", "shift"),
)
TWO_STARTS = 60
"""Up to this many observations the search also starts afresh: the density may have several modes, fits are cheap."""
COLD, WARM = 40, 12
"""Steps of a search from the prior's start, and from the last fit."""
RELATED_FROM = 0.5
"""Correlation from which a task is like the own one."""
TRUST = 3.0
"""Log odds before any evidence that what was added as the same objective is the same."""
CLEAR = 3.0
"""Difference of log likelihoods from which data speak clearly: 20 to 1 (Kass and Raftery, Bayes Factors, JASA 90, 1995,
section 3.2)."""
NEAR_CEILING = 0.75 * WORST
"""From here on an upper quantile says that a value may be one of those moved to the ceiling."""
LEAST_RESIDUALS = 10
"""Fewer residuals tell nothing of how wide a band has to be."""
FACTORS = (0.25, 4.0)
"""Bounds of what residuals may make of a band."""
NOISY = 1e-3
"""Noise variance, in units of the outputs' variance, above which the best value seen is not believed."""


def fit(data: Data, members: Sequence[int], previous: Sequence[Sequence[float] | None]) -> list[list[float] | None]:
    """Return the hyperparameters of every member, those of ``members`` fitted to ``data``.

    Parameters
    ----------
    data : Data
    members : sequence of int
        Positions in ``MEMBERS``.
    previous : sequence of (sequence of float or None)
        Hyperparameters of every member from earlier fits.
    """
    thetas: list[list[float] | None] = [None if p is None else list(p) for p in previous]
    # What was added as the same objective is taken for own evaluations, until the own ones say otherwise.
    same = _same(data)
    apart, together = data.pairs, _together(data)
    for i in members:
        lengthscales, family = MEMBERS[i]
        prior = Prior(lengthscales, family, data.space.categorical, data.relations)
        transform = partial(data.transform, family)
        last = None if thetas[i] is None else extend(thetas[i] or [], prior)
        merged = same.any() and (last is None or bool(np.all(last[-len(same) :][same] >= MERGED)))
        found = []
        if not same.any() or not merged or _doubts(data):
            found.append(mode(Evidence(apart, transform, prior), prior, None if merged else last, prior.bounds))
        if same.any() and (merged or _doubts(data)):
            tail = [(MERGED, MERGED) if s else bound for s, bound in zip(same, prior.bounds[-len(same) :], strict=True)]
            bounds = prior.bounds[: -len(same)] + tail
            value, theta = mode(Evidence(together, transform, prior), prior, last, bounds)
            # The prior's density there is beside the point: merging is a hypothesis of its own, and the one believed.
            value -= TRUST + float(np.count_nonzero(same)) * float(np.log1p((MERGED - SAME.atanh_r) ** 2))
            found.append((value, theta))
        thetas[i] = min(found, key=lambda f: f[0])[1].tolist()
    return thetas


def choose(
    data: Data, member: int, previous: Sequence[Sequence[float] | None], is_quick: bool
) -> tuple[int, list[list[float] | None]]:
    """Return the member that asks in a member's turn, and the hyperparameters of all, its own fitted to ``data``.

    It is that member, unless the data speak clearly for the one that has its prior and the other transformation
    of outputs: those differ by tens of nats where one fits the objective. Length scales' priors stay hedged.

    Parameters
    ----------
    data : Data
    member : int
        Whose turn it is, a position in ``MEMBERS``.
    previous : sequence of (sequence of float or None)
        Hyperparameters of every member from earlier fits.
    is_quick : bool
        Whether to judge by the last fits first, so that a member that is not asked is not fitted either.
    """
    other = next(i for i, m in enumerate(MEMBERS) if m[0] == MEMBERS[member][0] and i != member)
    thetas: list[list[float] | None] = [None if p is None else list(p) for p in previous]
    if (
        is_quick
        and thetas[member] is not None
        and thetas[other] is not None
        and _speaks_for(data, other, member, thetas)
    ):
        return other, fit(data, [other], thetas)
    thetas = fit(data, [member] if thetas[other] is not None else [member, other], thetas)
    if _speaks_for(data, other, member, thetas):
        return other, fit(data, [other], thetas)
    return member, thetas


def _speaks_for(data: Data, other: int, member: int, thetas: Sequence[Sequence[float] | None]) -> bool:
    of_other, own = (log_likelihood(data, i, thetas[i] or []) for i in (other, member))
    return of_other - own > CLEAR


def log_likelihood(data: Data, member: int, theta: Sequence[float] | Floats) -> float:
    """Return the log likelihood of a member's hyperparameters, up to a constant that all members share."""
    full = extend(theta, Prior(*MEMBERS[member], data.space.categorical, data.relations))
    return -Evidence(pairs_for(data, full), partial(data.transform, MEMBERS[member][1]), _flat)(full)[0]


def pairs_for(data: Data, theta: Floats) -> Pairs:
    """Return the pairs that a fitted ``theta`` is of: whether what was added as the same objective is merged or not."""
    same = _same(data)
    merged = same.any() and bool(np.all(theta[-len(same) :][same] >= MERGED))
    return _together(data) if merged else data.pairs


def _flat(theta: Floats) -> tuple[float, Floats]:
    return 0.0, np.zeros_like(theta)


def _same(data: Data) -> NDArray[np.bool_]:
    return np.array([relation == SAME for relation in data.relations], dtype=bool)


def _together(data: Data) -> Pairs:
    """Return pairs of observations in which what was added as the same objective has no level of its own."""
    if not data.relations:
        return data.pairs
    offsets = tuple(np.where(_same(data), 0.0, data.offsets).tolist())
    return Pairs(data.seen, data.space.categorical, data.tasks, offsets)


def mode(
    evidence: Evidence, prior: Prior, last: Floats | None, bounds: Sequence[tuple[float, float]]
) -> tuple[float, Floats]:
    """Return the least negative log posterior density that was found, and where.

    Parameters
    ----------
    evidence : Evidence
    prior : Prior
        Whose start is one to search from: always, or where observations are few.
    last : ndarray or None
        Another such start.
    bounds : sequence of (float, float)
    """
    d = len(prior.categorical)
    starts = [] if last is None else [(last, WARM)]
    if last is None or evidence.pairs.n <= TWO_STARTS:
        starts.append((prior.start, COLD))
    if evidence.pairs.others and (last is None or evidence.pairs.n <= TWO_STARTS):
        # tanh is flat where tasks are alike, so a task that is not has to be met half-way.
        for relation in (0.0, -1.5):
            start = prior.start
            start[d + 3 :] = relation
            starts.append((start, COLD))
    low, high = np.array(bounds).T
    best = (np.inf, np.clip(prior.start, low, high))
    for x, steps in starts:
        options = {"maxiter": steps}
        found = minimize(evidence, np.clip(x, low, high), jac=True, method="L-BFGS-B", bounds=bounds, options=options)
        if float(found.fun) < best[0]:
            best = (float(found.fun), np.asarray(found.x))
    return best


def is_related(theta: Sequence[float], d: int) -> bool:
    """Tell whether a fitted member finds any added task to be clearly like the own one; True where none was added."""
    relations = np.tanh(theta[d + 3 :])
    return len(relations) == 0 or bool(np.max(relations) >= RELATED_FROM)


def _doubts(data: Data) -> bool:
    """Tell whether it is time to ask again if what was added is the same objective.

    Counts of own values are taken in fours, so that each member has its turn: all up to 12, then ever more rarely.
    """
    own = int(np.count_nonzero(data.own))
    four = own // 4
    return own >= 2 and (four <= 2 or four & (four - 1) == 0 or (four % 2 == 0 and len(data.v) <= 150))


def extend(theta: Sequence[float] | Floats, prior: Prior) -> Floats:
    """Return ``theta`` with the prior's relations for tasks that were added since."""
    known = len(theta)
    return np.concatenate([theta, prior.start[known:]])


@dataclass(frozen=True, eq=False)
class Surrogate:
    """Fitted members on the data of one moment; build with :func:`surrogate`."""

    data: Data
    members: tuple[int, ...]
    thetas: Floats
    """(M, d + 3 + T)"""
    posteriors: Posteriors
    improvement: Improvement
    """Log EI, in which each member's incumbent is in its own units."""
    units: tuple[tuple[float, float], ...]
    """Mean and deviation of each member's transformed values."""

    def predict(self, points: Floats, deviations: Sequence[float] = (-1.96, 0.0, 1.96)) -> Floats:
        """Return the objective that many deviations from the middle of its posterior, shape (len(deviations), S).

        In units of the objective, smaller is better: quantiles of each member, through its inverse transformation,
        averaged over members. Deviations are widened, or narrowed, as :attr:`calibration` says. Where an upper quantile
        nears the ceiling to which the worst values were moved, it goes on to the worst of them.
        """
        mu, sigma = self.posteriors.moments(points)
        sigma = sigma * self.calibration
        out = np.zeros((len(deviations), len(points)))
        beyond = max(self.data.worst - float(self.data.scale.inverse(np.array(WORST))), 0.0)
        lowest = float(np.min(self.data.v[self.data.groups == 0], initial=np.inf))
        lowest = lowest if np.isfinite(lowest) else float(np.min(self.data.v))
        for m, i in enumerate(self.members):
            mean, std = self.units[m]
            family, t = MEMBERS[i][1], float(self.thetas[m, len(self.data.space) + 2])
            for row, deviation in enumerate(deviations):
                T = (mu[:, m] + deviation * sigma[:, m]) * std + mean
                v = inverse(family, t, T, lowest)
                y = self.data.scale.inverse(v)
                if deviation > 0.0:
                    y = y + beyond * np.clip((v - NEAR_CEILING) / (WORST - NEAR_CEILING), 0.0, 1.0) ** 2
                out[row] += y / len(self.members)
        return out

    @cached_property
    def calibration(self) -> Floats:
        """Factor of each member's deviations, from how well it foretells each value from all others, shape (M,).

        With ``r_i`` the residual of value ``i`` from the posterior given the others, over its deviation ``s_i``::

            r_i = a_i / sqrt([K^-1]_ii),   s_i = 1 / sqrt([K^-1]_ii)

        (Rasmussen and Williams 2006, eqs. 5.10 to 5.12), the factor is the 95 % quantile of ``|r|`` over the normal
        distribution's, 1.96; of ``n`` residuals, that which holds for one more (Vovk, Gammerman and Shafer, Algorithmic
        Learning in a Random World, 2005, section 2.2: the level times ``1 + 1 / n``). No fit knows how well it fits.
        Only the two thirds with the largest ``s_i`` are asked: where a search has gathered points, each foretells the
        next one, which says nothing of the rest of the space.
        """
        known = np.flatnonzero((self.data.groups == 0) & ~self.data.failed)
        count = max(2 * len(known) // 3, LEAST_RESIDUALS)
        if len(known) < count:
            return np.ones(len(self.members))
        diagonal = self.posteriors.observed_precision[:, known]
        least_known = np.argsort(diagonal, axis=1, kind="stable")[:, :count]
        r = np.abs(self.posteriors.a[:, known]) / np.sqrt(diagonal)
        level = min(1.0, 0.95 * (1.0 + 1.0 / count))
        factor = np.quantile(np.take_along_axis(r, least_known, axis=1), level, axis=1) / 1.96
        return np.asarray(np.clip(factor, *FACTORS))

    def standardised(self, y: Floats) -> Floats:
        """Return (n,) outputs, smaller is better, in the units of each member, shape (M, n)."""
        out = []
        lowest = float(np.min(self.data.v[self.data.groups == 0]))
        for m, i in enumerate(self.members):
            mean, std = self.units[m]
            T = forward(MEMBERS[i][1], float(self.thetas[m, len(self.data.space) + 2]), self.data.scale(y), lowest)
            out.append((T - mean) / std)
        return np.array(out)

    def centre(self, points: Floats) -> Floats:
        """Return the mean over members of the posterior mean in standardised units, shape (S,)."""
        return np.asarray(np.mean(self.posteriors.moments(points)[0], axis=1))

    @property
    def noise(self) -> float:
        """Geometric mean of the members' noise variances."""
        return float(np.exp(np.mean(np.log(self.posteriors.noise))))


def surrogate(data: Data, members: Sequence[int], thetas: Sequence[Sequence[float] | None]) -> Surrogate:
    """Return the surrogate of some members with given hyperparameters; nothing is fitted."""
    d = len(data.space)
    rows = []
    for i in members:
        theta = thetas[i]
        assert theta is not None  # a member is used only once fitted
        rows.append(extend(theta, Prior(*MEMBERS[i], data.space.categorical, data.relations)))
    table = np.array(rows)
    transformed = [data.transform(MEMBERS[i][1], float(table[m, d + 2])) for m, i in enumerate(members)]
    z = np.stack([w.z for w in transformed])
    posteriors = condition(
        data.X, z, data.pending, data.space.categorical, table, data.tasks, data.offsets, data.inputs
    )
    return Surrogate(
        data,
        tuple(members),
        table,
        posteriors,
        improvement(posteriors, len(data.pending), _incumbents(data, z, posteriors)),
        tuple((w.mean, w.std) for w in transformed),
    )


def _incumbents(data: Data, z: Floats, posteriors: Posteriors) -> Floats:
    """Return what has to be improved on, for each member.

    The best own value, or with noise the best posterior mean at an own point; and in any case no less than what the
    posterior mean says of points observed elsewhere, which are as good as known.
    """
    own = data.own
    believed = posteriors.moments(data.X)[0].T
    best = np.full(len(believed), np.inf)
    elsewhere = (data.groups == 0) & ~own & ~data.failed
    if elsewhere.any() or not own.any():
        best = np.minimum(best, np.min(believed[:, elsewhere if elsewhere.any() else ~data.failed], axis=1))
    if own.any():
        seen = np.where((posteriors.noise > NOISY)[:, None], believed, z)
        best = np.minimum(best, np.min(seen[:, own], axis=1))
    return np.asarray(best)
