"""Every bad input of the table, one job each, several at a time: the status and the reason that each ends with.

The service's time runs fast: a job that is silent for an hour takes two seconds. ``pytest -s`` shows the table.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest

from sagespark.core.clock import SystemClock
from support.bad_inputs import BUCKET, ROWS_OF_ALL, SHARED, BadInput
from support.local_service import ServiceProcess

pytestmark = pytest.mark.wire

HOUR_IN_TWO_SECONDS = "1800"
DEADLINE = 600.0
ENDED = ("Completed", "Failed", "Stopped")


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, dict[str, Any]]]:
    """Run all jobs and yield their descriptions, by what is wrong."""
    with ServiceProcess(tmp_path_factory.mktemp("bad") / "data", "--time-scale", HOUR_IN_TWO_SECONDS) as service:
        s3, sagemaker, clock = service.client("s3"), service.client("sagemaker"), SystemClock()
        for key, body in SHARED.items():
            s3.put_object(Bucket=BUCKET, Key=key, Body=body)
        names = {f"bad-{i}": row for i, row in enumerate(ROWS_OF_ALL)}
        for name, row in names.items():
            for key, body in row.objects(name).items():
                s3.put_object(Bucket=BUCKET, Key=key, Body=body)
            sagemaker.create_training_job(**row.request(name))
        found = {}
        deadline = clock.monotonic() + DEADLINE
        for name, row in names.items():
            while (job := sagemaker.describe_training_job(TrainingJobName=name))["TrainingJobStatus"] not in ENDED:
                assert clock.monotonic() < deadline, job
                clock.sleep(0.1)
            found[row.what] = job
        yield found


def test_there_are_forty_at_least_and_no_two_alike() -> None:
    assert len(ROWS_OF_ALL) >= 40
    assert len({row.what for row in ROWS_OF_ALL}) == len(ROWS_OF_ALL)
    alike = [(row.request("name"), row.objects("name")) for row in ROWS_OF_ALL]
    assert all(one != other for i, one in enumerate(alike) for other in alike[:i])


@pytest.mark.parametrize("row", ROWS_OF_ALL, ids=lambda row: row.what)
def test_each_ends_with_its_status_and_reason(row: BadInput, ended: dict[str, dict[str, Any]]) -> None:
    found = ended[row.what]
    last = found["SecondaryStatusTransitions"][-1]["StatusMessage"]
    reason = found.get("FailureReason", last if found["TrainingJobStatus"] != "Failed" else "").strip()
    print(f"| {row.what} | {found['TrainingJobStatus']}/{found['SecondaryStatus']} | {reason[:300]} |")
    assert (found["TrainingJobStatus"], found["SecondaryStatus"]) == row.ends
    assert re.fullmatch(row.reason, reason, re.DOTALL), reason
    assert len(reason) <= 1024
