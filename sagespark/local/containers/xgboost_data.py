"""Read a channel of XGBoost into arrays, and these into XGBoost's matrix; no Python per row.

Notation: ``n`` rows, ``d`` features. What a sparse row does not hold is missing to XGBoost; what a dense row holds is
not, zeros among it.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from sagespark.codecs import recordio
from sagespark.codecs.base import Rows
from sagespark.codecs.csv import Csv
from sagespark.codecs.libsvm import LIBSVM
from sagespark.codecs.matrix import Csr, Matrix, Mixed
from sagespark.codecs.registry import parse_content_type
from sagespark.core.errors import CodecError
from sagespark.local.containers.channels import BLOCK_BYTES, whole_lines
from sagespark.local.containers.contract import ChannelFiles, ClientError

if TYPE_CHECKING:
    import xgboost
    from scipy.sparse import csr_matrix

_log = logging.getLogger("xgboost")
KINDS = {
    "libsvm": "libsvm",
    "text/libsvm": "libsvm",
    "text/x-libsvm": "libsvm",
    "csv": "csv",
    "text/csv": "csv",
    "recordio-protobuf": "recordio-protobuf",
    "application/x-recordio-protobuf": "recordio-protobuf",
    "parquet": "parquet",
    "application/x-parquet": "parquet",
}
"""Content types, AWS's short names among them, by format."""


@dataclass(frozen=True, eq=False)
class Data:
    """The rows of a channel.

    Parameters
    ----------
    features : ndarray of float32, shape (n, d), or csr_matrix
    labels : ndarray of float32, shape (n,)
    weights : ndarray of float32, shape (n,), or None
    groups : ndarray of int64, shape (n,), or None
        Numbers of queries, increasing.
    """

    features: NDArray[np.float32] | csr_matrix
    labels: NDArray[np.float32]
    weights: NDArray[np.float32] | None = None
    groups: NDArray[np.int64] | None = None

    @property
    def width(self) -> int:
        """``d``."""
        return int(self.features.shape[1])


def kind_of(channel: ChannelFiles) -> str:
    """Return the format of a channel: ``libsvm``, also where no content type is given, ``csv``, ...

    Raises
    ------
    ClientError
        If it is another, CSV with another number of label columns than 1, or the channel is a pipe.
    """
    name, parameters = parse_content_type(channel.content_type or "libsvm")
    if name not in KINDS:
        raise ClientError(
            f"channel {channel.name!r}: {channel.content_type!r} is not an accepted ContentType; XGBoost reads "
            f"{', '.join(KINDS)}"
        )
    if KINDS[name] == "csv" and parameters.get("label_size", "1") != "1":
        raise ClientError(
            f"channel {channel.name!r}: {channel.content_type!r} is not an accepted ContentType; label_size must be 1"
        )
    if channel.epochs is not None:
        raise ClientError(
            f"channel {channel.name!r}: XGBoost no longer reads pipes; use the input mode File or FastFile, not Pipe"
        )
    return KINDS[name]


def read(channel: ChannelFiles, csv_weights: bool) -> Data | None:
    """Return the rows of a channel, in the order of its files; None where there is none.

    Parameters
    ----------
    channel : ChannelFiles
    csv_weights : bool
        Whether the second column of CSV rows is their weight.

    Raises
    ------
    ClientError
        If bytes cannot be decoded, rows have no label or one that is no number, or files do not go together; the
        message names the file.
    """
    kind = kind_of(channel)
    parts: list[Rows] = []
    for path in channel.files:
        if not path.stat().st_size:
            continue
        position = 0
        try:
            for rows in _file(path, kind, 2 if csv_weights else 1):
                _check(rows, f"channel {channel.name!r}, file {path.name!r}", position)
                position += len(rows)
                parts.append(rows)
        except (CodecError, OSError) as error:
            raise ClientError(f"channel {channel.name!r}, file {path.name!r}: {error}") from error
    parts = [part for part in parts if len(part)]
    return _together(parts, channel.name) if parts else None


def _file(path: Path, kind: str, columns: int) -> Iterator[Rows]:
    if kind == "parquet":
        yield _parquet(path)
        return
    with path.open("rb") as stream:
        if kind == "recordio-protobuf":
            yield from recordio.iter_blocks(stream, BLOCK_BYTES)
            return
        before = 0
        for lines in _blocks(stream):
            try:
                yield LIBSVM.decode(lines) if kind == "libsvm" else Csv().decode(lines, label_size=columns)
            except CodecError as error:
                raise CodecError(_counted(error.message, before)) from error
            before += lines.count(b"\n")


def _counted(message: str, before: int) -> str:
    """Return a message of some lines with their numbers in the file, where ``before`` lines are before them."""
    return re.sub(r"line (\d+)", lambda found: f"line {int(found[1]) + before}", message)


def _blocks(stream: BinaryIO) -> Iterator[bytes]:
    """Yield runs of whole lines; the last line, which may have no end, with those before it."""
    held = b""
    for lines in whole_lines(stream):
        if held and lines.endswith(b"\n"):
            yield held
            held = b""
        held += lines
    if held:
        yield held


def _parquet(path: Path) -> Rows:
    import pyarrow as pa
    from pyarrow import parquet

    try:
        table = parquet.read_table(path)
        columns = [column.cast(pa.float32()).to_numpy() for column in table.columns]
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise ClientError(f"file {path.name!r} holds no Parquet table of numbers: {error}") from error
    if len(columns) < 2:
        raise ClientError(f"file {path.name!r} has {len(columns)} columns; it must hold a label and a feature at least")
    return Rows(np.column_stack(columns[1:]), columns[0])


