"""The quickstart as its users run it: a script, a spark-submit job, a notebook."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

ROOT = Path(__file__).parents[2]
JOB = ROOT / "jobs" / "quickstart.py"
pytestmark = pytest.mark.spark


def run(command: list[str], **environment: str) -> str:
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        env={**os.environ, "PYSPARK_PYTHON": sys.executable, **environment},
        timeout=300,
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return done.stdout


def assert_is_whole(output: str) -> None:
    assert re.search(r"\|digit\|prediction\|distance_to_cluster\|", output)
    silhouette = float(re.search(r"Silhouette .*?(\d\.\d{4})", output)[1])
    ours = float(re.search(r"Adjusted Rand .*?(\d\.\d{4})", output)[1])
    alone = float(re.search(r"scikit-learn's KMeans alone.*?(\d\.\d{4})", output)[1])
    assert silhouette > 0.2
    assert ours > 0.5
    # One partition, one seed, the same rows in the same order: the same clusters.
    assert ours == alone
    assert "Endpoint " in output
    assert "Left after model.delete(): " in output
    assert not re.search(r"Left after.*Endpoint", output)
    assert "Time by stage" in output


def test_the_script_runs_on_the_embedded_service() -> None:
    output = run([sys.executable, str(JOB)])
    assert output.splitlines()[0] == "Service: embedded"
    assert_is_whole(output)


def test_spark_submit_runs_it_against_a_service_that_stays_up(service) -> None:
    output = run(
        [str(Path(sys.executable).parent / "spark-submit"), "--master", "local[2]", str(JOB), "--service", "aws"],
        AWS_ENDPOINT_URL=service.endpointUrl,
        AWS_ACCESS_KEY_ID=service.accessKeyId,
        AWS_SECRET_ACCESS_KEY=service.secretAccessKey,
        AWS_REGION=service.region,
        SAGESPARK_ROLE=service.role,
        SAGESPARK_BUCKET=service.bucket,
    )
    assert "Service: aws" in output
    assert_is_whole(output)
    sagemaker = service.client("sagemaker")
    assert sagemaker.list_training_jobs(NameContains="kmeans")["TrainingJobSummaries"]


def test_the_notebook_runs_and_its_outputs_are_kept(tmp_path: Path) -> None:
    path = ROOT / "notebooks" / "quickstart.ipynb"
    kept = nbformat.read(path, as_version=4)
    code = [c for c in kept.cells if c.cell_type == "code"]
    assert [c.execution_count for c in code] == list(range(1, len(code) + 1))
    assert any("image/png" in o.get("data", {}) for c in code for o in c.outputs)
    output = run([sys.executable, str(ROOT / "notebooks" / "run.py"), str(path)])
    assert output.strip() == f"quickstart.ipynb: {len(code)} cells ran"
