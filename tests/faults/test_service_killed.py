"""The service dies while a job runs: a clear error when it comes back, a clear error when it doesn't."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from sagespark.aws.session import SageMakerSession
from sagespark.aws.training_job import TrainingJob
from sagespark.core.errors import JobFailedError, ResourceNotFoundError, WaitTimeoutError
from sagespark.embedded import LocalSageMaker
from support.jobs import endless, hosted, trained, training_request

pytestmark = pytest.mark.wire

ATTACH = "KMeansModel.fromTrainingJob('km-1', wait=True)"


@pytest.fixture
def local() -> Iterator[LocalSageMaker]:
    service = LocalSageMaker()
    service.start()
    yield service
    service.stop()


class Waiting:
    """A thread that waits for a job, and what came of it."""

    def __init__(self, job: TrainingJob, **options: Any) -> None:
        self.training = threading.Event()
        self.error: BaseException | None = None
        self.thread = threading.Thread(target=self._wait, args=(job, options))
        self.thread.start()
        assert self.training.wait(60), "the job does not train"

    def _wait(self, job: TrainingJob, options: dict[str, Any]) -> None:
        try:
            job.wait(self._look, attach=ATTACH, **options)
        except BaseException as error:
            self.error = error

    def _look(self, description: dict[str, Any]) -> None:
        if description["SecondaryStatus"] == "Training":
            self.training.set()

    def end(self) -> BaseException | None:
        self.thread.join(120)
        assert not self.thread.is_alive()
        return self.error


def test_killed_and_started_again_the_job_is_failed(local: LocalSageMaker) -> None:
    waiting = Waiting(TrainingJob.create(local.session, endless(local.session, "km-1")))
    os.kill(local.pid, signal.SIGKILL)
    local.restart()
    error = waiting.end()
    assert isinstance(error, JobFailedError)
    first = str(error).splitlines()[0]
    assert first.startswith("training job 'km-1' ended Failed")
    assert "InternalServerError" in first
    # What comes after is not disturbed.
    assert trained(local.session, "km-2").name == "model.tar.gz"


def test_killed_and_left_the_waiting_ends(local: LocalSageMaker) -> None:
    waiting = Waiting(TrainingJob.create(local.session, endless(local.session, "km-1")), noAnswerTimeout=3)
    os.kill(local.pid, signal.SIGKILL)
    error = waiting.end()
    assert isinstance(error, WaitTimeoutError)
    text = str(error)
    for part in ("km-1", local.url, ATTACH, "noAnswerTimeout=3"):
        assert part in text


def test_the_patience_comes_from_the_environment_too(local: LocalSageMaker, monkeypatch: pytest.MonkeyPatch) -> None:
    job = TrainingJob(local.session, "km-1")
    os.kill(local.pid, signal.SIGKILL)
    monkeypatch.setenv("SAGESPARK_NO_ANSWER_TIMEOUT", "1")
    with pytest.raises(WaitTimeoutError, match="noAnswerTimeout=1"):
        job.wait()


def test_a_service_that_forgot_the_job_is_told(local: LocalSageMaker) -> None:
    """Another folder at the same address: the job is unknown there, which no patience mends."""
    waiting = Waiting(TrainingJob.create(local.session, endless(local.session, "km-1")))
    port = int(local.url.rpartition(":")[2])
    os.kill(local.pid, signal.SIGKILL)
    while local.running:
        pass
    with LocalSageMaker(port=port):
        error = waiting.end()
    assert isinstance(error, ResourceNotFoundError)
    assert ATTACH in "".join(error.__notes__)


def test_an_endpoint_is_there_again(local: LocalSageMaker) -> None:
    endpoint = hosted(local.session, "km-1", trained(local.session, "km-1"))
    os.kill(local.pid, signal.SIGKILL)
    local.restart()
    endpoint.wait(timeout=60)
    runtime = local.session.client("sagemaker-runtime")
    answer = runtime.invoke_endpoint(EndpointName="km-1", Body=b"0,0,0\n", ContentType="text/csv", Accept="text/csv")
    assert answer["Body"].read()


WAITER = """
import signal, sys
from sagespark.aws.training_job import TrainingJob
from sagespark.embedded import session_of

signal.signal(signal.SIGINT, signal.default_int_handler)
TrainingJob(session_of(sys.argv[1]), "km-1").wait(lambda description: print("waiting", flush=True))
"""


def test_an_interrupt_says_how_to_stop_and_attach(local: LocalSageMaker) -> None:
    session: SageMakerSession = local.session
    job = TrainingJob.create(session, endless(session, "km-1"))
    process = subprocess.Popen(
        [sys.executable, "-c", WAITER, local.url],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "waiting\n"
    process.send_signal(signal.SIGINT)
    told = process.communicate(timeout=60)[1]
    assert process.returncode in (-signal.SIGINT, 130)
    for part in ("km-1", f"--endpoint-url {local.url}", "fromTrainingJob('km-1', wait=True)", "KeyboardInterrupt"):
        assert part in told
    assert not job.ended()
    job.stop()
    with pytest.raises(JobFailedError, match="ended Stopped"):
        job.wait(timeout=120)


def test_a_failed_job_shows_its_log(local: LocalSageMaker) -> None:
    job = TrainingJob.create(local.session, training_request(local.session, "km-1", k="5000"))
    with pytest.raises(JobFailedError) as caught:
        job.wait(timeout=120)
    first, *rest = str(caught.value).splitlines()
    assert "ended Failed: ClientError" in first
    assert any("Hyperparameters" in row for row in rest)
