"""Tuning jobs through boto3 alone, over training jobs that really train."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from botocore.exceptions import ClientError

from sagespark.algorithms.registry import image_uri
from sagespark.aws.session import SageMakerSession
from sagespark.aws.tuning_job import TuningJob, objective
from sagespark.codecs.registry import codec
from sagespark.core.clock import SystemClock
from sagespark.core.errors import JobFailedError, ResourceNotFoundError
from sagespark.local.config import ServiceInfo
from support.local_service import ServiceProcess

pytestmark = pytest.mark.wire

INFO = ServiceInfo("")
RECORDIO = "application/x-recordio-protobuf"


@pytest.fixture(scope="module")
def session(server: ServiceProcess) -> SageMakerSession:
    return SageMakerSession(
        role=INFO.role,
        bucket=INFO.bucket,
        region=INFO.region,
        endpointUrl=server.url,
        accessKeyId=INFO.access_key,
        secretAccessKey=INFO.secret_key,
    )


@pytest.fixture(scope="module")
def sagemaker(server: ServiceProcess) -> Any:
    return server.client("sagemaker")


def request(name: str, most: int = 4, **config: Any) -> dict[str, Any]:
    source = {"S3DataType": "S3Prefix", "S3Uri": f"s3://{INFO.bucket}/tuning/"}
    return {
        "HyperParameterTuningJobName": name,
        "HyperParameterTuningJobConfig": {
            "Strategy": "Random",
            "HyperParameterTuningJobObjective": {"Type": "Minimize", "MetricName": "train:msd"},
            "ResourceLimits": {"MaxNumberOfTrainingJobs": most, "MaxParallelTrainingJobs": 2},
            "ParameterRanges": {"IntegerParameterRanges": [{"Name": "k", "MinValue": "2", "MaxValue": "9"}]},
            "RandomSeed": 3,
            **config,
        },
        "TrainingJobDefinition": {
            "StaticHyperParameters": {"feature_dim": "3"},
            "AlgorithmSpecification": {"TrainingImage": image_uri("kmeans", "us-east-1"), "TrainingInputMode": "File"},
            "RoleArn": INFO.role,
            "InputDataConfig": [
                {"ChannelName": "train", "ContentType": RECORDIO, "DataSource": {"S3DataSource": source}}
            ],
            "OutputDataConfig": {"S3OutputPath": f"s3://{INFO.bucket}/out"},
            "ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 1},
            "StoppingCondition": {"MaxRuntimeInSeconds": 600},
        },
    }


@pytest.fixture(scope="module")
def tuned(session: SageMakerSession, s3: Any) -> TuningJob:
    """A tuning job that has ended."""
    rows = np.random.default_rng(0).normal(size=(40, 3)).astype(np.float32)
    s3.put_object(Bucket=INFO.bucket, Key="tuning/part", Body=bytes(codec(RECORDIO).encode(rows)))
    job = TuningJob.create(session, request("wire") | {"Tags": [{"Key": "team", "Value": "a"}]})
    job.wait(timeout=120)
    return job


def test_it_ends_with_counters_and_the_best_job(tuned: TuningJob) -> None:
    description = tuned.describe()
    assert description["HyperParameterTuningJobStatus"] == "Completed"
    assert description["TrainingJobStatusCounters"]["Completed"] == 4
    assert description["ObjectiveStatusCounters"] == {"Succeeded": 4, "Pending": 0, "Failed": 0}
    assert description["HyperParameterTuningEndTime"] >= description["CreationTime"]
    values = {t["TrainingJobName"]: objective(t) for t in tuned.trials()}
    best = description["BestTrainingJob"]
    assert objective(best) == min(v for v in values.values() if v is not None) == values[best["TrainingJobName"]]


def test_its_training_jobs_are_training_jobs(tuned: TuningJob, sagemaker: Any) -> None:
    trial = next(tuned.trials())
    job = sagemaker.describe_training_job(TrainingJobName=trial["TrainingJobName"])
    assert job["TuningJobArn"] == tuned.arn
    assert job["HyperParameters"] == trial["TunedHyperParameters"] | {
        "feature_dim": "3",
        "_tuning_objective_metric": "train:msd",
    }
    final = {m["MetricName"]: m["Value"] for m in job["FinalMetricDataList"]}
    assert final["train:msd"] == objective(trial)
    tags = {t["Key"]: t["Value"] for t in sagemaker.list_tags(ResourceArn=job["TrainingJobArn"])["Tags"]}
    assert tags["team"] == "a"


def test_lists_sort_filter_and_page(tuned: TuningJob, sagemaker: Any) -> None:
    name = {"HyperParameterTuningJobName": tuned.name}
    pages = sagemaker.get_paginator("list_training_jobs_for_hyper_parameter_tuning_job")
    order = {"SortBy": "FinalObjectiveMetricValue", "SortOrder": "Descending"}
    found = [
        t
        for page in pages.paginate(**name, **order, PaginationConfig={"PageSize": 3})
        for t in page["TrainingJobSummaries"]
    ]
    values = [objective(t) or 0.0 for t in found]
    assert len(values) == 4
    assert values == sorted(values, reverse=True)
    assert [t["TrainingJobName"][:8] for t in tuned.trials()] == [f"wire-{i:03d}" for i in range(1, 5)]
    assert list(tuned.trials(StatusEquals="Failed")) == []
    listed = sagemaker.list_hyper_parameter_tuning_jobs(StatusEquals="Completed", NameContains="wir")
    (row,) = listed["HyperParameterTuningJobSummaries"]
    assert (row["HyperParameterTuningJobName"], row["Strategy"]) == ("wire", "Random")
    assert row["ResourceLimits"] == {"MaxNumberOfTrainingJobs": 4, "MaxParallelTrainingJobs": 2}
    assert {"Key": "team", "Value": "a"} in sagemaker.list_tags(ResourceArn=tuned.arn)["Tags"]


def test_stopping_stops_its_training_jobs(tuned: TuningJob, session: SageMakerSession, sagemaker: Any) -> None:
    asked = request("stops", most=8)
    endless = {"extra_center_factor": "4", "epochs": "100000000", "mini_batch_size": "1"}
    asked["TrainingJobDefinition"]["StaticHyperParameters"] |= endless
    job = TuningJob.create(session, asked)
    while not list(job.trials()):
        session.clock.sleep(0.05)
    job.stop()
    with pytest.raises(JobFailedError, match="ended Stopped"):
        job.wait(timeout=60)
    assert {t["TrainingJobStatus"] for t in job.trials()} == {"Stopped"}
    job.stop()
    with pytest.raises(ClientError, match="in status Stopped"):
        sagemaker.stop_hyper_parameter_tuning_job(HyperParameterTuningJobName="stops")
    job.delete()
    assert not job.exists()
    job.delete()


def test_where_every_training_job_fails_the_error_shows_why(tuned: TuningJob, session: SageMakerSession) -> None:
    asked = request("fails", most=2)
    asked["TrainingJobDefinition"]["StaticHyperParameters"]["feature_dim"] = "5"
    with pytest.raises(JobFailedError, match="No training job succeeded after 2 attempts") as caught:
        TuningJob.create(session, asked).wait(timeout=60)
    assert "fails-001-" in str(caught.value)
    assert "feature_dim" in str(caught.value)


def test_what_is_wrong_is_told_by_code_and_text(tuned: TuningJob, session: SageMakerSession, sagemaker: Any) -> None:
    with pytest.raises(ResourceNotFoundError, match="can't find a tuning job with the name nobody"):
        TuningJob(session, "nobody").describe()
    with pytest.raises(ClientError, match="must be unique") as caught:
        sagemaker.create_hyper_parameter_tuning_job(**request("wire"))
    assert caught.value.response["Error"]["Code"] == "ResourceInUse"
    wrong = request("wrong", Strategy="Grid", ResourceLimits={"MaxParallelTrainingJobs": 1})
    with pytest.raises(ClientError, match="Grid search takes CategoricalParameterRanges only") as caught:
        sagemaker.create_hyper_parameter_tuning_job(**wrong)
    assert caught.value.response["Error"]["Code"] == "ValidationException"
    nameless = request("nameless") | {
        "WarmStartConfig": {"ParentHyperParameterTuningJobs": [{}], "WarmStartType": "TransferLearning"}
    }
    with pytest.raises(ClientError, match="HyperParameterTuningJobName is required in each of") as caught:
        sagemaker.create_hyper_parameter_tuning_job(**nameless)
    assert caught.value.response["Error"]["Code"] == "ValidationException"


def test_search_finds_it(tuned: TuningJob, sagemaker: Any) -> None:
    expression = {"Filters": [{"Name": "HyperParameterTuningJobStatus", "Value": "Completed"}]}
    found = sagemaker.search(Resource="HyperParameterTuningJob", SearchExpression=expression)["Results"]
    assert [r["HyperParameterTuningJob"]["HyperParameterTuningJobName"] for r in found] == ["wire"]


def test_its_time_runs_with_that_of_its_training_jobs(tmp_path: Path) -> None:
    with ServiceProcess(tmp_path / "data", "--time-scale", "600") as process:
        rows = np.zeros((9, 3), np.float32)
        process.client("s3").put_object(Bucket=INFO.bucket, Key="tuning/part", Body=bytes(codec(RECORDIO).encode(rows)))
        limits = {"MaxNumberOfTrainingJobs": 5, "MaxParallelTrainingJobs": 1, "MaxRuntimeInSeconds": 600}
        asked = request("late", ResourceLimits=limits)
        endless = {"extra_center_factor": "4", "epochs": "100000000", "mini_batch_size": "1"}
        asked["TrainingJobDefinition"]["StaticHyperParameters"] |= endless
        asked["TrainingJobDefinition"]["StoppingCondition"]["MaxRuntimeInSeconds"] = 864_000
        sagemaker = process.client("sagemaker")
        sagemaker.create_hyper_parameter_tuning_job(**asked)
        clock = SystemClock()
        deadline = clock.monotonic() + 300
        found: dict[str, Any] = {}
        while "HyperParameterTuningEndTime" not in found:
            assert clock.monotonic() < deadline, found
            clock.sleep(0.1)
            found = sagemaker.describe_hyper_parameter_tuning_job(HyperParameterTuningJobName="late")
    assert (found["HyperParameterTuningEndTime"] - found["CreationTime"]).total_seconds() >= 600
    # What it ended was still at its first training job, if that had begun at all.
    assert sum(found["TrainingJobStatusCounters"].values()) <= 1
    assert found["TrainingJobStatusCounters"]["Completed"] == 0
