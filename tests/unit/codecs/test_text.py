"""CSV, JSON and JSON Lines: the forms of AWS's documentation, round trips, and what is refused."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sagespark.codecs.csv import CSV, Csv
from sagespark.codecs.json import JSON, JSON_LINES
from sagespark.codecs.matrix import Csr, Mixed
from sagespark.codecs.registry import CODECS, codec, parse_content_type
from sagespark.core.errors import CodecError, ValidationError
from support.batches import batches, random_csr, random_matrix, same

ANSWERS = [name for name in CODECS if "libsvm" not in name]
"""Content types of predictions; LibSVM carries rows alone."""
FLOATS = st.lists(
    st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=3, max_size=3), min_size=1, max_size=8
)


def test_registry() -> None:
    assert list(CODECS) == [
        "application/x-recordio-protobuf",
        "text/csv",
        "application/json",
        "application/jsonlines",
        "text/libsvm",
        "text/x-libsvm",
        "application/x-npy",
    ]
    assert all(codec(f"  {name.upper()} ; charset=utf-8").content_type == name for name in CODECS)
    assert parse_content_type('Text/CSV; Label_Size="0";') == ("text/csv", {"label_size": "0"})
    assert codec("text/csv;label_size=2") == Csv(2)
    with pytest.raises(ValidationError, match=r"'text/plain' is unknown; known are application/x-recordio-protobuf"):
        codec("text/plain")
    with pytest.raises(ValidationError, match="label_size must be a number"):
        codec("text/csv; label_size=-1")


@pytest.mark.parametrize("one", [CSV, JSON, JSON_LINES], ids=lambda c: c.content_type)
@given(rows=FLOATS)
@settings(max_examples=40, deadline=None)
def test_dense_round_trip_is_exact(one: Any, rows: list[list[float]]) -> None:
    x = np.array(rows, np.float32)
    same(one.decode(one.encode(x), width=3).features, x)


@pytest.mark.parametrize("one", [JSON, JSON_LINES], ids=lambda c: c.content_type)
@given(x=batches())
@settings(max_examples=40, deadline=None)
def test_json_round_trip(one: Any, x: Any) -> None:
    back = one.decode(one.encode(x), width=x.shape[1]).features
    if isinstance(x, Mixed) and x.is_sparse.all():
        x = x.sparse
    elif isinstance(x, Mixed) and not x.is_sparse.any():
        x = x.dense
    same(back, x)


def test_csv_labels_come_first() -> None:
    x = np.array([[1.5, np.nan], [-2, 1e-7]], np.float32)
    body = CSV.encode(x, np.array([1, 0], np.float32))
    assert body == b"1,1.5,nan\n0,-2,1e-7\n"
    for how in ({"label_size": 1}, {"width": 2}):
        rows = CSV.decode(body, **how)  # type: ignore[arg-type]
        same(rows.features, x)
        np.testing.assert_array_equal(rows.labels, [1, 0])
    assert CSV.decode(body).labels is None
    assert CSV.decode(body).features.shape == (2, 3)
    two = codec("text/csv; label_size=2").decode(body)
    assert two.labels is not None
    np.testing.assert_array_equal(two.labels, [[1, 1.5], [0, -2]])
    assert CSV.decode(body, label_size=0, width=3).labels is None


@pytest.mark.parametrize(
    ("body", "rows"),
    [
        (b"1,2\r\n3,4\r\n", [[1, 2], [3, 4]]),
        (b"1,2\r3,4", [[1, 2], [3, 4]]),
        (b"1,\n,4\n", [[1, np.nan], [np.nan, 4]]),
        (b'\n1, 2 \n\n+3,"4"\n\n', [[1, 2], [3, 4]]),
        (b"1\n\n3\n", [[1], [np.nan], [3]]),
        (b"NaN,inf\n-Infinity,null\n", [[np.nan, np.inf], [-np.inf, np.nan]]),
        (b"1.5", [[1.5]]),
    ],
)
def test_csv_as_others_write_it(body: bytes, rows: list[list[float]]) -> None:
    same(CSV.decode(body).features, np.array(rows, np.float32))


def test_csv_empty_body_has_no_rows() -> None:
    assert CSV.decode(b"", width=4).features.shape == (0, 4)


@pytest.mark.parametrize(
    ("body", "message", "offset"),
    [
        (b"1,2\n3\n", "line 2 has 1 cells, the lines before 2", 4),
        (b"1,2\n3,x4\n", "line 2, column 2: 'x4' is no number", 6),
        (b"a,b\n1,2\n", "line 1, column 1: 'a' is no number", 0),
        (b"1,0x10\n", "'0x10' is no number", 2),
        (b"1,2\x00\n", "is no number", 2),
        (b"1,\xff\n", "is no number", 2),
        (b'1,"2\n', "line 1, column 2: '\"2' is no number", 2),
        (b'"1,5",2\n', "line 1, column 1: '\"1' is no number", 0),
    ],
)
def test_csv_refuses(body: bytes, message: str, offset: int) -> None:
    with pytest.raises(CodecError, match=message) as caught:
        CSV.decode(body)
    assert caught.value.contentType == "text/csv"
    assert caught.value.offset == offset


def test_csv_refuses_widths_and_sparse_rows() -> None:
    with pytest.raises(CodecError, match="must have 1 labels and 3 features, but has 3 cells"):
        CSV.decode(b"1,2,3\n", width=3, label_size=1)
    with pytest.raises(CodecError, match="CSV cannot carry sparse rows"):
        CSV.encode(random_csr(np.random.default_rng(0), [1], 5))


def test_answers_read_like_the_documentation() -> None:
    fields = {"closest_cluster": np.array([1, 2]), "distance_to_cluster": np.array([3.0, 5.25], np.float32)}
    assert CSV.encode_predictions(fields) == b"1.0,3.0\n2.0,5.25\n"
    lines = (
        b'{"closest_cluster": 1.0, "distance_to_cluster": 3.0}\n{"closest_cluster": 2.0, "distance_to_cluster": 5.25}\n'
    )
    assert JSON_LINES.encode_predictions(fields) == lines
    rows = [json.loads(line) for line in lines.splitlines()]
    assert json.loads(JSON.encode_predictions(fields)) == {"predictions": rows}
    assert json.loads(JSON.encode_predictions(fields, wrapper="projections")) == {"projections": rows}


@pytest.mark.parametrize("name", ANSWERS)
@given(rows=FLOATS)
@settings(max_examples=25, deadline=None)
def test_predictions_round_trip(name: str, rows: list[list[float]]) -> None:
    x = np.array(rows, np.float32)
    fields = {"score": x[:, 0]} if name in ("text/csv", "application/x-npy") else {"score": x, "label": x[:, 1]}
    back = codec(name).decode_predictions(codec(name).encode_predictions(fields), list(reversed(fields)))
    assert set(back) == set(fields)
    for field, values in fields.items():
        np.testing.assert_array_equal(back[field].astype(np.float32), values)


@pytest.mark.parametrize("name", ANSWERS)
def test_predictions_without_rows(name: str) -> None:
    fields = {"a": np.empty(0, np.float32), "b": np.empty(0, np.float32)}
    back = codec(name).decode_predictions(codec(name).encode_predictions(fields), ["a", "b"])
    assert {k: v.shape for k, v in back.items()} == {"a": (0,), "b": (0,)}


@pytest.mark.parametrize("name", ANSWERS)
def test_predictions_of_different_lengths_are_refused(name: str) -> None:
    with pytest.raises(CodecError, match="one common number of rows"):
        codec(name).encode_predictions({"a": np.zeros(2), "b": np.zeros(3)})


@pytest.mark.parametrize(
    ("row", "values"),
    [
        ('{"features": [1.5, 16, -2e0]}', [1.5, 16, -2]),
        ('{"data": {"features": {"values": [1.5, 16.0, -2]}}}', [1.5, 16, -2]),
        ('{"data": {"features": [1.5, 16.0, -2]}}', [1.5, 16, -2]),
        ('{"features": {"values": [1.5, 16.0, -2]}}', [1.5, 16, -2]),
        (
            '{"configuration": {}, "data": {"features": {"keys": [], "values": [1.5, 16, -2], "shape": []}}}',
            [1.5, 16, -2],
        ),
        ('{"features": [null, NaN, 3]}', [np.nan, np.nan, 3]),
    ],
)
@pytest.mark.parametrize("lines", [False, True])
def test_json_forms_of_a_row(row: str, values: list[float], lines: bool) -> None:
    usual = '{"features": [0, 0, 0]}'
    body = f"{usual}\n\n{row}\n" if lines else f'{{\n"instances": [{usual},\n {row}]}}'
    rows = (JSON_LINES if lines else JSON).decode(body.encode())
    same(rows.features, np.array([[0, 0, 0], values], np.float32))


def _sparse(keys: str, values: str, shape: str = "[5]") -> str:
    tensor = f'{{"keys": {keys}, "shape": {shape}, "values": {values}}}'
    return f'{{"instances": [{{"data": {{"features": {tensor}}}}}]}}'


def test_json_sparse_rows_of_the_documentation() -> None:
    body = """{"instances": [
        {"data": {"features": {"keys": [26, 182, 232, 243, 431], "shape": [2000], "values": [1, 1, 1, 4, 1]}}},
        {"data": {"features": {"keys": [431, 0], "shape": [2000], "values": [13, 1]}}}]}"""
    x = JSON.decode(body.encode()).features
    assert isinstance(x, Csr)
    assert (x.width, x.indptr.tolist()) == (2000, [0, 5, 7])
    assert x.indices.tolist() == [26, 182, 232, 243, 431, 0, 431]
    assert x.values.tolist() == [1, 1, 1, 4, 1, 1, 13]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ('{"instances": [{"features": [1, 2]}', "the text is no JSON"),
        ("", "the text is no JSON"),
        ("[1]", 'an object that holds a list "instances"'),
        ('{"rows": []}', 'an object that holds a list "instances"'),
        ('{"instances": [{"features": [1, 2]}, {"x": 1}]}', "row 2 must be"),
        ('{"instances": [{"features": [1]}, null]}', "row 2 must be"),
        ('{"instances": [{"features": ["1", 2]}]}', "values of row 1 must be a list of numbers"),
        ('{"instances": [{"features": [true]}]}', "values of row 1 must be a list of numbers"),
        ('{"instances": [{"features": 3}]}', "row 1 must be"),
        (
            '{"instances": [{"features": [1, 2]}, {"features": [1]}]}',
            "record 1 has 1 features",
        ),
        (_sparse("[1.5]", "[2]"), "whole numbers"),
        (_sparse("[-1]", "[2]"), "must not be negative"),
        (_sparse("[5]", "[2]"), "which must be below 5"),
        (_sparse("[1, 1]", "[2, 3]"), "key 1 twice"),
        (_sparse("[1]", "[]"), "0 values for 1 keys"),
        (_sparse("[1]", "[2]", "[]"), "has keys but no shape"),
        (_sparse("[99999999999999999999]", "[1]"), "too large"),
        ('{"instances": ' + "[" * 100_000, "nested too deep"),
    ],
)
def test_json_refuses(body: str, message: str) -> None:
    with pytest.raises(CodecError, match=message):
        JSON.decode(body.encode())


def test_json_says_where() -> None:
    with pytest.raises(CodecError, match="application/jsonlines, byte 34: the text is no JSON") as caught:
        JSON_LINES.decode('{"features": [1], "x": "é"}\n{"a":}\n'.encode())
    assert caught.value.offset == 34
    with pytest.raises(CodecError, match="no UTF-8") as caught:
        JSON.decode(b'{"\xff": 1}')
    assert caught.value.offset == 2


def test_json_refuses_what_it_cannot_say() -> None:
    x = np.array([[1, np.inf]], np.float32)
    with pytest.raises(CodecError, match="no infinite numbers"):
        JSON.encode(x)
    with pytest.raises(CodecError, match="no infinite numbers"):
        JSON_LINES.encode_predictions({"a": x[0]})
    with pytest.raises(CodecError, match="requests carry no labels"):
        JSON.encode(x[:, :1], x[0])


def test_json_nan_is_null_both_ways() -> None:
    x = np.array([[1, np.nan]], np.float32)
    assert JSON_LINES.encode(x) == b'{"features": [1,null]}\n'
    same(JSON_LINES.decode(JSON_LINES.encode(x)).features, x)
    body = JSON.encode_predictions({"score": np.array([np.nan, 2.0])})
    assert body == b'{"predictions": [{"score": null}, {"score": 2.0}]}'
    np.testing.assert_array_equal(JSON.decode_predictions(body, ["score"])["score"], [np.nan, 2])


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ('{"predictions": [{"score": 1}, {"label": 2}]}', "row 2 of the answer has no field 'score'"),
        ('{"predictions": [{"score": [1, 2]}, {"score": [1]}]}', r"different lengths: \[1, 2\]"),
        ('{"predictions": [{"score": "1"}]}', "field 'score' of row 1 must be a list of numbers"),
        ('{"predictions": ["3"]}', "row 1 of the answer has no field"),
        ('{"message": "no"}', "an object that holds one list"),
    ],
)
def test_json_answers_refused(body: str, message: str) -> None:
    with pytest.raises(CodecError, match=message):
        JSON.decode_predictions(body.encode(), ["score"])


def test_json_answers_of_other_shapes() -> None:
    body = b'{"projections": [{"projection": [1.0, 2.0], "extra": "2017-01-01"}, {"projection": [3, 4]}]}'
    np.testing.assert_array_equal(JSON.decode_predictions(body, ["projection"])["projection"], [[1, 2], [3, 4]])
    one = JSON.decode_predictions(b'{"predictions": [{"score": [1]}, {"score": [2]}]}', ["score"])["score"]
    np.testing.assert_array_equal(one, [1, 2])


def test_csv_answers_refused() -> None:
    with pytest.raises(CodecError, match="an answer of the fields a, b has 3 columns"):
        CSV.decode_predictions(b"1,2,3\n", ["a", "b"])
    assert CSV.decode_predictions(b"1,2,3\n4,5,6\n", ["a"])["a"].shape == (2, 3)


@pytest.mark.parametrize(
    "body", [b"", b"null", b'null{"a":', b'{"a": 1}\nnull\n', b"[" * 3000, b'"', b"\xef\xbb\xbf{}", b"9" * 5000]
)
@pytest.mark.parametrize("one", [JSON, JSON_LINES], ids=lambda c: c.content_type)
def test_odd_texts_are_refused_or_hold_no_rows(one: Any, body: bytes) -> None:
    if one is JSON_LINES and not body:
        assert len(one.decode(body)) == 0
        return
    with pytest.raises(CodecError):
        one.decode(body)
    with pytest.raises(CodecError):
        one.decode_predictions(body, ["b"])


def test_json_without_rows() -> None:
    assert JSON.decode(b'{"instances": []}', width=3).features.shape == (0, 3)


_TOKENS = [
    b'"',
    b"[",
    b"]",
    b"{",
    b"}",
    b",",
    b":",
    b"null",
    b"1e999",
    b"-",
    b"01",
    b"NaN",
    b"true",
    b"\n",
    b"\r",
    b"\xff",
    b"\x00",
]


@pytest.mark.parametrize("name", ["text/csv", "application/json", "application/jsonlines"])
@given(data=st.data())
@settings(max_examples=100, deadline=None)
def test_broken_texts_raise_nothing_else(name: str, data: st.DataObject) -> None:
    one = codec(name)
    kind = "dense" if name == "text/csv" else data.draw(st.sampled_from(["dense", "sparse", "mixed"]))
    body = bytes(one.encode(random_matrix(np.random.default_rng(6), kind, 3, 5)))
    for _ in range(data.draw(st.integers(1, 3))):
        a, b = data.draw(st.integers(0, len(body))), data.draw(st.integers(0, 3))
        body = body[:a] + data.draw(st.sampled_from(_TOKENS)) + body[a + b :]
    for call in (lambda: one.decode(body), lambda: one.decode_predictions(body, ["a"])):
        with contextlib.suppress(CodecError):
            call()


@pytest.mark.parametrize("one", [JSON, JSON_LINES], ids=lambda c: c.content_type)
def test_truncated_json_is_refused(one: Any) -> None:
    body = one.encode(random_matrix(np.random.default_rng(7), "mixed", 4, 6)).rstrip()
    for size in range(1, len(body)):
        whole = one is JSON_LINES and (body[size : size + 1] == b"\n" or body[size - 1 : size] == b"\n")
        if whole:
            assert len(one.decode(body[:size])) == body[:size].strip().count(b"\n") + 1
            continue
        with pytest.raises(CodecError):
            one.decode(body[:size])


def test_large_batches_go_in_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sagespark.codecs.text.CHUNK", 32)
    rng = np.random.default_rng(5)
    for kind in ("dense", "sparse", "mixed"):
        x = random_matrix(rng, kind, 40, 7)
        for one in (JSON, JSON_LINES):
            same(one.decode(one.encode(x)).features, x)
    x = random_matrix(rng, "dense", 40, 7)
    same(CSV.decode(CSV.encode(x)).features, x)
    assert len(JSON.decode_predictions(JSON.encode_predictions({"a": x}), ["a"])["a"]) == 40
