"""Fixtures of tests that speak to a scripted AWS; a conftest imports them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from sagespark.aws import clients
from sagespark.aws.session import SageMakerSession, _active
from sagespark.core.names import Names
from support.clocks import FakeClock
from support.scripted import URL, Script

SETTINGS = [
    "SAGESPARK_ROLE",
    "SAGESPARK_BUCKET",
    "SAGESPARK_PREFIX",
    "AWS_REGION",
    "AWS_DEFAULT_REGION",
    "AWS_ENDPOINT_URL",
    "AWS_PROFILE",
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "SAGESPARK_NO_ANSWER_TIMEOUT",
]


SESSIONS: dict[tuple[Any, ...], Any] = {}


def letters(length: int) -> str:
    """Return the same letters every time; by its name it can be pickled."""
    return "abcdef"[:length]


@pytest.fixture(autouse=True)
def _alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> Iterator[None]:
    """No settings of the machine, no active session, no Spark session of another test."""
    for name in SETTINGS:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "no-config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "no-credentials"))
    monkeypatch.setattr("sagespark.aws.lookup.spark_session", lambda: None)
    former = _active.get()
    _active.set(None)
    yield
    _active.set(former)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Script:
    """AWS as a script, for every client made in the test; botocore's own retries do not sleep."""
    script = Script()
    cache = clients._Cache()
    # A boto3 session keeps the parsed service models, the slowest part of a client.
    cache.sessions = SESSIONS
    monkeypatch.setattr(clients, "_cache", cache)
    real = clients.client

    def scripted(connection: clients.Connection) -> Any:
        client = real(connection)
        client.meta.events.register("before-send", script, unique_id="script")
        return client

    monkeypatch.setattr(clients, "client", scripted)
    monkeypatch.setattr("botocore.endpoint.time.sleep", lambda seconds: None)
    return script


@pytest.fixture
def session(clock: FakeClock) -> SageMakerSession:
    return SageMakerSession(
        role="arn:aws:iam::123456789012:role/sagespark",
        bucket="bucket",
        region="us-east-1",
        endpointUrl=URL,
        accessKeyId="key",
        secretAccessKey="secret",
        tags={"team": "blue"},
        clock=clock,
        names=Names(clock, letters),
    )
