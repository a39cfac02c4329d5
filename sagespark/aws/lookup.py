"""Where a session's settings come from when they are not given: Spark conf, environment, boto3's own chain."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from typing import Any

from sagespark.core.settings import ENVIRONMENT, SPARK_CONF_PREFIX


def spark_session() -> Any | None:
    """Return the running SparkSession, classic or Connect, or None. Imports nothing."""
    cls = getattr(sys.modules.get("pyspark.sql"), "SparkSession", None)
    if cls is None:
        return None
    session = cls.getActiveSession()
    if session is None:
        # The active session belongs to a thread: a pool's thread has none, though the process does.
        connect = getattr(sys.modules.get("pyspark.sql.connect.session"), "SparkSession", None)
        # Connect first: its local mode keeps a classic session of its own behind.
        session = getattr(connect, "_default_session", None) or getattr(cls, "_instantiatedSession", None)
    return session


def spark_conf(name: str) -> str | None:
    """Return Spark conf ``spark.sagespark.{name}``, or None where it is unset, blank, or no SparkSession runs."""
    session = spark_session()
    if session is None:
        return None
    value = session.conf.get(SPARK_CONF_PREFIX + name, None)
    return value or None


def setting(name: str, environ: Mapping[str, str] | None = None) -> str | None:
    """Return the setting from Spark conf, else from the environment, else None.

    Parameters
    ----------
    name : str
        One of ``role bucket prefix region endpointUrl``.
    environ : mapping or None
        None: this process's environment.
    """
    value = spark_conf(name)
    if value is not None:
        return value
    variables = os.environ if environ is None else environ
    return next((variables[v] for v in ENVIRONMENT[name] if variables.get(v)), None)


def places(name: str) -> str:
    """Return the places where a setting may be given, in words, for messages."""
    variables = " or ".join(ENVIRONMENT[name])
    return f"SageMakerSession({name}=...), Spark conf {SPARK_CONF_PREFIX}{name}, or environment {variables}"