def _check(rows: Rows, where: str, position: int) -> None:
    if rows.labels is None:
        raise ClientError(f"{where}: the rows have no labels")
    lead = rows.labels.reshape(len(rows), -1)
    bad = ~np.isfinite(lead[:, 0])
    if bad.any():
        i = int(bad.argmax())
        raise ClientError(f"{where}: the label of row {position + i} is {lead[i, 0]}; every label must be a number")
    if lead.shape[1] > 1:
        weights = lead[:, 1]
        # NaN in all rows says that there are none.
        wrong = ~((weights >= 0) & np.isfinite(weights)) & ~np.isnan(weights)
        if wrong.any():
            i = int(wrong.argmax())
            raise ClientError(f"{where}: the weight of row {position + i} is {weights[i]}; weights are 0 or more")


def _together(parts: Sequence[Rows], name: str) -> Data:
    leads = [part.labels.reshape(len(part), -1) for part in parts if part.labels is not None]
    if len({lead.shape[1] for lead in leads}) > 1:
        raise ClientError(f"channel {name!r}: some files have weights or query ids, others have none")
    features = _stack([part.features for part in parts], name)
    lead = np.concatenate(leads)
    weights = lead[:, 1].astype(np.float32) if lead.shape[1] > 1 else None
    if weights is not None and np.isnan(weights).any():
        if not np.isnan(weights).all():
            raise ClientError(f"channel {name!r}: some rows have a weight, others have none")
        weights = None
    groups = _queries(lead[:, 2], name) if lead.shape[1] > 2 else None
    return Data(features, lead[:, 0].astype(np.float32), weights, groups)


def _queries(ids: NDArray[np.float64], name: str) -> NDArray[np.int64]:
    """Return numbers of the queries in the order of the rows; XGBoost keeps 32 bits of an id.

    As in XGBoost's reader of text, a query ends where the id changes.
    """
    numbers = np.cumsum(np.diff(ids, prepend=ids[:1]) != 0)
    if numbers[-1] + 1 > len(np.unique(ids)):
        _log.warning(
            "Rows of a query do not stand together in channel %r: each run of rows is a query of its own", name
        )
    return numbers


def _stack(parts: Sequence[Matrix], name: str) -> Any:
    """Return all rows as one dense array, or as one CSR matrix where any row is sparse."""
    widths = {part.shape[1] for part in parts}
    if all(isinstance(part, np.ndarray) for part in parts):
        if len(widths) > 1:
            raise ClientError(f"channel {name!r}: rows have {' and '.join(map(str, sorted(widths)))} features")
        return parts[0] if len(parts) == 1 else np.concatenate([np.asarray(part) for part in parts])
    from scipy.sparse import vstack

    # LibSVM tells no width: a file's is that of its largest index.
    return vstack([to_csr(part, max(widths)) for part in parts], format="csr")


def to_csr(features: Matrix, width: int) -> csr_matrix:
    """Return rows as SciPy's matrix of ``width`` columns; a dense row keeps all its elements, zeros among them."""
    from scipy.sparse import csr_matrix, vstack

    if isinstance(features, Mixed):
        both = vstack([to_csr(features.dense, width), to_csr(features.sparse, width)], format="csr")
        place = np.concatenate([np.flatnonzero(~features.is_sparse), np.flatnonzero(features.is_sparse)])
        return both[np.argsort(place)]
    if isinstance(features, Csr):
        arrays = (features.values.astype(np.float32, copy=False), features.indices, features.indptr)
        return csr_matrix(arrays, shape=(features.shape[0], width))
    rows, columns = features.shape
    indices = np.tile(np.arange(columns), rows)
    return csr_matrix(
        (features.reshape(-1).astype(np.float32, copy=False), indices, np.arange(rows + 1) * columns),
        shape=(rows, width),
    )


def matrix(data: Data, width: int, threads: int | None, bounds: bool) -> xgboost.DMatrix:
    """Return XGBoost's matrix.

    Parameters
    ----------
    data : Data
        ``width`` features, or fewer where the rows are sparse.
    width : int
    threads : int or None
    bounds : bool
        Give each label as both bounds of its own interval, as the objective ``survival:aft`` asks: nothing is censored.
        AWS's container takes the objective, but nothing in its sources gives XGBoost the bounds.

    Raises
    ------
    ClientError
        If XGBoost refuses the values.
    """
    import xgboost

    features = data.features
    if width > data.width:
        if isinstance(features, np.ndarray):
            raise ClientError(f"the rows have {data.width} features, but other rows {width}")
        features.resize(features.shape[0], width)
    options: dict[str, Any] = {}
    if bounds:
        options = {"label_lower_bound": data.labels, "label_upper_bound": data.labels}
    try:
        return xgboost.DMatrix(
            features, label=data.labels, weight=data.weights, qid=data.groups, nthread=threads, **options
        )
    except xgboost.core.XGBoostError as error:
        raise ClientError(reason(error)) from error


def reason(error: Exception) -> str:
    """Return what XGBoost says, without its time, place and stack."""
    text = str(error).split("\nStack trace", 1)[0].strip()
    _, found, rest = text.partition("Check failed: ")
    if not found:
        return text.split("] ", 1)[-1]
    # "Check failed: valid: Label contains NaN": the condition, then the words.
    return rest.split(": ", 1)[-1].strip() or rest.strip()
