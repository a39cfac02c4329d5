"""Pictures of a search: the surrogate with its acquisition function, slices, contours, importances, history.

Every function takes a strategy of this package and returns a :class:`matplotlib.figure.Figure`, which a notebook shows
and ``figure.savefig`` writes. Nothing here touches pyplot's state. The only module that imports matplotlib.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from io import BytesIO
from typing import Any

import matplotlib
import numpy as np
from matplotlib.animation import FuncAnimation
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.figure import Figure

from sagespark.bayesopt import drawing, insight
from sagespark.bayesopt.drawing import BLUE, GREY, ORANGE, RED
from sagespark.bayesopt.ranges import Continuous
from sagespark.bayesopt.strategy import Strategy
from sagespark.bayesopt.trial import Trial
from sagespark.core.errors import ValidationError

POINTS = 300
"""Points along a curve."""
GRID = 60
"""Points along each side of a contour."""
Objective = Callable[[dict[str, Any]], float]


def surrogate(
    strategy: Strategy,
    param: str | None = None,
    *,
    step: int | None = None,
    objective: Objective | None = None,
    band: float = 0.95,
    label: str = "objective",
    limits: tuple[float, float] | None = None,
    figure: Figure | None = None,
) -> Figure:
    """Draw the two panels of Bayesian optimisation along one parameter.

    Above: the evaluated points, the surrogate's mean and its band, and the best value so far. Below: expected
    improvement, and the configuration that it makes the next one.

    Parameters
    ----------
    strategy : Strategy
        With at least three observations.
    param : str or None
        Parameter along the horizontal axis; None: the first. Others are held at the best point, and points lie the
        fainter the further they are from that slice.
    step : int or None
        Id of a trial: the picture before it was asked for. None: the picture now, with the trial that would be next.
    objective : callable or None
        The true objective, where it is known, drawn as a dashed line.
    band : float
        Probability inside the band.
    label : str
        Name of the objective.
    limits : (float, float) or None
        Lowest and highest objective that the picture shows; None: as far as points and band reach.
    figure : Figure or None
        Drawn into, cleared first; None: a new one.

    Raises
    ------
    ValidationError
        If there is no such parameter or trial, or fewer than three observations.
    """
    now = insight.moment(strategy, step)
    before, space = now.strategy, strategy.space
    name = param if param is not None else space.names[0]
    values, units = insight.axis(before, name, POINTS)
    j = space.names.index(name)
    centre = insight.through(before, None)
    points = np.tile(centre, (len(units), 1))
    points[:, j] = units
    prediction = insight.at(before, now.model, points, band)
    figure = _figure(figure, 7.2, 5.4)
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(2.6, 1), gridspec_kw={"hspace": 0.08})
    x = drawing.positions(space.ranges[name], values)
    if objective is not None:
        truth = [objective(space.from_unit(p)) for p in points]
        upper.plot(x, truth, "--", color=GREY, lw=1.3, label="true objective", zorder=2)
    drawing.band(upper, space.ranges[name], x, prediction, f"{100 * band:g} % band")
    drawing.observations(upper, before, name, centre)
    best = before.best
    if best is not None and best.value is not None:
        upper.axhline(best.value, color=GREY, lw=0.8, ls=":", zorder=1, label="best so far")
    drawing.acquisition(lower, now, points, x, name, upper)
    upper.set_ylabel(label)
    if limits is not None:
        upper.set_ylim(limits)
    handles, labels = upper.get_legend_handles_labels()
    more, names = lower.get_legend_handles_labels()
    upper.legend(
        handles + more, labels + names, loc="lower left", bbox_to_anchor=(0, 1.01), ncols=3, frameon=False, fontsize=8.5
    )
    drawing.axis(lower, space.ranges[name], name, values)
    return figure


def replay(strategy: Strategy, param: str | None = None, **options: Any) -> list[Figure]:
    """Return one :func:`surrogate` figure for each trial that a model chose, in order, and one for what comes next.

    Parameters
    ----------
    strategy, param
        As for :func:`surrogate`.
    **options
        Passed on to it. Without ``limits`` all figures have those of the evaluated points, with room above and below.
    """
    options = {"limits": _limits(strategy)} | options
    return [surrogate(strategy, param, step=step, **options) for step in _steps(strategy)]


def animate(strategy: Strategy, param: str | None = None, *, interval: float = 0.8, **options: Any) -> FuncAnimation:
    """Return :func:`replay` as an animation; ``animation.to_jshtml()`` is a player for the notebook.

    Parameters
    ----------
    strategy, param
        As for :func:`surrogate`.
    interval : float
        Seconds for each picture.
    **options
        As for :func:`replay`.
    """
    figure = _figure(None, 7.2, 5.4)
    options = {"limits": _limits(strategy)} | options

    def draw(step: int | None) -> list[Any]:
        surrogate(strategy, param, step=step, figure=figure, **options)
        done = len(strategy.trials) if step is None else step
        figure.text(0.99, 0.01, f"after {done} trials", ha="right", fontsize=8, color=GREY)
        return []

    steps = _steps(strategy)
    return FuncAnimation(figure, draw, frames=steps, interval=1000 * interval, init_func=list, repeat=True)


def slices(
    strategy: Strategy,
    params: Sequence[str] | None = None,
    *,
    config: Mapping[str, Any] | None = None,
    band: float = 0.95,
    label: str = "objective",
) -> Figure:
    """Draw the surrogate along each parameter, through the best point or through ``config``.

    Raises
    ------
    ValidationError
        If a parameter is not in the space, or observations are missing.
    """
    names = list(params if params is not None else strategy.space.names)
    columns = 2 if len(names) == 4 else min(3, len(names))
    rows = -(-len(names) // columns)
    figure = _figure(None, 3.1 * columns + 0.5, 2.5 * rows + 0.3)
    grid = figure.subplots(rows, columns, sharey=True, squeeze=False)
    model, centre = insight.model_of(strategy), insight.through(strategy, config)
    for axes, name in zip(grid.ravel(), names, strict=False):
        values, units = insight.axis(strategy, name, POINTS)
        points = np.tile(centre, (len(units), 1))
        points[:, strategy.space.names.index(name)] = units
        r = strategy.space.ranges[name]
        x = drawing.positions(r, values)
        drawing.band(axes, r, x, insight.at(strategy, model, points, band), f"{100 * band:g} % band")
        drawing.observations(axes, strategy, name, centre)
        at = drawing.positions(r, [r.from_unit(float(centre[strategy.space.names.index(name)]))])[0]
        axes.axvline(at, color=RED, lw=1, ls="--", zorder=1, label="slice through here")
        drawing.axis(axes, r, name, values)
    for axes in grid.ravel()[len(names) :]:
        axes.set_visible(False)
    for row in grid:
        row[0].set_ylabel(label)
    handles, labels = grid[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=4, frameon=False, fontsize=8.5)
    return figure


def contour(
    strategy: Strategy, first: str, second: str, *, config: Mapping[str, Any] | None = None, label: str = "objective"
) -> Figure:
    """Draw the surrogate's mean over two parameters, and next to it half the width of its 95 % band.

    Others are held at the best point, or at ``config``. The evaluated points lie on both; the best one is a star.

    Raises
    ------
    ValidationError
        If the parameters are not two of the space, or observations are missing.
    """
    if first == second:
        raise ValidationError(f"a contour needs two different parameters, but got {first!r} twice", "contour")
    space, model, centre = strategy.space, insight.model_of(strategy), insight.through(strategy, config)
    (xs, ux), (ys, uy) = insight.axis(strategy, first, GRID), insight.axis(strategy, second, GRID)
    i, j = space.names.index(first), space.names.index(second)
    points = np.tile(centre, (len(ux) * len(uy), 1))
    points[:, i], points[:, j] = np.tile(ux, len(uy)), np.repeat(uy, len(ux))
    seen = insight.at(strategy, model, points)
    figure = _figure(None, 9.6, 4.5)
    shape = (len(uy), len(ux))
    x, y = drawing.positions(space.ranges[first], xs), drawing.positions(space.ranges[second], ys)
    best = strategy.recommended
    for axes, z, colours, title in zip(
        figure.subplots(1, 2, sharex=True, sharey=True),
        (seen.mean.reshape(shape), (0.5 * (seen.high - seen.low)).reshape(shape)),
        ("viridis_r" if strategy.direction == "minimize" else "viridis", "magma"),
        (f"{label}: mean", "half width of the 95 % band"),
        strict=True,
    ):
        stepped = any(not isinstance(space.ranges[n], Continuous) for n in (first, second))
        if stepped:
            drawn = axes.pcolormesh(x, y, z, cmap=colours, shading="nearest")
        else:
            drawn = axes.contourf(x, y, z, levels=24, cmap=colours)
            axes.contour(x, y, z, levels=12, colors="white", linewidths=0.4, alpha=0.6)
        figure.colorbar(drawn, ax=axes, pad=0.02)
        known = strategy.observations
        axes.plot(
            drawing.positions(space.ranges[first], [t.config[first] for t in known]),
            drawing.positions(space.ranges[second], [t.config[second] for t in known]),
            "o", ms=4, mfc="white", mec="black", mew=0.8, ls="none", label="evaluated", clip_on=False,
        )  # fmt: skip
        if best is not None:
            axes.plot(
                drawing.positions(space.ranges[first], [best.config[first]]),
                drawing.positions(space.ranges[second], [best.config[second]]),
                "*", ms=15, mfc=RED, mec="white", mew=0.8, ls="none", label="best", clip_on=False, zorder=5,
            )  # fmt: skip
        axes.set_title(title, fontsize=10)
        drawing.axis(axes, space.ranges[first], first, xs)
        drawing.axis(axes, space.ranges[second], second, ys, vertical=True)
        axes.label_outer()
    # Outside: points may lie anywhere.
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=2, frameon=False, fontsize=8.5)
    return figure


def importances(strategy: Strategy) -> Figure:
    """Draw every parameter's share of the objective's variance: alone, and together with others.

    Raises
    ------
    ValidationError
        If there are fewer than three observations.
    """
    shares = insight.importances(strategy)
    names = list(shares)[::-1]
    figure = _figure(None, 6.4, 0.42 * len(names) + 1.3)
    axes = figure.subplots()
    main = np.array([shares[n].main for n in names])
    rest = np.array([shares[n].interactions for n in names])
    axes.barh(names, main, color=BLUE, height=0.6, label="alone")
    axes.barh(names, rest, left=main, color=ORANGE, height=0.6, label="with others")
    for row, value in enumerate(main + rest):
        axes.annotate(
            f"{100 * value:.0f} %", (value, row), xytext=(4, 0), textcoords="offset points", va="center", fontsize=8
        )
    axes.set_xlim(0, max(1.08 * float(np.max(main + rest)), 0.1))
    axes.set_xlabel("share of the objective's variance over the space")
    axes.xaxis.set_major_formatter(lambda v, _: f"{100 * v:.0f} %")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(loc="lower right", frameon=False, fontsize=8.5)
    return figure


def history(strategy: Strategy, *, label: str = "objective") -> Figure:
    """Draw every trial's value in the order of asks, and the best value so far."""
    figure = _figure(None, 7.2, 3.8)
    axes = figure.subplots()
    trials = strategy.trials
    for status, colour, marker in (("Completed", BLUE, "o"), ("Stopped", ORANGE, "s")):
        ids, values = _values(t for t in trials if t.status == status)
        if len(ids):
            axes.plot(ids, values, marker, color=colour, ms=4.5, alpha=0.75, label=status)
    ids, values = _values(trials)
    if len(ids):
        best = (np.minimum if strategy.direction == "minimize" else np.maximum).accumulate(values)
        axes.step(ids, best, where="post", color=RED, lw=1.8, label="best so far")
    failed = np.array([t.id for t in trials if t.status == "Failed"], dtype=float)
    if len(failed):
        axes.plot(
            failed, np.full(len(failed), 0.02), "x", color="black", ms=5, transform=axes.get_xaxis_transform(),
            label="Failed", clip_on=False,
        )  # fmt: skip
    if len(values) > 4 and np.min(values) > 0 and np.max(values) / np.min(values) > 100:
        axes.set_yscale("log")
    axes.set_xlabel("trial")
    axes.set_ylabel(label)
    axes.grid(alpha=0.25, lw=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=8.5, ncols=4, loc="lower left", bbox_to_anchor=(0, 1.0))
    return figure


