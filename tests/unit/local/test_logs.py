"""Log events: their order, pages in both directions, filters."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sagespark.local.logs import LogStore, Position
from sagespark.local.services.log_filter import compile_filter
from sagespark.local.services.logs import Logs
from sagespark.local.wire.context import AwsError
from support.training import REGION, ctx

GROUP = "/aws/sagemaker/TrainingJobs"


@pytest.fixture
def store(tmp_path: Path) -> LogStore:
    return LogStore(tmp_path / "logs.sqlite")


@pytest.fixture
def logs(store: LogStore) -> Logs:
    return Logs(store)


def fill(store: LogStore, count: int, stream: str = "job/algo-1-1") -> None:
    # Several events share a millisecond, as lines do.
    store.append(REGION, GROUP, stream, [(1000 + i // 3, f"line {i}") for i in range(count)])


def messages(answer: dict[str, Any]) -> list[str]:
    return [event["message"] for event in answer["events"]]


def test_streams_know_their_first_and_last_event(store: LogStore) -> None:
    fill(store, 7)
    store.append(REGION, GROUP, "job/algo-1-1", [(1500, "late")])
    store.append(REGION, "/other", "s", [(1, "x")])
    (stream,) = store.streams(REGION, GROUP)
    assert (stream.first, stream.last, stream.created) == (1000, 1500, 1000)
    assert [g.name for g in store.groups(REGION)] == ["/aws/sagemaker/TrainingJobs", "/other"]
    assert [g.name for g in store.groups(REGION, "/o")] == ["/other"]
    assert store.groups("us-east-1") == []


def test_get_log_events_walks_forward_to_the_end_and_follows_what_comes(store: LogStore, logs: Logs) -> None:
    fill(store, 10)
    request = {"logGroupName": GROUP, "logStreamName": "job/algo-1-1", "limit": 4, "startFromHead": True}
    seen: list[str] = []
    token = None
    for _ in range(4):
        answer = logs.GetLogEvents(ctx(), request | ({"nextToken": token} if token else {}))
        seen += messages(answer)
        before, token = token, answer["nextForwardToken"]
    assert seen == [f"line {i}" for i in range(10)]
    assert before == token
    store.append(REGION, GROUP, "job/algo-1-1", [(2000, "new")])
    assert messages(logs.GetLogEvents(ctx(), request | {"nextToken": token})) == ["new"]


def test_get_log_events_starts_at_the_tail_and_walks_back(store: LogStore, logs: Logs) -> None:
    fill(store, 10)
    request = {"logGroupName": GROUP, "logStreamName": "job/algo-1-1", "limit": 4}
    answer = logs.GetLogEvents(ctx(), request)
    assert messages(answer) == [f"line {i}" for i in range(6, 10)]
    answer = logs.GetLogEvents(ctx(), request | {"nextToken": answer["nextBackwardToken"]})
    assert messages(answer) == [f"line {i}" for i in range(2, 6)]
    answer = logs.GetLogEvents(ctx(), request | {"nextToken": answer["nextForwardToken"]})
    assert messages(answer) == [f"line {i}" for i in range(6, 10)]


def test_an_answer_holds_one_mebibyte_at_most(store: LogStore, logs: Logs) -> None:
    store.append(REGION, GROUP, "s", [(i, f"{i}" + "x" * 300_000) for i in range(9)])
    request = {"logGroupName": GROUP, "logStreamName": "s"}
    head = logs.GetLogEvents(ctx(), request | {"startFromHead": True})
    assert [m[0] for m in messages(head)] == ["0", "1", "2"]
    more = logs.GetLogEvents(ctx(), request | {"nextToken": head["nextForwardToken"]})
    assert [m[0] for m in messages(more)] == ["3", "4", "5"]
    assert [m[0] for m in messages(logs.GetLogEvents(ctx(), request))] == ["6", "7", "8"]


def test_times_bound_the_events(store: LogStore, logs: Logs) -> None:
    fill(store, 9)
    request = {"logGroupName": GROUP, "logStreamName": "job/algo-1-1", "startTime": 1001, "endTime": 1002}
    assert messages(logs.GetLogEvents(ctx(), request)) == ["line 3", "line 4", "line 5"]


def test_filter_log_events_merges_streams_in_order_of_time(store: LogStore, logs: Logs) -> None:
    for i in range(30):
        store.append(REGION, GROUP, f"job-{i % 2}/algo-1-1", [(i, f"epoch={i} loss={i / 2}")])
    request: dict[str, Any] = {"logGroupName": GROUP, "filterPattern": "loss", "limit": 7}
    seen: list[str] = []
    while True:
        answer = logs.FilterLogEvents(ctx(), request)
        seen += messages(answer)
        if not answer["nextToken"]:
            break
        request["nextToken"] = answer["nextToken"]
    assert seen == [f"epoch={i} loss={i / 2}" for i in range(30)]
    one = logs.FilterLogEvents(ctx(), {"logGroupName": GROUP, "logStreamNamePrefix": "job-1", "filterPattern": "=29"})
    assert messages(one) == ["epoch=29 loss=14.5"]
    assert logs.FilterLogEvents(ctx(), {"logGroupName": GROUP, "logStreamNamePrefix": "none"})["events"] == []


def test_describe_operations_page_and_sort(store: LogStore, logs: Logs) -> None:
    for i in range(5):
        store.append(REGION, GROUP, f"s{i}", [(100 - i, "x")])
    first = logs.DescribeLogStreams(ctx(), {"logGroupName": GROUP, "limit": 3})
    assert [s["logStreamName"] for s in first["logStreams"]] == ["s0", "s1", "s2"]
    rest = logs.DescribeLogStreams(ctx(), {"logGroupName": GROUP, "limit": 3, "nextToken": first["nextToken"]})
    assert [s["logStreamName"] for s in rest["logStreams"]] == ["s3", "s4"]
    assert rest["nextToken"] is None
    newest = logs.DescribeLogStreams(
        ctx(), {"logGroupName": GROUP, "orderBy": "LastEventTime", "descending": True, "limit": 1}
    )
    assert newest["logStreams"][0]["logStreamName"] == "s0"
    groups = logs.DescribeLogGroups(ctx(), {"logGroupNamePattern": "sagemaker/training"})["logGroups"]
    assert [g["logGroupName"] for g in groups] == [GROUP]
    by_arn = logs.DescribeLogStreams(ctx(), {"logGroupIdentifier": groups[0]["arn"]})
    assert len(by_arn["logStreams"]) == 5


def test_what_does_not_exist_is_told_in_awss_words(store: LogStore, logs: Logs) -> None:
    with pytest.raises(AwsError, match="The specified log group does not exist"):
        logs.DescribeLogStreams(ctx(), {"logGroupName": GROUP})
    fill(store, 1)
    with pytest.raises(AwsError, match="The specified log stream does not exist"):
        logs.GetLogEvents(ctx(), {"logGroupName": GROUP, "logStreamName": "job"})
    with pytest.raises(AwsError, match="nextToken is invalid"):
        logs.GetLogEvents(ctx(), {"logGroupName": GROUP, "logStreamName": "job/algo-1-1", "nextToken": "x"})


def test_streams_and_groups_are_deleted_and_come_anew(store: LogStore, logs: Logs) -> None:
    fill(store, 3, "a")
    fill(store, 3, "b")
    logs.DeleteLogStream(ctx(), {"logGroupName": GROUP, "logStreamName": "a"})
    assert {e.stream for e in store.events(REGION, GROUP)} == {"b"}
    with pytest.raises(AwsError, match="log stream does not exist"):
        logs.DeleteLogStream(ctx(), {"logGroupName": GROUP, "logStreamName": "a"})
    logs.DeleteLogGroup(ctx(), {"logGroupName": GROUP})
    with pytest.raises(AwsError, match="log group does not exist"):
        logs.DeleteLogGroup(ctx(), {"logGroupName": GROUP})
    fill(store, 2, "b")
    assert len(store.events(REGION, GROUP)) == 2


@pytest.mark.parametrize(
    ("pattern", "matching"),
    [
        ("", "abcd"),
        ("ERROR", "ac"),
        ("ERROR disk", "c"),
        ('"disk full"', "c"),
        ("-ERROR", "bd"),
        ("?WARN ?disk", "bc"),
        ("%code=[45]\\d\\d%", "b"),
        ('"say \\"hi\\""', "d"),
    ],
)
def test_filter_patterns(pattern: str, matching: str) -> None:
    lines = {"a": "ERROR x", "b": "WARN code=503", "c": "ERROR disk full", "d": 'say "hi"'}
    keep = compile_filter(pattern)
    assert "".join(k for k, line in lines.items() if keep is None or keep(line)) == matching


@pytest.mark.parametrize("pattern", ['{ $.x = "a" }', "[a, b]", "%(%", '"open', "%"])
def test_filter_patterns_that_cannot_be_read_are_refused(pattern: str) -> None:
    with pytest.raises(AwsError, match="Invalid filter pattern") as error:
        compile_filter(pattern)
    assert error.value.code == "InvalidParameterException"


@settings(max_examples=25, deadline=None)
@given(times=st.lists(st.integers(0, 5), max_size=25), limit=st.integers(1, 7), newest=st.booleans())
def test_pages_cut_anywhere_give_every_event_once(
    tmp_path_factory: pytest.TempPathFactory, times: list[int], limit: int, newest: bool
) -> None:
    store = LogStore(tmp_path_factory.mktemp("logs") / "l.sqlite")
    for i, time in enumerate(times):
        store.append(REGION, "g", f"s{i % 2}", [(time, str(i))])
    seen: list[str] = []
    place: Position | None = None
    while True:
        bound = {"before": place} if newest else {"after": place}
        events = store.events(REGION, "g", limit=limit, newest=newest, keep=lambda m: m != "3", **bound)  # type: ignore[arg-type]  # one keyword of two
        if not events:
            break
        seen = [e.message for e in events] + seen if newest else seen + [e.message for e in events]
        place = events[0].position if newest else events[-1].position
    expected = [str(i) for i, _ in sorted(enumerate(times), key=lambda row: row[1]) if i != 3]
    assert seen == expected
    store.close()
