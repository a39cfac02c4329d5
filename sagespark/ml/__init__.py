"""Estimators and models that train and predict on SageMaker, in MLlib's ways. Needs pyspark.

Names are resolved on first use, as in ``sagespark`` itself: an executor that only unpickles one helper of this package
does not load all of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sagespark.ml.cleanup import delete
    from sagespark.ml.generic import SageMakerEstimator, SageMakerModel

__all__ = ["SageMakerEstimator", "SageMakerModel", "delete"]

_HOMES = {"SageMakerEstimator": "generic", "SageMakerModel": "generic", "delete": "cleanup"}


def __getattr__(name: str) -> Any:
    import importlib

    if name not in _HOMES:
        raise AttributeError(f"module 'sagespark.ml' has no attribute {name!r}; it has {', '.join(__all__)}")
    value = globals()[name] = getattr(importlib.import_module(f"sagespark.ml.{_HOMES[name]}"), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
