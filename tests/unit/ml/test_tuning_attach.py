"""Going on with runs that exist: what is taken from a tuning job's description, or from a driver's journal."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pyspark.ml import Pipeline
from pyspark.ml.linalg import VectorUDT
from pyspark.sql.types import BooleanType, StructField, StructType

from sagespark.aws.session import SageMakerSession
from sagespark.aws.tuning_job import TuningJob
from sagespark.bayesopt import Continuous, Integer
from sagespark.core.errors import ValidationError
from sagespark.ml import SageMakerEstimator, tuning_service
from sagespark.ml.clustering import KMeans
from sagespark.ml.feature import PCA
from sagespark.ml.listeners import JobEvent, Listener
from sagespark.ml.tuning import HyperparameterTuner
from sagespark.ml.tuning_driver import _Run
from sagespark.ml.tuning_journal import FileJournal
from sagespark.ml.tuning_ranges import Hint
from support.scripted import Script

ARN = "arn:aws:sagemaker:us-east-1:123456789012:hyper-parameter-tuning-job/tune"
DEPTH = {"Name": "depth", "MinValue": "1", "MaxValue": "9", "ScalingType": "Auto"}


class Heard(Listener):
    """Keeps the metrics that it hears of."""

    def __init__(self) -> None:
        self.metrics: list[Any] = []

    def onMetrics(self, event: JobEvent) -> None:
        self.metrics.append(event.metrics)


def own(*metrics: str) -> SageMakerEstimator:
    """Return an estimator of an own image that writes these metrics."""
    found = [{"Name": m, "Regex": rf"{m}=(\S+)"} for m in metrics]
    return SageMakerEstimator(imageUri="account/own:1", metricDefinitions=found, featuresCol="features")


def description(*definitions: dict[str, Any], **members: Any) -> dict[str, Any]:
    """Return what DescribeHyperParameterTuningJob says; without definitions, of one that minimises loss."""
    config: dict[str, Any] = {"Strategy": "Random", "ResourceLimits": {"MaxParallelTrainingJobs": 2}, "RandomSeed": 4}
    found = {
        "HyperParameterTuningJobName": "tune",
        "HyperParameterTuningJobArn": ARN,
        "HyperParameterTuningJobStatus": "Completed",
        "CreationTime": 1.0,
        "TrainingJobStatusCounters": {},
        "ObjectiveStatusCounters": {},
    }
    one = {"AlgorithmSpecification": {"TrainingImage": "account/own:1", "TrainingInputMode": "File"}}
    if definitions:
        found["TrainingJobDefinitions"] = [{**one, **each} for each in definitions]
    else:
        config["HyperParameterTuningJobObjective"] = {"Type": "Minimize", "MetricName": "loss"}
        config["ParameterRanges"] = {"IntegerParameterRanges": [DEPTH]}
        found["TrainingJobDefinition"] = one
    return {**found, "HyperParameterTuningJobConfig": config, **members}


def objectives(tuner: HyperparameterTuner) -> dict[str, tuple[str, str]]:
    """Return metric and direction of each definition that a tuner would go on with."""
    candidates, problems = tuner._candidates()
    assert problems == []
    return {c.name: (c.objective.metric, c.objective.direction) for c in candidates}


def test_an_own_images_direction_is_the_tuning_jobs(aws: SageMakerSession, script: Script) -> None:
    script.always["DescribeHyperParameterTuningJob"] = description()
    tuner = HyperparameterTuner.attach("tune", own("loss"), aws)
    assert tuner.getObjectiveType() == "Minimize"
    assert objectives(tuner) == {"": ("loss", "Minimize")}


@pytest.mark.parametrize("metrics", [{"a": "loss", "b": "error"}, {"a": "loss", "b": "loss"}])
def test_each_definition_has_its_own_metric(aws: SageMakerSession, script: Script, metrics: dict[str, str]) -> None:
    definitions = [
        {
            "DefinitionName": name,
            "TuningObjective": {"Type": "Minimize", "MetricName": metric},
            "HyperParameterRanges": {"IntegerParameterRanges": [DEPTH]},
        }
        for name, metric in metrics.items()
    ]
    script.always["DescribeHyperParameterTuningJob"] = description(*definitions)
    tuner = HyperparameterTuner.attach("tune", {name: own(metric) for name, metric in metrics.items()}, aws)
    assert objectives(tuner) == {name: (metric, "Minimize") for name, metric in metrics.items()}


def test_events_name_the_metric_of_the_best_definition(aws: SageMakerSession) -> None:
    metrics = {"a": "loss", "b": "error"}
    tuner = HyperparameterTuner(
        estimator={name: own(metric) for name, metric in metrics.items()},
        ranges={name: {"depth": Integer(1, 9)} for name in metrics},
        objectiveMetricName=metrics,
    )
    heard = Heard()
    candidates, _ = tuner._candidates()
    watch = tuning_service.TuningWatch(TuningJob(aws, "tune"), [heard], aws.clock, candidates=candidates)
    final = {"MetricName": "error", "Value": 0.5}
    best = {
        "TrainingJobName": "tune-001-a",
        "TrainingJobDefinitionName": "b",
        "FinalHyperParameterTuningJobObjectiveMetric": final,
    }
    watch.update(description(BestTrainingJob=best))
    assert heard.metrics == [{"error": 0.5}]


def trial(number: int, status: str = "Completed", **tuned: str) -> dict[str, Any]:
    """Return the summary of a training job."""
    name = f"tune-{number:03d}-a"
    arn = f"arn:aws:sagemaker:us-east-1:123456789012:training-job/{name}"
    final = {"Type": "Minimize", "MetricName": "test:msd", "Value": float(number)}
    return {
        "TrainingJobName": name,
        "TrainingJobArn": arn,
        "CreationTime": 1.0,
        "TrainingJobStatus": status,
        "TunedHyperParameters": tuned,
        "FinalHyperParameterTuningJobObjectiveMetric": final,
    }


def test_what_autotune_chose_is_known_by_the_trials(aws: SageMakerSession, script: Script) -> None:
    rows = [trial(n, k=str(n + 1), init_method=word, new="1") for n, word in ((1, "random"), (2, "kmeans++"))]
    objective = {"Type": "Minimize", "MetricName": "test:msd"}
    described = description(Autotune={"Mode": "Enabled"}, BestTrainingJob=rows[0])
    config = described["HyperParameterTuningJobConfig"]
    hints = {"AutoParameters": [{"Name": "k", "ValueHint": "12"}]}
    config |= {"HyperParameterTuningJobObjective": objective, "ParameterRanges": hints}
    script.always["DescribeHyperParameterTuningJob"] = described
    script.always["ListTrainingJobsForHyperParameterTuningJob"] = {"TrainingJobSummaries": rows}
    script.always["DescribeTrainingJob"] = {
        "TrainingJobName": rows[0]["TrainingJobName"],
        "TrainingJobArn": rows[0]["TrainingJobArn"],
        "TrainingJobStatus": "Completed",
        "SecondaryStatus": "Completed",
        "ModelArtifacts": {"S3ModelArtifacts": "s3://bucket/model.tar.gz"},
        "AlgorithmSpecification": {"TrainingImage": "account/own:1", "TrainingInputMode": "File"},
        "HyperParameters": {"feature_dim": "3"},
        "ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 1},
        "StoppingCondition": {"MaxRuntimeInSeconds": 600},
        "CreationTime": 1.0,
    }
    km = KMeans(k=5, endpointPolicy="never")
    tuner = HyperparameterTuner.attach("tune", km, aws)
    assert tuner.getAutotune()
    assert not tuner.isSet(tuner.maxJobs)
    assert tuner.getRanges() == {"k": Hint(12)}
    model = tuner.wait()
    # KMeans has no hyperparameter of the third name.
    assert model.bestParams == {"k": 2, "init_method": "random"}
    assert model.bestModel.getK() == 2
    ranges = model.strategy().space.ranges
    assert (ranges["k"], set(ranges["init_method"].values)) == (Integer(2, 3), {"random", "kmeans++"})
    assert [t.config["k"] for t in model._trials] == [2, 3]


def test_trials_are_in_the_order_of_their_numbers(aws: SageMakerSession, script: Script) -> None:
    def row(name: str, time: float) -> dict[str, Any]:
        return {
            "TrainingJobName": name,
            "TrainingJobArn": "arn:job",
            "CreationTime": time,
            "TrainingJobStatus": "Completed",
            "TunedHyperParameters": {"depth": "3"},
        }

    # A job that was tried again is younger than the next ones, and keeps its place.
    names = {"tune-1000-a": 4.0, "tune-999-b": 3.0, "tune-101-c": 9.0, "tune-102-d": 2.0}
    script.always["ListTrainingJobsForHyperParameterTuningJob"] = {
        "TrainingJobSummaries": [row(name, time) for name, time in names.items()]
    }
    tuner = HyperparameterTuner(estimator=own("loss"), ranges={"depth": Integer(1, 9)}, objectiveMetricName="loss")
    found = tuning_service.trials(TuningJob(aws, "tune"), tuner._candidates()[0])
    assert [t.name for t in found] == ["tune-101-c", "tune-102-d", "tune-999-b", "tune-1000-a"]
    script.always["ListTrainingJobsForHyperParameterTuningJob"] = {
        "TrainingJobSummaries": [row("b", 3.0), row("a", 9.0), row("c", 1.0)]
    }
    assert [t.name for t in tuning_service.trials(TuningJob(aws, "tune"), tuner._candidates()[0])] == ["c", "b", "a"]


@pytest.mark.parametrize(
    ("given", "held"),
    [
        ({"validationIndicatorCol": "held"}, "validationIndicatorCol held"),
        ({"trainRatio": 0.6}, "trainRatio 0.6"),
        ({"validationIndicatorCol": "a column (b)"}, None),
        ({}, None),
    ],
)
def test_a_pipeline_is_fitted_again_on_the_rows_of_before(
    aws: SageMakerSession, script: Script, given: dict[str, Any], held: str | None
) -> None:
    asked = HyperparameterTuner(
        estimator=KMeans(k=2), ranges={"epochs": Integer(1, 9)}, objectiveMetricName="test:msd", **given
    ).setSagemakerSession(aws)
    fields = [StructField("features", VectorUDT()), StructField("held", BooleanType())]
    plan = asked.plan(StructType([*fields, StructField("a column (b)", BooleanType())]))
    tags = {t["Key"]: t["Value"] for t in plan.tuningJob["Tags"]}
    # A name that no tag can hold is not written down.
    assert tags.get("sagespark:validation") == held
    script.always["DescribeHyperParameterTuningJob"] = description()
    script.always["ListTags"] = {"Tags": plan.tuningJob["Tags"]}
    tuner = HyperparameterTuner.attach("tune", Pipeline(stages=[PCA(k=2), own("loss")]), aws)
    expected = given if held else {}
    assert tuner.getValidationIndicatorCol() == expected.get("validationIndicatorCol")
    assert tuner.getTrainRatio() == expected.get("trainRatio", 0.75)
    # Alone, the stage that was tuned is not fitted again.
    script.sent.clear()
    HyperparameterTuner.attach("tune", own("loss"), aws)
    assert script.operations == ["DescribeHyperParameterTuningJob"]


def test_held_out_rows_that_were_a_dataset_are_asked_for(aws: SageMakerSession, script: Script) -> None:
    script.always["DescribeHyperParameterTuningJob"] = description()
    script.always["ListTags"] = {"Tags": [{"Key": "sagespark:validation", "Value": "validationDataset"}]}
    tuner = HyperparameterTuner.attach("tune", Pipeline(stages=[PCA(k=2), own("loss")]), aws)
    with pytest.raises(ValidationError, match=r"attach\('tune', estimator=..., validationDataset=...\)"):
        tuner.wait()


# -- the driver's -----------------------------------------------------------------------------------------------------


def head(**members: Any) -> dict[str, Any]:
    """Return the first row of a journal."""
    found = {"name": "run1", "ranges": [], "params": {"strategy": "Random", "runOn": "driver"}, "configs": []}
    ranges = [{"name": "tol", "kind": "Continuous", "minValue": 0.0, "maxValue": 1.0, "scaling": "Auto"}]
    return {**found, "ranges": ranges, **members}


def test_a_folder_needs_no_slash(aws: SageMakerSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    FileJournal(tmp_path / "run1").append(head())
    monkeypatch.chdir(tmp_path)
    # The script has no answers: nothing is asked of the service.
    tuner = HyperparameterTuner.attach("run1", KMeans(), aws)
    assert tuner.getCheckpointDir() == "run1"
    assert tuner.getRanges() == {"tol": Continuous(0.0, 1.0)}


class Evaluator:
    """An MLlib evaluator, as far as a tuner asks."""

    def evaluate(self, frame: Any) -> float:
        raise NotImplementedError  # scripted trials are not scored: a call fails the test

    def isLargerBetter(self) -> bool:
        return False

    def getMetricName(self) -> str:
        return "rmse"


class Rows:
    """A DataFrame, as far as a tuner asks before it runs."""

    schema = StructType()


def run(tuner: HyperparameterTuner) -> _Run:
    candidates, problems = tuner._candidates()
    assert problems == []
    found = _Run(tuner, candidates[0], None)
    found.open()
    return found


def test_a_run_that_an_evaluator_scored_says_how_to_go_on_and_does(tmp_path: Path) -> None:
    folder = str(tmp_path / "run")
    held: Any = Rows()
    given: dict[str, Any] = {"evaluator": Evaluator(), "validationDataset": held}
    first = HyperparameterTuner(
        estimator=KMeans(), ranges={"tol": Continuous(0.0, 1.0)}, strategy="Random", checkpointDir=folder, **given
    )
    command = f"HyperparameterTuner.attach({folder!r}, estimator=..., "
    command += "evaluator=Evaluator(metricName='rmse', ...), validationDataset=...)"
    assert run(first).command == command
    with pytest.raises(ValidationError, match=r"whose estimator is not kept") as caught:
        HyperparameterTuner.attach(folder)
    assert command in str(caught.value)
    bare = HyperparameterTuner.attach(folder, KMeans())
    with pytest.raises(ValidationError, match="could not be kept, evaluator and validationDataset") as caught:
        bare._fit(held)
    assert command in str(caught.value)
    assert run(HyperparameterTuner.attach(folder, KMeans(), **given)).name == run(first).name


def test_a_run_goes_on_with_the_rows_that_it_began_with(tmp_path: Path) -> None:
    folder = str(tmp_path / "run")
    given: dict[str, Any] = {"evaluator": Evaluator()}
    asked = HyperparameterTuner(
        estimator=KMeans(), ranges={"tol": Continuous(0.0, 1.0)}, strategy="Random", checkpointDir=folder, **given
    )
    run(asked.setTrainRatio(0.6))
    resumed = HyperparameterTuner.attach(folder, KMeans(), **given)
    assert resumed.getTrainRatio() == 0.6
    run(resumed)
    with pytest.raises(ValidationError, match=r"validation was 'trainRatio 0.6' and is 'validationIndicatorCol held'"):
        run(resumed.setValidationIndicatorCol("held"))
    # Journals of earlier versions do not say.
    path = tmp_path / "run" / "trials.jsonl"
    path.write_text(path.read_text().replace('"validation": "trainRatio 0.6", ', ""))
    run(resumed)
