"""Search: expressions over any property of training jobs and models."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from sagespark.local.services.arns import arn
from sagespark.local.services.search import Search
from sagespark.local.services.tags import put_tags
from sagespark.local.store import Store
from sagespark.local.wire.context import AwsError
from support.training import REGION, ctx

BASE = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def search(tmp_path: Path) -> Search:
    store = Store(tmp_path / "r.sqlite")
    for i in range(5):
        own = arn("TrainingJob", REGION, "123456789012", f"job-{i}")
        document = {
            "TrainingJobName": f"job-{i}",
            "TrainingJobArn": own,
            "TrainingJobStatus": "Completed" if i % 2 else "Failed",
            "CreationTime": BASE + timedelta(hours=i),
            "LastModifiedTime": BASE + timedelta(hours=10 - i),
            "HyperParameters": {"k": str(8 + i), "net.depth": "2"},
            "InputDataConfig": [
                {"ChannelName": "train", "ContentType": "csv" if i == 1 else "recordio"},
                {"ChannelName": "test", "ContentType": "recordio"},
            ],
            "FinalMetricDataList": [{"MetricName": "test:msd", "Value": 1.0 / (i + 1), "Timestamp": BASE}],
            "EnableManagedSpotTraining": i == 4,
        }
        store.put("TrainingJob", REGION, f"job-{i}", document)
        put_tags(store, own, [{"Key": "team", "Value": "Red" if i < 2 else "Blue"}])
    return Search(store)


def found(search: Search, *filters: tuple[str, ...], **more: Any) -> list[str]:
    """Search by (name, operator, value) and return the numbers of the jobs found."""
    rows = [dict(zip(("Name", "Operator", "Value"), f, strict=False)) for f in filters]
    request = {"Resource": "TrainingJob", "SearchExpression": {"Filters": rows} | more.pop("expression", {})} | more
    return [r["TrainingJob"]["TrainingJobName"][-1] for r in search.Search(ctx(), request)["Results"]]


@pytest.mark.parametrize(
    ("condition", "numbers"),
    [
        (("TrainingJobStatus", "Equals", "completed"), "13"),
        (("TrainingJobStatus", "NotEquals", "Completed"), "024"),
        (("TrainingJobName", "Contains", "JOB-3"), "3"),
        (("TrainingJobName", "In", "job-0, job-4"), "04"),
        (("HyperParameters.k", "GreaterThan", "9"), "234"),
        (("HyperParameters.k", "LessThanOrEqualTo", "9"), "01"),
        (("HyperParameters.net.depth", "Equals", "2"), "01234"),
        (("HyperParameters.absent", "NotExists"), "01234"),
        (("HyperParameters.absent", "Exists"), ""),
        (("Tags.team", "Equals", "red"), "01"),
        (("Tags.Key", "Equals", "team"), "01234"),
        (("Metrics.test:msd", "LessThan", "0.3"), "34"),
        (("CreationTime", "GreaterThanOrEqualTo", "2026-01-01T03:00:00Z"), "34"),
        (("CreationTime", "GreaterThan", "not a time"), ""),
        (("EnableManagedSpotTraining", "Equals", "true"), "4"),
        (("InputDataConfig.ContentType", "Equals", "csv"), "1"),
    ],
)
def test_filters(search: Search, condition: tuple[str, ...], numbers: str) -> None:
    assert found(search, condition) == list(numbers)


def test_expressions_combine(search: Search) -> None:
    completed, red = ("TrainingJobStatus", "Equals", "Completed"), ("Tags.team", "Equals", "Red")
    assert found(search, completed, red) == ["1"]
    assert found(search, completed, red, expression={"Operator": "Or"}) == ["0", "1", "3"]
    inner = {"Filters": [{"Name": "HyperParameters.k", "Value": "8"}]}
    assert found(search, completed, expression={"Operator": "Or", "SubExpressions": [inner]}) == ["0", "1", "3"]


def test_nested_filters_look_at_one_item(search: Search) -> None:
    rows = [{"Name": f"InputDataConfig.{n}", "Value": v} for n, v in (("ChannelName", "test"), ("ContentType", "csv"))]
    nested = {"NestedFilters": [{"NestedPropertyName": "InputDataConfig", "Filters": rows}]}
    assert found(search, expression=nested) == []
    rows[0]["Value"] = "train"
    assert found(search, expression=nested) == ["1"]


def test_order_pages_and_totals(search: Search) -> None:
    # The newest change comes first; job-0 was changed last.
    assert found(search) == ["0", "1", "2", "3", "4"]
    assert found(search, SortBy="Metrics.test:msd", SortOrder="Ascending") == ["4", "3", "2", "1", "0"]
    assert found(search, SortBy="HyperParameters.absent", SortOrder="Ascending") == ["0", "1", "2", "3", "4"]
    first = search.Search(ctx(), {"Resource": "TrainingJob", "MaxResults": 3})
    assert first["TotalHits"] == {"Value": 5, "Relation": "EqualTo"}
    rest = search.Search(ctx(), {"Resource": "TrainingJob", "MaxResults": 3, "NextToken": first["NextToken"]})
    assert [r["TrainingJob"]["TrainingJobName"] for r in rest["Results"]] == ["job-3", "job-4"]
    assert rest["NextToken"] is None
    assert first["Results"][0]["TrainingJob"]["Tags"] == [{"Key": "team", "Value": "Red"}]


def test_what_cannot_be_searched_is_refused(search: Search) -> None:
    with pytest.raises(AwsError, match="the embedded service searches"):
        search.Search(ctx(), {"Resource": "Experiment"})
    with pytest.raises(AwsError, match="needs a Value"):
        found(search, ("TrainingJobName", "Equals"))
