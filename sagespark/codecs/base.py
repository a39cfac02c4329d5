"""What every codec is: rows to bytes and back, predictions to bytes and back."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from sagespark.codecs.matrix import Matrix
from sagespark.core.errors import CodecError

Buffer = bytes | bytearray | memoryview
"""Bytes to decode; a contiguous view is read in place."""

Numbers = NDArray[Any]
"""An array of float32, float64 or int32."""


@dataclass(frozen=True, eq=False)
class Rows:
    """Rows that came out of bytes, in the order of the bytes.

    Parameters
    ----------
    features : ndarray of shape (n, d), Csr or Mixed
        The features.
    labels : ndarray of shape (n,) or (n, m), or None
        The labels; None where the rows have none.
    """

    features: Matrix
    labels: Numbers | None = None

    def __len__(self) -> int:
        """Return ``n``."""
        return int(self.features.shape[0])


class Codec(Protocol):
    """One content type."""

    @property
    def content_type(self) -> str:
        """The content type without parameters, lower case."""

    def encode(self, features: Matrix, labels: Numbers | None = None) -> bytes | memoryview:
        """Return the rows as the body of a request or as a shard of a training channel.

        Parameters
        ----------
        features : ndarray of shape (n, d), Csr or Mixed
            The rows; float64 is narrowed to float32.
        labels : ndarray of shape (n,), optional
            One label per row.

        Raises
        ------
        CodecError
            If the content type cannot carry these rows.
        """

    def decode(self, body: Buffer, *, width: int | None = None, label_size: int | None = None) -> Rows:
        """Return the rows of a request or of a training file.

        Parameters
        ----------
        body : bytes-like
            The bytes; arrays returned may share its memory.
        width : int, optional
            The number of features that every row must have.
        label_size : int, optional
            The number of leading label columns, for content types that do not mark them (CSV).

        Raises
        ------
        CodecError
            If the bytes are not what the content type says, or the rows have another width.
        """

    def encode_predictions(self, fields: Mapping[str, Numbers], *, wrapper: str = "predictions") -> bytes:
        """Return the answer of an endpoint, one entry per row.

        Parameters
        ----------
        fields : mapping of str to ndarray of shape (n,) or (n, m)
            Each response field, in the order in which the algorithm writes them.
        wrapper : str
            Name of the list in a JSON answer.

        Raises
        ------
        CodecError
            If the fields differ in their number of rows, or hold what the content type cannot carry.
        """

    def decode_predictions(self, body: Buffer, fields: Sequence[str]) -> dict[str, Numbers]:
        """Return the fields of an endpoint's answer.

        Parameters
        ----------
        body : bytes-like
            The answer.
        fields : sequence of str
            The fields wanted; for CSV also the order of the columns.

        Returns
        -------
        dict of str to ndarray of shape (n,) or (n, m)
            One value per row has shape (n,), several have shape (n, m).

        Raises
        ------
        CodecError
            If a field is missing in a row, or its length differs between rows.
        """


def as_bytes(body: Buffer) -> NDArray[np.uint8]:
    """Return ``body`` as an array of bytes that shares its memory.

    Raises
    ------
    CodecError
        If the memory is not contiguous.
    """
    view = memoryview(body)
    if not view.contiguous:
        raise CodecError("the bytes must be contiguous in memory; pass bytes(body)")
    return np.frombuffer(view, np.uint8) if view.nbytes else np.empty(0, np.uint8)


def check_labels(labels: Numbers | None, rows: int) -> None:
    """Refuse labels that are not one per row.

    Raises
    ------
    CodecError
        If the shape is not (rows,) or (rows, m).
    """
    if labels is not None and (labels.ndim not in (1, 2) or len(labels) != rows):
        raise CodecError(f"labels must have one entry per row, but got shape {labels.shape} for {rows} rows")


def field_rows(fields: Mapping[str, Numbers]) -> int:
    """Return the number of rows that all the fields of an answer have.

    Raises
    ------
    CodecError
        If there is no field, one has not one or two dimensions, or they differ.
    """
    shapes = {name: values.shape for name, values in fields.items()}
    if not shapes or any(len(s) not in (1, 2) for s in shapes.values()) or len({s[0] for s in shapes.values()}) != 1:
        raise CodecError(f"response fields must be arrays of one common number of rows, but got shapes {shapes}")
    return int(next(iter(shapes.values()))[0])


class MalformedError(Exception):
    """Bytes are not what they must be; a codec's functions turn it into a CodecError that names the content type.

    Parameters
    ----------
    message : str
        What was found and what the format asks for.
    offset : int or None
        Where, in the bytes at hand; None where the format has no useful one.
    """

    def __init__(self, message: str, offset: int | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.offset = offset


@contextmanager
def reported(content_type: str, base: int = 0) -> Iterator[None]:
    """Turn MalformedError into CodecError; ``base`` is the offset of the bytes at hand in the caller's."""
    try:
        yield
    except MalformedError as problem:
        offset = None if problem.offset is None else base + problem.offset
        raise CodecError(problem.message, contentType=content_type, offset=offset) from None
