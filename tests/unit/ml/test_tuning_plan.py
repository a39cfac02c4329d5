"""Tuners without Spark and without a service: what is asked for, what is refused, what is kept."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import botocore.session
import pytest
from botocore.validate import ParamValidator
from pyspark.ml import Pipeline
from pyspark.ml.linalg import VectorUDT
from pyspark.sql.types import BooleanType, DoubleType, StructField, StructType

from sagespark.aws.session import SageMakerSession
from sagespark.bayesopt import Bayesian, Categorical, Continuous, Integer, Space
from sagespark.core.errors import ValidationError
from sagespark.core.s3uri import S3Uri
from sagespark.ml import SageMakerEstimator, tuning_trials
from sagespark.ml.clustering import KMeans
from sagespark.ml.feature import PCA
from sagespark.ml.frameworks import SKLearn
from sagespark.ml.tuning import HyperparameterTuner, HyperparameterTunerModel, Trial, WarmStart
from sagespark.ml.tuning_journal import FileJournal, journal
from sagespark.ml.tuning_ranges import Hint, as_json, configured, from_json, resolve
from sagespark.ml.tuning_runs import stages_of
from sagespark.ml.tuning_wire import from_request
from support.clocks import FakeClock

MODEL = botocore.session.get_session().get_service_model("sagemaker")
SCHEMA = StructType(
    [
        StructField("features", VectorUDT()),
        StructField("held", BooleanType()),
        StructField("y", DoubleType()),
    ]
)


def tuner(session: SageMakerSession, **given: Any) -> HyperparameterTuner:
    km = given.pop("estimator", None) or KMeans(k=2, epochs=2, seed=1)
    defaults = {"ranges": {"epochs": Integer(1, 9)}, "objectiveMetricName": "test:msd", "sagemakerSession": session}
    return HyperparameterTuner(estimator=km, **{**defaults, **given})


def check(request: dict[str, Any]) -> None:
    """Hold a request against AWS's own model."""
    shape = MODEL.operation_model("CreateHyperParameterTuningJob").input_shape
    found = ParamValidator().validate(request, shape)
    assert not found.has_errors(), found.generate_report()


def report(width: int, channel: str) -> Any:
    return SimpleNamespace(width=width, manifest=S3Uri("bucket", f"{channel}/manifest"), rows=4, labels=None)


# -- the request ----------------------------------------------------------------------------------------------


def test_the_plan_is_the_request_and_creates_nothing(aws: SageMakerSession) -> None:
    plan = tuner(aws).plan(SCHEMA)
    definition = plan.tuningJob["TrainingJobDefinition"]
    assert [c["ChannelName"] for c in definition["InputDataConfig"]] == ["train", "test"]
    assert {d.name for d in plan.deferred} == {"feature_dim", "S3Uri"}
    resolved = plan.resolve([{"train": report(3, "train"), "test": report(3, "test")}])
    assert resolved.deferred == ()
    check(resolved.tuningJob)
    definition = resolved.tuningJob["TrainingJobDefinition"]
    # What is tuned is not static, what was set is.
    assert definition["StaticHyperParameters"] == {"k": "2", "feature_dim": "3"}
    assert definition["Environment"] == {"SAGESPARK_SEED": "1"}
    uris = [c["DataSource"]["S3DataSource"]["S3Uri"] for c in definition["InputDataConfig"]]
    assert uris == ["s3://bucket/train/manifest", "s3://bucket/test/manifest"]
    config = resolved.tuningJob["HyperParameterTuningJobConfig"]
    assert config["HyperParameterTuningJobObjective"] == {"Type": "Minimize", "MetricName": "test:msd"}
    assert config["ParameterRanges"] == {
        "IntegerParameterRanges": [{"Name": "epochs", "MinValue": "1", "MaxValue": "9", "ScalingType": "Auto"}]
    }
    assert len(resolved.tuningJob["HyperParameterTuningJobName"]) <= 32
    assert {t["Key"] for t in resolved.tuningJob["Tags"]} >= {"team", "sagespark", "sagespark:run"}


