"""Built-in algorithms on several hosts, by pipe and on spot instances, through boto3; the service's time is fast."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from scipy.stats import spearmanr

from sagespark.algorithms.random_cuts import Forest
from sagespark.algorithms.registry import image_uri
from sagespark.codecs import ndarray
from sagespark.codecs.registry import codec
from sagespark.core.clock import SystemClock
from sagespark.core.errors import SageSparkError
from sagespark.local.config import ServiceInfo
from sagespark.local.containers.knn_model import Neighbours
from sagespark.local.process import tell_job
from support.local_service import ServiceProcess

pytestmark = pytest.mark.wire

REGION = "us-east-1"
INFO = ServiceInfo("")
RECORDIO = "application/x-recordio-protobuf"
GROUP = "/aws/sagemaker/TrainingJobs"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServiceProcess]:
    process = ServiceProcess(tmp_path_factory.mktemp("hosts") / "data", "--time-scale", "20").start()
    yield process
    process.stop()


@pytest.fixture(scope="module")
def rows(server: ServiceProcess) -> Any:
    """Three clouds in four shards, and a fifth shard elsewhere that holds a NaN."""
    made = np.random.default_rng(0).normal(size=(1200, 4)).astype(np.float32)
    made += np.repeat([[0.0], [9.0], [30.0]], 400, axis=0).astype(np.float32)
    s3 = server.client("s3")
    shuffled = np.random.default_rng(1).permutation(made)
    for name, part in zip("abcd", np.split(shuffled, 4), strict=True):
        body = bytes(codec(RECORDIO).encode(part))
        s3.put_object(Bucket=INFO.bucket, Key=f"good/{name}", Body=body)
        s3.put_object(Bucket=INFO.bucket, Key=f"bad/{name}", Body=body)
        labelled = codec(RECORDIO).encode(part, (part[:, 0] > 4.5).astype(np.float32))
        s3.put_object(Bucket=INFO.bucket, Key=f"labelled/{name}", Body=bytes(labelled))
    s3.put_object(Bucket=INFO.bucket, Key="bad/e", Body=bytes(codec(RECORDIO).encode(np.full((1, 4), np.nan, "f4"))))
    return shuffled


def run(server: ServiceProcess, name: str, algorithm: str, prefix: str = "good/", **members: Any) -> dict[str, Any]:
    """Run a job on two hosts and return its description once it has ended."""
    create(server, name, algorithm, prefix, **members)
    return ended(server, name)


def create(server: ServiceProcess, name: str, algorithm: str, prefix: str, **members: Any) -> None:
    source = {
        "S3DataType": "S3Prefix",
        "S3Uri": f"s3://{INFO.bucket}/{prefix}",
        "S3DataDistributionType": "ShardedByS3Key",
    }
    own = {
        "kmeans": {"k": "3"},
        "pca": {"num_components": "2", "mini_batch_size": "100"},
        "knn": {"k": "5", "predictor_type": "classifier", "sample_size": "1200"},
        "factorization-machines": {
            "num_factors": "2",
            "predictor_type": "binary_classifier",
            "epochs": "20",
            "linear_lr": "0.1",
            "mini_batch_size": "100",
        },
        "randomcutforest": {"num_trees": "60", "num_samples_per_tree": "64"},
    }[algorithm]
    request = {
        "TrainingJobName": name,
        "AlgorithmSpecification": {"TrainingImage": image_uri(algorithm, REGION), "TrainingInputMode": "File"},
        "RoleArn": INFO.role,
        "HyperParameters": {"feature_dim": "4", **own},
        "InputDataConfig": [{"ChannelName": "train", "ContentType": RECORDIO, "DataSource": {"S3DataSource": source}}],
        "OutputDataConfig": {"S3OutputPath": f"s3://{INFO.bucket}/out"},
        "ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 2, "VolumeSizeInGB": 1},
        "StoppingCondition": {"MaxRuntimeInSeconds": 36000},
        "Environment": {"SAGESPARK_THREADS": "1", "SAGESPARK_SEED": "3"},
    }
    server.client("sagemaker").create_training_job(**(request | members))


def ended(server: ServiceProcess, name: str) -> dict[str, Any]:
    return wait(server, name, "Completed", "Failed", "Stopped")


def wait(server: ServiceProcess, name: str, *statuses: str) -> dict[str, Any]:
    client, clock = server.client("sagemaker"), SystemClock()
    deadline = clock.monotonic() + 120
    while clock.monotonic() < deadline:
        found: dict[str, Any] = client.describe_training_job(TrainingJobName=name)
        if {found["TrainingJobStatus"], found["SecondaryStatus"]} & set(statuses):
            return found
        clock.sleep(0.1)
    raise AssertionError(found)


def model(server: ServiceProcess, described: dict[str, Any]) -> Any:
    key = described["ModelArtifacts"]["S3ModelArtifacts"].removeprefix(f"s3://{INFO.bucket}/")
    body = server.client("s3").get_object(Bucket=INFO.bucket, Key=key)["Body"].read()
    with tarfile.open(fileobj=io.BytesIO(body)) as archive:
        assert archive.getnames() == ["model_algo-1"]
        return ndarray.load(archive.extractfile("model_algo-1").read())  # type: ignore[union-attr]  # a plain file


def test_kmeans_trains_on_the_rows_of_both_hosts(server: ServiceProcess, rows: Any) -> None:
    resources = {
        "InstanceType": "ml.m5.large",
        "InstanceCount": 2,
        "VolumeSizeInGB": 1,
        "KeepAlivePeriodInSeconds": 3600,
    }
    described = run(server, "kmeans", "kmeans", ResourceConfig=resources)
    assert described["WarmPoolStatus"]["Status"] == "Available"
    assert described["TrainingJobStatus"] == "Completed", described
    (centres,) = model(server, described)
    np.testing.assert_allclose(sorted(centres.mean(axis=1)), [0, 9, 30], atol=0.15)
    listed = server.client("sagemaker").list_training_jobs(WarmPoolStatusEquals="Available")["TrainingJobSummaries"]
    assert [(job["TrainingJobName"], job["WarmPoolStatus"]["Status"]) for job in listed] == [("kmeans", "Available")]
    metrics = {m["MetricName"]: m["Value"] for m in described["FinalMetricDataList"]}
    assert metrics["train:msd"] == pytest.approx(4, rel=0.1)
    logs = server.client("logs")
    streams = logs.describe_log_streams(logGroupName=GROUP, logStreamNamePrefix="kmeans/")["logStreams"]
    assert sorted(s["logStreamName"].rsplit("-", 1)[0] for s in streams) == ["kmeans/algo-1", "kmeans/algo-2"]
    events = logs.filter_log_events(logGroupName=GROUP, logStreamNamePrefix="kmeans/algo-2")["events"]
    assert any("Host 2 of 2 holds 600 rows" in event["message"] for event in events)


def test_pca_reads_pipes_on_both_hosts_and_finds_what_one_finds(server: ServiceProcess, rows: Any) -> None:
    specification = {"TrainingImage": image_uri("pca", REGION), "TrainingInputMode": "Pipe"}
    two = run(server, "pca-two", "pca", AlgorithmSpecification=specification)
    assert two["TrainingJobStatus"] == "Completed", two
    resources = {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 1}
    one = run(server, "pca-one", "pca", ResourceConfig=resources)
    found, wanted = model(server, two), model(server, one)
    for name in ("s", "v", "mean"):
        np.testing.assert_allclose(found[name], wanted[name], rtol=1e-5, atol=1e-6)
    singular = np.linalg.svd(rows - rows.mean(axis=0), compute_uv=False)[:2]
    np.testing.assert_allclose(found["s"][::-1], singular, rtol=1e-5)


def test_neighbours_of_both_hosts_are_those_of_one(server: ServiceProcess, rows: Any) -> None:
    one = {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 1}
    create(server, "knn-one", "knn", "labelled/", ResourceConfig=one)
    both = run(server, "knn-two", "knn", "labelled/")
    assert both["TrainingJobStatus"] == "Completed", both
    found, wanted = (Neighbours.of(model(server, job)) for job in (both, ended(server, "knn-one")))
    assert len(found.labels) == len(rows)
    np.testing.assert_array_equal(np.sort(found.index.points, axis=0), np.sort(rows, axis=0))
    told, expected = (each.predict(rows + 0.3) for each in (found, wanted))
    np.testing.assert_array_equal(told["predicted_label"], expected["predicted_label"])


def test_factorization_machines_train_on_the_rows_of_both_hosts(server: ServiceProcess, rows: Any) -> None:
    described = run(server, "fm-two", "factorization-machines", "labelled/")
    assert described["TrainingJobStatus"] == "Completed", described
    found = {metric["MetricName"]: metric["Value"] for metric in described["FinalMetricDataList"]}
    assert found["train:binary_classification_accuracy:epoch"] > 0.8
    events = server.client("logs").filter_log_events(logGroupName=GROUP, logStreamNamePrefix="fm-two/algo-2")["events"]
    assert not any("#quality_metric" in event["message"] for event in events)


def test_a_forest_of_both_hosts_scores_as_that_of_one(server: ServiceProcess, rows: Any) -> None:
    """Trees of other rows: the ranks of the scores are alike, and the same rows stand out."""
    one = {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 1}
    create(server, "rcf-one", "randomcutforest", "good/", ResourceConfig=one)
    both = run(server, "rcf-two", "randomcutforest")
    assert both["TrainingJobStatus"] == "Completed", both
    probe = np.concatenate([rows[:200], np.full((5, 4), 60, np.float32)])
    found, wanted = (Forest.of(model(server, job)).scores(probe) for job in (both, ended(server, "rcf-one")))
    assert spearmanr(found, wanted)[0] > 0.8
    assert set(np.argsort(found)[-5:]) == set(np.argsort(wanted)[-5:]) == set(range(200, 205))


def test_one_hosts_bad_rows_fail_the_job_with_its_reason(server: ServiceProcess, rows: Any) -> None:
    described = run(server, "bad", "kmeans", "bad/")
    assert described["TrainingJobStatus"] == "Failed"
    assert "file 'e'" in described["FailureReason"]
    assert described["FailureReason"].startswith("ClientError: channel 'train'")


def test_a_spot_job_is_interrupted_and_goes_on_and_can_be_stopped(server: ServiceProcess, rows: Any) -> None:
    with pytest.raises(SageSparkError, match="there is no training job 'spot' in region us-east-1"):
        tell_job(server.url, "spot", "interrupt")
    with pytest.raises(SageSparkError, match="seconds must be a number"):
        tell_job(server.url, "spot", "interrupt", seconds="soon")
    endless = {"k": "3", "feature_dim": "4", "extra_center_factor": "4", "epochs": "100000000", "mini_batch_size": "12"}
    create(
        server,
        "spot",
        "kmeans",
        "good/",
        HyperParameters=endless,
        EnableManagedSpotTraining=True,
        StoppingCondition={"MaxRuntimeInSeconds": 36000, "MaxWaitTimeInSeconds": 72000},
    )
    wait(server, "spot", "Training")
    assert tell_job(server.url, "spot", "interrupt", seconds="20") == "Training job spot was told."
    wait(server, "spot", "Interrupted")
    wait(server, "spot", "Training")
    server.client("sagemaker").stop_training_job(TrainingJobName="spot")
    described = ended(server, "spot")
    statuses = [t["Status"] for t in described["SecondaryStatusTransitions"]]
    assert statuses[:7] == ["Starting", "Downloading", "Training", "Interrupted", "Starting", "Downloading", "Training"]
    assert (statuses[7], statuses[-1]) == ("Stopping", "Stopped")
    assert described["BillableTimeInSeconds"] <= described["TrainingTimeInSeconds"] - 20
