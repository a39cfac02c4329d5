"""PCA from a DataFrame to projections on the embedded service."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from pyspark.ml import Pipeline, PipelineModel
from pyspark.ml import feature as mllib
from pyspark.ml.feature import VectorAssembler
from pyspark.ml.linalg import DenseMatrix, DenseVector, Vectors, VectorUDT
from sklearn import decomposition
from sklearn.datasets import load_digits

from sagespark.aws.training_job import TrainingJob
from sagespark.core.errors import ValidationError
from sagespark.ml.feature import PCA, PCAModel
from sagespark.ml.progress import ProgressListener

pytestmark = pytest.mark.spark

QUIET = [ProgressListener("off")]
K = 5


def pca(**params: Any) -> PCA:
    return PCA(**{"k": K, "inputCol": "pixels", "outputCol": "projected", "listeners": QUIET, **params})


def pixels() -> np.ndarray:
    return load_digits().data[:500]


@pytest.fixture(scope="module")
def digits(spark: Any) -> Iterator[Any]:
    """Rows of which every other one is sparse."""
    rows = [
        (i, Vectors.dense(row) if i % 2 else Vectors.sparse(64, np.flatnonzero(row), row[row != 0]))
        for i, row in enumerate(pixels())
    ]
    frame = spark.createDataFrame(rows, ["id", "pixels"]).cache()
    yield frame
    frame.unpersist()


@pytest.fixture(scope="module")
def fitted(service: Any, digits: Any) -> Iterator[PCAModel]:
    """One model for the tests that only look at it."""
    with service.activated(), pca(testDataset=digits.limit(40)).fit(digits) as model:
        yield model


def projected(model: Any, frame: Any) -> np.ndarray:
    rows = model.transform(frame).orderBy("id").collect()
    return np.array([row[model.getOutputCol()].toArray() for row in rows])


def test_equal_to_scikit_learn_up_to_sign(fitted: PCAModel, digits: Any) -> None:
    alone = decomposition.PCA(K, svd_solver="full").fit(pixels())
    pc = fitted.pc.toArray()
    signs = np.sign((pc * alone.components_.T).sum(axis=0))
    np.testing.assert_allclose(pc * signs, alone.components_.T, atol=1e-6)
    np.testing.assert_allclose(fitted.singularValues, alone.singular_values_, rtol=1e-6)
    np.testing.assert_allclose(fitted.explainedVariance, alone.explained_variance_ratio_, rtol=1e-6)
    np.testing.assert_allclose(fitted.mean, alone.mean_, rtol=1e-6)
    np.testing.assert_allclose(projected(fitted, digits) * signs, alone.transform(pixels()), atol=1e-4)


def test_equal_to_mllib_up_to_sign_and_the_mean(fitted: PCAModel, digits: Any) -> None:
    """MLlib does not centre what it projects: the difference is pc' mean in every row."""
    theirs = mllib.PCA(k=K, inputCol="pixels", outputCol="projected").fit(digits)
    pc = theirs.pc.toArray()
    signs = np.sign((pc * fitted.pc.toArray()).sum(axis=0))
    np.testing.assert_allclose(fitted.pc.toArray() * signs, pc, atol=1e-6)
    np.testing.assert_allclose(fitted.explainedVariance, theirs.explainedVariance, rtol=1e-6)
    offset = pc.T @ fitted.mean.toArray()
    np.testing.assert_allclose(projected(fitted, digits) * signs + offset, projected(theirs, digits), atol=1e-4)


def test_what_it_is_made_of(fitted: PCAModel, digits: Any, session: Any) -> None:
    assert isinstance(fitted.pc, DenseMatrix)
    assert (fitted.pc.numRows, fitted.pc.numCols) == (64, K)
    assert isinstance(fitted.explainedVariance, DenseVector)
    assert fitted.numFeatures == 64
    assert fitted.getK() == fitted.getNumComponents() == K
    assert fitted.getMiniBatchSize() == 1000
    fitted.pc.values[:] = 0
    fitted.mean.values[:] = 0
    assert fitted.pc.values.any()
    assert fitted.mean.values.any()
    answer = fitted.transform(digits)
    assert answer.columns == ["id", "pixels", "projected"]
    assert answer.schema["projected"].dataType == VectorUDT()
    assert fitted.transformSchema(digits.schema)["projected"].dataType == VectorUDT()
    assert [r.kind for r in fitted.createdResources] == [
        "TrainingJob",
        "S3Object",
        "Model",
        "EndpointConfig",
        "Endpoint",
    ]
    job = TrainingJob(session, fitted.trainingJobName).describe()
    assert job["HyperParameters"] == {"feature_dim": "64", "num_components": "5", "mini_batch_size": "1000"}
    metrics = fitted._hosting().metrics
    assert {"train:progress", "train:throughput", "train:total_squares", "test:reconstruction_msd"} <= set(metrics)
    alone = decomposition.PCA(K, svd_solver="full").fit(pixels())
    left = pixels() - alone.inverse_transform(alone.transform(pixels()))
    every = (left**2).sum(axis=1)
    assert metrics["test:reconstruction_msd"] == pytest.approx(every[:40].mean(), rel=1e-4)