def test_every_argument_has_its_place_in_the_request(aws: SageMakerSession) -> None:
    km = KMeans(k=2, featuresCol="features", keepAlivePeriodInSeconds=60)
    plan = tuner(
        aws,
        estimator=km,
        ranges={
            km.k: Integer(2, 9),
            "tol": Continuous(1e-5, 0.5, "Logarithmic"),
            "initMethod": Categorical(["random"]),
        },
        strategy="Random",
        maxJobs=30,
        maxParallelJobs=5,
        maxRuntimeInSeconds=300,
        earlyStoppingType="Auto",
        seed=4,
        targetObjectiveMetricValue=0.5,
        maxJobsNotImproving=6,
        completeOnConvergence=True,
        maxRetryAttempts=2,
        instanceTypes=["ml.m5.large", "ml.m5.xlarge"],
        tuningJobName="mine",
        autotune=True,
        tags={"a": "b"},
        warmStart=WarmStart(["one", "two"], "TransferLearning"),
    ).plan(SCHEMA)
    request = plan.resolve([{"train": report(3, "train"), "test": report(3, "test")}]).tuningJob
    check(request)
    assert request["HyperParameterTuningJobName"] == "mine"
    assert request["Autotune"] == {"Mode": "Enabled"}
    assert request["WarmStartConfig"]["WarmStartType"] == "TransferLearning"
    config = request["HyperParameterTuningJobConfig"]
    assert config["ResourceLimits"] == {
        "MaxNumberOfTrainingJobs": 30,
        "MaxParallelTrainingJobs": 5,
        "MaxRuntimeInSeconds": 300,
    }
    assert config["TuningJobCompletionCriteria"] == {
        "TargetObjectiveMetricValue": 0.5,
        "BestObjectiveNotImproving": {"MaxNumberOfTrainingJobsNotImproving": 6},
        "ConvergenceDetected": {"CompleteOnConvergence": "Enabled"},
    }
    assert config["TrainingJobEarlyStoppingType"] == "Auto"
    assert config["RandomSeed"] == 4
    definition = request["TrainingJobDefinition"]
    assert definition["RetryStrategy"] == {"MaximumRetryAttempts": 2}
    resources = definition["HyperParameterTuningResourceConfig"]
    assert [c["InstanceType"] for c in resources["InstanceConfigs"]] == ["ml.m5.large", "ml.m5.xlarge"]
    assert "ResourceConfig" not in definition
    # The wire's names, whatever the user called them.
    assert {r["Name"] for rows in config["ParameterRanges"].values() for r in rows} == {
        "k",
        "local_lloyd_tol",
        "init_method",
    }


def test_grid_and_hyperband_in_the_services_terms(aws: SageMakerSession) -> None:
    grid = tuner(aws, strategy="Grid", levels=3, maxParallelJobs=2).plan(SCHEMA).tuningJob
    config = grid["HyperParameterTuningJobConfig"]
    assert config["ParameterRanges"] == {"CategoricalParameterRanges": [{"Name": "epochs", "Values": ["1", "5", "9"]}]}
    assert config["ResourceLimits"] == {"MaxNumberOfTrainingJobs": 3, "MaxParallelTrainingJobs": 2}
    band = tuner(aws, strategy="Hyperband", minResource=1, maxResource=9, ranges={"k": Integer(2, 5)}).plan(SCHEMA)
    config = band.tuningJob["HyperParameterTuningJobConfig"]
    assert config["StrategyConfig"] == {"HyperbandStrategyConfig": {"MinResource": 1, "MaxResource": 9}}


def test_a_described_job_has_the_same_ranges_again() -> None:
    described = {
        "IntegerParameterRanges": [{"Name": "k", "MinValue": "2", "MaxValue": "9", "ScalingType": "Linear"}],
        "CategoricalParameterRanges": [
            {"Name": "epochs", "Values": ["1", "5"]},
            {"Name": "init_method", "Values": ["random", "kmeans++"]},
        ],
    }
    assert from_request(described, Pipeline(stages=[KMeans()])) == {
        "k": Integer(2, 9, "Linear"),
        "epochs": Categorical([1, 5]),
        "init_method": Categorical(["random", "kmeans++"]),
    }


def test_categories_of_a_script_are_json_again() -> None:
    script = SKLearn(entryPoint="train.py")
    tuned, _ = resolve(script, {"kind": Categorical(["a", 2, True])})
    described = {"CategoricalParameterRanges": [tuned[0].to_range()[1]]}
    assert from_request(described, script) == {"kind": Categorical(["a", 2, True])}


