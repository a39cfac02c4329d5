"""K-means from a DataFrame to predictions on the embedded service."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from pyspark.ml.linalg import DenseVector, Vectors
from pyspark.sql import functions
from pyspark.sql.types import DoubleType, IntegerType
from sklearn.cluster import KMeans as LocalKMeans
from sklearn.datasets import load_digits

from sagespark.aws.endpoint import Endpoint
from sagespark.aws.endpoint_config import EndpointConfig
from sagespark.aws.model import Model
from sagespark.aws.training_job import TrainingJob
from sagespark.core.errors import DataError, JobFailedError, ValidationError
from sagespark.core.s3uri import S3Uri
from sagespark.ml.clustering import KMeans, KMeansModel
from sagespark.ml.progress import ProgressListener

pytestmark = pytest.mark.spark

QUIET = [ProgressListener("off")]


def km(**params: Any) -> KMeans:
    return KMeans(**{"k": 3, "seed": 1, "extraCenterFactor": 1, "listeners": QUIET, **params})


@pytest.fixture(scope="module")
def digits(spark: Any) -> Iterator[Any]:
    data = load_digits().data
    rows = [(i, Vectors.dense(row), f"name-{i}") for i, row in enumerate(data[:600])]
    frame = spark.createDataFrame(rows, ["id", "features", "name"]).coalesce(1).cache()
    yield frame
    frame.unpersist()


@pytest.fixture(scope="module")
def fitted(service: Any, digits: Any) -> Iterator[KMeansModel]:
    """One model for the tests that only look at it."""
    with service.activated(), km(k=10, localLloydNumTrials=2).fit(digits) as model:
        yield model


def test_the_documentations_example_of_pyspark(spark: Any, session: Any, tmp_path: Any) -> None:
    """pyspark's own text, with the import changed and without its setWeightCol line."""
    data = [(Vectors.dense([0.0, 0.0]), 2.0), (Vectors.dense([1.0, 1.0]), 2.0),
            (Vectors.dense([9.0, 8.0]), 2.0), (Vectors.dense([8.0, 9.0]), 2.0)]  # fmt: skip
    df = spark.createDataFrame(data, ["features", "weighCol"])
    kmeans = KMeans(k=2)
    kmeans.setSeed(1)
    kmeans.setMaxIter(10)
    assert kmeans.getMaxIter() == 10
    kmeans.clear(kmeans.maxIter)
    assert kmeans.getSolver() == "auto"
    model = kmeans.fit(df)
    assert model.getMaxBlockSizeInMB() == 0.0
    assert model.getDistanceMeasure() == "euclidean"
    model.setPredictionCol("newPrediction")
    first = model.predict(df.head().features)
    assert first in (0, 1)
    centers = model.clusterCenters()
    assert len(centers) == 2
    transformed = model.transform(df).select("features", "newPrediction")
    rows = transformed.collect()
    assert rows[0].newPrediction == rows[1].newPrediction == first
    assert rows[2].newPrediction == rows[3].newPrediction == 1 - first
    assert model.hasSummary
    summary = model.summary
    assert summary.k == 2
    assert summary.clusterSizes == [2, 2]
    assert summary.trainingCost == 2.0
    kmeans_path = str(tmp_path / "kmeans")
    kmeans.save(kmeans_path)
    kmeans2 = KMeans.load(kmeans_path)
    assert kmeans2.getK() == 2
    model_path = str(tmp_path / "kmeans_model")
    model.save(model_path)
    model2 = KMeansModel.load(model_path)
    assert not model2.hasSummary
    assert (model.clusterCenters()[0] == model2.clusterCenters()[0]).all()
    assert (model.clusterCenters()[1] == model2.clusterCenters()[1]).all()
    assert model.transform(df).take(1) == model2.transform(df).take(1)
    model.delete()


def test_equal_to_scikit_learn_on_the_same_rows(fitted: KMeansModel, digits: Any) -> None:
    rows = fitted.transform(digits).orderBy("id").collect()
    pixels = np.array([row.features.toArray() for row in rows], np.float32)
    alone = LocalKMeans(10, init="k-means++", n_init=2, max_iter=300, tol=1e-4, random_state=1).fit(pixels)
    centers = np.array(fitted.clusterCenters())
    np.testing.assert_allclose(centers, alone.cluster_centers_, rtol=1e-6, atol=1e-12)
    labels = np.array([row.prediction for row in rows])
    distances = np.linalg.norm(pixels[:, None, :].astype(np.float64) - centers[None], axis=2)
    ties = np.isclose(np.partition(distances, 1, axis=1)[:, 0], np.partition(distances, 1, axis=1)[:, 1], rtol=1e-7)
    assert (labels == alone.labels_)[~ties].all()
    np.testing.assert_allclose([row.distance_to_cluster for row in rows], distances.min(axis=1), rtol=1e-5)
    assert fitted.summary.trainingCost == pytest.approx(alone.inertia_, rel=1e-6)
    assert fitted.summary.clusterSizes == np.bincount(alone.labels_, minlength=10).tolist()
    assert fitted.summary.numIter == alone.n_iter_