def parallel(strategy: Strategy, *, label: str = "objective") -> Figure:
    """Draw every observation as a line over the parameters, each on its scale; the better, the darker and higher up."""
    space, known = strategy.space, strategy.observations
    if not known:
        raise ValidationError("there is no observation to draw; tell a trial first", "parallel")
    values = np.array([t.value for t in known], dtype=float)
    sign = 1.0 if strategy.direction == "minimize" else -1.0
    # Ranks, not values: one bad trial would otherwise take all the colours.
    rank = np.argsort(np.argsort(sign * values, kind="stable"), kind="stable") / max(len(values) - 1, 1)
    span = float(np.ptp(values)) or 1.0
    rows = np.array([[*space.to_unit(t.config), (v - values.min()) / span] for t, v in zip(known, values, strict=True)])
    names = [*space.names, label]
    figure = _figure(None, max(1.35 * len(names) + 1.2, 5.0), 4.2)
    axes = figure.subplots()
    colours = matplotlib.colormaps["viridis"]
    for i in np.argsort(-rank):
        axes.plot(range(len(names)), rows[i], color=colours(0.95 * rank[i]), lw=1.1, alpha=float(0.9 - 0.6 * rank[i]))
    top = int(np.argmin(rank))
    axes.plot(range(len(names)), rows[top], color=RED, lw=2.2, label="best", marker="o", ms=4)
    for j, name in enumerate(names):
        axes.axvline(j, color="black", lw=0.8)
        ticks = drawing.ticks(space.ranges[name]) if name in space.ranges and j < len(space) else drawing.span(values)
        for u, text in ticks:
            axes.annotate(
                text, (j, u), xytext=(3, 0), textcoords="offset points", fontsize=7.5, va="center",
                bbox={"boxstyle": "round,pad=0.1", "fc": "white", "ec": "none", "alpha": 0.75},
            )  # fmt: skip
    axes.set_xticks(range(len(names)), names)
    axes.set_yticks([])
    axes.set_xlim(-0.15, len(names) - 0.55)
    axes.set_ylim(-0.04, 1.04)
    axes.spines[:].set_visible(False)
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1.0), frameon=False, fontsize=8.5)
    bar = figure.colorbar(ScalarMappable(cmap=colours), ax=axes, pad=0.01, shrink=0.8)
    bar.set_ticks([0, 1], labels=["best", "worst"])
    return figure


