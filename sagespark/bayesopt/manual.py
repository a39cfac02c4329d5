"""Configurations from a list."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sagespark.bayesopt.space import Config, Space
from sagespark.bayesopt.strategy import Strategy
from sagespark.bayesopt.trial import Exhausted
from sagespark.core.errors import ValidationError


class Manual(Strategy):
    """Hands out a list of configurations in order, leaving out those that were added already.

    Parameters
    ----------
    space, direction, seed, history, earlyStopping
        As for every strategy; nothing is drawn.
    configs : sequence of mapping
        Configurations of the space, each once.

    Raises
    ------
    ValidationError
        If a configuration is not in the space or occurs twice.
    """

    def __init__(
        self,
        space: Space,
        direction: str = "minimize",
        seed: int = 0,
        history: Iterable[Mapping[str, Any]] = (),
        earlyStopping: str = "Off",
        *,
        configs: Sequence[Mapping[str, Any]],
    ) -> None:
        super().__init__(space, direction, seed, history, earlyStopping)
        problems = [f"configs[{i}]: {p}" for i, c in enumerate(configs) for p in space.problems(c)]
        if problems:
            raise ValidationError(problems, "Manual")
        self.configs = tuple(space.check(c) for c in configs)
        first: dict[Any, int] = {}
        for i, config in enumerate(self.configs):
            if first.setdefault(space.key(config), i) != i:
                problems.append(f"configs[{i}] repeats configs[{first[space.key(config)]}]: {config!r}")
        if problems:
            raise ValidationError(problems, "Manual")

    def _suggest(self) -> tuple[Config, int | None, Any]:
        for config in self.configs:
            if not self._is_used(config):
                return config, None, None
        raise Exhausted(f"all {len(self.configs)} configurations of the list were tried")
