"""Errors survive a pickle, names fit SageMaker, S3 locations refuse what the service refuses."""

from __future__ import annotations

import pickle
import random
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sagespark.core import clock, names
from sagespark.core.errors import (
    CodecError,
    DataError,
    EndpointFailedError,
    InvocationError,
    JobFailedError,
    Resource,
    ResourceNotFoundError,
    SageSparkError,
    ServiceError,
    SessionError,
    ValidationError,
    WaitTimeoutError,
)
from sagespark.core.names import MAX_NAME, Names, is_valid
from sagespark.core.s3uri import S3Uri
from sagespark.core.settings import is_loopback

LEFT = (Resource("Endpoint", "e-1", "arn:e-1"), Resource("Model", "m-1"))
ERRORS = [
    SageSparkError("plain", createdResources=LEFT),
    ValidationError(["first", "second"], "KMeans", createdResources=LEFT),
    SessionError("no role"),
    DataError("null", column="features", partition=3, position=7, value="null"),
    CodecError("truncated", contentType="text/csv", offset=12),
    ServiceError("in use", operation="CreateModel", code="ResourceInUse", status=400),
    ResourceNotFoundError("gone", operation="DescribeModel", code="ValidationException", status=400),
    JobFailedError("failed", jobName="j", status="Failed", failureReason="ClientError: x", createdResources=LEFT),
    EndpointFailedError("failed", endpointName="e", failureReason="ping"),
    WaitTimeoutError("no answer"),
    InvocationError("500", endpointName="e", status=500),
]


@pytest.mark.parametrize("error", ERRORS, ids=lambda e: type(e).__name__)
def test_errors_survive_a_pickle(error: SageSparkError) -> None:
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is type(error)
    assert str(again) == str(error)
    assert vars(again) == vars(error)


def test_what_exists_and_costs_money_is_in_the_text() -> None:
    text = str(SageSparkError("the endpoint failed", createdResources=LEFT))
    assert text.splitlines()[0] == "the endpoint failed"
    assert "Endpoint e-1  (billed while it exists)" in text
    assert "Model m-1" in text
    assert "Model m-1  (billed" not in text


def test_problems_are_reported_together() -> None:
    one = ValidationError("k must be >= 2, but got 1", "KMeans")
    assert str(one) == "KMeans: k must be >= 2, but got 1"
    two = ValidationError(["a", "b"], "KMeans")
    assert str(two).splitlines() == ["KMeans: 2 problems, nothing was created:", "  1. a", "  2. b"]
    assert two.problems == ("a", "b")
    assert isinstance(two, ValueError)


class FixedClock(clock.SystemClock):
    def now(self) -> datetime:
        return datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


@given(prefix=st.text(max_size=90), kind=st.text(max_size=70), limit=st.sampled_from([24, 32, 63]))
def test_any_prefix_gives_a_valid_name(prefix: str, kind: str, limit: int) -> None:
    assert is_valid(Names().make(prefix, kind, limit), limit)


def test_names_are_reproducible_from_clock_and_token() -> None:
    made = Names(FixedClock(), lambda length: "abcdef"[:length]).make("my prefix_", "endpoint")
    assert made == "my-prefix-endpoint-20260102-030405-abcdef"


def test_a_long_prefix_is_cut_and_the_kind_is_kept() -> None:
    made = Names(FixedClock(), lambda length: "abcdef"[:length]).make("p" * 80, "endpoint")
    assert len(made) == MAX_NAME
    assert made.endswith("-endpoint-20260102-030405-abcdef")


def test_two_names_differ() -> None:
    make = Names().make
    assert len({make("a") for _ in range(1000)}) == 1000


@pytest.mark.parametrize("name", ["", "-a", "a-", "a_b", "a" * 64, "a b", "ä"])
def test_names_that_sagemaker_refuses(name: str) -> None:
    assert not is_valid(name)


def test_a_limit_without_room_is_refused() -> None:
    with pytest.raises(ValueError, match="24 or more"):
        Names().make("a", limit=10)
    assert names.MAX_TUNING_JOB_NAME == 32


@pytest.mark.parametrize(
    ("text", "bucket", "key"),
    [
        ("s3://bucket/a/b", "bucket", "a/b"),
        ("s3a://bucket/a/", "bucket", "a/"),
        ("s3n://my.bucket", "my.bucket", ""),
        ("s3://bucket/", "bucket", ""),
    ],
)
def test_s3_uris_are_read(text: str, bucket: str, key: str) -> None:
    assert S3Uri.parse(text) == S3Uri(bucket, key)


@pytest.mark.parametrize("text", ["bucket/a", "s3|://b/a", "s3:///a", "s3://Bucket/a", "s3://bucket/a//b", "s3://b/a"])
def test_s3_uris_that_are_refused(text: str) -> None:
    with pytest.raises(ValidationError):
        S3Uri.parse(text)


def test_s3_uris_are_walked() -> None:
    root = S3Uri("bucket")
    job = root / "jobs" / "job-1/"
    assert str(job) == "s3://bucket/jobs/job-1/"
    assert str(job / "part") == "s3://bucket/jobs/job-1/part"
    assert (job / "part").parent == job
    assert (job / "part").name == "part"
    assert S3Uri("bucket", "job-1").prefix.key == "job-1/"
    assert root.prefix == root
    assert root.parent == root


_SEGMENT = st.text(st.characters(exclude_characters="/\x00"), min_size=1, max_size=10)


@given(st.lists(_SEGMENT, min_size=1, max_size=5))
def test_s3_uris_round_trip(segments: list[str]) -> None:
    uri = S3Uri("bucket", "/".join(segments))
    assert S3Uri.parse(str(uri)) == uri


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:80",
        "http://127.9.8.7",
        "http://[::1]:9",
        "http://localhost",
        "https://b.s3.localhost:1",
        "localhost:8",
    ],
)
def test_loopback(url: str) -> None:
    assert is_loopback(url)


@pytest.mark.parametrize(
    "url",
    [
        "http://10.0.0.1",
        "https://sagemaker.us-east-1.amazonaws.com",
        "http://localhost.evil.example",
        "http://127.0.0.1.evil.example",
        "",
    ],
)
def test_not_loopback(url: str) -> None:
    assert not is_loopback(url)


def test_jitter_stays_near() -> None:
    rng = random.Random(0)
    drawn = [clock.jitter(10.0, rng) for _ in range(200)]
    assert min(drawn) >= 8.0
    assert max(drawn) <= 12.0
    assert len(set(drawn)) > 100


def test_the_system_clock_is_one_value() -> None:
    assert pickle.loads(pickle.dumps(clock.SystemClock())) == clock.SystemClock()
    assert clock.SystemClock().now().tzinfo is UTC
    before = clock.SystemClock().monotonic()
    clock.SystemClock().sleep(0.01)
    assert clock.SystemClock().monotonic() - before >= 0.009
    assert len(clock.token(5)) == 5
    assert len(clock.request_id()) == 36
