"""Records of other writers: any order of fields, unpacked fields, further fields, parts."""

from __future__ import annotations

import io
import struct
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sagespark.codecs import recordio
from sagespark.codecs.matrix import Csr, Mixed
from sagespark.core.errors import CodecError
from support.batches import random_csr, random_matrix, same
from support.record_proto import frame, record_class, serialise, unframe

MAGIC = struct.pack("<I", 0xCED7230A)


def varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def field(number: int, content: bytes) -> bytes:
    return varint(number << 3 | 2) + varint(len(content)) + content


def tensor(values: Any, keys: Any = None, shape: Any = None, order: str = "vks", unpacked: bool = False) -> bytes:
    """Return a Float32Tensor whose fields stand in the given order; keys and shape as None are left out."""
    parts = {"v": b"", "k": b"", "s": b""}
    if unpacked:
        parts["v"] = b"".join(b"\x0d" + struct.pack("<f", v) for v in values)
        parts["k"] = b"".join(b"\x10" + varint(k) for k in keys or ())
        parts["s"] = b"".join(b"\x18" + varint(k) for k in shape or ())
    else:
        parts["v"] = field(1, np.asarray(values, "<f4").tobytes())
        parts["k"] = b"" if keys is None else field(2, b"".join(map(varint, keys)))
        parts["s"] = b"" if shape is None else field(3, b"".join(map(varint, shape)))
    return b"".join(parts[name] for name in order)


def entry(side: int, content: bytes, name: bytes = b"values", swap: bool = False) -> bytes:
    key, value = field(1, name), field(2, field(2, content))
    return field(side, value + key if swap else key + value)


EXTRAS = (
    field(3, b"uid-1") + field(4, b'{"a": 1}') + field(5, b"conf"),
    varint(99 << 3) + varint(2**63) + varint(100 << 3 | 1) + bytes(8) + varint(101 << 3 | 5) + bytes(4),
    b"\x08\x07" + field(2**20, b"x" * 200),
)


@pytest.mark.parametrize("order", ["vks", "skv", "kvs"])
@pytest.mark.parametrize("unpacked", [False, True])
@pytest.mark.parametrize("extra", [b"", *EXTRAS])
def test_any_order_of_fields(order: str, unpacked: bool, extra: bytes) -> None:
    rng = np.random.default_rng(0)
    x = random_csr(rng, [3, 0, 200, 1], 5000)
    y = rng.random(4, dtype=np.float32)
    payloads = []
    for i in range(4):
        row = x[i : i + 1]
        parts = [
            entry(2, tensor([y[i]], order=order, unpacked=unpacked), swap=i % 2 == 1),
            extra,
            entry(1, tensor(row.values, row.indices.tolist(), [5000], order, unpacked), swap=i % 2 == 0),
        ]
        payloads.append(b"".join(parts if i % 3 else reversed(parts)))
    back = recordio.decode(frame(payloads))
    same(back.features, x)
    same(back.labels, y)


@pytest.mark.parametrize("kind", ["dense", "sparse", "mixed"])
def test_unpacked_by_the_protobuf_library(kind: str) -> None:
    x = random_matrix(np.random.default_rng(1), kind, 30, 600)
    y = np.arange(30, dtype=np.int32)
    packed = recordio.encode_tensors({"values": x}, {"values": y, "b": y.astype(np.float64)})
    records = [record_class().FromString(p) for p in unframe(bytes(packed))]
    loose = [record_class(packed=False).FromString(r.SerializeToString()) for r in records]
    body = serialise(loose)
    assert len(body) > len(packed)
    features, labels = recordio.decode_tensors(body)
    same(features["values"], x)
    same(labels["values"], y[:, None])
    same(labels["b"], y.astype(np.float64)[:, None])


