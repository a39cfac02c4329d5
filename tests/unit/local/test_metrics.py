"""CloudWatch's metrics of training jobs: what the log lines hold, by period."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from sagespark.local.logs import TRAINING_JOBS, LogStore
from sagespark.local.services.metrics import Metrics
from sagespark.local.store import Store
from sagespark.local.wire.context import AwsError
from support.training import REGION, ctx

BEGIN = datetime(2030, 1, 1, 12, 0, 0, tzinfo=UTC)
END = BEGIN + timedelta(hours=1)
ZERO = int(BEGIN.timestamp() * 1000)
VALUES = [(0, "loss=4"), (30_000, "loss=2"), (59_999, "loss=nan"), (60_000, "loss=1 acc=0.5"), (150_000, "nothing")]


@pytest.fixture
def metrics(tmp_path: Path) -> Iterator[Metrics]:
    store, logs = Store(tmp_path / "resources"), LogStore(tmp_path / "logs")
    definitions = [{"Name": "loss", "Regex": r"loss=(\S+)"}, {"Name": "acc", "Regex": r"acc=(\S+)"}]
    for name in ("job", "job-2"):
        document = {
            "TrainingJobName": name,
            "AlgorithmSpecification": {"MetricDefinitions": definitions},
            "FinalMetricDataList": [{"MetricName": "loss", "Value": 1.0}, {"MetricName": "acc", "Value": 0.5}],
        }
        store.put("TrainingJob", REGION, name, document)
        lines = [(ZERO + ms, text) for ms, text in VALUES] if name == "job" else [(ZERO, "loss=9")]
        logs.append(REGION, TRAINING_JOBS, f"{name}/algo-1-1", lines)
    yield Metrics(store, logs)
    store.close()
    logs.close()


def metric(name: str, job: str = "job") -> dict[str, Any]:
    return {
        "Namespace": TRAINING_JOBS,
        "MetricName": name,
        "Dimensions": [{"Name": "TrainingJobName", "Value": job}],
    }


def statistics(metrics: Metrics, name: str = "loss", **members: Any) -> list[dict[str, Any]]:
    request = metric(name) | {"StartTime": BEGIN, "EndTime": END, "Period": 60, "Statistics": ["Average"]} | members
    answer = metrics.GetMetricStatistics(ctx(), request)
    assert answer["Label"] == name
    points: list[dict[str, Any]] = answer["Datapoints"]
    return points


def test_statistics_by_period(metrics: Metrics) -> None:
    every = ["SampleCount", "Average", "Sum", "Minimum", "Maximum"]
    first, second = statistics(metrics, Statistics=every)
    assert first == {
        "Timestamp": BEGIN,
        "Unit": "None",
        "SampleCount": 2.0,
        "Average": 3.0,
        "Sum": 6.0,
        "Minimum": 2.0,
        "Maximum": 4.0,
    }
    assert (second["Timestamp"], second["Average"]) == (BEGIN + timedelta(minutes=1), 1.0)
    (whole,) = statistics(metrics, Period=3600)
    assert whole == {"Timestamp": BEGIN, "Unit": "None", "Average": 7 / 3}
    assert [p["Average"] for p in statistics(metrics, Period=30)] == [4.0, 2.0, 1.0]


def test_the_window(metrics: Metrics) -> None:
    # The seconds of the begin are dropped, the end is left out.
    late, early = BEGIN + timedelta(seconds=59), BEGIN + timedelta(minutes=1)
    assert [p["Average"] for p in statistics(metrics, StartTime=late, EndTime=early)] == [3.0]
    assert statistics(metrics, StartTime=early + timedelta(minutes=1)) == []


def test_what_nobody_published_is_empty(metrics: Metrics) -> None:
    assert statistics(metrics, "none") == []
    assert statistics(metrics, Namespace="AWS/EC2") == []
    assert statistics(metrics, Dimensions=[]) == []
    assert statistics(metrics, Dimensions=[{"Name": "TrainingJobName", "Value": "no-job"}]) == []
    assert statistics(metrics, Unit="Percent") == []
    request = metric("loss") | {"StartTime": BEGIN, "EndTime": END, "Period": 60, "Statistics": ["Sum"]}
    assert metrics.GetMetricStatistics(ctx("us-west-2"), request)["Datapoints"] == []


@pytest.mark.parametrize(
    ("members", "code", "message"),
    [
        ({"EndTime": BEGIN}, "InvalidParameterValue", "StartTime must be less"),
        ({"Period": 7}, "InvalidParameterValue", "multiple of 60"),
        ({"Period": 90}, "InvalidParameterValue", "multiple of 60"),
        ({"Statistics": []}, "InvalidParameterCombination", "Statistics must be specified"),
    ],
)
def test_what_is_refused(metrics: Metrics, members: dict[str, Any], code: str, message: str) -> None:
    with pytest.raises(AwsError, match=message) as caught:
        statistics(metrics, **members)
    assert caught.value.code == code


def test_data_of_several_metrics(metrics: Metrics) -> None:
    def query(identifier: str, name: str, **members: Any) -> dict[str, Any]:
        stat = {"Metric": metric(name), "Period": 60, "Stat": "Average"}
        return {"Id": identifier, "MetricStat": stat} | members

    request = {"MetricDataQueries": [query("a", "loss"), query("b", "acc", Label="B")], "StartTime": BEGIN}
    request["EndTime"] = END
    loss, acc = metrics.GetMetricData(ctx(), request)["MetricDataResults"]
    assert (loss["Id"], loss["Label"], loss["Values"]) == ("a", "loss", [1.0, 3.0])
    assert loss["Timestamps"] == [BEGIN + timedelta(minutes=1), BEGIN]
    assert (acc["Label"], acc["Values"], acc["StatusCode"]) == ("B", [0.5], "Complete")
    (oldest,) = metrics.GetMetricData(
        ctx(), request | {"MetricDataQueries": [query("a", "loss")], "ScanBy": "TimestampAscending"}
    )["MetricDataResults"]
    assert oldest["Values"] == [3.0, 1.0]
    hidden = request | {"MetricDataQueries": [query("a", "loss", ReturnData=False)]}
    assert metrics.GetMetricData(ctx(), hidden)["MetricDataResults"] == []
    for wrong in ({"Id": "e", "Expression": "a + b"}, {"Id": "p", "MetricStat": query("p", "a")["MetricStat"]}):
        if "MetricStat" in wrong:
            wrong["MetricStat"]["Stat"] = "p99"
        with pytest.raises(AwsError, match="no expressions and no percentiles"):
            metrics.GetMetricData(ctx(), request | {"MetricDataQueries": [wrong]})


def test_the_list_of_metrics(metrics: Metrics) -> None:
    def listed(**members: Any) -> list[tuple[str, str]]:
        found = metrics.ListMetrics(ctx(), members)["Metrics"]
        return [(m["Dimensions"][0]["Value"], m["MetricName"]) for m in found]

    assert listed() == [("job", "acc"), ("job", "loss"), ("job-2", "acc"), ("job-2", "loss")]
    assert listed(MetricName="acc", Namespace=TRAINING_JOBS) == [("job", "acc"), ("job-2", "acc")]
    assert listed(Dimensions=[{"Name": "TrainingJobName", "Value": "job-2"}]) == [("job-2", "acc"), ("job-2", "loss")]
    assert len(listed(Dimensions=[{"Name": "TrainingJobName"}])) == 4
    assert listed(Namespace="AWS/EC2") == []
    assert listed(Dimensions=[{"Name": "Host"}]) == []
