"""NumPy's array file (``application/x-npy``): what AWS's framework containers read and write by default.

Sources: NumPy's NEP 1, "A simple file format for NumPy arrays"; ``decoder.py`` and ``encoder.py`` of AWS's
``sagemaker_inference``.
Arrays of Python objects are pickles and are refused.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sagespark.codecs.base import Buffer, MalformedError, Numbers, Rows, check_labels, field_rows, reported
from sagespark.codecs.matrix import Matrix
from sagespark.core.errors import CodecError

CONTENT_TYPE = "application/x-npy"


@dataclass(frozen=True)
class Npy:
    """The codec: one array of shape (n, d)."""

    content_type: str = CONTENT_TYPE

    def encode(self, features: Matrix, labels: Numbers | None = None) -> bytes:
        """Return the rows as one float32 array, labels as its first columns.

        Raises
        ------
        CodecError
            If the rows are sparse: the format has no sparse form, and a wide row is never filled with zeros.
        """
        if not isinstance(features, np.ndarray):
            raise CodecError(
                "an array file cannot carry sparse rows: set vectorFormat to 'dense', or use "
                "application/x-recordio-protobuf",
                contentType=CONTENT_TYPE,
            )
        check_labels(labels, features.shape[0])
        with np.errstate(over="ignore"):
            rows = features.astype(np.float32, copy=False)
            if labels is not None:
                rows = np.column_stack([labels.astype(np.float32, copy=False), rows])
        return _dump(np.ascontiguousarray(rows))

    def decode(self, body: Buffer, *, width: int | None = None, label_size: int | None = None) -> Rows:
        """Return the rows as float32; ``label_size`` leading columns are labels.

        Raises
        ------
        CodecError
            If it is no array file of numbers, or the rows have another width.
        """
        with reported(CONTENT_TYPE):
            cells = _load(body)
            if cells.ndim != 2:
                raise MalformedError(f"the array must have a row per record, but has the shape {cells.shape}")
            size = label_size or 0
            if width is not None and cells.shape[1] != size + width:
                raise MalformedError(
                    f"each row must have {size} labels and {width} features, but has {cells.shape[1]} cells"
                )
        with np.errstate(over="ignore"):
            cells = cells.astype(np.float32, copy=False)
        if not size:
            return Rows(cells, None)
        labels = np.ascontiguousarray(cells[:, 0] if size == 1 else cells[:, :size])
        return Rows(np.ascontiguousarray(cells[:, size:]), labels)

    def encode_predictions(self, fields: Mapping[str, Numbers], *, wrapper: str = "predictions") -> bytes:
        """Return the fields in their order as the columns of one array; a field alone keeps its shape."""
        field_rows(fields)
        values = list(fields.values())
        return _dump(np.ascontiguousarray(values[0] if len(values) == 1 else np.column_stack(values)))

    def decode_predictions(self, body: Buffer, fields: Sequence[str]) -> dict[str, Numbers]:
        """Return the columns as the fields, float64.

        Raises
        ------
        CodecError
            If there are not as many columns as fields; one field alone takes all the columns.
        """
        with reported(CONTENT_TYPE):
            cells = _load(body).astype(np.float64, copy=False)
            if cells.ndim > 2:
                raise MalformedError(f"an answer must have a row per record, but has the shape {cells.shape}")
            cells = cells.reshape(len(cells) if cells.ndim else 1, cells.shape[1] if cells.ndim == 2 else 1)
            columns = cells.shape[1]
            if len(fields) == 1:
                return {fields[0]: cells[:, 0] if columns == 1 else cells}
            if columns != len(fields):
                raise MalformedError(f"an answer of the fields {', '.join(fields)} has {columns} columns")
            return {f: np.ascontiguousarray(cells[:, i]) for i, f in enumerate(fields)}


def _dump(array: NDArray[Any]) -> bytes:
    out = io.BytesIO()
    np.save(out, array, allow_pickle=False)
    return out.getvalue()


def _load(body: Buffer) -> NDArray[Any]:
    stream = io.BytesIO(body)
    try:
        # np.load also opens zip archives and pickles; this reads one array and nothing else.
        array: NDArray[Any] = np.lib.format.read_array(stream, allow_pickle=False)
    except (ValueError, EOFError, MemoryError, SyntaxError) as problem:
        raise MalformedError(f"it is no array file: {problem}", 0) from None
    if array.dtype.kind not in "fiub":
        raise MalformedError(f"the array must be of numbers, but is of {array.dtype}")
    return array


NPY = Npy()
"""The codec."""
