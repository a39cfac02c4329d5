"""What the service can be told beside AWS's operations, and time that runs faster."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path

import pytest

from sagespark.core.clock import ScaledClock, SystemClock, real_seconds
from sagespark.local.__main__ import parse
from sagespark.local.admin import Admin
from support.training import REGION, Bench, ctx, job


@pytest.mark.parametrize(
    ("method", "path", "query", "status", "words"),
    [
        ("POST", "/_sagespark/nothing", "", 404, "There is nothing at /_sagespark/nothing."),
        ("POST", "/_sagespark/training-jobs/a_b/interrupt", "", 404, "There is nothing at"),
        ("GET", "/_sagespark/training-jobs/j/interrupt", "", 405, "takes POST"),
        ("POST", "/_sagespark/training-jobs/j/interrupt", "seconds=soon", 400, "seconds must be a number, 0 or more"),
        ("POST", "/_sagespark/training-jobs/j/interrupt", "seconds=-1", 400, "but got '-1'"),
        ("POST", "/_sagespark/training-jobs/j/interrupt", "", 409, "no training job 'j' in region us-east-1"),
        ("POST", "/_sagespark/training-jobs/j/interrupt", f"region={REGION}", 409, "on-demand instances"),
        ("POST", "/_sagespark/training-jobs/j/lose-host", f"region={REGION}", 200, "Training job j was told."),
    ],
)
def test_every_wish_is_answered(tmp_path: Path, method: str, path: str, query: str, status: int, words: str) -> None:
    bench = Bench(tmp_path, {"sleep": "exec sleep 600"})
    bench.jobs.CreateTrainingJob(ctx(), job("j", "sleep"))
    bench.store.wait("j", "Training")
    response = Admin(bench.supervisor).answer(method, path, query)
    assert isinstance(response.body, bytes)
    assert response.status == status
    assert words in json.loads(response.body)["message"]
    if status == 200:
        assert bench.store.wait("j", "Failed")["FailureReason"].startswith("InternalServerError:")
    bench.close()


def test_a_scaled_clock_runs_ahead() -> None:
    clock, real = ScaledClock(1000), SystemClock()
    began = clock.monotonic()
    assert abs((clock.now() - real.now()).total_seconds()) < 60
    clock.sleep(20)
    assert clock.monotonic() - began >= 20
    assert (clock.now() - real.now()).total_seconds() >= 15
    assert real_seconds(clock, 500) == 0.5
    assert real_seconds(real, 500) == 500
    with pytest.raises(ValueError, match="scale must be above 0, but got 0"):
        ScaledClock(0)
    # Another one goes on from what the first has shown.
    later = clock.now() + timedelta(days=3)
    assert ScaledClock(1000, later).now() >= later
    assert ScaledClock(1000, real.now() - timedelta(days=3)).now() > real.now() - timedelta(minutes=1)


def test_the_command_line_takes_a_scale(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert parse(["--data", str(tmp_path), "--time-scale", "60"]).time_scale == 60
    for bad in ("0", "-1", "inf", "nan"):
        with pytest.raises(SystemExit):
            parse(["--data", str(tmp_path), "--time-scale", bad])
        assert "--time-scale must be above 0" in capsys.readouterr().err
