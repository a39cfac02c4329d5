"""What ``sagespark doctor`` looks at on this machine: Python, Java, Spark, its workers, the embedded service."""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from importlib import metadata
from importlib.util import find_spec

from sagespark.aws.clients import version
from sagespark.cli.check import Check
from sagespark.local.process import PACKAGES

TESTED_JAVA = (17,)
"""Java versions that the package is tested with."""
OLDEST_PYTHON = (3, 11)
PROBE_TIMEOUT = 60.0
"""Seconds that another program may take to tell its version."""

_WORKER_PROBE = """
import json, sys
found = {"python": list(sys.version_info[:3]), "missing": []}
for name in ("sagespark", "pyarrow", "numpy", "boto3"):
    try:
        __import__(name)
    except ImportError:
        found["missing"].append(name)
print(json.dumps(found))
"""


def machine_checks(environ: Mapping[str, str] | None = None) -> Iterator[Check]:
    """Yield the findings, in the order in which a user meets what they are about."""
    variables = os.environ if environ is None else environ
    yield Check("ok", f"sagespark {version()}")
    yield python()
    yield java(variables)
    yield from spark()
    yield workers(variables)
    yield embedded_packages()
    yield namespaces()


def python() -> Check:
    """Check this Python."""
    text = f"Python {platform.python_version()} ({sys.executable})"
    if sys.version_info[:2] < OLDEST_PYTHON:
        return Check("fail", text, "install Python 3.11 or newer and make the environment with it")
    return Check("ok", text)


def java_version(text: str) -> int | None:
    """Return the major version in the output of ``java -version``, or None."""
    match = re.search(r'version "(\d+)(?:\.(\d+))?', text)
    if match is None:
        return None
    major = int(match[1])
    return int(match[2] or 0) if major == 1 else major


def java(environ: Mapping[str, str]) -> Check:
    """Check the Java that Spark would start."""
    home = environ.get("JAVA_HOME")
    program = os.path.join(home, "bin", "java") if home else "java"
    install = "install a JDK or JRE 17 (Debian: openjdk-17-jre-headless), or set JAVA_HOME to one"
    try:
        done = subprocess.run([program, "-version"], capture_output=True, text=True, timeout=PROBE_TIMEOUT, check=False)
    except OSError as error:
        return Check("fail", f"Java: {program!r} does not run ({error.strerror})", install)
    except subprocess.TimeoutExpired:
        return Check("fail", f"Java: {program!r} did not tell its version within {PROBE_TIMEOUT:.0f} s", install)
    major = java_version(done.stderr + done.stdout)
    if major is None:
        return Check("fail", f"Java: {program!r} told no version (exit code {done.returncode})", install)
    where = f"Java {major} ({shutil.which(program) or program})"
    if major < min(TESTED_JAVA):
        return Check("fail", f"{where} is too old for Spark", install)
    if major not in TESTED_JAVA:
        tested = ", ".join(map(str, TESTED_JAVA))
        return Check("warn", f"{where} is not one that sagespark is tested with", f"tested with Java {tested}")
    return Check("ok", where)


def _installed(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        # A cluster brings pyspark on the path, without its package data.
        return "unknown" if find_spec(name) is not None else None


def spark() -> Iterator[Check]:
    """Check pyspark and the packages that its Python workers use."""
    found = _installed("pyspark")
    if found is None:
        yield Check("fail", "pyspark is not installed", "pip install 'sagespark[spark]' (EMR brings its own)")
        return
    numbers = re.findall(r"\d+", found)[:2]
    pair = tuple(map(int, numbers))
    if found != "unknown" and not (3, 5) <= pair < (5, 0):
        yield Check("fail", f"pyspark {found} is not supported", "pip install 'pyspark>=3.5,<5'")
    else:
        yield Check("ok", f"pyspark {found}")
    pandas = _installed("pandas")
    if pandas is not None and pandas.split(".")[0].isdigit() and int(pandas.split(".")[0]) >= 3:
        yield Check("warn", f"pandas {pandas}: pyspark warns at every session", "pip install 'pandas<3'")
    if pandas is None and pair < (4, 1):
        yield Check("fail", f"pandas is not installed, and pyspark {found} needs it", "pip install 'pandas<3'")
    if sys.version_info >= (3, 12) and pair < (4, 0) and find_spec("distutils") is None:
        yield Check("fail", f"pyspark {found} needs distutils, which this Python lacks", "pip install 'setuptools<81'")


def workers(environ: Mapping[str, str]) -> Check:
    """Check the Python that Spark's workers would use: another minor version fails every task."""
    wanted = environ.get("PYSPARK_PYTHON") or "python3"
    source = "PYSPARK_PYTHON" if environ.get("PYSPARK_PYTHON") else "PYSPARK_PYTHON unset: python3 on the PATH"
    fix = f"export PYSPARK_PYTHON={sys.executable}"
    try:
        done = subprocess.run(
            [wanted, "-c", _WORKER_PROBE], capture_output=True, text=True, timeout=PROBE_TIMEOUT, check=True, cwd="/"
        )
        found = json.loads(done.stdout)
    except (OSError, subprocess.SubprocessError, ValueError) as error:
        return Check("fail", f"Spark's workers: {wanted!r} ({source}) does not run: {error}", fix)
    theirs = ".".join(map(str, found["python"]))
    if found["python"][:2] != list(sys.version_info[:2]):
        ours = platform.python_version()
        return Check("fail", f"Spark's workers would run Python {theirs} ({source}), the driver runs {ours}", fix)
    if found["missing"]:
        names = ", ".join(found["missing"])
        return Check("fail", f"Spark's workers would run {wanted!r} ({source}), which lacks {names}", fix)
    return Check("ok", f"Spark's workers: Python {theirs} ({wanted}; on this machine)")


def embedded_packages() -> Check:
    """Check the packages of the embedded service."""
    missing = [name for name in PACKAGES if find_spec(name) is None]
    if missing:
        return Check("warn", f"the embedded service lacks {', '.join(missing)}", "pip install 'sagespark[local]'")
    return Check("ok", "the embedded service's packages")


def namespaces() -> Check:
    """Check whether the embedded service's containers get namespaces of their own."""
    from sagespark.local.containers import isolation

    reason = isolation.probe()
    if reason is None:
        return Check("ok", "user namespaces: the embedded service's containers are isolated")
    return Check(
        "warn",
        f"user namespaces are off ({reason}): the embedded service's containers share this machine, and programs that "
        "hard-code /opt/ml or port 8080 fail",
        "allow unprivileged user namespaces (sysctl kernel.unprivileged_userns_clone=1, user.max_user_namespaces>0, "
        "kernel.apparmor_restrict_unprivileged_userns=0; in Docker: --security-opt seccomp=unconfined)",
    )
