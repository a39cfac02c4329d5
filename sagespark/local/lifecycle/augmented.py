"""Augmented manifests: JSON lines whose attributes are S3 objects or values.

Facts: "Provide Dataset Metadata to Training Jobs with an Augmented Manifest File" of the SageMaker Developer Guide. An
attribute whose name ends in ``-ref`` holds the URI of an object, whose bytes take its place; every other one is given
as its JSON text. ``AttributeNames`` chooses the attributes and their order.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Literal

from sagespark.local.lifecycle.failure import client_error

Attribute = tuple[Literal["object", "value"], str]
"""What it is, and its URI or JSON text."""


def lines(body: bytes, names: Sequence[str], where: str) -> list[list[Attribute]]:
    """Return the chosen attributes of each line.

    Parameters
    ----------
    body : bytes
        The manifest; empty lines are passed over.
    names : sequence of str
        ``AttributeNames``.
    where : str
        The manifest's URI, for messages.

    Raises
    ------
    JobFailure
        ``ClientError`` if a line is no JSON object or lacks an attribute, or there is none.
    """
    found = []
    for number, text in enumerate(body.splitlines(), 1):
        if not text.strip():
            continue
        try:
            line = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise _refused(where, number, f"is not JSON: {error}") from error
        if not isinstance(line, dict):
            raise _refused(where, number, "must be a JSON object")
        missing = [name for name in names if name not in line]
        if missing:
            raise _refused(where, number, f"has no attribute {missing[0]!r}, which AttributeNames lists")
        found.append([_attribute(name, line[name], where, number) for name in names])
    if not found:
        raise client_error(f"Data download failed:the augmented manifest {where} has no line")
    return found


def _attribute(name: str, value: object, where: str, number: int) -> Attribute:
    if not name.endswith("-ref"):
        return "value", value if isinstance(value, str) else json.dumps(value)
    if not isinstance(value, str):
        raise _refused(where, number, f"must have an S3 URI in {name!r}, but has {value!r}")
    return "object", value


def _refused(where: str, number: int, text: str) -> Exception:
    return client_error(f"Data download failed:line {number} of the augmented manifest {where} {text}")
