"""An image of one's own with everything that the generic estimator takes, and algorithms on several instances."""

from __future__ import annotations

import io
import json
import sys
import tarfile
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from pyspark.ml.linalg import Vectors

from sagespark import LocalSageMaker
from sagespark.aws import s3
from sagespark.aws.training_job import TrainingJob
from sagespark.core.errors import JobFailedError
from sagespark.core.s3uri import S3Uri
from sagespark.local.containers.own_images import FILE_NAME, OwnImages
from sagespark.ml import Deserializer, SageMakerEstimator, Serializer, TrainingInput
from sagespark.ml.clustering import KMeans
from sagespark.ml.feature import PCA
from sagespark.ml.listeners import Listener
from sagespark.ml.progress import ProgressListener

pytestmark = pytest.mark.spark

QUIET = [ProgressListener("off")]
# Adds up the rows of its share, a line `x1;x2;...;label` each, as they come by pipe; knows how to fail and to resume.
TRAIN = r"""
import json, os, pathlib, signal, socket, sys, time
ml = pathlib.Path(os.environ.get("SAGEMAKER_BASE_DIR", "/opt/ml"))
read = lambda name: json.loads((ml / "input/config" / (name + ".json")).read_text())
hyperparameters, resources = read("hyperparameters"), read("resourceconfig")
mode = hyperparameters.get("mode", "sum")
if mode == "exit":
    print("about to fail"); sys.exit(3)
if mode == "silent":
    time.sleep(3600)
if mode == "resume":
    count = ml / "checkpoints/count"
    starts = int(count.read_text()) if count.exists() else 0
    count.write_text(str(starts + 1))
    print("start", starts + 1, flush=True)
    if starts == 0:
        signal.pause()
    (ml / "model/starts").write_text(str(starts + 1))
    sys.exit(0)
total, rows = 0.0, 0
for line in open(ml / "input/data/train_0"):
    *values, label = map(float, line.split(";"))
    total += sum(values) * label; rows += 1
print(f"rows={rows};", flush=True)
try:
    socket.create_connection(("127.0.0.1", int(hyperparameters["port"])), 2).close(); reach = "reached"
except OSError:
    reach = "refused"
host = resources["current_host"]
found = {"sum": total, "rows": rows, "service": reach, "key": os.environ.get("KEY")}
(ml / "model" / host).write_text(json.dumps(found))
"""
# Answers each line `x1,x2` with `x1+x2` twice, in a form that no codec knows.
SERVE = r"""
import os
from http.server import BaseHTTPRequestHandler, HTTPServer
class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.end_headers()
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        known = self.headers["Content-Type"] == "text/x-pairs" and self.headers["Accept"] == "text/x-sums"
        sums = [sum(map(float, line.split(","))) for line in body.splitlines()]
        answer = "|".join(f"{s}/{2 * s}" for s in sums).encode()
        self.send_response(200 if known else 415)
        self.send_header("Content-Type", "text/x-sums"); self.send_header("Content-Length", str(len(answer)))
        self.end_headers(); self.wfile.write(answer)
    def log_message(self, *_): pass
HTTPServer(("127.0.0.1", int(os.environ.get("SAGEMAKER_BIND_TO_PORT", 8080))), Handler).serve_forever()
"""


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalSageMaker]:
    root = tmp_path_factory.mktemp("lifecycle")
    folder = root / "programs"
    folder.mkdir()
    for name, text in (("train", TRAIN), ("serve", SERVE)):
        (folder / name).write_text(f"#!{sys.executable} -I\n{text}")
        (folder / name).chmod(0o755)
    (root / "data").mkdir()
    OwnImages(root / "data" / FILE_NAME).add("own:1", folder=folder)
    service = LocalSageMaker(root / "data", timeScale=120)
    service.start()
    yield service
    service.stop()


@pytest.fixture(scope="module")
def points(spark: Any) -> Any:
    rows = [(Vectors.dense([float(i), float(i % 7)]), float(i % 2), i) for i in range(40)]
    return spark.createDataFrame(rows, ["features", "label", "id"]).repartition(4).cache()


def estimator(**params: Any) -> SageMakerEstimator:
    return SageMakerEstimator(**{"imageUri": "own:1", "listeners": QUIET, "endpointPolicy": "never", **params})


def formats() -> tuple[Serializer, Serializer, Deserializer]:
    """Return formats of one's own; functions inside a function travel with Spark's tasks, which cannot import this."""

    def to_lines(batch: Any) -> str:
        return "".join(";".join(map(str, [*row["features"], row["label"]])) + "\n" for row in batch.to_pylist())

    def to_pairs(batch: Any) -> bytes:
        return "\n".join(",".join(map(str, row["features"])) for row in batch.to_pylist()).encode()

    def from_sums(body: bytes) -> dict[str, list[float]]:
        pairs = [pair.split("/") for pair in body.decode().split("|")]
        return {"sum": [float(one) for one, _ in pairs], "twice": [float(two) for _, two in pairs]}

    return (
        Serializer(to_lines, "text/x-lines"),
        Serializer(to_pairs, "text/x-pairs"),
        Deserializer(from_sums, "text/x-sums"),
    )


def objects(local: LocalSageMaker, model: Any) -> dict[str, Any]:
    """Return the JSON files of a model artifact."""
    with tarfile.open(fileobj=io.BytesIO(s3.read_bytes(local.session, S3Uri.parse(model.modelData)))) as archive:
        return {m.name: json.loads(archive.extractfile(m).read()) for m in archive}  # type: ignore[union-attr]  # files