def test_the_documentations_example_of_pyspark(spark: Any, session: Any, tmp_path: Any) -> None:
    """pyspark's own text with the import changed; its projection less pc' mean, up to sign."""
    data = [(Vectors.sparse(5, [(1, 1.0), (3, 7.0)]),),
            (Vectors.dense([2.0, 0.0, 3.0, 4.0, 5.0]),),
            (Vectors.dense([4.0, 0.0, 0.0, 6.0, 7.0]),)]  # fmt: skip
    df = spark.createDataFrame(data, ["features"])
    pca = PCA(k=2, inputCol="features")
    pca.setOutputCol("pca_features")
    model = pca.fit(df)
    assert model.getK() == 2
    model.setOutputCol("output")
    row = model.transform(df).collect()[0]
    offset = model.pc.toArray().T @ model.mean.toArray()
    np.testing.assert_allclose(np.abs(row.output.toArray() + offset), [1.6485728, 4.0132827], atol=1e-5)
    np.testing.assert_allclose(model.explainedVariance, [0.7943932, 0.2056068], atol=1e-6)
    pcaPath = str(tmp_path / "pca")
    pca.save(pcaPath)
    loadedPca = PCA.load(pcaPath)
    assert loadedPca.getK() == pca.getK()
    modelPath = str(tmp_path / "pca-model")
    model.save(modelPath)
    loadedModel = PCAModel.load(modelPath)
    assert loadedModel.pc == model.pc
    assert loadedModel.explainedVariance == model.explainedVariance
    assert loadedModel.transform(df).take(1) == model.transform(df).take(1)
    model.delete()


def test_in_a_pipeline_saved_and_loaded(spark: Any, session: Any, tmp_path: Any) -> None:
    rows = np.random.default_rng(4).normal(size=(80, 3)) * [3, 1, 0.1] + [5, -2, 0]
    df = spark.createDataFrame([(i, *map(float, row)) for i, row in enumerate(rows)], ["id", "a", "b", "c"])
    stages = [
        VectorAssembler(inputCols=["a", "b", "c"], outputCol="v"),
        PCA(k=1, inputCol="v", outputCol="p", listeners=QUIET),
    ]
    model = Pipeline(stages=stages).fit(df)
    with model.stages[-1]:
        alone = decomposition.PCA(1).fit(rows)
        answer = projected(model.stages[-1], model.stages[0].transform(df))
        assert answer.shape == (80, 1)
        signs = np.sign(float(model.stages[-1].pc.toArray()[:, 0] @ alone.components_[0]))
        np.testing.assert_allclose(answer * signs, alone.transform(rows), atol=1e-5)
        model.write().overwrite().save(str(tmp_path / "model"))
        again = PipelineModel.load(str(tmp_path / "model"))
        assert again.transform(df).collect() == model.transform(df).collect()
    Pipeline(stages=stages).save(str(tmp_path / "pipeline"))
    assert Pipeline.load(str(tmp_path / "pipeline")).getStages()[-1].getK() == 1


def test_modes_and_the_mean(spark: Any, session: Any, digits: Any) -> None:
    found = pca(
        algorithmMode="randomized", extraComponents=20, subtractMean=False, miniBatchSize=64, seed=3,
        endpointPolicy="never",
    ).fit(digits)  # fmt: skip
    _, s, vt = np.linalg.svd(pixels(), full_matrices=False)
    np.testing.assert_allclose(found.singularValues, s[:K], rtol=1e-5)
    np.testing.assert_allclose(np.abs((found.pc.toArray() * vt[:K].T).sum(axis=0)), 1, atol=1e-5)
    np.testing.assert_allclose(found.explainedVariance, s[:K] ** 2 / (s**2).sum(), rtol=1e-5)
    assert found.mean is None
    job = TrainingJob(session, found.trainingJobName).describe()
    assert job["HyperParameters"]["subtract_mean"] == "False"
    assert job["Environment"]["SAGESPARK_SEED"] == "3"


def test_explained_variance_where_the_job_reports_no_total(fitted: PCAModel, digits: Any) -> None:
    """As AWS's container: one pass over the training rows, which is then saved with the model."""
    expected = fitted.explainedVariance
    record = fitted._hosting()
    told = record.metrics.pop("train:total_squares")
    try:
        np.testing.assert_allclose(fitted.explainedVariance, expected, rtol=1e-9)
        assert record.metrics.pop("train:total_squares") == pytest.approx(told, rel=1e-9)
        handle = pickle.loads(pickle.dumps(fitted))
        with pytest.raises(ValidationError, match="use singularValues"):
            _ = handle.explainedVariance
    finally:
        record.metrics["train:total_squares"] = told


def test_other_ways_to_a_model(fitted: PCAModel, digits: Any) -> None:
    columns = {"inputCol": "pixels", "outputCol": "projected"}
    few = digits.filter("id < 20")
    attached = PCAModel.fromEndpoint(fitted.endpointName, **columns)
    np.testing.assert_array_equal(projected(attached, few), projected(fitted, few))
    from_job = PCAModel.fromTrainingJob(fitted.trainingJobName, listeners=QUIET, **columns)
    assert from_job.getK() == K
    assert from_job.pc == fitted.pc
    assert from_job.explainedVariance == fitted.explainedVariance
    bare = PCAModel.fromModelData(fitted.modelData)
    assert bare.numFeatures == 64
    with pytest.raises(ValidationError, match="no total variance"):
        _ = bare.explainedVariance


def test_what_is_asked_for_before_anything_is_created(spark: Any, session: Any, digits: Any) -> None:
    with pytest.raises(ValidationError) as caught:
        PCA().plan(digits.schema)
    text = str(caught.value)
    assert "k is required by SageMaker (num_components)" in text
    assert "inputCol: name the column of features" in text
    assert "featuresCols" not in text
    with pytest.raises(ValidationError, match="inputCol: column 'id' must be an ml Vector"):
        pca(inputCol="id").plan(digits.schema)
    default = PCA(k=1, inputCol="pixels")
    assert default.getOutputCol() == f"{default.uid}__output"
    assert default.transformSchema(digits.schema).names[-1] == f"{default.uid}__output"
