"""CreateTrainingJob and its family as operations: what is refused, described, listed, updated, deleted."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sagespark.algorithms.registry import image_uri
from sagespark.local.containers.images import resolve
from sagespark.local.services.training_checks import problems
from sagespark.local.services.training_jobs import TrainingJobs
from sagespark.local.wire.context import AwsError
from support.training import BUCKET, REGION, ROLE, Bench, channel, ctx, job

ARN = f"arn:aws:sagemaker:{REGION}:123456789012:training-job/"


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path, {"wait": "echo running; exec sleep 600"})
    yield made
    made.close()


@pytest.fixture
def jobs(bench: Bench) -> TrainingJobs:
    return bench.jobs


def refused(call: Any, request: dict[str, Any]) -> AwsError:
    with pytest.raises(AwsError) as error:
        call(ctx(), request)
    return error.value


def test_describe_echoes_the_request_and_fills_in_awss_defaults(bench: Bench) -> None:
    request = job(
        "Job-1",
        HyperParameters={"k": "2"},
        InputDataConfig=[channel("train", bench.put("d/a"))],
        Environment={"A": "b"},
        VpcConfig={"SecurityGroupIds": ["sg-1"], "Subnets": ["subnet-1"]},
        Tags=[{"Key": "a", "Value": "b"}],
    )
    answer = bench.jobs.CreateTrainingJob(ctx(), request)
    assert answer == {"TrainingJobArn": ARN + "Job-1"}
    document = bench.jobs.DescribeTrainingJob(ctx(), {"TrainingJobName": "Job-1"})
    for member in (
        "HyperParameters",
        "AlgorithmSpecification",
        "RoleArn",
        "ResourceConfig",
        "VpcConfig",
        "Environment",
    ):
        assert document[member] == request[member]
    assert document["OutputDataConfig"] == {
        "KmsKeyId": "",
        "CompressionType": "GZIP",
        "S3OutputPath": f"s3://{BUCKET}/out/",
    }
    (train,) = document["InputDataConfig"]
    assert (train["CompressionType"], train["RecordWrapperType"]) == ("None", "None")
    assert train["DataSource"]["S3DataSource"]["S3DataDistributionType"] == "FullyReplicated"
    assert document["EnableManagedSpotTraining"] is False
    assert "Tags" not in document


def test_a_name_is_taken_once_per_region(bench: Bench) -> None:
    bench.run("j")
    error = refused(bench.jobs.CreateTrainingJob, job("j"))
    assert error.code == "ResourceInUse"
    assert error.message == (
        "Training job names must be unique within an AWS account and region, "
        f"and a training job with this name already exists ({ARN}j)"
    )
    assert bench.jobs.CreateTrainingJob(ctx("us-west-2"), job("j"))


@pytest.mark.parametrize("operation", ["Describe", "Stop", "Update", "Delete"])
def test_a_missing_job_is_told_in_awss_words(jobs: TrainingJobs, operation: str) -> None:
    error = refused(getattr(jobs, f"{operation}TrainingJob"), {"TrainingJobName": "none"})
    assert (error.code, error.message) == ("ValidationException", "Requested resource not found.")


def test_an_ended_job_is_neither_stopped_nor_updated(bench: Bench) -> None:
    bench.run("j")
    for call in (bench.jobs.StopTrainingJob, bench.jobs.UpdateTrainingJob):
        error = refused(call, {"TrainingJobName": "j"})
        assert error.code == "ValidationException"
        assert error.message == "The request was rejected because the training job is in status Completed."


def test_only_an_ended_job_is_deleted_and_its_name_is_free_again(bench: Bench) -> None:
    bench.jobs.CreateTrainingJob(ctx(), job("j", "wait", Tags=[{"Key": "a", "Value": "b"}]))
    error = refused(bench.jobs.DeleteTrainingJob, {"TrainingJobName": "j"})
    assert (error.code, "InProgress" in error.message) == ("ResourceInUse", True)
    bench.jobs.StopTrainingJob(ctx(), {"TrainingJobName": "j"})
    bench.store.wait("j", "Stopped")
    assert bench.jobs.DeleteTrainingJob(ctx(), {"TrainingJobName": "j"}) == {}
    refused(bench.jobs.DescribeTrainingJob, {"TrainingJobName": "j"})
    bench.run("j")
    assert bench.tags.ListTags(ctx(), {"ResourceArn": ARN + "j"})["Tags"] == []


def test_update_changes_what_aws_lets_change(bench: Bench) -> None:
    bench.jobs.CreateTrainingJob(ctx(), job("j", "wait"))
    answer = bench.jobs.UpdateTrainingJob(
        ctx(),
        {
            "TrainingJobName": "j",
            "ResourceConfig": {"KeepAlivePeriodInSeconds": 60},
            "ProfilerConfig": {"DisableProfiler": True},
        },
    )
    assert answer == {"TrainingJobArn": ARN + "j"}
    document = bench.jobs.DescribeTrainingJob(ctx(), {"TrainingJobName": "j"})
    assert document["ResourceConfig"] == job("j")["ResourceConfig"] | {"KeepAlivePeriodInSeconds": 60}
    assert document["ProfilerConfig"] == {"DisableProfiler": True}


def test_list_filters_sorts_and_pages(bench: Bench) -> None:
    names = ["alpha", "beta", "Alphabet", "gamma"]
    documents = {name: bench.run(name) for name in names}
    bench.jobs.CreateTrainingJob(ctx(), job("waiting", "wait"))

    def listed(**request: Any) -> list[str]:
        answer = bench.jobs.ListTrainingJobs(ctx(), request)
        return [summary["TrainingJobName"] for summary in answer["TrainingJobSummaries"]]

    assert listed() == [*names, "waiting"]
    assert listed(SortOrder="Descending") == ["waiting", *names[::-1]]
    assert listed(SortBy="Name") == ["Alphabet", "alpha", "beta", "gamma", "waiting"]
    assert listed(SortBy="Status", SortOrder="Descending")[0] == "waiting"
    assert listed(NameContains="ALPHA") == ["alpha", "Alphabet"]
    assert listed(StatusEquals="InProgress") == ["waiting"]
    created = documents["beta"]["CreationTime"]
    assert listed(CreationTimeAfter=created, StatusEquals="Completed") == ["beta", "Alphabet", "gamma"]
    assert listed(CreationTimeBefore=created) == ["alpha", "beta"]
    assert listed(LastModifiedTimeBefore=documents["alpha"]["LastModifiedTime"]) == ["alpha"]
    assert listed(WarmPoolStatusEquals="Available") == []
    first = bench.jobs.ListTrainingJobs(ctx(), {"MaxResults": 2, "SortBy": "Name"})
    assert len(first["TrainingJobSummaries"]) == 2
    bench.run("aaa")
    # A job that came before the page's place is not shown, and none is shown twice.
    assert listed(MaxResults=100, SortBy="Name", NextToken=first["NextToken"]) == ["beta", "gamma", "waiting"]
    error = refused(
        bench.jobs.ListTrainingJobs, {"SortBy": "Name", "NameContains": "x", "NextToken": first["NextToken"]}
    )
    assert "pagination token" in error.message
    refused(bench.jobs.ListTrainingJobs, {"NextToken": "garbage"})
    summary = bench.jobs.ListTrainingJobs(ctx(), {"NameContains": "beta"})["TrainingJobSummaries"][0]
    assert summary["TrainingEndTime"] == documents["beta"]["TrainingEndTime"]


KMEANS = {"TrainingImage": image_uri("kmeans", REGION), "TrainingInputMode": "File"}


@pytest.mark.parametrize(
    ("members", "words"),
    [
        ({"AlgorithmSpecification": {"TrainingInputMode": "File"}}, "must have a TrainingImage"),
        (
            {"AlgorithmSpecification": {"TrainingInputMode": "File", "AlgorithmName": "x"}},
            'Could not find algorithm "x"',
        ),
        ({"AlgorithmSpecification": {**KMEANS, "AlgorithmName": "x"}}, "not both"),
        ({"AlgorithmSpecification": {**KMEANS, "TrainingImage": "busybox"}}, "Requested image busybox not found"),
        ({"AlgorithmSpecification": {**KMEANS, "TrainingImage": "busybox"}}, "it runs the built-in algorithms"),
        (
            {"AlgorithmSpecification": {**KMEANS, "MetricDefinitions": [{"Name": "a", "Regex": "a=(.*)"}]}},
            "You can't override the metric definitions for Amazon SageMaker algorithms",
        ),
        ({"AlgorithmSpecification": {**KMEANS, "MetricDefinitions": [{"Name": "a", "Regex": "("}]}}, "is invalid"),
        ({"AlgorithmSpecification": {**KMEANS, "MetricDefinitions": [{"Name": "a", "Regex": "a"}]}}, "has no group"),
        ({"HyperParameters": {f"h{i}": "" for i in range(101)}}, "at most 100 hyperparameters"),
        ({"InputDataConfig": [channel("a", "s3://bench/x")] * 2}, "must be unique"),
        (
            {"InputDataConfig": [channel("a", "s3://bench/x"), channel("a-manifest", "s3://bench/x")]},
            "exclude each other",
        ),
        ({"InputDataConfig": [channel("..", "s3://bench/x")]}, "cannot be a folder's"),
        ({"InputDataConfig": [channel("a", "s3://bench/x", CompressionType="Gzip")]}, "is for input mode Pipe only"),
        ({"InputDataConfig": [channel("a", "s3://bench/x", RecordWrapperType="RecordIO")]}, "for input mode Pipe only"),
        ({"InputDataConfig": [channel("a", "https://bench/x")]}, "s3:// locations only"),
        ({"InputDataConfig": [channel("a", "s3://Bench_/x")]}, "not an S3 bucket name"),
        ({"InputDataConfig": [channel("a", "s3://bench/x", "AugmentedManifestFile")]}, "AugmentedManifestFile"),
        (
            {"InputDataConfig": [{"ChannelName": "a", "DataSource": {"FileSystemDataSource": {}}}]},
            "FileSystemDataSource",
        ),
        ({"OutputDataConfig": {"S3OutputPath": "s3://bench//x"}}, "must not begin with '/'"),
        ({"ResourceConfig": {"InstanceType": "ml.m5.large"}}, "must have InstanceCount"),
        ({"ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 0}}, "at least one instance"),
        (
            {
                "ResourceConfig": {
                    "InstanceCount": 1,
                    "InstanceGroups": [{"InstanceGroupName": "g", "InstanceType": "ml.m5.large", "InstanceCount": 1}],
                }
            },
            "not both",
        ),
        (
            {"StoppingCondition": {"MaxRuntimeInSeconds": 9, "MaxWaitTimeInSeconds": 9}},
            "only if EnableManagedSpotTraining",
        ),
        ({"EnableManagedSpotTraining": True}, "Invalid MaxWaitTimeInSeconds"),
        (
            {"CheckpointConfig": {"S3Uri": "s3://bench/c", "LocalPath": "/opt/ml/model"}},
            "CheckpointConfig.LocalPath is",
        ),
        ({"CheckpointConfig": {"S3Uri": "s3://bench/c", "LocalPath": "/tmp/c"}}, "CheckpointConfig.LocalPath is"),
        ({"CheckpointConfig": {"S3Uri": "s3://Bench_/c"}}, "CheckpointConfig.S3Uri is"),
        ({"ServerlessJobConfig": {}}, "ServerlessJobConfig: the embedded service does not run it"),
        ({"Tags": [{"Key": "a", "Value": ""}, {"Key": "a", "Value": ""}]}, "Duplicate tag keys"),
        ({"Tags": [{"Key": "aws:a", "Value": ""}]}, "aws: prefixed tag key names are not allowed"),
    ],
)
def test_what_the_model_cannot_refuse_is_refused_before_anything_exists(members: dict[str, Any], words: str) -> None:
    request = job("j") | {"AlgorithmSpecification": KMEANS} | members
    assert any(words in problem for problem in problems(request, resolve)), problems(request, resolve)


def test_a_good_request_has_no_problem() -> None:
    request = job("j") | {
        "AlgorithmSpecification": KMEANS,
        "InputDataConfig": [channel("train", "s3://bench/x"), channel("test", "s3://bench/y", "ManifestFile")],
        "EnableManagedSpotTraining": True,
        "StoppingCondition": {"MaxRuntimeInSeconds": 9, "MaxWaitTimeInSeconds": 9},
        "Tags": [{"Key": f"k{i}", "Value": ""} for i in range(50)],
    }
    assert problems(request, resolve) == []


def test_all_problems_are_told_together_and_nothing_is_created(bench: Bench) -> None:
    request = job("j", "absent", EnableManagedSpotTraining=True, RoleArn=ROLE, Tags=[{"Key": "aws:x", "Value": ""}])
    error = refused(bench.jobs.CreateTrainingJob, request)
    assert error.code == "ValidationException"
    for words in ("Requested image script/absent not found", "MaxWaitTimeInSeconds", "aws: prefixed"):
        assert words in error.message
    assert bench.store.list("TrainingJob") == []
