"""A fit seen from MLflow."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mlflow
import pytest
from pyspark.ml.functions import vector_to_array
from pyspark.ml.linalg import Vectors
from pyspark.sql.functions import element_at

from sagespark import tracking
from sagespark.aws.session import SageMakerSession
from sagespark.bayesopt import Integer
from sagespark.core.errors import JobFailedError
from sagespark.ml.clustering import KMeans
from sagespark.ml.regression import XGBoostRegressor
from sagespark.ml.tuning import HyperparameterTuner

# One Spark is enough: a listener sees nothing of it.
pytestmark = pytest.mark.wire


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    former = mlflow.get_tracking_uri()
    uri = f"sqlite:///{tmp_path_factory.mktemp('mlflow')}/mlflow.db"
    mlflow.set_tracking_uri(uri)
    yield uri
    mlflow.set_tracking_uri(former)


@pytest.fixture
def experiment(store: str, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[str]:
    name: str = request.node.name
    mlflow.MlflowClient().create_experiment(name, artifact_location=str(tmp_path))
    tracking.autolog(experimentName=name, logOutput=True)
    yield name
    tracking.autolog(disable=True)


@pytest.fixture
def frame(spark: Any) -> Any:
    rows = [(Vectors.dense(float(n % 2 * 9), float(n)),) for n in range(10)]
    return spark.createDataFrame(rows, ["features"])


def runs(experiment: str) -> list[Any]:
    found = mlflow.MlflowClient().get_experiment_by_name(experiment)
    return list(mlflow.MlflowClient().search_runs([found.experiment_id], order_by=["attributes.start_time"]))


def test_a_fit_is_a_run(experiment: str, frame: Any, session: SageMakerSession) -> None:
    model = KMeans(k=2, seed=1, extraCenterFactor=1, endpointPolicy="never").fit(frame)
    (run,) = runs(experiment)
    assert run.info.run_name == model.trainingJobName
    assert run.info.status == "FINISHED"
    assert run.data.params["k"] == "2"
    assert run.data.params["hyperparameter.k"] == "2"
    assert run.data.tags["sagespark.jobArn"].endswith(f":training-job/{model.trainingJobName}")
    assert run.data.tags["sagespark.modelData"] == model.modelData
    assert run.data.metrics["train:msd"] > 0
    assert "quality_metric" in mlflow.artifacts.load_text(f"{run.info.artifact_uri}/training.log")


def test_a_fit_that_fails_is_a_failed_run(experiment: str, frame: Any, session: SageMakerSession) -> None:
    with pytest.raises(JobFailedError):
        KMeans(k=5000, endpointPolicy="never").fit(frame)
    (run,) = runs(experiment)
    assert run.info.status == "FAILED"
    assert "k is 5000" in run.data.tags["sagespark.failureReason"]


def test_nothing_is_logged_without_the_call(store: str, frame: Any, session: SageMakerSession) -> None:
    client = mlflow.MlflowClient()
    before = len(client.search_runs([e.experiment_id for e in client.search_experiments()]))
    KMeans(k=2, endpointPolicy="never").fit(frame)
    assert len(client.search_runs([e.experiment_id for e in client.search_experiments()])) == before


@pytest.mark.parametrize("where", ["service", "driver"])
def test_trials_are_runs_inside_the_tuners_with_every_value_of_their_logs(
    experiment: str, frame: Any, session: SageMakerSession, where: str
) -> None:
    model = HyperparameterTuner(
        estimator=XGBoostRegressor(numRound=6, endpointPolicy="never"),
        ranges={"maxDepth": Integer(1, 5)},
        objectiveMetricName="train:rmse",
        strategy="Random",
        runOn=where,
        maxJobs=2,
        maxParallelJobs=2,
        seed=1,
    ).fit(frame.withColumn("label", element_at(vector_to_array("features"), 2)))
    (tuner,) = [run for run in runs(experiment) if run.info.run_name == model.tuningJobName]
    trials = {run.info.run_name: run for run in runs(experiment) if "mlflow.parentRunId" in run.data.tags}
    assert {run.data.tags["mlflow.parentRunId"] for run in trials.values()} == {tuner.info.run_id}
    assert set(trials) == {row.trainingJobName for row in model.trials.collect()}
    assert {run.info.status for run in (tuner, *trials.values())} == {"FINISHED"}
    for run in trials.values():
        history = sorted(
            mlflow.MlflowClient().get_metric_history(run.info.run_id, "train:rmse"), key=lambda metric: metric.step
        )
        # One a round.
        assert [metric.step for metric in history] == list(range(6))
        assert sorted((metric.value for metric in history), reverse=True) == [metric.value for metric in history]
        assert run.data.metrics["objective"] == pytest.approx(history[-1].value)
