"""A SageMaker Runtime endpoint in a process of its own that answers zeros at once."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sagespark.aws.session import SageMakerSession

TESTS = Path(__file__).parents[2] / "tests"


@contextmanager
def stub_endpoint() -> Iterator[SageMakerSession]:
    """Start it; yields a session that reaches it."""
    environment = os.environ | {"PYTHONPATH": str(TESTS)}
    command = [sys.executable, "-m", "support.stub_endpoint"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment) as stub:
        assert stub.stdout is not None
        assert stub.stdin is not None
        try:
            yield SageMakerSession(
                endpointUrl=stub.stdout.readline().strip(),
                region="us-east-1",
                bucket="some-bucket",
                role="arn:aws:iam::123456789012:role/sagespark",
                accessKeyId="a",
                secretAccessKey="b",
            )
        finally:
            stub.stdin.close()
