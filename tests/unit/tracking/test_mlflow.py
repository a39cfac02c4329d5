from __future__ import annotations

import builtins
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import mlflow
import pytest

from sagespark.aws.training_job import MetricPoint
from sagespark.core.errors import ValidationError, WaitTimeoutError
from sagespark.ml import listeners
from sagespark.ml.listeners import JobEvent
from sagespark.ml.tuning_trials import Trial
from sagespark.tracking import MlflowListener, autolog

ARN = "arn:aws:sagemaker:us-east-1:123456789012:training-job/km-1"
STARTED = JobEvent(
    "TrainingJob",
    "km-1",
    "KMeans_1",
    {
        "HyperParameters": {"k": "10", "extra_center_factor": "1"},
        "ResourceConfig": {"InstanceType": "ml.m5.xlarge", "InstanceCount": 2},
        "AlgorithmSpecification": {"TrainingImage": "account/kmeans:1"},
    },
    {"k": 10, "maxIter": 20},
)


def described(event: JobEvent, status: str, secondary: str = "", **more: Any) -> JobEvent:
    metrics = {m["MetricName"]: m["Value"] for m in more.get("FinalMetricDataList", ())}
    return replace(
        event,
        status=status,
        secondaryStatus=secondary or status,
        metrics=metrics,
        description={"TrainingJobArn": ARN, "TrainingJobStatus": status, **more},
    )


