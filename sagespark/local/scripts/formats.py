"""Content types that a script's default functions read and write, as AWS's inference toolkit has them.

Source: ``sagemaker_inference`` (``decoder.py``, ``encoder.py``).
"""

from __future__ import annotations

import importlib
import io
import json
from typing import Any

NPY = "application/x-npy"
JSON = "application/json"
CSV = "text/csv"
TEXT = (JSON, CSV)
"""Content types whose bodies a script gets as text."""
ANY = ("", "*/*", "application/*")


class FormatError(Exception):
    """A content type is not known here; the message names the function that a script may write for it."""

    def __init__(self, kind: str, function: str) -> None:
        super().__init__(
            f"Content type {kind} is not supported by this framework. Please implement {function} to deserialize the "
            "request data or serialize the response."
        )


def decode(body: str | bytes, kind: str) -> Any:
    """Return a body as a numpy array.

    Raises
    ------
    FormatError
        If the content type is none of the three.
    ValueError
        If the body is not what its content type says.
    """
    np = importlib.import_module("numpy")
    if kind == NPY:
        raw = body if isinstance(body, bytes) else body.encode("latin-1")
        return np.load(io.BytesIO(raw), allow_pickle=False)
    text = body if isinstance(body, str) else body.decode("utf-8")
    if kind == JSON:
        return np.array(json.loads(text))
    if kind == CSV:
        return np.genfromtxt(io.StringIO(text), delimiter=",")
    raise FormatError(kind, "input_fn")


def encode(value: Any, kind: str) -> str | bytes:
    """Return an array, or what becomes one, in a content type.

    Raises
    ------
    FormatError
        If the content type is none of the three.
    """
    np = importlib.import_module("numpy")
    if kind == JSON:
        return json.dumps(value, default=_plain)
    if kind == CSV:
        stream = io.StringIO()
        np.savetxt(stream, np.asarray(value), delimiter=",", fmt="%s")
        return stream.getvalue()
    if kind == NPY:
        raw = io.BytesIO()
        np.save(raw, np.asarray(value), allow_pickle=False)
        return raw.getvalue()
    raise FormatError(kind, "output_fn")


def _plain(value: Any) -> Any:
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"Object of type {type(value).__name__} is not JSON serializable")
