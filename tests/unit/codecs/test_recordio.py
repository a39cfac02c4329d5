"""RecordIO: round trips, types, reuse of memory, streams."""

from __future__ import annotations

import io
import tracemalloc
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sagespark.codecs import recordio
from sagespark.codecs.base import Rows
from sagespark.codecs.matrix import Csr, Mixed
from sagespark.codecs.recordio import body as blocks
from sagespark.codecs.recordio import ragged
from sagespark.core.errors import CodecError
from support.batches import batches, random_csr, random_matrix, same


def _plain(x: Any) -> Any:
    """Return mixed rows of one kind as that kind, which is how they are read."""
    if isinstance(x, Mixed) and x.is_sparse.all():
        return x.sparse
    return x.dense if isinstance(x, Mixed) and not x.is_sparse.any() else x


@given(x=batches(), labelled=st.booleans(), seed=st.integers(0, 99))
@settings(max_examples=80, deadline=None)
def test_round_trip(x: Any, labelled: bool, seed: int) -> None:
    rows = x.shape[0]
    y = np.random.default_rng(seed).random(rows, dtype=np.float32) if labelled else None
    body = recordio.encode(x, y)
    assert int(recordio.row_sizes(x, labelled).sum()) == len(body)
    back = recordio.decode(body, width=x.shape[1], label_size=int(labelled))
    same(back.features, _plain(x))
    if y is None:
        assert back.labels is None
    else:
        same(back.labels, y)


@pytest.mark.parametrize("kind", ["dense", "sparse", "mixed"])
def test_row_sizes_are_those_of_single_rows(kind: str) -> None:
    x = random_matrix(np.random.default_rng(1), kind, 60, 300)
    y = np.ones(60, np.float32)
    for labelled in (False, True):
        single = [len(recordio.encode(x[i : i + 1], y[i : i + 1] if labelled else None)) for i in range(60)]
        assert recordio.row_sizes(x, labelled).tolist() == single


@pytest.mark.parametrize("kind", ["dense", "sparse", "mixed"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int32])
def test_tensors_of_every_type(kind: str, dtype: Any) -> None:
    rng = np.random.default_rng(2)
    x = random_matrix(rng, kind, 50, 40, dtype)
    if dtype == np.int32:
        low = np.iinfo(np.int32).min
        target = x if kind == "dense" else x.values if kind == "sparse" else x.dense
        target.reshape(-1)[:4] = [low, -1, 0, np.iinfo(np.int32).max]
    labels = {
        "one": rng.random(50),
        "many": rng.random((50, 3), dtype=np.float32),
        "none": np.empty((50, 0), np.float32),
    }
    features, answer = recordio.decode_tensors(recordio.encode_tensors({"x": x, "": x}, labels))
    assert set(features) == {"x", ""}
    same(features["x"], x)
    same(features[""], x)
    for name, values in labels.items():
        same(answer[name], values.reshape(50, -1))


def test_int32_features_become_float64() -> None:
    x = np.array([[2**31 - 1, -(2**31)]], np.int32)
    back = recordio.decode(recordio.encode_tensors({"values": x})).features
    assert isinstance(back, np.ndarray)
    assert back.dtype == np.float64
    np.testing.assert_array_equal(back, x)


@pytest.mark.parametrize("most", [0, 3, 10**9], ids=["flat", "usual", "padded"])
@pytest.mark.parametrize("block", [64, 1 << 19])
def test_blocks_and_both_ways_of_closing_gaps(monkeypatch: pytest.MonkeyPatch, most: int, block: int) -> None:
    rng = np.random.default_rng(3)
    counts = [0, 500, 1, 0, 0, 3, 40, 2] * 4
    x = random_csr(rng, counts, 70_000)
    y = rng.random(len(counts), dtype=np.float32)
    expected = bytes(recordio.encode(x, y))
    monkeypatch.setattr(ragged, "MAX_GAPS", most)
    monkeypatch.setattr(ragged, "BLOCK_BYTES", block)
    monkeypatch.setattr(blocks, "BLOCK_BYTES", block)
    assert bytes(recordio.encode(x, y)) == expected
    same(recordio.decode(expected).features, x)


@pytest.mark.parametrize("kind", ["dense", "sparse", "mixed"])
def test_no_rows(kind: str) -> None:
    x = random_matrix(np.random.default_rng(0), kind, 0, 5)
    body = recordio.encode(x, np.empty(0, np.float32))
    assert len(body) == 0
    assert recordio.row_sizes(x, True).shape == (0,)
    assert recordio.decode(body, width=5).features.shape == (0, 5)


def test_memory_is_reused_where_it_fits() -> None:
    rng = np.random.default_rng(4)
    for kind in ("dense", "sparse"):
        x = random_matrix(rng, kind, 300, 80)
        y = rng.random(300, dtype=np.float32)
        buffer = bytearray(len(recordio.encode(x, y)) + 100)
        body = recordio.encode(x, y, out=buffer)
        assert body.obj is not None
        assert np.shares_memory(np.frombuffer(buffer, np.uint8), np.frombuffer(body, np.uint8))
        first = recordio.decode(body)
        x2 = random_matrix(rng, kind, 200, 80)
        second = recordio.decode(recordio.encode(x2, y[:200], out=buffer), out=first)
        same(second.features, x2)
        same(second.labels, y[:200])
        a, b = first.features, second.features
        if isinstance(a, Csr) and isinstance(b, Csr):
            assert np.shares_memory(a.indices, b.indices)
            assert np.shares_memory(a.values, b.values)
        else:
            assert np.shares_memory(a, b)  # type: ignore[arg-type]  # arrays, both
        larger = random_matrix(rng, kind, 900, 81)
        same(recordio.decode(recordio.encode(larger, out=buffer), out=second).features, larger)
    small = bytearray(3)
    assert len(recordio.encode(x, out=small)) > 3


