"""Constraints of the service models, and AWS's own texts for what breaks them."""

from __future__ import annotations

import re
import sys
import unicodedata
from typing import Any

import pytest

from sagespark.local.wire.context import AwsError
from sagespark.local.wire.models import operation_model, service_model
from sagespark.local.wire.patterns import compiled, matches, translate
from sagespark.local.wire.validate import validate

GOOD: dict[str, Any] = {
    "TrainingJobName": "job-1",
    "AlgorithmSpecification": {
        "TrainingImage": "382416733822.dkr.ecr.us-east-1.amazonaws.com/kmeans:1",
        "TrainingInputMode": "File",
    },
    "RoleArn": "arn:aws:iam::123456789012:role/sagespark",
    "InputDataConfig": [
        {
            "ChannelName": "train",
            "DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": "s3://bucket/prefix/"}},
        }
    ],
    "OutputDataConfig": {"S3OutputPath": "s3://bucket/out/"},
    "ResourceConfig": {"InstanceType": "ml.m5.xlarge", "InstanceCount": 1, "VolumeSizeInGB": 30},
    "StoppingCondition": {"MaxRuntimeInSeconds": 3600},
    "HyperParameters": {"k": "10"},
    "Tags": [{"Key": "a", "Value": "ü 1"}],
}


def message(request: dict[str, Any], service: str = "sagemaker", operation: str = "CreateTrainingJob") -> str:
    with pytest.raises(AwsError) as caught:
        validate(service, operation_model(service, operation).input_shape, request)
    assert caught.value.code == {"logs": "InvalidParameterException", "sagemaker-runtime": "ValidationError"}.get(
        service, "ValidationException"
    )
    return caught.value.message


def with_(**changes: Any) -> dict[str, Any]:
    return {k: v for k, v in (GOOD | changes).items() if v is not None}


def test_a_good_request_passes() -> None:
    validate("sagemaker", operation_model("sagemaker", "CreateTrainingJob").input_shape, GOOD)


NAME = r"[a-zA-Z0-9](-*[a-zA-Z0-9]){0,62}"


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        (
            {"TrainingJobName": "a_b"},
            "Value 'a_b' at 'trainingJobName' failed to satisfy constraint: "
            f"Member must satisfy regular expression pattern: {NAME}",
        ),
        ({"RoleArn": None}, "Value null at 'roleArn' failed to satisfy constraint: Member must not be null"),
        (
            {"ResourceConfig": {"InstanceType": "ml.m5.xlarge", "InstanceCount": -1, "VolumeSizeInGB": 1}},
            "Value '-1' at 'resourceConfig.instanceCount' failed to satisfy constraint: "
            "Member must have value greater than or equal to 0",
        ),
        (
            {"AlgorithmSpecification": {"TrainingImage": "x", "TrainingInputMode": "Tape"}},
            "Value 'Tape' at 'algorithmSpecification.trainingInputMode' failed to satisfy constraint: "
            "Member must satisfy enum value set: [Pipe, File, FastFile]",
        ),
        (
            {"AlgorithmSpecification": {"TrainingImage": "x" * 256, "TrainingInputMode": "File"}},
            "Member must have length less than or equal to 255",
        ),
        (
            {"InputDataConfig": [GOOD["InputDataConfig"][0], {"ChannelName": "test"}]},
            "Value null at 'inputDataConfig.2.member.dataSource' failed to satisfy constraint: Member must not be null",
        ),
        (
            {"InputDataConfig": []},
            "Value '[]' at 'inputDataConfig' failed to satisfy constraint: "
            "Member must have length greater than or equal to 1",
        ),
        (
            {"HyperParameters": {"k" * 257: "1"}},
            "at 'hyperParameters' failed to satisfy constraint: Map keys must satisfy constraint: "
            "[Member must have length less than or equal to 256,",
        ),
        (
            {"HyperParameters": {"k": "1" * 2501}},
            "at 'hyperParameters' failed to satisfy constraint: Map value must satisfy constraint: "
            "[Member must have length less than or equal to 2500,",
        ),
        (
            {"VpcConfig": {"SecurityGroupIds": ["sg-1", "s g"], "Subnets": ["subnet-1"]}},
            "Value '[sg-1, s g]' at 'vpcConfig.securityGroupIds' failed to satisfy constraint: "
            "Member must satisfy constraint: [Member must have length less than or equal to 32,",
        ),
        (
            {"Tags": [{"Key": "", "Value": "x"}]},
            "Value '' at 'tags.1.member.key' failed to satisfy constraint: "
            "Member must have length greater than or equal to 1",
        ),
        ({"RoleArn": "arn:aws:iam::1:role/x\n" + "x" * 20}, "Member must satisfy regular expression pattern"),
    ],
)
def test_one_error(changes: dict[str, Any], text: str) -> None:
    said = message(with_(**changes))
    assert said.startswith("1 validation error detected: Value ")
    assert text in said


