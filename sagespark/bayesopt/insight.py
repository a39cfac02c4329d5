"""What the surrogate says of the objective: predictions, slices, contours, importances.

Everything here works on any strategy's history. A strategy without a model has one fitted to its observations for the
purpose; nothing is added to its history.

Notation: ``d`` parameters; values are in the objective's own direction.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import ndtri

from sagespark.bayesopt.acquisition import Acquisition
from sagespark.bayesopt.bayesian import Bayesian
from sagespark.bayesopt.data import encode
from sagespark.bayesopt.log import Log
from sagespark.bayesopt.ranges import Value
from sagespark.bayesopt.scaling import Floats
from sagespark.bayesopt.sobol import sobol
from sagespark.bayesopt.strategy import Strategy
from sagespark.bayesopt.surrogate import MEMBERS, Surrogate, fit, surrogate
from sagespark.bayesopt.threads import one_thread
from sagespark.bayesopt.trial import Exhausted, Trial, Waiting
from sagespark.core.errors import ValidationError

LEAST = 3
"""Observations that a model needs."""
SAMPLES = 1024
"""Points of the cube over which importances are taken."""


@dataclass(frozen=True, eq=False)
class Prediction:
    """The surrogate at some configurations; arrays of one length."""

    mean: Floats
    """The middle of the posterior, in units of the objective."""
    low: Floats
    """Lower end of the band."""
    high: Floats
    """Upper end of the band."""


@dataclass(frozen=True)
class Importance:
    """How much of the objective's variance over the space goes back to one parameter."""

    main: float
    """Share that the parameter alone explains (first-order Sobol index), 0 to 1."""
    total: float
    """Share that it has a part in, with all interactions (total Sobol index), 0 to 1."""

    @property
    def interactions(self) -> float:
        """Share that it explains together with others only."""
        return max(self.total - self.main, 0.0)


def model_of(strategy: Strategy) -> Surrogate:
    """Return the surrogate of a strategy's observations.

    Of a Bayesian strategy it is the one that its last ask fitted, on all that was told since; of another one a new one.

    Raises
    ------
    ValidationError
        If there are fewer than three observations.
    """
    if isinstance(strategy, Bayesian):
        own = strategy.surrogate()
        if own is not None:
            return own
    data = encode(strategy.space, strategy._log, strategy._sign, strategy.seed)
    if data is None or int(np.count_nonzero(~data.failed)) < LEAST:
        raise ValidationError(f"a model needs at least {LEAST} observations; ask and tell more trials first", "insight")
    with one_thread():
        everyone = tuple(range(len(MEMBERS)))
        return surrogate(data, everyone, fit(data, everyone, [None] * len(MEMBERS)))


def predict(strategy: Strategy, configs: Sequence[Mapping[str, Any]], band: float = 0.95) -> Prediction:
    """Return what the surrogate expects at configurations.

    Parameters
    ----------
    strategy : Strategy
        With at least three observations.
    configs : sequence of mapping
        Configurations of its space.
    band : float
        Probability inside the band, in (0, 1).

    Raises
    ------
    ValidationError
        If a configuration is not in the space, ``band`` is no probability, or observations are missing.
    """
    space = strategy.space
    points = np.array([space.to_unit(space.check(c, "predict")) for c in configs]).reshape(-1, len(space))
    return at(strategy, model_of(strategy), points, band)


def at(strategy: Strategy, model: Surrogate, points: Floats, band: float = 0.95) -> Prediction:
    """Return what a surrogate expects at (S, d) points of the encoded cube; see :func:`predict`."""
    if not 0 < band < 1:
        raise ValidationError(f"0 < band < 1 must hold, but got {band!r}", "insight")
    half = float(ndtri(0.5 + 0.5 * band))
    with one_thread():
        low, middle, high = model.predict(points, (-half, 0.0, half))
    if strategy._sign < 0:
        low, middle, high = -high, -middle, -low
    return Prediction(middle, low, high)


@dataclass(frozen=True, eq=False)
class Moment:
    """What a strategy knew when it asked for one trial, and which trial that was."""

    strategy: Strategy
    """The strategy before the ask."""
    model: Surrogate
    acquisition: Acquisition | None
    """None where the trial was not chosen by one."""
    trial: Trial | None
    """None where nothing is left to ask for."""


