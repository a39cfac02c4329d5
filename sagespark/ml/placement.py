"""Whether executors reach the endpoint that the driver reaches.

A loopback endpoint means this machine. Spark masters whose executors may run elsewhere are refused before anything is
created: the first task on another host would otherwise speak to whatever listens there.
"""

from __future__ import annotations

from typing import Any

from sagespark.aws.session import SageMakerSession
from sagespark.core.settings import is_loopback


def problems(session: SageMakerSession, spark: Any) -> list[str]:
    """Return why the Spark session's executors may not reach the session's endpoint; empty where they do.

    Parameters
    ----------
    session : SageMakerSession
        Looked up.
    spark : pyspark.sql.SparkSession or None
        Classic or Connect; None where Spark moves no data.
    """
    url = session.endpointUrl
    if spark is None or url is None or not is_loopback(url):
        return []
    # A classic session has the property as well, and raises.
    if ".connect." in type(spark).__module__ and not is_loopback(spark.client.host):
        return [_refusal(url, f"Spark Connect server {spark.client.host!r}")]
    master = spark.conf.get("spark.master", "")
    return [] if stays_here(master) else [_refusal(url, f"master {master!r}")]


def stays_here(master: str) -> bool:
    """Tell whether all executors of a Spark master run on this machine."""
    if master.startswith("local"):
        # local, local[N], local-cluster[...]
        return True
    return master.startswith("spark://") and all(is_loopback("//" + host) for host in master[8:].split(","))


def _refusal(url: str, where: str) -> str:
    return (
        f"the session's endpoint {url} is on loopback, but with {where} executors may run on other hosts, which do not "
        "reach it; use master local[*], local-cluster or spark:// on loopback, or a session with AWS's own endpoints"
    )
