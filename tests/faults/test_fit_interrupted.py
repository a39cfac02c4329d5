"""A fit whose service dies, or whose user interrupts it: what is told, what goes on, what is deleted."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from pyspark.ml.linalg import Vectors

from sagespark.aws import interrupt, s3
from sagespark.aws.endpoint import Endpoint
from sagespark.aws.training_job import TrainingJob
from sagespark.core.errors import JobFailedError, WaitTimeoutError
from sagespark.core.s3uri import S3Uri
from sagespark.embedded import LocalSageMaker
from sagespark.ml.clustering import KMeans, KMeansModel
from sagespark.ml.listeners import JobEvent
from sagespark.ml.progress import ProgressListener

# One Spark is enough: nothing of Spark's runs while the job does.
pytestmark = pytest.mark.wire


class AtTraining(ProgressListener):
    """Do something once, when the job trains. A listener's errors are warnings, an interrupt is not."""

    def __init__(self, action: Callable[[str], None]) -> None:
        super().__init__("off")
        self.action: Callable[[str], None] | None = action
        self.name = ""

    def onPoll(self, event: JobEvent) -> None:
        if event.secondaryStatus == "Training" and self.action is not None:
            action, self.action, self.name = self.action, None, event.name
            action(event.name)


@pytest.fixture
def local() -> Iterator[LocalSageMaker]:
    service = LocalSageMaker()
    service.start()
    yield service
    service.stop()


@pytest.fixture(scope="module")
def points(spark: Any) -> Any:
    rows = [(Vectors.dense([float(i % 2 * 9), float(i)]),) for i in range(30)]
    return spark.createDataFrame(rows, ["features"]).coalesce(1)


def endless(action: Callable[[str], None]) -> tuple[KMeans, AtTraining]:
    listener = AtTraining(action)
    km = KMeans(k=2, extraCenterFactor=4, epochs=100_000_000, miniBatchSize=1, listeners=[listener])
    return km, listener


def staged(local: LocalSageMaker, job: str) -> list[S3Uri]:
    session = local.session
    return list(s3.list_keys(session, S3Uri(session.bucket, f"{session.prefix}/{job}/input/")))


def test_the_service_is_killed_and_started_again(local: LocalSageMaker, points: Any) -> None:
    def kill(name: str) -> None:
        os.kill(local.pid, signal.SIGKILL)
        local.restart()

    km, listener = endless(kill)
    with pytest.raises(JobFailedError) as caught:
        km.fit(points)
    assert "InternalServerError" in str(caught.value).splitlines()[0]
    assert [r.kind for r in caught.value.createdResources] == ["TrainingJob"]
    # The job has ended: its shards are gone.
    assert staged(local, listener.name) == []
    with KMeans(k=2, listeners=[ProgressListener("off")]).fit(points) as model:
        assert model.transform(points).count() == 30


def test_the_service_is_killed_for_good(local: LocalSageMaker, points: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SAGESPARK_NO_ANSWER_TIMEOUT", "2")
    km, listener = endless(lambda name: os.kill(local.pid, signal.SIGKILL))
    with pytest.raises(WaitTimeoutError) as caught:
        km.fit(points)
    text = str(caught.value)
    for part in (listener.name, local.url, f"KMeansModel.fromTrainingJob({listener.name!r}, wait=True)"):
        assert part in text
    assert [r.kind for r in caught.value.createdResources] == ["TrainingJob", "S3Object"]


def interrupts(name: str) -> None:
    raise KeyboardInterrupt


def test_an_interrupt_that_stops_the_job(local: LocalSageMaker, points: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interrupt, "ask", lambda subject: "stop")
    km, listener = endless(interrupts)
    with pytest.raises(KeyboardInterrupt):
        km.fit(points)
    assert TrainingJob(local.session, listener.name).describe()["TrainingJobStatus"] == "Stopped"
    assert staged(local, listener.name) == []
    assert list(Endpoint.list(local.session)) == []


def test_an_interrupt_that_leaves_the_job(
    local: LocalSageMaker, points: Any, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Where nobody can answer the job is left running, and the user is told how to go on.
    monkeypatch.setattr(interrupt, "interactive", lambda: False)
    km, listener = endless(interrupts)
    with pytest.raises(KeyboardInterrupt) as caught:
        km.fit(points)
    job = TrainingJob(local.session, listener.name)
    assert not job.ended()
    # A running job needs them.
    assert len(staged(local, listener.name)) >= 2
    told = "\n".join(caught.value.__notes__) + capsys.readouterr().err
    assert f"KMeansModel.fromTrainingJob({listener.name!r}, wait=True)" in told
    assert f"TrainingJob {listener.name}" in told
    stopping = AtTraining(lambda name: job.stop())
    with pytest.raises(JobFailedError, match="Stopped"):
        KMeansModel.fromTrainingJob(listener.name, listeners=[stopping])
