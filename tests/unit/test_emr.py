"""The EMR script asks for what a reader of its documentation expects; moto's EMR is the other side."""

from __future__ import annotations

import importlib.util
import os
import subprocess
from pathlib import Path
from types import ModuleType

import boto3
import pytest
from moto import mock_aws

ROOT = Path(__file__).parents[2]
ROLE = "arn:aws:iam::123456789012:role/sagespark"


@pytest.fixture
def submit() -> ModuleType:
    spec = importlib.util.spec_from_file_location("emr_submit", ROOT / "emr" / "submit.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def dist(tmp_path: Path) -> Path:
    (tmp_path / "sagespark-0.1.0-py3-none-any.whl").write_bytes(b"wheel")
    (tmp_path / "jobs.zip").write_bytes(b"zip")
    return tmp_path


@pytest.fixture(autouse=True)
def account(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")


@mock_aws
def test_a_new_cluster_is_bootstrapped_and_runs_the_step(submit: ModuleType, dist: Path) -> None:
    s3 = boto3.client("s3")
    s3.create_bucket(Bucket="bundle")
    cluster_id, step_id = submit.main(["--bucket", "bundle", "--role", ROLE, "--dist", str(dist)])

    emr = boto3.client("emr")
    cluster = emr.describe_cluster(ClusterId=cluster_id)["Cluster"]
    assert cluster["ReleaseLabel"] == "emr-7.9.0"
    assert [a["Name"] for a in cluster["Applications"]] == ["Spark"]
    action = emr.list_bootstrap_actions(ClusterId=cluster_id)["BootstrapActions"][0]
    assert action["ScriptPath"] == "s3://bundle/sagespark/emr/bootstrap.sh"
    assert action["Args"] == [
        "s3://bundle/sagespark/emr/sagespark-0.1.0-py3-none-any.whl",
        "s3://bundle/sagespark/emr/jobs.zip",
        "/opt/sagespark",
    ]
    script = s3.get_object(Bucket="bundle", Key="sagespark/emr/bootstrap.sh")["Body"].read()
    assert script == (ROOT / "emr" / "bootstrap.sh").read_bytes()
    step = emr.describe_step(ClusterId=cluster_id, StepId=step_id)["Step"]
    assert step["Config"]["Jar"] == "command-runner.jar"
    assert step["Config"]["Args"] == [
        "spark-submit",
        "--conf",
        "spark.pyspark.python=/opt/sagespark/bin/python",
        "--conf",
        f"spark.sagespark.role={ROLE}",
        "--conf",
        "spark.sagespark.bucket=bundle",
        "/opt/sagespark/jobs/quickstart.py",
        "--service",
        "aws",
    ]


@mock_aws
def test_a_running_cluster_gets_a_step(submit: ModuleType, dist: Path) -> None:
    boto3.client("s3").create_bucket(Bucket="bundle")
    first, _ = submit.main(["--bucket", "bundle", "--role", ROLE, "--dist", str(dist)])
    again, step_id = submit.main(
        ["--bucket", "bundle", "--role", ROLE, "--dist", str(dist), "--cluster-id", first, "--", "--service", "aws"]
    )
    assert again == first
    steps = boto3.client("emr").list_steps(ClusterId=first)["Steps"]
    assert step_id in {s["Id"] for s in steps}
    assert len(boto3.client("emr").list_clusters()["Clusters"]) == 1


def test_a_missing_bundle_names_the_way_out(submit: ModuleType, tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="make emr-bundle"):
        submit.main(["--bucket", "bundle", "--role", ROLE, "--dist", str(tmp_path)])


def test_the_bootstrap_script_says_how_it_is_called() -> None:
    script = ROOT / "emr" / "bootstrap.sh"
    assert os.access(script, os.X_OK)
    done = subprocess.run([script, "only-one"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr == "usage: bootstrap.sh WHEEL JOBS_ZIP [PREFIX]\n"
