"""The threads of tuning jobs: what training jobs write is heard as it is written."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from sagespark.core.clock import SystemClock
from sagespark.local.logs import ENDPOINTS, TRAINING_JOBS, LogStore
from sagespark.local.tuning import tuner as tuner_module
from sagespark.local.tuning.coordinator import tuning_job_of
from sagespark.local.tuning.tuner import Tuner
from support.tuning import REGION, Bench, request


def until(what: Callable[[], Any]) -> Any:
    clock = SystemClock()
    deadline = clock.monotonic() + 60
    while not (value := what()):
        assert clock.monotonic() < deadline, "it did not happen"
        clock.sleep(0.01)
    return value


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


@pytest.fixture
def tuner(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> Iterator[Tuner]:
    # So long that nothing would happen in time unless the tuner is told of it.
    monkeypatch.setattr(tuner_module, "INTERVAL", 3600.0)
    made = Tuner(bench.store, lambda region, name: bench, bench.clock)
    yield made
    made.stop()


def test_a_job_is_stopped_by_the_line_that_shows_its_value(bench: Bench, tuner: Tuner, tmp_path: Path) -> None:
    logs = LogStore(tmp_path / "logs.sqlite")
    logs.listen(tuner.heard)

    def write(job: str, values: list[float]) -> None:
        bench.written[job] = values
        logs.append(REGION, TRAINING_JOBS, f"{job}/algo-1-1", [(1, f"loss={values[-1]}")])

    limits = {"MaxNumberOfTrainingJobs": 6, "MaxParallelTrainingJobs": 1}
    bench.begin(request(TrainingJobEarlyStoppingType="Auto", ResourceLimits=limits))
    tuner.submit(REGION, "tune")
    for number in range(1, 6):
        until(lambda number=number: len(bench.jobs) == number)
        job = bench.running[0]
        bench.end(job, 1.0)
        write(job, [1.0, 1.0, 1.0])
    until(lambda: len(bench.jobs) == 6)
    job = bench.running[0]
    write(job, [5.0, 5.0])
    until(lambda: bench.asked_to_stop == [job])
    # Its end, in the test's trainer, is there with the stop; any line lets the tuner look again.
    logs.append(REGION, TRAINING_JOBS, f"{job}/algo-1-1", [(2, "the end")])
    until(lambda: "HyperParameterTuningEndTime" in bench.document("tune"))
    assert bench.document("tune")["TrainingJobStatusCounters"]["Stopped"] == 1


def test_what_others_write_wakes_nobody(bench: Bench, tuner: Tuner) -> None:
    tuner.heard(REGION, ENDPOINTS + "e", "AllTraffic/i-0")
    tuner.heard(REGION, TRAINING_JOBS, "alone/algo-1-1")
    bench.begin(request())
    tuner.submit(REGION, "tune")
    until(lambda: len(bench.jobs) == 2)
    tuner.heard(REGION, TRAINING_JOBS, f"{bench.running[0]}/algo-1-1")


@pytest.mark.parametrize(
    ("stream", "name"),
    [
        ("tune-001-0a1b2c3d/algo-1-1700000000", "tune"),
        ("my-tuning-job-1234-0a1b2c3d/algo-2-1700000000", "my-tuning-job"),
        ("alone/algo-1-1700000000", "alone"),
    ],
)
def test_a_stream_tells_its_tuning_job(stream: str, name: str) -> None:
    assert tuning_job_of(stream) == name
