"""The schema of Amazon Record, and batches as columns of map entries.

Amazon Record (proto2, package ``aialgs.data``)::

    Record        { map<string, Value> features = 1; map<string, Value> label = 2; string uid = 3;
                    string metadata = 4; string configuration = 5; }
    Value         { oneof { Float32Tensor = 2; Float64Tensor = 3; Int32Tensor = 7; Bytes = 9 } }
    Float32Tensor { repeated float values = 1; repeated uint64 keys = 2; repeated uint64 shape = 3; }  (all packed)

Float64Tensor and Int32Tensor differ in the type of ``values``. A map entry is a message ``{ key = 1; value = 2 }``.
Dense: values alone. Sparse: values, their positions as keys, and the width as shape.
Source: Amazon SageMaker developer guide, "Common data formats for training" and "... for inference".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sagespark.codecs.matrix import Csr, Matrix, Mixed
from sagespark.codecs.recordio.framing import CONTENT_TYPE
from sagespark.core.errors import CodecError

FEATURES, LABEL = 1, 2
"""Field numbers of the two maps of a Record."""
KEY = "values"
"""The name under which the built-in algorithms keep the one tensor of a row, in both maps."""
TENSORS: dict[int, np.dtype[Any]] = {
    2: np.dtype("<f4"),
    3: np.dtype("<f8"),
    7: np.dtype("<i4"),
}
"""Field number of a tensor in Value -> type of its values."""
NUMBER: dict[str, int] = {dtype.str: number for number, dtype in TENSORS.items()}


def tag(number: int, wire: int = 2) -> int:
    """Return the byte that begins a field; every number here is below 16."""
    return number << 3 | wire


@dataclass(frozen=True, eq=False)
class Column:
    """One map entry of every row.

    Parameters
    ----------
    side : int
        ``FEATURES`` or ``LABEL``.
    name : bytes
        The entry's key, UTF-8.
    matrix : ndarray of shape (n, m), Csr or Mixed
        The tensors.
    number : int
        The tensor's field number in Value.
    """

    side: int
    name: bytes
    matrix: Matrix
    number: int

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the values on the wire."""
        return TENSORS[self.number]

    @property
    def fixed(self) -> bool:
        """Whether every row's entry takes the same number of bytes."""
        return isinstance(self.matrix, np.ndarray) and self.number != NUMBER["<i4"]


def columns(
    features: Mapping[str, Any], labels: Mapping[str, Any], *, narrow: bool = False
) -> tuple[int, tuple[Column, ...]]:
    """Return the number of rows and the columns in the order in which they are serialised.

    Parameters
    ----------
    features, labels : mapping of str to ndarray, Csr or Mixed
        Arrays of shape (n,) or (n, m). Deterministic serialisation sorts the names of a map.
    narrow : bool
        Write Float32Tensor whatever the type.

    Raises
    ------
    CodecError
        If a type has no tensor, or the numbers of rows differ.
    """
    made = []
    for side, entries in ((FEATURES, features), (LABEL, labels)):
        for name in sorted(entries, key=lambda text: text.encode()):
            made.append(_column(side, name, entries[name], narrow))
    rows = {c.matrix.shape[0] for c in made}
    if len(rows) != 1:
        shapes = {f"{'features' if c.side == FEATURES else 'label'}[{c.name.decode()!r}]": c.matrix.shape for c in made}
        raise CodecError(
            f"all entries of a batch must have one common number of rows, but got {shapes}", contentType=CONTENT_TYPE
        )
    return rows.pop(), tuple(made)


def _column(side: int, name: str, matrix: Any, narrow: bool) -> Column:
    if not isinstance(matrix, Csr | Mixed):
        matrix = np.asarray(matrix)
        if matrix.ndim not in (1, 2):
            raise CodecError(
                f"{name!r} must have one or two dimensions, but got {matrix.ndim}", contentType=CONTENT_TYPE
            )
        matrix = matrix[:, None] if matrix.ndim == 1 else matrix
    kinds = {part.dtype for part in _parts(matrix)}
    if narrow and all(kind.kind in "fiub" for kind in kinds):
        number = NUMBER["<f4"]
    elif len(kinds) == 1 and (kind := kinds.pop()).newbyteorder("<").str in NUMBER:
        number = NUMBER[kind.newbyteorder("<").str]
    else:
        raise CodecError(
            f"{name!r} must be of float32, float64 or int32, but got {', '.join(sorted(map(str, kinds or [kind])))}",
            contentType=CONTENT_TYPE,
        )
    return Column(side, name.encode(), matrix, number)


def _parts(matrix: Matrix) -> list[NDArray[Any]]:
    if isinstance(matrix, Csr):
        return [matrix.values]
    if isinstance(matrix, Mixed):
        return [matrix.dense, matrix.sparse.values]
    return [matrix]
