"""Estimators and models that train and predict on SageMaker, in MLlib's ways. Needs pyspark.

Names are resolved on first use, as in ``sagespark`` itself: an executor that only unpickles one helper of this package
does not load all of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sagespark.data.formats import Deserializer, Serializer
    from sagespark.ml.cleanup import delete
    from sagespark.ml.generic import SageMakerEstimator, SageMakerModel
    from sagespark.ml.inputs import TrainingInput

__all__ = ["Deserializer", "SageMakerEstimator", "SageMakerModel", "Serializer", "TrainingInput", "delete"]

_HOMES = {
    "Deserializer": "sagespark.data.formats",
    "SageMakerEstimator": "sagespark.ml.generic",
    "SageMakerModel": "sagespark.ml.generic",
    "Serializer": "sagespark.data.formats",
    "TrainingInput": "sagespark.ml.inputs",
    "delete": "sagespark.ml.cleanup",
}


def __getattr__(name: str) -> Any:
    import importlib

    if name not in _HOMES:
        raise AttributeError(f"module 'sagespark.ml' has no attribute {name!r}; it has {', '.join(__all__)}")
    value = globals()[name] = getattr(importlib.import_module(_HOMES[name]), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