def test_an_own_image_with_own_formats_by_compressed_pipes_on_two_isolated_hosts(
    local: LocalSageMaker, points: Any
) -> None:
    lines, pairs, sums = formats()
    model = estimator(
        labelCol="label",
        hyperparameters={"port": local.url.rpartition(":")[2]},
        contentType=lines,
        serializer=pairs,
        deserializer=sums,
        responseFields={"sum": "double", "twice": "double"},
        inputMode="Pipe",
        compression="Gzip",
        distribution="ShardedByS3Key",
        shuffleSeed=3,
        instanceCount=2,
        enableNetworkIsolation=True,
        environment={"KEY": "value"},
        metricDefinitions=[{"Name": "rows", "Regex": "rows=([0-9]+);"}],
        encryptInterContainerTraffic=True,
        maxRetryAttempts=2,
        tags={"project": "x"},
    ).fit(points)
    found = objects(local, model)
    expected = sum((i + i % 7) * (i % 2) for i in range(40))
    assert sum(part["sum"] for part in found.values()) == expected
    assert set(found) == {"algo-1", "algo-2"}
    assert sum(part["rows"] for part in found.values()) == 40
    assert all(part["rows"] for part in found.values())
    assert {part["key"] for part in found.values()} == {"value"}
    if "NAMESPACES ARE OFF" not in local.log.read_text():
        assert {part["service"] for part in found.values()} == {"refused"}
    job = TrainingJob(local.session, model.trainingJobName).describe()
    assert job["InputDataConfig"][0]["CompressionType"] == "Gzip"
    assert (job["EnableInterContainerTrafficEncryption"], job["EnableNetworkIsolation"]) == (True, True)
    assert job["RetryStrategy"] == {"MaximumRetryAttempts": 2}
    with model.deploy():
        answer = model.transform(points).orderBy("id").select("prediction", "twice").collect()
    assert [row.prediction for row in answer] == [i + i % 7 for i in range(40)]
    assert [row.twice for row in answer] == [2 * (i + i % 7) for i in range(40)]


class Interrupt(Listener):
    """Interrupt a job once, as soon as its program says that it runs."""

    wantsLog = True

    def __init__(self, local: LocalSageMaker) -> None:
        self._local = local
        self.done = False

    def onPoll(self, event: Any) -> None:
        if not self.done and "start 1" in event.logLines:
            self.done = True
            self._local.interrupt(event.name, seconds=30)


def test_a_spot_fit_is_interrupted_and_goes_on(local: LocalSageMaker) -> None:
    listener = Interrupt(local)
    uri = S3Uri(local.session.bucket, "given/x")
    s3.upload_bytes(local.session, uri, b"x")
    model = estimator(
        hyperparameters={"mode": "resume"},
        channels={"train": TrainingInput(str(uri), inputMode="FastFile")},
        listeners=[*QUIET, listener],
        useSpotInstances=True,
        maxRuntimeInSeconds=7200,
        maxWaitInSeconds=9000,
        checkpointS3Uri=f"s3://{local.session.bucket}/checkpoints/",
    ).fit()
    assert listener.done
    assert objects(local, model) == {"starts": 2}
    job = TrainingJob(local.session, model.trainingJobName).describe()
    statuses = [t["Status"] for t in job["SecondaryStatusTransitions"]]
    assert statuses.count("Interrupted") == 1
    assert job["BillableTimeInSeconds"] < job["TrainingTimeInSeconds"]


@pytest.mark.parametrize(
    ("params", "reason"),
    [
        ({"hyperparameters": {"mode": "exit"}}, "ended Failed: AlgorithmError: Exit Code: 3"),
        (
            {"hyperparameters": {"mode": "silent"}, "maxRuntimeInSeconds": 120},
            r"ended Stopped \(MaxRuntimeExceeded\)",
        ),
        ({"channels": {"train": "s3://absent-bucket/x/"}}, "ClientError: Data download failed:No S3 objects found"),
    ],
)
def test_a_job_that_fails_says_why(local: LocalSageMaker, params: dict[str, Any], reason: str) -> None:
    uri = S3Uri(local.session.bucket, "given/x")
    s3.upload_bytes(local.session, uri, b"x")
    with pytest.raises(JobFailedError, match=reason) as caught:
        estimator(**{"channels": {"train": str(uri)}, **params}).fit()
    if "Exit Code" in reason:
        assert "about to fail" in str(caught.value)


def test_kmeans_and_pca_on_two_instances_find_what_one_finds(local: LocalSageMaker, spark: Any) -> None:
    random = np.random.default_rng(0)
    rows = random.normal(size=(400, 3)) + np.repeat([[0.0], [8.0]], 200, axis=0)
    df = spark.createDataFrame([(Vectors.dense(row),) for row in rows], ["features"]).repartition(4).cache()
    common: dict[str, Any] = {"endpointPolicy": "never", "listeners": QUIET, "seed": 1}
    two = KMeans(k=2, instanceCount=2, **common).fit(df)
    centres = sorted(two.clusterCenters(), key=lambda c: c[0])
    np.testing.assert_allclose(centres, [rows[:200].mean(axis=0), rows[200:].mean(axis=0)], atol=1e-4)
    components = [
        PCA(k=2, inputCol="features", outputCol="out", instanceCount=count, **common).fit(df).pc.toArray()
        for count in (1, 2)
    ]
    np.testing.assert_allclose(components[1], components[0], atol=1e-6)
