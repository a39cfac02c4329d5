"""Attempts, hosts, pipes, checkpoints and warm pools of training jobs, with real processes."""

from __future__ import annotations

import gzip
import json
import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sagespark.codecs.recordio.framing import find
from sagespark.core.clock import ScaledClock
from sagespark.core.errors import ValidationError
from sagespark.local.containers.isolation import ContainerError
from support.training import BUCKET, REGION, Bench, channel, ctx, isolated, job

RESOURCES = {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 1}
SPOT = {
    "EnableManagedSpotTraining": True,
    "StoppingCondition": {"MaxRuntimeInSeconds": 600, "MaxWaitTimeInSeconds": 700},
    "CheckpointConfig": {"S3Uri": f"s3://{BUCKET}/ckpt"},
}
# Counts its starts in a checkpoint; only the third one comes to an end.
RESUMING = """
n=$(cat "$ML/checkpoints/count" 2>/dev/null || echo 0); n=$((n+1)); echo $n > "$ML/checkpoints/count"
echo "start $n"; [ $n -ge 3 ] && { echo done > "$ML/model/m"; exit 0; }
trap 'echo saved > "$ML/checkpoints/late-'$n'"; exit 0' TERM
while :; do sleep 0.02; done
"""
SCRIPTS = {
    "model": 'echo hello > "$ML/model/m"',
    "resuming": RESUMING,
    "sleep": "echo running; exec sleep 600",
    "three": "exit 3",
}


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path, dict(SCRIPTS), grace=30)
    yield made
    made.close()


def secondary(document: dict[str, Any]) -> list[str]:
    return [t["Status"] for t in document["SecondaryStatusTransitions"]]


def on_line(bench: Bench, act: Any) -> None:
    """Call ``act`` with each line of a job's log, on a thread of its own."""
    append = bench.log_store.append

    def watch(region: str, group: str, stream: str, rows: Any) -> None:
        append(region, group, stream, rows)
        for _, text in rows:
            threading.Thread(target=act, args=(text,)).start()

    bench.log_store.append = watch  # type: ignore[method-assign]  # a spy around the real one


def pipe(name: str, uri: str, kind: str = "S3Prefix", *, sharded: bool = False, **members: Any) -> dict[str, Any]:
    made = channel(name, uri, kind, InputMode="Pipe", **members)
    if sharded:
        made["DataSource"]["S3DataSource"]["S3DataDistributionType"] = "ShardedByS3Key"
    return made


# -- spot, retries, time ----------------------------------------------------------------------------------------------


def test_a_spot_job_goes_on_from_its_checkpoints_after_each_interruption(bench: Bench) -> None:
    def interrupt(text: str) -> None:
        if text in ("start 1", "start 2"):
            bench.supervisor.interrupt(REGION, "j", 0.0)

    on_line(bench, interrupt)
    document = bench.run("j", "resuming", **SPOT)
    assert document["TrainingJobStatus"] == "Completed", document
    attempt = ["Starting", "Downloading", "Training"]
    assert secondary(document) == [
        *attempt, "Interrupted", *attempt, "Interrupted", *attempt, "Uploading", "Completed"
    ]  # fmt: skip
    assert bench.lines("j") == ["start 1", "start 2", "start 3"]
    streams = {e.stream for e in bench.log_store.events(REGION, "/aws/sagemaker/TrainingJobs")}
    assert len(streams) == 3
    kept = {o.key: bench.body(o.key) for o in bench.objects.list(BUCKET, "ckpt/")}
    assert kept == {"ckpt/count": b"3\n", "ckpt/late-1": b"saved\n", "ckpt/late-2": b"saved\n"}
    assert document["BillableTimeInSeconds"] <= document["TrainingTimeInSeconds"]
    assert document["CheckpointConfig"] == SPOT["CheckpointConfig"]


def test_waiting_for_capacity_is_not_billed_and_has_an_end(tmp_path: Path) -> None:
    bench = Bench(tmp_path, dict(SCRIPTS), clock=ScaledClock(600))
    on_line(bench, lambda text: bench.supervisor.interrupt(REGION, "j", 100_000) if text == "start 1" else None)
    document = bench.run("j", "resuming", **SPOT)
    assert (document["TrainingJobStatus"], document["SecondaryStatus"]) == ("Stopped", "MaxWaitTimeExceeded")
    assert secondary(document)[-4:] == ["Interrupted", "Starting", "Stopping", "MaxWaitTimeExceeded"]
    assert document["BillableTimeInSeconds"] < document["TrainingTimeInSeconds"]
    assert document["TrainingTimeInSeconds"] >= 500
    bench.close()


