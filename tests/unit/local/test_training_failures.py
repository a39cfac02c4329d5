"""Bad programs and bad data, one job each at the same time: the status and the reason that each ends with.

``pytest -s`` shows the table.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from sagespark.core.clock import ScaledClock
from support.training import BUCKET, ENDED, Bench, channel, ctx, job

TWO = {"InstanceType": "ml.m5.large", "InstanceCount": 2, "VolumeSizeInGB": 1}
FAILED = ("Failed", "Failed")
LATE = ("Stopped", "MaxRuntimeExceeded")
SECOND_HOST = 'grep -q \'"current_host": "algo-2"\' "$ML/input/config/resourceconfig.json"'


def source(key: str, kind: str = "S3Prefix", **members: Any) -> dict[str, Any]:
    """Return the members of a request with one channel."""
    attributes = members.pop("AttributeNames", None)
    made = channel("train", f"s3://{BUCKET}/{key}", kind, **members)
    if attributes:
        made["DataSource"]["S3DataSource"]["AttributeNames"] = attributes
    return {"InputDataConfig": [made]}


def entry(*program: str) -> dict[str, Any]:
    return {
        "AlgorithmSpecification": {
            "TrainingImage": "script/ok", "TrainingInputMode": "File", "ContainerEntrypoint": list(program)
        }
    }  # fmt: skip


@dataclass(frozen=True)
class Case:
    """A job and its end."""

    name: str
    script: str
    reason: str
    ends: tuple[str, str] = FAILED
    members: dict[str, Any] = field(default_factory=dict)


DOWNLOAD = "ClientError: Data download failed:"
READ = 'cat "$ML/input/data/train_0"; exec sleep 600'
CASES = (
    Case("exits 3", "exit 3", "AlgorithmError: Exit Code: 3"),
    Case("says why", 'echo "no rows left" > "$ML/output/failure"; exit 1', "AlgorithmError: no rows left"),
    Case("blames its user", 'echo "ClientError: bad k" > "$ML/output/failure"; exit 1', "ClientError: bad k"),
    Case(
        "says too much",
        'head -c 5000 /dev/zero | tr "\\0" x > "$ML/output/failure"; exit 1',
        "AlgorithmError: x{1008}",
    ),
    Case("no text", r"""printf '\377\376' > "$ML/output/failure"; exit 1""", "AlgorithmError: \ufffd\ufffd"),
    Case("a folder for a reason", 'mkdir "$ML/output/failure"; exit 5', "AlgorithmError: Exit Code: 5"),
    Case("a link for a reason", 'ln -s /etc/hostname "$ML/output/failure"; exit 5', "AlgorithmError: Exit Code: 5"),
    Case("killed", "kill -9 $$", "AlgorithmError: Exit Code: 137"),
    Case("not there", "", "AlgorithmError: Exit Code: 127", members=entry("/none/such")),
    Case("no program", "", "AlgorithmError: Exit Code: 126", members=entry("/etc/hostname")),
    Case("silent for an hour", "exec sleep 600", "", LATE, {"StoppingCondition": {"MaxRuntimeInSeconds": 3600}}),
    Case(
        "deaf for an hour",
        "trap '' TERM; while :; do sleep 0.05; done",
        "",
        LATE,
        {"StoppingCondition": {"MaxRuntimeInSeconds": 3600}},
    ),
    Case(
        "second host fails",
        f"{SECOND_HOST} || exec sleep 600; exit 7",
        "AlgorithmError: Exit Code: 7",
        members={"ResourceConfig": TWO},
    ),
    Case("no data", "true", DOWNLOAD + "No S3 objects found .*", members=source("none/")),
    Case(
        "no bucket",
        "true",
        DOWNLOAD + ".*bucket does not exist.*",
        members={"InputDataConfig": [channel("train", "s3://absent/x")]},
    ),
    Case("manifest is no JSON", "true", DOWNLOAD + ".*is not JSON.*", members=source("text", "ManifestFile")),
    Case(
        "manifest of nothing",
        "true",
        DOWNLOAD + ".*The manifest s3://bench/lost.manifest names it.*",
        members=source("lost.manifest", "ManifestFile"),
    ),
    Case("key is no file name", "true", DOWNLOAD + ".*has an empty, '.' or '..' step.*", members=source("odd/")),
    Case(
        "pipe is no gzip",
        READ,
        "ClientError: Channel 'train' could not be read: .*is not gzip.*",
        members=source("text", InputMode="Pipe", CompressionType="Gzip"),
    ),
    Case(
        "augmented line is no JSON",
        READ,
        "ClientError: .*line 1 of the augmented manifest s3://bench/text is not JSON.*",
        members=source("text", "AugmentedManifestFile", InputMode="Pipe", AttributeNames=["a"]),
    ),
    Case(
        "output bucket is gone",
        "true",
        "ClientError: The bucket of OutputDataConfig.S3OutputPath does not exist.*",
        members={"OutputDataConfig": {"S3OutputPath": "s3://absent/out"}},
    ),
)


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, dict[str, Any]]]:
    """Run all jobs and yield their documents."""
    root: Path = tmp_path_factory.mktemp("failures")
    bench = Bench(root, {f"s{i}": case.script for i, case in enumerate(CASES)}, clock=ScaledClock(1800), limit=4)
    bench.put("text", b"no gzip and no JSON")
    bench.put("lost.manifest", b'[{"prefix": "s3://bench/"}, "lost"]')
    bench.put("odd/a//b")
    for i, case in enumerate(CASES):
        bench.jobs.CreateTrainingJob(ctx(), job(f"j{i}", f"s{i}", **{"StoppingCondition": {}, **case.members}))
    yield {case.name: bench.store.wait(f"j{i}", *ENDED) for i, case in enumerate(CASES)}
    bench.close()


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_each_ends_with_its_status_and_reason(case: Case, ended: dict[str, dict[str, Any]]) -> None:
    found = ended[case.name]
    reason = found.get("FailureReason", "")
    print(f"| {case.name} | {found['TrainingJobStatus']}/{found['SecondaryStatus']} | {reason[:100]} |")
    assert (found["TrainingJobStatus"], found["SecondaryStatus"]) == case.ends
    assert re.fullmatch(case.reason, reason.strip(), re.DOTALL), reason
    assert len(reason) <= 1024