def test_autotune_chooses_what_is_not_set(aws: SageMakerSession) -> None:
    asked = tuner(aws, autotune=True, ranges={}, maxParallelJobs=25)
    request = asked.plan(SCHEMA).tuningJob
    config = request["HyperParameterTuningJobConfig"]
    assert request["Autotune"] == {"Mode": "Enabled"}
    assert config["ResourceLimits"] == {"MaxParallelTrainingJobs": 25}
    assert "TrainingJobEarlyStoppingType" not in config
    config = asked.setMaxJobs(30).setEarlyStoppingType("Off").plan(SCHEMA).tuningJob["HyperParameterTuningJobConfig"]
    assert config["ResourceLimits"] == {"MaxNumberOfTrainingJobs": 30, "MaxParallelTrainingJobs": 25}
    assert config["TrainingJobEarlyStoppingType"] == "Off"


def test_autotune_chooses_the_range_around_an_example(aws: SageMakerSession) -> None:
    km = KMeans()
    asked = tuner(aws, estimator=km, autotune=True, ranges={km.k: 12, "epochs": Integer(1, 3), "initMethod": "random"})
    request = asked.plan(SCHEMA).resolve([{"train": report(3, "train"), "test": report(3, "test")}]).tuningJob
    check(request)
    ranges = request["HyperParameterTuningJobConfig"]["ParameterRanges"]
    hints = [{"Name": "k", "ValueHint": "12"}, {"Name": "init_method", "ValueHint": "random"}]
    assert ranges["AutoParameters"] == hints
    assert [r["Name"] for r in ranges["IntegerParameterRanges"]] == ["epochs"]
    assert request["TrainingJobDefinition"]["StaticHyperParameters"] == {"feature_dim": "3"}
    tuned = asked._candidates()[0][0].tuned
    assert resolve(km, from_json(as_json(tuned)))[0][0].range == tuned[0].range
    # An attached tuner asks for the same.
    assert from_request({"AutoParameters": hints}, km) == {"k": Hint(12), "init_method": Hint("random")}
    for wrong, text in (({"k": 0}, "k must be an integer"), ({"k": [3]}, "must be a Continuous, Integer or Cat")):
        with pytest.raises(ValidationError, match=text):
            asked.copy().setRanges(wrong).plan(SCHEMA)
    with pytest.raises(ValidationError, match="range, but got 12"):
        asked.setAutotune(False).plan(SCHEMA)


def test_tags_of_the_estimator_and_of_the_tuner_are_on_all_jobs(aws: SageMakerSession) -> None:
    plan = tuner(aws, estimator=KMeans(tags={"a": "km", "b": "km"}), tags={"a": "tuner"}).plan(SCHEMA)
    tags = {t["Key"]: t["Value"] for t in plan.tuningJob["Tags"]}
    assert (tags["a"], tags["b"], tags["team"]) == ("tuner", "km", "blue")


def test_several_estimators_are_several_definitions(aws: SageMakerSession) -> None:
    plan = tuner(
        aws,
        estimator={"few": KMeans(k=2), "many": KMeans(k=20)},
        ranges={"few": {"epochs": Integer(1, 3)}, "many": {"k": Integer(10, 30)}},
    ).plan(SCHEMA)
    staged = {"train": report(3, "train"), "test": report(3, "test")}
    request = plan.resolve([staged, staged]).tuningJob
    check(request)
    few, many = request["TrainingJobDefinitions"]
    assert (few["DefinitionName"], many["DefinitionName"]) == ("few", "many")
    assert few["TuningObjective"] == many["TuningObjective"] == {"Type": "Minimize", "MetricName": "test:msd"}
    assert many["HyperParameterRanges"]["IntegerParameterRanges"][0]["Name"] == "k"
    assert "ParameterRanges" not in request["HyperParameterTuningJobConfig"]


def images(**metrics: str) -> dict[str, Any]:
    """Return what tunes an own image for each definition, with the metric that it writes."""
    found = {
        name: SageMakerEstimator(
            imageUri=f"account/{name}:1",
            metricDefinitions=[{"Name": metric, "Regex": rf"{metric}=(\S+)"}],
            featuresCol="features",
        )
        for name, metric in metrics.items()
    }
    return {"estimator": found, "ranges": {name: {"depth": Integer(1, 9)} for name in found}}


