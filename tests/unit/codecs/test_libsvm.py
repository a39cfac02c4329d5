"""LibSVM text against scikit-learn's reader and writer and XGBoost's own, and what is refused where."""

from __future__ import annotations

import io
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xgboost
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import sparse
from sklearn.datasets import dump_svmlight_file, load_svmlight_file

from sagespark.codecs.libsvm import LIBSVM, X_LIBSVM
from sagespark.codecs.matrix import Csr, Mixed
from sagespark.core.errors import CodecError
from support.programs import as_csr

VALUES = st.floats(width=32, allow_nan=False, allow_infinity=False)
ROWS = st.lists(st.dictionaries(st.integers(0, 40), VALUES, max_size=6), min_size=1, max_size=8)


def csr(rows: list[dict[int, float]], width: int = 41) -> Csr:
    indptr = np.cumsum([0, *map(len, rows)])
    pairs = [pair for row in rows for pair in sorted(row.items())]
    indices = np.array([i for i, _ in pairs], np.int64)
    return Csr(indptr.astype(np.int64), indices, np.array([v for _, v in pairs], np.float32), width)


def scipy_of(rows: Csr) -> sparse.csr_matrix:
    return sparse.csr_matrix((rows.values, rows.indices, rows.indptr), rows.shape)


def equal(one: Csr, other: Csr) -> None:
    for a, b in ((one.indptr, other.indptr), (one.indices, other.indices), (one.values, other.values)):
        np.testing.assert_array_equal(a, b)
    assert one.width == other.width


@given(rows=ROWS, data=st.data())
@settings(max_examples=50, deadline=None)
def test_sparse_round_trip_is_exact(rows: list[dict[int, float]], data: Any) -> None:
    batch = csr(rows)
    labels = np.array(data.draw(st.lists(VALUES, min_size=len(rows), max_size=len(rows))), np.float32)
    found = LIBSVM.decode(LIBSVM.encode(batch, labels), width=41)
    equal(found.features, batch)
    np.testing.assert_array_equal(found.labels, labels)


@given(rows=ROWS)
@settings(max_examples=50, deadline=None)
def test_scikit_learn_reads_what_we_write_and_we_read_what_it_writes(rows: list[dict[int, float]]) -> None:
    batch = csr(rows)
    labels = np.arange(len(rows), dtype=np.float32)
    theirs, told = load_svmlight_file(io.BytesIO(LIBSVM.encode(batch, labels)), n_features=41, zero_based=True)
    np.testing.assert_array_equal(told, labels)
    np.testing.assert_array_equal(theirs.toarray().astype(np.float32), scipy_of(batch).toarray())
    sink = io.BytesIO()
    dump_svmlight_file(scipy_of(batch), labels, sink, zero_based=True, comment="of scikit-learn")
    found = LIBSVM.decode(sink.getvalue(), width=41)
    np.testing.assert_allclose(found.features.to_dense(), scipy_of(batch).toarray(), rtol=1e-6)
    np.testing.assert_array_equal(found.labels, labels)


def read_by_xgboost(body: bytes, folder: Path) -> xgboost.DMatrix:
    path = folder / "rows.libsvm"
    path.write_bytes(body)
    with warnings.catch_warnings():
        # Reading text is deprecated in XGBoost; AWS's container reads so.
        warnings.simplefilter("ignore")
        return xgboost.DMatrix(f"{path}?format=libsvm")


