"""Tags that tell what this package created, for which run, and for whom.

Nothing without the package's tag is ever deleted by `sagespark.aws.cleanup`.
"""

from __future__ import annotations

import getpass
import re
import socket
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from sagespark.aws.clients import version
from sagespark.aws.errors import call
from sagespark.aws.session import SageMakerSession
from sagespark.core.settings import TAG_CREATOR, TAG_PACKAGE, TAG_RUN

MAX_TAGS = 50
"""Tags per resource (botocore's sagemaker model, shape TagList)."""

# botocore's sagemaker model, shapes TagKey (1 to 128) and TagValue (0 to 256).
_KEY = re.compile(r"[\w\s.:/=+\-@]{1,128}")
_VALUE = re.compile(r"[\w\s.:/=+\-@]{0,256}")


@cache
def creator() -> str:
    """Return ``user@host`` of this process, in characters that tags may hold."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        # A user id without a name, as containers have.
        user = "unknown"
    return re.sub(r"[^\w.:/=+\-@]", "-", f"{user}@{socket.gethostname()}")[:256]


def of_run(own: Mapping[str, str], run: str = "") -> list[dict[str, str]]:
    """Return the tags of a resource as AWS's ``Tags`` member.

    Parameters
    ----------
    own : mapping
        The user's tags, such as the session's.
    run : str
        Uid of the fit or deploy that creates the resource.
    """
    merged = {**own, TAG_PACKAGE: version(), TAG_CREATOR: creator()}
    if run:
        merged[TAG_RUN] = run
    return [{"Key": key, "Value": value} for key, value in merged.items()]


def completed(tags: Sequence[Mapping[str, str]], own: Mapping[str, str]) -> list[dict[str, str]]:
    """Return a request's tags with those of the package and the session added where they are missing."""
    given = {tag["Key"]: tag["Value"] for tag in tags}
    base = {tag["Key"]: tag["Value"] for tag in of_run(own)}
    return [{"Key": key, "Value": value} for key, value in {**base, **given}.items()]


def problems(own: Mapping[str, str]) -> list[str]:
    """Return what AWS would refuse of the user's tags, in words."""
    found = []
    for key, value in own.items():
        if not _KEY.fullmatch(key) or key.lower().startswith("aws:"):
            found.append(f"tag key {key!r} must be 1 to 128 letters, digits, spaces or _.:/=+-@, not beginning 'aws:'")
        elif not isinstance(value, str) or not _VALUE.fullmatch(value):
            found.append(f"tag {key!r}: value {value!r} must be at most 256 letters, digits, spaces or _.:/=+-@")
        elif key in (TAG_PACKAGE, TAG_RUN, TAG_CREATOR):
            found.append(f"tag key {key!r} is the package's own; take another")
    if len(own) > MAX_TAGS - 3:
        found.append(f"at most {MAX_TAGS - 3} tags fit beside the package's three, but got {len(own)}")
    return found


def as_dict(tags: Sequence[Mapping[str, str]]) -> dict[str, str]:
    """Return AWS's list of tags as a mapping."""
    return {tag["Key"]: tag["Value"] for tag in tags}


def of(session: SageMakerSession, arn: str) -> dict[str, str]:
    """Return the tags of a SageMaker resource, all pages of ListTags."""
    # ListTags comes in crowds, one call per resource, and is throttled early.
    client = session.client("sagemaker", attempts=10)
    found: dict[str, str] = {}
    request: dict[str, Any] = {"ResourceArn": arn}
    while True:
        page = call(client, "ListTags", **request)
        found |= as_dict(page.get("Tags", ()))
        if not page.get("NextToken"):
            return found
        request["NextToken"] = page["NextToken"]