def test_output_columns_and_what_passes_through(fitted: KMeansModel, digits: Any, spark: Any) -> None:
    odd = digits.withColumn(
        "nested",
        functions.struct(
            functions.array(functions.lit(1)),
            functions.create_map(functions.lit("a"), functions.lit(None).cast("date")),
        ),
    )
    answer = fitted.transform(odd)
    assert answer.columns == [*odd.columns, "prediction", "distance_to_cluster"]
    assert answer.schema["prediction"].dataType == IntegerType()
    assert answer.schema["distance_to_cluster"].dataType == DoubleType()
    assert [(f.name, f.dataType) for f in answer.schema] == [
        (f.name, f.dataType) for f in fitted.transformSchema(odd.schema)
    ]
    assert answer.select(*odd.columns).orderBy("id").take(20) == odd.orderBy("id").take(20)
    renamed = fitted.copy({fitted.predictionCol: "p", fitted.distanceCol: ""})
    assert renamed.transform(odd).columns == [*odd.columns, "p"]
    row = renamed.transform(odd).filter("id = 3").first()
    assert row.name == "name-3"


def test_the_model_knows_what_it_stands_on(fitted: KMeansModel, session: Any) -> None:
    kinds = [r.kind for r in fitted.createdResources]
    assert kinds == ["TrainingJob", "S3Object", "Model", "EndpointConfig", "Endpoint"]
    assert fitted.modelData == f"s3://{session.bucket}/sagespark/{fitted.trainingJobName}/output/model.tar.gz"
    assert Endpoint(session, fitted.endpointName).describe()["EndpointStatus"] == "InService"
    assert fitted.numFeatures == 64
    assert fitted.getK() == 10
    assert fitted.uid.startswith("KMeans_")
    job = TrainingJob(session, fitted.trainingJobName).describe()
    assert job["Environment"]["SAGESPARK_SEED"] == "1"
    assert job["HyperParameters"] == {
        "k": "10", "feature_dim": "64", "extra_center_factor": "1", "local_lloyd_num_trials": "2"
    }  # fmt: skip


def test_the_staged_shards_are_gone_and_nothing_else(fitted: KMeansModel, session: Any) -> None:
    from sagespark.aws.s3 import list_keys

    folder = S3Uri(session.bucket, f"sagespark/{fitted.trainingJobName}/")
    assert [uri.name for uri in list_keys(session, folder)] == ["model.tar.gz"]


def test_predict_on_the_driver(fitted: KMeansModel, digits: Any) -> None:
    row = fitted.transform(digits).first()
    for value in (row.features, row.features.toArray(), list(row.features.toArray())):
        assert fitted.predict(value) == row.prediction
    sparse = Vectors.sparse(64, [i for i, v in enumerate(row.features) if v], [v for v in row.features if v])
    assert fitted.predict(sparse) == row.prediction
    with pytest.raises(DataError, match="takes 64 features, but the vector has 2"):
        fitted.predict(Vectors.dense([1.0, 2.0]))
    with pytest.raises(DataError, match="missing, infinite, or beyond float32"):
        fitted.predict([float("nan")] * 64)


def test_plan_tells_what_fit_will_send(session: Any, digits: Any) -> None:
    plan = km().plan(digits.schema)
    assert [d.name for d in plan.deferred] == ["feature_dim", "S3Uri"]
    assert plan.hosting is not None
    assert km(endpointPolicy="never").plan(digits).hosting is None
    with pytest.raises(ValidationError) as caught:
        km(featuresCol="feature", predictionCol="name", distanceCol="name", maxWaitInSeconds=5).plan(digits.schema)
    text = str(caught.value)
    assert "'features'" in text
    assert "column 'name' exists already" in text
    assert "both name the column 'name'" in text
    assert "useSpotInstances" in text
    assert len(caught.value.problems) >= 4


