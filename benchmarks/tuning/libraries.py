"""Other libraries' tuners behind ask and tell, with their defaults.

Each is imported only when asked for: they live in environments of their own (README.md).
"""

from __future__ import annotations

import datetime
from typing import Any

import numpy as np

from sagespark.bayesopt import Categorical, Integer, Space

Config = dict[str, Any]


class Library:
    """What every adapter keeps: what was asked for, and the values that came."""

    packages: tuple[str, ...] = ("numpy", "scipy")

    def __init__(self) -> None:
        self.open: dict[Any, Config] = {}
        self.values: list[tuple[float, Config]] = []

    def keep(self, id: Any, value: float | None) -> Config:
        """Move an evaluation from open to told; return its configuration."""
        config = self.open.pop(id)
        if value is not None:
            self.values.append((value, config))
        return config

    def recommended(self) -> Config | None:
        """Return the configuration with the best value; None while there is none."""
        return min(self.values, key=lambda v: v[0])[1] if self.values else None


class Optuna(Library):
    """A sampler of Optuna."""

    packages = ("numpy", "scipy", "optuna", "torch")

    def __init__(self, space: Space, seed: int, sampler: str) -> None:
        super().__init__()
        import optuna

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        if sampler == "GPSampler":
            import torch

            torch.set_num_threads(1)
        self.optuna = optuna
        self.study = optuna.create_study(sampler=getattr(optuna.samplers, sampler)(seed=seed))
        self.distributions: dict[str, Any] = {}
        for name, r in space.ranges.items():
            if isinstance(r, Categorical):
                self.distributions[name] = optuna.distributions.CategoricalDistribution(list(r.values))
            else:
                kind = "IntDistribution" if isinstance(r, Integer) else "FloatDistribution"
                # It has no reverse logarithm: such a range is linear there.
                log = r.scale == "Logarithmic"
                self.distributions[name] = getattr(optuna.distributions, kind)(r.minValue, r.maxValue, log=log)

    def ask(self) -> tuple[Any, Config]:
        """Return an id and the configuration to evaluate."""
        trial = self.study.ask(self.distributions)
        self.open[trial.number] = dict(trial.params)
        return trial.number, dict(trial.params)

    def tell(self, id: Any, value: float | None) -> None:
        """Take the value of an evaluation; None where it failed."""
        self.keep(id, value)
        if value is None:
            self.study.tell(id, state=self.optuna.trial.TrialState.FAIL)
        else:
            self.study.tell(id, value)


class SyneTune(Library):
    """``BayesianOptimization`` of syne-tune 0.13, the last one with a Gaussian process of its own."""

    packages = ("numpy", "scipy", "syne-tune")

    def __init__(self, space: Space, seed: int) -> None:
        super().__init__()
        import logging

        from syne_tune import config_space as ranges
        from syne_tune.backend.trial_status import Trial
        from syne_tune.optimizer.baselines import BayesianOptimization

        logging.disable(logging.WARNING)
        self.trial = Trial
        config_space: Config = {}
        for name, r in space.ranges.items():
            if isinstance(r, Categorical):
                config_space[name] = ranges.choice(list(r.values))
            elif isinstance(r, Integer):
                kind = ranges.lograndint if r.scale == "Logarithmic" else ranges.randint
                config_space[name] = kind(r.minValue, r.maxValue)
            else:
                kind = {"Logarithmic": ranges.loguniform, "ReverseLogarithmic": ranges.reverseloguniform}.get(
                    r.scale, ranges.uniform
                )
                config_space[name] = kind(r.minValue, r.maxValue)
        # Without its default first point, the middle of the space: there lies the minimum of ackley5.
        self.scheduler = BayesianOptimization(
            config_space, metric="loss", mode="min", random_seed=seed, points_to_evaluate=[]
        )
        self.asked = 0

    def ask(self) -> tuple[Any, Config]:
        """Return an id and the configuration to evaluate."""
        number, self.asked = self.asked, self.asked + 1
        config = dict(self.scheduler.suggest(number).config)
        self.open[number] = config
        self.scheduler.on_trial_add(self._trial(number))
        return number, config

    def _trial(self, number: int) -> Any:
        return self.trial(number, self.open[number], datetime.datetime.now())

    def tell(self, id: Any, value: float | None) -> None:
        """Take the value of an evaluation; None where it failed."""
        trial = self._trial(id)
        self.keep(id, value)
        if value is None:
            self.scheduler.on_trial_error(trial)
        else:
            self.scheduler.on_trial_complete(trial, {"loss": value})