def test_a_job_that_waits_for_capacity_can_be_stopped(bench: Bench) -> None:
    on_line(bench, lambda text: bench.supervisor.interrupt(REGION, "j", 600) if text == "start 1" else None)
    bench.jobs.CreateTrainingJob(ctx(), job("j", "resuming", **SPOT))
    bench.store.wait("j", "Interrupted")
    bench.jobs.StopTrainingJob(ctx(), {"TrainingJobName": "j"})
    assert secondary(bench.store.wait("j", "Stopped"))[-3:] == ["Interrupted", "Stopping", "Stopped"]


def test_what_cannot_be_interrupted_says_why(bench: Bench) -> None:
    with pytest.raises(ValidationError, match="there is no training job 'none'"):
        bench.supervisor.interrupt(REGION, "none", 0)
    bench.run("done", "model")
    with pytest.raises(ValidationError, match=r"has no instances now: it is Completed \(Completed\)"):
        bench.supervisor.lose_host(REGION, "done")
    bench.jobs.CreateTrainingJob(ctx(), job("j", "sleep"))
    bench.store.wait("j", "Training")
    with pytest.raises(ValidationError, match="on-demand instances, which are not interrupted"):
        bench.supervisor.interrupt(REGION, "j", 0)


@pytest.mark.parametrize("attempts", [0, 2])
def test_internal_errors_are_retried_as_often_as_the_job_asks(bench: Bench, attempts: int) -> None:
    def lose(text: str) -> None:
        if text == "running":
            bench.supervisor.lose_host(REGION, "j")

    on_line(bench, lose)
    more = {"RetryStrategy": {"MaximumRetryAttempts": attempts}} if attempts else {}
    document = bench.run("j", "sleep", **more)
    assert document["FailureReason"] == "InternalServerError: An instance of the job failed."
    attempt = ["Starting", "Downloading", "Training"]
    assert secondary(document) == [*(attempt * (attempts + 1)), "Uploading", "Failed"]
    assert document.get("RetryStrategy") == more.get("RetryStrategy")


def test_the_algorithms_own_errors_are_not_retried(bench: Bench) -> None:
    document = bench.run("j", "three", RetryStrategy={"MaximumRetryAttempts": 5})
    assert document["FailureReason"] == "AlgorithmError: Exit Code: 3"
    assert secondary(document).count("Training") == 1


