"""The service is killed: what was acknowledged is there, jobs are reported, and no process is left."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sagespark.algorithms.registry import image_uri
from sagespark.core.clock import SystemClock
from sagespark.local.config import ServiceInfo
from sagespark.local.logs import LogStore
from sagespark.local.store import Store
from support.local_service import ServiceProcess

pytestmark = pytest.mark.wire

INFO = ServiceInfo("")
MARK = "61803.4"
"""Seconds that the containers' programs sleep, by which their processes are told from all others."""
ENDLESS = ("/bin/sh", "-c", f"trap '' TERM; echo running; sleep {MARK}; sleep {MARK}")


@pytest.fixture
def service(tmp_path: Path) -> Iterator[ServiceProcess]:
    with ServiceProcess(tmp_path / "data") as process:
        yield process


def request(name: str, *argv: str) -> dict[str, Any]:
    return {
        "TrainingJobName": name,
        "AlgorithmSpecification": {
            "TrainingImage": image_uri("kmeans", "us-east-1"),
            "TrainingInputMode": "File",
            "ContainerEntrypoint": list(argv),
        },
        "RoleArn": INFO.role,
        "OutputDataConfig": {"S3OutputPath": f"s3://{INFO.bucket}/out"},
        "ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 1},
        "StoppingCondition": {"MaxRuntimeInSeconds": 600},
        "Tags": [{"Key": "a", "Value": "b"}],
    }


def sleepers() -> list[int]:
    """Return the ids of the containers' programs that are alive."""
    found = []
    for folder in Path("/proc").iterdir():
        try:
            if folder.name.isdigit() and f"sleep\0{MARK}\0" == (folder / "cmdline").read_text():
                found.append(int(folder.name))
        except OSError:
            continue
    return found


def until(what: Any, patience: float = 60.0) -> Any:
    """Return what ``what`` gives once it is true."""
    clock = SystemClock()
    deadline = clock.monotonic() + patience
    while not (value := what()):
        assert clock.monotonic() < deadline, "it did not happen"
        clock.sleep(0.05)
    return value


def training(service: ServiceProcess, name: str) -> None:
    service.client("sagemaker").create_training_job(**request(name, *ENDLESS))
    until(sleepers)
    # Its one line was written before, and has been read once it is in the log.
    until(lambda: service.client("logs").describe_log_groups()["logGroups"])


def test_a_job_in_progress_is_failed_and_its_processes_are_gone(service: ServiceProcess) -> None:
    sagemaker = service.client("sagemaker")
    sagemaker.create_training_job(**request("done", "/bin/sh", "-c", "echo x > ${SAGEMAKER_BASE_DIR:-/opt/ml}/model/m"))
    until(lambda: sagemaker.describe_training_job(TrainingJobName="done")["TrainingJobStatus"] == "Completed")
    before = sagemaker.describe_training_job(TrainingJobName="done")
    training(service, "busy")
    service.kill()
    service.start()
    sagemaker = service.client("sagemaker")
    # Not a moment later than its first answer.
    busy = sagemaker.describe_training_job(TrainingJobName="busy")
    assert busy["TrainingJobStatus"] == busy["SecondaryStatus"] == "Failed"
    assert busy["FailureReason"].startswith("InternalServerError: ")
    assert "interrupted" in busy["FailureReason"]
    assert busy["TrainingEndTime"] >= busy["TrainingStartTime"]
    assert sleepers() == []
    after = sagemaker.describe_training_job(TrainingJobName="done")
    assert {k: v for k, v in after.items() if k != "ResponseMetadata"} == {
        k: v for k, v in before.items() if k != "ResponseMetadata"
    }
    assert sagemaker.list_tags(ResourceArn=before["TrainingJobArn"])["Tags"] == [{"Key": "a", "Value": "b"}]
    logs = service.client("logs")
    (event,) = logs.filter_log_events(logGroupName="/aws/sagemaker/TrainingJobs", filterPattern="running")["events"]
    assert event["logStreamName"].startswith("busy/algo-1-")
    # Its name is free once it is deleted, and a new job of that name is not disturbed by the old one's folder.
    sagemaker.delete_training_job(TrainingJobName="busy")
    sagemaker.create_training_job(**request("busy", "true"))
    until(lambda: sagemaker.describe_training_job(TrainingJobName="busy")["TrainingJobStatus"] == "Completed")


def test_a_job_that_was_stopping_is_stopped(service: ServiceProcess) -> None:
    training(service, "stopping")
    service.client("sagemaker").stop_training_job(TrainingJobName="stopping")
    service.kill()
    service.start()
    document = service.client("sagemaker").describe_training_job(TrainingJobName="stopping")
    assert document["TrainingJobStatus"] == document["SecondaryStatus"] == "Stopped"
    assert "FailureReason" not in document


def test_sigterm_ends_jobs_at_once_and_reports_them(service: ServiceProcess) -> None:
    training(service, "busy")
    assert service.stop() == 0
    assert sleepers() == []
    service.start()
    document = service.client("sagemaker").describe_training_job(TrainingJobName="busy")
    assert document["TrainingJobStatus"] == "Failed"
    assert "interrupted" in document["FailureReason"]


WRITER = """
import sys
from pathlib import Path
from sagespark.local.logs import LogStore
from sagespark.local.store import Store

store, logs = Store(Path(sys.argv[1])), LogStore(Path(sys.argv[2]))
number = 0
while True:
    store.put("K", "r", str(number), {"n": number})
    store.update("K", "r", "0", lambda d: d.update(n=number))
    logs.append("r", "g", "s", [(number, str(number))])
    print(number, flush=True)
    number += 1
"""


def test_every_acknowledged_write_survives(tmp_path: Path) -> None:
    paths = (tmp_path / "r.sqlite", tmp_path / "l.sqlite")
    process = subprocess.Popen([sys.executable, "-c", WRITER, *map(str, paths)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    with process.stdout as output:
        for line in output:
            if int(line) == 300:
                process.send_signal(signal.SIGKILL)
                break
        acknowledged = max([300, *(int(line) for line in output if line.endswith("\n"))])
    process.wait()
    store, logs = Store(paths[0]), LogStore(paths[1])
    numbers = [document["n"] for document in store.list("K")]
    # The one in the middle of the kill may be there or not.
    assert numbers[1:] == list(range(1, len(numbers)))
    assert len(numbers) in (acknowledged + 1, acknowledged + 2)
    assert numbers[0] in (acknowledged, acknowledged + 1)
    events = [int(e.message) for e in logs.events("r", "g")]
    assert events == list(range(len(events)))
    assert len(events) in (acknowledged + 1, acknowledged + 2)
    store.close()
    logs.close()