def test_definitions_have_metrics_of_their_own(aws: SageMakerSession) -> None:
    metrics = {"tree": "loss", "net": "error"}
    asked = tuner(aws, **images(**metrics), objectiveMetricName=metrics, objectiveType="Minimize")
    request = asked.plan(SCHEMA).tuningJob
    objectives = {d["DefinitionName"]: d["TuningObjective"] for d in request["TrainingJobDefinitions"]}
    assert objectives == {name: {"Type": "Minimize", "MetricName": metric} for name, metric in metrics.items()}
    assert asked.copy().getObjectiveMetricName() == metrics


def test_any_image_is_tuned_by_its_own_names(aws: SageMakerSession) -> None:
    any_image = SageMakerEstimator(
        imageUri="account/own:1",
        hyperparameters={"depth": 3, "kind": "tree"},
        metricDefinitions=[{"Name": "auc", "Regex": r"auc=(\S+)"}],
        featuresCol="features",
    )
    ranges = {"depth": Integer(1, 9), "rate": Continuous(0.01, 1.0)}
    request = tuner(aws, estimator=any_image, ranges=ranges, objectiveMetricName="auc").plan(SCHEMA).tuningJob
    assert request["TrainingJobDefinition"]["StaticHyperParameters"] == {"kind": "tree"}
    objective = request["HyperParameterTuningJobConfig"]["HyperParameterTuningJobObjective"]
    assert objective == {"Type": "Maximize", "MetricName": "auc"}
    assert [c["ChannelName"] for c in request["TrainingJobDefinition"]["InputDataConfig"]] == ["train"]


def test_scripts_get_their_values_as_json() -> None:
    script = SKLearn(entryPoint="train.py", hyperparameters={"depth": 3})
    tuned, problems = resolve(script, {"depth": Integer(1, 9), "kind": Categorical(["a", "b"])})
    assert problems == []
    assert [t.to_range()[1] for t in tuned] == [
        {"Name": "depth", "MinValue": "1", "MaxValue": "9", "ScalingType": "Auto"},
        {"Name": "kind", "Values": ['"a"', '"b"']},
    ]
    assert tuned[1].from_wire('"b"') == "b"
    # On the driver the estimator encodes them itself.
    assert configured(script, tuned, {"depth": 5, "kind": "a"}).getHyperparameters() == {"depth": "5", "kind": "a"}


def test_rows_of_the_estimators_own_channel_are_left_alone(aws: SageMakerSession) -> None:
    request = tuner(aws, estimator=KMeans(testIndicatorCol="held")).plan(SCHEMA).tuningJob
    channels = [c["ChannelName"] for c in request["TrainingJobDefinition"]["InputDataConfig"]]
    assert channels == ["train", "test"]
    request = tuner(aws, objectiveMetricName="train:msd").plan(SCHEMA).tuningJob
    assert [c["ChannelName"] for c in request["TrainingJobDefinition"]["InputDataConfig"]] == ["train"]


