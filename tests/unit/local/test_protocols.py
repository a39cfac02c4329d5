"""botocore is the oracle in both directions: its serializer to our parser, our serializer to its parser."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

import pytest
from botocore.awsrequest import HeadersDict, prepare_request_dict
from botocore.parsers import create_parser
from botocore.serialize import create_serializer

from sagespark.local.config import LocalConfig
from sagespark.local.wire.context import AwsError, HttpRequest, HttpResponse
from sagespark.local.wire.dispatch import Dispatcher
from sagespark.local.wire.errors import render
from sagespark.local.wire.models import QUERY_SERVICES, SCOPES, TARGETS, operation_model, service_model
from sagespark.local.wire.parse import parse_json
from sagespark.local.wire.query import parse_query, query_pairs
from sagespark.local.wire.rest import parse_rest, to_rest
from sagespark.local.wire.routes import find
from sagespark.local.wire.serialize import to_json, to_query_xml
from support.shapes import value, without_empty

JSON = ["sagemaker", "logs", "application-autoscaling", "ecr"]
QUERY = ["sts", "iam"]
REST = ["sagemaker-runtime", "s3"]


def operations(services: list[str]) -> list[tuple[str, str]]:
    return [(s, o) for s in services for o in service_model(s).operation_names]


def sent(service: str, operation: str, parameters: dict[str, Any]) -> HttpRequest:
    """Return the request that botocore makes of parameters, as a server sees it."""
    model = operation_model(service, operation)
    made = create_serializer(service_model(service).protocol, include_validation=False).serialize_to_request(
        parameters, model
    )
    prepare_request_dict(made, "http://localhost:1")
    body = made["body"]
    if isinstance(body, dict):
        body = urlencode(body)
    raw = body.encode() if isinstance(body, str) else body
    parts = urlsplit(made["url"])
    headers = {k.lower(): str(v) for k, v in made["headers"].items()}
    return HttpRequest(made["method"], parts.path, parts.query, headers, Bytes(raw or b""))


class Bytes:
    def __init__(self, data: bytes) -> None:
        self.data = data

    async def chunks(self) -> AsyncIterator[bytes]:
        yield self.data

    async def read(self, limit: int) -> bytes:
        return self.data


def parsed_by_botocore(service: str, operation: str, response: HttpResponse) -> dict[str, Any]:
    model = operation_model(service, operation)
    protocol = service_model(service).protocol
    assert isinstance(response.body, bytes)
    raw = {"status_code": response.status, "headers": HeadersDict(response.headers), "body": response.body}
    found = create_parser(protocol).parse(raw, model.output_shape)
    found.pop("ResponseMetadata", None)
    return found


# ------------------------------------------------------------------------------------------------------------- requests


@pytest.mark.parametrize("service", JSON)
def test_json_requests_come_back(service: str) -> None:
    rng = random.Random(service)
    for _, operation in operations([service]):
        shape = operation_model(service, operation).input_shape
        if shape is None:
            continue
        for _ in range(3):
            parameters = value(shape, rng)
            request = sent(service, operation, parameters)
            assert parse_json(shape, request.body.data) == parameters, operation


@pytest.mark.parametrize("service", QUERY)
def test_query_requests_come_back(service: str) -> None:
    rng = random.Random(service)
    for _, operation in operations([service]):
        shape = operation_model(service, operation).input_shape
        if shape is None:
            continue
        for _ in range(3):
            parameters = value(shape, rng)
            pairs = query_pairs(sent(service, operation, parameters).body.data.decode())
            assert pairs["Action"] == operation
            assert parse_query(shape, pairs) == parameters, operation


def rest_value(shape: Any, rng: random.Random) -> dict[str, Any]:
    """Return parameters whose headers and labels are plain ASCII, as clients make them."""
    parameters: dict[str, Any] = value(shape, rng)
    for name, member in shape.members.items():
        if name not in parameters:
            continue
        place = member.serialization.get("location")
        if place in ("header", "uri", "querystring") and member.type_name == "string" and not member.enum:
            parameters[name] = f"v-{rng.randint(0, 999)}"
        elif place == "headers":
            parameters[name] = {f"k{i}": f"v{i}" for i in range(2)}
        elif place == "header" and member.type_name == "list":
            parameters[name] = [f"i{i}" if not member.member.enum else member.member.enum[0] for i in range(2)]
    return parameters


# Two operations of the same request: the model names both, the second is the former name of the first.
SAME = {
    "ListDirectoryBuckets",
    "GetBucketLifecycle",
    "GetBucketNotification",
    "PutBucketLifecycle",
    "PutBucketNotification",
}


@pytest.mark.parametrize(("service", "operation"), operations(REST), ids=lambda v: v)
def test_rest_requests_come_back(service: str, operation: str) -> None:
    model = operation_model(service, operation)
    if operation in SAME or model.input_shape is None:
        return
    rng = random.Random(operation)
    for _ in range(3):
        parameters = rest_value(model.input_shape, rng)
        request = sent(service, operation, parameters)
        # httpchecksum and the signer are no part of the serializer; neither are they of the parser.
        found, labels = find(service, request, request.path, dict(query_pairs(request.query)))
        assert found == operation
        body: Any = request.body.data
        result = parse_rest(model, request, labels, body)
        if model.has_streaming_input:
            name = model.input_shape.serialization["payload"]
            assert result.pop(name, b"") == parameters.pop(name, b"")
        assert without_empty(model.input_shape, result) == without_empty(model.input_shape, parameters)


# ------------------------------------------------------------------------------------------------------------ responses


def is_stream(shape: Any) -> bool:
    return shape is not None and any(m.serialization.get("eventstream") for m in shape.members.values())


@pytest.mark.parametrize("service", JSON)
def test_json_responses_come_back(service: str) -> None:
    rng = random.Random(service)
    count = 0
    for _, operation in operations([service]):
        shape = operation_model(service, operation).output_shape
        if is_stream(shape):
            continue
        for _ in range(3):
            response = value(shape, rng) if shape is not None else {}
            body = to_json(shape, response)
            found = parsed_by_botocore(service, operation, HttpResponse(200, [], body))
            assert found == (without_empty(shape, response) if shape is not None else {}), operation
        count += 1
    assert count >= {"sagemaker": 425}.get(service, 10)


@pytest.mark.parametrize("service", QUERY)
def test_query_responses_come_back(service: str) -> None:
    rng = random.Random(service)
    for _, operation in operations([service]):
        model = operation_model(service, operation)
        for _ in range(3):
            response = value(model.output_shape, rng) if model.output_shape is not None else {}
            body = to_query_xml(model, response, "id-1")
            found = parsed_by_botocore(service, operation, HttpResponse(200, [], body))
            wanted = without_empty(model.output_shape, response) if model.output_shape is not None else {}
            assert {k: v for k, v in found.items() if v not in ({}, [])} == wanted, operation


@pytest.mark.parametrize(("service", "operation"), operations(REST), ids=lambda v: v)
def test_rest_responses_come_back(service: str, operation: str) -> None:
    model = operation_model(service, operation)
    shape = model.output_shape
    if shape is None or is_stream(shape) or operation in {*SAME, "GetBucketLocation"}:
        return
    rng = random.Random(operation)
    for _ in range(3):
        response = without_empty(shape, rest_value(shape, rng))
        for name, member in shape.members.items():
            if member.serialization.get("location") == "statusCode":
                response[name] = 200
        payload = shape.serialization.get("payload")
        if payload is not None and shape.members[payload].type_name == "blob":
            response.setdefault(payload, b"")
            found = to_rest(model, response)
            assert found.body == response[payload]
            continue
        found = parsed_by_botocore(service, operation, to_rest(model, response))
        assert without_empty(shape, {k: v for k, v in found.items() if v not in ({}, [], "")}) == response


def test_empty_and_absent() -> None:
    shape = operation_model("sagemaker", "DescribeTrainingJob").output_shape
    response = {
        "TrainingJobName": "x",
        "VpcConfig": {},
        "OutputDataConfig": {"KmsKeyId": "", "S3OutputPath": "s3://b"},
        "FailureReason": None,
        "InputDataConfig": [],
        "HyperParameters": {},
        "BillableTimeInSeconds": 0,
        "TrainingStartTime": 1.23456789,
    }
    tree = json.loads(to_json(shape, response))
    assert tree == {
        "TrainingJobName": "x",
        "OutputDataConfig": {"KmsKeyId": "", "S3OutputPath": "s3://b"},
        "InputDataConfig": [],
        "HyperParameters": {},
        "BillableTimeInSeconds": 0,
        "TrainingStartTime": 1.235,
    }


# --------------------------------------------------------------------------------------------------------------- errors


@pytest.mark.parametrize("service", [*JSON, *QUERY, *REST])
def test_botocore_reads_our_errors(service: str) -> None:
    model = service_model(service)
    protocol = model.protocol
    request = HttpRequest("GET", "/b/k", "", {}, Bytes(b""))
    codes = [s.error_code for s in model.error_shapes] or ["Other"]
    for code in codes:
        answer = render(AwsError(code, "what <&> ü"), service, protocol, request, "id-1")
        raw = {
            "status_code": answer.status,
            "headers": HeadersDict(answer.headers),
            "body": answer.body,
        }
        found = create_parser(protocol).parse(raw, None)
        assert found["Error"]["Code"] == code
        assert found["Error"]["Message"] == "what <&> ü"


def test_model_errors_carry_their_members_and_status() -> None:
    error = AwsError("ModelError", "m", OriginalStatusCode=500, OriginalMessage="boom", LogStreamArn="arn")
    answer = render(error, "sagemaker-runtime", "rest-json", HttpRequest("POST", "/", "", {}, Bytes(b"")), "id")
    assert answer.status == 424
    assert json.loads(answer.body)["OriginalMessage"] == "boom"
    assert render(AwsError("ModelNotReadyException", "m"), "sagemaker-runtime", "rest-json", None, "id").status == 429


# -------------------------------------------------------------------------------------------------------------- refusal


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"[]",
        b'"x"',
        b"\xff",
        b'{"TrainingJobName": 5}',
        b'{"TrainingJobName": ["x"]}',
        b'{"HyperParameters": {"a": 5}}',
        b'{"HyperParameters": []}',
        b'{"Tags": {}}',
        b'{"TrainingJobName": "\\ud800"}',
        b'{"HyperParameters": {"\\udfff": "x"}}',
        b'{"Tags": [null]}',
        b'{"Tags": ["x"]}',
        b'{"EnableNetworkIsolation": "true"}',
        b'{"ResourceConfig": {"InstanceCount": "1"}}',
        b'{"ResourceConfig": {"InstanceCount": 1.5}}',
        b'{"ResourceConfig": {"InstanceCount": true}}',
        b'{"ResourceConfig": {"InstanceCount": 99999999999}}',
        b'{"ResourceConfig": {"InstanceCount": 1e999}}',
        b"[" * 100_000,
        b'{"Tags": [' * 50_000,
        b'{"a": ' + b"9" * 5000 + b"}",
    ],
    ids=range(22),
)
def test_what_is_no_request_is_a_serialization_error(body: bytes) -> None:
    with pytest.raises(AwsError) as caught:
        parse_json(operation_model("sagemaker", "CreateTrainingJob").input_shape, body)
    assert caught.value.code == "SerializationException"


def test_unknown_members_and_nulls_are_ignored() -> None:
    shape = operation_model("sagemaker", "CreateTrainingJob").input_shape
    assert parse_json(shape, b'{"TrainingJobName": "x", "Unknown": {"a": 1}, "RoleArn": null}') == {
        "TrainingJobName": "x"
    }
    assert parse_json(shape, b"") == {}
    assert parse_json(None, b'{"a": 1}') == {}


# ------------------------------------------------------------------------------------------------------------- identify


def test_names_of_services_are_the_models() -> None:
    for prefix, service in TARGETS.items():
        assert service_model(service).metadata["targetPrefix"] == prefix
    for scope, service in SCOPES.items():
        assert service_model(service).signing_name == scope
    for service in QUERY_SERVICES:
        assert "query" in service_model(service).metadata["protocols"]


def signed(service: str) -> dict[str, str]:
    return {"authorization": f"AWS4-HMAC-SHA256 Credential=AK/20260101/eu-west-1/{service}/aws4_request, Signature=x"}


class Echo:
    """Answers with what it was asked."""

    def __init__(self, service: str, *names: str) -> None:
        self.service = service
        self.asked: list[Any] = []
        for name in names:
            setattr(self, name, lambda ctx, request: self.asked.append((ctx, request)))


def call(request: HttpRequest, *providers: Any) -> HttpResponse:
    dispatcher = Dispatcher(providers, LocalConfig(data=Path("unused")))
    try:
        return asyncio.run(dispatcher.handle(request, "http://localhost:1"))
    finally:
        dispatcher.close()


@pytest.mark.parametrize(
    ("service", "operation", "request_"),
    [
        ("sagemaker", "ListModels", ("POST", "/", "", {"x-amz-target": "SageMaker.ListModels"}, b"{}")),
        ("logs", "DescribeLogGroups", ("POST", "/", "", {"x-amz-target": "Logs_20140328.DescribeLogGroups"}, b"{}")),
        ("sagemaker-runtime", "InvokeEndpoint", ("POST", "/endpoints/e/invocations", "", signed("sagemaker"), b"x")),
        ("sagemaker-runtime", "InvokeEndpoint", ("POST", "/endpoints/e/invocations", "", {}, b"x")),
        ("sts", "GetCallerIdentity", ("POST", "/", "", signed("sts"), b"Action=GetCallerIdentity")),
        ("sts", "GetCallerIdentity", ("GET", "/", "Action=GetCallerIdentity&Version=2011-06-15", {}, b"")),
        ("iam", "GetRole", ("GET", "/", "Action=GetRole&RoleName=r", {}, b"")),
        ("s3", "ListObjectsV2", ("GET", "/endpoints/e/invocations", "list-type=2", signed("s3"), b"")),
        ("s3", "ListBuckets", ("GET", "/", "", {}, b"")),
        ("s3", "HeadObject", ("HEAD", "/b/k", "X-Amz-Credential=AK/2026/eu-west-1/s3/aws4_request", {}, b"")),
        ("s3", "HeadBucket", ("HEAD", "/", "", {"host": "b.s3.localhost:4599"}, b"")),
        ("s3", "HeadBucket", ("HEAD", "/", "", {"host": "b.localhost"}, b"")),
        ("s3", "HeadBucket", ("HEAD", "/b/", "", {"host": "s3.eu-west-1.localhost"}, b"")),
        ("s3", "HeadObject", ("HEAD", "/b/k", "", {"host": "b.c.s3.eu-west-1.localhost"}, b"")),
    ],
)
def test_which_service_and_operation(service: str, operation: str, request_: Any) -> None:
    method, path, query, headers, body = request_
    provider = Echo(service, operation)
    if operation == "ListObjectsV2":
        path = "/endpoints"
    call(HttpRequest(method, path, query, {"host": "127.0.0.1", **headers}, Bytes(body)), provider)
    ((ctx, _),) = provider.asked
    assert (ctx.service, ctx.operation) == (service, operation)
    assert ctx.region == ("eu-west-1" if "eu-west-1/" in str(headers) + query else "us-east-1")
    assert ctx.base_url == "http://localhost:1"


@pytest.mark.parametrize("region", ["..", "US", "", "a" * 33, "eu west"])
def test_a_region_that_is_none_is_not_taken_over(region: str) -> None:
    provider = Echo("sagemaker", "ListModels")
    credential = f"AWS4-HMAC-SHA256 Credential=AK/20260101/{region}/sagemaker/aws4_request, Signature=x"
    headers = {"x-amz-target": "SageMaker.ListModels", "authorization": credential}
    call(HttpRequest("POST", "/", "", headers, Bytes(b"{}")), provider)
    assert provider.asked[0][0].region == "us-east-1"


def test_virtual_hosts_name_the_bucket() -> None:
    provider = Echo("s3", "HeadObject")
    for host in ("b.c.s3.localhost:1", "b.c.localhost", "b.c.s3.us-east-1.localhost"):
        call(HttpRequest("HEAD", "/x//y%2F", "", {"host": host}, Bytes(b"")), provider)
        request = provider.asked[-1][1]
        assert (request["Bucket"], request["Key"]) == ("b.c", "x//y/")


@pytest.mark.parametrize("operation", service_model("sagemaker").operation_names)
def test_every_operation_that_is_not_built_is_named(operation: str) -> None:
    request = HttpRequest("POST", "/", "", {"x-amz-target": f"SageMaker.{operation}"}, Bytes(b"{}"))
    answer = call(request)
    assert answer.status == 400
    body = json.loads(answer.body)
    assert body["__type"] == "UnknownOperationException"
    assert operation in body["message"]
    headers = dict(answer.headers)
    assert headers["x-amzn-errortype"] == "UnknownOperationException"
    assert headers["x-amzn-requestid"]


@pytest.mark.parametrize(
    ("target", "headers", "code"),
    [
        ("SageMaker.NoSuch", {}, "UnknownOperationException"),
        ("Other.Thing", {}, "UnknownOperationException"),
        ("", signed("ec2"), "UnknownOperationException"),
        ("", signed("sagemaker"), "UnknownOperationException"),
    ],
)
def test_what_nobody_knows(target: str, headers: dict[str, str], code: str) -> None:
    headers = headers | ({"x-amz-target": target} if target else {})
    answer = call(HttpRequest("POST", "/", "", {"host": "x", **headers}, Bytes(b"{}")))
    assert (answer.status, json.loads(answer.body)["__type"]) == (400, code)


def test_a_defect_is_an_internal_failure_and_tells_nothing() -> None:
    class Broken:
        service = "sagemaker"

        def ListModels(self, ctx: Any, request: Any) -> Any:
            raise RuntimeError("secret detail")

        def ListTags(self, ctx: Any, request: Any) -> Any:
            return {"Tags": "no list"}

    for body, target in (
        (b"{}", "ListModels"),
        (b'{"ResourceArn": "arn:aws:sagemaker:us-east-1:123456789012:model/m"}', "ListTags"),
    ):
        answer = call(HttpRequest("POST", "/", "", {"x-amz-target": f"SageMaker.{target}"}, Bytes(body)), Broken())
        assert answer.status == 500
        assert json.loads(answer.body)["__type"] == "InternalFailure"
        assert b"secret" not in answer.body


def test_providers_with_operations_that_do_not_exist_are_refused() -> None:
    with pytest.raises(ValueError, match="no operation CreateEverything"):
        Dispatcher([Echo("sagemaker", "CreateEverything")], LocalConfig(data=Path("unused")))
