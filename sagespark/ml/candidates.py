"""Candidates of CrossValidator and TrainValidationSplit: dropped ones take their endpoint along."""

from __future__ import annotations

import sys
import weakref
from functools import partial
from types import FrameType

from sagespark.ml import reaper
from sagespark.ml.made import HANDLES, Made


def delete_when_dropped(holder: object, made: Made) -> None:
    """Delete the hosting in ``made`` once nothing refers to ``holder`` any more."""
    reaper.start()
    # Not at exit: a candidate that is still held then was not dropped.
    weakref.finalize(holder, _drop, made).atexit = False


def _drop(made: Made) -> None:
    if any(r.kind in {cls.kind for cls in HANDLES} for r in made.resources):
        reaper.put(partial(made.delete_hosting, wait=False))


def in_model_selection() -> bool:
    """Tell whether a candidate of CrossValidator or TrainValidationSplit is being fitted in this thread.

    pyspark fits candidates in ``pyspark.ml.tuning._parallelFitTasks.singleTask`` (3.5 to 4.3) and keeps them only where
    ``collectSubModels`` asks for it.
    """
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        if frame.f_code.co_name == "singleTask" and frame.f_globals.get("__name__") == "pyspark.ml.tuning":
            return True
        frame = frame.f_back
    return False
