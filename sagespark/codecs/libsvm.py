r"""LibSVM text (``text/libsvm``, also ``text/x-libsvm``): sparse rows, one a line.

Each line is a label, a weight behind a colon where rows have one, a query id where rows are ranked, and the stored
entries by increasing index, counted from 0::

    1 0:1.5 4:2
    0:0.25 3:-1                     a row of weight 0.25
    2 qid:7 0:1 1:3                 a row of query 7

What is not written is no zero but absent: XGBoost takes it for a missing value. A dense row is therefore written with
all its elements, zeros among them, but for NaN: XGBoost's reader does not know the word. Nothing tells the width but
the largest index.
Sources: XGBoost's "Text Input Format of DMatrix"; Amazon SageMaker developer guide, "XGBoost algorithm".
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from sagespark.codecs import libsvmread, text
from sagespark.codecs.base import Buffer, Numbers, Rows, as_bytes, check_labels, reported
from sagespark.codecs.matrix import Csr, Matrix, Mixed
from sagespark.core.errors import CodecError

CONTENT_TYPE = "text/libsvm"


@dataclass(frozen=True)
class Libsvm:
    """The codec of LibSVM text; its two content types mean the same."""

    content_type: str = CONTENT_TYPE

    def encode(self, features: Matrix, labels: Numbers | None = None) -> bytes:
        """Return one line per row.

        Parameters
        ----------
        features : ndarray of shape (n, d), Csr or Mixed
            float64 is narrowed to float32.
        labels : ndarray of shape (n,), (n, 2) or (n, 3), optional
            Labels; labels and weights; or labels, weights (NaN: none) and query ids. Without them each row is labelled
            0: no line does without a label.

        Raises
        ------
        CodecError
            If the labels are not one per row, or have more than three columns.
        """
        rows = features.shape[0]
        check_labels(labels, rows)
        lead = np.zeros((rows, 1)) if labels is None else labels.reshape(rows, -1)
        if not 1 <= lead.shape[1] <= 3:
            raise CodecError(
                f"a row leads with a label, a weight and a query id at most, but got {lead.shape[1]} columns",
                contentType=self.content_type,
            )
        out = []
        for part in _parts(features):
            lines = [_lead(lead[part]), _entries(features[part])]
            out.append(text.content(pc.binary_join_element_wise(pc.binary_join_element_wise(*lines, ""), "\n", "")))
        return b"".join(out)

    def decode(self, body: Buffer, *, width: int | None = None, label_size: int | None = None) -> Rows:
        """Return the rows as a Csr of float32.

        Parameters
        ----------
        body : bytes-like
            Lines; what follows ``#`` is a comment, and blank lines are passed over.
        width : int, optional
            The number of features, beyond which no index may be; None: as many as the largest index tells.
        label_size : int, optional
            0: a line may begin with an entry, as those of a request do; a leading label is passed over.

        Returns
        -------
        Rows
            Labels of shape (n,); (n, 2) where rows have weights; float64 of shape (n, 3) where they have query ids.

        Raises
        ------
        CodecError
            If a token is no number or no pair, indices do not increase, or only some rows have a weight or a query id.
        """
        with reported(self.content_type):
            return libsvmread.rows(as_bytes(body), width, labelled=label_size != 0)

    def encode_predictions(self, fields: Mapping[str, Numbers], *, wrapper: str = "predictions") -> bytes:
        """Refuse: no algorithm answers in this form."""
        self._no_answers()

    def decode_predictions(self, body: Buffer, fields: Sequence[str]) -> dict[str, Numbers]:
        """Refuse: no algorithm answers in this form."""
        self._no_answers()

    def _no_answers(self) -> NoReturn:
        raise CodecError(
            "LibSVM carries rows, not predictions: accept application/json or text/csv", contentType=self.content_type
        )


def _parts(features: Matrix) -> Iterator[slice]:
    """Yield slices of rows with about as many entries as :data:`sagespark.codecs.text.CHUNK`."""
    rows, width = features.shape
    if isinstance(features, np.ndarray):
        return text.chunks(rows, width + 1)
    sparse = features if isinstance(features, Csr) else features.sparse
    dense = 0 if isinstance(features, Csr) else features.dense.size
    return text.chunks(rows, 1 + (dense + len(sparse.values)) // max(1, rows))


def _lead(lead: NDArray[Any]) -> text.Strings:
    """Return what each line begins with."""
    with np.errstate(over="ignore"):
        out = text.strings(lead[:, 0].astype(np.float32))
    if lead.shape[1] > 1:
        weight = lead[:, 1].astype(np.float32)
        weighted = pc.binary_join_element_wise(out, text.strings(weight), ":")
        out = pc.if_else(pa.array(np.isnan(weight)), out, weighted) if np.isnan(weight).any() else weighted
    if lead.shape[1] > 2:
        out = pc.binary_join_element_wise(out, text.strings(lead[:, 2].astype(np.int64)), " qid:")
    return out


def _entries(features: Matrix) -> text.Strings:
    """Return the entries of each row, a blank before each."""
    if isinstance(features, Mixed):
        both = pa.concat_arrays([_entries(features.dense), _entries(features.sparse)])
        place = np.empty(len(features.is_sparse), np.int64)
        place[~features.is_sparse] = np.arange(len(features.dense))
        place[features.is_sparse] = np.arange(len(features.dense), len(place))
        return both.take(pa.array(place))
    if isinstance(features, Csr):
        indptr, values, names = features.indptr, features.values, text.strings(features.indices)
    else:
        rows, width = features.shape
        indptr, values = np.arange(rows + 1) * width, features.reshape(-1)
        names = text.strings(np.arange(width)).take(pa.array(np.tile(np.arange(width), rows)))
    missing = np.isnan(values)
    if missing.any():
        names, values = names.filter(pa.array(~missing)), values[~missing]
        indptr = np.concatenate([[0], np.cumsum(~missing)])[indptr]
    with np.errstate(over="ignore"):
        numbers = text.strings(values.astype(np.float32, copy=False))
    pairs = pc.binary_join_element_wise(pc.binary_join_element_wise(" ", names, ""), numbers, ":")
    return pc.binary_join(pa.ListArray.from_arrays(pa.array(indptr.astype(np.int32)), pairs), "")


LIBSVM = Libsvm()
"""The codec of ``text/libsvm``."""
X_LIBSVM = Libsvm("text/x-libsvm")
"""The codec of ``text/x-libsvm``."""
