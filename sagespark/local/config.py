"""Settings of the embedded service, and the plain value that tells a client how to reach it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from sagespark.core.settings import DEFAULT_REGION, LOCAL_ACCOUNT

ACCESS_KEY = "sagespark"
"""Access key that is handed out; any other is accepted too."""
SECRET_KEY = "sagespark-local-secret"
"""Secret key of every access key of the embedded service; it matters with ``--require-signature`` only."""
DEFAULT_PORT = 4599
"""Port of ``sagespark local start``."""
MAX_PAYLOAD = 6 * 1024 * 1024
"""Largest body of InvokeEndpoint, bytes (botocore's ``sagemaker-runtime`` model, ``BodyBlob``)."""


def default_bucket(region: str, account: str = LOCAL_ACCOUNT) -> str:
    """Return the name of the bucket that exists from the start, as SageMaker's SDKs name it."""
    return f"sagemaker-{region}-{account}"


def default_role(account: str = LOCAL_ACCOUNT) -> str:
    """Return the ARN of the role that exists from the start."""
    return f"arn:aws:iam::{account}:role/sagespark"


@dataclass(frozen=True)
class ServiceInfo:
    """What a client needs to reach a running service."""

    url: str
    region: str = DEFAULT_REGION
    account: str = LOCAL_ACCOUNT
    access_key: str = ACCESS_KEY
    secret_key: str = SECRET_KEY

    @property
    def role(self) -> str:
        """ARN of the role that exists from the start."""
        return default_role(self.account)

    @property
    def bucket(self) -> str:
        """Bucket that exists from the start."""
        return default_bucket(self.region, self.account)

    def environment(self) -> dict[str, str]:
        """Return the environment variables that point AWS's clients and this package at the service."""
        return {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
            "AWS_REGION": self.region,
            "AWS_DEFAULT_REGION": self.region,
            "SAGESPARK_ROLE": self.role,
            "SAGESPARK_BUCKET": self.bucket,
        }


@dataclass(frozen=True)
class LocalConfig:
    """Settings of one service process."""

    data: Path
    """Folder of everything that is kept. One service at a time uses it."""
    port: int = 0
    """TCP port; 0 takes any free one."""
    host: str = "127.0.0.1"
    """Loopback address to listen on."""
    require_signature: bool = False
    """Whether a request without a valid signature (SigV4) is refused."""
    account: str = LOCAL_ACCOUNT
    region: str = DEFAULT_REGION
    """Region of requests that name none."""
    workers: int = 32
    """Most threads per AWS service that run its operations."""
    max_payload: int = MAX_PAYLOAD
    """Largest body of InvokeEndpoint, bytes."""
    max_body: int = 16 * 1024 * 1024
    """Largest body of any other request that is not an object's content, bytes."""
    grace: int = 10
    """Seconds that requests in flight have to end after SIGTERM."""
    secret_key: str = SECRET_KEY
    time_scale: float = 1.0
    """Seconds of the jobs' time per real second, so that an hour of theirs can be tested in a second."""

    @property
    def url(self) -> str:
        """URL of the service, once the port is known."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}"

    @property
    def client_environment(self) -> dict[str, str]:
        """Environment variables by which AWS clients in containers reach the service."""
        return {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_ACCESS_KEY_ID": ACCESS_KEY,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
        }

    def is_default_bucket(self, name: str) -> bool:
        """Tell whether ``name`` is the default bucket of some region; such a bucket exists in every region."""
        return re.fullmatch(rf"sagemaker-[a-z]{{2,4}}(-[a-z0-9]+){{2,4}}-{self.account}", name) is not None