def test_dense_rows_of_one_odd_layout_and_with_shape() -> None:
    rng = np.random.default_rng(2)
    x = rng.standard_normal((50, 6)).astype(np.float32)
    odd = [entry(2, tensor([1.0]), swap=True) + entry(1, tensor(r), swap=True) for r in x]
    same(recordio.decode(frame(odd)).features, x)
    shaped = [entry(1, tensor(r, None, [2, 3])) for r in x]
    same(recordio.decode(frame(shaped)).features, x)
    matrices = [entry(1, tensor([r[0], r[1]], [1, 5], [2, 3])) for r in x]
    back = recordio.decode(frame(matrices)).features
    assert isinstance(back, Csr)
    assert back.width == 6
    assert back.indices.tolist() == [1, 5] * 50


def test_values_in_pieces_are_joined() -> None:
    whole = field(1, np.array([1, 2], "<f4").tobytes()) + b"\x0d" + struct.pack("<f", 3) + field(1, b"")
    body = frame([entry(1, whole), entry(1, tensor([4, 5, 6]))])
    same(recordio.decode(body).features, np.array([[1, 2, 3], [4, 5, 6]], np.float32))


def test_the_last_of_two_entries_of_one_name_counts() -> None:
    twice = entry(1, tensor([1, 1])) + entry(2, tensor([9])) + entry(1, tensor([2, 3]))
    body = frame([twice, entry(1, tensor([4, 5])) + entry(2, tensor([8]))])
    back = recordio.decode(body)
    same(back.features, np.array([[2, 3], [4, 5]], np.float32))
    same(back.labels, np.array([9, 8], np.float32))


def test_unsorted_keys_are_sorted_and_a_width_stands_in_for_a_shape() -> None:
    body = frame([entry(1, tensor([1, 2, 3], [7, 0, 4], [9])), entry(1, tensor([5], [8]))])
    with pytest.raises(CodecError, match="record 1 has keys but no shape"):
        recordio.decode(body)
    back = recordio.decode(body, width=9).features
    assert isinstance(back, Csr)
    assert back.indices.tolist() == [0, 4, 7, 8]
    assert back.values.tolist() == [2, 3, 1, 5]


def test_predictions_of_the_service() -> None:
    body = serialise([_answer(i, i * 0.5) for i in range(20)])
    back = recordio.RECORDIO.decode_predictions(body, ["distance_to_cluster", "closest_cluster"])
    same(back["closest_cluster"], np.arange(20, dtype=np.float32))
    same(back["distance_to_cluster"], np.arange(20, dtype=np.float32) / 2)
    with pytest.raises(CodecError, match=r"no label\['score'\]"):
        recordio.RECORDIO.decode_predictions(body, ["score"])


def _answer(cluster: float, distance: float) -> Any:
    record = record_class()(uid=f"row {cluster}", metadata="{}")
    record.label["distance_to_cluster"].float32_tensor.values.append(distance)
    record.label["closest_cluster"].float32_tensor.values.append(cluster)
    return record


def test_bytes_values_are_left_out() -> None:
    image = field(1, field(1, b"image") + field(2, field(9, field(1, b"\x00\x01"))))
    features, labels = recordio.decode_tensors(frame([image + entry(1, tensor([1]))] * 3))
    assert list(features) == ["values"]
    assert labels == {}


