"""Amazon Record protobuf in RecordIO framing (``application/x-recordio-protobuf``)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sagespark.codecs.base import Buffer, MalformedError, Numbers, Rows, as_bytes, check_labels, field_rows, reported
from sagespark.codecs.matrix import Csr, Matrix, Mixed
from sagespark.codecs.recordio import body as _body
from sagespark.codecs.recordio import fixed, ragged, sizes
from sagespark.codecs.recordio.columns import FEATURES, KEY, LABEL, Column, columns
from sagespark.codecs.recordio.framing import CONTENT_TYPE
from sagespark.codecs.recordio.stream import Readable
from sagespark.codecs.recordio.stream import pieces as stream_pieces
from sagespark.codecs.recordio.tensors import Wanted
from sagespark.core.errors import CodecError

_KEY = KEY.encode()


def encode(features: Matrix, labels: Numbers | None = None, *, out: Any = None) -> memoryview:
    """Return rows as records with the tensors ``features["values"]`` and ``label["values"]``, all Float32Tensor.

    Parameters
    ----------
    features : ndarray of shape (n, d), Csr or Mixed
        The rows.
    labels : ndarray of shape (n,) or (n, m), optional
        The labels.
    out : writable buffer, optional
        Memory to write into where it is large enough; else new memory is taken.

    Returns
    -------
    memoryview
        The records.

    Raises
    ------
    CodecError
        If labels and rows differ in number, or a row does not fit a record.
    """
    check_labels(labels, features.shape[0])
    count, made = columns({KEY: features}, {} if labels is None else {KEY: labels}, narrow=True)
    return _encode(count, made, out)


def encode_tensors(
    features: Mapping[str, Any], labels: Mapping[str, Any] | None = None, *, out: Any = None
) -> memoryview:
    """Return rows as records with any number of tensors in both maps.

    Parameters
    ----------
    features, labels : mapping of str to ndarray of shape (n,) or (n, m), Csr or Mixed
        The tensors; float32, float64 or int32 as they are.
    out : writable buffer, optional
        As for :func:`encode`.

    Raises
    ------
    CodecError
        If a type has no tensor, the numbers of rows differ, or a row does not fit a record.
    """
    count, made = columns(features, labels or {})
    return _encode(count, made, out)


def _encode(rows: int, made: tuple[Column, ...], out: Any) -> memoryview:
    if not rows:
        target = np.empty(0, np.uint8)
    elif all(c.fixed for c in made):
        plan = fixed.layout(made)
        target = _target(rows * len(plan), out)
        fixed.encode(made, plan, rows, target)
    else:
        parts = [sizes.sizes(c) for c in made]
        target = _target(int(sizes.totals(parts)[1].sum()), out)
        ragged.encode(made, parts, target)
    return target.data


def _target(size: int, out: Any) -> NDArray[np.uint8]:
    if out is not None:
        view = np.frombuffer(out, np.uint8)
        if len(view) >= size and view.flags.writeable:
            return view[:size]
    return np.empty(size, np.uint8)


def row_sizes(features: Matrix, has_label: bool) -> NDArray[np.int64]:
    """Return the bytes that :func:`encode` takes for each row, shape (n,).

    Parameters
    ----------
    features : ndarray of shape (n, d), Csr or Mixed
        The rows.
    has_label : bool
        Whether each row gets one label.
    """
    rows = features.shape[0]
    label = np.broadcast_to(np.zeros(1, np.float32), (rows, 1))
    _, made = columns({KEY: features}, {KEY: label} if has_label else {}, narrow=True)
    if all(c.fixed for c in made):
        return np.full(rows, len(fixed.layout(made)), np.int64)
    return sizes.totals([sizes.sizes(c) for c in made])[1]


def decode(body: Buffer, *, width: int | None = None, label_size: int | None = None, out: Rows | None = None) -> Rows:
    """Return the rows of records with ``features["values"]`` and perhaps ``label["values"]``.

    Parameters
    ----------
    body : bytes-like
        Whole records.
    width : int, optional
        The number of features every row must have.
    label_size : int, optional
        The number of labels every row must have; None takes what is there.
    out : Rows, optional
        Rows whose memory is written over where it is of the same kind and large enough, as those of a former call.

    Returns
    -------
    Rows
        float32 as the built-in algorithms write it, float64 where the tensors are Float64Tensor or Int32Tensor.

    Raises
    ------
    CodecError
        If the bytes are no whole records, or rows do not fit together; with the byte's offset.
    """
    return _decode_rows(as_bytes(body), 0, width, label_size, out)


def _decode_rows(
    body: NDArray[np.uint8], base: int, width: int | None, label_size: int | None, out: Rows | None = None
) -> Rows:
    with reported(CONTENT_TYPE, base):
        return _rows(body, width, label_size, out)


def _rows(body: NDArray[np.uint8], width: int | None, label_size: int | None, out: Rows | None) -> Rows:
    wanted: Wanted = {FEATURES: {_KEY}, LABEL: {_KEY}}
    rows, found = _body.decode(body, wanted, {} if width is None else {(FEATURES, _KEY): width}, _reuse(out))
    if not rows:
        return Rows(np.empty((0, width or 0), np.float32), None)
    if (FEATURES, _KEY) not in found:
        raise MalformedError(f"records must hold features[{KEY!r}], but have none", 0)
    labels: Any = found.get((LABEL, _KEY))
    if labels is not None:
        if not isinstance(labels, np.ndarray):
            raise MalformedError(f"label[{KEY!r}] must be dense", 0)
        labels = labels[:, 0] if labels.shape[1] == 1 else labels
    have = 0 if labels is None else 1 if labels.ndim == 1 else labels.shape[1]
    if label_size is not None and have != label_size:
        raise MalformedError(f"each row must have {label_size} labels, but has {have}", 0)
    return Rows(_floats(found[FEATURES, _KEY]), labels)


def _reuse(out: Rows | None) -> _body.Entries:
    if out is None:
        return {}
    old: _body.Entries = {(FEATURES, _KEY): out.features}
    if out.labels is not None:
        old[LABEL, _KEY] = out.labels.reshape(len(out.labels), -1) if len(out.labels) else out.labels
    return old


def _floats(matrix: Any) -> Any:
    """Return features of Int32Tensor as float64, which holds every int32."""
    if isinstance(matrix, Csr):
        return replace(matrix, values=_floats(matrix.values))
    if isinstance(matrix, Mixed):
        return Mixed(matrix.is_sparse, _floats(matrix.dense), _floats(matrix.sparse))
    floats: Matrix = matrix.astype(np.float64) if matrix.dtype.kind == "i" else matrix
    return floats


def decode_tensors(body: Buffer) -> tuple[dict[str, Matrix], dict[str, Matrix]]:
    """Return all the tensors of both maps.

    Returns
    -------
    features, labels : dict of str to ndarray of shape (n, m), Csr or Mixed
        With the type of the tensors; values of type Bytes are left out, as are uid, metadata and configuration.

    Raises
    ------
    CodecError
        As :func:`decode`; also if a name is missing in some records.
    """
    with reported(CONTENT_TYPE):
        _, found = _body.decode(as_bytes(body), {FEATURES: None, LABEL: None}, {})
    sides: dict[int, dict[str, Matrix]] = {FEATURES: {}, LABEL: {}}
    for (side, name), values in found.items():
        sides[side][name.decode(errors="replace")] = values
    return sides[FEATURES], sides[LABEL]


def iter_blocks(stream: Readable, block_bytes: int = 1 << 22, *, width: int | None = None) -> Iterator[Rows]:
    """Yield the rows of a stream in blocks, with memory for one block.

    Parameters
    ----------
    stream : binary file-like
        Gives bytes by ``read(size)``; a short read is no end, an empty one is.
    block_bytes : int
        Bytes to decode at a time; a longer record is read whole.
    width : int, optional
        The number of features every row must have; the first block's otherwise.

    Raises
    ------
    CodecError
        As :func:`decode`, with the offset in the stream; also if the stream ends inside a record.
    """
    labelled = None
    for base, piece in stream_pieces(stream, block_bytes):
        rows = _decode_rows(piece, base, width, None)
        width = rows.features.shape[1]
        size = 0 if rows.labels is None else rows.labels[:1].size
        if labelled not in (None, size):
            message = f"rows must have equally many labels, but have {size}, those before {labelled}"
            raise CodecError(message, contentType=CONTENT_TYPE, offset=base)
        labelled = size
        yield rows


class RecordIO:
    """The codec of ``application/x-recordio-protobuf``."""

    content_type = CONTENT_TYPE

    def encode(self, features: Matrix, labels: Numbers | None = None) -> memoryview:
        """Return rows as records; see :func:`encode`."""
        return encode(features, labels)

    def decode(self, body: Buffer, *, width: int | None = None, label_size: int | None = None) -> Rows:
        """Return the rows of records; see :func:`decode`."""
        return decode(body, width=width, label_size=label_size)

    def encode_predictions(self, fields: Mapping[str, Numbers], *, wrapper: str = "predictions") -> bytes:
        """Return an answer: one record per row, each field a Float32Tensor in its label map."""
        field_rows(fields)
        count, made = columns({}, fields, narrow=True)
        return bytes(_encode(count, made, None))

    def decode_predictions(self, body: Buffer, fields: Sequence[str]) -> dict[str, Numbers]:
        """Return the fields of an answer.

        Raises
        ------
        CodecError
            If a field is missing, sparse or of different length between rows.
        """
        with reported(CONTENT_TYPE):
            return self._fields(as_bytes(body), fields)

    def _fields(self, body: NDArray[np.uint8], fields: Sequence[str]) -> dict[str, Numbers]:
        rows, found = _body.decode(body, {LABEL: {f.encode() for f in fields}}, {})
        out: dict[str, Numbers] = {}
        for field in fields:
            values = found.get((LABEL, field.encode()))
            if values is None and rows:
                raise MalformedError(f"the answer has no label[{field!r}]", 0)
            if values is None:
                values = np.empty((0, 1), np.float32)
            if not isinstance(values, np.ndarray):
                raise MalformedError(f"label[{field!r}] must be dense", 0)
            out[field] = values[:, 0] if values.shape[1] == 1 else values
        return out


RECORDIO = RecordIO()
"""The codec's one instance."""
