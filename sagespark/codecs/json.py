"""JSON as the built-in algorithms speak it (``application/json`` and ``application/jsonlines``).

A request is ``{"instances": [row, ...]}``; in JSON Lines each line is a row. A row is one of::

    {"features": [1.5, 16.0]}
    {"data": {"features": {"values": [1.5, 16.0]}}}                             dense
    {"data": {"features": {"keys": [0, 3], "shape": [5], "values": [1, 4]}}}    sparse
    {"data": {"features": [1.5, 16.0]}}

An answer is ``{"predictions": [{"closest_cluster": 1.0, "distance_to_cluster": 3.0}, ...]}``,
or one such object per line.
NaN is written as ``null``, and ``null`` is read as NaN.
Source: Amazon SageMaker developer guide, "Common data formats for inference".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from sagespark.codecs import jsonread, text
from sagespark.codecs.base import Buffer, MalformedError, Numbers, Rows, field_rows, reported
from sagespark.codecs.matrix import Csr, Matrix, Mixed
from sagespark.core.errors import CodecError


@dataclass(frozen=True)
class Json:
    """The codec of one of the two content types.

    Parameters
    ----------
    content_type : str
        The content type.
    lines : bool
        Whether each row is a line of its own.
    """

    content_type: str
    lines: bool

    def encode(self, features: Matrix, labels: Numbers | None = None) -> bytes:
        """Return a request: dense rows as ``features``, sparse ones as ``data`` with keys, shape and values.

        Raises
        ------
        CodecError
            If there are labels, which requests have not, or a value is infinite, which JSON cannot say.
        """
        if labels is not None:
            raise CodecError("requests carry no labels: use text/csv or RecordIO", contentType=self.content_type)
        out = []
        for part in text.chunks(*features.shape):
            self._finite(features[part])
            out.append(text.content(self._ended(_row_texts(features[part]), part.stop == features.shape[0])))
        return self._wrapped("instances", b"".join(out))

    def decode(self, body: Buffer, *, width: int | None = None, label_size: int | None = None) -> Rows:
        """Return the rows of a request as float32.

        Raises
        ------
        CodecError
            If the text is no JSON, a row has none of the forms, or rows do not fit together.
        """
        with reported(self.content_type):
            if label_size:
                raise MalformedError(f"{label_size} labels are asked for, but requests carry none")
            return Rows(jsonread.rows(bytes(body), self.lines, width), None)

    def encode_predictions(self, fields: Mapping[str, Numbers], *, wrapper: str = "predictions") -> bytes:
        """Return an answer: one object per row, a field of shape (n, m) as a list.

        Raises
        ------
        CodecError
            If the fields differ in their number of rows, or a value is infinite.
        """
        rows = field_rows(fields)
        for values in fields.values():
            self._finite(values)
        out = []
        for part in text.chunks(rows, sum(v[:1].size for v in fields.values())):
            pieces: list[object] = []
            for i, (name, several, texts) in enumerate(text.field_texts(fields, part, point=True, missing="null")):
                head = ("{" if i == 0 else ", ") + jsonread.quote(name) + ": " + ("[" if several else "")
                pieces += [head, texts, "]"] if several else [head, texts]
            objects = pc.binary_join_element_wise(*pieces, "}", "")
            out.append(text.content(self._ended(objects, part.stop == rows)))
        return self._wrapped(wrapper, b"".join(out))

    def decode_predictions(self, body: Buffer, fields: Sequence[str]) -> dict[str, Numbers]:
        """Return the fields of an answer, float64, whatever its list is called.

        Raises
        ------
        CodecError
            If the text is no JSON, or a field is missing, no number, or of different length between rows.
        """
        with reported(self.content_type):
            return jsonread.fields(bytes(body), self.lines, fields)

    def _ended(self, objects: text.Strings, last: bool) -> text.Strings:
        """Put what stands between rows behind each; nothing behind the last of a list."""
        if self.lines:
            return pc.binary_join_element_wise(objects, "\n", "")
        ends = np.full(len(objects), ", ", object)
        if last:
            ends[-1:] = ""
        return pc.binary_join_element_wise(objects, pa.array(ends, pa.string()), "")

    def _wrapped(self, name: str, rows: bytes) -> bytes:
        return rows if self.lines else b"{" + jsonread.quote(name).encode() + b": [" + rows + b"]}"

    def _finite(self, values: Matrix | Numbers) -> None:
        parts = (
            [values.values]
            if isinstance(values, Csr)
            else [values.dense, values.sparse.values]
            if isinstance(values, Mixed)
            else [values]
        )
        if any(part.dtype.kind == "f" and bool(np.isinf(part).any()) for part in parts):
            raise CodecError(
                "JSON has no infinite numbers: replace them, or use RecordIO", contentType=self.content_type
            )


def _row_texts(features: Matrix) -> text.Strings:
    if isinstance(features, Csr):
        keys = text.join(text.strings(features.indices), features.indptr)
        values = text.join(text.strings(_narrow(features.values), missing="null"), features.indptr)
        shape = f'], "shape": [{features.width}], "values": ['
        return pc.binary_join_element_wise('{"data": {"features": {"keys": [', keys, shape, values, "]}}}", "")
    if isinstance(features, Mixed):
        both = pa.concat_arrays([_row_texts(features.dense), _row_texts(features.sparse)])
        place = np.empty(len(features.is_sparse), np.int64)
        place[~features.is_sparse] = np.arange(len(features.dense))
        place[features.is_sparse] = np.arange(len(features.dense), len(place))
        return both.take(pa.array(place))
    rows = text.join_rows(_narrow(features), missing="null")
    return pc.binary_join_element_wise('{"features": [', rows, "]}", "")


def _narrow(values: Numbers) -> Numbers:
    with np.errstate(over="ignore"):
        return values.astype(np.float32, copy=False)


JSON = Json("application/json", lines=False)
"""The codec of ``application/json``."""
JSON_LINES = Json("application/jsonlines", lines=True)
"""The codec of ``application/jsonlines``."""
