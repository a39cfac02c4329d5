"""Tell which AWS service a request is for, and with whose credentials it came."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import parse_qsl

from sagespark.local.wire.context import AwsError, HttpRequest
from sagespark.local.wire.models import QUERY_SERVICES, SCOPES, TARGETS, operation_model, service_model

_CREDENTIAL = re.compile(r"Credential=([^,\s]+)")
_REGION = re.compile(r"[a-z0-9-]{1,32}")
_RUNTIME = re.compile(r"/endpoints/[^/]+/(async-)?invocations(-response-stream)?/?")
_FORM = "application/x-www-form-urlencoded"


@dataclass(frozen=True)
class Scope:
    """The credential scope of a signed request; empty strings where it is not signed."""

    access_key: str = ""
    date: str = ""
    region: str = ""
    service: str = ""

    @classmethod
    def of(cls, request: HttpRequest, query: dict[str, str]) -> Scope:
        """Read the scope from the ``Authorization`` header or a presigned query; SigV2's names no region."""
        if "AWSAccessKeyId" in query:
            return cls(query["AWSAccessKeyId"], service="s3")
        match = _CREDENTIAL.search(request.headers.get("authorization", ""))
        text = match[1] if match else query.get("X-Amz-Credential", "")
        # The access key may hold slashes, the scope does not.
        parts = text.rsplit("/", 4)
        # A region becomes part of names and ARNs, so it must look like one.
        if len(parts) != 5 or parts[4] != "aws4_request" or not _REGION.fullmatch(parts[2]):
            return cls()
        return cls(*parts[:4])


@dataclass(frozen=True)
class Target:
    """The service of a request and, where the request names it outright, the operation."""

    service: str
    protocol: str
    """``json``, ``query``, ``rest-json`` or ``rest-xml``."""
    operation: str = ""
    """Empty for the REST protocols and for ``query``, whose action may stand in the body."""


def query_of(request: HttpRequest) -> dict[str, str]:
    """Return the query parameters; of a repeated one the last."""
    return dict(parse_qsl(request.query, keep_blank_values=True))


def identify(request: HttpRequest, scope: Scope, query: dict[str, str]) -> Target:
    """Return the service that a request is for.

    In this order: ``X-Amz-Target``; a path of SageMaker's runtime; the credential scope; an ``Action`` without
    credentials; else S3.

    Raises
    ------
    AwsError
        ``UnknownOperationException`` for a service that is not built.
    """
    target = request.headers.get("x-amz-target")
    if target is not None:
        prefix, _, operation = target.rpartition(".")
        service = TARGETS.get(prefix)
        if service is None:
            raise AwsError(
                "UnknownOperationException", f"The operation {target!r} is not built in the embedded service."
            )
        return Target(service, "json", operation)
    if scope.service in ("", "sagemaker") and _RUNTIME.fullmatch(request.path):
        return Target("sagemaker-runtime", "rest-json")
    form = request.headers.get("content-type", "").startswith(_FORM)
    if scope.service:
        service = SCOPES.get(scope.service)
        if service is None:
            if form:
                # The body names the action, which the refusal names in turn.
                return Target(scope.service, "query")
            raise AwsError(
                "UnknownOperationException",
                f"The service {scope.service!r} is not built in the embedded service: {request.method} {request.path}",
            )
        if service in QUERY_SERVICES:
            return Target(service, "query")
        if service == "s3":
            return Target("s3", "rest-xml")
        raise AwsError(
            "UnknownOperationException",
            f"{request.method} {request.path} names no operation of {service}: the header X-Amz-Target is missing.",
        )
    action = query.get("Action")
    if action is not None:
        return Target(_query_service(action, query.get("Version", "")), "query")
    if form and request.method == "POST" and request.path == "/":
        return Target("sts", "query")
    return Target("s3", "rest-xml")


_S3_HOST = re.compile(r"(?:(?P<bucket>.+)\.)?s3(?:\.[a-z]{2}(?:-[a-z]+)+-\d)?")


def path_with_bucket(host: str, path: str) -> str:
    """Return the path of an S3 request with its bucket in front, which the Host may name instead.

    ``BUCKET.s3.localhost``, ``BUCKET.s3.REGION.localhost`` and ``BUCKET.localhost`` name one; ``s3.localhost``,
    ``localhost`` and addresses do not.
    """
    name = host.partition(":")[0].rstrip(".").lower()
    if not name.endswith(".localhost"):
        return path
    name = name.removesuffix(".localhost")
    match = _S3_HOST.fullmatch(name)
    bucket = match["bucket"] if match else name
    return f"/{bucket}{path}" if bucket else path


def _query_service(action: str, version: str) -> str:
    for name in QUERY_SERVICES:
        if version in ("", service_model(name).api_version) and operation_model(name, action) is not None:
            return name
    raise AwsError("UnknownOperationException", f"The operation {action!r} is not built in the embedded service.")
