"""Objectives with known minima, and losses of models on real data.

Every problem is deterministic in (configuration, evaluation number, seed). One that fails raises ``EvaluationError``.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from sagespark.bayesopt import Categorical, Continuous, Integer, Space

Config = dict[str, Any]


class EvaluationError(Exception):
    """The evaluation failed, as a training job does."""


@dataclass(frozen=True)
class Problem:
    """An objective to minimise."""

    name: str
    space: Space
    function: Callable[[Config], float]
    """The true value of a configuration."""
    minimum: float = 0.0
    """The least value; regrets are differences from it. 0 for losses on real data, whose least value is not known."""
    noise: float = 0.0
    """Standard deviation of what an evaluation adds to the true value."""
    real: bool = False
    """A model on real data: 40 evaluations, sequential."""

    def evaluate(self, config: Config, rng: np.random.Generator) -> float:
        """Return what the tuner is told."""
        return self.function(config) + (self.noise * float(rng.standard_normal()) if self.noise else 0.0)


def _vector(config: Config) -> np.ndarray:
    return np.array([config[k] for k in config], dtype=float)


def box(d: int, low: float, high: float) -> Space:
    return Space({f"x{i}": Continuous(low, high, scaling="Linear") for i in range(d)})


def branin(c: Config) -> float:
    x, y = c["x0"], c["x1"]
    return (
        (y - 5.1 / (4 * math.pi**2) * x * x + 5 / math.pi * x - 6) ** 2
        + 10 * (1 - 1 / (8 * math.pi)) * math.cos(x)
        + 10
    )


BRANIN = Space({"x0": Continuous(-5, 10, scaling="Linear"), "x1": Continuous(0, 15, scaling="Linear")})
_A6 = np.array(
    [[10, 3, 17, 3.5, 1.7, 8], [0.05, 10, 17, 0.1, 8, 14], [3, 3.5, 1.7, 10, 17, 8], [17, 8, 0.05, 10, 0.1, 14]]
)
_P6 = 1e-4 * np.array(
    [[1312, 1696, 5569, 124, 8283, 5886], [2329, 4135, 8307, 3736, 1004, 9991],
     [2348, 1451, 3522, 2883, 3047, 6650], [4047, 8828, 8732, 5743, 1091, 381]]
)  # fmt: skip
_A3 = np.array([[3, 10, 30], [0.1, 10, 35], [3, 10, 30], [0.1, 10, 35]])
_P3 = 1e-4 * np.array([[3689, 1170, 2673], [4699, 4387, 7470], [1091, 8732, 5547], [381, 5743, 8828]])
_ALPHA = np.array([1.0, 1.2, 3.0, 3.2])


def hartmann6(c: Config) -> float:
    return -float(_ALPHA @ np.exp(-np.sum(_A6 * (_vector(c) - _P6) ** 2, axis=1)))


def hartmann3(c: Config) -> float:
    return -float(_ALPHA @ np.exp(-np.sum(_A3 * (_vector(c) - _P3) ** 2, axis=1)))


def ackley(c: Config) -> float:
    x = _vector(c)
    return float(-20 * np.exp(-0.2 * np.sqrt(np.mean(x * x))) - np.exp(np.mean(np.cos(2 * math.pi * x))) + 20 + math.e)


def rosenbrock(c: Config) -> float:
    x = _vector(c)
    return float(np.sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2))


def levy(c: Config) -> float:
    w = 1 + (_vector(c) - 1) / 4
    return float(
        np.sin(math.pi * w[0]) ** 2
        + np.sum((w[:-1] - 1) ** 2 * (1 + 10 * np.sin(math.pi * w[:-1] + 1) ** 2))
        + (w[-1] - 1) ** 2 * (1 + np.sin(2 * math.pi * w[-1]) ** 2)
    )


def styblinski(c: Config) -> float:
    x = _vector(c)
    return float(np.sum(x**4 - 16 * x**2 + 5 * x) / 2) + 39.16616570377142 * len(x)


def griewank(c: Config) -> float:
    x = _vector(c)
    return float(np.sum(x * x) / 4000 - np.prod(np.cos(x / np.sqrt(np.arange(1, len(x) + 1)))) + 1)


def michalewicz(c: Config) -> float:
    x = _vector(c)
    return -float(np.sum(np.sin(x) * np.sin(np.arange(1, len(x) + 1) * x * x / math.pi) ** 20))


def alpine(c: Config) -> float:
    x = _vector(c)
    return float(np.sum(np.abs(x * np.sin(x) + 0.1 * x)))


def cosine_mixture(c: Config) -> float:
    x = _vector(c)
    return float(np.sum(x * x) - 0.1 * np.sum(np.cos(5 * math.pi * x))) + 0.1 * len(x)


def dixon_price(c: Config) -> float:
    x = _vector(c)
    i = np.arange(2, len(x) + 1)
    return float((x[0] - 1) ** 2 + np.sum(i * (2 * x[1:] ** 2 - x[:-1]) ** 2))


def camel(c: Config) -> float:
    x, y = c["x0"], c["x1"]
    return (4 - 2.1 * x * x + x**4 / 3) * x * x + x * y + (-4 + 4 * y * y) * y * y


def goldstein(c: Config) -> float:
    x, y = c["x0"], c["x1"]
    a = 1 + (x + y + 1) ** 2 * (19 - 14 * x + 3 * x * x - 14 * y + 6 * x * y + 3 * y * y)
    b = 30 + (2 * x - 3 * y) ** 2 * (18 - 32 * x + 12 * x * x + 48 * y - 36 * x * y + 27 * y * y)
    return a * b


_SHEKEL_C = np.array([[4, 1, 8, 6, 3, 2, 5, 8, 6, 7], [4, 1, 8, 6, 7, 9, 3, 1, 2, 3.6]] * 2)
_SHEKEL_B = 0.1 * np.array([1, 2, 2, 4, 4, 6, 3, 7, 5, 5])


def shekel(c: Config) -> float:
    x = _vector(c)
    return -float(np.sum(1 / (np.sum((x[:, None] - _SHEKEL_C) ** 2, axis=0) + _SHEKEL_B)))


MIXED = Space(
    {
        "eta": Continuous(1e-3, 1.0, scaling="Logarithmic"),
        "decay": Continuous(1e-6, 1e-1, scaling="Logarithmic"),
        "momentum": Continuous(0.0, 0.99, scaling="ReverseLogarithmic"),
        "dropout": Continuous(0.0, 0.8, scaling="Linear"),
        "layers": Integer(1, 8),
        "units": Integer(8, 1024, scaling="Logarithmic"),
        "activation": Categorical(["relu", "tanh", "gelu", "selu"]),
    }
)
_ACTIVATION = {"relu": (0.05, -1.5), "tanh": (0.25, -2.0), "gelu": (0.0, -1.8), "selu": (0.15, -1.2)}


def mixed(c: Config) -> float:
    """Return a made-up validation loss: valleys along eta and momentum, depth and width, and activations."""
    offset, centre = _ACTIVATION[c["activation"]]
    rate = math.log10(c["eta"]) - math.log10(1 - c["momentum"]) - (centre + 0.6)
    decay = math.log10(c["decay"]) + 3.5
    capacity = math.log2(c["units"]) + 0.8 * c["layers"] - 10.6
    return (
        offset
        + 0.35 * rate**2
        + 0.05 * decay**2 * (1 + c["dropout"])
        + 0.12 * capacity**2
        + 0.9 * (c["dropout"] - 0.05 * c["layers"]) ** 2
        + 0.06 * abs(c["layers"] - 4)
        + 0.1 * (1 - math.cos(2 * rate))
    )


CATEGORIES = Space(
    {
        **{f"x{i}": Continuous(-1, 1, scaling="Linear") for i in range(2)},
        **{f"c{i}": Categorical(list("abcde")) for i in range(3)},
    }
)
_EFFECT = {"a": 0.5, "b": 0.0, "c": 0.9, "d": 0.3, "e": 0.7}


def categories(c: Config) -> float:
    k = [_EFFECT[c[f"c{i}"]] for i in range(3)]
    return sum(k) + 1.5 * (c["x0"] - k[0] + 0.3) ** 2 + (c["x1"] + 0.2 - k[1]) ** 2 + 0.6 * abs(k[0] - k[2])


def failing(base: Callable[[Config], float], forbidden: Callable[[Config], bool]) -> Callable[[Config], float]:
    def function(c: Config) -> float:
        if forbidden(c):
            raise EvaluationError
        return base(c)

    return function


def _sphere(c: Config) -> float:
    return float(np.sum((_vector(c) - 0.3) ** 2))


_x5 = ("x0", "x1", "x2", "x3", "x4")
LISTED = [
    Problem("branin", BRANIN, branin, 0.39788735772973816),
    Problem("hartmann6", box(6, 0, 1), hartmann6, -3.322368011415515),
    Problem("ackley5", box(5, -32.768, 32.768), ackley),
    Problem("rosenbrock4", box(4, -5, 10), rosenbrock),
    Problem("mixed7", MIXED, mixed, 0.0),
    Problem("noisy", box(6, 0, 1), hartmann6, -3.322368011415515, noise=0.2),
    Problem(
        "failing",
        BRANIN,
        failing(branin, lambda c: c["x0"] + 0.6 * c["x1"] > 11.5 or c["x0"] < -4.2),
        0.39788735772973816,
    ),
]
OTHERS = [
    Problem("camel", box(2, -2, 2), camel, -1.0316284534898774),
    Problem("goldstein", box(2, -2, 2), goldstein, 3.0),
    Problem("hartmann3", box(3, 0, 1), hartmann3, -3.86277978),
    Problem("shekel4", box(4, 0, 10), shekel, -10.536443153483534),
    Problem("levy4", box(4, -10, 10), levy),
    Problem("styblinski4", box(4, -5, 5), styblinski),
    Problem("griewank5", box(5, -100, 80), griewank),
    Problem("dixonprice5", box(5, -10, 10), dixon_price),
    Problem("ackley3", box(3, -20, 32), ackley),
    Problem("rosenbrock6", box(6, -2, 3), rosenbrock),
    Problem("categories5", CATEGORIES, categories, 0.0),
    Problem("noisy_levy3", box(3, -5, 5), levy, noise=0.5),
    Problem("levy5", box(5, -10, 10), levy),
    Problem("griewank4", box(4, -60, 80), griewank),
    Problem("styblinski5", box(5, -5, 5), styblinski),
    Problem("michalewicz5", box(5, 0, math.pi), michalewicz, -4.687658),
    Problem("alpine4", box(4, -6, 10), alpine),
    Problem("cosine_mixture4", box(4, -1, 0.7), cosine_mixture),
    Problem("failing4", box(4, 0, 1), failing(_sphere, lambda c: c["x0"] + c["x1"] > 1.2 or c["x2"] < 0.15), 0.0),
]
PROBLEMS = {p.name: p for p in LISTED + OTHERS}


def _cross_validated(make: Callable[[Config], Any], data: str, space: Space) -> Problem:
    """Return the 3-fold cross-validated log loss (or squared error) of a scikit-learn model as a problem."""
    from sklearn import datasets
    from sklearn.model_selection import cross_val_score

    X, y = getattr(datasets, f"load_{data}")(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(y))[:600]
    X, y = X[order], y[order]
    scoring = "neg_mean_squared_error" if data == "diabetes" else "neg_log_loss"

    def function(c: Config) -> float:
        return -float(np.mean(cross_val_score(make(c), X, y, cv=3, scoring=scoring)))

    return Problem(f"{make.__name__}_{data}", space, function, 0.0, real=True)


def real() -> list[Problem]:
    """Return models on data sets that scikit-learn ships; XGBoost where it is installed."""
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.neural_network import MLPClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import SVR

    def svm(c: Config) -> Any:
        return make_pipeline(StandardScaler(), SVR(C=c["C"], gamma=c["gamma"], epsilon=c["epsilon"]))

    # Its training is cut short on purpose.
    warnings.filterwarnings("ignore", category=ConvergenceWarning)

    def mlp(c: Config) -> Any:
        net = MLPClassifier(
            (c["units"],), alpha=c["alpha"], learning_rate_init=c["rate"], activation=c["activation"], max_iter=20,
            random_state=0,
        )  # fmt: skip
        return make_pipeline(StandardScaler(), net)

    def boosting(c: Config) -> Any:
        return HistGradientBoostingClassifier(
            learning_rate=c["rate"], max_leaf_nodes=c["leaves"], min_samples_leaf=c["samples"],
            l2_regularization=c["l2"], max_iter=30, early_stopping=False, random_state=0,
        )  # fmt: skip

    problems = [
        _cross_validated(
            svm,
            "diabetes",
            Space({"C": Continuous(1e-2, 1e4), "gamma": Continuous(1e-5, 10), "epsilon": Continuous(0.01, 50)}),
        ),
        _cross_validated(
            mlp,
            "digits",
            Space(
                {
                    "units": Integer(4, 128),
                    "alpha": Continuous(1e-6, 1e2),
                    "rate": Continuous(1e-4, 1e-1),
                    "activation": Categorical(["relu", "tanh", "logistic"]),
                }
            ),
        ),
        _cross_validated(
            boosting,
            "breast_cancer",
            Space(
                {
                    "rate": Continuous(1e-3, 1.0),
                    "leaves": Integer(2, 64),
                    "samples": Integer(1, 100),
                    "l2": Continuous(1e-6, 1e2),
                }
            ),
        ),
    ]
    try:
        from xgboost import XGBClassifier
    except ImportError:
        return problems

    def xgboost(c: Config) -> Any:
        return XGBClassifier(n_jobs=1, random_state=0, **c)

    space = Space({
        "learning_rate": Continuous(1e-3, 1.0), "max_depth": Integer(1, 10), "n_estimators": Integer(5, 100),
        "subsample": Continuous(0.3, 1.0), "colsample_bytree": Continuous(0.3, 1.0),
        "reg_lambda": Continuous(1e-4, 1e2), "min_child_weight": Continuous(1e-2, 1e2),
    })  # fmt: skip
    return [*problems, _cross_validated(xgboost, "breast_cancer", space)]
