"""Encoder output is byte for byte what the protobuf library serialises."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from sagespark.codecs import recordio
from sagespark.codecs.matrix import Csr, Mixed
from support.record_proto import record_class, serialise


def _csr(rng: np.random.Generator, counts: list[int], width: int, dtype: Any = np.float32) -> Csr:
    indptr = np.concatenate([[0], np.cumsum(counts)])
    if width < 10**6:
        rows = [rng.choice(width, c, replace=False) for c in counts]
    else:
        rows = [np.unique(rng.integers(0, width, 2 * c))[:c] for c in counts]
    indices = np.concatenate([np.sort(r) for r in rows]).astype(np.int64)
    return Csr(indptr, indices, rng.standard_normal(indptr[-1]).astype(dtype), width)


def _put(tensor: Any, row: Any) -> None:
    if isinstance(row, Csr):
        tensor.values.extend(row.values.tolist())
        tensor.keys.extend(row.indices.tolist())
        tensor.shape.append(row.width)
    else:
        tensor.values.extend(row.tolist())


def _rows(matrix: Any) -> list[Any]:
    if isinstance(matrix, Mixed):
        dense, sparse = iter(_rows(matrix.dense)), iter(_rows(matrix.sparse))
        return [next(sparse) if s else next(dense) for s in matrix.is_sparse]
    if isinstance(matrix, Csr):
        return [matrix[i : i + 1] for i in range(matrix.shape[0])]
    return list(matrix.reshape(len(matrix), -1))


def _oracle(features: dict[str, Any], labels: dict[str, Any], rows: int, narrow: bool = False) -> bytes:
    records = [record_class()() for _ in range(rows)]
    for side, entries in (("features", features), ("label", labels)):
        for name, matrix in entries.items():
            for record, row in zip(records, _rows(matrix), strict=True):
                kind = row.values.dtype if isinstance(row, Csr) else row.dtype
                tensor = {"float32": "float32_tensor", "float64": "float64_tensor", "int32": "int32_tensor"}[str(kind)]
                value = getattr(record, side)[name]
                message = getattr(value, "float32_tensor" if narrow else tensor)
                message.SetInParent()
                _put(message, row)
    return serialise(records)


@pytest.mark.parametrize("width", [0, 1, 5, 31, 32, 784])
@pytest.mark.parametrize("labelled", [False, True])
def test_dense(width: int, labelled: bool) -> None:
    rng = np.random.default_rng(width)
    x = rng.standard_normal((7, width), dtype=np.float32)
    y = rng.random(7, dtype=np.float32) if labelled else None
    assert bytes(recordio.encode(x, y)) == _oracle({"values": x}, {} if y is None else {"values": y}, 7)


@pytest.mark.parametrize("width", [3, 127, 128, 129, 10_000, 2_000_000, 2**28, 2**40, 2**62])
@pytest.mark.parametrize("labelled", [False, True])
def test_sparse(width: int, labelled: bool) -> None:
    rng = np.random.default_rng(1)
    x = _csr(rng, [0, 1, min(3, width), 0, min(40, width), min(300, width)], width)
    y = rng.random(6, dtype=np.float32) if labelled else None
    expected = _oracle({"values": x}, {} if y is None else {"values": y}, 6)
    assert bytes(recordio.encode(x, y)) == expected
    assert recordio.row_sizes(x, labelled).sum() == len(expected)


def test_mixed_rows_keep_their_order() -> None:
    rng = np.random.default_rng(2)
    kinds = np.array([True, False, False, True, True, False])
    x = Mixed(kinds, rng.standard_normal((3, 200), dtype=np.float32), _csr(rng, [0, 7, 130], 200))
    y = rng.random(6, dtype=np.float32)
    assert bytes(recordio.encode(x, y)) == _oracle({"values": x}, {"values": y}, 6)


def test_many_keys_and_types() -> None:
    rng = np.random.default_rng(3)
    features = {
        "z": rng.standard_normal((4, 3)),
        "values": rng.standard_normal((4, 2), dtype=np.float32),
        "é": rng.integers(-(2**31), 2**31, (4, 5)).astype(np.int32),
        "s": _csr(rng, [1, 0, 2, 9], 1000, np.float64),
    }
    labels = {"b": np.arange(4, dtype=np.int32), "a": rng.random((4, 2))}
    assert bytes(recordio.encode_tensors(features, labels)) == _oracle(features, labels, 4)


def test_double_features_are_narrowed() -> None:
    x = np.random.default_rng(4).standard_normal((5, 4))
    assert bytes(recordio.encode(x)) == bytes(recordio.encode(x.astype(np.float32)))


def test_predictions() -> None:
    fields = {
        "closest_cluster": np.array([1.0, 0.0], np.float32),
        "distance_to_cluster": np.array([3.5, 4.25], np.float32),
    }
    assert recordio.RECORDIO.encode_predictions(fields) == _oracle({}, fields, 2)
