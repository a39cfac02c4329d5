"""LDA, random cut forests and k-nearest neighbours from a DataFrame to their answers on the embedded service."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from pyspark.ml import clustering as mllib
from pyspark.ml.evaluation import MulticlassClassificationEvaluator
from pyspark.ml.linalg import DenseMatrix, DenseVector, Vectors, VectorUDT
from scipy.optimize import linear_sum_assignment
from sklearn.datasets import load_wine
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor

from sagespark.aws.training_job import TrainingJob
from sagespark.core.errors import JobFailedError, ValidationError
from sagespark.ml.anomaly import RandomCutForest, RandomCutForestModel
from sagespark.ml.classification import KNNClassificationModel, KNNClassifier
from sagespark.ml.clustering import LDA, LDAModel
from sagespark.ml.progress import ProgressListener
from sagespark.ml.regression import KNNRegressionModel, KNNRegressor

pytestmark = pytest.mark.spark

QUIET = [ProgressListener("off")]
K = 4
TOPICS = np.kron(np.eye(K), np.full(4, 0.25))


def lda(**params: Any) -> LDA:
    return LDA(**{"k": K, "seed": 3, "maxRestarts": 2, "maxIter": 30, "listeners": QUIET, **params})


def counts() -> np.ndarray:
    random = np.random.default_rng(5)
    return np.array([random.multinomial(60, m @ TOPICS) for m in random.dirichlet(np.full(K, 0.25), 150)], float)


@pytest.fixture(scope="module")
def corpus(spark: Any) -> Iterator[Any]:
    """Documents of which every other one is sparse."""
    rows = [
        (i, Vectors.dense(row) if i % 2 else Vectors.sparse(16, np.flatnonzero(row), row[row != 0]))
        for i, row in enumerate(counts())
    ]
    frame = spark.createDataFrame(rows, ["id", "features"]).cache()
    yield frame
    frame.unpersist()


@pytest.fixture(scope="module")
def fitted(service: Any, corpus: Any) -> Iterator[LDAModel]:
    """One model for the tests that only look at it."""
    with service.activated(), lda(testDataset=corpus.limit(40)).fit(corpus) as model:
        yield model


def distances(matrix: Any) -> np.ndarray:
    """Return the total variation distance of each topic to the one found for it."""
    found = matrix.toArray().T / matrix.toArray().T.sum(axis=1, keepdims=True)
    apart = np.abs(TOPICS[:, np.newaxis] - found[np.newaxis]).sum(axis=2) / 2
    return apart[linear_sum_assignment(apart)]


def test_topics_are_recovered_as_well_as_by_mllib(fitted: LDAModel, corpus: Any) -> None:
    theirs = mllib.LDA(k=K, seed=3, maxIter=5, subsamplingRate=1.0).fit(corpus)
    perplexity = theirs.logPerplexity(corpus)
    ours, others = distances(fitted.topicsMatrix()), distances(theirs.topicsMatrix())
    assert (ours < 0.06).all()
    assert ours.mean() <= others.mean() + 0.01
    # MLlib's holds the topics' own part too, which makes it larger by about a tenth of a nat on so few words.
    assert perplexity - 0.3 < fitted.logPerplexity(corpus) < perplexity + 0.02


def test_mixtures_are_those_of_the_words(fitted: LDAModel, corpus: Any) -> None:
    answer = fitted.transform(corpus)
    assert answer.columns == ["id", "features", "topicDistribution"]
    assert answer.schema["topicDistribution"].dataType == VectorUDT()
    rows = np.array([row.topicDistribution.toArray() for row in answer.orderBy("id").collect()])
    np.testing.assert_allclose(rows.sum(axis=1), 1, atol=1e-5)
    # Each topic has four words of its own: the share of a topic is nearly the share of its words.
    matrix = fitted.topicsMatrix().toArray()
    expected = np.empty((150, K))
    for topic in range(K):
        expected[:, topic] = counts()[:, np.sort(np.argsort(-matrix[:, topic])[:4])].sum(axis=1) / 60
    np.testing.assert_allclose(rows, expected, atol=0.05)


def test_what_it_is_made_of(fitted: LDAModel, corpus: Any, session: Any) -> None:
    matrix = fitted.topicsMatrix()
    assert isinstance(matrix, DenseMatrix)
    assert (matrix.numRows, matrix.numCols) == (16, K)
    np.testing.assert_allclose(matrix.toArray().sum(axis=0), 1, atol=1e-6)
    assert (fitted.vocabSize(), fitted.numFeatures, fitted.isDistributed()) == (16, 16, False)
    assert fitted.estimatedDocConcentration() == DenseVector([0.25] * K)
    assert (fitted.getK(), fitted.getNumTopics(), fitted.getMaxIter(), fitted.getMaxIterations()) == (K, K, 30, 30)
    described = fitted.describeTopics(3).orderBy("topic").collect()
    assert [row.topic for row in described] == list(range(K))
    for row in described:
        column = matrix.toArray()[:, row.topic]
        assert row.termIndices == np.argsort(-column, kind="stable")[:3].tolist()
        assert row.termWeights == column[row.termIndices].tolist()
    assert len(fitted.describeTopics().first().termIndices) == 10
    for wrong in (0, 2.5):
        with pytest.raises(ValidationError, match="maxTermsPerTopic must be an integer >= 1"):
            fitted.describeTopics(wrong)
    matrix.values[:] = 0
    assert fitted.topicsMatrix().values.any()
    job = TrainingJob(session, fitted.trainingJobName).describe()
    assert job["HyperParameters"] == {
        "num_topics": "4", "feature_dim": "16", "mini_batch_size": "150", "max_restarts": "2", "max_iterations": "30",
    }  # fmt: skip
    assert job["Environment"]["SAGESPARK_SEED"] == "3"
    metrics = fitted._hosting().metrics
    assert metrics["test:pwll"] == pytest.approx(fitted.logLikelihood(corpus.limit(40)) / (40 * 60), rel=1e-4)


def test_saved_and_attached(fitted: LDAModel, corpus: Any, tmp_path: Any) -> None:
    few = corpus.filter("id < 10")
    expected = fitted.transform(few).collect()
    fitted.save(str(tmp_path / "model"))
    again = LDAModel.load(str(tmp_path / "model"))
    assert again.topicsMatrix() == fitted.topicsMatrix()
    assert again.setSeed(4).transform(few).collect() == expected
    attached = LDAModel.fromTrainingJob(fitted.trainingJobName, listeners=QUIET)
    assert attached.getK() == K
    assert attached.topicsMatrix() == fitted.topicsMatrix()
    lda().save(str(tmp_path / "lda"))
    assert LDA.load(str(tmp_path / "lda")).getMaxRestarts() == 2
    assert LDAModel.fromEndpoint(fitted.endpointName).topicsMatrix() == fitted.topicsMatrix()


def test_what_is_no_count_fails_the_job(spark: Any, session: Any, fitted: LDAModel) -> None:
    wrong = spark.createDataFrame([(Vectors.dense([1.0] * 16),), (Vectors.dense([-2.0] + [0.0] * 15),)], ["features"])
    with pytest.raises(JobFailedError, match="holds -2; LDA counts words, so every feature must be a whole number"):
        lda(endpointPolicy="never").fit(wrong)
    with pytest.raises(Exception, match="'features' holds -2; LDA counts words"):
        fitted.logLikelihood(wrong)


def test_what_is_refused_before_anything_is_created(spark: Any, session: Any, corpus: Any) -> None:
    assert LDA().getK() == 10
    assert LDA().plan(corpus).trainingJob["HyperParameters"]["num_topics"] == "10"
    for name, value in {"optimizer": "em", "docConcentration": [1.0], "topicConcentration": 0.1}.items():
        with pytest.raises(ValueError, match="SageMaker's LDA"):
            LDA(**{name: value})
    with pytest.raises(ValidationError, match="instanceCount must be 1, but got 2: SageMaker's LDA trains on one"):
        LDA(instanceCount=2).plan(corpus)
    keywords = {p.name: v for p, v in mllib.LDA(k=3).extractParamMap().items() if p.name != "seed"}
    assert {p.name: v for p, v in LDA(**keywords).extractParamMap().items()}.items() >= keywords.items()


# -- random cut forests -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def readings(spark: Any) -> Iterator[Any]:
    """Rows of which five are far from the others, with a label that says so."""
    random = np.random.default_rng(7)
    values = np.concatenate([random.normal(size=(300, 3)), random.normal(size=(5, 3)) + 9])
    rows = [(i, *map(float, row), float(i >= 300)) for i, row in enumerate(values)]
    frame = spark.createDataFrame(rows, ["id", "x", "y", "z", "label"]).cache()
    yield frame
    frame.unpersist()


@pytest.fixture(scope="module")
def forest(service: Any, readings: Any) -> Iterator[RandomCutForestModel]:
    cut = RandomCutForest(featuresCols=["x", "y", "z"], numTrees=50, numSamplesPerTree=64, seed=2, listeners=QUIET)
    with service.activated(), cut.setTestDataset(readings).fit(readings.drop("label")) as model:
        yield model


def test_anomalies_have_the_largest_scores(forest: RandomCutForestModel, readings: Any, session: Any) -> None:
    answer = forest.transform(readings)
    assert answer.columns == [*readings.columns, "score"]
    assert answer.schema["score"].dataType.typeName() == "double"
    rows = answer.orderBy("score", ascending=False).limit(5).collect()
    assert {row.id for row in rows} == set(range(300, 305))
    assert forest.score([rows[0].x, rows[0].y, rows[0].z]) == pytest.approx(rows[0].score)
    assert forest.numFeatures == 3
    assert (forest.getNumTrees(), forest.getNumSamplesPerTree(), forest.getScoreCol()) == (50, 64, "score")
    job = TrainingJob(session, forest.trainingJobName).describe()
    assert job["HyperParameters"] == {"feature_dim": "3", "num_trees": "50", "num_samples_per_tree": "64"}
    metrics = forest._hosting().metrics
    assert metrics["test:recall"] == 1
    assert {"test:f1", "test:precision", "test:accuracy"} <= set(metrics)


def test_a_forest_by_other_ways(forest: RandomCutForestModel, readings: Any, tmp_path: Any) -> None:
    few = readings.filter("id > 297")
    expected = [row.score for row in forest.transform(few).orderBy("id").collect()]
    forest.save(str(tmp_path / "forest"))
    again = RandomCutForestModel.load(str(tmp_path / "forest")).setScoreCol("s")
    assert [row.s for row in again.transform(few).orderBy("id").collect()] == expected
    with pytest.raises(ValidationError, match="testDataset: labelCol: the DataFrame has no column 'label'"):
        RandomCutForest(featuresCols=["x"], testDataset=readings.drop("label")).plan(readings)
    with pytest.raises(ValueError, match=r"numTrees \(num_trees\) must be an integer in \[50, 1000\], but got 10"):
        RandomCutForest(numTrees=10)


# -- k-nearest neighbours ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def wine(spark: Any) -> Iterator[Any]:
    found = load_wine()
    rows = [
        (i, Vectors.dense(row), float(label), float(row[0]))
        for i, (row, label) in enumerate(zip(found.data, found.target, strict=True))
    ]
    frame = spark.createDataFrame(rows, ["id", "features", "label", "alcohol"]).repartition(3).cache()
    yield frame
    frame.unpersist()


@pytest.fixture(scope="module")
def classifier(service: Any, wine: Any) -> Iterator[KNNClassificationModel]:
    with service.activated(), KNNClassifier(k=7, testDataset=wine, listeners=QUIET).fit(wine) as model:
        yield model


@pytest.fixture(scope="module")
def regressor(service: Any, wine: Any) -> Iterator[KNNRegressionModel]:
    knn = KNNRegressor(k=4, labelCol="alcohol", indexMetric="COSINE", listeners=QUIET)
    with service.activated(), knn.fit(wine) as model:
        yield model


def test_classes_votes_and_shares_are_scikit_learns(
    classifier: KNNClassificationModel, wine: Any, session: Any
) -> None:
    found = load_wine()
    theirs = KNeighborsClassifier(7, algorithm="brute").fit(found.data.astype(np.float32), found.target)
    answer = classifier.transform(wine).orderBy("id")
    assert answer.columns == [*wine.columns, "rawPrediction", "probability", "prediction"]
    rows = answer.collect()
    expected = theirs.predict_proba(found.data.astype(np.float32))
    np.testing.assert_allclose([row.probability.toArray() for row in rows], expected, atol=1e-12)
    np.testing.assert_allclose([row.rawPrediction.toArray() for row in rows], expected * 7, atol=1e-12)
    assert [row.prediction for row in rows] == theirs.predict(found.data.astype(np.float32)).tolist()
    assert (classifier.numClasses, classifier.numFeatures, classifier.getK()) == (3, 13, 7)
    one = wine.filter("id = 0").first().features
    assert classifier.predict(one) == rows[0].prediction
    assert classifier.predictProbability(one) == rows[0].probability
    assert classifier.predictRaw(one) == rows[0].rawPrediction
    accuracy = MulticlassClassificationEvaluator(metricName="accuracy").evaluate(answer)
    assert classifier._hosting().metrics["test:accuracy"] == pytest.approx(accuracy)
    job = TrainingJob(session, classifier.trainingJobName).describe()
    assert job["HyperParameters"] == {
        "feature_dim": "13", "k": "7", "predictor_type": "classifier", "sample_size": "178",
    }  # fmt: skip


def test_numbers_are_scikit_learns(regressor: KNNRegressionModel, wine: Any) -> None:
    data = load_wine().data.astype(np.float32)
    theirs = KNeighborsRegressor(4, metric="cosine", algorithm="brute").fit(data, data[:, 0]).predict(data)
    rows = regressor.transform(wine).orderBy("id").collect()
    np.testing.assert_allclose([row.prediction for row in rows], theirs, rtol=1e-5)
    assert regressor.evaluate(wine).rootMeanSquaredError < 0.6
    assert regressor.predict(data[0]) == pytest.approx(rows[0].prediction)


def test_neighbours_by_other_ways(
    classifier: KNNClassificationModel, regressor: KNNRegressionModel, wine: Any, tmp_path: Any
) -> None:
    few = wine.filter("id < 5")
    expected = classifier.transform(few).orderBy("id").collect()
    classifier.save(str(tmp_path / "knn"))
    assert KNNClassificationModel.load(str(tmp_path / "knn")).transform(few).orderBy("id").collect() == expected
    # Of the artifact alone: the number of classes is in it.
    assert KNNClassificationModel.fromModelData(classifier.modelData).numClasses == 3
    with pytest.raises(ValidationError, match="has the predictor_type 'regressor', but KNNClassificationModel is for"):
        KNNClassificationModel.fromTrainingJob(regressor.trainingJobName, listeners=QUIET)


def test_what_neighbours_refuse_before_anything_is_created(session: Any, wine: Any) -> None:
    with pytest.raises(ValidationError) as caught:
        KNNClassifier(indexType="faiss.IVFPQ", indexMetric="COSINE", dimensionReductionType="sign").plan(wine)
    text = str(caught.value)
    for words in (
        "k is required by SageMaker (k)",
        "'faiss.IVFPQ' takes index_metric 'L2' alone, but got 'COSINE'",
        "'faiss.IVFPQ' needs faiss_index_pq_m",
        "dimension_reduction_type needs dimension_reduction_target beside it",
    ):
        assert words in text
    with pytest.raises(ValidationError, match="labelCol: the DataFrame has no column 'labels'; did you mean 'label'"):
        KNNRegressor(k=1, labelCol="labels").plan(wine)
    plan = KNNRegressor(k=3, labelCol="alcohol", sampleSize=50).plan(wine)
    assert plan.trainingJob["HyperParameters"]["sample_size"] == "50"
