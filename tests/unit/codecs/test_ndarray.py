"""NDArray list format: golden bytes made by hand from MXNet's layout, round trips, hostile bytes."""

from __future__ import annotations

import contextlib
import struct
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from sagespark.codecs import ndarray
from sagespark.core.errors import CodecError

CENTRES = np.array([[1.5, -2.0, 0.25], [3.0, 4.0, 5.0]], np.float32)
HEAD = struct.pack("<QQQ", 0x112, 0, 1)
TWICE = struct.pack("<Q", 1) + b"a"
NO_NAMES = struct.pack("<Q", 0)
BODY = struct.pack("<6f", 1.5, -2.0, 0.25, 3.0, 4.0, 5.0)
CPU_FLOAT = struct.pack("<iii", 1, 0, 0)
V2 = struct.pack("<Ii", 0xF993FAC9, 0) + struct.pack("<Iqq", 2, 2, 3) + CPU_FLOAT + BODY


def test_list_is_what_mxnet_saves() -> None:
    assert ndarray.dump_list([CENTRES]) == HEAD + V2 + NO_NAMES


def test_dictionary_is_what_mxnet_saves() -> None:
    expected = HEAD + V2 + struct.pack("<QQ", 1, 4) + b"arg:"
    assert ndarray.dump_dict({"arg:": CENTRES}) == expected
    back = ndarray.load(expected)
    assert isinstance(back, dict)
    np.testing.assert_array_equal(back["arg:"], CENTRES)


@pytest.mark.parametrize(
    "array",
    [
        V2,
        struct.pack("<Ii", 0xF993FACA, 0) + V2[8:],
        struct.pack("<I", 0xF993FAC8) + V2[8:],
        struct.pack("<III", 2, 2, 3) + CPU_FLOAT + BODY,
        V2[:28] + struct.pack("<iii", 2, 3, 0) + BODY,
    ],
    ids=["V2", "V3", "V1", "V0", "saved from a GPU"],
)
def test_every_layout_is_read(array: bytes) -> None:
    (back,) = ndarray.load(HEAD + array + NO_NAMES)
    assert isinstance(back, np.ndarray)
    assert back.dtype == np.float32
    np.testing.assert_array_equal(back, CENTRES)
    back[0, 0] = 7  # a copy of its own


def test_scalars_and_empty_arrays() -> None:
    scalar = struct.pack("<IiI", 0xF993FACA, 0, 0) + struct.pack("<iiif", 1, 0, 0, 2.5)
    nothing = struct.pack("<IiI", 0xF993FAC9, 0, 0)
    a, b = ndarray.load(struct.pack("<QQQ", 0x112, 0, 2) + scalar + nothing + NO_NAMES)
    assert isinstance(a, np.ndarray)
    assert isinstance(b, np.ndarray)
    assert a.shape == ()
    assert a == 2.5
    assert b.shape == (0,)
    assert ndarray.load(ndarray.dump_list([])) == []


ARRAYS = hnp.arrays(
    st.sampled_from(["<f4", ">f4", "<f8", "<f2", "u1", "<i4", "i1", "<i8", "?", "<i2", "<u2", "<u4", "<u8"]),
    hnp.array_shapes(min_dims=1, max_dims=4, min_side=0, max_side=4),
)


@given(arrays=st.lists(ARRAYS, max_size=4), transpose=st.booleans())
@settings(max_examples=60, deadline=None)
def test_round_trip(arrays: list[Any], transpose: bool) -> None:
    if transpose:
        arrays = [a.T for a in arrays]
    back = ndarray.load(ndarray.dump_list(arrays))
    assert isinstance(back, list)
    for a, b in zip(arrays, back, strict=True):
        assert b.dtype == a.dtype.newbyteorder("<")
        np.testing.assert_array_equal(a, b)


def test_every_truncation_is_refused_with_its_offset() -> None:
    body = ndarray.dump_dict({"a": CENTRES, "b": CENTRES[0]})
    for size in range(len(body)):
        with pytest.raises(CodecError) as caught:
            ndarray.load(body[:size])
        assert caught.value.offset is not None
        assert caught.value.offset <= size


@given(data=st.data())
@settings(max_examples=150, deadline=None)
def test_flipped_bytes_never_crash(data: st.DataObject) -> None:
    body = bytearray(ndarray.dump_dict({"a": CENTRES, "b": CENTRES[0]}))
    for _ in range(data.draw(st.integers(1, 4))):
        body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(CodecError):
        back = ndarray.load(bytes(body))
        assert sum(a.nbytes for a in (back.values() if isinstance(back, dict) else back)) <= len(body)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (struct.pack("<QQQ", 0x113, 0, 0) + NO_NAMES, "must begin with 0x112"),
        (struct.pack("<QQQ", 0x112, 1, 0) + NO_NAMES, "reserved word must be 0"),
        (struct.pack("<QQQ", 0x112, 0, 2**60) + NO_NAMES, "arrays need more than"),
        (HEAD + struct.pack("<Ii", 0xF993FAC9, 1) + V2[8:] + NO_NAMES, "only dense arrays"),
        (HEAD + V2[:8] + struct.pack("<Iqq", 2, 2**40, 2**40) + CPU_FLOAT + BODY + NO_NAMES, "bytes are needed"),
        (HEAD + V2[:8] + struct.pack("<Iqq", 2, -2, 3) + CPU_FLOAT + BODY + NO_NAMES, "no negative size"),
        (HEAD + struct.pack("<I", 10**6) + NO_NAMES, "at most 32 dimensions"),
        (HEAD + V2[:28] + struct.pack("<iii", 1, 0, 12) + BODY + NO_NAMES, "type flag must be 0 to 11"),
        (HEAD + V2 + struct.pack("<Q", 2), "as many names or none"),
        (HEAD + V2 + struct.pack("<QQ", 1, 2) + b"\xff\xff", "must be UTF-8"),
        (HEAD + V2 + NO_NAMES + b"x", "1 bytes follow"),
        (struct.pack("<QQQ", 0x112, 0, 2) + V2 + V2 + struct.pack("<Q", 2) + 2 * TWICE, "more than once"),
    ],
)
def test_refused(body: bytes, message: str) -> None:
    with pytest.raises(CodecError, match=message):
        ndarray.load(body)


def test_what_mxnet_has_not_is_not_written() -> None:
    with pytest.raises(CodecError, match="complex64 has no MXNet type"):
        ndarray.dump_list([CENTRES.astype(np.complex64)])
    with pytest.raises(CodecError, match="1 to 32 dimensions"):
        ndarray.dump_list([np.array(1.0)])
