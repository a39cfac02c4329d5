"""The codec of each content type."""

from __future__ import annotations

from sagespark.codecs.base import Codec
from sagespark.codecs.recordio import RECORDIO
from sagespark.core.errors import ValidationError

CODECS: dict[str, Codec] = {c.content_type: c for c in (RECORDIO,)}
"""Content type -> codec."""


def parse_content_type(text: str) -> tuple[str, dict[str, str]]:
    """Return the content type in lower case and its parameters.

    Examples
    --------
    >>> parse_content_type("text/csv; label_size=0")
    ('text/csv', {'label_size': '0'})
    """
    kind, *rest = text.split(";")
    pairs = [part.partition("=") for part in rest if part.strip()]
    return kind.strip().lower(), {name.strip().lower(): value.strip().strip('"') for name, _, value in pairs}


def codec(content_type: str) -> Codec:
    """Return the codec of a content type, with or without parameters.

    Raises
    ------
    ValidationError
        If there is none.
    """
    kind, _ = parse_content_type(content_type)
    try:
        return CODECS[kind]
    except KeyError:
        raise ValidationError(f"content type {content_type!r} is unknown; known are {', '.join(CODECS)}") from None