def test_a_test_channel_by_indicator_and_by_dataset(spark: Any, session: Any, digits: Any) -> None:
    marked = digits.withColumn(
        "held", functions.when(functions.col("id") < 100, True).when(functions.col("id") > 200, False)
    )
    model = km(testIndicatorCol="held", endpointPolicy="never", evalMetrics=["msd", "ssd"]).fit(marked)
    metrics = model._hosting().metrics
    rest = marked.filter("id >= 100")
    assert metrics["train:ssd"] / metrics["train:msd"] == pytest.approx(rest.count(), rel=1e-6)
    assert metrics["test:ssd"] / metrics["test:msd"] == pytest.approx(100, rel=1e-6)
    other = km(testDataset=digits.limit(50), endpointPolicy="never").fit(rest)
    assert "test:msd" in other._hosting().metrics
    np.testing.assert_array_equal(model.clusterCenters(), other.clusterCenters())
    with pytest.raises(ValidationError, match="exclude each other"):
        km(testIndicatorCol="held", testDataset=digits).plan(marked.schema)
    with pytest.raises(ValidationError, match="must be boolean, but is string"):
        km(testIndicatorCol="name").plan(marked.schema)
    with pytest.raises(TypeError, match="no Param 'validationDataset'"):
        km(validationDataset=digits)


def test_policies(spark: Any, session: Any, digits: Any) -> None:
    few = digits.limit(50).coalesce(1)
    never = km(endpointPolicy="never").fit(few)
    assert never.endpointName is None
    with pytest.raises(ValidationError, match="endpointPolicy is 'never'"):
        never.transform(few)
    with never.deploy():
        assert never.transform(few).count() == 50
        name = never.endpointName
        assert never.deploy().endpointName == name
    assert not Endpoint(session, name).exists()
    assert not EndpointConfig(session, name).exists()
    assert not Model(session, name).exists()
    assert [r.kind for r in never.createdResources] == ["TrainingJob", "S3Object"]
    with pytest.raises(ValidationError, match=r"deploy\(\) creates another one"):
        never.setEndpointPolicy("createOnTransform").transform(few)


def test_copies_share_one_endpoint(spark: Any, session: Any, digits: Any) -> None:
    few = digits.limit(50).coalesce(1)
    model = km(endpointPolicy="createOnTransform").fit(few)
    assert model.endpointName is None
    # MLlib transforms a copy.
    assert model.transform(few, {model.predictionCol: "p"}).columns[-2] == "p"
    name = model.endpointName
    assert name is not None
    assert model.copy().endpointName == name
    model.transform(few, {model.predictionCol: "q"}).count()
    assert model.endpointName == name
    handle = pickle.loads(pickle.dumps(model))
    assert handle.transform(few).count() == 50
    assert not handle.hasSummary
    model.copy().delete()
    assert model.endpointName is None
    assert not Endpoint(session, name).exists()


def test_fit_with_a_list_of_param_maps(spark: Any, session: Any, digits: Any) -> None:
    few = digits.limit(80).coalesce(1)
    estimator = km(endpointPolicy="never")
    maps = [{estimator.k: 2, estimator.localLloydMaxIter: 5}, {estimator.k: 4, estimator.maxIter: 6}]
    models = estimator.fit(few, maps)
    assert [len(m.clusterCenters()) for m in models] == [2, 4]
    assert [m.getK() for m in models] == [2, 4]
    assert [m.getMaxIter() for m in models] == [5, 6]
    assert estimator.getK() == 3


def test_a_failed_job_is_named_and_leaves_nothing_billed(spark: Any, session: Any) -> None:
    from sagespark.aws.s3 import list_keys

    few = spark.createDataFrame([(Vectors.dense([1.0, 2.0]),)], ["features"])
    with pytest.raises(JobFailedError, match="at least k rows") as caught:
        km(k=5).fit(few)
    assert [r.kind for r in caught.value.createdResources] == ["TrainingJob"]
    folder = S3Uri(session.bucket, f"sagespark/{caught.value.jobName}/")
    assert list(list_keys(session, folder)) == []


def test_a_row_that_is_refused_creates_nothing(spark: Any, session: Any) -> None:
    before = {s["TrainingJobName"] for s in TrainingJob.list(session)}
    bad = spark.createDataFrame([(Vectors.dense([1.0, float("nan")]),)], ["features"])
    with pytest.raises(DataError) as caught:
        km().fit(bad)
    assert caught.value.createdResources == ()
    assert {s["TrainingJobName"] for s in TrainingJob.list(session)} == before