# -- what is refused ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"ranges": {}}, "ranges must hold at least one range"),
        ({"ranges": {"epoch": Integer(1, 3)}}, "no stage has a Param 'epoch'; did you mean 'epochs'?"),
        ({"ranges": {"epochs": (1, 3)}}, "must be a Continuous, Integer or Categorical range, but got (1, 3)"),
        ({"ranges": {"epochs": Integer(0, 3)}}, "ranges['epochs']: epochs must be an integer >= 1, but got 0"),
        ({"ranges": {KMeans(k=3).k: Integer(2, 3)}}, "which is not inside the estimator"),
        ({"ranges": {"maxIter": Integer(1, 3), "localLloydMaxIter": Integer(1, 3)}}, "is tuned twice"),
        ({"objectiveMetricName": "test:msq"}, "kmeans has no metric 'test:msq'"),
        ({"objectiveMetricName": "test:msq"}, "did you mean 'test:msd'?"),
        ({"objectiveType": "Maximize"}, "test:msd of kmeans is to Minimize, but got 'Maximize'"),
        ({"objectiveMetricName": None}, "give exactly one of objectiveMetricName and evaluator"),
        ({"strategy": "Sobol", "runOn": "service"}, "strategy Sobol is the driver's only; take runOn='driver'"),
        ({"strategy": "Manual", "runOn": "driver"}, "strategy 'Manual' needs configs"),
        ({"strategy": "Sobol", "autotune": True}, "autotune is the service's only"),
        ({"strategy": "Hyperband", "runOn": "driver"}, "strategy 'Hyperband' is the service's only"),
        ({"strategy": "Hyperband", "earlyStoppingType": "Auto"}, "must be 'Off' with Hyperband"),
        ({"minResource": 3}, "minResource and maxResource are for strategy 'Hyperband' only"),
        ({"configs": [{"epochs": 1}]}, "configs are for strategy 'Manual' only"),
        ({"maxJobs": 2, "maxParallelJobs": 3}, "maxParallelJobs must not be above maxJobs (2), but got 3"),
        ({"validationIndicatorCol": "nope"}, "validationIndicatorCol: there is no column 'nope'"),
        ({"validationIndicatorCol": "y"}, "column 'y' must be boolean, but is double"),
        ({"estimator": KMeans(featuresCol="x")}, "'x'"),
        (
            {
                "estimator": SageMakerEstimator(
                    imageUri="own:1",
                    featuresCol="features",
                    containerEntryPoint=["/bin/sh"],
                    metricDefinitions=[{"Name": "test:msd", "Regex": r"m=(\S+)"}],
                ),
                "runOn": "service",
            },
            "a tuning job runs its image's own program",
        ),
        ({"estimator": {"a": KMeans()}}, "ranges must be a dict with the estimators' names ['a'], but got ['epochs']"),
        ({"estimator": Pipeline(stages=[PCA(k=2), KMeans()])}, "has stages in front of it"),
        ({"objectiveMetricName": {"a": "test:msd"}}, "must be a string where one estimator is tuned"),
        (
            {**images(a="x", b="y"), "objectiveMetricName": {"a": "x"}},
            "objectiveMetricName must have the estimators' names ['a', 'b'], but got ['a']",
        ),
        (
            {
                "estimator": {"a": KMeans(), "b": images(b="y")["estimator"]["b"]},
                "ranges": {"a": {"epochs": Integer(1, 3)}, "b": {"depth": Integer(1, 3)}},
                "objectiveMetricName": {"a": "test:msd", "b": "y"},
            },
            "test:msd of 'a' is to Minimize, y of 'b' is to Maximize",
        ),
    ],
)
def test_what_does_not_go_together_is_refused(aws: SageMakerSession, given: dict[str, Any], text: str) -> None:
    with pytest.raises(ValidationError) as caught:
        tuner(aws, **given).plan(SCHEMA)
    assert text in str(caught.value)


def test_all_problems_come_together(aws: SageMakerSession) -> None:
    wrong = {"ranges": {"epoch": Integer(1, 3)}, "objectiveMetricName": "no", "validationIndicatorCol": "nope"}
    with pytest.raises(ValidationError) as caught:
        tuner(aws, **wrong, maxJobs=1, maxParallelJobs=2).plan(SCHEMA)
    assert len(caught.value.problems) == 4
    with pytest.raises(ValidationError, match="estimator must be set"):
        HyperparameterTuner(sagemakerSession=aws).plan(SCHEMA)


def test_arguments_of_another_type_are_refused_at_once() -> None:
    with pytest.raises(TypeError, match="estimator must be an Estimator"):
        HyperparameterTuner(estimator=3)
    with pytest.raises(TypeError, match="no Param 'maxJob'; did you mean 'maxJobs'"):
        HyperparameterTuner(maxJob=3)
    with pytest.raises(TypeError, match="objectiveMetricName must be a string, or a dict of names to strings"):
        HyperparameterTuner(objectiveMetricName=3)
    with pytest.raises(TypeError, match=r"objectiveMetricName\['a'\] must be a string"):
        HyperparameterTuner(objectiveMetricName={"a": 3})
    with pytest.raises(TypeError, match="evaluator must be an Evaluator"):
        HyperparameterTuner(evaluator="auc")
    with pytest.raises(ValueError, match="'Bayesian' or 'Random'"):
        HyperparameterTuner(strategy="Bayes")
    with pytest.raises(ValidationError, match="parents must be 1 to 5 names"):
        WarmStart([])
    with pytest.raises(ValidationError, match="type must be"):
        WarmStart(["a"], "Identical")


