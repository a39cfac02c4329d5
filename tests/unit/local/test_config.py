"""Settings of the service, and what it tells its clients."""

from __future__ import annotations

from pathlib import Path

import pytest

from sagespark.local.__main__ import parse
from sagespark.local.config import LocalConfig, ServiceInfo
from sagespark.local.http import listen


def test_defaults() -> None:
    config = parse([])
    assert (config.port, config.host, config.region) == (4599, "127.0.0.1", "us-east-1")
    assert config.data == Path("~/.sagespark").expanduser()
    assert not config.require_signature


def test_arguments(tmp_path: Path) -> None:
    config = parse(["--port", "0", "--data", str(tmp_path), "--region", "eu-west-1", "--require-signature"])
    assert (config.port, config.data, config.region, config.require_signature) == (0, tmp_path, "eu-west-1", True)


@pytest.mark.parametrize("port", ["-1", "65536", "x"])
def test_a_port_that_cannot_be_is_refused(port: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        parse(["--port", port])
    assert caught.value.code == 2
    assert "--port" in capsys.readouterr().err


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.0.1", "example.com", ""])
def test_only_loopback_is_listened_on(host: str) -> None:
    with pytest.raises(ValueError, match="loopback only"):
        listen(LocalConfig(data=Path("unused"), host=host))


@pytest.mark.parametrize(
    ("name", "is_default"),
    [
        ("sagemaker-us-east-1-123456789012", True),
        ("sagemaker-ap-southeast-2-123456789012", True),
        ("sagemaker-us-gov-west-1-123456789012", True),
        ("sagemaker-us-east-1-123456789013", False),
        ("sagemaker-models-123456789012", False),
        ("sagemaker--123456789012", False),
        ("sagemaker-us-east-1-123456789012-2", False),
        ("other", False),
    ],
)
def test_default_buckets(name: str, is_default: bool) -> None:
    assert LocalConfig(data=Path("unused")).is_default_bucket(name) is is_default


def test_what_a_client_needs() -> None:
    info = ServiceInfo("http://127.0.0.1:1", region="eu-west-1")
    assert info.bucket == "sagemaker-eu-west-1-123456789012"
    assert info.role == "arn:aws:iam::123456789012:role/sagespark"
    assert LocalConfig(data=Path("unused")).is_default_bucket(info.bucket)
    variables = info.environment()
    assert variables["AWS_ENDPOINT_URL"] == "http://127.0.0.1:1"
    assert variables["AWS_REGION"] == variables["AWS_DEFAULT_REGION"] == "eu-west-1"
    assert variables["SAGESPARK_ROLE"] == info.role
    assert variables["SAGESPARK_BUCKET"] == info.bucket
    assert variables["AWS_ACCESS_KEY_ID"]
    assert variables["AWS_SECRET_ACCESS_KEY"] == LocalConfig(data=Path("unused")).secret_key
