"""Names of the settings that the package reads from outside, and how they are told apart."""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit

SPARK_CONF_PREFIX = "spark.sagespark."
"""Spark conf keys are this and ``role bucket prefix region endpointUrl``."""
ENVIRONMENT = {
    "role": ("SAGESPARK_ROLE",),
    "bucket": ("SAGESPARK_BUCKET",),
    "prefix": ("SAGESPARK_PREFIX",),
    "region": ("AWS_REGION", "AWS_DEFAULT_REGION"),
    "endpointUrl": ("AWS_ENDPOINT_URL",),
}
"""Environment variables by setting, the first one set wins."""
SEED_VARIABLE = "SAGESPARK_SEED"
"""Environment variable of a training job that carries ``seed`` where the algorithm has no such hyperparameter."""
LOCAL_ACCOUNT = "123456789012"
"""Account of the embedded service."""
DEFAULT_REGION = "us-east-1"
"""Region of the embedded service where the request names none."""
TAG_PACKAGE = "sagespark"
"""Tag key on everything that the package creates; its value is the package's version."""
TAG_RUN = "sagespark:run"
"""Tag key whose value is the uid of the fit or deploy that created the resource."""
TAG_CREATOR = "sagespark:creator"
"""Tag key whose value is the user and host that created the resource."""


def is_loopback(url: str) -> bool:
    """Tell whether ``url`` names this machine: 127.0.0.0/8, ``::1``, ``localhost`` or ``*.localhost``."""
    host = (urlsplit(url if "//" in url else "//" + url).hostname or "").rstrip(".").lower()
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
