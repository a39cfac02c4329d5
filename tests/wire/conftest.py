"""One embedded service for all wire tests, driven by AWS's own clients."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support.local_service import ServiceProcess


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServiceProcess]:
    """A running service with a data folder of its own."""
    with ServiceProcess(tmp_path_factory.mktemp("service")) as process:
        yield process


@pytest.fixture(scope="session")
def s3(server: ServiceProcess) -> Any:
    return server.client("s3")


_numbers = itertools.count()


@pytest.fixture
def bucket(s3: Any) -> str:
    name = f"bucket-{next(_numbers)}"
    s3.create_bucket(Bucket=name)
    return name


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "data"
