"""Tuning while everything is killed once: no trial is lost, none counts twice, and the best one is the right one."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from sagespark.aws.session import SageMakerSession
from sagespark.aws.tuning_job import TuningJob, objective
from sagespark.core.clock import SystemClock
from sagespark.local.config import ServiceInfo
from support import tuning_program
from support.local_service import ServiceProcess
from support.together import LOOPBACK, free_port

pytestmark = [pytest.mark.wire, pytest.mark.slow]

JOBS = 60


@pytest.fixture
def service(tmp_path: Path) -> Iterator[ServiceProcess]:
    """A service that comes back at the same address, as one that a supervisor restarts."""
    with ServiceProcess(tmp_path / "data", "--host", LOOPBACK, "--port", str(free_port())) as process:
        yield process


@pytest.fixture
def session(service: ServiceProcess) -> SageMakerSession:
    info = ServiceInfo(service.url)
    return SageMakerSession(
        role=info.role,
        bucket=info.bucket,
        region=info.region,
        endpointUrl=info.url,
        accessKeyId=info.access_key,
        secretAccessKey=info.secret_key,
    )


def driver(service: ServiceProcess, name: str, where: str, jobs: int) -> subprocess.Popen[str]:
    program = [sys.executable, tuning_program.__file__, service.url, name, where, str(jobs)]
    return subprocess.Popen(program, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)


def until(what: Callable[[], Any], patience: float = 600.0) -> Any:
    """Return what ``what`` gives once it is true."""
    clock = SystemClock()
    deadline = clock.monotonic() + patience
    while not (value := what()):
        assert clock.monotonic() < deadline, "it did not happen"
        clock.sleep(0.2)
    return value


def kill(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.wait(30)
    assert process.stdout is not None
    process.stdout.close()


def ended(job: TuningJob) -> int:
    counters = job.describe()["TrainingJobStatusCounters"] if job.exists() else {}
    return sum(counters.values()) - counters.get("InProgress", 0)


def test_sixty_jobs_survive_the_death_of_the_service_and_of_the_driver(
    service: ServiceProcess, session: SageMakerSession
) -> None:
    program = driver(service, "sixty", "service", JOBS)
    job = TuningJob(session, "sixty")
    until(lambda: ended(job) >= 10)
    kill(program)
    until(lambda: ended(job) >= 25)
    client = session.client("sagemaker")
    until(lambda: client.list_training_jobs(StatusEquals="InProgress")["TrainingJobSummaries"])
    service.kill()
    service.start()
    description = job.wait(timeout=900)
    assert description["HyperParameterTuningJobStatus"] == "Completed"
    counters = description["TrainingJobStatusCounters"]
    assert sum(counters.values()) == JOBS
    # Up to four ran when the service died, as a rule some did; they are internal errors, and nothing asked to try them
    # again.
    assert counters["RetryableError"] <= 4
    assert counters["NonRetryableError"] == counters["Stopped"] == counters["InProgress"] == 0
    assert counters["Completed"] == JOBS - counters["RetryableError"]
    trials = list(job.trials())
    assert len(trials) == len({t["TrainingJobName"] for t in trials}) == JOBS
    assert Counter(t["TrainingJobStatus"] for t in trials) == {
        "Completed": counters["Completed"],
        "Failed": counters["RetryableError"],
    }
    # None was chosen twice, before or after.
    assert len({tuple(sorted(t["TunedHyperParameters"].items())) for t in trials}) == JOBS
    values = {t["TrainingJobName"]: objective(t) for t in trials}
    best = description["BestTrainingJob"]
    assert values[best["TrainingJobName"]] == min(v for v in values.values() if v is not None)
    final = client.describe_training_job(TrainingJobName=best["TrainingJobName"])["FinalMetricDataList"]
    assert {m["MetricName"]: m["Value"] for m in final}["train:msd"] == objective(best)


def test_a_run_of_the_driver_goes_on_where_a_killed_one_left_it(
    service: ServiceProcess, session: SageMakerSession, spark: Any
) -> None:
    from sagespark.ml.clustering import KMeans
    from sagespark.ml.tuning import HyperparameterTuner

    program = driver(service, "mine", "driver", 12)
    client = session.client("sagemaker")

    def completed() -> int:
        return len(client.list_training_jobs(StatusEquals="Completed")["TrainingJobSummaries"])

    until(lambda: completed() >= 4)
    kill(program)
    km = KMeans(seed=1, extraCenterFactor=1, endpointPolicy="never")
    frame = spark.createDataFrame([(row.tolist(),) for row in tuning_program.points()], "features array<double>")
    model = HyperparameterTuner.attach("mine", estimator=km, sagemakerSession=session).fit(frame)
    rows = model.trials.collect()
    assert [row.trial for row in rows] == list(range(12))
    assert {row.status for row in rows} == {"Completed"}
    # Each trial ran once: what the killed driver had launched was waited for and not launched again.
    summaries = client.list_training_jobs(MaxResults=100)["TrainingJobSummaries"]
    assert {s["TrainingJobName"] for s in summaries} == {row.trainingJobName for row in rows}
    assert model.bestTrial.value == min(row.value for row in rows)
