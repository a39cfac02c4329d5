"""Formats of the user's own: a function that makes a body of an Arrow batch, one that reads an answer.

Each is a content type, a string, that carries its function: it stands wherever a content type does, and travels with
what is shipped to the executors.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Self

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from sagespark.codecs.base import Codec
from sagespark.codecs.matrix import Csr, Matrix
from sagespark.codecs.registry import codec
from sagespark.core.errors import CodecError, DataError, ValidationError
from sagespark.data.batches import to_sparse
from sagespark.data.frame import FrameLayout

BYTES = "application/octet-stream"
"""Content type of a function that is given alone."""


class _Own(str):
    """A content type with a function.

    The classes keep this module as theirs: executors, which import no more than they need, know them by it.
    """

    function: Callable[[Any], Any]

    def __new__(cls, function: Callable[[Any], Any], contentType: str = BYTES) -> Self:
        if not callable(function):
            raise TypeError(f"{cls.__name__} takes a function, but got {function!r}")
        if not isinstance(contentType, str) or "/" not in contentType:
            raise TypeError(f"contentType must be a content type such as 'text/csv', but got {contentType!r}")
        made = super().__new__(cls, contentType)
        made.function = function
        return made

    def __getnewargs__(self) -> tuple[Callable[[Any], Any], str]:  # type: ignore[override]  # str's own gives its text
        return self.function, str(self)

    def __eq__(self, other: object) -> bool:
        return str.__eq__(self, other) is True and getattr(other, "function", self.function) is self.function

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __hash__(self) -> int:
        return str.__hash__(self)


class Serializer(_Own):
    r"""A function that makes the body of a request, or a piece of a channel's object, of rows.

    Parameters
    ----------
    function : callable
        Takes a ``pyarrow.RecordBatch``, returns bytes or text. The batch has the columns of ``featuresCols`` (float32);
        or the one features column as lists of float32, or, where rows are sent sparse, as structs of ``size``,
        ``indices`` and ``values``. For training the label column follows, under its name, then the weight's. It runs in
        Spark's executors: what it uses must be importable there, or travel with it.
    contentType : str
        What the request, or the channel, is said to hold.

    Examples
    --------
    >>> def lines(batch):
    ...     return "\n".join(map(str, batch.to_pylist()))
    >>> Serializer(lines, "text/x-lines")
    'text/x-lines'
    """


class Deserializer(_Own):
    """A function that reads an endpoint's answer.

    Parameters
    ----------
    function : callable
        Takes the answer's bytes. Returns one entry per row: a mapping of response fields to arrays, or a
        ``pyarrow.RecordBatch`` or Table of them; an array or list alone is the one field that is asked for.
    contentType : str
        What is asked for (``Accept``).
    """


def codec_of(contentType: str, layout: FrameLayout) -> Codec | OwnCodec:
    """Return what encodes rows as a content type, declared or the user's own.

    Raises
    ------
    ValidationError
        If nothing is known of it.
    """
    if isinstance(contentType, Serializer):
        return OwnCodec(contentType, layout)
    try:
        return codec(contentType)
    except ValidationError as error:
        raise ValidationError(
            [f"{text}; give Serializer(function, {str(contentType)!r}) for another one" for text in error.problems]
        ) from None


class OwnCodec:
    """Encode rows by the user's function.

    Parameters
    ----------
    serializer : Serializer
    layout : FrameLayout
        Names the columns.
    """

    def __init__(self, serializer: Serializer, layout: FrameLayout) -> None:
        self.content_type = str(serializer)
        self._function = serializer.function
        self._layout = layout

    def encode(self, features: Matrix, labels: NDArray[Any] | None = None) -> bytes:
        """Return rows as the function writes them.

        Raises
        ------
        DataError
            If the function raises, or returns neither bytes nor text.
        """
        try:
            body = self._function(record_batch(features, self._layout, labels))
        except Exception as error:
            raise DataError(
                f"the serializer of {self.content_type} raised {type(error).__name__}: {error}",
                column=self._layout.title,
            ) from error
        if isinstance(body, str):
            return body.encode()
        if not isinstance(body, bytes | bytearray | memoryview):
            raise DataError(
                f"the serializer of {self.content_type} must return bytes or text, but returned {type(body).__name__}",
                column=self._layout.title,
            )
        return bytes(body)


def record_batch(features: Matrix, layout: FrameLayout, lead: NDArray[Any] | None = None) -> pa.RecordBatch:
    """Return rows as an Arrow batch.

    Parameters
    ----------
    features : ndarray of shape (n, d), Csr or Mixed
    layout : FrameLayout
    lead : ndarray of shape (n,) or (n, m), or None
        Labels, and the columns behind them.
    """
    if isinstance(features, np.ndarray):
        if layout.kind == "columns":
            columns = {name: pa.array(features[:, i]) for i, name in enumerate(layout.features)}
        else:
            rows, width = features.shape
            offsets = pa.array(np.arange(rows + 1, dtype=np.int32) * width)
            columns = {layout.features[0]: pa.ListArray.from_arrays(offsets, pa.array(features.reshape(-1)))}
    else:
        name = "features" if layout.kind == "columns" else layout.features[0]
        columns = {name: _structs(to_sparse(features))}
    if lead is not None:
        names = [name for name in (layout.label, layout.weight, layout.group) if name is not None]
        parts = lead[:, np.newaxis] if lead.ndim == 1 else lead
        columns |= {name: pa.array(parts[:, i]) for i, name in enumerate(names[: parts.shape[1]])}
    return pa.RecordBatch.from_arrays(list(columns.values()), list(columns))


def _structs(rows: Csr) -> pa.StructArray:
    offsets = pa.array(rows.indptr.astype(np.int32))
    return pa.StructArray.from_arrays(
        [
            pa.array(np.full(rows.shape[0], rows.width, np.int32)),
            pa.ListArray.from_arrays(offsets, pa.array(rows.indices.astype(np.int32))),
            pa.ListArray.from_arrays(offsets, pa.array(rows.values)),
        ],
        ["size", "indices", "values"],
    )


def decode(deserializer: Deserializer, body: bytes, fields: Sequence[str]) -> dict[str, NDArray[Any]]:
    """Return the fields of an answer by the user's function, each of shape (n,) or (n, m).

    Raises
    ------
    CodecError
        If the function raises, a field is missing, or its entries are no numbers of one shape.
    """
    try:
        found = deserializer.function(body)
    except Exception as error:
        raise _refused(deserializer, f"raised {type(error).__name__}: {error}") from error
    if isinstance(found, pa.RecordBatch | pa.Table):
        found = {name: found.column(name).to_pylist() for name in found.schema.names}
    elif not isinstance(found, Mapping):
        if len(fields) != 1:
            kind = type(found).__name__
            raise _refused(deserializer, f"returned {kind}, but the fields {list(fields)} are asked for")
        found = {fields[0]: found}
    missing = [name for name in fields if name not in found]
    if missing:
        raise _refused(deserializer, f"returned the fields {sorted(found)}, but not {missing[0]!r}")
    return {name: _numbers(deserializer, name, found[name]) for name in fields}


def _numbers(deserializer: Deserializer, name: str, values: Any) -> NDArray[Any]:
    try:
        array = np.asarray(values, np.float64)
    except (TypeError, ValueError) as error:
        raise _refused(deserializer, f"returned {name!r} of what are no numbers of one shape: {error}") from error
    if array.ndim not in (1, 2):
        raise _refused(deserializer, f"returned {name!r} of shape {array.shape}; it must be (rows,) or (rows, values)")
    return array


def _refused(deserializer: Deserializer, text: str) -> CodecError:
    return CodecError(f"the deserializer of {deserializer!s} {text}")
