"""Amazon SageMaker from Spark: estimators and models that train, host and predict, in pure Python.

Importing this package imports nothing: each name is resolved on first use, so that ``sagespark.aws`` or
``sagespark.codecs`` load without pyspark.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sagespark import bayesopt, codecs, tracking
    from sagespark.aws.session import SageMakerSession
    from sagespark.embedded import LocalSageMaker

__all__ = ["LocalSageMaker", "SageMakerSession", "__version__", "bayesopt", "codecs", "tracking"]

__version__: str

_CLASSES = {"LocalSageMaker": "sagespark.embedded", "SageMakerSession": "sagespark.aws.session"}
_MODULES = ("bayesopt", "codecs", "tracking")


def __getattr__(name: str) -> Any:
    import importlib

    if name in _CLASSES:
        value = getattr(importlib.import_module(_CLASSES[name]), name)
    elif name in _MODULES:
        value = importlib.import_module(f"sagespark.{name}")
    elif name == "__version__":
        value = importlib.import_module("sagespark.aws.clients").version()
    else:
        raise AttributeError(f"module 'sagespark' has no attribute {name!r}; it has {', '.join(__all__)}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
