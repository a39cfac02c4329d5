from __future__ import annotations

from typing import Any

import pytest

from sagespark.aws.logs import LogFollower, excerpt, last_lines
from sagespark.aws.session import SageMakerSession
from sagespark.aws.training_job import MetricsFollower, TrainingJob
from sagespark.core.errors import ServiceError
from support.scripted import RESET, Script, Sent, error

GROUP = "/aws/sagemaker/TrainingJobs"


class Streams:
    """CloudWatch Logs as far as reading goes: pages by token, the same token again at the end."""

    def __init__(self, page: int = 2) -> None:
        self.lines: dict[str, list[str]] = {}
        self.page = page

    def describe(self, sent: Sent) -> dict[str, Any]:
        names = sorted(name for name in self.lines if name.startswith(sent.json["logStreamNamePrefix"]))
        start = int(sent.json.get("nextToken", 0))
        answer: dict[str, Any] = {"logStreams": [{"logStreamName": name} for name in names[start : start + 1]]}
        return answer | ({"nextToken": str(start + 1)} if start + 1 < len(names) else {})

    def events(self, sent: Sent) -> dict[str, Any]:
        lines = self.lines[sent.json["logStreamName"]]
        if sent.json["startFromHead"]:
            start = int(sent.json.get("nextToken", "f/0").removeprefix("f/"))
            shown = lines[start : start + min(self.page, sent.json["limit"])]
        else:
            start = max(0, len(lines) - sent.json["limit"])
            shown = lines[start:]
        events = [{"timestamp": start + i, "message": text} for i, text in enumerate(shown)]
        return {"events": events, "nextForwardToken": f"f/{start + len(shown)}"}


@pytest.fixture
def streams(script: Script) -> Streams:
    streams = Streams()
    script.always = {"DescribeLogStreams": streams.describe, "GetLogEvents": streams.events}
    return streams


def test_a_follower_gives_each_line_once(session: SageMakerSession, streams: Streams) -> None:
    follower = LogFollower(session, GROUP, "km-1/")
    assert follower.read() == []
    streams.lines = {"km-1/algo-1": list("abcde"), "km-1/algo-2": ["x"], "km-10/algo-1": ["other"]}
    assert sorted(line.message for line in follower.read()) == sorted("abcdex")
    assert follower.read() == []
    streams.lines["km-1/algo-1"] += ["f\n"]
    assert [line.message for line in follower.read()] == ["f"]


def test_lines_of_several_streams_are_in_order_of_time(session: SageMakerSession, streams: Streams) -> None:
    streams.lines = {"km-1/algo-1": ["a0", "a1", "a2"], "km-1/algo-2": ["b0", "b1", "b2"]}
    stamps = [line.timestamp for line in LogFollower(session, GROUP, "km-1/").read()]
    assert stamps == [0, 0, 1, 1, 2, 2]
    assert [line.message for line in last_lines(session, GROUP, "km-1/", 3)] == ["b1", "a2", "b2"]
    assert last_lines(session, GROUP, "km-1/", 0) == []


def test_a_follower_stops_at_its_limit_and_goes_on(session: SageMakerSession, streams: Streams) -> None:
    streams.lines = {"km-1/algo-1": list("abcdefg")}
    follower = LogFollower(session, GROUP, "km-1/")
    assert "".join(line.message for line in follower.read(limit=3)) == "abc"
    assert "".join(line.message for line in follower.read()) == "defg"


def test_a_follower_is_patient_but_not_blind(session: SageMakerSession, script: Script) -> None:
    follower = LogFollower(session, GROUP, "km-1/")
    script.always = {"DescribeLogStreams": RESET}
    assert follower.read() == []
    script.always = {"DescribeLogStreams": error("AccessDeniedException", "no", 403)}
    with pytest.raises(ServiceError):
        follower.read()


def test_a_group_that_does_not_exist_yet_has_no_lines(session: SageMakerSession, script: Script) -> None:
    script.always = {
        "DescribeLogStreams": error("ResourceNotFoundException", "The specified log group does not exist.")
    }
    assert LogFollower(session, GROUP, "km-1/").read() == []
    assert "no lines" in excerpt(session, GROUP, "km-1/")


def test_an_excerpt_shows_the_end(session: SageMakerSession, streams: Streams) -> None:
    streams.lines = {"km-1/algo-1": [str(n) for n in range(40)]}
    rows = excerpt(session, GROUP, "km-1/", 3).splitlines()
    assert rows[1:] == ["  | 37", "  | 38", "  | 39"]
    assert GROUP in rows[0]


def test_a_metric_follower_gives_every_value_of_the_first_host(streams: Streams, session: SageMakerSession) -> None:
    definitions = [{"Name": "train:loss", "Regex": r"loss=(\S+)"}, {"Name": "other", "Regex": "o=(.*)"}]
    description = {"AlgorithmSpecification": {"MetricDefinitions": definitions}}
    follower = MetricsFollower(TrainingJob(session, "job"), "train:loss")

    def values() -> list[float]:
        return [point.value for point in follower.read(description).get("train:loss", ())]

    assert values() == []
    streams.lines["job/algo-1-1"] = ["hello", "loss=3", "loss=3 o=1", "loss=inf", "loss=what"]
    streams.lines["job/algo-10-1"] = ["loss=9"]
    assert values() == [3.0, 3.0]
    streams.lines["job/algo-1-1"] += ["loss=1e-2"]
    assert values() == [3.0, 3.0, 0.01]
    assert MetricsFollower(TrainingJob(session, "job"), "unknown").read(description) == {}
