"""Staging while executors die and attempts race: each row once, in order, and nothing else stays."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

TESTS = Path(__file__).parents[1]
pytestmark = [pytest.mark.spark, pytest.mark.wire]


def staged(service: Any, *mode: str) -> dict[str, Any]:
    environment = os.environ | {"PYTHONPATH": str(TESTS)}
    command = [sys.executable, "-m", "support.staging_cluster", service.endpointUrl, *mode]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=400)
    lines = [line for line in done.stdout.splitlines() if line.startswith("TOLD ")]
    assert len(lines) == 1, done.stdout + done.stderr
    told: dict[str, Any] = json.loads(lines[0][5:])
    return told


def test_an_executor_killed_in_the_middle(service: Any) -> None:
    told = staged(service, "kill")
    assert told["executors"] == 2
    assert (told["rows"], told["ids"]) == (7200, True)
    lost = set(told["seen"]) - set(told["manifest"])
    assert lost, "the killed executor had finished objects that count no more"
    assert told["there"] == told["manifest"]
    assert told["left"] == []


@pytest.mark.slow
def test_speculative_attempts(service: Any) -> None:
    told = staged(service, "speculate")
    assert (told["rows"], told["ids"]) == (7200, True)
    # One attempt per partition; partition 0's is not the first task that ran.
    attempts = dict(told["attempts"])
    assert len(told["attempts"]) == len(attempts) == 6
    assert attempts[0] > 0
    assert set(told["manifest"]) <= set(told["there"])
    assert told["left"] == []


@pytest.mark.slow
def test_speculative_attempts_at_files_that_lie_flat(service: Any) -> None:
    told = staged(service, "speculate", "flat")
    assert (told["rows"], told["ids"]) == (7200, True)
    # What lost attempts write is no file, however late.
    assert told["there"] == told["manifest"]
    assert told["left"] == []
