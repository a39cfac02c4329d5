"""STS: who is calling, and temporary credentials."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from sagespark.core.clock import Clock, SystemClock, token
from sagespark.local.config import SECRET_KEY
from sagespark.local.wire.context import AwsError, Context


class Sts:
    """GetCallerIdentity and AssumeRole.

    Every access key belongs to one user of the service's account. Temporary keys sign with the service's one secret.
    """

    service = "sts"

    def __init__(self, clock: Clock | None = None, secret_key: str = SECRET_KEY) -> None:
        self._clock = clock or SystemClock()
        self._secret_key = secret_key

    def GetCallerIdentity(self, ctx: Context, request: dict[str, Any]) -> dict[str, Any]:
        """Name the account and the user."""
        return {
            "UserId": "AIDASAGESPARKLOCAL",
            "Account": ctx.account,
            "Arn": f"arn:aws:iam::{ctx.account}:user/sagespark",
        }

    def AssumeRole(self, ctx: Context, request: dict[str, Any]) -> dict[str, Any]:
        """Hand out temporary credentials of any role of the account."""
        arn, session = request["RoleArn"], request["RoleSessionName"]
        parts = arn.split(":", 5)
        if len(parts) != 6 or parts[2] != "iam" or not parts[5].startswith("role/"):
            raise AwsError("ValidationError", f"{arn} is invalid")
        seconds = request.get("DurationSeconds", 3600)
        identifier = f"AROA{token(16).upper()}"
        return {
            "Credentials": {
                "AccessKeyId": f"ASIA{token(16).upper()}",
                "SecretAccessKey": self._secret_key,
                "SessionToken": token(32) + token(32),
                "Expiration": self._clock.now() + timedelta(seconds=seconds),
            },
            "AssumedRoleUser": {
                "AssumedRoleId": f"{identifier}:{session}",
                "Arn": f"arn:aws:sts::{parts[4]}:assumed-role/{parts[5].rpartition('/')[2]}/{session}",
            },
            "PackedPolicySize": 0,
        }
