"""The strategies of a tuning job: :mod:`sagespark.bayesopt`'s, as its config asks for them."""

from __future__ import annotations

import zlib
from typing import Any

from sagespark.bayesopt import Bayesian, Grid, Hyperband, Random, Strategy
from sagespark.core.errors import ValidationError
from sagespark.local.tuning.definitions import Definition, Request, definitions, early_stopping, integer
from sagespark.local.tuning.journal import Journal

EPOCHS = ("epochs", "numepochs", "n-epochs", "n_epochs", "num_epochs")
"""Static hyperparameters that Hyperband's MaxResource is inferred from (API reference)."""
MOST_RESOURCE = 20_000
"""The largest MaxResource (API reference)."""


def strategies(document: Request, journal: Journal) -> list[Strategy]:
    """Return the strategy of each definition, as it was when the journal was written.

    Raises
    ------
    ValidationError
        If a range or Hyperband's resources cannot be used.
    """
    config = document["HyperParameterTuningJobConfig"]
    # Without a seed two tuning jobs search differently, and each goes on after a restart as it began.
    seed = config.get("RandomSeed", _hash(document["HyperParameterTuningJobName"]))
    found: list[Strategy] = []
    for index, definition in enumerate(definitions(document)):
        history = journal.events.get(index, [])
        arguments: dict[str, Any] = {
            "direction": definition.direction,
            "seed": seed + index,
            "history": history,
            "earlyStopping": "Median" if early_stopping(document) else "Off",
        }
        space = definition.space()
        if config["Strategy"] == "Hyperband":
            low, high = resources(config, definition)
            found.append(Hyperband(space, minResource=low, maxResource=high, **arguments))
        else:
            kind = {"Bayesian": Bayesian, "Random": Random, "Grid": Grid}[config["Strategy"]]
            found.append(kind(space, **arguments))
    return found


def resources(config: Request, definition: Definition) -> tuple[int, int]:
    """Return Hyperband's MinResource and MaxResource, the latter inferred from static hyperparameters where absent.

    Raises
    ------
    ValidationError
        If it cannot be inferred, or is too large.
    """
    given = config.get("StrategyConfig", {}).get("HyperbandStrategyConfig", {})
    high = given.get("MaxResource")
    if high is None:
        texts = [definition.static[name] for name in EPOCHS if name in definition.static]
        try:
            high = integer(texts[0])
        except (IndexError, ValueError):
            raise ValidationError(
                "Hyperband could not infer MaxResource: set StrategyConfig.HyperbandStrategyConfig.MaxResource, or one "
                f"of the static hyperparameters {', '.join(EPOCHS)}."
            ) from None
    if high > MOST_RESOURCE:
        raise ValidationError(f"Hyperband's MaxResource must be at most {MOST_RESOURCE}, but got {high}.")
    return int(given.get("MinResource", 1)), int(high)


def _hash(name: str) -> int:
    """Return a number that a name gives in every process."""
    return zlib.crc32(name.encode())
