"""A Spark application of its own, staging while something goes wrong. Prints one line of JSON.

Executors die on ``local-cluster``. Attempts race on a standalone master with a worker on each of two loopback
addresses, since Spark starts no second attempt on the host where the first one runs.
``python -m support.staging_cluster URL kill|speculate`` with ``tests`` on the path.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pyarrow as pa
import pyspark
from pyspark import TaskContext
from pyspark.sql import SparkSession

from sagespark.aws import s3
from sagespark.aws.session import SageMakerSession
from sagespark.codecs.registry import codec
from sagespark.core.clock import SystemClock, token
from sagespark.core.s3uri import S3Uri
from sagespark.data.frame import layout
from sagespark.data.shards import StagingRequest, stage, unstage

PARTITIONS, ROWS, BATCH = 6, 1200, 100
# A batch is larger than the buffer between JVM and Python (64 KiB): it arrives when it is made, not with the last one.
WIDTH = 256
CLOCK = SystemClock()
CONF = {
    "spark.ui.enabled": "false",
    "spark.log.level": "OFF",
    "spark.ui.showConsoleProgress": "false",
    "spark.sql.execution.arrow.maxRecordsPerBatch": str(BATCH),
    # No task starts before every executor is there: each then has a partition of its own.
    "spark.scheduler.minRegisteredResourcesRatio": "1.0",
    "spark.scheduler.maxRegisteredResourcesWaitingTime": "120s",
}
SPECULATION = {
    "spark.driver.host": "127.0.0.1",
    "spark.executor.memory": "512m",
    "spark.executor.cores": "1",
    "spark.speculation": "true",
    "spark.speculation.interval": "100ms",
    "spark.speculation.multiplier": "1.5",
    "spark.speculation.quantile": "0.5",
    "spark.speculation.minTaskRuntime": "200ms",
}


def rows(mode: str) -> Any:
    """Return a source that takes its time: half a second a batch, much longer where speculation shall step in."""

    def slowly(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        context = TaskContext.get()
        assert context is not None
        first = context.partitionId() == 0 and context.attemptNumber() == 0
        pause = 0.5 if mode == "kill" else 3.0 if first else 0.05
        for batch in batches:
            ids = batch.column(0).to_numpy().astype(np.float32)
            flat = np.repeat(ids, WIDTH)
            offsets = pa.array(np.arange(len(ids) + 1, dtype=np.int32) * WIDTH)
            SystemClock().sleep(pause)
            yield pa.RecordBatch.from_arrays([pa.ListArray.from_arrays(offsets, pa.array(flat))], ["features"])

    return slowly


@contextmanager
def standalone() -> Iterator[str]:
    """Run a master and two workers on hosts of their own; yields the master's URL."""
    spark_class = Path(pyspark.__file__).parent / "bin" / "spark-class"
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))

        def run(kind: str, host: str, *arguments: str) -> Path:
            log = folder / f"{kind}-{host}.log"
            command = [str(spark_class), f"org.apache.spark.deploy.{kind.lower()}.{kind}", "--host", host, *arguments]
            environment = os.environ | {"SPARK_WORKER_DIR": str(folder / host), "SPARK_LOCAL_DIRS": str(folder)}
            with log.open("w") as file:
                process = subprocess.Popen(command, stdout=file, stderr=file, env=environment)
            stack.callback(process.wait, 30)
            stack.callback(process.terminate)
            return log

        log = run("Master", "127.0.0.1", "--port", "0", "--webui-port", "0")
        while not (found := re.search(r"Starting Spark master at (spark://\S+)", log.read_text())):
            CLOCK.sleep(0.1)
        for host in ("127.0.0.2", "127.0.0.3"):
            run("Worker", host, "--cores", "1", "--memory", "1g", "--webui-port", "0", found[1])
        while len(re.findall("Registering worker", log.read_text())) < 2:
            CLOCK.sleep(0.1)
        yield found[1]


def is_executor(process: psutil.Process) -> bool:
    """Tell whether this is an executor's JVM; a child that has just ended is none."""
    try:
        return any("CoarseGrainedExecutorBackend" in part for part in process.cmdline())
    except psutil.Error:
        return False


def kill_one_executor(session: SageMakerSession, prefix: S3Uri, told: dict[str, Any]) -> None:
    """Kill an executor's JVM once both have finished objects of a partition that they are still at."""
    while True:
        seen = {str(uri) for uri in s3.list_keys(session, prefix)}
        # A partition makes one object a batch: one that is well short of all its objects is being written right now.
        finished = Counter(name.rpartition("/")[2][:10] for name in seen if "/part-" in name)
        if sum(count < ROWS / BATCH - 3 for count in finished.values()) == 2:
            break
        CLOCK.sleep(0.05)
    executors = [p for p in psutil.Process().children(recursive=True) if is_executor(p)]
    told["executors"] = len(executors)
    told["seen"] = sorted(seen)
    os.kill(executors[0].pid, signal.SIGKILL)


def main() -> None:
    """Stage, and tell what was staged and what is there."""
    url, mode, *flat = sys.argv[1:]
    with ExitStack() as stack:
        master = stack.enter_context(standalone()) if mode == "speculate" else "local-cluster[2,1,1024]"
        told = staged(url, mode, master, flat == ["flat"])
    print("TOLD " + json.dumps(told), flush=True)


def staged(url: str, mode: str, master: str, flat: bool) -> dict[str, Any]:
    """Stage on this master and return what happened."""
    session = SageMakerSession(endpointUrl=url, region="us-east-1", accessKeyId="a", secretAccessKey="b").resolve()
    builder = SparkSession.builder.master(master)
    for name, value in (CONF | (SPECULATION if mode == "speculate" else {})).items():
        builder = builder.config(name, value)
    spark = builder.getOrCreate()
    df = spark.range(0, ROWS * PARTITIONS, 1, PARTITIONS).mapInArrow(rows(mode), "features array<float>")
    made, problems = layout(df.schema)
    assert made is not None, problems
    prefix = (session.location / f"faults-{token()}").prefix
    told: dict[str, Any] = {}
    thread = threading.Thread(target=kill_one_executor, args=(session, prefix, told), daemon=True)
    if mode == "kill":
        thread.start()
    # A shard holds one batch: half a partition's shards are finished when its attempt is lost.
    kind = "application/x-recordio-protobuf"
    request = StagingRequest(session, prefix, "train", made, kind, maxShardBytes=BATCH * WIDTH * 5, flat=flat)
    report = stage(df, request)
    head, *names = json.loads(s3.read_bytes(session, report.manifest))
    found = [codec(kind).decode(s3.read_bytes(session, S3Uri.parse(head["prefix"] + name))) for name in names]
    told["rows"] = report.rows
    # Of files that lie flat the names do not tell the attempt.
    told["attempts"] = [] if flat else sorted({tuple(map(int, name.split("-")[1:3])) for name in names})
    told["ids"] = bool(
        np.array_equal(np.concatenate([f.features[:, 0] for f in found]), np.arange(ROWS * PARTITIONS))  # type: ignore[call-overload]
    )
    told["manifest"] = sorted([str(report.manifest), *(head["prefix"] + name for name in names)])
    told["there"] = sorted(str(uri) for uri in s3.list_keys(session, prefix))
    spark.stop()
    unstage(session, report)
    told["left"] = [str(uri) for uri in s3.list_keys(session, prefix)]
    return told


if __name__ == "__main__":
    main()
