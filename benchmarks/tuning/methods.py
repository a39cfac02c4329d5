"""The tuners that are compared, each behind ask and tell.

Optuna's samplers are imported only when asked for: they live in an environment of their own (README.md).
"""

from __future__ import annotations

import importlib.metadata as metadata
from collections.abc import Callable
from typing import Any, Protocol

from sagespark.bayesopt import Bayesian, Categorical, Integer, Random, Sobol, Space, Strategy

Config = dict[str, Any]


class Tuner(Protocol):
    """Ask and tell; ``None`` is a failed evaluation."""

    def ask(self) -> tuple[Any, Config]:
        """Return an id and the configuration to evaluate."""
        ...

    def tell(self, id: Any, value: float | None) -> None:
        """Take the value of an evaluation; None where it failed."""
        ...

    def recommended(self) -> Config | None:
        """Return the configuration to go with; None while there is none."""
        ...


class Ours:
    """A strategy of this package."""

    packages = ("numpy", "scipy")

    def __init__(self, strategy: Strategy) -> None:
        self.strategy = strategy

    def ask(self) -> tuple[Any, Config]:
        """Return an id and the configuration to evaluate."""
        trial = self.strategy.ask()
        return trial.id, trial.config

    def tell(self, id: Any, value: float | None) -> None:
        """Take the value of an evaluation; None where it failed."""
        self.strategy.tell(id, value, status="Failed" if value is None else "Completed")

    def recommended(self) -> Config | None:
        """Return the configuration to go with; None while there is none."""
        trial = self.strategy.recommended
        return trial.config if trial else None


class Optuna:
    """A sampler of Optuna, with its defaults."""

    packages = ("numpy", "scipy", "optuna", "torch")

    def __init__(self, space: Space, seed: int, sampler: str) -> None:
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
        self.values: dict[int, tuple[float, Config]] = {}
        self.open: dict[int, Config] = {}

    def ask(self) -> tuple[Any, Config]:
        """Return an id and the configuration to evaluate."""
        trial = self.study.ask(self.distributions)
        self.open[trial.number] = dict(trial.params)
        return trial.number, dict(trial.params)

    def tell(self, id: Any, value: float | None) -> None:
        """Take the value of an evaluation; None where it failed."""
        if value is None:
            self.study.tell(id, state=self.optuna.trial.TrialState.FAIL)
        else:
            self.study.tell(id, value)
            self.values[id] = (value, self.open[id])

    def recommended(self) -> Config | None:
        """Return the configuration to go with; None while there is none."""
        return min(self.values.values(), key=lambda v: v[0])[1] if self.values else None


METHODS: dict[str, Callable[[Space, int], Tuner]] = {
    "sagespark": lambda space, seed: Ours(Bayesian(space, seed=seed)),
    "random": lambda space, seed: Ours(Random(space, seed=seed)),
    "sobol": lambda space, seed: Ours(Sobol(space, seed=seed)),
    "optuna_tpe": lambda space, seed: Optuna(space, seed, "TPESampler"),
    "optuna_gp": lambda space, seed: Optuna(space, seed, "GPSampler"),
}


def versions(tuner: Tuner) -> dict[str, str]:
    """Return the versions of what a tuner runs on."""
    found = {}
    for name in getattr(tuner, "packages", ()):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found
