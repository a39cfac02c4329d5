"""What happens after each round of boosting: a log line, a checkpoint, a model that a stopped job leaves behind."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import xgboost
from xgboost.callback import EvaluationMonitor, TrainingCallback

MODEL_FILE = "xgboost-model"
"""Member of ``model.tar.gz``, as AWS's container calls it; XGBoost's own format, UBJSON."""
CHECKPOINT = "xgboost-checkpoint"
"""Checkpoints are ``xgboost-checkpoint.N`` after round N, as AWS's container calls them."""
KEPT_CHECKPOINTS = 5


def log_rounds() -> TrainingCallback:
    """Return what writes the metrics of each round, tabs as CloudWatch Logs shows those of AWS's container."""

    def write(line: str) -> None:
        print(line.strip().replace("\t", "#011"), flush=True)

    return EvaluationMonitor(logger=write)


def save(booster: xgboost.Booster, path: Path) -> None:
    """Write a model, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.part")
    part.write_bytes(booster.save_raw("ubj"))
    os.replace(part, path)


class SaveEachRound(TrainingCallback):
    """Keep the artifact up to date, so that a job that is stopped has a model."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path

    def after_iteration(self, model: Any, epoch: int, evals_log: Any) -> bool:
        """Save; never end the training."""
        save(model, self._path)
        return False


class Checkpoints(TrainingCallback):
    """Keep the last rounds in the checkpoint folder."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self._folder = folder

    def after_iteration(self, model: Any, epoch: int, evals_log: Any) -> bool:
        """Save; never end the training."""
        # XGBoost counts from the rounds of the model that it goes on from, which this process did not train.
        save(model, self._folder / f"{CHECKPOINT}.{model.num_boosted_rounds() - 1}")
        for path in checkpoints(self._folder)[:-KEPT_CHECKPOINTS]:
            path.unlink(missing_ok=True)
        return False


def checkpoints(folder: Path) -> list[Path]:
    """Return the checkpoints of a folder by round."""
    found = [path for path in folder.glob(f"{CHECKPOINT}.*") if re.fullmatch(rf"{CHECKPOINT}\.\d+", path.name)]
    return sorted(found, key=lambda path: int(path.suffix[1:]))


def resumed(folder: Path) -> xgboost.Booster | None:
    """Return the newest checkpoint that can be read, None without one."""
    for path in reversed(checkpoints(folder)):
        try:
            return xgboost.Booster(model_file=bytearray(path.read_bytes()))
        except (xgboost.core.XGBoostError, OSError):
            continue
    return None
