"""boto3 clients, looked up per process.

Clients are never stored on anything and never pickled: a forked or spawned process makes its own. A client is found by
its :class:`Connection`, the facts that tell one connection from another.
"""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass, field
from functools import cache
from importlib import metadata
from typing import Any

import boto3
import botocore.session
from botocore.config import Config

from sagespark.core.settings import is_loopback

ATTEMPTS = 5
"""Tries that botocore makes of one call before its error is seen here."""
CONNECT_TIMEOUT = 10.0
"""Seconds allowed for a connection."""
READ_TIMEOUT = 70.0
"""Seconds without a byte after which a call is given up; above the 60 s that SageMaker gives an invocation."""
POOL = 32
"""Connections kept open per client; as many calls can be in flight without a new handshake."""

# What boto3's credential chain reads: a client made under one profile must not answer for another.
_CREDENTIAL_VARIABLES = ("AWS_PROFILE", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")


@cache
def version() -> str:
    """Return the package's version, ``0`` where it runs from an archive that was never installed."""
    try:
        return metadata.version("sagespark")
    except metadata.PackageNotFoundError:
        return "0"


@dataclass(frozen=True)
class Connection:
    """What tells one client from another."""

    service: str
    region: str
    endpointUrl: str | None = None
    accessKeyId: str | None = None
    secretAccessKey: str | None = field(default=None, repr=False)
    timeout: float | None = None
    """Seconds without a byte after which a call is given up; None: `READ_TIMEOUT`."""
    attempts: int | None = None
    """Tries per call; None: `ATTEMPTS`."""

    def config(self) -> Config:
        """Return botocore's configuration of this connection."""
        loopback = self.endpointUrl is not None and is_loopback(self.endpointUrl)
        return Config(
            user_agent_extra=f"sagespark/{version()}",
            connect_timeout=CONNECT_TIMEOUT,
            read_timeout=READ_TIMEOUT if self.timeout is None else self.timeout,
            retries={"mode": "standard", "total_max_attempts": ATTEMPTS if self.attempts is None else self.attempts},
            max_pool_connections=POOL,
            tcp_keepalive=True,
            # No bucket has a host name of its own on loopback.
            s3={"addressing_style": "path"} if loopback else None,
        )


class _Cache:
    """The process's clients. The lock also guards making one: boto3 sessions are not thread-safe."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.sessions: dict[tuple[Any, ...], boto3.session.Session] = {}
        self.clients: dict[tuple[Any, ...], Any] = {}


_cache = _Cache()


def _forget() -> None:
    global _cache
    _cache = _Cache()


# A child shares its parent's sockets and perhaps a lock held by a thread that it does not have.
os.register_at_fork(after_in_child=_forget)


def client(connection: Connection) -> Any:
    """Return this process's client for the connection, made on first use; clients are thread-safe."""
    own_keys = connection.accessKeyId is not None
    chain = () if own_keys else tuple(os.environ.get(v) for v in _CREDENTIAL_VARIABLES)
    key = (connection, chain)
    kept = _cache
    found = kept.clients.get(key)
    if found is not None:
        return found
    with kept.lock:
        if key not in kept.clients:
            # One boto3 session per chain: it keeps the parsed service models and the refreshed credentials.
            session = kept.sessions.get(chain)
            if session is None:
                session = kept.sessions[chain] = boto3.session.Session(botocore_session=botocore.session.Session())
            kept.clients[key] = session.client(
                connection.service,
                region_name=connection.region,
                endpoint_url=connection.endpointUrl,
                aws_access_key_id=connection.accessKeyId,
                aws_secret_access_key=connection.secretAccessKey,
                config=connection.config(),
            )
        return kept.clients[key]


def chain_region() -> str | None:
    """Return the region of boto3's own chain (profile files), or None."""
    region: str | None = boto3.session.Session().region_name
    return region
