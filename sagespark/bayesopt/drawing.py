"""Parts of the pictures: bands, points and axes, drawn on axes that :mod:`plots` made. Imports no matplotlib."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

from sagespark.bayesopt import insight, scaling
from sagespark.bayesopt.ranges import ALL_MOVES, Categorical, Continuous
from sagespark.bayesopt.strategy import Strategy

# Okabe and Ito's colours, which people with colour-blindness tell apart.
BLUE, ORANGE, GREEN, RED, GREY = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#666666"


def positions(parameter: Any, values: Sequence[Any]) -> Any:
    """Return where values lie on the axis: categories at their position, numbers where they are."""
    if isinstance(parameter, Categorical):
        return np.array([parameter.position(v) for v in values])
    return np.array(values, dtype=float)


def band(axes: Any, parameter: Any, x: Any, prediction: insight.Prediction, text: str) -> None:
    """Draw the surrogate's mean and band; for steps and categories, a bar at each value."""
    if isinstance(parameter, Continuous):
        axes.fill_between(x, prediction.low, prediction.high, color=BLUE, alpha=0.18, lw=0, label=text, zorder=1)
        axes.plot(x, prediction.mean, color=BLUE, lw=1.8, label="surrogate's mean", zorder=3)
        return
    reach = np.maximum(np.stack([prediction.mean - prediction.low, prediction.high - prediction.mean]), 0.0)
    axes.errorbar(
        x, prediction.mean, yerr=reach, fmt="none", ecolor=BLUE, elinewidth=6, alpha=0.25, label=text, zorder=1
    )
    axes.plot(x, prediction.mean, "_", color=BLUE, ms=14, mew=2, label="surrogate's mean", zorder=3)


def observations(axes: Any, strategy: Strategy, name: str, centre: Any) -> None:
    """Draw the evaluated points, the fainter the further they are from the slice through ``centre``."""
    space, j = strategy.space, strategy.space.names.index(name)
    known = strategy.observations
    units = np.array([space.to_unit(t.config) for t in known]).reshape(-1, len(space))
    away = np.sqrt(np.sum(np.delete(units - centre, j, axis=1) ** 2, axis=1))
    shade = np.clip(np.exp(-2.0 * away), 0.12, 1.0)
    x = positions(space.ranges[name], [t.config[name] for t in known])
    colours = np.zeros((len(known), 4))
    colours[:, 3] = shade
    values = np.array([t.value for t in known], dtype=float)
    # Not cut at the bounds, where good configurations often lie.
    axes.scatter(x, values, s=26, c=colours, zorder=5, linewidths=0, clip_on=False)
    axes.plot([], [], "o", color="black", ms=5, label="evaluated")


def acquisition(axes: Any, now: insight.Moment, points: Any, x: Any, name: str, upper: Any) -> None:
    """Draw expected improvement, scaled to its largest value, and the trial that it chose.

    The curve goes through the chosen configuration: other parameters are its own, so that the mark lies on the curve.
    """
    space = now.strategy.space
    parameter, j = space.ranges[name], space.names.index(name)
    function = now.acquisition.value if now.acquisition is not None else now.model.improvement.value
    top = -np.inf
    if now.trial is not None:
        chosen = space.to_unit(now.trial.config)
        points = np.where(np.arange(len(space)) == j, points, chosen)
        top = float(function(chosen[None])[0])
        at = float(positions(parameter, [now.trial.config[name]])[0])
        for panel in (axes, upper):
            panel.axvline(at, color=RED, lw=1, ls="--", zorder=1)
    log_ei = function(points)
    highest = max(float(np.max(log_ei)), top)
    improvement = np.exp(log_ei - highest)
    if now.trial is not None:
        height = float(np.exp(top - highest))
        axes.plot([at], [height], "v", color=RED, ms=9, zorder=4, clip_on=False, label="next")
    if isinstance(parameter, Continuous):
        axes.fill_between(x, improvement, color=GREEN, alpha=0.25, lw=0, zorder=1)
        axes.plot(x, improvement, color=GREEN, lw=1.6, zorder=2)
    else:
        axes.bar(x, improvement, color=GREEN, alpha=0.45, width=0.6, zorder=1)
    if len(space) > 1 and now.trial is not None:
        note(axes, "other parameters as in the next trial")
        note(upper, "other parameters as in the best trial; the further from there, the fainter a point")
    axes.set_ylim(0, 1.4 if len(space) > 1 else 1.15)
    axes.set_yticks([0, 1], labels=["0", "max"])
    axes.set_ylabel("expected\nimprovement")


def note(axes: Any, text: str) -> None:
    """Write a remark into the upper right corner."""
    axes.annotate(
        text, (1, 1), xycoords="axes fraction", xytext=(-5, -5), textcoords="offset points", ha="right", va="top",
        fontsize=7.5, color=GREY, zorder=6,
        bbox={"boxstyle": "round,pad=0.15", "fc": "white", "ec": "none", "alpha": 0.8},
    )  # fmt: skip


def axis(axes: Any, parameter: Any, name: str, values: Sequence[Any], *, vertical: bool = False) -> None:
    """Scale, limit and label an axis as its parameter."""
    of = "y" if vertical else "x"
    getattr(axes, f"set_{of}label")(name)
    set_ticks = getattr(axes, f"set_{of}ticks")
    if isinstance(parameter, Categorical):
        set_ticks(np.arange(len(values)), [str(v) for v in values])
        return
    if parameter.scale == "Logarithmic":
        getattr(axes, f"set_{of}scale")("log")
        if parameter.maxValue < 1000 * parameter.minValue:
            # Over few decades matplotlib would label the minor ticks too, one over the other.
            marks = [m * 10.0**k for k in range(-12, 13) for m in (1, 2, 5)]
            inside = [v for v in marks if parameter.minValue <= v <= parameter.maxValue]
            set_ticks(inside, [f"{v:g}" for v in inside])
            getattr(axes, f"{of}axis").set_minor_formatter(lambda value, position: "")
    elif parameter.scale == "ReverseLogarithmic":
        # Beyond 1, where no value lies, matplotlib still asks.
        functions = (
            lambda v: scaling.forward("ReverseLogarithmic", np.minimum(v, 1 - 1e-12)),
            partial(scaling.backward, parameter.scale),
        )
        getattr(axes, f"set_{of}scale")("function", functions=functions)
        levels = parameter.levels(5)
        set_ticks(levels, [f"{v:.3g}" for v in levels])
    if isinstance(parameter, Continuous):
        getattr(axes, f"set_{of}lim")(parameter.minValue, parameter.maxValue)
    elif parameter.scale == "Linear" and parameter.size <= ALL_MOVES:
        set_ticks(range(parameter.minValue, parameter.maxValue + 1))


def ticks(parameter: Any) -> list[tuple[float, str]]:
    """Return a few unit coordinates along a parameter, with their texts."""
    levels = parameter.levels(5) if not isinstance(parameter, Categorical) else parameter.values
    return [(parameter.to_unit(v), f"{v:.3g}" if isinstance(v, float) else str(v)) for v in levels]


def span(values: Any) -> list[tuple[float, str]]:
    """Return five values over the range of some, with their texts."""
    low, high = float(np.min(values)), float(np.max(values))
    return [(u, f"{low + u * (high - low):.3g}") for u in (0.0, 0.25, 0.5, 0.75, 1.0)]