def metric(value: float, second: int) -> dict[str, Any]:
    return {"MetricName": "test:msd", "Value": value, "Timestamp": datetime(2026, 1, 1, 0, 0, second, tzinfo=UTC)}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A store in SQLite; making one takes seconds, so that the tests share it and use experiments of their own."""
    folder: Path = tmp_path_factory.mktemp("mlflow")
    uri = f"sqlite:///{folder}/mlflow.db"
    former = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(uri)
    yield uri
    mlflow.set_tracking_uri(former)


@pytest.fixture
def experiment(store: str, request: pytest.FixtureRequest, tmp_path: Path) -> str:
    name: str = request.node.name
    mlflow.MlflowClient().create_experiment(name, artifact_location=str(tmp_path / "artifacts"))
    return name


@pytest.fixture
def listener(experiment: str) -> MlflowListener:
    return MlflowListener(experimentName=experiment)


def run_of(listener: MlflowListener, job: str = "km-1") -> Any:
    found = listener.run_id(job)
    assert found is not None
    return mlflow.MlflowClient().get_run(found)


def test_a_job_becomes_a_run(listener: MlflowListener) -> None:
    listener.onJobStarted(STARTED)
    listener.onStatus(described(STARTED, "InProgress", "Training"))
    assert run_of(listener).info.status == "RUNNING"
    first = described(STARTED, "InProgress", "Training", FinalMetricDataList=[metric(2.0, 1)])
    last = described(
        STARTED,
        "Completed",
        FinalMetricDataList=[metric(1.5, 9)],
        ModelArtifacts={"S3ModelArtifacts": "s3://b/model.tar.gz"},
        BillableTimeInSeconds=7,
    )
    listener.onMetrics(first)
    listener.onMetrics(first)
    listener.onMetrics(last)
    listener.onStatus(last)
    listener.onJobEnded(last)
    run = run_of(listener)
    assert run.info.run_name == "km-1"
    assert run.info.status == "FINISHED"
    assert run.data.params == {
        "k": "10",
        "maxIter": "20",
        "hyperparameter.k": "10",
        "hyperparameter.extra_center_factor": "1",
        "instanceType": "ml.m5.xlarge",
        "instanceCount": "2",
        "image": "account/kmeans:1",
    }
    tags = {k: v for k, v in run.data.tags.items() if k.startswith("sagespark.")}
    assert tags == {
        "sagespark.jobName": "km-1",
        "sagespark.kind": "TrainingJob",
        "sagespark.stage": "KMeans_1",
        "sagespark.jobArn": ARN,
        "sagespark.status": "Completed",
        "sagespark.secondaryStatus": "Completed",
        "sagespark.modelData": "s3://b/model.tar.gz",
        "sagespark.billableSeconds": "7",
    }
    history = mlflow.MlflowClient().get_metric_history(run.info.run_id, "test:msd")
    assert [(m.value, m.step) for m in history] == [(2.0, 0), (1.5, 1)]
    assert history[1].timestamp - history[0].timestamp == 8000


@pytest.mark.parametrize(("status", "expected"), [("Failed", "FAILED"), ("Stopped", "KILLED")])
def test_a_job_that_ends_otherwise(listener: MlflowListener, status: str, expected: str) -> None:
    listener.onJobStarted(STARTED)
    listener.onJobEnded(described(STARTED, status, FailureReason="AlgorithmError: x"))
    run = run_of(listener)
    assert run.info.status == expected
    assert run.data.tags["sagespark.failureReason"] == "AlgorithmError: x"


def test_a_run_goes_on_when_the_job_is_attached_to(listener: MlflowListener, experiment: str) -> None:
    listener.onJobStarted(STARTED)
    listener.onMetrics(described(STARTED, "InProgress", FinalMetricDataList=[metric(2.0, 1)]))
    listener.onJobEnded(replace(described(STARTED, "InProgress"), error=WaitTimeoutError("no answer")))
    run = run_of(listener)
    assert run.info.status == "RUNNING"
    assert run.data.tags["sagespark.waitingEnded"] == "no answer"
    # Another process, which knows the job by its name only.
    attached = replace(STARTED, stage="", request={}, params={})
    later = MlflowListener(experimentName=experiment)
    done = described(attached, "Completed", FinalMetricDataList=[metric(1.0, 5)])
    later.onStatus(done)
    later.onMetrics(done)
    later.onJobEnded(done)
    run = run_of(later)
    assert run.info.status == "FINISHED"
    assert run.data.params["k"] == "10"
    steps = [m.step for m in mlflow.MlflowClient().get_metric_history(run.info.run_id, "test:msd")]
    assert steps == [0, 1]
    assert len(mlflow.MlflowClient().search_runs([run.info.experiment_id])) == 1


def test_a_job_nobody_logged_gets_a_run_when_attached_to(listener: MlflowListener) -> None:
    listener.onJobEnded(described(JobEvent("TrainingJob", "km-9"), "Completed"))
    assert run_of(listener, "km-9").info.status == "FINISHED"


def test_inside_a_run_it_is_a_child(store: str, experiment: str) -> None:
    mlflow.set_experiment(experiment)
    listener = MlflowListener()
    with mlflow.start_run() as parent:
        listener.onJobStarted(STARTED)
        listener.onJobEnded(described(STARTED, "Completed"))
        child = run_of(listener)
    assert child.data.tags["mlflow.parentRunId"] == parent.info.run_id
    assert mlflow.MlflowClient().get_run(parent.info.run_id).data.params == {}


def test_fits_in_threads_have_runs_of_their_own(listener: MlflowListener) -> None:
    def fit(number: int) -> None:
        event = replace(STARTED, name=f"km-{number}", params={"k": number}, request={"HyperParameters": {}})
        listener.onJobStarted(event)
        listener.onMetrics(described(event, "InProgress", FinalMetricDataList=[metric(float(number), 1)]))
        listener.onJobEnded(described(event, "Completed"))

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(fit, range(8)))
    for number in range(8):
        run = run_of(listener, f"km-{number}")
        assert (run.data.params["k"], run.data.metrics["test:msd"]) == (str(number), float(number))


def test_many_and_long_params_are_cut_and_sent_in_batches(listener: MlflowListener) -> None:
    params = {f"p{n}": "x" for n in range(250)} | {"long": "y" * 9000, "odd|name": 1}
    listener.onJobStarted(replace(STARTED, params=params))
    found = run_of(listener).data.params
    assert len(found["long"]) == 6000
    assert found["odd_name"] == "1"
    assert all(f"p{n}" in found for n in range(250))


def test_the_log_is_an_artifact_where_asked(experiment: str) -> None:
    listener = MlflowListener(experimentName=experiment, logOutput=True)
    assert listener.wantsLog
    listener.onJobStarted(STARTED)
    listener.onPoll(replace(STARTED, logLines=("one", "two")))
    listener.onPoll(replace(STARTED, logLines=("three",)))
    listener.onJobEnded(described(STARTED, "Completed"))
    text = mlflow.artifacts.load_text(f"{run_of(listener).info.artifact_uri}/training.log")
    assert text == "one\ntwo\nthree\n"


def test_autolog_registers_one_listener(store: str) -> None:
    before = listeners.everywhere()
    first = autolog()
    second = autolog(experimentName="other")
    try:
        assert [x for x in listeners.everywhere() if x not in before] == [second]
        assert first is not second
    finally:
        assert autolog(disable=True) is None
    assert listeners.everywhere() == before


def test_without_mlflow_autolog_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *args: Any, **kwargs: Any) -> Any:
        if name == "mlflow":
            raise ImportError
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ValidationError, match=r"sagespark\[mlflow\]"):
        autolog()


def test_trials_are_runs_inside_the_tuners(listener: MlflowListener, experiment: str) -> None:
    tuner = JobEvent(
        "HyperParameterTuningJob", "tune", "Tuner_1", {"HyperParameterTuningJobName": "tune"}, {"maxJobs": 2}
    )
    listener.onJobStarted(tuner)
    first = Trial(0, {"k": 3}, "InProgress", name="tune-001-a", tuner="tune", stage="Tuner_1")
    listener.onTrial(first)
    listener.onTrial(replace(first, metrics={"test:msd": 2.0}, description={"TrainingJobArn": ARN}))
    listener.onTrial(
        replace(first, status="Completed", value=1.5, metrics={"test:msd": 1.5}, description={"TrainingJobArn": ARN})
    )
    failed = Trial(1, {"k": 4}, "Failed", failureReason="ValueError: no", tuner="tune", stage="Tuner_1")
    listener.onTrial(failed)
    listener.onJobEnded(replace(tuner, status="Completed"))
    parent, run, second = run_of(listener, "tune"), run_of(listener, "tune-001-a"), run_of(listener, "tune-001")
    assert (parent.info.status, run.info.status, second.info.status) == ("FINISHED", "FINISHED", "FAILED")
    assert run.data.tags["mlflow.parentRunId"] == second.data.tags["mlflow.parentRunId"] == parent.info.run_id
    assert "mlflow.parentRunId" not in parent.data.tags
    assert run.data.params == {"trial": "0", "k": "3"}
    assert run.data.metrics == {"test:msd": 1.5, "objective": 1.5}
    history = mlflow.MlflowClient().get_metric_history(run.info.run_id, "test:msd")
    assert [(m.step, m.value) for m in history] == [(0, 2.0), (1, 1.5)]
    assert run.data.tags["sagespark.jobArn"] == ARN
    assert second.data.tags["sagespark.failureReason"] == "ValueError: no"


def points(*values: float) -> tuple[MetricPoint, ...]:
    return tuple(MetricPoint(1_700_000_000_000 + 1000 * i, value) for i, value in enumerate(values))


def test_a_trials_metrics_are_all_that_its_log_has(listener: MlflowListener) -> None:
    trial = Trial(0, {"k": 3}, name="tune-001-a", tuner="tune", metrics={"test:msd": 3.0})
    listener.onTrial(replace(trial, history={"test:msd": points(4.0, 3.0)}))
    known = {"test:msd": points(4.0, 3.0, 3.0, 1.0)}
    listener.onTrial(replace(trial, status="Completed", value=1.0, metrics={"test:msd": 1.0}, history=known))
    run = run_of(listener, "tune-001-a")
    history = mlflow.MlflowClient().get_metric_history(run.info.run_id, "test:msd")
    assert [(m.step, m.value) for m in history] == [(0, 4.0), (1, 3.0), (2, 3.0), (3, 1.0)]
    assert [m.timestamp for m in history] == [p.timestamp for p in known["test:msd"]]
    assert run.data.metrics == {"test:msd": 1.0, "objective": 1.0}


@pytest.mark.parametrize("seen", ["InProgress", "Failed"])
@pytest.mark.parametrize("same", [True, False], ids=["same process", "another process"])
def test_a_trial_that_is_tried_again_is_one_run(
    listener: MlflowListener, experiment: str, seen: str, same: bool
) -> None:
    tuner = JobEvent("HyperParameterTuningJob", "tune", "Tuner_1")
    listener.onJobStarted(tuner)
    first = Trial(0, {"k": 3}, name="tune-001-aaaa", tuner="tune", stage="Tuner_1")
    reason = "InternalServerError: sorry" if seen == "Failed" else ""
    listener.onTrial(replace(first, status=seen, failureReason=reason, history={"test:msd": points(4.0, 3.0)}))
    if not same:
        listener = MlflowListener(experimentName=experiment)
        listener.onJobStarted(tuner)
    second = replace(first, name="tune-001-bbbb")
    listener.onTrial(second)
    again = points(4.0, 2.0, 1.0)
    listener.onTrial(replace(second, metrics={"test:msd": 4.0}, history={"test:msd": again[:1]}))
    if not same:
        listener = MlflowListener(experimentName=experiment)
        listener.onJobStarted(tuner)
    listener.onTrial(replace(second, status="Completed", value=1.0, history={"test:msd": again}))
    listener.onJobEnded(replace(tuner, status="Completed"))
    run = run_of(listener, "tune-001-bbbb")
    children = mlflow.MlflowClient().search_runs([run.info.experiment_id], "params.trial = '0'")
    assert [c.info.run_id for c in children] == [run.info.run_id]
    assert (run.info.status, run.info.run_name) == ("FINISHED", "tune-001-bbbb")
    assert "sagespark.failureReason" not in run.data.tags
    history = mlflow.MlflowClient().get_metric_history(run.info.run_id, "test:msd")
    assert sorted((m.step, m.value) for m in history) == list(enumerate([4.0, 3.0, 4.0, 2.0, 1.0]))
    assert listener.run_id("tune-001-aaaa") is None
