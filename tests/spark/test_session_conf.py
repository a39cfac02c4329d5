"""The session's settings from a running Spark's conf."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest

from sagespark.aws.session import SageMakerSession

pytestmark = pytest.mark.spark

ROLE = "arn:aws:iam::123456789012:role/from-conf"


@pytest.fixture
def conf(spark: Any) -> Iterator[Any]:
    settings = {"role": ROLE, "bucket": "conf-bucket", "prefix": "conf/prefix", "region": "eu-west-3"}
    for name, value in settings.items():
        spark.conf.set(f"spark.sagespark.{name}", value)
    yield spark.conf
    for name in settings:
        spark.conf.unset(f"spark.sagespark.{name}")


def test_conf_is_found_in_every_thread(conf: Any) -> None:
    found: list[SageMakerSession] = []

    def look() -> None:
        found.append(SageMakerSession().lookup())

    look()
    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    here, there = found
    assert (here.role, here.bucket, here.prefix, here.region) == (ROLE, "conf-bucket", "conf/prefix", "eu-west-3")
    assert there == here
    assert str(here.location) == "s3://conf-bucket/conf/prefix/"


def test_conf_wins_over_the_environment(conf: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SAGESPARK_BUCKET", "environment-bucket")
    assert SageMakerSession().lookup().bucket == "conf-bucket"
    conf.unset("spark.sagespark.bucket")
    assert SageMakerSession().lookup().bucket == "environment-bucket"


def test_what_the_driver_found_goes_to_the_executors(conf: Any, spark: Any) -> None:
    session = SageMakerSession(endpointUrl="http://127.0.0.1:4599")

    def there(_: int) -> tuple[str | None, str | None]:
        # No SparkSession runs here: only the pickle can know.
        found = session.lookup()
        return found.region, found.bucket

    assert spark.sparkContext.parallelize([0], 1).map(there).collect() == [("eu-west-3", "conf-bucket")]
