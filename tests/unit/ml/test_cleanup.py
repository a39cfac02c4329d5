"""`sagespark.ml.delete` finds this package's models inside MLlib's, and goes on where one fails."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from pyspark.ml import PipelineModel

from sagespark.aws.session import SageMakerSession
from sagespark.core.errors import Resource, ServiceError
from sagespark.ml import delete
from sagespark.ml.cleanup import hosted_models
from sagespark.ml.clustering import KMeans, KMeansModel
from sagespark.ml.hosting import HostingRecord
from support.scripted import Script, Sent, error


def model(aws: SageMakerSession, name: str) -> KMeansModel:
    made = KMeansModel()
    made._take(HostingRecord(aws, modelName=name, created=[Resource("Model", name)]))
    return made


def test_models_are_found_wherever_mllib_keeps_them(aws: SageMakerSession) -> None:
    a, b, c, d = (model(aws, name) for name in "abcd")
    pipeline = PipelineModel([KMeans(), a])
    selection = SimpleNamespace(bestModel=pipeline, subModels=[[b, None], [PipelineModel([c])]])
    one_vs_rest = SimpleNamespace(models=[d, d])
    assert {id(m) for m in hosted_models([selection, one_vs_rest])} == {id(m) for m in (a, b, c, d)}
    assert list(hosted_models(d)) == [d]
    assert list(hosted_models([None, 5, "text", KMeans()])) == []


def test_one_that_fails_does_not_keep_the_others(aws: SageMakerSession, script: Script) -> None:
    def answer(sent: Sent) -> Any:
        return error("AccessDeniedException", "no") if sent.json["ModelName"] == "b" else {}

    script.always["DeleteModel"] = answer
    models = [model(aws, name) for name in "abc"]
    with pytest.raises(ServiceError, match="no") as caught:
        delete(models)
    assert caught.value.createdResources == (Resource("Model", "b"),)
    assert [m.createdResources for m in models] == [(), (Resource("Model", "b"),), ()]
    assert script.operations.count("DeleteModel") == 3
