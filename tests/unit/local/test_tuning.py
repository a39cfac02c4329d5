"""Tuning jobs: what the coordinator does with training jobs that end as the test says."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sagespark.bayesopt.progress import not_improving
from sagespark.local.tuning import document as documents
from sagespark.local.tuning.definitions import TUNING_OBJECTIVE, definitions
from sagespark.local.tuning.journal import Journal
from support.tuning import METRIC, RANGES, REGION, Bench, definition, request, square

INTERNAL = "InternalServerError: We encountered an internal error. Please try again."


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path)
    yield made
    made.store.close()


def limits(most: int, parallel: int = 1, **more: Any) -> dict[str, Any]:
    return {"MaxNumberOfTrainingJobs": most, "MaxParallelTrainingJobs": parallel, **more}


def counters(document: dict[str, Any]) -> dict[str, int]:
    return {k: v for k, v in document["TrainingJobStatusCounters"].items() if v}


# -- the plain course -----------------------------------------------------------------------------------------


def test_runs_to_its_limit_with_the_jobs_that_the_search_chooses(bench: Bench) -> None:
    document = bench.run(request(strategy="Bayesian", ResourceLimits=limits(14, 3)))
    assert document["HyperParameterTuningJobStatus"] == "Completed"
    assert counters(document) == {"Completed": 14}
    assert document["ObjectiveStatusCounters"] == {"Succeeded": 14, "Pending": 0, "Failed": 0}
    assert [re.sub("-.{8}$", "", name) for name in bench.jobs] == [f"tune-{n:03d}" for n in range(1, 15)]
    values = {name: square(bench.tuned(name)) for name in bench.jobs}
    best = document["BestTrainingJob"]
    assert best["TrainingJobName"] == min(values, key=lambda name: values[name])
    assert best["FinalHyperParameterTuningJobObjectiveMetric"]["Value"] == min(values.values()) < 0.05
    assert set(best["TunedHyperParameters"]) == {"x", "n"}
    # Configurations are never the same twice.
    assert len({(bench.tuned(n)["x"], bench.tuned(n)["n"]) for n in bench.jobs}) == 14


def test_no_more_run_at_a_time_than_allowed_and_counters_follow(bench: Bench) -> None:
    coordinator = bench.begin(request(ResourceLimits=limits(5, 3)))
    coordinator.step()
    assert len(bench.running) == 3
    assert counters(bench.document("tune")) == {"InProgress": 3}
    assert bench.document("tune")["ObjectiveStatusCounters"]["Pending"] == 3
    # Out of order: the last one ends first.
    bench.end(bench.running[-1], 1.0)
    coordinator.step()
    assert len(bench.running) == 3
    assert counters(bench.document("tune")) == {"InProgress": 3, "Completed": 1}


def test_a_training_job_gets_everything_of_its_definition(bench: Bench) -> None:
    sent: list[dict[str, Any]] = []
    asked = request()
    asked["TrainingJobDefinition"] |= {
        "StaticHyperParameters": {"epochs": "4"},
        "VpcConfig": {"SecurityGroupIds": ["sg"], "Subnets": ["sn"]},
        "CheckpointConfig": {"S3Uri": "s3://bench/checkpoints/"},
        "Environment": {"A": "b"},
        "RetryStrategy": {"MaximumRetryAttempts": 2},
        "HyperParameterTuningResourceConfig": {
            "AllocationStrategy": "Prioritized",
            "VolumeKmsKeyId": "key",
            "InstanceConfigs": [
                {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 5},
                {"InstanceType": "ml.m5.xlarge", "InstanceCount": 2, "VolumeSizeInGB": 5},
            ],
        },
    }
    del asked["TrainingJobDefinition"]["ResourceConfig"]
    create = bench.create
    bench.create = lambda r: (sent.append(r), create(r))[1]  # type: ignore[method-assign,func-returns-value]  # a spy
    bench.begin(asked).step()
    job = sent[0]
    assert job["HyperParameters"] == {TUNING_OBJECTIVE: METRIC, "epochs": "4"} | {
        k: job["HyperParameters"][k] for k in ("x", "n")
    }
    assert job["ResourceConfig"] == {
        "InstanceType": "ml.m5.large",
        "InstanceCount": 1,
        "VolumeSizeInGB": 5,
        "VolumeKmsKeyId": "key",
    }
    assert job["CheckpointConfig"]["S3Uri"] == f"s3://bench/checkpoints/{job['TrainingJobName']}"
    assert job["VpcConfig"]["Subnets"] == ["sn"]
    assert job["Environment"] == {"A": "b"}
    assert "RetryStrategy" not in job


@pytest.mark.parametrize("strategy", ["Random", "Bayesian"])
def test_a_restart_before_every_step_changes_nothing(tmp_path: Path, strategy: str) -> None:
    found = []
    for restarts in (False, True):
        bench = Bench(tmp_path / str(restarts))
        bench.run(request(strategy=strategy, ResourceLimits=limits(12, 2)), restarts=restarts)
        found.append([bench.tuned(name) for name in bench.jobs])
        bench.store.close()
    assert found[0] == found[1]


def test_grid_tries_every_combination_once(bench: Bench) -> None:
    ranges = {"CategoricalParameterRanges": [{"Name": "x", "Values": ["0", "1"]}, {"Name": "n", "Values": ["3", "4"]}]}
    document = bench.run(
        request(strategy="Grid", ParameterRanges=ranges, ResourceLimits={"MaxParallelTrainingJobs": 3})
    )
    assert counters(document) == {"Completed": 4}
    assert {(bench.tuned(n)["x"], bench.tuned(n)["n"]) for n in bench.jobs} == {
        (x, n) for x in ("0", "1") for n in ("3", "4")
    }


def test_several_definitions_take_turns_and_the_best_of_all_wins(bench: Bench) -> None:
    asked = request()
    del asked["TrainingJobDefinition"]
    for member in ("HyperParameterTuningJobObjective", "ParameterRanges"):
        del asked["HyperParameterTuningJobConfig"][member]
    objective = {"Type": "Minimize", "MetricName": METRIC}
    asked["TrainingJobDefinitions"] = [
        definition(DefinitionName="near", TuningObjective=objective, HyperParameterRanges=RANGES),
        definition(
            DefinitionName="far",
            TuningObjective=objective,
            HyperParameterRanges={"IntegerParameterRanges": RANGES["IntegerParameterRanges"]},
            StaticHyperParameters={"x": "50"},
        ),
    ]
    document = bench.run(asked)
    assert counters(document) == {"Completed": 10}
    assert [bench.tuned(n).get("x") == "50" for n in bench.jobs].count(True) == 5
    assert document["BestTrainingJob"]["TrainingJobDefinitionName"] == "near"


# -- jobs that do not complete ---------------------------------------------------------------------------------


def test_failed_jobs_are_counted_and_the_search_goes_on(bench: Bench) -> None:
    coordinator = bench.begin(request(ResourceLimits=limits(4)))
    reasons = ["AlgorithmError: Exit Code: 1", "ClientError: bad data", "", ""]
    for reason in reasons:
        coordinator.step()
        name = bench.running[0]
        bench.end(name, None if reason else 1.0, "Failed" if reason else "Completed", reason)
    assert coordinator.step()
    document = bench.document("tune")
    assert document["HyperParameterTuningJobStatus"] == "Completed"
    assert counters(document) == {"Completed": 2, "NonRetryableError": 2}
    assert document["ObjectiveStatusCounters"] == {"Succeeded": 2, "Pending": 0, "Failed": 2}


def test_a_job_without_the_metric_completes_but_its_objective_fails(bench: Bench) -> None:
    coordinator = bench.begin(request(ResourceLimits=limits(2)))
    coordinator.step()
    bench.end(bench.running[0])
    coordinator.step()
    bench.end(bench.running[0], 1.0)
    coordinator.step()
    document = bench.document("tune")
    assert counters(document) == {"Completed": 2}
    assert document["ObjectiveStatusCounters"] == {"Succeeded": 1, "Pending": 0, "Failed": 1}


def test_where_no_job_has_a_result_the_tuning_job_fails(bench: Bench) -> None:
    coordinator = bench.begin(request(ResourceLimits=limits(2)))
    for _ in range(2):
        coordinator.step()
        bench.end(bench.running[0], None, "Failed", "AlgorithmError: Exit Code: 1")
    assert coordinator.step()
    document = bench.document("tune")
    assert document["HyperParameterTuningJobStatus"] == "Failed"
    assert "No training job succeeded after 2 attempts" in document["FailureReason"]
    assert "BestTrainingJob" not in document


@pytest.mark.parametrize(
    ("attempts", "errors", "jobs", "expected"),
    [
        (0, 1, 2, {"RetryableError": 1, "Completed": 1}),
        (1, 1, 3, {"Completed": 2}),
        (2, 3, 4, {"RetryableError": 1, "Completed": 1}),
    ],
)
def test_internal_errors_are_tried_again_as_often_as_asked_for_and_count_once(
    bench: Bench, attempts: int, errors: int, jobs: int, expected: dict[str, int]
) -> None:
    asked = request(ResourceLimits=limits(2))
    if attempts:
        asked["TrainingJobDefinition"]["RetryStrategy"] = {"MaximumRetryAttempts": attempts}
    coordinator = bench.begin(asked)
    for _ in range(errors):
        coordinator.step()
        bench.end(bench.running[0], None, "Failed", INTERNAL)
    while not coordinator.step():
        bench.end(bench.running[0], 1.0)
        coordinator = bench.restart("tune")
    assert len(bench.jobs) == jobs
    assert counters(bench.document("tune")) == expected
    first = [name for name in bench.jobs if name.startswith("tune-001")]
    assert len({(bench.tuned(n)["x"], bench.tuned(n)["n"]) for n in first}) == 1


def test_stopping_ends_the_running_jobs_and_starts_none(bench: Bench) -> None:
    coordinator = bench.begin(request(ResourceLimits=limits(9, 2)))
    coordinator.step()
    bench.end(bench.running[0], 0.5)
    coordinator.step()
    bench.store.update(documents.KIND, REGION, "tune", lambda d: documents.stop(d, bench.clock.now()))
    assert not coordinator.step()
    assert coordinator.step()
    document = bench.document("tune")
    assert document["HyperParameterTuningJobStatus"] == "Stopped"
    assert counters(document) == {"Completed": 1, "Stopped": 2}
    assert document["BestTrainingJob"]["FinalHyperParameterTuningJobObjectiveMetric"]["Value"] == 0.5


# -- stopping early --------------------------------------------------------------------------------------------


def test_early_stopping_stops_what_is_worse_than_the_median_so_far(bench: Bench) -> None:
    coordinator = bench.begin(request(ResourceLimits=limits(8), TrainingJobEarlyStoppingType="Auto"))
    for _ in range(5):
        coordinator.step()
        name = bench.running[0]
        bench.written[name] = [1.0 - 0.05 * i for i in range(10)]
        bench.end(name, 0.55)
    coordinator.step()
    name = bench.running[0]
    bench.written[name] = [3.0, 2.9]
    coordinator.step()
    assert bench.asked_to_stop == [name]
    coordinator = bench.restart("tune")
    coordinator.step()
    rows = Journal(bench.store, REGION, "tune")
    rows.load()
    stopped = next(t.summary for t in rows.trials if t.jobs[-1] == name)
    assert stopped is not None
    assert stopped["TrainingJobStatus"] == "Stopped"
    assert stopped["ObjectiveStatus"] == "Succeeded"
    assert stopped["FinalHyperParameterTuningJobObjectiveMetric"]["Value"] == 2.9


def test_hyperband_stops_jobs_that_have_used_up_their_resource(bench: Bench) -> None:
    config = {"HyperbandStrategyConfig": {"MinResource": 1, "MaxResource": 9}}
    coordinator = bench.begin(request(strategy="Hyperband", StrategyConfig=config, ResourceLimits=limits(13, 1)))
    epochs: list[int] = []
    while not coordinator.step():
        name = bench.running[0]
        while name in bench.running:
            bench.written.setdefault(name, []).append(square(bench.tuned(name)))
            if len(bench.written[name]) == 9:
                bench.end(name, bench.written[name][-1])
            coordinator.step()
        epochs.append(len(bench.written[name]))
    assert sorted(set(epochs)) == [1, 3, 9]
    # The brackets' first rung tries many on little, the last rung few on all.
    assert epochs.count(1) > epochs.count(3) > epochs.count(9) >= 1


def test_the_target_ends_the_job_and_stops_the_rest(bench: Bench) -> None:
    criterion = {"TargetObjectiveMetricValue": 0.2}
    coordinator = bench.begin(request(ResourceLimits=limits(9, 2), TuningJobCompletionCriteria=criterion))
    coordinator.step()
    bench.end(bench.running[0], 0.1)
    assert not coordinator.step()
    assert coordinator.step()
    document = bench.document("tune")
    assert document["HyperParameterTuningJobStatus"] == "Completed"
    assert counters(document) == {"Completed": 1, "Stopped": 1}


def test_no_improvement_ends_the_job(bench: Bench) -> None:
    criterion = {"BestObjectiveNotImproving": {"MaxNumberOfTrainingJobsNotImproving": 3}}
    asked = request(ResourceLimits=limits(20), TuningJobCompletionCriteria=criterion)
    values = iter([1.0, 0.5, 0.499, 0.6, 0.7, 0.1])
    document = bench.run(asked, lambda _: next(values))
    assert counters(document) == {"Completed": 5}
    assert document["TuningJobCompletionDetails"]["NumberOfTrainingJobsObjectiveNotImproving"] == 3


def test_convergence_is_told_and_ends_the_job_where_asked_for(bench: Bench) -> None:
    document = bench.run(request(name="told", ResourceLimits=limits(18)), lambda _: 1.0)
    assert counters(document) == {"Completed": 18}
    assert "ConvergenceDetectedTime" in document["TuningJobCompletionDetails"]
    criterion = {"ConvergenceDetected": {"CompleteOnConvergence": "Enabled"}}
    asked = request(name="ends", ResourceLimits=limits(30), TuningJobCompletionCriteria=criterion)
    assert counters(bench.run(asked, lambda _: 1.0)) == {"Completed": 16}


def test_the_tuning_jobs_own_time_ends_it(bench: Bench) -> None:
    coordinator = bench.begin(request(ResourceLimits=limits(9, 1, MaxRuntimeInSeconds=120)))
    coordinator.step()
    bench.clock.advance(119)
    coordinator.step()
    assert bench.running
    bench.clock.advance(1)
    coordinator.step()
    assert coordinator.step()
    assert counters(bench.document("tune")) == {"Stopped": 1}


@pytest.mark.parametrize(
    ("values", "count"), [([], 0), ([1, 0.995, 0.98], 0), ([1, 0.995], 1), ([-1, -1.005, -2, -2, 5], 2), ([0, -1], 0)]
)
def test_improvement_is_one_per_cent_or_more(values: list[float], count: int) -> None:
    assert not_improving(values) == count


# -- Autotune --------------------------------------------------------------------------------------------------


def test_autotune_takes_the_algorithms_ranges_and_makes_others_from_hints() -> None:
    asked = request() | {"Autotune": {"Mode": "Enabled"}}
    image = "382416733822.dkr.ecr.us-east-1.amazonaws.com/kmeans:1"
    asked["TrainingJobDefinition"]["AlgorithmSpecification"] = {"TrainingImage": image, "TrainingInputMode": "File"}
    asked["TrainingJobDefinition"]["StaticHyperParameters"] = {"epochs": "3"}
    del asked["HyperParameterTuningJobConfig"]["ParameterRanges"]
    assert set(definitions(asked)[0].tuned) == {"mini_batch_size", "init_method", "extra_center_factor"}
    hints = {"init_method": "random", "rate": "0.1", "depth": "6", "flag": "true", "word": "relu", "shift": "-2"}
    hints |= {"infinite": "inf", "underscored": "1_0"}
    auto = [{"Name": name, "ValueHint": hint} for name, hint in hints.items()]
    asked["HyperParameterTuningJobConfig"]["ParameterRanges"] = {"AutoParameters": auto}
    space = definitions(asked)[0].space()
    assert space.ranges["init_method"].values == ("kmeans++", "random")
    assert (space.ranges["rate"].minValue, space.ranges["rate"].maxValue) == (0.01, 1.0)
    assert (space.ranges["depth"].minValue, space.ranges["depth"].maxValue) == (1, 60)
    assert (space.ranges["shift"].minValue, space.ranges["shift"].maxValue) == (-20, 0)
    assert space.ranges["flag"].values == ("true", "false")
    assert space.ranges["word"].values == ("relu",)
    assert space.ranges["infinite"].values == ("inf",)
    assert space.ranges["underscored"].values == ("1_0",)