def test_other_ways_to_a_model(fitted: KMeansModel, digits: Any, session: Any) -> None:
    expected = fitted.transform(digits).select("id", "prediction").collect()
    attached = KMeansModel.fromEndpoint(fitted.endpointName)
    assert attached.transform(digits).select("id", "prediction").collect() == expected
    assert attached.createdResources == ()
    attached.delete()
    assert Endpoint(session, fitted.endpointName).exists()
    np.testing.assert_array_equal(attached.clusterCenters(), fitted.clusterCenters())
    from_job = KMeansModel.fromTrainingJob(fitted.trainingJobName, featuresCol="features", listeners=QUIET)
    assert from_job.getK() == 10
    assert from_job.getLocalLloydNumTrials() == 2
    assert from_job.endpointName is None
    assert from_job.numFeatures == 64
    from_data = KMeansModel.fromModelData(fitted.modelData, endpointPolicy="createOnTransform")
    with from_data:
        assert from_data.transform(digits).select("id", "prediction").collect() == expected
        assert from_data.endpointName != fitted.endpointName
    assert not Endpoint(session, from_data.endpointName or "x").exists()
    with pytest.raises(ValidationError, match="there is no object"):
        KMeansModel.fromModelData(f"s3://{session.bucket}/nothing.tar.gz")


def test_array_columns_and_lists_of_columns_give_the_same(fitted: KMeansModel, digits: Any) -> None:
    from pyspark.ml.functions import vector_to_array

    arrays = digits.withColumn("features", vector_to_array("features"))
    expected = [r.prediction for r in fitted.transform(digits).orderBy("id").collect()]
    assert [r.prediction for r in fitted.transform(arrays).orderBy("id").collect()] == expected
    names = [f"f{i}" for i in range(64)]
    wide = arrays.select("id", *(functions.col("features")[i].alias(name) for i, name in enumerate(names)))
    model = fitted.copy().setFeaturesCols(names)
    assert [r.prediction for r in model.transform(wide).orderBy("id").collect()] == expected


def test_mixed_dense_and_sparse_rows(spark: Any, session: Any) -> None:
    rng = np.random.default_rng(0)
    data = (rng.random((60, 8)) * (rng.random((60, 8)) > 0.5)).round(3)
    vectors = [
        Vectors.dense(row) if i % 2 else Vectors.sparse(8, np.flatnonzero(row), row[row != 0])
        for i, row in enumerate(data)
    ]
    mixed = spark.createDataFrame(list(enumerate(vectors)), ["id", "features"]).coalesce(1)
    dense = spark.createDataFrame([(i, DenseVector(row)) for i, row in enumerate(data)], ["id", "features"]).coalesce(1)
    with km().fit(mixed) as one, km().fit(dense) as other:
        np.testing.assert_allclose(one.clusterCenters(), other.clusterCenters(), rtol=1e-6)
        first = [r.prediction for r in one.transform(mixed).orderBy("id").collect()]
        assert first == [r.prediction for r in other.transform(dense).orderBy("id").collect()]


def test_parquet_cached_and_joined_inputs(spark: Any, fitted: KMeansModel, digits: Any, tmp_path: Any) -> None:
    path = str(tmp_path / "digits.parquet")
    digits.write.parquet(path)
    stored = spark.read.parquet(path)
    expected = {r.id: r.prediction for r in fitted.transform(digits).collect()}
    joined = stored.join(digits.select("id", functions.col("name").alias("other")), "id")
    for frame in (stored, stored.cache(), joined):
        assert {r.id: r.prediction for r in fitted.transform(frame).collect()} == expected
    stored.unpersist()


def test_wide_sparse_rows_are_never_made_dense(spark: Any, session: Any) -> None:
    width = 100_000
    rng = np.random.default_rng(0)
    groups = [np.sort(rng.choice(width, 40, replace=False)) for _ in range(2)]
    rows = [(i, Vectors.sparse(width, groups[i % 2].tolist(), (rng.random(40) + 1).tolist())) for i in range(60)]
    wide = spark.createDataFrame(rows, ["id", "features"]).coalesce(1)
    with km(k=2).fit(wide) as model:
        assert model.numFeatures == width
        answer = [r.prediction for r in model.transform(wide).orderBy("id").collect()]
        assert answer == [answer[0], 1 - answer[0]] * 30
        assert model.predict(rows[0][1]) == answer[0]
        assert model.summary.clusterSizes == [30, 30]
        costs = model.summary._totals()[1]
        assert costs.sum() == pytest.approx(model.summary.trainingCost, rel=1e-6)


def test_an_earlier_filter_is_pushed_down_and_unused_columns_are_not_read(
    spark: Any, fitted: KMeansModel, digits: Any, tmp_path: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    path = str(tmp_path / "digits.parquet")
    digits.write.parquet(path)
    frame = fitted.transform(spark.read.parquet(path).filter("id > 500")).select("id", "prediction")
    capsys.readouterr()
    frame.explain()
    text = capsys.readouterr().out
    assert "GreaterThan(id,500)" in text
    read = text[text.index("ReadSchema") :]
    assert "features" in read
    assert "name" not in read
    assert frame.count() == 99
