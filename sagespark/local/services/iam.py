"""IAM: the few reads that SageMaker's clients make of their role."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from sagespark.local.wire.context import Context

_SINCE = datetime(2024, 1, 1, tzinfo=UTC)
_TRUST = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Principal": {"Service": "sagemaker.amazonaws.com"}, "Action": "sts:AssumeRole"}],
}


class Iam:
    """GetRole and SimulatePrincipalPolicy. Every role name stands for a role that SageMaker may assume."""

    service = "iam"

    def GetRole(self, ctx: Context, request: dict[str, Any]) -> dict[str, Any]:
        """Describe a role of the account."""
        name = request["RoleName"]
        return {
            "Role": {
                "Path": "/",
                "RoleName": name,
                "RoleId": "AROASAGESPARKLOCAL00",
                "Arn": f"arn:aws:iam::{ctx.account}:role/{name}",
                "CreateDate": _SINCE,
                "AssumeRolePolicyDocument": quote(json.dumps(_TRUST)),
                "MaxSessionDuration": 3600,
            }
        }

    def SimulatePrincipalPolicy(self, ctx: Context, request: dict[str, Any]) -> dict[str, Any]:
        """Allow every action on every resource: the embedded service has no policies."""
        resources = request.get("ResourceArns") or ["*"]
        return {
            "EvaluationResults": [
                {
                    "EvalActionName": action,
                    "EvalResourceName": resource,
                    "EvalDecision": "allowed",
                    "MatchedStatements": [],
                    "MissingContextValues": [],
                }
                for action in request["ActionNames"]
                for resource in resources
            ],
            "IsTruncated": False,
        }