def _parts(payload: bytes, cuts: int) -> bytes:
    """Return a payload as dmlc-core writes it, cut where it holds the magic number."""
    pieces, last = [], 0
    for at in range(0, len(payload) // 4 * 4, 4):
        if payload[at : at + 4] == MAGIC and len(pieces) < cuts:
            pieces.append(payload[last:at])
            last = at + 4
    pieces.append(payload[last:])
    out = b""
    for i, piece in enumerate(pieces):
        flag = 0 if len(pieces) == 1 else 1 if i == 0 else 3 if i == len(pieces) - 1 else 2
        out += MAGIC + struct.pack("<I", flag << 29 | len(piece)) + piece + bytes(-len(piece) % 4)
    return out


@pytest.fixture
def with_magic() -> tuple[Any, list[bytes]]:
    """Return rows whose payloads hold the magic number at aligned offsets, and the payloads."""
    magic = np.frombuffer(MAGIC, np.float32)[0]
    x = np.random.default_rng(3).standard_normal((6, 33)).astype(np.float32)
    x[1:5, 3::7] = magic
    x[5, 32] = magic
    mixed = Mixed(
        np.array([False, True, False, False, False, False, False]), x, random_csr(np.random.default_rng(4), [4], 33)
    )
    payloads = unframe(bytes(recordio.encode(mixed)))
    aligned = [b"\x1a" + varint(pad) + bytes(pad) + p for p in payloads for pad in [_pad(p)]]
    assert any(MAGIC in [p[i : i + 4] for i in range(0, len(p), 4)] for p in aligned)
    return mixed, aligned


def _pad(payload: bytes) -> int:
    """Return the length of a uid that moves the payload's floats to a multiple of 4."""
    at = payload.find(MAGIC)
    return 4 if at < 0 else -(at + 2) % 4


@pytest.mark.parametrize("cuts", [0, 1, 99])
def test_payloads_that_hold_the_magic_number(with_magic: tuple[Any, list[bytes]], cuts: int) -> None:
    x, payloads = with_magic
    body = b"".join(_parts(p, cuts) for p in payloads)
    assert (body == frame(payloads)) == (cuts == 0)
    same(recordio.decode(body).features, x)
    pieces = list(recordio.iter_blocks(io.BytesIO(body), 64))
    assert sum(len(p) for p in pieces) == 7


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda b: b[:4] + struct.pack("<I", 3 << 29 | 8) + b[8:], "flag 3 after 0"),
        (lambda b: b[:4] + struct.pack("<I", 7 << 29 | 8) + b[8:], "flag 7 after 0"),
        (lambda b: b[:4] + struct.pack("<I", 1 << 29 | 8) + b[8:16], "ends between two parts"),
        (lambda b: b[:4] + struct.pack("<I", 1 << 29 | 7) + b[8:15] + b"\0" + b[16:], "multiple of 4 bytes, but has 7"),
    ],
)
def test_parts_that_do_not_fit_together(change: Callable[[bytes], bytes], message: str) -> None:
    body = MAGIC + struct.pack("<I", 1 << 29 | 8) + bytes(8) + MAGIC + struct.pack("<I", 3 << 29 | 8) + bytes(8)
    with pytest.raises(CodecError, match=message):
        recordio.decode(change(body))


def test_offsets_in_joined_records_are_those_of_the_body() -> None:
    body = (
        MAGIC + struct.pack("<I", 1 << 29 | 4) + b"\x1a\x06uu" + MAGIC + struct.pack("<I", 3 << 29 | 4) + b"\x0f\0\0\0"
    )
    with pytest.raises(CodecError, match="wire type 7") as caught:
        recordio.decode(body)
    assert body[caught.value.offset or 0] == 0x0F


@given(values=st.lists(st.integers(0, 2**64 - 1), min_size=1, max_size=30))
@settings(max_examples=100, deadline=None)
def test_varints_of_every_length(values: list[int]) -> None:
    from sagespark.codecs.recordio import packed
    from sagespark.codecs.recordio import varint as many
    from sagespark.codecs.recordio.wire import Found, read_varints

    numbers = np.array(values, np.uint64)
    matrix, keep = many.slots(numbers, many.length(max(values)))
    flat = matrix[keep]
    assert flat.tobytes() == b"".join(map(varint, values))
    assert many.lengths(numbers).tolist() == [len(varint(v)) for v in values]
    assert [many.length(v) for v in values] == many.lengths(numbers).tolist()
    bounds = np.array([0, len(values)], np.int64)
    assert many.row_lengths(numbers, bounds).tolist() == [len(flat)]
    whole = Found(np.zeros(1, np.int64), np.zeros(1, np.int64), np.array([len(flat)]))
    back, count = packed.varints(flat, whole)
    assert back.tolist() == values
    assert count.tolist() == [len(values)]
    ends = np.cumsum(many.lengths(numbers))
    one, behind = read_varints(flat, ends - many.lengths(numbers), np.full(len(values), len(flat)))
    assert one.tolist() == values
    assert behind.tolist() == ends.tolist()