def test_xgboost_reads_labels_weights_and_queries_as_aws_container_does(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    x = np.where(random.random((50, 7)) < 0.3, np.nan, random.normal(size=(50, 7))).astype(np.float32)
    x[0, 0], x[0, 6] = 0, 1
    w, qid = random.random(50).astype(np.float32), np.sort(random.integers(0, 9, 50)) + 10**9
    y = random.integers(0, 3, 50)
    found = read_by_xgboost(LIBSVM.encode(x, np.column_stack([y, w])), tmp_path)
    np.testing.assert_array_equal(found.get_label(), y)
    np.testing.assert_allclose(found.get_weight(), w, rtol=1e-6)
    assert found.num_col() == 7
    expected = xgboost.DMatrix(x).get_data()
    np.testing.assert_allclose(found.get_data().toarray(), expected.toarray(), rtol=1e-6)
    assert found.num_nonmissing() == expected.nnz
    ranked = read_by_xgboost(LIBSVM.encode(x, np.column_stack([y, np.full(50, np.nan), qid])), tmp_path)
    np.testing.assert_array_equal(np.diff(ranked.get_uint_info("group_ptr")), np.unique(qid, return_counts=True)[1])


def test_labels_weights_and_queries_round_trip() -> None:
    rows: NDArray[np.float32] = np.eye(3, dtype=np.float32)
    lead = np.array([[1, 0.5], [0, 2], [1, 0]], np.float32)
    np.testing.assert_array_equal(LIBSVM.decode(LIBSVM.encode(rows, lead)).labels, lead)
    queries = np.array([[1, np.nan, 2.0**52], [0, np.nan, 7], [1, np.nan, 7]])
    found = LIBSVM.decode(LIBSVM.encode(rows, queries))
    np.testing.assert_array_equal(found.labels, queries)
    assert found.labels is not None
    assert found.labels.dtype == np.float64
    assert LIBSVM.encode(rows[:1], np.array([[1, 0.5, 3.0]])) == b"1:0.5 qid:3 0:1 1:0 2:0\n"


def test_dense_rows_keep_their_zeros_and_lose_nan() -> None:
    body = LIBSVM.encode(np.array([[0, np.nan, 2.5], [1, -0.0, np.nan]], np.float64))
    assert body == b"0 0:0 2:2.5\n0 0:1 1:-0.0\n"
    found = LIBSVM.decode(body).features
    assert found.indices.tolist() == [0, 2, 0, 1]
    assert found.width == 3


def test_rows_of_both_kinds_stay_in_order() -> None:
    dense = np.array([[1, 0, 2], [0, 3, 0]], np.float32)
    mixed = Mixed(np.array([False, True, False]), dense, as_csr(np.array([[0, 5, 0]], np.float32)))
    assert LIBSVM.encode(mixed) == b"0 0:1 1:0 2:2\n0 1:5\n0 0:0 1:3 2:0\n"


def test_large_batches_are_written_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    from sagespark.codecs import text

    rows = sparse.random(200, 30, 0.2, "csr", np.float32, np.random.default_rng(3))
    whole = LIBSVM.encode(as_csr(rows.toarray()))
    monkeypatch.setattr(text, "CHUNK", 50)
    assert LIBSVM.encode(as_csr(rows.toarray())) == whole
    np.testing.assert_array_equal(LIBSVM.decode(whole).features.to_dense(), rows.toarray())


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r", " \t\n", ""])
def test_line_ends_blanks_and_comments(end: str) -> None:
    body = f"# head{end or chr(10)}1\t0:1  2:3 # 4:5{end or chr(10)}{end or chr(10)}  0 1:2{end}".encode()
    found = LIBSVM.decode(body)
    assert found.labels is not None
    assert found.labels.tolist() == [1, 0]
    np.testing.assert_array_equal(found.features.to_dense(), [[1, 0, 3], [0, 2, 0]])


def test_a_request_may_have_no_labels() -> None:
    found = LIBSVM.decode(b"0:1 2:3\n5 1:2\n", label_size=0)
    assert found.labels is None
    np.testing.assert_array_equal(found.features.to_dense(), [[1, 0, 3], [0, 2, 0]])


def test_nothing_is_no_row() -> None:
    for body in (b"", b"\n\n", b"# only words\n"):
        assert len(LIBSVM.decode(body, width=3)) == 0
    assert LIBSVM.encode(np.empty((0, 3), np.float32)) == b""
    # A row may hold nothing at all.
    assert LIBSVM.decode(b"1\n0 0:2\n").features.indptr.tolist() == [0, 0, 1]


@pytest.mark.parametrize(
    ("body", "words", "offset"),
    [
        (b"1 0:1\n0 7\n", "line 2: '7' must be an entry, index:value", 8),
        (b"1 0:a\n", "line 1: 'a' is no number", 4),
        (b"1 0:nan\n", "line 1: 'nan' is no number; an entry that is left out is missing", 4),
        (b"red 0:1\n", "line 1: 'red' is no number", 0),
        (b"1 0:1\n1 x:2\n", "line 2: 'x' is no number", 8),
        (b"1 2:1 1:3\n", "line 1: '1' is not above the index before", 6),
        (b"1 2:1 2:3\n", "line 1: '2' is not above the index before", 6),
        (b"1 -1:2\n", "line 1: '-1' is no index", 2),
        (b"1 1.5:2\n", "line 1: '1.5' is no index", 2),
        (b"1 99999999999999999999:2\n", "is no index", 2),
        (b"1 0: 3\n", "line 1: a colon must stand between two numbers", 3),
        (b"1 0 :3\n", "line 1: a colon must stand between two numbers", 4),
        (b":\n", "line 1: a colon must stand between two numbers", 0),
        (b"1 0::3\n", "a colon must stand between", 3),
        (b"1 0:1:2\n", "line 1: '1' stands between two colons", 4),
        (b"1 0:1\n1:2 0:1\n", "line 1: '1' has no weight, but other rows have one", 0),
        (b"1 qid:2 0:1\n1 0:1\n", "begins a row without a query id", 12),
        (b"1 qid:-2 0:1\n", "query id that is a whole number", 0),
        (b"1 qid:1 qid:2\n", "begins a row with two query ids", 0),
        (b"qid:3 0:1\n", "'qid' stands first", 0),
        (b"1 5:1\n", "line 1: '5' is beyond the 3 features, whose indices are 0 to 2", 2),
        (b'1 0:"3" 1:2\n', "is no number", 4),
        (b"1 0:1,5\n", "is no number", 4),
        (b"\xff\xfe 0:1\n", "is no number", 0),
    ],
)
def test_what_is_no_libsvm_is_refused_where_it_stands(body: bytes, words: str, offset: int) -> None:
    width = 3 if b"5:1" in body else None
    with pytest.raises(CodecError, match=words) as caught:
        LIBSVM.decode(body, width=width)
    assert caught.value.offset == offset


@given(st.binary(max_size=60))
@settings(max_examples=100, deadline=None)
def test_any_bytes_are_rows_or_a_codec_error(body: bytes) -> None:
    try:
        found = LIBSVM.decode(body)
    except CodecError:
        return
    assert len(found.features.indices) == found.features.indptr[-1]


def test_what_it_cannot_carry_is_refused() -> None:
    with pytest.raises(CodecError, match="a label, a weight and a query id at most, but got 4 columns"):
        LIBSVM.encode(np.ones((2, 2), np.float32), np.ones((2, 4)))
    with pytest.raises(CodecError, match="one entry per row"):
        LIBSVM.encode(np.ones((2, 2), np.float32), np.ones(3))
    for call in (lambda: X_LIBSVM.encode_predictions({}), lambda: X_LIBSVM.decode_predictions(b"", ["score"])):
        with pytest.raises(CodecError, match="carries rows, not predictions"):
            call()
