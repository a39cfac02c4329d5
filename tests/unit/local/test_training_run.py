"""The life of a training job with real processes: every way in which one ends, and what is to be seen then."""

from __future__ import annotations

import io
import json
import os
import signal
import tarfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sagespark.local.containers.runner import ContainerSpec
from sagespark.local.lifecycle import status
from sagespark.local.lifecycle.failure import INTERRUPTED
from sagespark.local.lifecycle.supervisor import Supervisor
from sagespark.local.objects.model import NoSuchBucketError
from support.training import BUCKET, REGION, Bench, channel, ctx, job

# Says that it runs, then waits for SIGTERM and leaves with a model.
POLITE = """
trap 'echo bye; echo late > "$ML/model/late"; exit 0' TERM
echo running
while :; do sleep 0.02; done
"""
STUBBORN = """
trap '' TERM
echo running
while :; do sleep 0.02; done
"""
SCRIPTS = {
    "model": 'echo hello > "$ML/model/m"; echo side > "$ML/output/data/o"',
    "polite": POLITE,
    "stubborn": STUBBORN,
    "sleep": "echo running; exec sleep 600",
    "fail": 'echo "the reason" > "$ML/output/failure"; echo part > "$ML/model/part"; exit 3',
    "fail-silent": "exit 4",
    "client": 'echo "ClientError: bad k" > "$ML/output/failure"; exit 1',
    "killed": "kill -9 $$",
    "metrics": r"""printf '[0]\tvalidation-error:0.5\n[1]\tvalidation-error:0.25\n'; printf 'loss=nan\nloss=1e-3\n'""",
    "env": 'env; for f in "$ML"/input/config/*.json; do cat "$f"; echo; done; ls "$ML/input/data"',
    "noise": 'i=0; while [ $i -lt 200 ]; do echo "line $i"; i=$((i+1)); done',
}


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path, SCRIPTS)
    yield made
    made.close()


def members(bench: Bench, key: str) -> dict[str, bytes]:
    with tarfile.open(fileobj=io.BytesIO(bench.body(key))) as archive:
        return {m.name: archive.extractfile(m).read() for m in archive}  # type: ignore[union-attr]  # plain files


def keys(bench: Bench) -> list[str]:
    return [o.key for o in bench.objects.list(BUCKET)]


def secondary(document: dict[str, Any]) -> list[str]:
    return [t["Status"] for t in document["SecondaryStatusTransitions"]]


def running(bench: Bench, name: str, image: str, **more: Any) -> None:
    """Create a job and return once its program says that it runs."""
    said = threading.Event()
    append = bench.log_store.append

    def watch(*arguments: Any) -> None:
        append(*arguments)
        said.set()

    bench.log_store.append = watch  # type: ignore[method-assign]  # a spy around the real one
    bench.jobs.CreateTrainingJob(ctx(), job(name, image, **more))
    assert said.wait(60)


def test_a_completed_job_has_artifacts_times_and_transitions(bench: Bench) -> None:
    document = bench.run("j", "model")
    assert document["TrainingJobStatus"] == "Completed"
    assert secondary(document) == ["Starting", "Downloading", "Training", "Uploading", "Completed"]
    transitions = document["SecondaryStatusTransitions"]
    assert all(t["EndTime"] >= t["StartTime"] and t["StatusMessage"] for t in transitions)
    assert transitions[0]["StatusMessage"] == "Preparing the instances for training"
    assert document["CreationTime"] <= document["TrainingStartTime"] <= document["TrainingEndTime"]
    assert document["LastModifiedTime"] == document["TrainingEndTime"]
    assert document["TrainingTimeInSeconds"] == document["BillableTimeInSeconds"] >= 1
    assert document["ModelArtifacts"] == {"S3ModelArtifacts": f"s3://{BUCKET}/out/j/output/model.tar.gz"}
    assert "FailureReason" not in document
    assert members(bench, "out/j/output/model.tar.gz") == {"m": b"hello\n"}
    assert members(bench, "out/j/output/output.tar.gz") == {"o": b"side\n"}
    assert list((bench.root / "training").iterdir()) == []


