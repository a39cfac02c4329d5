"""The tuners that are compared, each behind ask and tell.

Those of other libraries are in :mod:`libraries`.
"""

from __future__ import annotations

import importlib.metadata as metadata
from collections.abc import Callable
from typing import Any, Protocol

from libraries import BoTorch, Optuna, ScikitOptimize, SyneTune

from sagespark.bayesopt import Bayesian, Random, Sobol, Space, Strategy

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


METHODS: dict[str, Callable[[Space, int], Tuner]] = {
    "sagespark": lambda space, seed: Ours(Bayesian(space, seed=seed)),
    "random": lambda space, seed: Ours(Random(space, seed=seed)),
    "sobol": lambda space, seed: Ours(Sobol(space, seed=seed)),
    "optuna_tpe": lambda space, seed: Optuna(space, seed, "TPESampler"),
    "optuna_gp": lambda space, seed: Optuna(space, seed, "GPSampler"),
    "syne_tune": SyneTune,
    "botorch": BoTorch,
    "scikit_optimize": ScikitOptimize,
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