def moment(strategy: Strategy, step: int | None = None) -> Moment:
    """Return the moment before an ask.

    Parameters
    ----------
    strategy : Strategy
    step : int or None
        Id of the trial; None: the one that would be asked for next. The strategy itself is left as it is.

    Raises
    ------
    ValidationError
        If there is no such trial, or there were fewer than three observations before it.
    """
    then = strategy
    if step is None:
        then = copy.deepcopy(strategy)
        try:
            step = then.ask().id
        except (Exhausted, Waiting):
            return Moment(strategy, model_of(strategy), None, None)
    asks = [i for i, event in enumerate(then.history) if event["event"] == "ask"]
    if step is None or not 0 <= step < len(asks):
        raise ValidationError(f"step must be the id of a trial, 0 to {len(asks) - 1}, but got {step!r}", "insight")
    before = copy.deepcopy(then)
    before._log = Log(then.space)
    before._log.replay(then.history[: asks[step]])
    acquisition = then.acquisition(step) if isinstance(then, Bayesian) else None
    model = acquisition.model if acquisition is not None else model_of(before)
    return Moment(before, model, acquisition, then.trials[step])


def axis(strategy: Strategy, name: str, count: int) -> tuple[list[Value], Floats]:
    """Return values along one parameter, evenly spaced on its scale, and their unit coordinates.

    Raises
    ------
    ValidationError
        If the space has no such parameter.
    """
    if name not in strategy.space.ranges:
        raise ValidationError(
            f"the space has no parameter {name!r}; it has {', '.join(strategy.space.names)}", "insight"
        )
    parameter = strategy.space.ranges[name]
    values: list[Value] = list(parameter.levels(count))
    return values, np.array([parameter.to_unit(v) for v in values])  # type: ignore[arg-type]  # values of this range


def through(strategy: Strategy, config: Mapping[str, Any] | None) -> Floats:
    """Return the (d,) point that slices go through: ``config``, or the recommended observation."""
    space = strategy.space
    if config is not None:
        return space.to_unit(space.check(config, "slice"))
    chosen = strategy.recommended
    if chosen is None:
        raise ValidationError("there is no observation to slice through; tell a trial first", "insight")
    return space.to_unit(chosen.config)


def importances(strategy: Strategy) -> dict[str, Importance]:
    """Return the importance of every parameter, the most important first.

    Sobol indices of the surrogate's mean over the space, each parameter uniform on its scale: for the mean ``f`` at
    points ``A`` and ``B`` of a Sobol sequence, and ``A`` with column ``j`` of ``B``::

        main_j  = mean(f(B) (f(AB_j) - f(A))) / V          Saltelli et al. 2010, table 2 (b)
        total_j = mean((f(A) - f(AB_j))^2) / (2 V)         table 2 (f), Jansen's

    (Variance based sensitivity analysis of model output, Computer Physics Communications 181, 2010.)

    Raises
    ------
    ValidationError
        If there are fewer than three observations.
    """
    model, space = model_of(strategy), strategy.space
    d = len(space)
    both = sobol(2 * d, SAMPLES, [strategy.seed, 2])
    A, B = space.snap(both[:, :d]), space.snap(both[:, d:])
    with one_thread():
        f_a, f_b = model.centre(A), model.centre(B)
        mean = 0.5 * float(np.mean(f_a) + np.mean(f_b))
        f_a, f_b = f_a - mean, f_b - mean
        variance = max(0.5 * float(np.mean(f_a**2) + np.mean(f_b**2)), 1e-300)
        out = {}
        for j, name in enumerate(space.names):
            mixed = A.copy()
            mixed[:, j] = B[:, j]
            f_mixed = model.centre(mixed) - mean
            main = float(np.mean(f_b * (f_mixed - f_a))) / variance
            total = float(np.mean((f_a - f_mixed) ** 2)) / (2.0 * variance)
            out[name] = Importance(min(max(main, 0.0), 1.0), min(max(total, main, 0.0), 1.0))
    return dict(sorted(out.items(), key=lambda item: -item[1].total))
