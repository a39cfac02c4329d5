from __future__ import annotations

import getpass

import pytest

from sagespark.aws import tags
from sagespark.aws.clients import version
from sagespark.aws.session import SageMakerSession
from support.scripted import Script


def test_tags_of_a_run_name_package_run_and_creator() -> None:
    found = tags.as_dict(tags.of_run({"team": "blue"}, "KMeans_1"))
    assert found["team"] == "blue"
    assert found["sagespark"] == version()
    assert found["sagespark:run"] == "KMeans_1"
    assert found["sagespark:creator"].startswith(getpass.getuser() + "@")


def test_what_a_request_has_already_stays() -> None:
    found = tags.as_dict(tags.completed([{"Key": "team", "Value": "red"}], {"team": "blue", "cost": "7"}))
    assert (found["team"], found["cost"]) == ("red", "7")


def test_a_user_without_a_name_is_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody() -> str:
        raise OSError

    monkeypatch.setattr(getpass, "getuser", nobody)
    assert tags.creator.__wrapped__().startswith("unknown@")


@pytest.mark.parametrize(
    ("own", "words"),
    [
        ({"aws:x": "1"}, "aws:"),
        ({"": "1"}, "1 to 128"),
        ({"k" * 129: "1"}, "1 to 128"),
        ({"k": "v" * 257}, "256"),
        ({"k": "a|b"}, "a|b"),
        ({"k": 3}, "3"),
        ({"sagespark:run": "x"}, "package's own"),
        ({str(n): "" for n in range(48)}, "at most 47"),
    ],
)
def test_what_aws_would_refuse_is_a_problem(own: dict[str, str], words: str) -> None:
    (problem,) = tags.problems(own)
    assert words in problem


def test_letters_of_any_script_are_fine() -> None:
    assert tags.problems({"Größe": "naïve 値 +-=._:/@", "empty": ""}) == []


def test_all_pages_are_read(session: SageMakerSession, script: Script) -> None:
    script.answers = [
        {"Tags": [{"Key": "a", "Value": "1"}], "NextToken": "t"},
        {"Tags": [{"Key": "b", "Value": "2"}]},
    ]
    assert tags.of(session, "arn:aws:sagemaker:us-east-1:123456789012:endpoint/e") == {"a": "1", "b": "2"}
