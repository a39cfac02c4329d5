"""Truncated, corrupted and hostile bytes: an error with the offset, or exactly what the protobuf library reads."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
import pytest
from google.protobuf.message import DecodeError
from hypothesis import given, settings
from hypothesis import strategies as st

from sagespark.codecs import recordio
from sagespark.codecs.matrix import Csr, Mixed
from sagespark.core.errors import CodecError
from support.batches import random_matrix
from support.record_proto import frame, record_class, unframe

_FIELDS = ("float32_tensor", "float64_tensor", "int32_tensor")


def _body(kind: str, rows: int = 5) -> bytes:
    rng = np.random.default_rng(1)
    if kind == "answer":
        return recordio.RECORDIO.encode_predictions({"score": rng.random((rows, 2)), "label": rng.random(rows)})
    if kind == "many":
        features = {
            "a": random_matrix(rng, "sparse", rows, 200, np.float64),
            "b": rng.integers(-9, 9, (rows, 3)).astype(np.int32),
        }
        return bytes(recordio.encode_tensors(features, {"c": rng.random(rows)}))
    return bytes(recordio.encode(random_matrix(rng, kind, rows, 150), rng.random(rows, dtype=np.float32)))


KINDS = ["dense", "sparse", "mixed", "many", "answer"]


@pytest.mark.parametrize("kind", KINDS)
def test_every_truncation_is_refused_or_ends_between_records(kind: str) -> None:
    body = _body(kind, rows=3)
    ends = np.cumsum([0, *(8 + (len(p) + 3) // 4 * 4 for p in unframe(body))]).tolist()
    for size in range(len(body)):
        if size in ends:
            assert _rows(recordio.decode_tensors(body[:size])) == ends.index(size)
            continue
        with pytest.raises(CodecError) as caught:
            recordio.decode_tensors(body[:size])
        assert caught.value.offset == max(e for e in ends if e <= size)


def _rows(sides: tuple[dict[str, Any], dict[str, Any]]) -> int:
    return max((m.shape[0] for side in sides for m in side.values()), default=0)


def _row(matrix: Any, i: int) -> tuple[list[float], list[int]]:
    """Return values and keys of one row, as a tensor has them."""
    if isinstance(matrix, Mixed):
        kind = bool(matrix.is_sparse[i])
        return _row(matrix.sparse if kind else matrix.dense, int((matrix.is_sparse[:i] == kind).sum()))
    if isinstance(matrix, Csr):
        lo, hi = matrix.indptr[i : i + 2]
        return matrix.values[lo:hi].tolist(), matrix.indices[lo:hi].tolist()
    return matrix[i].tolist(), []


def _agree(body: bytes, sides: tuple[dict[str, Any], dict[str, Any]]) -> None:
    """Assert that what was read is what the protobuf library reads."""
    payloads = unframe(body)
    records = [record_class().FromString(p) for p in payloads]
    for i, record in enumerate(records):
        for side, ours in zip((record.features, record.label), sides, strict=True):
            theirs = {n: getattr(v, v.WhichOneof("value")) for n, v in side.items() if v.WhichOneof("value") in _FIELDS}
            assert set(ours) == set(theirs)
            for name, tensor in theirs.items():
                values, keys = _row(ours[name], i)
                pairs = sorted(zip(tensor.keys, tensor.values, strict=True)) if tensor.keys else None
                if pairs is not None:
                    assert keys == [k for k, _ in pairs]
                    tensor_values = [v for _, v in pairs]
                else:
                    tensor_values = list(tensor.values)
                np.testing.assert_array_equal(values, tensor_values)


@pytest.mark.parametrize("kind", KINDS)
@given(data=st.data())
@settings(max_examples=120, deadline=None)
def test_flipped_bytes_are_refused_or_read_like_the_protobuf_library(kind: str, data: st.DataObject) -> None:
    body = bytearray(_body(kind))
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(body) - 1))
        body[at] = data.draw(
            st.one_of(st.integers(0, 255), st.sampled_from([0x0A, 0x12, 0x80, 0xFF, 0x0D, body[at] ^ 1]))
        )
    _check(bytes(body))


@pytest.mark.parametrize("kind", KINDS)
@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_spliced_payloads_are_refused_or_read_like_the_protobuf_library(kind: str, data: st.DataObject) -> None:
    payloads = unframe(_body(kind))
    for _ in range(data.draw(st.integers(1, 3))):
        i = data.draw(st.integers(0, len(payloads) - 1))
        a, b = data.draw(st.integers(0, len(payloads[i]))), data.draw(st.integers(0, len(payloads[i])))
        filler = data.draw(st.binary(max_size=6))
        payloads[i] = payloads[i][:a] + filler + payloads[i][b:]
    _check(frame(payloads))


def _check(body: bytes) -> None:
    try:
        sides = recordio.decode_tensors(body)
    except CodecError as refused:
        offset = refused.offset
    else:
        _agree(body, sides)
        return
    assert offset is not None
    assert 0 <= offset <= len(body)


def test_what_the_protobuf_library_refuses_is_refused() -> None:
    rng = np.random.default_rng(5)
    refused = 0
    for kind in KINDS:
        payloads = unframe(_body(kind))
        for _ in range(150):
            broken = bytearray(payloads[2])
            broken[rng.integers(len(broken))] ^= 1 << int(rng.integers(8))
            try:
                record_class().FromString(bytes(broken))
            except DecodeError:
                refused += 1
                with pytest.raises(CodecError):
                    recordio.decode_tensors(frame([*payloads[:2], bytes(broken), *payloads[3:]]))
    assert refused > 100


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def _field(number: int, content: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(content)) + content


def _entry(tensor: bytes) -> bytes:
    return _field(1, _field(1, b"values") + _field(2, _field(2, tensor)))


ONE = _field(1, struct.pack("<f", 1))


@pytest.mark.parametrize(
    ("payload", "message"),
    [
        (b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", "bytes reaches over the end of its message"),
        (b"\x0a" + b"\xff" * 12, "varint does not fit 64 bits"),
        (b"\x0a" + b"\xff" * 9 + b"\x02", "varint does not fit 64 bits"),
        (b"\x0a\x80", "varint reaches over the end"),
        (b"\x0b\x00", "number 1 and the wire type 3"),
        (b"\x02\x00", "number 0"),
        (b"\x0d\x00", "reaches over the end"),
        (b"\x0a\x02\x12\x05", "reaches over the end"),
        (b"\x1a\x01x" * 2000, "more than 1024 fields"),
        (_entry(_field(1, b"12345")), "take 5 bytes, no multiple of 4"),
        (_entry(ONE + _field(2, b"\x80")), "ends inside a varint"),
        (_entry(ONE + _field(2, b"\xff" * 9 + b"\x7f")), "does not fit 64 bits"),
        (_entry(ONE + _field(2, b"\x05") + _field(3, b"\x05")), "has the key 5, which must be below 5"),
        (_entry(ONE + _field(2, b"\x05\x06") + _field(3, b"\x09")), "has 1 values for 2 keys"),
        (_entry(ONE * 2 + _field(2, b"\x05\x05") + _field(3, b"\x09")), "has the key 5 twice"),
        (_entry(ONE + _field(2, b"\x05")), "has keys but no shape"),
        (_entry(ONE + _field(3, b"\x05")), "has 1 values, but its shape asks for 5"),
        (_entry(ONE + _field(3, _varint(2**40) * 3)), "more than 2.62 elements"),
        (_field(1, _field(1, b"values")), "has no value"),
        (_field(1, _field(1, b"values") + 2 * _field(2, _field(2, ONE))), "has more than one value"),
        (_field(1, _field(1, b"values") + _field(2, _field(2, ONE) * 2)), "has more than one tensor"),
        (_field(1, _field(1, b"values") + _field(2, _field(2, ONE) + _field(3, b""))), "one type of tensor"),
        (_field(1, _field(1, b"other") + _field(2, _field(2, ONE))), r"must hold features\['values'\]"),
        (_field(2, _field(1, b"values") + _field(2, _field(2, ONE))), r"must hold features\['values'\]"),
        (b"", r"must hold features\['values'\]"),
    ],
)
@pytest.mark.parametrize("rows", [1, 3])
def test_refused(payload: bytes, message: str, rows: int) -> None:
    with pytest.raises(CodecError, match=message) as caught:
        recordio.decode(frame([payload] * rows))
    assert caught.value.contentType == "application/x-recordio-protobuf"
    assert caught.value.offset is not None


@pytest.mark.parametrize(
    ("payloads", "message"),
    [
        ([_entry(ONE), _entry(ONE * 2)], "record 1 has 2 features, but the rows before have 1"),
        ([_entry(ONE), b"\x1a\x00"], r"record 1 has no features\['values'\], others have"),
        ([_entry(ONE) + _field(2, _entry(ONE)[2:]), _entry(ONE)], r"record 1 has no label\['values'\], others have"),
        ([_entry(ONE), _field(1, _field(1, b"values") + _field(2, _field(3, _field(1, bytes(8)))))], "several"),
    ],
)
def test_rows_that_do_not_fit_together(payloads: list[bytes], message: str) -> None:
    with pytest.raises(CodecError, match=message):
        recordio.decode(frame(payloads))


def test_widths_and_labels_asked_for() -> None:
    body = recordio.encode(np.ones((2, 3), np.float32), np.ones(2, np.float32))
    with pytest.raises(CodecError, match="record 0 has 3 features, but the caller expects 4"):
        recordio.decode(body, width=4)
    with pytest.raises(CodecError, match="must have 0 labels, but has 1"):
        recordio.decode(body, label_size=0)


def test_padding_must_be_zero() -> None:
    body = recordio.encode_tensors({"odd": np.ones((3, 1), np.float32)})
    size = len(body) // 3
    payload = struct.unpack_from("<I", body, 4)[0]
    assert payload % 4
    for row in (0, 1, 2):
        bad = bytearray(body)
        bad[row * size + size - 1] = 1
        with pytest.raises(CodecError, match="padded with zeros") as caught:
            recordio.decode_tensors(bytes(bad))
        assert row * size + 8 + payload <= (caught.value.offset or 0) < (row + 1) * size


@pytest.mark.parametrize("fill", [b"\x0d\0\0\0\0\x10\x01", b"\x10\x01\x18\x01", b"\x0d\0\0\0\0" * 7 + b"\x10\x01"])
def test_fields_that_alternate_are_refused_soon(fill: bytes) -> None:
    with pytest.raises(CodecError, match="more than 1024 fields"):
        recordio.decode(frame([_entry(fill * (2_000_000 // len(fill)))]))


def test_long_runs_of_unpacked_fields_are_read() -> None:
    values = b"\x0d\0\0\x80?" * 300_000
    keys = b"".join(b"\x10" + _varint(i) for i in range(300_000))
    back = recordio.decode(frame([_entry(values + keys + b"\x18" + _varint(300_000))])).features
    assert isinstance(back, Csr)
    assert back.indices.tolist() == list(range(300_000))


def test_lengths_are_not_believed_before_the_bytes_are_there() -> None:
    for word in (2**29 - 1, 2**28, 1 << 29 | 12):
        body = struct.pack("<II", 0xCED7230A, word) + bytes(12)
        with pytest.raises(CodecError, match=r"end inside a record|ends between two parts"):
            recordio.decode(body)


def test_too_long_rows_and_wrong_indices_are_not_written() -> None:
    wide = np.broadcast_to(np.zeros(1, np.float32), (1, 2**27))
    with pytest.raises(CodecError, match="a RecordIO record holds at most 536870911"):
        recordio.encode(wide)
    for index in (-1, 5, 2**40):
        x = Csr(np.array([0, 1]), np.array([index]), np.ones(1, np.float32), 5)
        with pytest.raises(CodecError, match=f"must be from 0 to 4, but got {index}"):
            recordio.encode(x)
    with pytest.raises(CodecError, match="one entry per row"):
        recordio.encode(np.ones((2, 2), np.float32), np.ones(3, np.float32))
    with pytest.raises(CodecError, match="float32, float64 or int32, but got int64"):
        recordio.encode_tensors({"a": np.ones((2, 2), np.int64)})
    with pytest.raises(CodecError, match="one common number of rows"):
        recordio.encode_tensors({"a": np.ones(2)}, {"b": np.ones(3)})
    with pytest.raises(CodecError, match="one or two dimensions"):
        recordio.encode_tensors({"a": np.ones((2, 2, 2))})
