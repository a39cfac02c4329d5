"""Fixtures shared by all tests: one Spark session, one embedded service, one account session."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from typing import Any

import pytest

os.environ.setdefault("AWS_EC2_METADATA_DISABLED", "true")
# Workers must find this interpreter, whatever `python3` is on the PATH.
os.environ["PYSPARK_PYTHON"] = sys.executable
os.environ["PYSPARK_DRIVER_PYTHON"] = sys.executable
for _name in ("AWS_ENDPOINT_URL", "SAGESPARK_ROLE", "SAGESPARK_BUCKET", "SAGESPARK_PREFIX", "AWS_PROFILE"):
    os.environ.pop(_name, None)


@pytest.fixture(scope="session")
def spark() -> Iterator[Any]:
    """A Spark session on two cores, quiet and without the web page."""
    from pyspark.sql import SparkSession

    session = (
        SparkSession.builder.master("local[2]")
        .appName("sagespark-tests")
        .config("spark.ui.enabled", "false")
        .config("spark.sql.shuffle.partitions", "2")
        .config("spark.default.parallelism", "2")
        .config("spark.driver.memory", "2g")
        .config("spark.log.level", "ERROR")
        .getOrCreate()
    )
    yield session
    session.stop()


@pytest.fixture(scope="session")
def service() -> Iterator[Any]:
    """A running embedded service, shared by all tests; yields the session that speaks to it."""
    from sagespark.embedded import LocalSageMaker

    with LocalSageMaker() as session:
        yield session


@pytest.fixture
def session(service: Any) -> Iterator[Any]:
    """The embedded service's session, active for the test."""
    with service.activated():
        yield service
