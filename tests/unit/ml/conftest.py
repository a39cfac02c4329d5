from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from sagespark.aws import clients
from sagespark.aws.session import SageMakerSession, _active
from sagespark.core.names import Names
from support.clocks import FakeClock
from support.scripted import URL, Script

SETTINGS = (
    "SAGESPARK_ROLE", "SAGESPARK_BUCKET", "SAGESPARK_PREFIX", "AWS_REGION", "AWS_DEFAULT_REGION", "AWS_ENDPOINT_URL",
    "AWS_PROFILE", "SAGESPARK_NO_ANSWER_TIMEOUT",
)  # fmt: skip
SESSIONS: dict[tuple[Any, ...], Any] = {}


def letters(length: int) -> str:
    return "abcdef"[:length]


@pytest.fixture(autouse=True)
def _alone(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No settings of the machine, no active session, no Spark session of another test."""
    for name in SETTINGS:
        monkeypatch.delenv(name, raising=False)
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
    """AWS as a script, for every client made in the test."""
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
def aws(clock: FakeClock) -> SageMakerSession:
    """A session whose every setting is given; nothing listens at its endpoint."""
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
