"""The operations on tuning jobs, without threads and training jobs that run."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from sagespark.local.containers.images import Image
from sagespark.local.lifecycle import status
from sagespark.local.logs import LogStore
from sagespark.local.services.tuning_jobs import TuningJobs
from sagespark.local.wire.context import AwsError, Context
from support.tuning import REGION, Bench, definition, request

CONTEXT = Context("sagemaker", "", REGION, "123456789012", "id", "key", "http://127.0.0.1")
NAME = {"HyperParameterTuningJobName": "tune"}
FLEXIBLE = "HyperParameterTuningResourceConfig"
KIND = {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 5}
Change = Callable[[dict[str, Any]], Any]


def resolve(image: str) -> Image:
    return Image(uri=image, train=("train",), serve=("serve",), environment={}, algorithm=None)


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path)
    yield made
    made.store.close()


@pytest.fixture
def service(bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[TuningJobs]:
    """The operations; a tuning job that is accepted takes no step."""
    logs = LogStore(tmp_path / "logs.sqlite")
    made = TuningJobs(bench.store, logs, cast(Any, None), resolve, bench.clock, "http://127.0.0.1")
    monkeypatch.setattr(made._tuner, "submit", lambda region, name: None)
    yield made
    logs.close()


# -- what is refused -------------------------------------------------------------------------------------------


def flexible(**config: Any) -> Change:
    def change(asked: dict[str, Any]) -> None:
        del asked["TrainingJobDefinition"]["ResourceConfig"]
        asked["TrainingJobDefinition"][FLEXIBLE] = config

    return change


def grid(*sizes: int, **limits: int) -> Change:
    ranges = [{"Name": f"c{i}", "Values": [str(v) for v in range(size)]} for i, size in enumerate(sizes)]
    return lambda asked: asked["HyperParameterTuningJobConfig"].update(
        Strategy="Grid",
        ParameterRanges={"CategoricalParameterRanges": ranges},
        ResourceLimits={"MaxParallelTrainingJobs": 1, **limits},
    )


def warm(*parents: dict[str, str]) -> Change:
    config = {"ParentHyperParameterTuningJobs": list(parents), "WarmStartType": "TransferLearning"}
    return lambda asked: asked.update(WarmStartConfig=config)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (
            warm({}),
            "HyperParameterTuningJobName is required in each of WarmStartConfig.ParentHyperParameterTuningJobs",
        ),
        (warm({"HyperParameterTuningJobName": "missing"}, {}), "is required in each of"),
        (
            flexible(InstanceConfigs=[KIND], InstanceType="ml.m5.xlarge", InstanceCount=3),
            f"{FLEXIBLE} must have InstanceConfigs or InstanceType and InstanceCount, not both.",
        ),
        (flexible(InstanceConfigs=[KIND], VolumeSizeInGB=3), "must have InstanceConfigs or VolumeSizeInGB, not both."),
        (flexible(), f"{FLEXIBLE} must have InstanceType and InstanceCount, or InstanceConfigs."),
        (flexible(InstanceType="ml.m5.large"), f"{FLEXIBLE} must have InstanceCount, or InstanceConfigs."),
        (
            flexible(InstanceConfigs=[KIND, KIND | {"InstanceCount": 0}]),
            f"{FLEXIBLE} must ask for at least one instance.",
        ),
        (grid(30, 30), "they have 900, and a tuning job can have at most 750 training jobs"),
        (grid(30, 30, MaxNumberOfTrainingJobs=900), "they have 900, and a tuning job can have at most 750"),
    ],
)
def test_what_is_wrong_is_refused_by_its_name(service: TuningJobs, change: Change, text: str) -> None:
    asked = request()
    change(asked)
    with pytest.raises(AwsError) as caught:
        service.CreateHyperParameterTuningJob(CONTEXT, asked)
    assert caught.value.code == "ValidationException"
    assert text in str(caught.value)
    # Nothing is called a ResourceConfig that is the other kind.
    assert " ResourceConfig" not in f" {caught.value}"


@pytest.mark.parametrize(
    "change",
    [
        grid(30, 25),
        grid(30, 25, MaxNumberOfTrainingJobs=750),
        flexible(**KIND),
        flexible(AllocationStrategy="Prioritized", VolumeKmsKeyId="key", InstanceConfigs=[KIND, KIND]),
    ],
)
def test_what_is_right_is_accepted(service: TuningJobs, change: Change) -> None:
    asked = request()
    change(asked)
    service.CreateHyperParameterTuningJob(CONTEXT, asked)
    assert service.DescribeHyperParameterTuningJob(CONTEXT, NAME)["HyperParameterTuningJobStatus"] == "InProgress"


def test_a_keep_alive_period_has_no_effect_and_is_not_shown(service: TuningJobs, bench: Bench) -> None:
    asked = request()
    asked["TrainingJobDefinition"] = definition(ResourceConfig=KIND | {"KeepAlivePeriodInSeconds": 600})
    sent: list[dict[str, Any]] = []
    create = bench.create
    bench.create = lambda r: (sent.append(r), create(r))[1]  # type: ignore[method-assign,func-returns-value]  # a spy
    service.CreateHyperParameterTuningJob(CONTEXT, asked)
    bench.restart("tune").step()
    assert [job["ResourceConfig"] for job in sent] == [KIND, KIND]
    described = service.DescribeHyperParameterTuningJob(CONTEXT, NAME)
    assert described["TrainingJobDefinition"]["ResourceConfig"] == KIND


# -- its training jobs -----------------------------------------------------------------------------------------


@pytest.fixture
def names(bench: Bench) -> list[str]:
    """Eight training jobs: five with a value, two of them equal; one failed, one without the metric, one runs."""
    coordinator = bench.begin(request(ResourceLimits={"MaxNumberOfTrainingJobs": 8, "MaxParallelTrainingJobs": 8}))
    coordinator.step()
    names = list(bench.jobs)
    for name, value in zip(names, [0.5, -2.0, 10.0, 0.5], strict=False):
        bench.end(name, value)
    bench.end(names[4], 3.0, "Stopped")
    bench.end(names[5], None, "Failed", "AlgorithmError: Exit Code: 1")
    bench.end(names[6])
    coordinator.step()
    bench.store.put(status.KIND, REGION, names[7], bench.jobs[names[7]])
    return names


def listed(service: TuningJobs, **more: Any) -> list[str]:
    """Return the names on all pages."""
    found: list[str] = []
    token: dict[str, str] = {}
    while True:
        page = service.ListTrainingJobsForHyperParameterTuningJob(CONTEXT, NAME | more | token)
        assert len(page["TrainingJobSummaries"]) <= more.get("MaxResults", 10)
        found += [row["TrainingJobName"] for row in page["TrainingJobSummaries"]]
        # The key of the order is not told as a member of its own.
        assert all("value" not in row for row in page["TrainingJobSummaries"])
        if page["NextToken"] is None:
            return found
        token = {"NextToken": page["NextToken"]}


@pytest.mark.parametrize("size", [1, 2, 5, 100])
def test_they_are_listed_by_their_value_in_both_orders_where_they_have_one(
    service: TuningJobs, names: list[str], size: int
) -> None:
    order = {"SortBy": "FinalObjectiveMetricValue", "MaxResults": size}
    rising = [names[i] for i in (1, 0, 3, 4, 2)]
    assert listed(service, **order) == rising
    assert listed(service, **order, SortOrder="Ascending") == rising
    assert listed(service, **order, SortOrder="Descending") == rising[::-1]


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [("Completed", [0, 1, 2, 3, 6]), ("Stopped", [4]), ("Failed", [5]), ("InProgress", [7]), ("Stopping", [])],
)
def test_they_are_listed_by_status_and_name(
    service: TuningJobs, names: list[str], wanted: str, expected: list[int]
) -> None:
    chosen = [names[i] for i in expected]
    assert listed(service, StatusEquals=wanted, MaxResults=2) == chosen
    assert listed(service, StatusEquals=wanted, SortBy="CreationTime", SortOrder="Descending") == chosen[::-1]


def test_status_and_value_go_together(service: TuningJobs, names: list[str]) -> None:
    by_value = {"SortBy": "FinalObjectiveMetricValue", "MaxResults": 1}
    assert listed(service, StatusEquals="Completed", **by_value) == [names[i] for i in (1, 0, 3, 2)]
    assert listed(service, StatusEquals="Failed", **by_value) == []


def test_they_are_listed_by_name_unless_told_otherwise_and_by_status(service: TuningJobs, names: list[str]) -> None:
    assert listed(service) == listed(service, SortBy="Name", SortOrder="Ascending", MaxResults=3) == names
    assert listed(service, SortBy="Status", MaxResults=3) == [names[i] for i in (0, 1, 2, 3, 6, 5, 7, 4)]


def test_a_page_of_another_order_is_refused(service: TuningJobs, names: list[str]) -> None:
    first = NAME | {"SortBy": "FinalObjectiveMetricValue", "MaxResults": 2}
    token = service.ListTrainingJobsForHyperParameterTuningJob(CONTEXT, first)["NextToken"]
    for other in ({"SortBy": "Name"}, {"SortOrder": "Descending"}, {"StatusEquals": "Completed"}):
        with pytest.raises(AwsError, match="pagination token is invalid") as caught:
            service.ListTrainingJobsForHyperParameterTuningJob(CONTEXT, first | other | {"NextToken": token})
        assert caught.value.code == "ValidationException"
    # The size of the page may change.
    rest = service.ListTrainingJobsForHyperParameterTuningJob(CONTEXT, first | {"NextToken": token, "MaxResults": 9})
    assert [row["TrainingJobName"] for row in rest["TrainingJobSummaries"]] == [names[i] for i in (3, 4, 2)]


def test_a_page_that_names_the_default_orders_goes_on(service: TuningJobs, names: list[str]) -> None:
    first = NAME | {"MaxResults": 6}
    token = service.ListTrainingJobsForHyperParameterTuningJob(CONTEXT, first)["NextToken"]
    told = first | {"SortBy": "Name", "SortOrder": "Ascending", "NextToken": token}
    rest = service.ListTrainingJobsForHyperParameterTuningJob(CONTEXT, told)
    assert [row["TrainingJobName"] for row in rest["TrainingJobSummaries"]] == names[6:]