def test_an_error_inside_the_service_is_retried(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    run, calls = bench.runtime.run, []

    def once(*arguments: Any) -> Any:
        calls.append(1)
        if len(calls) == 1:
            raise ContainerError("no room for a namespace")
        return run(*arguments)

    monkeypatch.setattr(bench.runtime, "run", once)
    assert bench.run("j", "model", RetryStrategy={"MaximumRetryAttempts": 1})["TrainingJobStatus"] == "Completed"
    assert len(calls) == 2


def test_an_hour_of_silence_passes_quickly_and_ends_at_max_runtime(tmp_path: Path) -> None:
    bench = Bench(tmp_path, dict(SCRIPTS), clock=ScaledClock(7200))
    document = bench.run("j", "sleep", StoppingCondition={"MaxRuntimeInSeconds": 3600})
    assert secondary(document) == [
        "Starting", "Downloading", "Training", "Stopping", "Uploading", "MaxRuntimeExceeded"
    ]  # fmt: skip
    assert document["TrainingJobStatus"] == "Stopped"
    assert document["TrainingTimeInSeconds"] >= 3600
    bench.close()


# -- checkpoints ------------------------------------------------------------------------------------------------------


def test_checkpoints_go_to_s3_while_the_program_runs(bench: Bench) -> None:
    bench.runtime.scripts["slow"] = 'echo 1 > "$ML/checkpoints/a"; while [ ! -e "$ML/input/go" ]; do sleep 0.02; done'
    put, seen = bench.objects.put_path, threading.Event()

    def watch(*arguments: Any, **more: Any) -> Any:
        found = put(*arguments, **more)
        seen.set()
        return found

    bench.objects.put_path = watch  # type: ignore[method-assign]  # a spy around the real one
    bench.jobs.CreateTrainingJob(ctx(), job("j", "slow", CheckpointConfig={"S3Uri": f"s3://{BUCKET}/c/"}))
    assert seen.wait(30)
    assert bench.body("c/a") == b"1\n"
    (opt_ml,) = (bench.root / "training").glob("j-*/algo-1")
    (opt_ml / "input" / "go").touch()
    assert bench.store.wait("j", "Completed", "Failed")["TrainingJobStatus"] == "Completed"


def test_every_host_finds_all_checkpoints_in_the_folder_of_the_request(bench: Bench) -> None:
    bench.put("c/x/old", b"old\n")
    bench.runtime.scripts["show"] = (
        'c="$ML/elsewhere/deep"; cat "$c/x/old"; cat "$ML/input/config/checkpointconfig.json"; echo; '
        'echo x > "$c/new-$(sed -E \'s/.*"current_host": "([^"]*)".*/\\1/\' "$ML/input/config/resourceconfig.json")"'
    )
    config = {"S3Uri": f"s3://{BUCKET}/c", "LocalPath": "/opt/ml/elsewhere/deep"}
    resources = RESOURCES | {"InstanceCount": 2}
    document = bench.run("j", "show", CheckpointConfig=config, ResourceConfig=resources)
    assert document["TrainingJobStatus"] == "Completed", document
    assert bench.lines("j").count("old") == 2
    assert json.loads(next(line for line in bench.lines("j") if line.startswith("{"))) == config
    assert bench.body("c/new-algo-2") == b"x\n"


# -- hosts ------------------------------------------------------------------------------------------------------------

# Each host serves its name on one port at its own address, and asks every host for its name.
TALK = r"""
exec "$PYTHON" -I - "$ML" <<'END'
import json, os, socket, sys, threading, time
config = json.load(open(sys.argv[1] + "/input/config/resourceconfig.json"))
known = json.loads(os.environ.get("SAGESPARK_HOSTS", "{}"))
address = lambda host: known.get(host) or socket.gethostbyname(host)
me = config["current_host"]
server = socket.create_server((address(me), 29500))
def serve():
    for _ in config["hosts"]:
        peer = server.accept()[0]; peer.sendall(me.encode()); peer.close()
thread = threading.Thread(target=serve); thread.start()
for host in config["hosts"]:
    while True:
        try:
            peer = socket.create_connection((address(host), 29500), 5); break
        except ConnectionRefusedError:
            time.sleep(0.02)
    print(me, "heard", peer.recv(99).decode(), flush=True)
thread.join()
print(json.dumps(config), flush=True)
END
"""


def talk(bench: Bench, name: str, count: int, **more: Any) -> None:
    import sys

    bench.runtime.scripts["talk"] = f"PYTHON={sys.executable}\n{TALK}"
    document = bench.run(name, "talk", ResourceConfig=RESOURCES | {"InstanceCount": count}, **more)
    assert document["TrainingJobStatus"] == "Completed", bench.lines(name)
    names = [f"algo-{i}" for i in range(1, count + 1)]
    heard = sorted(line for line in bench.lines(name) if "heard" in line)
    assert heard == sorted(f"{a} heard {b}" for a in names for b in names)


@pytest.mark.parametrize("separate", [True, False])
def test_hosts_reach_each_other_by_name_on_ports_of_their_own(tmp_path: Path, separate: bool) -> None:
    if separate and not isolated():
        separate = False
    bench = Bench(tmp_path, dict(SCRIPTS), isolated=separate)
    # Two jobs at once: the same port serves four hosts of this machine.
    other = threading.Thread(target=talk, args=(bench, "other", 2))
    other.start()
    talk(bench, "j", 2)
    other.join()
    assert len(bench.lines("other")) == 6
    bench.close()


def test_isolated_hosts_reach_each_other_and_nothing_else(bench: Bench) -> None:
    talk(bench, "j", 2, EnableNetworkIsolation=True)
    if isolated():
        bench.runtime.scripts["links"] = "cat /proc/net/dev | tail -n +3 | cut -d: -f1 | tr -d ' '"
        bench.run("k", "links", EnableNetworkIsolation=True)
        assert bench.lines("k") == ["lo"]


def test_instance_groups_have_hosts_and_channels_of_their_own(bench: Bench) -> None:
    bench.runtime.scripts["groups"] = 'cat "$ML/input/config/resourceconfig.json"; echo; ls "$ML/input/data"'
    groups = [
        {"InstanceGroupName": "cpu", "InstanceType": "ml.m5.large", "InstanceCount": 2},
        {"InstanceGroupName": "gpu", "InstanceType": "ml.p3.2xlarge", "InstanceCount": 1},
    ]
    only = channel("train", bench.put("d/a"))
    only["DataSource"]["S3DataSource"]["InstanceGroupNames"] = ["gpu"]
    document = bench.run(
        "j", "groups", ResourceConfig={"InstanceGroups": groups, "VolumeSizeInGB": 1}, InputDataConfig=[only]
    )
    assert document["TrainingJobStatus"] == "Completed"
    configs = {c["current_host"]: c for c in map(json.loads, (x for x in bench.lines("j") if x.startswith("{")))}
    assert {h: (c["current_group_name"], c["current_instance_type"]) for h, c in configs.items()} == {
        "algo-1": ("cpu", "ml.m5.large"), "algo-2": ("cpu", "ml.m5.large"), "algo-3": ("gpu", "ml.p3.2xlarge")
    }  # fmt: skip
    assert configs["algo-3"]["instance_groups"][0] == {
        "instance_group_name": "cpu", "instance_type": "ml.m5.large", "hosts": ["algo-1", "algo-2"]
    }  # fmt: skip


# -- pipes ------------------------------------------------------------------------------------------------------------


def test_each_epoch_has_a_pipe_of_its_own_in_the_seeds_order(bench: Bench) -> None:
    for i in range(6):
        bench.put(f"d/{i}", f"{i}".encode())
    bench.runtime.scripts["epochs"] = (
        'for e in 0 1 2; do f="$ML/input/data/train_$e"; [ -p "$f" ] && echo "$e $(cat "$f")"; done; '
        'ls "$ML/input/data"'
    )
    document = bench.run("j", "epochs", InputDataConfig=[pipe("train", f"s3://{BUCKET}/d/")])
    assert document["TrainingJobStatus"] == "Completed", bench.lines("j")
    assert bench.lines("j")[:3] == ["0 012345", "1 012345", "2 012345"]
    assert bench.lines("j")[-1] == "train_3"
    shuffled = pipe("train", f"s3://{BUCKET}/d/", ShuffleConfig={"Seed": 1})
    bench.run("k", "epochs", InputDataConfig=[shuffled])
    bench.run("l", "epochs", InputDataConfig=[shuffled])
    orders = [line[2:] for line in bench.lines("k")[:3]]
    assert len(set(orders)) > 1
    assert {"".join(sorted(order)) for order in orders} == {"012345"}
    assert bench.lines("l")[:3] == bench.lines("k")[:3]


def test_a_reader_that_leaves_early_gets_the_next_epoch(bench: Bench) -> None:
    bench.put("d/a", b"first\n" + bytes(8_000_000))
    bench.runtime.scripts["early"] = 'for e in 0 1; do head -n 1 "$ML/input/data/train_$e"; done'
    document = bench.run("j", "early", InputDataConfig=[pipe("train", f"s3://{BUCKET}/d/")])
    assert document["TrainingJobStatus"] == "Completed"
    assert bench.lines("j") == ["first", "first"]


def test_pipes_unpack_and_wrap_and_share(bench: Bench) -> None:
    for i in range(4):
        bench.put(f"z/{i}", gzip.compress(f"row {i}\n".encode()))
    bench.runtime.scripts["keep"] = 'cat "$ML/input/data/train_0" > "$ML/checkpoints/$(hostname)"'
    source = pipe("train", f"s3://{BUCKET}/z/", sharded=True, CompressionType="Gzip", RecordWrapperType="RecordIO")
    bench.runtime.scripts["keep"] = (
        'h=$(sed -E \'s/.*"current_host": "([^"]*)".*/\\1/\' "$ML/input/config/resourceconfig.json"); '
        'cat "$ML/input/data/train_0" > "$ML/model/$h"'
    )
    output = {"S3OutputPath": f"s3://{BUCKET}/out", "CompressionType": "NONE"}
    document = bench.run(
        "j",
        "keep",
        InputDataConfig=[source],
        ResourceConfig=RESOURCES | {"InstanceCount": 2},
        OutputDataConfig=output,
    )
    assert document["TrainingJobStatus"] == "Completed", bench.lines("j")
    for host, wanted in (("algo-1", [b"row 0\n", b"row 2\n"]), ("algo-2", [b"row 1\n", b"row 3\n"])):
        import numpy as np

        frames = find(np.frombuffer(bench.body(f"out/j/output/model/{host}"), np.uint8))
        assert [bytes(frames.body[a:b]) for a, b in zip(frames.start, frames.stop, strict=True)] == wanted


def test_an_augmented_manifest_gives_objects_and_values_in_turn(bench: Bench) -> None:
    lines = [{"image-ref": bench.put(f"i/{i}", f"<{i}>".encode()), "label": i, "other": "x"} for i in range(3)]
    uri = bench.put("m.jsonl", "\n".join(map(json.dumps, lines)).encode())
    source = pipe("train", uri, "AugmentedManifestFile")
    source["DataSource"]["S3DataSource"]["AttributeNames"] = ["image-ref", "label"]
    bench.runtime.scripts["cat"] = 'cat "$ML/input/data/train_0"; echo'
    bench.run("j", "cat", InputDataConfig=[source])
    assert bench.lines("j") == ["<0>0<1>1<2>2"]
    source["DataSource"]["S3DataSource"]["AttributeNames"] = ["image-ref", "missing"]
    document = bench.run("k", "cat", InputDataConfig=[source])
    assert "line 1 of the augmented manifest" in document["FailureReason"]
    assert "no attribute 'missing', which AttributeNames lists" in document["FailureReason"]


def test_a_pipe_that_cannot_be_fed_fails_the_job_with_its_reason(bench: Bench) -> None:
    bench.put("d/a", b"no gzip")
    bench.runtime.scripts["wait"] = 'cat "$ML/input/data/train_0"; exec sleep 600'
    document = bench.run("j", "wait", InputDataConfig=[pipe("train", f"s3://{BUCKET}/d/", CompressionType="Gzip")])
    assert re.fullmatch(
        r"ClientError: Channel 'train' could not be read: s3://bench/d/a is not gzip, as the channel's "
        r"CompressionType says: .*",
        document["FailureReason"],
    )


def test_a_program_that_never_reads_its_pipe_ends_all_the_same(bench: Bench) -> None:
    document = bench.run("j", "model", InputDataConfig=[pipe("train", bench.put("d/a"))])
    assert document["TrainingJobStatus"] == "Completed"


# -- warm pools -------------------------------------------------------------------------------------------------------


def warm(bench: Bench, name: str, seconds: int = 600, **more: Any) -> dict[str, Any]:
    bench.runtime.scripts["cache"] = (
        'c="$ML/sagemaker/warmpoolcache"; cat "$c/from" 2>/dev/null || echo cold; echo $TRAINING_JOB_NAME > "$c/from"'
    )
    bench.run(name, "cache", ResourceConfig=RESOURCES | {"KeepAlivePeriodInSeconds": seconds}, **more)
    return pool(bench, name)


def pool(bench: Bench, name: str) -> dict[str, Any]:
    found: dict[str, Any] = bench.jobs.DescribeTrainingJob(ctx(), {"TrainingJobName": name})["WarmPoolStatus"]
    return found


def test_a_warm_pool_moves_from_job_to_job_with_its_cache(bench: Bench) -> None:
    assert warm(bench, "one")["Status"] == "Available"
    listed = bench.jobs.ListTrainingJobs(ctx(), {"WarmPoolStatusEquals": "Available"})["TrainingJobSummaries"]
    assert [row["TrainingJobName"] for row in listed] == ["one"]
    # Another role is no match.
    warm(bench, "other", RoleArn="arn:aws:iam::123456789012:role/other")
    assert bench.lines("other") == ["cold"]
    assert warm(bench, "two")["Status"] == "Available"
    assert (pool(bench, "one")["Status"], pool(bench, "one")["ReusedByJob"]) == ("Reused", "two")
    assert bench.lines("two") == ["one"]
    bench.jobs.UpdateTrainingJob(ctx(), {"TrainingJobName": "two", "ResourceConfig": {"KeepAlivePeriodInSeconds": 0}})
    assert pool(bench, "two")["Status"] == "Terminated"
    warm(bench, "three")
    assert bench.lines("three") == ["cold"]


def test_a_warm_pool_ends_with_its_period_and_with_the_service(tmp_path: Path) -> None:
    bench = Bench(tmp_path, clock=ScaledClock(3600))
    assert warm(bench, "long", 3600)["Status"] == "Available"
    warm(bench, "short", 1, RoleArn="arn:aws:iam::123456789012:role/other")
    bench.parts.clock.sleep(2)
    assert pool(bench, "short") == {"Status": "Terminated", "ResourceRetainedBillableTimeInSeconds": 1}
    bench.jobs.stop()
    assert pool(bench, "long")["Status"] == "Terminated"
    bench.close()
