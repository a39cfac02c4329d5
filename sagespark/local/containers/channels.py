"""Read an input channel: blocks of float32 rows in order, checked, with flat memory; or all of it as one matrix."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sagespark.codecs import recordio
from sagespark.codecs.base import Rows
from sagespark.codecs.matrix import Csr, Matrix, Mixed
from sagespark.codecs.recordio.framing import CONTENT_TYPE
from sagespark.codecs.registry import codec, parse_content_type
from sagespark.core.errors import CodecError
from sagespark.local.containers.contract import ChannelFiles, ClientError

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

BLOCK_BYTES = 8 * 1024 * 1024
"""Bytes of a file that are decoded at a time."""
CSV = "text/csv"
"""Content type of rows as text."""
DENSE_BYTES = 64 * 1024 * 1024
"""Most bytes of a block of sparse rows that is made dense."""


def blocks(channel: ChannelFiles, width: int, *, force_dense: bool = False) -> Iterator[Matrix]:
    """Yield the rows of a channel in the order of its files, as float32.

    Parameters
    ----------
    channel : ChannelFiles
        RecordIO-protobuf (also where no content type is given) or CSV. Labels are left out.
    width : int
        ``feature_dim``.
    force_dense : bool
        Give every row dense.

    Raises
    ------
    ClientError
        If bytes cannot be decoded, a row has another width, or a value is NaN or infinite; the message names the file
        and the row's position in it, from 0.
    """
    for rows, _, _ in _read(channel, width, (recordio_type(), CSV), 0):
        yield from _cut(_float32(rows.features), force_dense)


def labelled(
    channel: ChannelFiles, width: int | None, content_types: Sequence[str] = (CONTENT_TYPE, CSV)
) -> Iterator[tuple[Matrix, NDArray[np.float32]]]:
    """Yield the rows of a channel with their labels, in the order of its files: float32, labels of shape (n,).

    Parameters
    ----------
    channel : ChannelFiles
        In CSV the label is the first column unless ``label_size`` says otherwise, as AWS's training channels have it.
    width : int or None
        ``feature_dim``; None: that of the first row.
    content_types : sequence of str
        What the algorithm reads, of RecordIO-protobuf and CSV.

    Raises
    ------
    ClientError
        As :func:`blocks`, and if a row has no label, several, or one that is NaN or infinite.
    """
    for rows, where, position in _read(channel, width, content_types, 1):
        labels = rows.labels
        if not len(rows):
            continue
        if labels is None or (labels.ndim == 2 and labels.shape[1] != 1):
            count = "none" if labels is None else labels.shape[1]
            raise ClientError(f"{where} must have one label per row, but its rows have {count}")
        labels = labels.reshape(-1).astype(np.float32, copy=False)
        if not np.isfinite(labels).all():
            at = int(np.flatnonzero(~np.isfinite(labels))[0])
            raise ClientError(f"{where}: row {position + at} has the label {labels[at]}; every label must be finite")
        yield _float32(rows.features), labels


def _read(
    channel: ChannelFiles, width: int | None, content_types: Sequence[str], label_size: int
) -> Iterator[tuple[Rows, str, int]]:
    """Yield checked rows, words that tell where they are, and the position of the first in its file."""
    kind, _ = parse_content_type(channel.content_type or recordio_type())
    if kind not in content_types:
        raise ClientError(
            f"channel {channel.name!r} has the content type {channel.content_type!r}; "
            f"this algorithm reads {' and '.join(content_types)}"
        )
    for path in channel.parts():
        position = 0
        where = f"channel {channel.name!r}, file {path.name!r}"
        try:
            for rows in _file(path, channel.content_type, kind, width, label_size):
                features = rows.features
                width = features.shape[1] if width is None and features.shape[0] else width
                if width is not None:
                    _check(features, width, where, position)
                yield rows, where, position
                position += features.shape[0]
        except CodecError as error:
            raise ClientError(f"{where}: {error}") from error


def recordio_type() -> str:
    """Return the content type that a channel without one has."""
    return CONTENT_TYPE


def _file(path: Path, content_type: str, kind: str, width: int | None, label_size: int) -> Iterator[Rows]:
    with path.open("rb") as stream:
        if kind == recordio_type():
            yield from recordio.iter_blocks(stream, BLOCK_BYTES)
            return
        csv = codec(content_type)
        told = None if "label_size" in parse_content_type(content_type)[1] else label_size
        for lines in whole_lines(stream):
            yield csv.decode(lines, width=width, label_size=told)


def whole_lines(stream: Any) -> Iterator[bytes]:
    """Yield a text in pieces that end with a line."""
    rest = b""
    while chunk := stream.read(BLOCK_BYTES):
        head, newline, tail = (rest + chunk).rpartition(b"\n")
        if newline:
            yield head + newline
        rest = tail
    if rest.strip():
        yield rest


def _check(features: Matrix, width: int, where: str, position: int) -> None:
    if features.shape[0] and features.shape[1] != width:
        raise ClientError(
            f"{where}: rows from {position} on have {features.shape[1]} features, but feature_dim is {width}"
        )
    for part, rows in parts(features):
        finite = np.isfinite(part)
        if not finite.all():
            at = int(np.flatnonzero(~finite.ravel())[0])
            value = part.ravel()[at]
            raise ClientError(f"{where}: row {position + int(rows(at))} holds {value}; every feature must be finite")


def parts(features: Matrix) -> list[tuple[Any, Any]]:
    """Return the arrays of values with a function each from a flat index to a row of the block."""
    if isinstance(features, Csr):
        return [(features.values, lambda at: np.searchsorted(features.indptr, at, side="right") - 1)]
    if isinstance(features, Mixed):
        dense_rows, sparse_rows = np.flatnonzero(~features.is_sparse), np.flatnonzero(features.is_sparse)
        (sparse, row_of) = parts(features.sparse)[0]
        return [
            (features.dense, lambda at: dense_rows[at // features.dense.shape[1]]),
            (sparse, lambda at: sparse_rows[row_of(at)]),
        ]
    return [(features, lambda at: at // features.shape[1])]


def _float32(features: Matrix) -> Matrix:
    if isinstance(features, Csr):
        return replace(features, values=features.values.astype(np.float32, copy=False))
    if isinstance(features, Mixed):
        dense, sparse = features.dense.astype(np.float32, copy=False), _float32(features.sparse)
        assert isinstance(sparse, Csr)  # of a Csr
        return Mixed(features.is_sparse, dense, sparse)
    return features.astype(np.float32, copy=False)


def _cut(features: Matrix, force_dense: bool) -> Iterator[Matrix]:
    """Yield the block, or dense blocks of bounded size where it is sparse and shall be dense."""
    rows, width = features.shape
    if not rows:
        return
    if not force_dense or isinstance(features, np.ndarray):
        yield features
        return
    step = max(1, DENSE_BYTES // (4 * width))
    for start in range(0, rows, step):
        yield dense(features[start : start + step])


def dense(features: Matrix) -> NDArray[np.float32]:
    """Return a batch as dense float32 rows; only for narrow ones."""
    if isinstance(features, Csr):
        return features.to_dense().astype(np.float32, copy=False)
    if isinstance(features, Mixed):
        out = np.empty(features.shape, np.float32)
        out[~features.is_sparse] = features.dense
        out[features.is_sparse] = features.sparse.to_dense()
        return out
    return features.astype(np.float32, copy=False)


def memory(features: Matrix) -> int:
    """Return the bytes that a batch takes."""
    if isinstance(features, Csr):
        return features.values.nbytes + features.indices.nbytes + features.indptr.nbytes
    if isinstance(features, Mixed):
        return features.dense.nbytes + memory(features.sparse)
    return features.nbytes


def to_csr(features: Matrix) -> csr_matrix:
    """Return a batch as SciPy's matrix with 32-bit indices, which scikit-learn's K-means asks for."""
    from scipy.sparse import csr_matrix

    if isinstance(features, Csr):
        arrays = (features.values, features.indices.astype(np.int32), features.indptr.astype(np.int32))
        return csr_matrix(arrays, shape=features.shape)
    if isinstance(features, Mixed):
        from scipy.sparse import vstack

        stacked = vstack([to_csr(features.dense), to_csr(features.sparse)], format="csr")
        order = np.argsort(np.concatenate([np.flatnonzero(~features.is_sparse), np.flatnonzero(features.is_sparse)]))
        return stacked[order]
    return csr_matrix(features)


def gather(parts: Sequence[Matrix]) -> Any:
    """Return all rows as one dense array, or as one CSR matrix where any row is sparse."""
    if all(isinstance(part, np.ndarray) for part in parts):
        return np.concatenate([np.asarray(part) for part in parts])
    from scipy.sparse import vstack

    return vstack([to_csr(part) for part in parts], format="csr")
