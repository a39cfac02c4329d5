"""The codec of each content type."""

from __future__ import annotations

from dataclasses import replace

from sagespark.codecs.base import Codec
from sagespark.codecs.csv import CSV, Csv
from sagespark.codecs.json import JSON, JSON_LINES
from sagespark.codecs.libsvm import LIBSVM, X_LIBSVM
from sagespark.codecs.npy import NPY
from sagespark.codecs.recordio import RECORDIO
from sagespark.core.errors import ValidationError

_ALL: tuple[Codec, ...] = (RECORDIO, CSV, JSON, JSON_LINES, LIBSVM, X_LIBSVM, NPY)
CODECS: dict[str, Codec] = {c.content_type: c for c in _ALL}
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

    Parameters
    ----------
    content_type : str
        ``text/csv; label_size=1`` gives a codec that takes the first column as label.

    Raises
    ------
    ValidationError
        If the content type is unknown, or its ``label_size`` is no number.
    """
    kind, parameters = parse_content_type(content_type)
    found = CODECS.get(kind)
    if found is None:
        raise ValidationError(f"content type {content_type!r} is unknown; known are {', '.join(CODECS)}")
    size = parameters.get("label_size")
    if isinstance(found, Csv) and size is not None:
        if not (size.isascii() and size.isdigit()):
            raise ValidationError(f"label_size must be a number of columns, but got {content_type!r}")
        return replace(found, label_size=int(size))
    return found
