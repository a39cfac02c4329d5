"""Arrow lists to checked batches."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sagespark.codecs.matrix import Csr, Mixed
from sagespark.data.batches import BadRowError, Lists, from_arrow, to_matrix
from sagespark.data.frame import WIDE, FrameLayout

VECTOR = FrameLayout("vector", ("features",))


def travelling(rows: list[Any]) -> tuple[pa.Array, pa.Array, pa.Array]:
    """Return rows as Spark sends them: a list is dense, (size, {index: value}) is sparse, None is null."""
    values, kind, indices = [], [], []
    for row in rows:
        if row is None:
            entry: tuple[list[float], int | None, list[int]] = ([], None, [])
        elif isinstance(row, tuple):
            entry = (list(row[1].values()), row[0], list(row[1]))
        else:
            entry = (row, -1, [])
        values.append(entry[0])
        kind.append(entry[1])
        indices.append(entry[2])
    return (
        pa.array(values, pa.list_(pa.float64())),
        pa.array(kind, pa.int32()),
        pa.array(indices, pa.list_(pa.int32())),
    )


def matrix(rows: list[Any], layout: FrameLayout = VECTOR, width: int | None = None) -> Any:
    return to_matrix(from_arrow(*travelling(rows)), layout, width, "the model takes {width}")


def refused(rows: list[Any], layout: FrameLayout = VECTOR, width: int | None = None) -> BadRowError:
    with pytest.raises(BadRowError) as caught:
        matrix(rows, layout, width)
    return caught.value


def dense(made: Any) -> np.ndarray[Any, Any]:
    if isinstance(made, Csr):
        return made.to_dense()
    if isinstance(made, Mixed):
        out = np.empty(made.shape, np.float32)
        out[made.is_sparse], out[~made.is_sparse] = made.sparse.to_dense(), made.dense
        return out
    return made  # type: ignore[no-any-return]


def test_dense_rows_share_memory_where_they_are_float32() -> None:
    flat = pa.array(np.arange(6, dtype=np.float32))
    values = pa.ListArray.from_arrays(pa.array([0, 2, 4, 6], pa.int32()), flat)
    made = to_matrix(from_arrow(values, pa.array([-1] * 3, pa.int32())), VECTOR, None, "")
    assert made.tolist() == [[0, 1], [2, 3], [4, 5]]
    assert np.shares_memory(made, flat.to_numpy())


def test_a_slice_of_a_batch_is_read_from_its_offset() -> None:
    columns = [c.slice(1, 2) for c in travelling([[9.0, 9.0], [1.0, 2.0], [3.0, 4.0], [9.0, 9.0]])]
    assert to_matrix(from_arrow(*columns), VECTOR, 2, "").tolist() == [[1, 2], [3, 4]]


def test_no_row_gives_an_empty_batch() -> None:
    assert matrix([], width=3).shape == (0, 3)


def test_narrow_sparse_rows_are_dense() -> None:
    made = matrix([(3, {1: 5.0}), [1.0, 2.0, 3.0], (3, {}), (3, {0: 1.0, 2: 2.0})])
    assert made.tolist() == [[0, 5, 0], [1, 2, 3], [0, 0, 0], [1, 0, 2]]


def test_wide_sparse_rows_stay_sparse() -> None:
    d = WIDE + 1
    made = matrix([(d, {1: 5.0}), (d, {0: 1.0, d - 1: 2.0})])
    assert isinstance(made, Csr)
    assert (made.indptr.tolist(), made.indices.tolist(), made.values.tolist()) == ([0, 1, 3], [1, 0, d - 1], [5, 1, 2])
    assert (made.width, made.values.dtype) == (d, np.float32)


def test_wide_rows_of_both_kinds_stay_mixed() -> None:
    d = WIDE + 1
    row = [0.5] * d
    made = matrix([row, (d, {7: 5.0}), row])
    assert isinstance(made, Mixed)
    assert made.is_sparse.tolist() == [False, True, False]
    assert (made.dense.shape, made.sparse.indices.tolist()) == ((2, d), [7])


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_a_rows_kind_never_changes_its_values(data: st.DataObject) -> None:
    d = data.draw(st.sampled_from([1, 3, WIDE, WIDE + 1]))
    n = data.draw(st.integers(1, 5))
    rng = np.random.default_rng(data.draw(st.integers(0, 999)))
    expected = np.where(rng.random((n, d)) < 0.3, rng.normal(size=(n, d)), 0).astype(np.float32)
    rows: list[Any] = []
    for row in expected.astype(float):
        is_sparse = data.draw(st.booleans())
        rows.append((d, {int(i): row[i] for i in np.flatnonzero(row)}) if is_sparse else row.tolist())
    for vector_format in ("auto", "sparse"):
        made = matrix(rows, FrameLayout("vector", ("features",), vectorFormat=vector_format))
        assert made.shape == (n, d)
        assert np.array_equal(dense(made), expected)
        if vector_format == "sparse":
            assert isinstance(made, Csr)


def test_a_wide_sparse_row_is_never_made_dense() -> None:
    error = refused([[1.0] * (WIDE + 1), (WIDE + 1, {})], FrameLayout("vector", ("f",), vectorFormat="dense"))
    assert (error.position, error.column) == (1, "f")
    assert "vectorFormat='dense'" in error.rule


@pytest.mark.parametrize(
    ("rows", "position", "says", "value"),
    [
        ([[1.0], None], 1, "null", "null"),
        ([[1.0], [float("nan")]], 1, "element 0 is NaN", "nan"),
        ([[1.0, float("inf")]], 0, "element 1 is infinite", "inf"),
        ([[1.0, -1e300]], 0, "element 1 is -1e+300, beyond float32", "-1e+300"),
        ([[1.0, None]], 0, "element 1 is null", "null"),
        ([[1.0], [1.0, 2.0]], 1, "it has 2 features, but the rows before have 1", "2"),
        ([[]], 0, "no features", "[]"),
        ([(0, {})], 0, "no features", "[]"),
        ([(4, {2: float("nan")})], 0, "element 2 is NaN", "nan"),
        ([(4, {1: 1.0}), (4, {3: 1.0, 1: 1.0})], 1, "they must increase", "[3, 1]"),
        ([(4, {1: 1.0}), (4, {4: 1.0})], 1, "stay below its size", "[4]"),
        ([(4, {-1: 1.0})], 0, "must increase", "[-1]"),
        # The first bad row counts, whatever is wrong with it.
        ([[1.0], [float("nan")], None, [1.0, 2.0]], 1, "NaN", "nan"),
        ([None, [1.0]], 0, "null", "null"),
    ],
)
def test_the_first_bad_row_is_refused(rows: list[Any], position: int, says: str, value: str) -> None:
    error = refused(rows)
    assert (error.position, error.column, error.value) == (position, "features", value)
    assert says in error.rule


def test_an_error_names_column_partition_position_and_value() -> None:
    error = refused([[1.0], [float("nan")]]).located(partition=3, before=10)
    assert (error.column, error.partition, error.position, error.value) == ("features", 3, 11, "nan")
    assert str(error).splitlines()[0].startswith("column 'features', partition 3, row 11 of the partition (from 0): ")


def test_the_width_asked_for_wins_over_the_first_row() -> None:
    assert "the model takes 3" in refused([[1.0, 2.0]], width=3).rule


def test_missing_values_are_kept_where_they_mean_something() -> None:
    keep = FrameLayout("array", ("f",), missing="keep")
    made = matrix([[1.0, float("nan")], [None, 2.0]], keep)
    assert np.array_equal(made, [[1, np.nan], [np.nan, 2]], equal_nan=True)
    assert refused([[float("inf")]], keep).value == "inf"
    assert refused([[1e39]], keep).value == "1e+39"


def test_of_several_columns_the_bad_one_is_named() -> None:
    error = refused([[1.0, 2.0], [1.0, None]], FrameLayout("columns", ("a", "b")))
    assert (error.column, error.position, error.rule[:10]) == ("b", 1, "it is null")


def test_lists_of_a_sliced_array_start_at_zero() -> None:
    lists = Lists.of(pa.array([[1.0], [2.0, 3.0], []], pa.list_(pa.float64())).slice(1))
    assert (lists.flat.tolist(), lists.offsets.tolist(), lists.missing) == ([2, 3], [0, 2, 2], None)
