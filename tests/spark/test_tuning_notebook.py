"""The notebook on model tuning runs as its users run it, and keeps the pictures that it draws."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

ROOT = Path(__file__).parents[2]
pytestmark = [pytest.mark.spark, pytest.mark.slow]


def test_it_runs_and_its_outputs_are_kept() -> None:
    path = ROOT / "notebooks" / "tuning.ipynb"
    code = [c for c in nbformat.read(path, as_version=4).cells if c.cell_type == "code"]
    assert [c.execution_count for c in code] == list(range(1, len(code) + 1))
    kinds = [kind for c in code for o in c.outputs for kind in o.get("data", {})]
    # The picture of one step, history, parallel coordinates, importances, surrogate, contour; and the animation.
    assert kinds.count("image/png") == 6
    assert kinds.count("text/html") == 1
    done = subprocess.run(
        [sys.executable, str(ROOT / "notebooks" / "run.py"), str(path)],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        env={**os.environ, "PYSPARK_PYTHON": sys.executable},
        timeout=900,
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    assert done.stdout.strip() == f"tuning.ipynb: {len(code)} cells ran"
