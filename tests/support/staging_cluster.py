"""A Spark application of its own on ``local-cluster``, staging while something goes wrong. Prints one line of JSON.

``python -m support.staging_cluster URL kill|speculate`` with ``tests`` on the path.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import psutil
import pyarrow as pa
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
CLOCK = SystemClock()
CONF = {
    "spark.ui.enabled": "false",
    "spark.log.level": "OFF",
    "spark.ui.showConsoleProgress": "false",
    "spark.sql.execution.arrow.maxRecordsPerBatch": str(BATCH),
}
SPECULATION = {
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
            flat = np.repeat(ids, 8)
            offsets = pa.array(np.arange(len(ids) + 1, dtype=np.int32) * 8)
            SystemClock().sleep(pause)
            yield pa.RecordBatch.from_arrays([pa.ListArray.from_arrays(offsets, pa.array(flat))], ["features"])

    return slowly


def kill_one_executor(session: SageMakerSession, prefix: S3Uri, told: dict[str, Any]) -> None:
    """Kill an executor's JVM once both have finished objects of a partition that they are still at."""
    while True:
        seen = {str(uri) for uri in s3.list_keys(session, prefix)}
        if {name.rpartition("/")[2][:10] for name in seen} >= {"part-00000", "part-00001"}:
            break
        CLOCK.sleep(0.05)
    executors = [
        p
        for p in psutil.Process().children(recursive=True)
        if any("CoarseGrainedExecutorBackend" in part for part in p.cmdline())
    ]
    told["executors"] = len(executors)
    told["seen"] = sorted(seen)
    os.kill(executors[0].pid, signal.SIGKILL)


def main() -> None:
    """Stage, and tell what was staged and what is there."""
    url, mode = sys.argv[1:]
    session = SageMakerSession(endpointUrl=url, region="us-east-1", accessKeyId="a", secretAccessKey="b").resolve()
    builder = SparkSession.builder.master("local-cluster[2,1,1024]")
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
    report = stage(df, StagingRequest(session, prefix, "train", made, kind, maxShardBytes=8000))
    head, *names = json.loads(s3.read_bytes(session, report.manifest))
    found = [codec(kind).decode(s3.read_bytes(session, S3Uri.parse(head["prefix"] + name))) for name in names]
    told["rows"] = report.rows
    told["attempts"] = sorted({tuple(map(int, name.split("-")[1:3])) for name in names})
    told["ids"] = bool(
        np.array_equal(np.concatenate([f.features[:, 0] for f in found]), np.arange(ROWS * PARTITIONS))  # type: ignore[call-overload]
    )
    told["manifest"] = sorted([str(report.manifest), *(head["prefix"] + name for name in names)])
    told["there"] = sorted(str(uri) for uri in s3.list_keys(session, prefix))
    spark.stop()
    unstage(session, report)
    told["left"] = [str(uri) for uri in s3.list_keys(session, prefix)]
    print("TOLD " + json.dumps(told), flush=True)


if __name__ == "__main__":
    main()
