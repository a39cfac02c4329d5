"""Tuning jobs that their parents' training jobs teach."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sagespark.local.tuning import document as documents
from sagespark.local.tuning import warm_start
from support.tuning import METRIC, RANGES, REGION, Bench, definition, request


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path)
    yield made
    made.store.close()


def limits(most: int, parallel: int = 1) -> dict[str, Any]:
    return {"MaxNumberOfTrainingJobs": most, "MaxParallelTrainingJobs": parallel}


def warm(kind: str, *parents: str, **config: Any) -> dict[str, Any]:
    asked = request(name="child", **config)
    names = [{"HyperParameterTuningJobName": parent} for parent in parents]
    return asked | {"WarmStartConfig": {"ParentHyperParameterTuningJobs": names, "WarmStartType": kind}}


def test_identical_data_and_algorithm_takes_over_the_parents_results(bench: Bench) -> None:
    parent = bench.run(request(name="parent", strategy="Bayesian", ResourceLimits=limits(12)))
    asked = warm("IdenticalDataAndAlgorithm", "parent", strategy="Bayesian", ResourceLimits=limits(3))
    assert warm_start.problems(bench.store, REGION, asked) == []
    coordinator = bench.begin(asked)
    assert len(coordinator.searches[0].strategy.observations) == 12
    # The parent may go: what it told is written down.
    bench.store.delete(documents.KIND, REGION, "parent")
    assert len(bench.restart("child").searches[0].strategy.observations) == 12
    bench.store.put(documents.KIND, REGION, "parent", parent)
    while not coordinator.step():
        bench.end(bench.running[0], 7.0)
    document = bench.document("child")
    assert document["OverallBestTrainingJob"]["TuningJobName"] == "parent"
    assert document["OverallBestTrainingJob"]["TrainingJobName"] == parent["BestTrainingJob"]["TrainingJobName"]
    assert document["BestTrainingJob"]["FinalHyperParameterTuningJobObjectiveMetric"]["Value"] == 7.0


def test_a_hyperparameter_that_became_static_keeps_only_results_with_its_value(bench: Bench) -> None:
    bench.run(request(name="parent", ResourceLimits=limits(10)))
    values = [bench.tuned(name)["n"] for name in bench.jobs]
    ranges = {"ContinuousParameterRanges": RANGES["ContinuousParameterRanges"]}
    asked = warm("IdenticalDataAndAlgorithm", "parent", ParameterRanges=ranges)
    asked["TrainingJobDefinition"]["StaticHyperParameters"] = {"n": values[0]}
    assert warm_start.problems(bench.store, REGION, asked) == []
    coordinator = bench.begin(asked)
    assert len(coordinator.searches[0].strategy.observations) == values.count(values[0])


def test_transfer_learning_takes_results_of_another_task(bench: Bench) -> None:
    bench.run(request(name="parent", ResourceLimits=limits(10)))
    coordinator = bench.begin(warm("TransferLearning", "parent", strategy="Bayesian", ResourceLimits=limits(2)))
    strategy = coordinator.searches[0].strategy
    assert strategy.observations == ()
    assert [event["task"] for event in strategy.history] == ["parent"] * 10
    while not coordinator.step():
        bench.end(bench.running[0], 7.0)
    assert "OverallBestTrainingJob" not in bench.document("child")


def test_parents_that_do_not_fit_are_refused_with_every_reason(bench: Bench) -> None:
    bench.run(request(name="parent", ResourceLimits=limits(2)))
    bench.begin(request(name="running"))
    asked = warm("IdenticalDataAndAlgorithm", "parent", "parent", "missing", "running")
    objective = {"Type": "Maximize", "MetricName": METRIC}
    asked["HyperParameterTuningJobConfig"]["HyperParameterTuningJobObjective"] = objective
    asked["TrainingJobDefinition"]["StaticHyperParameters"] = {"more": "1"}
    asked["TrainingJobDefinition"]["AlgorithmSpecification"]["TrainingImage"] = "other"
    text = " ".join(warm_start.problems(bench.store, REGION, asked))
    for part in (
        "[parent] occurs twice",
        "[missing] could not be found",
        "[running] is in status InProgress",
        "objective metric of a warm start tuning job must be",
        "The set of tunable plus static HyperParameter names is not the same",
        "parent]: more.",
        "training image of a warm start",
    ):
        assert part in text, part


def several(name: str, *names: str) -> dict[str, Any]:
    """Return a tuning job with a definition of each name."""
    asked = request(name=name, ResourceLimits=limits(4))
    del asked["TrainingJobDefinition"]
    for member in ("HyperParameterTuningJobObjective", "ParameterRanges"):
        del asked["HyperParameterTuningJobConfig"][member]
    objective = {"Type": "Minimize", "MetricName": METRIC}
    more = {"TuningObjective": objective, "HyperParameterRanges": RANGES}
    return asked | {"TrainingJobDefinitions": [definition(DefinitionName=each, **more) for each in names]}


@pytest.mark.parametrize("kind", ["IdenticalDataAndAlgorithm", "TransferLearning"])
def test_a_parent_without_a_definition_of_the_name_is_refused(bench: Bench, kind: str) -> None:
    bench.run(several("parent", "a", "b"))
    config = {"ParentHyperParameterTuningJobs": [{"HyperParameterTuningJobName": "parent"}], "WarmStartType": kind}
    for asked, ours in ((request(name="child"), "one without a name"), (several("child", "x", "y"), "[x], [y]")):
        (text,) = warm_start.problems(bench.store, REGION, asked | {"WarmStartConfig": config})
        assert "[parent] has no training job definition of the same name" in text
        assert text.endswith(f"it has [a], [b], the new one {ours}.")


@pytest.mark.parametrize(
    ("theirs", "ours", "taken"), [("ab", "ab", [2, 2]), ("ab", "bc", [2, 0]), ("ab", "b", [2]), ("a", "b", [4])]
)
def test_definitions_of_the_same_name_learn_from_each_other(
    bench: Bench, theirs: str, ours: str, taken: list[int]
) -> None:
    bench.run(several("parent", *theirs))
    parents = [{"HyperParameterTuningJobName": "parent"}]
    config = {"ParentHyperParameterTuningJobs": parents, "WarmStartType": "IdenticalDataAndAlgorithm"}
    asked = several("child", *ours) | {"WarmStartConfig": config}
    assert warm_start.problems(bench.store, REGION, asked) == []
    assert [len(search.strategy.observations) for search in bench.begin(asked).searches] == taken


def test_single_definitions_fit_each_other_with_and_without_names(bench: Bench) -> None:
    bench.run(several("parent", "a"))
    asked = warm("IdenticalDataAndAlgorithm", "parent")
    assert warm_start.problems(bench.store, REGION, asked) == []
    assert len(bench.begin(asked).searches[0].strategy.observations) == 4
