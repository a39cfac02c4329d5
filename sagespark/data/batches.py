"""Arrow lists to batches of rows, each row checked; no Python per row.

Notation: ``n`` rows, ``d`` features, ``nnz`` stored entries.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from sagespark.codecs.matrix import Csr, Matrix, Mixed
from sagespark.core.errors import DataError
from sagespark.data.frame import WIDE, FrameLayout

Offsets = NDArray[np.int64]
Mask = NDArray[np.bool_]


class BadRowError(Exception):
    """A row that is refused, at its position in the batch at hand.

    Parameters
    ----------
    position : int
        Of the row, from 0.
    column : str
        Its column.
    rule : str
        What is wrong and the way out, in words that follow "row 3: ".
    value : str or None
        The value's text.
    """

    def __init__(self, position: int, column: str, rule: str, value: str | None = None) -> None:
        super().__init__(rule)
        self.position, self.column, self.rule, self.value = position, column, rule, value

    def located(self, partition: int, before: int) -> DataError:
        """Return the error of that row, ``before`` rows into the partition."""
        position = before + self.position
        return DataError(
            f"column {self.column!r}, partition {partition}, row {position} of the partition (from 0): {self.rule}",
            column=self.column,
            partition=partition,
            position=position,
            value=self.value,
        )


@dataclass(frozen=True, eq=False)
class Lists:
    """One list per row, flat.

    Parameters
    ----------
    flat : ndarray of shape (m,)
        All elements.
    offsets : ndarray of int64, shape (n + 1,)
        Row ``i`` has the elements ``offsets[i]`` to ``offsets[i + 1]``; ``offsets[0]`` is 0.
    missing : ndarray of bool, shape (m,), or None
        Which elements are null; None: none is.
    """

    flat: NDArray[Any]
    offsets: Offsets
    missing: Mask | None = None

    @classmethod
    def of(cls, array: pa.ListArray) -> Lists:
        """Return an Arrow array of lists; its memory is shared where no element is null."""
        offsets = array.offsets.to_numpy().astype(np.int64)
        flat = array.values.slice(offsets[0], offsets[-1] - offsets[0])
        missing = flat.is_null().to_numpy(zero_copy_only=False) if flat.null_count else None
        return cls(flat.to_numpy(zero_copy_only=missing is None), offsets - offsets[0], missing)

    def row(self, element: int) -> int:
        """Return the row of an element."""
        return int(np.searchsorted(self.offsets, element, side="right")) - 1


@dataclass(frozen=True, eq=False)
class Features:
    """The features of some rows as they arrive.

    Parameters
    ----------
    values : Lists of float32 or float64
        Stored values.
    sizes : ndarray of int64, shape (n,)
        Number of features of each row.
    sparse : ndarray of bool, shape (n,)
        Kind of each row.
    null : ndarray of bool, shape (n,)
        Which rows are null.
    indices : Lists of int32, or None
        Stored indices; None where no row can be sparse.
    """

    values: Lists
    sizes: Offsets
    sparse: Mask
    null: Mask
    indices: Lists | None

    @classmethod
    def of(cls, values: Lists, kind: NDArray[np.int64], null: Mask, indices: Lists | None) -> Features:
        """Return features of their travelling form (:mod:`sagespark.data.columns`)."""
        sparse = kind >= 0
        return cls(values, np.where(sparse, kind, np.diff(values.offsets)), sparse & ~null, null, indices)


def from_arrow(values: pa.Array, kind: pa.Array, indices: pa.Array | None = None) -> Features:
    """Return the features of Arrow columns as :mod:`sagespark.data.columns` makes them."""
    null = kind.is_null().to_numpy(zero_copy_only=False) if kind.null_count else np.zeros(len(kind), bool)
    kinds = (kind.fill_null(-1) if kind.null_count else kind).to_numpy().astype(np.int64)
    return Features.of(Lists.of(values), kinds, null, None if indices is None else Lists.of(indices))


def to_matrix(rows: Features, layout: FrameLayout, width: int | None, says: str) -> Matrix:
    """Return the rows as a batch of float32, sparse where they are to be sent so.

    Parameters
    ----------
    rows : Features
    layout : FrameLayout
    width : int or None
        The number of features that every row must have; None: as the first.
    says : str
        Who asks for ``width``, as in "the model takes {width}"; not looked at where that is None.

    Raises
    ------
    BadRowError
        For the first row that is refused: null, of another width, with an element that is missing, infinite or beyond
        float32, with indices that are no sparse vector's, or too wide to be made dense.
    """
    with np.errstate(over="ignore"):
        narrow = rows.values.flat.astype(np.float32, copy=False)
    if width is None and len(rows.sizes):
        width, says = int(rows.sizes[0]), "the rows before have {width}"
    bad = [error for check in _checks(rows, layout, narrow, width, says) if (error := check()) is not None]
    if bad:
        raise min(bad, key=lambda error: error.position)
    return _assemble(rows, narrow, width or 0, layout)


def _checks(
    rows: Features, layout: FrameLayout, narrow: NDArray[np.float32], width: int | None, says: str
) -> Iterator[Callable[[], BadRowError | None]]:
    yield lambda: _null(rows, layout)
    yield lambda: _width(rows, layout, width, says)
    yield lambda: _elements(rows, layout, narrow)
    yield lambda: _indices(rows, layout)


def _null(rows: Features, layout: FrameLayout) -> BadRowError | None:
    if not rows.null.any():
        return None
    rule = "there is no value (null); drop such rows first: df.dropna(subset=[...])"
    return BadRowError(int(rows.null.argmax()), layout.title, rule, "null")


def _width(rows: Features, layout: FrameLayout, width: int | None, says: str) -> BadRowError | None:
    wrong = (rows.sizes != width) & ~rows.null
    if wrong.any():
        i = int(wrong.argmax())
        size = int(rows.sizes[i])
        return BadRowError(i, layout.title, f"it has {size} features, but {says.format(width=width)}", str(size))
    if width == 0 and len(rows.sizes):
        return BadRowError(0, layout.title, "it has no features; at least one is needed", "[]")
    if layout.vectorFormat == "dense" and width is not None and width > WIDE and rows.sparse.any():
        rule = (
            f"vectorFormat='dense' would make a sparse row of {width} features dense, which is not done above {WIDE}; "
            "use 'auto' or 'sparse'"
        )
        return BadRowError(int(rows.sparse.argmax()), layout.title, rule, f"sparse of {width}")
    return None


def _elements(rows: Features, layout: FrameLayout, narrow: NDArray[np.float32]) -> BadRowError | None:
    usable = np.isfinite(narrow)
    if usable.all():
        return None
    if layout.missing == "keep":
        usable |= np.isnan(narrow)
        if usable.all():
            return None
    element = int(usable.argmin())
    values = rows.values
    row = values.row(element)
    place = element - int(values.offsets[row])
    column, where = layout.title, f"element {place}"
    if layout.kind == "columns":
        column, where = layout.features[min(place, len(layout.features) - 1)], "it"
    elif rows.sparse[row] and rows.indices is not None and rows.indices.offsets[row] + place < len(rows.indices.flat):
        where = f"element {int(rows.indices.flat[rows.indices.offsets[row] + place])}"
    if values.missing is not None and values.missing[element]:
        return BadRowError(row, column, f"{where} is null; fill or drop such rows first: df.fillna, df.dropna", "null")
    value = float(values.flat[element])
    return BadRowError(row, column, f"{where} is {not_a_float32(value)}", repr(value))


def not_a_float32(value: float) -> str:
    """Return in words why a value is refused: NaN, infinite, or beyond float32."""
    if np.isnan(value):
        return "NaN; fill or drop such rows first: df.fillna, df.dropna, or pyspark.ml.feature.Imputer"
    if np.isinf(value):
        return f"infinite ({value!r}); replace or drop such rows first"
    return f"{value!r}, beyond float32, which SageMaker's formats carry (largest 3.4028235e+38); scale the column"


def _indices(rows: Features, layout: FrameLayout) -> BadRowError | None:
    """Refuse a sparse row whose indices are not increasing, not below its size, or not one per value."""
    if rows.indices is None or not rows.sparse.any():
        return None
    found, offsets = rows.indices.flat, rows.indices.offsets
    wrong = (np.diff(offsets) != np.diff(rows.values.offsets)) & rows.sparse
    entry = found < 0
    falling = found[1:] <= found[:-1]
    falling[offsets[1:-1][(offsets[1:-1] > 0) & (offsets[1:-1] < len(found))] - 1] = False
    entry[1:] |= falling
    if entry.any():
        wrong[rows.indices.row(int(entry.argmax()))] = True
    stored = np.flatnonzero(np.diff(offsets) > 0)
    wrong[stored] |= found[offsets[stored + 1] - 1] >= rows.sizes[stored]
    if not wrong.any():
        return None
    rule = "its indices are no sparse vector's: they must increase, stay below its size, and be as many as its values"
    i = int(wrong.argmax())
    return BadRowError(i, layout.title, rule, str(found[offsets[i] : offsets[i + 1]][:10].tolist()))


def to_sparse(matrix: Matrix) -> Csr:
    """Return rows all sparse; a dense row without its zeros.

    Parameters
    ----------
    matrix : ndarray of shape (n, d), Csr or Mixed
    """
    if isinstance(matrix, Mixed):
        return _interleave(matrix.is_sparse, _to_csr(matrix.dense), matrix.sparse)
    return matrix if isinstance(matrix, Csr) else _to_csr(matrix)


def as_sent(matrix: Matrix, layout: FrameLayout) -> Matrix:
    """Return dense or sparse rows that are at hand in the form in which `to_matrix` gives them.

    Parameters
    ----------
    matrix : ndarray of float32, shape (n, d), or Csr
    layout : FrameLayout
    """
    width = matrix.shape[1]
    if isinstance(matrix, np.ndarray):
        return _to_csr(matrix) if _all_sparse(width, layout) else matrix
    assert isinstance(matrix, Csr)
    if _fits(width, layout):
        return matrix.to_dense()
    return _stored(matrix) if layout.missing == "keep" else matrix


def _all_sparse(width: int, layout: FrameLayout) -> bool:
    """Tell whether every row is sent sparse.

    To an algorithm that knows missing values a sparse row's absent elements are missing, a dense row's zeros are not.
    So that the kind of a row does not change its answer, all rows of a width are sent in one form.
    """
    return layout.vectorFormat == "sparse" or (
        layout.missing == "keep" and layout.vectorFormat == "auto" and width > WIDE
    )


def _stored(csr: Csr) -> Csr:
    """Return the rows without their zeros, which a dense row made sparse has not either."""
    kept = csr.values != 0
    if kept.all():
        return csr
    before = np.concatenate([[0], np.cumsum(kept)])
    return Csr(before[csr.indptr], csr.indices[kept], csr.values[kept], csr.width)


def _assemble(rows: Features, narrow: NDArray[np.float32], width: int, layout: FrameLayout) -> Matrix:
    found = _combined(rows, narrow, width, layout)
    return _stored(found) if layout.missing == "keep" and isinstance(found, Csr) else found


def _combined(rows: Features, narrow: NDArray[np.float32], width: int, layout: FrameLayout) -> Matrix:
    every = _all_sparse(width, layout)
    if not rows.sparse.any():
        dense = narrow.reshape(len(rows.sizes), width)
        return _to_csr(dense) if every else dense
    lengths = np.diff(rows.values.offsets)
    assert rows.indices is not None
    indices = rows.indices.flat.astype(np.int64)
    if rows.sparse.all():
        csr = Csr(rows.values.offsets, indices, narrow, width)
        return csr.to_dense() if _fits(width, layout) else csr
    stored = np.repeat(rows.sparse, lengths)
    indptr = np.concatenate([[0], np.cumsum(lengths[rows.sparse])])
    csr = Csr(indptr, indices, narrow[stored], width)
    dense = narrow[~stored].reshape(-1, width)
    if every:
        return _interleave(rows.sparse, _to_csr(dense), csr)
    if not _fits(width, layout):
        return Mixed(rows.sparse, dense, csr)
    out = np.empty((len(rows.sizes), width), np.float32)
    out[~rows.sparse] = dense
    out[rows.sparse] = csr.to_dense()
    return out


def _fits(width: int, layout: FrameLayout) -> bool:
    return layout.vectorFormat != "sparse" and width <= WIDE


def _to_csr(dense: NDArray[np.float32]) -> Csr:
    row, column = np.nonzero(dense)
    indptr = np.concatenate([[0], np.cumsum(np.bincount(row, minlength=len(dense)))])
    return Csr(indptr, column.astype(np.int64), dense[row, column], dense.shape[1])


def _interleave(is_second: Mask, first: Csr, second: Csr) -> Csr:
    """Return the rows of two batches as one, each row from the second where ``is_second`` says so."""
    counts = np.empty(len(is_second), np.int64)
    counts[~is_second], counts[is_second] = np.diff(first.indptr), np.diff(second.indptr)
    from_second = np.repeat(is_second, counts)
    indices = np.empty(len(from_second), np.int64)
    values = np.empty(len(from_second), np.float32)
    indices[from_second], indices[~from_second] = second.indices, first.indices
    values[from_second], values[~from_second] = second.values, first.values
    return Csr(np.concatenate([[0], np.cumsum(counts)]), indices, values, first.width)
