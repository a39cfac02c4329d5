"""The document of a training job: whatever happens in whatever order, it stays one that AWS could have answered."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sagespark.local.lifecycle import status
from sagespark.local.lifecycle.failure import INTERRUPTED
from sagespark.local.lifecycle.metrics import MetricReader, problems
from sagespark.local.wire.models import service_model
from support.training import job

BASE = datetime(2026, 1, 1, tzinfo=UTC)
STEPS = (
    "Pending",
    "Starting",
    "Downloading",
    "Training",
    "Uploading",
    "stop",
    "complete",
    "fail",
    "time-out",
    "killed",
)
FINAL = {
    "Completed": {"Completed"},
    "Failed": {"Failed"},
    "Stopped": {"Stopped", "MaxRuntimeExceeded"},
}


def apply(document: dict[str, Any], step: str, now: datetime) -> None:
    if step == "stop":
        status.stop(document, now)
    elif step == "complete":
        status.end(document, now)
    elif step == "fail":
        status.end(document, now, failure="AlgorithmError: x")
    elif step == "time-out":
        status.exceed(document, now, "MaxRuntimeExceeded")
        status.end(document, now)
    elif step == "killed":
        status.interrupt(document, now)
    elif document["TrainingJobStatus"] not in status.ENDED:
        status.enter(document, step, now)


@settings(max_examples=150, deadline=None)
@given(steps=st.lists(st.tuples(st.sampled_from(STEPS), st.integers(0, 100)), max_size=12))
def test_transitions_follow_each_other_without_a_gap(steps: list[tuple[str, int]]) -> None:
    now = BASE
    document = status.new(job("j"), "arn", now)
    for step, seconds in steps:
        now += timedelta(seconds=seconds)
        ended = document["TrainingJobStatus"] in status.ENDED
        before = repr(document)
        apply(document, step, now)
        if ended:
            assert repr(document) == before
        transitions = document["SecondaryStatusTransitions"]
        assert transitions[-1]["Status"] == document["SecondaryStatus"]
        assert all(a["EndTime"] == b["StartTime"] for a, b in itertools.pairwise(transitions))
        assert all(a["Status"] != b["Status"] for a, b in itertools.pairwise(transitions))
        state = document["TrainingJobStatus"]
        assert ("EndTime" in transitions[-1]) == (state in status.ENDED)
        assert ("FailureReason" in document) == (state == "Failed")
        if state in status.ENDED:
            assert document["SecondaryStatus"] in FINAL[state]
            assert ("TrainingEndTime" in document) == ("TrainingStartTime" in document)
            assert document.get("BillableTimeInSeconds", 1) >= 1


def test_a_stop_wins_over_every_end_that_comes_after_it() -> None:
    for step in ("complete", "fail", "time-out", "killed"):
        document = status.new(job("j"), "arn", BASE)
        status.stop(document, BASE)
        apply(document, step, BASE)
        assert (document["TrainingJobStatus"], document["SecondaryStatus"]) == ("Stopped", "Stopped")


def test_seconds_are_counted_from_the_download_and_rounded_up() -> None:
    document = status.new(job("j"), "arn", BASE)
    status.enter(document, "Downloading", BASE + timedelta(seconds=10))
    status.end(document, BASE + timedelta(seconds=12.2))
    assert document["TrainingTimeInSeconds"] == document["BillableTimeInSeconds"] == 3


def test_the_statuses_and_members_are_those_of_the_service_model() -> None:
    model = service_model("sagemaker")
    known = set(model.shape_for("SecondaryStatus").enum)
    document = status.new(job("j"), "arn", BASE)
    for step in STEPS:
        apply(document, step, BASE)
    assert {t["Status"] for t in document["SecondaryStatusTransitions"]} <= known
    assert document["TrainingJobStatus"] in model.shape_for("TrainingJobStatus").enum
    assert set(document) <= set(model.shape_for("DescribeTrainingJobResponse").members)
    assert len(INTERRUPTED) <= model.shape_for("FailureReason").metadata["max"]


def test_a_request_without_a_stopping_condition_runs_a_day_at_most() -> None:
    request = job("j")
    del request["StoppingCondition"]
    assert status.new(request, "arn", BASE)["StoppingCondition"] == {"MaxRuntimeInSeconds": 86400}


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("loss=0.5", 0.5),
        ("loss=1e-3 loss=2", 0.001),
        ("loss=-Infinity", None),
        ("loss=abc", None),
        ("loss=", None),
        ("other", None),
    ],
)
def test_metric_values(line: str, value: float | None) -> None:
    reader = MetricReader([("loss", r"loss=(\S*)"), ("maybe", "x(y)?")])
    assert reader.read(line, BASE) == (value is not None)
    assert [m["Value"] for m in reader.final()] == ([] if value is None else [value])
    # A group that took no part in the match is no value.
    assert not reader.read("x", BASE)


def test_the_last_value_of_a_metric_counts() -> None:
    reader = MetricReader([("a", "a=(.*)"), ("b", "b=(.*)")])
    for i in range(3):
        reader.read(f"b={i}", BASE + timedelta(seconds=i))
    reader.read("a=9", BASE)
    assert reader.final() == [
        {"MetricName": "b", "Value": 2.0, "Timestamp": BASE + timedelta(seconds=2)},
        {"MetricName": "a", "Value": 9.0, "Timestamp": BASE},
    ]


def test_metric_definitions_are_checked() -> None:
    assert problems([("a", "a=(.*)")]) == []
    assert len(problems([("a", "("), ("b", "b"), ("c", "(?:c)")])) == 3
