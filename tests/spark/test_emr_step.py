"""The EMR step, really run: wheel and jobs archive built, bootstrapped under a moved prefix, submitted to Spark."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pyspark
import pytest

ROOT = Path(__file__).parents[2]
pytestmark = [pytest.mark.spark, pytest.mark.slow]


def call(command: list[str], **environment: str) -> str:
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, cwd=ROOT, env={**os.environ, **environment}, timeout=900
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return done.stdout


def test_the_step_runs_under_a_moved_prefix(tmp_path: Path, service) -> None:
    # The wheel is built as `make emr-bundle` builds it, into a folder of the test's own.
    dist, prefix = tmp_path / "dist", tmp_path / "opt" / "sagespark"
    call([sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(dist), "."])
    call([sys.executable, "-c", f"import shutil; shutil.make_archive(r'{dist}/jobs', 'zip', '.', 'jobs')"])
    (wheel,) = dist.glob("*.whl")

    # One file by S3, one by path: a bootstrap action arrives alone and takes both.
    service.client("s3").upload_file(str(dist / "jobs.zip"), service.bucket, "bundle/jobs.zip")
    account = {
        "AWS_ENDPOINT_URL": service.endpointUrl,
        "AWS_ACCESS_KEY_ID": service.accessKeyId,
        "AWS_SECRET_ACCESS_KEY": service.secretAccessKey,
        "AWS_REGION": service.region,
        "AWS_DEFAULT_REGION": service.region,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }
    script = tmp_path / "bootstrap.sh"
    script.write_bytes((ROOT / "emr" / "bootstrap.sh").read_bytes())
    script.chmod(0o755)
    said = call([str(script), str(wheel), f"s3://{service.bucket}/bundle/jobs.zip", str(prefix)], **account)
    assert said.startswith(f"sagespark 0.1.0 is ready in {prefix}")
    assert not (prefix / "lib" / "python3.11" / "site-packages" / "pyspark").exists()

    # The environment has no pyspark: spark-submit brings it from SPARK_HOME, as on EMR.
    environment = {k: v for k, v in account.items() if k != "PATH"}
    environment.update(
        SPARK_HOME=str(Path(pyspark.__file__).parent),
        SAGESPARK_ROLE=service.role,
        SAGESPARK_BUCKET=service.bucket,
        PYSPARK_PYTHON="",
        PYSPARK_DRIVER_PYTHON="",
    )
    output = call(
        [
            str(Path(sys.executable).parent / "spark-submit"),
            "--conf",
            f"spark.pyspark.python={prefix}/bin/python",
            f"{prefix}/jobs/quickstart.py",
            "--service",
            "aws",
        ],
        **environment,
    )
    assert "Service: aws" in output
    assert "Left after model.delete(): " in output
