"""Compare K-means on two hosts, a core each, with one host bound to one core, on the same rows. Needs two cores.

    python benchmarks/hosts.py [--rows 1000000] [--width 50] [--steps 100] [--repeats 3]

The jobs run on the embedded service, with one thread per host; what is timed is the job from TrainingStartTime to
TrainingEndTime, with reading, start and evaluation. `steps` Lloyd steps are made on both sides: `tol` is 0, the rows
have no clusters to settle on.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from typing import Any

import numpy as np

from sagespark import LocalSageMaker
from sagespark.algorithms.registry import image_uri
from sagespark.aws import s3
from sagespark.aws.session import SageMakerSession
from sagespark.aws.training_job import TrainingJob, metrics
from sagespark.codecs.registry import codec
from sagespark.core.clock import token

RECORDIO = "application/x-recordio-protobuf"
SHARDS = 8
PROGRAM = (sys.executable, "-m", "sagespark.local.containers.kmeans_train")


def stage(session: SageMakerSession, rows: int, width: int) -> str:
    """Put random rows to S3, in shards, and return their prefix."""
    random = np.random.default_rng(0)
    prefix = session.location / "benchmark"
    for number in range(SHARDS):
        part = random.random((rows // SHARDS, width), dtype=np.float32)
        s3.upload_bytes(session, prefix / f"part-{number}", bytes(codec(RECORDIO).encode(part)))
    return str(prefix.prefix)


def run(session: SageMakerSession, data: str, width: int, steps: int, hosts: int) -> tuple[float, dict[str, float]]:
    """Train and return seconds and metrics."""
    bound = ("taskset", "-c", "0", *PROGRAM) if hosts == 1 else PROGRAM
    source = {"S3DataType": "S3Prefix", "S3Uri": data, "S3DataDistributionType": "ShardedByS3Key"}
    hyperparameters = {
        "feature_dim": str(width),
        "k": "10",
        "extra_center_factor": "1",
        "local_lloyd_max_iter": str(steps),
        "local_lloyd_tol": "0",
        "local_lloyd_num_trials": "1",
        "local_lloyd_init_method": "random",
    }
    request: dict[str, Any] = {
        "TrainingJobName": f"hosts-{hosts}-{token(6)}",
        "AlgorithmSpecification": {
            "TrainingImage": image_uri("kmeans", session.require("region")),
            "TrainingInputMode": "File",
            "ContainerEntrypoint": list(bound),
        },
        "RoleArn": session.role,
        "HyperParameters": hyperparameters,
        "InputDataConfig": [{"ChannelName": "train", "ContentType": RECORDIO, "DataSource": {"S3DataSource": source}}],
        "OutputDataConfig": {"S3OutputPath": str(session.location)},
        "ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": hosts, "VolumeSizeInGB": 30},
        "StoppingCondition": {"MaxRuntimeInSeconds": 3600},
        "Environment": {"SAGESPARK_THREADS": "1", "SAGESPARK_SEED": "1"},
    }
    description = TrainingJob.create(session, request).wait()
    seconds = (description["TrainingEndTime"] - description["TrainingStartTime"]).total_seconds()
    return seconds, metrics(description)


def main() -> None:
    """Run both sides in turn and print the medians."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--width", type=int, default=50)
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    times: dict[int, list[float]] = {1: [], 2: []}
    msd: dict[int, float] = {}
    with LocalSageMaker() as unresolved:
        session = unresolved.resolve()
        data = stage(session, arguments.rows, arguments.width)
        for _ in range(arguments.repeats):
            for hosts, seconds in times.items():
                took, found = run(session, data, arguments.width, arguments.steps, hosts)
                seconds.append(took)
                msd[hosts] = found["train:msd"]
                print(f"  {hosts} host(s): {took:6.2f} s, {found['train:iterations']:.0f} steps", flush=True)
    one, two = (statistics.median(times[hosts]) for hosts in (1, 2))
    print(f"K-means, {arguments.rows} x {arguments.width}, k=10, {arguments.steps} steps, a thread per host")
    print(f"  one host on one core     {one:6.2f} s   mean squared distance {msd[1]:.6g}")
    print(f"  two hosts on two cores   {two:6.2f} s   mean squared distance {msd[2]:.6g}")
    print(f"  two hosts are {one / two:.2f} times as fast (target: more than 1)")


if __name__ == "__main__":
    main()
