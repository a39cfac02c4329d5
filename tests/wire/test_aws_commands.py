"""The command line against real processes."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sagespark.aws.session import SageMakerSession
from sagespark.aws.training_job import TrainingJob
from sagespark.core.errors import JobFailedError
from sagespark.embedded import LocalSageMaker
from sagespark.local.process import running
from support.jobs import endless, hosted, trained

pytestmark = pytest.mark.wire

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def sagespark() -> Run:
    """The console script, in an environment without settings."""
    program = Path(sys.executable).with_name("sagespark")
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("AWS_", "SAGESPARK_"))}

    def run(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, str(program), *arguments],
            env=kept | {"PYSPARK_PYTHON": sys.executable} | variables,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
            stdin=subprocess.DEVNULL,
        )

    return run


@pytest.fixture
def data(tmp_path: Path, sagespark: Run) -> Iterator[str]:
    folder = str(tmp_path / "data")
    yield folder
    sagespark("local", "stop", "--data", folder)


def test_start_status_logs_stop(sagespark: Run, data: str, tmp_path: Path) -> None:
    idle = sagespark("local", "status", "--data", data)
    assert (idle.returncode, "not running" in idle.stdout) == (3, True)
    started = sagespark("local", "start", "--port", "0", "--data", data)
    assert started.returncode == 0, started.stderr
    there = running(Path(data))
    assert there is not None
    lines = dict(line.removeprefix("export ").split("=", 1) for line in started.stdout.splitlines())
    assert lines == {
        "AWS_ENDPOINT_URL": there.url,
        "AWS_ACCESS_KEY_ID": lines["AWS_ACCESS_KEY_ID"],
        "AWS_SECRET_ACCESS_KEY": lines["AWS_SECRET_ACCESS_KEY"],
        "AWS_REGION": "us-east-1",
        "AWS_DEFAULT_REGION": "us-east-1",
        "SAGESPARK_ROLE": "arn:aws:iam::123456789012:role/sagespark",
        "SAGESPARK_BUCKET": "sagemaker-us-east-1-123456789012",
    }
    # A second start is no second service, and its lines are the same.
    again = sagespark("local", "start", "--data", data)
    assert again.stdout == started.stdout
    assert "runs already" in again.stderr
    other = sagespark("local", "start", "--port", "1", "--data", data)
    assert (other.returncode, "not at port 1" in other.stderr) == (1, True)
    assert "Traceback" not in other.stderr

    status = sagespark("local", "status", "--data", data)
    assert status.returncode == 0
    assert there.url in status.stdout
    assert "training jobs" in status.stdout
    assert sagespark("local", "logs", "--data", data, "-n", "1").stdout.count("\n") == 1

    doctor = sagespark("doctor", **lines)
    assert doctor.returncode == 0, doctor.stdout
    assert there.url in doctor.stdout
    assert "nothing of this package" in sagespark("ls", **lines).stdout

    assert "stopped" in sagespark("local", "stop", "--data", data).stderr
    assert running(Path(data)) is None
    assert "nothing runs" in sagespark("local", "stop", "--data", data).stderr
    gone = sagespark("ls", **lines)
    assert (gone.returncode, there.url in gone.stderr, "Traceback" in gone.stderr) == (1, True, False)


def test_a_port_that_is_taken(sagespark: Run, data: str, service: SageMakerSession) -> None:
    port = str(service.endpointUrl).rpartition(":")[2]
    done = sagespark("local", "start", "--port", port, "--data", data)
    assert done.returncode == 1
    assert f"port {port}" in done.stderr
    assert done.stdout == ""


def test_cleanup_of_real_resources(sagespark: Run) -> None:
    # A service of its own: on the shared one this would remove what other tests still use.
    with LocalSageMaker() as session:
        hosted(session, "left-behind", trained(session, "left-behind"))
        TrainingJob.create(session, endless(session, "still-running"))
        url = ("--endpoint-url", str(session.endpointUrl), "--region", "us-east-1")
        keys = {"AWS_ACCESS_KEY_ID": "any", "AWS_SECRET_ACCESS_KEY": "any"}
        assert sagespark("ls", *url, **keys).stdout.count("left-behind") == 3
        done = sagespark("cleanup", "--yes", *url, **keys)
        assert done.returncode == 0, done.stdout + done.stderr
        assert "left-behind  deleted" in done.stdout
        assert "still-running  stopped" in done.stdout
        with pytest.raises(JobFailedError, match="ended Stopped"):
            TrainingJob(session, "still-running").wait(timeout=120)
        assert "nothing of this package" in sagespark("ls", *url, **keys).stdout


def test_no_region_is_one_clear_line(sagespark: Run, tmp_path: Path) -> None:
    done = sagespark("ls", AWS_CONFIG_FILE=str(tmp_path / "none"))
    assert done.returncode == 1
    assert done.stderr.startswith("sagespark: SageMakerSession: no region was found")
    assert done.stderr.count("\n") == 1


def test_version(sagespark: Run) -> None:
    assert sagespark("--version").stdout.startswith("sagespark 0.")
