"""Tuners over Spark: one service, one tuning job on it, and the driver's ways."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from pyspark.ml import Pipeline, PipelineModel
from pyspark.ml.evaluation import ClusteringEvaluator, RegressionEvaluator
from pyspark.ml.feature import VectorAssembler
from pyspark.ml.regression import LinearRegression

from sagespark.aws.session import SageMakerSession
from sagespark.bayesopt import Categorical, Continuous, Integer
from sagespark.core.errors import JobFailedError, ResourceNotFoundError, ValidationError
from sagespark.ml.clustering import KMeans, KMeansModel
from sagespark.ml.listeners import Listener
from sagespark.ml.tuning import HyperparameterTuner, HyperparameterTunerModel, Trial

pytestmark = pytest.mark.spark


class Heard(Listener):
    """Keeps the trials that it hears of."""

    def __init__(self) -> None:
        self.trials: list[Trial] = []

    def onTrial(self, trial: Trial) -> None:
        self.trials.append(trial)


@pytest.fixture(scope="module")
def active(service: Any) -> Iterator[SageMakerSession]:
    with service.activated():
        yield service


@pytest.fixture(scope="module")
def points(spark: Any) -> Any:
    """Four clouds of points, in two columns."""
    rng = np.random.default_rng(0)
    rows = np.concatenate([rng.normal(size=(20, 2)) + 9 * i for i in range(4)])
    return spark.createDataFrame([tuple(map(float, row)) for row in rows], "a double, b double").repartition(2).cache()


@pytest.fixture(scope="module")
def line(spark: Any) -> Any:
    """A noisy line, with outliers that regularisation helps against."""
    rng = np.random.default_rng(1)
    x = rng.normal(size=60)
    y = 2 * x + rng.normal(size=60) * 0.3
    return spark.createDataFrame(
        [(float(a), float(b)) for a, b in zip(x, y, strict=True)], "x double, y double"
    ).cache()


@pytest.fixture(scope="module")
def heard() -> Heard:
    return Heard()


@pytest.fixture(scope="module")
def tuner(heard: Heard) -> HyperparameterTuner:
    km = KMeans(featuresCol="f", seed=1, extraCenterFactor=1, endpointPolicy="createOnTransform")
    return HyperparameterTuner(
        estimator=Pipeline(stages=[VectorAssembler(inputCols=["a", "b"], outputCol="f"), km]),
        ranges={km.k: Integer(2, 9)},
        objectiveMetricName="test:msd",
        maxJobs=4,
        maxParallelJobs=4,
        seed=3,
        listeners=[heard],
    )


@pytest.fixture(scope="module")
def model(tuner: HyperparameterTuner, points: Any, active: SageMakerSession) -> HyperparameterTunerModel:
    """The one tuning job of the service that all tests look at."""
    found: HyperparameterTunerModel = tuner.fit(points)
    return found


def test_the_best_of_all_trials_is_the_model(model: HyperparameterTunerModel, active: SageMakerSession) -> None:
    rows = model.trials.collect()
    assert [row.trial for row in rows] == [0, 1, 2, 3]
    best = min(rows, key=lambda row: row.value)
    assert isinstance(model.bestModel, PipelineModel)
    inner = model.bestModel.stages[-1]
    assert isinstance(inner, KMeansModel)
    assert inner.trainingJobName == best.trainingJobName == model.bestTrial.name
    assert (inner.getK(), model.bestParams) == (best.k, {"k": best.k})
    assert len(inner.clusterCenters()) == best.k
    assert min(row.seconds for row in rows) > 0
    models = model.subModels
    assert models is not None
    assert [m.trainingJobName for m in models] == [row.trainingJobName for row in rows]


def test_data_is_staged_once_and_deleted_once(model: HyperparameterTunerModel, active: SageMakerSession) -> None:
    jobs = [
        active.client("sagemaker").describe_training_job(TrainingJobName=r.trainingJobName)
        for r in model.trials.collect()
    ]
    uris = {c["DataSource"]["S3DataSource"]["S3Uri"] for job in jobs for c in job["InputDataConfig"]}
    assert len(uris) == 2
    s3 = active.client("s3")
    for uri in uris:
        bucket, _, key = uri.removeprefix("s3://").partition("/")
        assert s3.list_objects_v2(Bucket=bucket, Prefix=key).get("KeyCount") == 0


def test_listeners_hear_of_every_trial(model: HyperparameterTunerModel, heard: Heard) -> None:
    ended = {t.name: t for t in heard.trials if t.ended}
    assert set(ended) == {row.trainingJobName for row in model.trials.collect()}
    assert all(t.metrics["test:msd"] == t.value and t.arn.endswith(t.name) for t in ended.values())


def test_it_transforms_as_its_best_model_on_an_endpoint_that_it_deletes(
    model: HyperparameterTunerModel, points: Any, active: SageMakerSession
) -> None:
    with model:
        found = model.transform(points).select("prediction").distinct().count()
        assert found == model.bestParams["k"]
        assert {r.kind for r in model.createdResources} >= {"Endpoint"}
    assert active.client("sagemaker").list_endpoints()["Endpoints"] == []


def test_a_saved_model_is_the_same_model(model: HyperparameterTunerModel, tmp_path: Path) -> None:
    model.write().overwrite().save(str(tmp_path / "model"))
    loaded = HyperparameterTunerModel.load(str(tmp_path / "model"))
    assert loaded.uid == model.uid
    assert loaded.trials.collect() == model.trials.collect()
    assert loaded.bestModel.stages[-1].trainingJobName == model.bestTrial.name
    assert loaded.importances() == {"k": pytest.approx(1.0)}
    for draw in (
        loaded.plotSurrogate,
        loaded.plotHistory,
        loaded.plotParallel,
        loaded.plotImportances,
        loaded.plotSlices,
    ):
        assert draw().axes


def test_a_saved_tuner_is_the_same_tuner(tuner: HyperparameterTuner, points: Any, tmp_path: Path) -> None:
    tuner.save(str(tmp_path / "tuner"))
    loaded = HyperparameterTuner.load(str(tmp_path / "tuner"))
    km = loaded.getEstimator().getStages()[1]
    assert (km.uid, km.getSeed()) == (tuner.getEstimator().getStages()[1].uid, 1)
    assert loaded.getRanges() == {km.k: Integer(2, 9)}
    assert (loaded.getMaxJobs(), loaded.getObjectiveMetricName()) == (4, "test:msd")
    copy = loaded.copy({km.epochs: 2})
    assert (copy.getEstimator().getStages()[1].getEpochs(), km.getEpochs()) == (2, 1)


def test_a_killed_driver_attaches_by_name(
    model: HyperparameterTunerModel, tuner: HyperparameterTuner, points: Any
) -> None:
    bare = HyperparameterTuner.attach(model.tuningJobName).wait()
    assert isinstance(bare.bestModel, KMeansModel)
    assert bare.trials.drop("seconds").collect() == model.trials.drop("seconds").collect()
    whole = HyperparameterTuner.attach(model.tuningJobName, estimator=tuner.getEstimator())
    with pytest.raises(ValidationError, match="give fit the DataFrame of before"):
        whole.wait()
    assert isinstance(whole.fit(points).bestModel, PipelineModel)
    with pytest.raises(ResourceNotFoundError, match="there is no tuning job and no run named 'nobody'"):
        HyperparameterTuner.attach("nobody")


def test_the_driver_tunes_jobs_over_data_staged_once_and_goes_on_by_name(
    points: Any, active: SageMakerSession, tuner: HyperparameterTuner
) -> None:
    driver = tuner.copy().setParams(strategy="Manual", configs=[{"k": 3}, {"k": 5}], tuningJobName="by-hand", maxJobs=1)
    driver.setParams(maxParallelJobs=1, runOn="driver", ranges={"k": Integer(2, 9)})
    first = driver.fit(points)
    assert [(row.k, row.status) for row in first.trials.collect()] == [(3, "Completed")]
    with pytest.raises(ValidationError, match="a run named 'by-hand' exists"):
        driver.fit(points)
    resumed = HyperparameterTuner.attach("by-hand", estimator=driver.getEstimator()).setMaxJobs(2).fit(points)
    rows = resumed.trials.collect()
    assert [row.k for row in rows] == [3, 5]
    # The first trial was not run again.
    assert rows[0].trainingJobName == first.trials.first().trainingJobName
    with pytest.raises(ValidationError, match="ranges was"):
        HyperparameterTuner.attach("by-hand", estimator=driver.getEstimator()).setRanges({"k": Integer(2, 8)}).fit(
            points
        )


def test_an_evaluator_scores_jobs_on_endpoints_of_their_own(points: Any, active: SageMakerSession) -> None:
    assembled = VectorAssembler(inputCols=["a", "b"], outputCol="features").transform(points)
    km = KMeans(seed=1, extraCenterFactor=1, endpointPolicy="never")
    found = HyperparameterTuner(
        estimator=km, ranges={"k": Categorical([2, 4])}, strategy="Grid", evaluator=ClusteringEvaluator(), seed=1
    ).fit(assembled)
    assert found.objectiveType == "Maximize"
    assert found.bestParams == {"k": 4}
    assert {row.status for row in found.trials.collect()} == {"Completed"}
    assert active.client("sagemaker").list_endpoints()["Endpoints"] == []


class Broken(LinearRegression):
    """Fails where it is regularised much, and notes what it was fitted with."""

    fitted: ClassVar[list[float]] = []

    def _fit(self, dataset: Any) -> Any:
        Broken.fitted.append(self.getRegParam())
        if self.getRegParam() > 0.5:
            raise ValueError("too much")
        return super()._fit(dataset)


def test_plain_mllib_is_tuned_with_no_service_and_goes_on_from_its_folder(line: Any, tmp_path: Path) -> None:
    lr = Broken(featuresCol="f", labelCol="y", maxIter=5)
    estimator = Pipeline(stages=[VectorAssembler(inputCols=["x"], outputCol="f"), lr])
    asked = HyperparameterTuner(
        estimator=estimator,
        ranges={lr.regParam: Continuous(0.0, 1.0), "elasticNetParam": Categorical([0.0, 1.0])},
        evaluator=RegressionEvaluator(labelCol="y", metricName="rmse"),
        strategy="Sobol",
        maxJobs=4,
        maxParallelJobs=2,
        seed=5,
        checkpointDir=str(tmp_path / "run"),
        sagemakerSession=None,
    )
    first = asked.fit(line)
    rows = first.trials.collect()
    assert [row.status for row in rows] == ["Failed" if row.regParam > 0.5 else "Completed" for row in rows]
    assert {row.status for row in rows} == {"Failed", "Completed"}
    assert {row.failureReason for row in rows if row.status == "Failed"} == {"ValueError: too much"}
    best = min((row for row in rows if row.value is not None), key=lambda row: row.value)
    assert first.bestParams["regParam"] == best.regParam
    assert first.transform(line).count() == 60
    # As if the driver had been killed after the third launch: the journal has it, and no outcome.
    path = tmp_path / "run" / "trials.jsonl"
    lines = path.read_text().splitlines(keepends=True)
    done = [i for i, text in enumerate(lines) if '"outcome"' in text]
    path.write_text("".join(lines[: done[2]]))
    Broken.fitted.clear()
    again = asked.fit(line)
    assert [replace(t, endTime=None, startTime=None) for t in again._trials] == [
        replace(t, endTime=None, startTime=None) for t in first._trials
    ]
    # What had ended was not fitted again, but for the best one, whose model the former driver took along.
    assert 2 <= len(Broken.fitted) <= 3
    again.save(str(tmp_path / "model"))
    loaded = HyperparameterTunerModel.load(str(tmp_path / "model"))
    assert loaded.transform(line).count() == 60


def test_where_every_trial_fails_the_error_says_why(line: Any) -> None:
    lr = Broken(labelCol="y")
    estimator = Pipeline(stages=[VectorAssembler(inputCols=["x"], outputCol="features"), lr])
    asked = HyperparameterTuner(
        estimator=estimator,
        ranges={"regParam": Continuous(0.6, 1.0)},
        evaluator=RegressionEvaluator(labelCol="y"),
        strategy="Random",
        maxJobs=2,
    )
    with pytest.raises(JobFailedError, match=r"none of 2 trials .* had a result(.|\n)*ValueError: too much"):
        asked.fit(line)
