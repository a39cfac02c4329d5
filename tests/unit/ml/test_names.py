"""Public names, where they live, and what using one loads."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

HEAVY = ("pyspark", "boto3", "sklearn", "mlflow", "uvicorn", "matplotlib", "pandas", "numpy", "pyarrow")


def loaded(code: str) -> set[str]:
    """Return the top-level modules, of HEAVY and of the package's layers, that the code loads."""
    report = (
        "import json, sys\n"
        "names = set(m.partition('.')[0] for m in sys.modules)\n"
        "names |= set('sagespark.' + m.split('.')[1] for m in sys.modules if m.startswith('sagespark.'))\n"
        "print(json.dumps(sorted(names)))\n"
    )
    answer = subprocess.run(
        [sys.executable, "-c", f"{code}\n{report}"], capture_output=True, text=True, timeout=120, check=True
    )
    return {n for n in json.loads(answer.stdout.splitlines()[-1]) if n in HEAVY or n.startswith("sagespark.")}


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("import sagespark", set()),
        ("from sagespark import SageMakerSession", {"sagespark.core", "sagespark.aws", "boto3"}),
    ],
)
def test_exactly_this_is_loaded(code: str, expected: set[str]) -> None:
    assert loaded(code) == expected


@pytest.mark.parametrize(
    ("code", "unwanted"),
    [
        ("from sagespark import bayesopt", {"pyspark", "boto3", "sklearn", "sagespark.aws", "sagespark.ml"}),
        ("import sagespark.ml.clustering", {"mlflow", "sklearn", "uvicorn", "matplotlib", "sagespark.local"}),
        ("import sagespark.ml.tuning", {"mlflow", "sklearn", "uvicorn", "matplotlib", "sagespark.local"}),
        ("import sagespark.ml.feature", {"mlflow", "sklearn", "uvicorn", "matplotlib", "sagespark.local"}),
        ("from sagespark import LocalSageMaker", {"pyspark", "sklearn", "sagespark.ml"}),
    ],
)
def test_these_are_not_loaded(code: str, unwanted: set[str]) -> None:
    assert not loaded(code) & unwanted


def test_names_at_the_top() -> None:
    import sagespark
    from sagespark import ml

    assert set(sagespark.__all__) <= set(dir(sagespark))
    for name in sagespark.__all__:
        assert getattr(sagespark, name) is not None
    assert sagespark.__version__ not in ("", "0")
    with pytest.raises(AttributeError, match="has no attribute 'KMeans'; it has LocalSageMaker"):
        _ = sagespark.KMeans
    assert set(ml.__all__) == {
        "Deserializer",
        "SageMakerEstimator",
        "SageMakerModel",
        "Serializer",
        "TrainingInput",
        "delete",
    }
    for name in ml.__all__:
        assert getattr(ml, name) is not None
    with pytest.raises(AttributeError, match="has no attribute 'KMean'"):
        _ = ml.KMean


def test_classes_live_where_users_import_them_from() -> None:
    from sagespark.ml import (
        SageMakerEstimator,
        SageMakerModel,
        anomaly,
        classification,
        clustering,
        feature,
        regression,
    )

    for cls in (SageMakerEstimator, SageMakerModel):
        assert cls.__module__ == "sagespark.ml"
    for name in clustering.__all__:
        assert getattr(clustering, name).__module__ in ("sagespark.ml.clustering", "sagespark.ml.summary")
    assert {"LDA", "LDAModel"} < set(clustering.__all__)
    assert set(anomaly.__all__) == {"RandomCutForest", "RandomCutForestModel"}
    for name in anomaly.__all__:
        assert getattr(anomaly, name).__module__ == "sagespark.ml.anomaly"
    for module in (classification, regression):
        for name in module.__all__:
            assert getattr(module, name).__module__ == module.__name__
    assert set(feature.__all__) == {"PCA", "PCAModel"}
    for name in feature.__all__:
        assert getattr(feature, name).__module__ == "sagespark.ml.feature"
