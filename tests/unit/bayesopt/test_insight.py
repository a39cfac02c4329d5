"""Predictions, importances and pictures say what the surrogate says."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import sagespark.bayesopt
from sagespark.bayesopt import Bayesian, Categorical, Continuous, Integer, Random, Space, Strategy, insight, plots
from sagespark.core.errors import ValidationError

SPACE = Space(
    {
        "eta": Continuous(1e-3, 1.0, scaling="Logarithmic"),
        "momentum": Continuous(0.5, 0.999, scaling="ReverseLogarithmic"),
        "depth": Integer(2, 10),
        "booster": Categorical(["gbtree", "dart"]),
    }
)
LINE = Space({"x": Continuous(0, 1)})


def loss(c: dict) -> float:
    return (np.log10(c["eta"]) + 1.5) ** 2 + 0.05 * (c["depth"] - 5) ** 2 + (0.4 if c["booster"] == "dart" else 0.0)


def played(s: Strategy, n: int, objective=loss) -> Strategy:
    for i in range(n):
        trial = s.ask()
        if i % 7 == 5:
            s.tell(trial.id, None, status="Failed")
        else:
            s.tell(trial.id, float(objective(trial.config)))
    return s


@pytest.fixture(scope="module")
def mixed() -> Strategy:
    return played(Bayesian(SPACE, seed=0), 24)


@pytest.fixture(scope="module")
def line() -> Strategy:
    return played(Bayesian(LINE, seed=0), 9, lambda c: np.sin(7 * c["x"]))


def test_only_plots_imports_matplotlib_and_nothing_else_is_needed() -> None:
    folder = Path(sagespark.bayesopt.__file__).parent
    for path in folder.glob("*.py"):
        heads = set()
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                heads |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                heads.add((node.module or "").split(".")[0])
        foreign = heads - set(sys.stdlib_module_names) - {"numpy", "scipy", "sagespark"}
        assert foreign <= ({"matplotlib"} if path.name == "plots.py" else set()), path.name
    code = "import sagespark.bayesopt, sys, json; print(json.dumps(sorted({m.split('.')[0] for m in sys.modules})))"
    loaded = json.loads(subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout)
    assert not set(loaded) & {"matplotlib", "pyspark", "sklearn", "pandas", "torch", "boto3", "pyarrow"}


def test_the_prediction_meets_the_observations_and_doubts_elsewhere(line: Strategy) -> None:
    known = line.observations
    seen = insight.predict(line, [t.config for t in known])
    assert seen.mean == pytest.approx([t.value for t in known], abs=0.02)
    away = insight.predict(line, [{"x": x} for x in np.linspace(0, 1, 50)])
    assert np.max(away.high - away.low) > 5 * np.max(seen.high - seen.low)
    assert (away.low <= away.mean).all()
    assert (away.mean <= away.high).all()
    narrow = insight.predict(line, [{"x": x} for x in np.linspace(0, 1, 50)], band=0.5)
    assert (narrow.high - narrow.low <= away.high - away.low + 1e-12).all()


def test_a_maximised_objective_is_the_mirror_image() -> None:
    down = played(Random(LINE, seed=1), 12, lambda c: np.sin(7 * c["x"]))
    up = played(Random(LINE, "maximize", seed=1), 12, lambda c: -np.sin(7 * c["x"]))
    configs = [{"x": x} for x in np.linspace(0, 1, 9)]
    a, b = insight.predict(down, configs), insight.predict(up, configs)
    assert a.mean == pytest.approx(-b.mean, abs=1e-9)
    assert a.low == pytest.approx(-b.high, abs=1e-9)


def test_importances_of_a_known_function() -> None:
    space = Space({name: Continuous(0, 1) for name in ("a", "b", "c", "idle")})
    s = Random(space, seed=0)
    # Variances over the cube: 9 / 12 of 3 a; 1 / 12 of b; none of idle; b and c also meet in a product.
    objective = lambda c: 3 * c["a"] + c["b"] + 4 * (c["b"] - 0.5) * (c["c"] - 0.5)  # noqa: E731 -- three terms
    for u in np.random.default_rng(0).random((60, 4)):
        config = space.from_unit(u)
        s.add(config, objective(config))
    before = s.history
    shares = insight.importances(s)
    total = 9 / 12 + 1 / 12 + 16 / 144
    assert next(iter(shares)) == "a"
    assert list(shares)[-1] == "idle"
    assert shares["a"].main == pytest.approx(9 / 12 / total, abs=0.05)
    assert shares["a"].interactions < 0.03
    assert shares["b"].total == pytest.approx((1 / 12 + 16 / 144) / total, abs=0.05)
    assert shares["c"].main < 0.03
    assert shares["c"].interactions == pytest.approx(16 / 144 / total, abs=0.05)
    assert shares["idle"].total < 0.03
    assert s.history == before, "looking adds no event"


def test_the_picture_shows_the_surrogate_and_the_next_trial(line: Strategy) -> None:
    before = line.history
    figure = plots.surrogate(line, objective=lambda c: np.sin(7 * c["x"]))
    upper, lower = figure.axes
    curves = {curve.get_label(): curve for curve in upper.get_lines()}
    x = curves["surrogate's mean"].get_xdata()
    assert (x[0], x[-1]) == (0.0, 1.0)
    assert curves["true objective"].get_ydata() == pytest.approx(np.sin(7 * x))
    drawn = upper.collections[-1].get_offsets()
    assert sorted(map(tuple, drawn)) == sorted((t.config["x"], t.value) for t in line.observations)
    nearest = [int(np.argmin(np.abs(x - t.config["x"]))) for t in line.observations]
    assert curves["surrogate's mean"].get_ydata()[nearest] == pytest.approx(
        [t.value for t in line.observations], abs=0.05
    )
    marks = {curve.get_label(): curve for curve in lower.get_lines()}
    following = Bayesian(LINE, seed=0, history=line.history).ask().config["x"]
    assert marks["next"].get_xdata()[0] == following
    assert marks["next"].get_ydata()[0] == pytest.approx(1.0, abs=1e-6)
    assert line.history == before, "a picture adds no event"


def test_a_replayed_step_is_what_the_strategy_saw(line: Strategy) -> None:
    figure = plots.surrogate(line, step=6)
    marks = {curve.get_label(): curve for curve in figure.axes[1].get_lines()}
    assert marks["next"].get_xdata()[0] == line.trials[6].config["x"]
    assert len(figure.axes[0].collections[-1].get_offsets()) == sum(t.value is not None for t in line.trials[:6])
    moment = insight.moment(line, 6)
    assert moment.acquisition is not None
    at = LINE.to_unit(line.trials[6].config)[None]
    everywhere = moment.acquisition.value(np.linspace(0, 1, 400)[:, None])
    assert moment.acquisition.value(at)[0] >= np.max(everywhere) - 1e-3
    assert len(plots.replay(line)) == len(line.trials) - 3 + 1
    assert plots.animate(line).to_jshtml(default_mode="once").count("data:image/png") == len(line.trials) - 3 + 1
    # All on one scale, which holds every evaluated point.
    limits = {figure.axes[0].get_ylim() for figure in plots.replay(line)}
    assert len(limits) == 1
    low, high = limits.pop()
    assert all(low < t.value < high for t in line.observations)
    assert plots.replay(line, limits=(0.0, 9.0))[0].axes[0].get_ylim() == (0.0, 9.0)


def test_every_picture_can_be_drawn(mixed: Strategy, tmp_path: Path) -> None:
    drawn = {
        **{f"surrogate of {name}": plots.surrogate(mixed, name) for name in SPACE.names},
        "slices": plots.slices(mixed),
        "contour": plots.contour(mixed, "eta", "momentum"),
        "stepped contour": plots.contour(mixed, "depth", "booster"),
        "importances": plots.importances(mixed),
        "history": plots.history(mixed),
        "parallel": plots.parallel(mixed, label="loss"),
    }
    for name, figure in drawn.items():
        figure.savefig(tmp_path / "picture.png")
        assert (tmp_path / "picture.png").stat().st_size > 5000, name
    assert [a.get_xlabel() for a in drawn["slices"].axes] == list(SPACE.names)
    assert drawn["surrogate of eta"].axes[1].get_xscale() == "log"
    assert [t.get_text() for t in drawn["surrogate of booster"].axes[1].get_xticklabels()] == ["gbtree", "dart"]
    assert drawn["contour"].axes[0].get_ylim() == (0.5, 0.999)
    # Its legend covers no point: it belongs to the figure.
    assert len(drawn["contour"].legends) == 1
    assert all(axes.get_legend() is None for axes in drawn["contour"].axes)
    best = {curve.get_label(): curve for curve in drawn["history"].axes[0].get_lines()}["best so far"].get_ydata()
    assert best[-1] == mixed.best.value
    assert (np.diff(best) <= 0).all()
    assert [t.get_text() for t in drawn["parallel"].axes[0].get_xticklabels()] == [*SPACE.names, "loss"]


def test_a_strategy_without_a_model_gets_one_for_the_picture() -> None:
    s = played(Random(SPACE, "maximize", seed=0), 12, lambda c: -loss(c))
    figure = plots.surrogate(s, "eta")
    assert figure.axes[0].get_ylabel() == "objective"
    assert len(plots.slices(s, ["eta", "depth"]).axes) == 2


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda s: plots.surrogate(s, "beta"), "the space has no parameter 'beta'"),
        (lambda s: plots.surrogate(s, "eta", step=99), "step must be the id of a trial"),
        (lambda s: plots.contour(s, "eta", "eta"), "two different parameters"),
        (lambda s: insight.predict(s, [{"eta": 5}]), "problems"),
        (lambda s: insight.predict(s, [s.best.config], band=1.0), "0 < band < 1"),
        (lambda s: plots.surrogate(Bayesian(SPACE)), "at least 3 observations"),
        (lambda s: plots.parallel(Bayesian(SPACE)), "no observation"),
    ],
)
def test_what_cannot_be_drawn_is_refused(mixed: Strategy, call, text: str) -> None:
    with pytest.raises(ValidationError) as caught:
        call(mixed)
    assert text in str(caught.value)


def branin(x: float, y: float) -> float:
    return (y - 5.1 / (4 * np.pi**2) * x**2 + 5 / np.pi * x - 6) ** 2 + 10 * (1 - 1 / (8 * np.pi)) * np.cos(x) + 10


PLANE = Space({"x": Continuous(-2, 2, scaling="Linear"), "y": Continuous(-2, 2, scaling="Linear")})


@pytest.mark.parametrize(
    ("objective", "least", "most"),
    [
        pytest.param(lambda c: np.sin(2 * c["x"]) + np.cos(c["y"]) * c["x"], 0.9, 1.0, id="plain"),
        # A tenth of its values lies above the ceiling to which the worst values are moved.
        pytest.param(lambda c: np.exp(2 * c["x"] + c["y"] ** 2) + np.sin(4 * c["y"]), 0.88, 1.0, id="far values"),
        # The models alone expect all of its values in bands several times as wide as need be.
        pytest.param(
            lambda c: branin(3.75 * c["x"] + 2.5, 3.75 * c["y"] + 7.5), 0.88, 0.995, id="smoother than believed"
        ),
    ],
)
def test_the_band_covers_as_many_new_values_as_it_says(objective, least: float, most: float) -> None:
    shares = []
    for seed in range(3):
        rng = np.random.default_rng(seed)
        s = Random(PLANE, seed=seed)
        for _ in range(50):
            trial = s.ask()
            s.tell(trial.id, float(objective(trial.config)))
        new = [PLANE.from_unit(u) for u in rng.random((200, 2))]
        predicted, values = insight.predict(s, new), np.array([objective(c) for c in new])
        shares.append(float(np.mean((predicted.low <= values) & (values <= predicted.high))))
    assert least <= np.mean(shares) <= most
