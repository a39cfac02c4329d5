"""STS and IAM through boto3."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError

pytestmark = pytest.mark.wire


@pytest.fixture(scope="module")
def sts(server: Any) -> Any:
    return server.client("sts")


@pytest.fixture(scope="module")
def iam(server: Any) -> Any:
    return server.client("iam")


def test_who_is_calling(sts: Any) -> None:
    answer = sts.get_caller_identity()
    assert answer["Account"] == "123456789012"
    assert answer["Arn"] == "arn:aws:iam::123456789012:user/sagespark"


def test_roles_are_assumed(sts: Any) -> None:
    role = "arn:aws:iam::123456789012:role/path/some-role"
    answer = sts.assume_role(RoleArn=role, RoleSessionName="me", DurationSeconds=900)
    assert answer["AssumedRoleUser"]["Arn"] == "arn:aws:sts::123456789012:assumed-role/some-role/me"
    assert answer["Credentials"]["AccessKeyId"].startswith("ASIA")
    late = answer["Credentials"]["Expiration"] - datetime.now(UTC) - timedelta(seconds=900)
    assert abs(late) < timedelta(minutes=1)
    other = sts.assume_role(RoleArn=role, RoleSessionName="me")["Credentials"]
    assert other["SessionToken"] != answer["Credentials"]["SessionToken"]


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"RoleArn": "arn:aws:s3:::a-bucket-it-is", "RoleSessionName": "me"}, "is invalid"),
        (
            {"RoleArn": "arn:aws:iam::123456789012:role/r", "RoleSessionName": "not me!"},
            "1 validation error detected: Value 'not me!' at 'roleSessionName' failed to satisfy constraint",
        ),
        (
            {"RoleArn": "arn:aws:iam::123456789012:role/r", "RoleSessionName": "me", "DurationSeconds": 901 * 100},
            "43200",
        ),
    ],
)
def test_wrong_roles_are_refused(sts: Any, arguments: dict[str, Any], text: str) -> None:
    with pytest.raises(ClientError, match=text) as caught:
        sts.assume_role(**arguments)
    assert caught.value.response["Error"]["Code"] == "ValidationError"


def test_every_role_is_there_and_may_do_everything(iam: Any) -> None:
    role = iam.get_role(RoleName="sagespark")["Role"]
    assert role["Arn"] == "arn:aws:iam::123456789012:role/sagespark"
    (statement,) = role["AssumeRolePolicyDocument"]["Statement"]
    assert statement["Principal"] == {"Service": "sagemaker.amazonaws.com"}
    answer = iam.simulate_principal_policy(
        PolicySourceArn=role["Arn"],
        ActionNames=["s3:GetObject", "sagemaker:CreateModel"],
        ResourceArns=["arn:aws:s3:::b/*"],
    )
    rows = [(r["EvalActionName"], r["EvalDecision"]) for r in answer["EvaluationResults"]]
    assert rows == [("s3:GetObject", "allowed"), ("sagemaker:CreateModel", "allowed")]


def test_other_operations_say_that_they_are_not_built(iam: Any, sts: Any, server: Any) -> None:
    calls = [(iam.list_users, "ListUsers"), (sts.get_session_token, "GetSessionToken")]
    calls.append((server.client("ec2").describe_instances, "DescribeInstances"))
    for call, name in calls:
        with pytest.raises(ClientError, match=name) as caught:
            call()
        assert caught.value.response["Error"]["Code"] == "UnknownOperationException"
        assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 400