# -- ranges and stages ----------------------------------------------------------------------------------------


def test_a_name_that_two_stages_have_needs_the_param() -> None:
    first, second = KMeans(), KMeans()
    both = Pipeline(stages=[first, second])
    _, problems = resolve(both, {"k": Integer(2, 3)})
    assert "is in several stages" in problems[0]
    tuned, problems = resolve(both, {first.k: Integer(2, 3), second.k: Integer(4, 5)})
    assert problems == []
    assert [t.name for t in tuned] == [f"{first.uid}.k", f"{second.uid}.k"]
    copy = configured(both, tuned, {tuned[0].name: 2, tuned[1].name: 5})
    assert [s.getK() for s in copy.getStages()] == [2, 5]
    assert first.getK() == 2


def test_stages_around_the_tuned_one_are_told_apart() -> None:
    pca, km = PCA(k=2), KMeans()
    stages = stages_of(Pipeline(stages=[Pipeline(stages=[pca]), km]), resolve(km, {"k": Integer(2, 3)})[0])
    assert (stages.before, stages.first, stages.after, stages.alone) == ((pca,), km, (), True)
    tuned, _ = resolve(Pipeline(stages=[pca, km]), {pca.k: Integer(2, 3), km.k: Integer(2, 3)})
    assert not stages_of(Pipeline(stages=[pca, km]), tuned).alone


def test_ranges_survive_json() -> None:
    ranges = {"k": Integer(2, 30, "Logarithmic"), "tol": Continuous(0.0, 0.5), "initMethod": Categorical(["random"])}
    tuned, problems = resolve(KMeans(), ranges)
    assert problems == []
    assert from_json(as_json(tuned)) == ranges


# -- what is kept ---------------------------------------------------------------------------------------------


def test_a_journal_in_a_folder_survives_half_a_line(tmp_path: Path) -> None:
    kept = FileJournal(tmp_path / "run")
    assert kept.read() == []
    kept.append({"a": 1})
    kept.append({"b": 0.1})
    with (tmp_path / "run" / "trials.jsonl").open("ab") as file:
        file.write(b'{"c": ')
    assert kept.read() == [{"a": 1}, {"b": 0.1}]
    kept.append({"d": 2})
    assert FileJournal(tmp_path / "run").read() == [{"a": 1}, {"b": 0.1}, {"d": 2}]


@pytest.mark.parametrize("folder", ["hdfs:///x", "dbfs:/x", "abfss://c@a/x"])
def test_a_journal_elsewhere_is_refused_with_the_way_out(folder: str) -> None:
    with pytest.raises(ValidationError, match="must be a local folder or an s3:// prefix"):
        journal(folder, None, "run")


def test_trials_become_a_history_in_the_order_of_their_times(clock: FakeClock) -> None:
    def at(seconds: float) -> Any:
        clock.elapsed = seconds
        return clock.now()

    trials = [
        Trial(0, {"x": 0.1}, "Completed", 1.0, startTime=at(0), endTime=at(9)),
        Trial(1, {"x": 0.2}, "Failed", startTime=at(1), endTime=at(2)),
        Trial(2, {"x": 0.3}, "Stopped", 3.0, startTime=at(3), endTime=at(4)),
        Trial(3, {"x": 0.4}, "InProgress", startTime=at(5)),
    ]
    events = tuning_trials.as_events(trials)
    assert [(e["event"], e["trial"]) for e in events] == [
        ("ask", 0), ("ask", 1), ("tell", 1), ("ask", 2), ("tell", 2), ("ask", 3), ("tell", 0)
    ]  # fmt: skip
    strategy = Bayesian(Space({"x": Continuous(0.0, 1.0)}), history=events)
    assert [t.status for t in strategy.trials] == ["Completed", "Failed", "Stopped", "InProgress"]
    assert tuning_trials.best(trials, "Maximize") == trials[2]
    assert [Trial.from_json(t.to_json()) for t in trials] == trials


def test_classes_live_where_users_import_them_from() -> None:
    for cls in (HyperparameterTuner, HyperparameterTunerModel, WarmStart):
        assert cls.__module__ == "sagespark.ml.tuning"
