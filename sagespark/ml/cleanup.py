"""Delete what models created, wherever they are inside other models."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sagespark.core.errors import SageSparkError
from sagespark.ml.model import HostedModel


def delete(model: Any) -> None:
    """Delete what this package created to host the models inside ``model``.

    Walks PipelineModel, OneVsRestModel, CrossValidatorModel, TrainValidationSplitModel and HyperparameterTunerModel
    (best model and, where they were collected, sub-models), lists and tuples; what is no model of this package is left
    alone. One that fails does not keep the others.

    Parameters
    ----------
    model : Model, or sequence of models

    Raises
    ------
    SageSparkError
        If something could not be deleted; ``createdResources`` is what is still there.
    """
    errors: list[SageSparkError] = []
    for hosted in hosted_models(model):
        try:
            hosted.delete()
        except SageSparkError as error:
            errors.append(error)
    if errors:
        errors[0].createdResources = tuple(dict.fromkeys(r for e in errors for r in e.createdResources))
        raise errors[0]


def hosted_models(model: Any) -> Iterator[HostedModel]:
    """Yield this package's models inside a model, each once."""
    seen: set[int] = set()
    pending = [model]
    while pending:
        one = pending.pop()
        if id(one) in seen:
            continue
        seen.add(id(one))
        if isinstance(one, HostedModel):
            yield one
        elif isinstance(one, list | tuple):
            pending += one
        elif hasattr(one, "_held_models"):
            # A tuner's model makes its sub-models on demand: only those that are there.
            pending += one._held_models()
        else:
            # pyspark's names: PipelineModel.stages, OneVsRestModel.models, CrossValidatorModel.bestModel, subModels.
            pending += [v for v in (getattr(one, n, None) for n in ("stages", "models", "bestModel", "subModels")) if v]
