"""Models, endpoint configs and tags as operations."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sagespark.local.services import arns, paging
from sagespark.local.services.tags import get_tags, put_tags
from sagespark.local.wire.context import AwsError
from support.clocks import FakeClock
from support.training import BUCKET, REGION, ROLE, Bench, ctx

ARN = f"arn:aws:sagemaker:{REGION}:123456789012:"


@pytest.fixture
def clock() -> FakeClock:
    # Times are shown in milliseconds, and a filter by a time that was shown includes it.
    return FakeClock(datetime(2026, 1, 1, 0, 0, 0, 600, tzinfo=UTC))


@pytest.fixture
def bench(tmp_path: Path, clock: FakeClock) -> Iterator[Bench]:
    made = Bench(tmp_path, clock=clock)
    made.put("m/model.tar.gz")
    yield made
    made.close()


def model(name: str, **members: Any) -> dict[str, Any]:
    container = {"Image": "script/ok", "ModelDataUrl": f"s3://{BUCKET}/m/model.tar.gz"}
    return {"ModelName": name, "ExecutionRoleArn": ROLE, "PrimaryContainer": container} | members


def variant(model_name: str, **members: Any) -> dict[str, Any]:
    base = {
        "VariantName": "AllTraffic",
        "ModelName": model_name,
        "InstanceType": "ml.m5.large",
        "InitialInstanceCount": 1,
    }
    return base | members


def config(name: str, *variants: dict[str, Any]) -> dict[str, Any]:
    return {"EndpointConfigName": name, "ProductionVariants": list(variants)}


def refusal(call: Any, request: dict[str, Any]) -> str:
    with pytest.raises(AwsError) as error:
        call(ctx(), request)
    assert error.value.code == "ValidationException"
    return error.value.message


def test_a_model_is_described_as_aws_does(bench: Bench) -> None:
    assert bench.models.CreateModel(ctx(), model("m")) == {"ModelArn": ARN + "model/m"}
    document = bench.models.DescribeModel(ctx(), {"ModelName": "m"})
    assert document["PrimaryContainer"] == {
        "Image": "script/ok",
        "Mode": "SingleModel",
        "ModelDataUrl": f"s3://{BUCKET}/m/model.tar.gz",
        "Environment": {},
    }
    assert (document["EnableNetworkIsolation"], document["ExecutionRoleArn"]) == (False, ROLE)
    assert "Containers" not in document
    bench.models.CreateModel(ctx(), model("n", PrimaryContainer=None) | {"Containers": [{"Image": "script/ok"}] * 2})
    assert len(bench.models.DescribeModel(ctx(), {"ModelName": "n"})["Containers"]) == 2


def test_taken_and_missing_names_are_told_in_awss_words(bench: Bench) -> None:
    bench.models.CreateModel(ctx(), model("m"))
    assert refusal(bench.models.CreateModel, model("m")) == f'Cannot create already existing model "{ARN}model/m".'
    for call in (bench.models.DescribeModel, bench.models.DeleteModel):
        assert refusal(call, {"ModelName": "x"}) == f'Could not find model "{ARN}model/x".'
    bench.configs.CreateEndpointConfig(ctx(), config("c", variant("m")))
    assert refusal(bench.configs.CreateEndpointConfig, config("c", variant("m"))) == (
        f'Cannot create already existing endpoint configuration "{ARN}endpoint-config/c".'
    )
    for call in (bench.configs.DescribeEndpointConfig, bench.configs.DeleteEndpointConfig):
        assert refusal(call, {"EndpointConfigName": "x"}) == (
            f'Could not find endpoint configuration "{ARN}endpoint-config/x".'
        )


@pytest.mark.parametrize(
    ("container", "words"),
    [
        ({"ModelDataUrl": "s3://bench/m/model.tar.gz"}, "must have an Image"),
        ({"Image": "busybox"}, "Requested image busybox not found"),
        ({"Image": "script/ok", "ModelDataUrl": "s3://bench/none"}, "Could not find model data at s3://bench/none."),
        ({"Image": "script/ok", "ModelDataUrl": "s3://none/m/model.tar.gz"}, "Could not find model data at"),
        ({"Image": "script/ok", "ModelDataUrl": "https://x/y"}, "Invalid model data location"),
        ({"Image": "script/ok", "Mode": "MultiModel"}, "does not run it"),
        ({"ModelPackageName": "p"}, 'Could not find model package "p"'),
        (
            {
                "Image": "script/ok",
                "ModelDataSource": {"S3DataSource": {"S3Uri": "s3://bench/z/", "S3DataType": "S3Prefix"}},
            },
            "Could not find model data at s3://bench/z/",
        ),
    ],
)
def test_containers_that_could_never_serve_are_refused(bench: Bench, container: dict[str, Any], words: str) -> None:
    assert words in refusal(bench.models.CreateModel, model("m", PrimaryContainer=container))
    assert bench.store.list("Model") == []


def test_exactly_one_kind_of_container_is_given(bench: Bench) -> None:
    words = "Exactly one of PrimaryContainer and Containers"
    assert words in refusal(bench.models.CreateModel, {"ModelName": "m"})
    assert words in refusal(bench.models.CreateModel, model("m") | {"Containers": [{"Image": "script/ok"}]})


def test_models_are_listed_newest_first_and_by_filter(bench: Bench, clock: FakeClock) -> None:
    for name in ("a", "bb", "ab"):
        bench.models.CreateModel(ctx(), model(name))
        clock.advance(0.001)

    def listed(**request: Any) -> list[str]:
        return [m["ModelName"] for m in bench.models.ListModels(ctx(), request)["Models"]]

    assert listed() == ["ab", "bb", "a"]
    assert listed(SortBy="Name", SortOrder="Ascending") == ["a", "ab", "bb"]
    assert listed(NameContains="b", SortOrder="Ascending") == ["bb", "ab"]
    middle = bench.models.DescribeModel(ctx(), {"ModelName": "bb"})["CreationTime"].replace(microsecond=2000)
    assert listed(CreationTimeAfter=middle) == ["ab", "bb"]
    first = bench.models.ListModels(ctx(), {"MaxResults": 2})
    assert listed(NextToken=first["NextToken"]) == ["a"]
    bench.models.DeleteModel(ctx(), {"ModelName": "bb"})
    assert listed() == ["ab", "a"]


def test_an_endpoint_config_needs_its_models_and_instances(bench: Bench) -> None:
    create = bench.configs.CreateEndpointConfig
    assert refusal(create, config("c", variant("none"))) == f'Could not find model "{ARN}model/none".'
    bench.models.CreateModel(ctx(), model("m"))
    bare = {"VariantName": "v", "ModelName": "m"}
    assert "must have InstanceType and InitialInstanceCount" in refusal(create, config("c", bare))
    assert "must be unique, but 'AllTraffic' occurs twice" in refusal(create, config("c", variant("m"), variant("m")))
    serverless = {"ServerlessConfig": {"MemorySizeInMB": 1024, "MaxConcurrency": 1}}
    assert "either ServerlessConfig or" in refusal(create, config("c", variant("m") | serverless))
    assert "above 0" in refusal(create, config("c", variant("m", InitialVariantWeight=0.0)))
    assert bench.store.list("EndpointConfig") == []
    create(ctx(), config("c", variant("m"), variant("m", VariantName="b", InitialVariantWeight=0.0)))
    document = bench.configs.DescribeEndpointConfig(ctx(), {"EndpointConfigName": "c"})
    assert [v["InitialVariantWeight"] for v in document["ProductionVariants"]] == [1.0, 0.0]
    assert "ShadowProductionVariants" not in document
    # A model in use may be deleted, as on AWS.
    bench.models.DeleteModel(ctx(), {"ModelName": "m"})
    summary = bench.configs.ListEndpointConfigs(ctx(), {})["EndpointConfigs"]
    assert [row["EndpointConfigArn"] for row in summary] == [ARN + "endpoint-config/c"]


def test_tags_are_added_replaced_listed_and_deleted(bench: Bench) -> None:
    bench.models.CreateModel(ctx(), model("m") | {"Tags": [{"Key": "a", "Value": "1"}, {"Key": "b", "Value": "2"}]})
    own = {"ResourceArn": ARN + "model/m"}
    added = bench.tags.AddTags(ctx(), own | {"Tags": [{"Key": "b", "Value": "3"}, {"Key": "c", "Value": ""}]})
    expected = [{"Key": "a", "Value": "1"}, {"Key": "b", "Value": "3"}, {"Key": "c", "Value": ""}]
    assert added["Tags"] == expected
    assert bench.tags.ListTags(ctx(), own)["Tags"] == expected
    bench.tags.DeleteTags(ctx(), own | {"TagKeys": ["b", "absent"]})
    assert [t["Key"] for t in get_tags(bench.store, ARN + "model/m")] == ["a", "c"]
    bench.models.DeleteModel(ctx(), {"ModelName": "m"})
    assert get_tags(bench.store, ARN + "model/m") == []


def test_a_resource_has_fifty_tags_at_most_and_a_refusal_changes_nothing(bench: Bench) -> None:
    bench.models.CreateModel(ctx(), model("m"))
    own = {"ResourceArn": ARN + "model/m"}
    bench.tags.AddTags(ctx(), own | {"Tags": [{"Key": f"k{i:02}", "Value": ""} for i in range(50)]})
    assert "at most 50 tags" in refusal(bench.tags.AddTags, own | {"Tags": [{"Key": "more", "Value": ""}]})
    assert len(bench.tags.ListTags(ctx(), own)["Tags"]) == 50
    bench.tags.AddTags(ctx(), own | {"Tags": [{"Key": "k00", "Value": "new"}]})
    # A resource whose tags are refused is not created either.
    with pytest.raises(AwsError):
        bench.models.CreateModel(ctx(), model("n") | {"Tags": [{"Key": "AWS:x", "Value": ""}]})
    assert bench.store.get("Model", REGION, "n") is None


@pytest.mark.parametrize(
    "arn",
    [
        ARN + "model/none",
        ARN + "image/x",
        "arn:aws:sagemaker:us-east-1:123456789012:model/m",
        f"arn:aws:sagemaker:{REGION}:999999999999:model/m",
    ],
)
def test_tags_of_what_does_not_exist_are_refused(bench: Bench, arn: str) -> None:
    bench.models.CreateModel(ctx(), model("m"))
    assert refusal(bench.tags.ListTags, {"ResourceArn": arn}) == f'Could not find resource "{arn}".'
    assert "is not the ARN" in refusal(bench.tags.ListTags, {"ResourceArn": "arn:aws:s3:::b"})


def test_tags_of_a_kind_with_a_service_of_its_own(bench: Bench) -> None:
    arn = arns.arn("Endpoint", REGION, "123456789012", "e")
    bench.store.put("Endpoint", REGION, "e", {})
    put_tags(bench.store, arn, [{"Key": "a", "Value": "b"}])
    assert bench.tags.ListTags(ctx(), {"ResourceArn": arn})["Tags"] == [{"Key": "a", "Value": "b"}]


@pytest.mark.parametrize(
    ("region", "partition"), [("eu-west-1", "aws"), ("cn-north-1", "aws-cn"), ("us-gov-west-1", "aws-us-gov")]
)
def test_arns_are_made_and_taken_apart_in_every_partition(region: str, partition: str) -> None:
    text = arns.arn("TrainingJob", region, "123456789012", "a-b")
    assert text == f"arn:{partition}:sagemaker:{region}:123456789012:training-job/a-b"
    parsed = arns.parse(text)
    assert parsed is not None
    assert (parsed.kind, parsed.region, parsed.name) == ("TrainingJob", region, "a-b")
    assert arns.parse("arn:aws:iam::123456789012:role/x") is None


@settings(max_examples=50, deadline=None)
@given(
    rows=st.lists(st.tuples(st.integers(0, 3), st.text(max_size=3)), unique_by=lambda r: r[1], max_size=20),
    size=st.integers(1, 6),
    descending=st.booleans(),
    gone=st.sets(st.integers(0, 19)),
)
def test_pages_give_every_row_that_stays_once(
    rows: list[tuple[int, str]], size: int, descending: bool, gone: set[int]
) -> None:
    """Rows deleted between pages make no other row appear twice or be skipped."""
    seen: list[tuple[int, str]] = []
    token = None
    left = rows
    while True:
        request = {"MaxResults": size} | ({"NextToken": token} if token else {})
        page, token = paging.cut(left, lambda row: row, request, descending=descending)
        seen += page
        if token is None:
            break
        left = [row for i, row in enumerate(rows) if i not in gone]
    assert len(set(seen)) == len(seen)
    assert {rows[i] for i in range(len(rows)) if i not in gone} <= set(seen)
    assert seen == sorted(seen, reverse=descending)