def test_strides_byte_orders_and_narrowing() -> None:
    x = np.random.default_rng(5).standard_normal((20, 12))
    for view in (x[:, ::2], x[::-1], np.asfortranarray(x), x.astype(">f8"), x.astype(">f4")):
        same(recordio.decode(recordio.encode(view)).features, np.ascontiguousarray(view, np.float32))
    back = recordio.decode(recordio.encode(np.array([[1e300, np.nan, -np.inf]]))).features
    np.testing.assert_array_equal(back, [[np.inf, np.nan, -np.inf]])


def test_several_labels_per_row() -> None:
    x, y = np.ones((3, 2), np.float32), np.arange(6, dtype=np.float32).reshape(3, 2)
    back = recordio.decode(recordio.encode(x, y), label_size=2)
    same(back.labels, y)


class _Trickle(io.RawIOBase):
    """A stream that gives a few bytes at a time."""

    def __init__(self, body: bytes, most: int) -> None:
        self._body = io.BytesIO(body)
        self._most = most
        self.largest = 0

    def read(self, size: int = -1) -> bytes:
        self.largest = max(self.largest, size)
        return self._body.read(min(size, self._most))


def _stack(parts: list[Rows]) -> Any:
    return np.concatenate([p.features for p in parts])  # type: ignore[arg-type]  # dense, all


@pytest.mark.parametrize("block", [1, 100, 1000, 10**6])
@pytest.mark.parametrize("most", [1, 7, 10**6])
def test_stream(block: int, most: int) -> None:
    rng = np.random.default_rng(6)
    x = random_matrix(rng, "dense", 40, 9)
    y = rng.random(40, dtype=np.float32)
    parts = list(recordio.iter_blocks(_Trickle(bytes(recordio.encode(x, y)), most), block))
    same(_stack(parts), x)
    np.testing.assert_array_equal(np.concatenate([p.labels for p in parts if p.labels is not None]), y)
    assert len(parts) == {1: 40, 100: 40, 10**6: 1}.get(block, len(parts))
    assert list(recordio.iter_blocks(io.BytesIO(b""))) == []


def test_stream_reads_no_more_than_a_block_ahead() -> None:
    x = random_matrix(np.random.default_rng(7), "dense", 2000, 25)
    body = bytes(recordio.encode(x))
    stream = _Trickle(body, 10**9)
    sizes = [len(rows) for rows in recordio.iter_blocks(stream, 10_000)]
    assert stream.largest <= 10_000
    assert max(sizes) == 10_000 // (len(body) // 2000)


class _Endless(io.RawIOBase):
    """The same records again and again, without holding them."""

    def __init__(self, body: bytes, total: int) -> None:
        self._body, self._left, self._at = body, total, 0

    def read(self, size: int = -1) -> bytes:
        size = min(size, self._left, len(self._body) - self._at)
        out = self._body[self._at : self._at + size]
        self._at = (self._at + size) % len(self._body)
        self._left -= size
        return out


@pytest.mark.parametrize("kind", ["dense", "sparse"])
def test_stream_memory_is_flat(kind: str) -> None:
    body = bytes(recordio.encode(random_matrix(np.random.default_rng(8), kind, 2000, 60)))
    peaks = []
    for times in (8, 64):
        tracemalloc.start()
        rows = sum(len(r) for r in recordio.iter_blocks(_Endless(body, times * len(body)), 1 << 18))
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert rows == times * 2000
    assert peaks[1] < peaks[0] * 1.2


def test_stream_errors_have_the_offset_in_the_stream() -> None:
    body = bytearray(recordio.encode(np.ones((50, 3), np.float32)))
    size = len(body) // 50
    with pytest.raises(CodecError, match="end inside a record") as caught:
        list(recordio.iter_blocks(io.BytesIO(body[:-4]), 5 * size))
    assert caught.value.offset == 49 * size
    body[30 * size] ^= 1
    seen = []
    with pytest.raises(CodecError, match="must begin with the magic number") as caught:
        seen.extend(recordio.iter_blocks(io.BytesIO(body), 5 * size))
    assert caught.value.offset == 30 * size
    body[30 * size] ^= 1
    body[31 * size + 8] = 0x0F
    with pytest.raises(CodecError, match="wire type 7") as caught:
        list(recordio.iter_blocks(io.BytesIO(body), 5 * size))
    assert caught.value.offset == 31 * size + 8


def test_stream_blocks_agree() -> None:
    one, two = np.ones((4, 3), np.float32), np.ones((4, 2), np.float32)
    labels = np.ones(4, np.float32)
    for second, message in ((recordio.encode(two), "has 2 features"), (recordio.encode(one, labels), "labels")):
        body = bytes(recordio.encode(one)) + bytes(second)
        with pytest.raises(CodecError, match=message):
            list(recordio.iter_blocks(io.BytesIO(body), len(recordio.encode(one))))