def test_errors_are_told_together() -> None:
    said = message({"TrainingJobName": "-", "RoleArn": "x"})
    assert said.startswith("4 validation errors detected: ")
    rows = said.partition(": ")[2].split("; ")
    assert [re.search(r"at '(\w+)'", r)[1] for r in rows] == [
        "trainingJobName",
        "roleArn",
        "roleArn",
        "outputDataConfig",
    ]


def test_instance_types_may_be_newer_than_the_model() -> None:
    config = GOOD["ResourceConfig"]
    shape = operation_model("sagemaker", "CreateTrainingJob").input_shape
    validate("sagemaker", shape, with_(ResourceConfig=config | {"InstanceType": "ml.m99.128xlarge"}))
    for wrong in ("m5.xlarge", "ml.m5", "ml.m5.xlarge "):
        assert "enum value set: [" in message(with_(ResourceConfig=config | {"InstanceType": wrong}))


def test_sensitive_values_are_not_shown() -> None:
    body = {"EndpointName": "e", "Body": b"", "CustomAttributes": "ü secret"}
    said = message(body, "sagemaker-runtime", "InvokeEndpoint")
    assert "Value at 'customAttributes' failed to satisfy constraint: Member must satisfy regular expression" in said
    assert "secret" not in said


def test_the_services_own_names() -> None:
    said = message({"logGroupName": "a b", "logStreamName": "x"}, "logs", "GetLogEvents")
    assert "Value 'a b' at 'logGroupName'" in said


def test_a_message_stays_readable() -> None:
    said = message(with_(HyperParameters={f"k{i}": "v" * 3000 for i in range(100)}))
    assert len(said) < 5000


# ------------------------------------------------------------------------------------------------------------- patterns


def test_every_pattern_of_every_service_is_understood() -> None:
    services = [
        "sagemaker",
        "sagemaker-runtime",
        "sts",
        "iam",
        "logs",
        "application-autoscaling",
        "cloudwatch",
        "ecr",
        "s3",
    ]
    count = 0
    for service in services:
        model = service_model(service)
        for name in model.shape_names:
            pattern = model.shape_for(name).metadata.get("pattern")
            if pattern is not None:
                count += 1
                assert compiled(pattern) is not None, (service, name, pattern)
    assert count > 600


@pytest.mark.parametrize(
    ("pattern", "right", "wrong"),
    [
        (r"[a-z]+", ["abc"], ["abc\n", "ABC", ""]),
        (r"^[a-z]+$", ["abc"], ["abc\n"]),
        (r"a|ab", ["a", "ab"], ["abc"]),
        (r"[\p{L}\p{Z}\p{N}_]*", ["aß日 1", "", "２\u00a0"], ["-", "a.b", "😀"]),
        (r"[\p{L}\p{M}\p{Z}\p{S}\p{N}\p{P}]*", ["é😀+-."], ["\x00"]),
        (r"\p{Alnum}+", ["aZ9"], ["ß", "_"]),
        (r"\p{ASCII}*", ["a\x00\x7f"], ["ü"]),
        (r"\A\S[\p{Print}]*\z", ["x y"], [" x", "x\n", "xü"]),
        (r"\P{L}+", ["123"], ["12a"]),
        (r"[\u0020-\uD7FF\uE000-\uFFFD\uD800\uDC00-\uDBFF\uDFFF\t]*", ["a\tß日😀"], ["a\x00", "a\n"]),
        (r"\d+\w*", ["1a_"], ["٣", "1ä"]),
        (r"[\w-_]*", ["a-_"], ["a b"]),
        (r".*", ["a\tb"], ["a\nb", "a\u2028b", "a\rb"]),
        (r"[!#-\[\]-~]*", ["!#[]~"], ['"', "\\"]),
        (r"[^a\].]+", ["bc"], ["a", "]", "."]),
        (r"([\p{L}]*)${1,128}", ["abc"], ["1"]),
    ],
)
def test_javas_patterns(pattern: str, right: list[str], wrong: list[str]) -> None:
    for text in right:
        assert matches(pattern, text), (translate(pattern), text)
    for text in wrong:
        assert not matches(pattern, text), (translate(pattern), text)


@pytest.mark.parametrize("name", ["L", "M", "N", "P", "S", "Z", "Lu", "Zs"])
def test_categories_hold_every_character_of_theirs(name: str) -> None:
    every = map(chr, range(sys.maxunicode + 1))
    wanted = "".join(c for c in every if unicodedata.category(c).startswith(name))
    assert matches(rf"\p{{{name}}}+", wanted)
    assert not matches(rf"\p{{{name}}}", "\n")
    assert not any(matches(rf"\p{{{name}}}", c) for c in map(chr, range(0x3000)) if c not in wanted)


def test_what_is_no_pattern_is_not_checked() -> None:
    assert compiled("(") is None
    assert compiled(r"\p{NoSuchClass}") is None
    assert compiled(r"[\P{L}]") is None
    assert matches("(", "anything")


def test_long_texts_do_not_take_long() -> None:
    said = message(with_(TrainingJobName="a" + "-" * 100_000))
    assert "length less than or equal to 63" in said
    assert "pattern" not in said
