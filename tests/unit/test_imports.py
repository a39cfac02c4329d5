"""What an import brings along, each in a process of its own."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = ("pyspark", "sklearn", "mlflow", "uvicorn", "matplotlib", "pandas", "typer", "rich")


def loaded(module: str) -> set[str]:
    code = f"import sys, {module}; print(*{{name.partition('.')[0] for name in sys.modules}})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


@pytest.mark.parametrize(
    ("module", "also_not"),
    [
        ("sagespark", ("boto3", "numpy", "pyarrow", "scipy")),
        ("sagespark.core.errors", ("boto3", "numpy", "pyarrow")),
        ("sagespark.codecs", ("boto3", "scipy")),
        ("sagespark.bayesopt", ("boto3", "pyarrow")),
        ("sagespark.aws", ("numpy", "pyarrow")),
        ("sagespark.aws.session", ("numpy", "pyarrow")),
        ("sagespark.aws.cleanup", ("numpy", "pyarrow")),
        ("sagespark.aws.runtime", ("numpy", "pyarrow")),
        ("sagespark.embedded", ("numpy", "pyarrow")),
    ],
)
def test_an_import_brings_nothing_heavy(module: str, also_not: tuple[str, ...]) -> None:
    assert not loaded(module) & {*HEAVY, *also_not}


def test_the_command_line_starts_without_spark() -> None:
    assert "pyspark" not in loaded("sagespark.cli.app")