class _Picture(Figure):
    """A figure that a notebook shows, also one that never imported pyplot."""

    def _repr_png_(self) -> bytes:
        content = BytesIO()
        self.savefig(content, format="png", dpi=100)
        return content.getvalue()


def _figure(figure: Figure | None, width: float, height: float) -> Figure:
    if figure is None:
        figure = _Picture(figsize=(width, height), layout="constrained")
        FigureCanvasAgg(figure)
    figure.clear()
    return figure


def _values(trials: Iterable[Trial]) -> tuple[Any, Any]:
    """Return ids and values of the trials that have one."""
    known = [t for t in trials if t.value is not None]
    return np.array([t.id for t in known], dtype=float), np.array([t.value for t in known], dtype=float)


def _limits(strategy: Strategy) -> tuple[float, float]:
    """Return limits for all pictures of a search, so that they can be compared by eye."""
    values = [t.value for t in strategy.observations if t.value is not None]
    low, high = (min(values), max(values)) if values else (0.0, 1.0)
    room = 0.4 * ((high - low) or abs(high) or 1.0)
    return low - room, high + room


def _steps(strategy: Strategy) -> list[int | None]:
    """Return the ids of the trials with enough observations before them, and None for what comes next."""
    steps: list[int | None] = []
    seen = 0
    # A history that was made of a service's trials has no states at all: every ask may have been a model's.
    stateless = not any(event.get("state") for event in strategy.history)
    first = strategy.history[0].get("state") if strategy.history else None
    for event in strategy.history:
        if event["event"] == "ask" and seen >= insight.LEAST and (event["state"] or first or stateless):
            steps.append(event["trial"])
        seen += event["event"] == "add" or (event["event"] == "tell" and event["value"] is not None)
    return [*steps, None]
