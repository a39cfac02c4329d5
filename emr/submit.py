"""Upload the bundle and run a job as a step of an EMR cluster, new or running.

::

    make emr-bundle
    python emr/submit.py --bucket my-bucket --role arn:aws:iam::111122223333:role/SageMaker
    python emr/submit.py --bucket my-bucket --role arn:... --cluster-id j-1ABCDEFGHIJKL

The first makes a cluster that ends after the step; the second adds the step to one that was bootstrapped before.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import boto3

HERE = Path(__file__).resolve().parent
PREFIX = "/opt/sagespark"


def bundle(folder: Path) -> tuple[Path, Path, Path]:
    """Return wheel, jobs archive and bootstrap script, or exit with the way to build them."""
    wheels = sorted(folder.glob("sagespark-*.whl"))
    jobs = folder / "jobs.zip"
    if not wheels or not jobs.exists():
        raise SystemExit(f"no bundle in {folder}: run `make emr-bundle` first")
    return wheels[-1], jobs, HERE / "bootstrap.sh"


def upload(s3: Any, files: tuple[Path, ...], bucket: str, prefix: str) -> list[str]:
    """Upload the files and return their S3 URIs, in order."""
    uris = []
    for path in files:
        key = f"{prefix.strip('/')}/{path.name}"
        s3.upload_file(str(path), bucket, key)
        uris.append(f"s3://{bucket}/{key}")
    return uris


def step(job: str, role: str, bucket: str, prefix: str, arguments: list[str]) -> dict[str, Any]:
    """Return the EMR step that runs ``jobs/<job>`` with spark-submit."""
    return {
        "Name": f"sagespark {job}",
        "ActionOnFailure": "CONTINUE",
        "HadoopJarStep": {
            "Jar": "command-runner.jar",
            "Args": [
                "spark-submit",
                "--conf",
                f"spark.pyspark.python={prefix}/bin/python",
                "--conf",
                f"spark.sagespark.role={role}",
                "--conf",
                f"spark.sagespark.bucket={bucket}",
                f"{prefix}/jobs/{job}",
                *arguments,
            ],
        },
    }


def cluster(name: str, release: str, instance_type: str, bootstrap: list[str], logs: str) -> dict[str, Any]:
    """Return the request of a cluster of three nodes that ends after its steps."""
    return {
        "Name": name,
        "ReleaseLabel": release,
        "Applications": [{"Name": "Spark"}],
        "LogUri": logs,
        "Instances": {
            "InstanceGroups": [
                {"InstanceRole": "MASTER", "InstanceType": instance_type, "InstanceCount": 1},
                {"InstanceRole": "CORE", "InstanceType": instance_type, "InstanceCount": 2},
            ],
            "KeepJobFlowAliveWhenNoSteps": False,
        },
        "BootstrapActions": [
            {"Name": "sagespark", "ScriptBootstrapAction": {"Path": bootstrap[0], "Args": bootstrap[1:]}}
        ],
        "JobFlowRole": "EMR_EC2_DefaultRole",
        "ServiceRole": "EMR_DefaultRole",
        "VisibleToAllUsers": True,
    }


def main(arguments: list[str] | None = None) -> tuple[str, str]:
    """Upload, submit, print and return the ids of cluster and step."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--bucket", required=True, help="bucket for the bundle, the cluster's logs and the job's data")
    parser.add_argument("--role", required=True, help="ARN of the role that SageMaker runs as")
    parser.add_argument("--prefix", default="sagespark/emr", help="S3 prefix of bundle and logs (default: %(default)s)")
    parser.add_argument("--cluster-id", help="a running cluster, bootstrapped already; without it one is made")
    parser.add_argument("--release", default="emr-7.9.0", help="EMR release of a new cluster (default: %(default)s)")
    parser.add_argument("--instance-type", default="m5.xlarge")
    parser.add_argument("--region", help="AWS region (default: boto3's)")
    parser.add_argument("--dist", type=Path, default=HERE.parent / "dist", help="folder of `make emr-bundle`")
    parser.add_argument("--job", default="quickstart.py")
    parser.add_argument(
        "job_arguments", nargs="*", default=["--service", "aws"], help="after --: the job's own arguments"
    )
    given = parser.parse_args(arguments)

    wheel, jobs, bootstrap = bundle(given.dist)
    s3 = boto3.client("s3", region_name=given.region)
    wheel_uri, jobs_uri, bootstrap_uri = upload(s3, (wheel, jobs, bootstrap), given.bucket, given.prefix)
    emr = boto3.client("emr", region_name=given.region)
    if given.cluster_id:
        cluster_id = str(given.cluster_id)
    else:
        logs = f"s3://{given.bucket}/{given.prefix.strip('/')}/logs/"
        request = cluster(
            "sagespark", given.release, given.instance_type, [bootstrap_uri, wheel_uri, jobs_uri, PREFIX], logs
        )
        cluster_id = str(emr.run_job_flow(**request)["JobFlowId"])
    work = step(given.job, given.role, given.bucket, PREFIX, given.job_arguments)
    step_id = str(emr.add_job_flow_steps(JobFlowId=cluster_id, Steps=[work])["StepIds"][0])
    print(f"cluster {cluster_id}, step {step_id}")
    return cluster_id, step_id


if __name__ == "__main__":
    main()