class BoTorch(Library):
    """BoTorch's ``qLogNoisyExpectedImprovement`` over its ``SingleTaskGP``.

    It is a library of parts; the loop around it is the one of its tutorials: Sobol points first, outcomes standardised,
    categories one-hot, integers rounded, pending points as ``X_pending``; a failure has the worst value seen.
    """

    packages = ("numpy", "scipy", "botorch", "gpytorch", "torch")

    def __init__(self, space: Space, seed: int) -> None:
        super().__init__()
        import torch

        torch.set_num_threads(1)
        torch.manual_seed(seed)
        self.torch, self.space, self.asked = torch, space, 0
        self.points: list[tuple[list[float], float | None]] = []
        self.used: set[Any] = set()
        self.rng = np.random.default_rng(seed)
        self.sobol = torch.quasirandom.SobolEngine(len(space), scramble=True, seed=seed)
        self.first = 2 * len(space) + 1

    def _encode(self, config: Config) -> list[float]:
        out: list[float] = []
        for name, r in self.space.ranges.items():
            if isinstance(r, Categorical):
                out += [float(v == config[name]) for v in r.values]
            else:
                out.append(r.to_unit(config[name]))
        return out

    def _decode(self, x: list[float]) -> Config:
        config: Config = {}
        position = 0
        for name, r in self.space.ranges.items():
            if isinstance(r, Categorical):
                config[name] = r.values[int(np.argmax(x[position : position + r.size]))]
                position += r.size
            else:
                config[name] = r.from_unit(x[position])
                position += 1
        return config

    def ask(self) -> tuple[Any, Config]:
        """Return an id and the configuration to evaluate."""
        number, self.asked = self.asked, self.asked + 1
        if number < self.first or not self.values:
            config = self.space.from_unit(self.sobol.draw(1)[0].double().numpy())
        else:
            config = self._suggest()
        while self.space.key(config) in self.used:
            config = self.space.from_unit(self.rng.random(len(self.space)))
        self.used.add(self.space.key(config))
        self.open[number] = config
        return number, config

    def _suggest(self) -> Config:
        from botorch.acquisition import qLogNoisyExpectedImprovement
        from botorch.fit import fit_gpytorch_mll
        from botorch.models import SingleTaskGP
        from botorch.optim import optimize_acqf
        from gpytorch.mlls import ExactMarginalLogLikelihood

        def tensor(rows: Any) -> Any:
            return self.torch.tensor(rows, dtype=self.torch.double)

        worst = max(v for v, _ in self.values)
        X = tensor([x for x, _ in self.points])
        y = tensor([[-(worst if value is None else value)] for _, value in self.points])
        model = SingleTaskGP(X, y)
        fit_gpytorch_mll(ExactMarginalLogLikelihood(model.likelihood, model))
        pending = tensor([self._encode(c) for c in self.open.values()]) if self.open else None
        acquisition = qLogNoisyExpectedImprovement(model, X, X_pending=pending, prune_baseline=True)
        bounds = tensor([[0.0] * X.shape[1], [1.0] * X.shape[1]])
        found, _ = optimize_acqf(acquisition, bounds, q=1, num_restarts=10, raw_samples=512)
        return self._decode(found[0].tolist())

    def tell(self, id: Any, value: float | None) -> None:
        """Take the value of an evaluation; None where it failed."""
        self.points.append((self._encode(self.keep(id, value)), value))


class ScikitOptimize(Library):
    """``Optimizer`` of scikit-optimize with its Gaussian process; a failure has the worst value seen."""

    packages = ("numpy", "scipy", "scikit-learn", "scikit-optimize")

    def __init__(self, space: Space, seed: int) -> None:
        super().__init__()
        import warnings

        import skopt

        warnings.filterwarnings("ignore")
        dimensions: list[Any] = []
        for r in space.ranges.values():
            if isinstance(r, Categorical):
                dimensions.append(skopt.space.Categorical(list(r.values)))
            else:
                kind = skopt.space.Integer if isinstance(r, Integer) else skopt.space.Real
                # It has no reverse logarithm: such a range is linear there.
                prior = "log-uniform" if r.scale == "Logarithmic" else "uniform"
                dimensions.append(kind(r.minValue, r.maxValue, prior=prior))
        self.space, self.asked = space, 0
        self.optimizer = skopt.Optimizer(dimensions, "GP", random_state=seed)

    def ask(self) -> tuple[Any, Config]:
        """Return an id and the configuration to evaluate."""
        number, self.asked = self.asked, self.asked + 1
        values = [v.item() if isinstance(v, np.generic) else v for v in self.optimizer.ask()]
        self.open[number] = dict(zip(self.space.ranges, values, strict=True))
        return number, self.open[number]

    def tell(self, id: Any, value: float | None) -> None:
        """Take the value of an evaluation; None where it failed."""
        config = self.keep(id, value)
        worst = max((v for v, _ in self.values), default=0.0)
        self.optimizer.tell([config[name] for name in self.space.ranges], worst if value is None else value)