def test_artifacts_are_in_s3_before_the_final_status_is_seen(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[bool] = []
    end = status.end

    def spy(document: dict[str, Any], *arguments: Any, **more: Any) -> None:
        seen.append(bench.objects.head(BUCKET, "out/j/output/model.tar.gz") is not None)
        end(document, *arguments, **more)

    monkeypatch.setattr(status, "end", spy)
    bench.run("j", "model")
    assert seen == [True]


def test_uncompressed_artifacts_are_objects_under_a_prefix(bench: Bench) -> None:
    output = {"S3OutputPath": f"s3://{BUCKET}/out", "CompressionType": "NONE"}
    document = bench.run("j", "model", OutputDataConfig=output)
    assert document["ModelArtifacts"] == {"S3ModelArtifacts": f"s3://{BUCKET}/out/j/output/model/"}
    assert keys(bench) == ["out/j/output/data/o", "out/j/output/model/m"]


def test_a_program_that_leaves_nothing_completes_without_artifacts(bench: Bench) -> None:
    assert bench.run("j")["TrainingJobStatus"] == "Completed"
    assert keys(bench) == []


def test_the_container_sees_the_contract(bench: Bench) -> None:
    uri = bench.put("data/a.csv")
    document = bench.run(
        "j",
        "env",
        HyperParameters={"k": "3", "script": '"train.py"'},
        InputDataConfig=[channel("train", uri, ContentType="text/csv"), channel("test", uri, InputMode="FastFile")],
        Environment={"MINE": "1", "AWS_REGION": "own"},
    )
    assert document["TrainingJobStatus"] == "Completed"
    lines = bench.lines("j")
    environment = dict(line.split("=", 1) for line in lines if "=" in line)
    assert environment["TRAINING_JOB_NAME"] == "j"
    assert environment["TRAINING_JOB_ARN"] == document["TrainingJobArn"]
    assert (environment["MINE"], environment["FROM_IMAGE"], environment["AWS_REGION"]) == ("1", "1", "own")
    assert environment["AWS_ENDPOINT_URL"] == ctx().base_url
    configs = [json.loads(line) for line in lines if line.startswith("{")]
    assert {"k": "3", "script": '"train.py"'} in configs
    assert {
        "train": {
            "TrainingInputMode": "File",
            "S3DistributionType": "FullyReplicated",
            "RecordWrapperType": "None",
            "ContentType": "text/csv",
        },
        "test": {
            "TrainingInputMode": "FastFile",
            "S3DistributionType": "FullyReplicated",
            "RecordWrapperType": "None",
        },
    } in configs
    resources = next(c for c in configs if "current_host" in c)
    assert (resources["current_host"], resources["hosts"]) == ("algo-1", ["algo-1"])
    assert {"train", "test", "train-manifest"} <= set(lines)


def test_an_isolated_job_is_not_told_where_the_service_is(bench: Bench) -> None:
    bench.run("j", "env", EnableNetworkIsolation=True)
    assert not [line for line in bench.lines("j") if line.startswith(("AWS_ENDPOINT_URL", "AWS_ACCESS_KEY"))]


def test_entry_point_and_arguments_replace_the_images_program(bench: Bench) -> None:
    specification = {
        "TrainingImage": "script/fail",
        "TrainingInputMode": "File",
        "ContainerEntrypoint": ["/bin/sh", "-c", 'echo "got $0 $1"'],
        "ContainerArguments": ["one", "two three"],
    }
    assert bench.run("j", AlgorithmSpecification=specification)["TrainingJobStatus"] == "Completed"
    assert bench.lines("j") == ["got one two three"]


def test_metrics_are_read_from_the_lines_as_log_shipping_writes_them(bench: Bench) -> None:
    specification = {
        "TrainingImage": "script/metrics",
        "TrainingInputMode": "File",
        "MetricDefinitions": [
            {"Name": "validation:error", "Regex": r".*\[[0-9]+\].*#011validation-error:(\S+)"},
            {"Name": "loss", "Regex": "loss=(.*)"},
            {"Name": "absent", "Regex": "absent=(.*)"},
        ],
    }
    document = bench.run("j", AlgorithmSpecification=specification)
    assert [(m["MetricName"], m["Value"]) for m in document["FinalMetricDataList"]] == [
        ("validation:error", 0.25),
        ("loss", 0.001),
    ]
    assert bench.lines("j")[0] == "[0]#011validation-error:0.5"


def test_every_line_reaches_the_log_in_order(bench: Bench) -> None:
    bench.run("j", "noise")
    assert bench.lines("j") == [f"line {i}" for i in range(200)]


@pytest.mark.parametrize(
    ("image", "reason"),
    [
        ("fail", "AlgorithmError: the reason"),
        ("fail-silent", "AlgorithmError: Exit Code: 4"),
        ("client", "ClientError: bad k"),
        ("killed", "AlgorithmError: Exit Code: 137"),
    ],
)
def test_a_failed_program_gives_its_reason(bench: Bench, image: str, reason: str) -> None:
    document = bench.run("j", image)
    assert (document["TrainingJobStatus"], document["FailureReason"]) == ("Failed", reason)
    assert secondary(document) == ["Starting", "Downloading", "Training", "Uploading", "Failed"]


def test_a_failed_programs_files_are_uploaded_too(bench: Bench) -> None:
    bench.run("j", "fail")
    assert members(bench, "out/j/output/model.tar.gz") == {"part": b"part\n"}


def test_data_that_is_missing_fails_the_job_before_its_container(bench: Bench) -> None:
    document = bench.run("j", "model", InputDataConfig=[channel("train", f"s3://{BUCKET}/none/")])
    assert document["FailureReason"].startswith("ClientError: Data download failed:No S3 objects found under S3 URL")
    assert secondary(document) == ["Starting", "Downloading", "Failed"]
    missing = bench.run("k", "model", OutputDataConfig={"S3OutputPath": "s3://absent/out"})
    assert missing["FailureReason"].startswith("ClientError: The bucket of OutputDataConfig.S3OutputPath")


def test_stop_sends_sigterm_and_uploads_what_the_program_saves_then(bench: Bench) -> None:
    running(bench, "j", "polite")
    bench.jobs.StopTrainingJob(ctx(), {"TrainingJobName": "j"})
    document = bench.store.wait("j", "Stopped")
    assert secondary(document) == ["Starting", "Downloading", "Training", "Stopping", "Uploading", "Stopped"]
    assert "FailureReason" not in document
    assert members(bench, "out/j/output/model.tar.gz") == {"late": b"late\n"}
    assert bench.lines("j") == ["running", "bye"]


def test_a_sigterm_right_after_the_start_is_not_lost(bench: Bench, tmp_path: Path) -> None:
    image = bench.runtime.resolve("script/polite")
    (tmp_path / "ml" / "model").mkdir(parents=True)
    for _ in range(20):
        spec = ContainerSpec(image.uri, image.train, tmp_path / "ml", {})
        container = bench.runtime.run(spec, lambda line: None)
        container.terminate()
        ended = container.wait(30)
        container.kill()
        # Ended by its trap, or by the signal itself before the trap was set.
        assert ended in (0, 128 + signal.SIGTERM)


def test_a_program_that_ignores_sigterm_is_killed_after_the_grace(tmp_path: Path) -> None:
    bench = Bench(tmp_path, SCRIPTS, grace=0.2)
    running(bench, "j", "stubborn")
    bench.jobs.StopTrainingJob(ctx(), {"TrainingJobName": "j"})
    # A second stop while it stops is accepted and changes nothing.
    bench.jobs.StopTrainingJob(ctx(), {"TrainingJobName": "j"})
    assert bench.store.wait("j", "Stopped")["TrainingJobStatus"] == "Stopped"
    bench.close()


def test_max_runtime_stops_the_job_and_keeps_its_model(bench: Bench) -> None:
    document = bench.run("j", "polite", StoppingCondition={"MaxRuntimeInSeconds": 1})
    assert (document["TrainingJobStatus"], document["SecondaryStatus"]) == ("Stopped", "MaxRuntimeExceeded")
    assert "MaxRuntimeInSeconds" in document["SecondaryStatusTransitions"][-1]["StatusMessage"]
    assert members(bench, "out/j/output/model.tar.gz") == {"late": b"late\n"}


def test_jobs_above_the_limit_wait_and_can_be_stopped_waiting(tmp_path: Path) -> None:
    bench = Bench(tmp_path, SCRIPTS, limit=1)
    running(bench, "first", "polite")
    for name in ("second", "third"):
        bench.jobs.CreateTrainingJob(ctx(), job(name, "model"))
    assert bench.store.wait("second", "Pending")["TrainingJobStatus"] == "InProgress"
    bench.jobs.StopTrainingJob(ctx(), {"TrainingJobName": "second"})
    stopped = bench.store.wait("second", "Stopped")
    assert "TrainingStartTime" not in stopped
    assert secondary(stopped) == ["Starting", "Pending", "Stopping", "Stopped"]
    bench.jobs.StopTrainingJob(ctx(), {"TrainingJobName": "first"})
    assert bench.store.wait("third", "Completed")
    assert bench.objects.head(BUCKET, "out/second/output/model.tar.gz") is None
    bench.close()


def test_jobs_run_side_by_side_in_folders_of_their_own(bench: Bench) -> None:
    for i in range(4):
        bench.jobs.CreateTrainingJob(ctx(), job(f"j{i}", "model"))
    for i in range(4):
        assert bench.store.wait(f"j{i}", "Completed", "Failed")["TrainingJobStatus"] == "Completed"
    assert len(keys(bench)) == 8


def test_a_program_that_writes_to_its_input_never_changes_the_object(bench: Bench) -> None:
    uri = bench.put("data/a", b"original\n")
    bench.runtime.scripts["scribble"] = (
        'f="$ML/input/data/train/a"; chmod u+w "$f"; echo scribbled > "$f"; cat "$f"; rm "$f"; echo x > "$f.new"'
    )
    document = bench.run("j", "scribble", InputDataConfig=[channel("train", uri)])
    assert document["TrainingJobStatus"] == "Completed", bench.lines("j")
    assert bench.lines("j") == ["scribbled"]
    assert bench.body("data/a") == b"original\n"


def test_without_namespaces_the_objects_are_safe_too(tmp_path: Path) -> None:
    bench = Bench(tmp_path, SCRIPTS, isolated=False)
    uri = bench.put("data/a", b"original\n")
    bench.runtime.scripts["scribble"] = 'f="$ML/input/data/train/a"; chmod u+w "$f"; echo scribbled > "$f"; cat "$f"'
    assert bench.run("j", "scribble", InputDataConfig=[channel("train", uri)])["TrainingJobStatus"] == "Completed"
    assert bench.lines("j") == ["scribbled"]
    assert bench.body("data/a") == b"original\n"
    assert bench.run("k", "model")["TrainingJobStatus"] == "Completed"
    assert members(bench, "out/k/output/model.tar.gz") == {"m": b"hello\n"}
    bench.close()


def test_a_stop_that_comes_before_the_run_is_known_is_not_lost(bench: Bench) -> None:
    """CreateTrainingJob keeps the job first and starts it then; a stop may come between."""
    document = status.new(job("j", "sleep"), "arn", bench.parts.clock.now())
    bench.store.put("TrainingJob", REGION, "j", document)
    bench.jobs.StopTrainingJob(ctx(), {"TrainingJobName": "j"})
    bench.supervisor.submit(REGION, "j", {})
    assert "TrainingStartTime" not in bench.store.wait("j", "Stopped")


def test_a_name_that_is_taken_again_at_once_is_a_job_like_any_other(bench: Bench) -> None:
    for _ in range(5):
        bench.run("j", "model")
        bench.jobs.DeleteTrainingJob(ctx(), {"TrainingJobName": "j"})
    running(bench, "j", "polite")
    bench.jobs.StopTrainingJob(ctx(), {"TrainingJobName": "j"})
    assert bench.store.wait("j", "Stopped", "Completed")["TrainingJobStatus"] == "Stopped"


def test_the_reason_of_a_failed_program_is_not_hidden_by_a_failed_upload(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(*_: Any, **__: Any) -> None:
        raise NoSuchBucketError("bench")

    monkeypatch.setattr("sagespark.local.lifecycle.artifacts.upload", gone)
    assert bench.run("j", "fail")["FailureReason"] == "AlgorithmError: the reason"
    assert bench.run("k", "model")["FailureReason"].startswith("ClientError: The bucket of OutputDataConfig")


def test_an_output_bucket_that_exists_by_default_is_made(tmp_path: Path) -> None:
    bench = Bench(tmp_path, SCRIPTS, is_default_bucket=lambda name: name == "by-default")
    assert bench.run("j", "model", OutputDataConfig={"S3OutputPath": "s3://by-default/x"})["TrainingJobStatus"] == (
        "Completed"
    )
    assert bench.objects.head("by-default", "x/j/output/model.tar.gz")
    bench.close()


def test_several_hosts_each_have_their_share_name_and_log(bench: Bench) -> None:
    bench.runtime.scripts["hosts"] = (
        'h=$(sed -E \'s/.*"current_host": "([^"]*)".*/\\1/\' "$ML/input/config/resourceconfig.json"); echo "I am $h";'
        ' ls "$ML/input/data/train" > "$ML/model/$h"; grep algo-2 /etc/hosts || true'
    )
    for i in range(4):
        bench.put(f"data/{i}")
    source = channel("train", f"s3://{BUCKET}/data/")
    source["DataSource"]["S3DataSource"]["S3DataDistributionType"] = "ShardedByS3Key"
    resources = {"InstanceType": "ml.m5.large", "InstanceCount": 2, "VolumeSizeInGB": 1}
    document = bench.run("j", "hosts", InputDataConfig=[source], ResourceConfig=resources)
    assert document["TrainingJobStatus"] == "Completed", document
    assert members(bench, "out/j/output/model.tar.gz") == {"algo-1": b"0\n2\n", "algo-2": b"1\n3\n"}
    assert {"I am algo-1", "I am algo-2"} <= set(bench.lines("j"))


def test_one_failing_host_ends_the_others(bench: Bench) -> None:
    bench.runtime.scripts["one"] = (
        'grep -q \'"current_host": "algo-2"\' "$ML/input/config/resourceconfig.json" || exec sleep 600\n'
        'echo "second broke" > "$ML/output/failure"; exit 1'
    )
    resources = {"InstanceType": "ml.m5.large", "InstanceCount": 2, "VolumeSizeInGB": 1}
    document = bench.run("j", "one", ResourceConfig=resources)
    assert document["FailureReason"] == "AlgorithmError: second broke"


def test_a_service_that_ends_kills_its_jobs_and_reports_them(bench: Bench) -> None:
    running(bench, "j", "stubborn")
    (record,) = (p for p in (bench.root / "containers").iterdir() if p.stem.isdigit())
    bench.jobs.stop()
    document = bench.store.get("TrainingJob", REGION, "j")
    assert document is not None
    assert (document["TrainingJobStatus"], document["FailureReason"]) == ("Failed", INTERRUPTED)
    assert not os.path.exists(f"/proc/{record.stem}")


def test_a_restart_ends_what_was_left_unfinished(bench: Bench) -> None:
    now = bench.parts.clock.now()
    for name, stopping in (("busy", False), ("stopping", True)):
        document = status.new(job(name), f"arn:{name}", now)
        status.enter(document, "Downloading", now)
        if stopping:
            status.stop(document, now)
        bench.store.put("TrainingJob", REGION, name, document)
    bench.run("done", "model")
    before = bench.store.get("TrainingJob", REGION, "done")
    leftover = bench.root / "training" / "busy-1"
    leftover.mkdir(parents=True)
    Supervisor(bench.parts).start()
    busy, stopping_job = (bench.store.get("TrainingJob", REGION, n) or {} for n in ("busy", "stopping"))
    assert (busy["TrainingJobStatus"], busy["FailureReason"]) == ("Failed", INTERRUPTED)
    assert busy["FailureReason"].startswith("InternalServerError:")
    assert "interrupted" in busy["FailureReason"]
    assert (stopping_job["TrainingJobStatus"], stopping_job.get("FailureReason")) == ("Stopped", None)
    assert bench.store.get("TrainingJob", REGION, "done") == before
    assert not leftover.exists()


def test_an_error_inside_the_service_is_an_internal_server_error(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any, **__: Any) -> None:
        raise RuntimeError("disk gone")

    monkeypatch.setattr("sagespark.local.lifecycle.workspace.create", broken)
    document = bench.run("j", "model")
    assert document["TrainingJobStatus"] == "Failed"
    assert document["FailureReason"].startswith("InternalServerError:")
