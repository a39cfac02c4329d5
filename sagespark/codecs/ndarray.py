"""MXNet's NDArray list format, in which AWS's own algorithms keep their artifacts.

AWS's K-means writes ``model_algo-1``: a list of one float32 array of k x feature_dim, the centres.

All numbers are little endian. A file is::

    u64 0x112, u64 0, u64 count, count arrays, u64 names, names x (u64 length, UTF-8)

with as many names as arrays (a dictionary) or none (a list). An array is one of::

    V2  u32 0xF993FAC9, i32 storage type (0 is dense), shape, i32 device, i32 device id, i32 type, values
    V3  u32 0xF993FACA, as V2; here a shape of no dimension is a scalar, in V2 it is an empty array without values
    V1  u32 0xF993FAC8, shape, i32 device, i32 device id, i32 type, values
    V0  u32 dimensions, u32 sizes, i32 device, i32 device id, i32 type, values

and a shape is ``u32 dimensions, i64 sizes``. Values are in C order. An array that holds nothing ends after its shape.
Source: apache/mxnet ``src/ndarray/ndarray.cc`` (``NDArray::Save``, ``Load``, ``LegacyLoad``) and
``include/mxnet/tuple.h``.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sagespark.codecs.base import Buffer
from sagespark.core.errors import CodecError

FORMAT = "NDArray list"
LIST_MAGIC = 0x112
V1_MAGIC, V2_MAGIC, V3_MAGIC = 0xF993FAC8, 0xF993FAC9, 0xF993FACA
MAX_DIMENSIONS = 32
"""Most dimensions of an array; MXNet's operators take fewer."""

_TYPES = ("<f4", "<f8", "<f2", "|u1", "<i4", "|i1", "<i8", "|b1", "<i2", "<u2", "<u4", "<u8")
"""Position is mshadow's type flag; 12 (bfloat16) has no numpy type."""
_FLAGS = {np.dtype(t): flag for flag, t in enumerate(_TYPES)}
_CPU = (1, 0)


def dump_list(arrays: Sequence[NDArray[Any]]) -> bytes:
    """Return arrays as ``mxnet.nd.save`` writes a list, in the V2 layout.

    Parameters
    ----------
    arrays : sequence of ndarray
        At least one dimension each; any byte order and strides.

    Raises
    ------
    CodecError
        If MXNet has no such type, or an array is a scalar.
    """
    return _dump(list(arrays), [])


def dump_dict(arrays: Mapping[str, NDArray[Any]]) -> bytes:
    """Return named arrays as ``mxnet.nd.save`` writes a dictionary, in the V2 layout.

    Raises
    ------
    CodecError
        As :func:`dump_list`.
    """
    return _dump(list(arrays.values()), list(arrays))


def _dump(arrays: list[NDArray[Any]], names: list[str]) -> bytes:
    parts = [struct.pack("<QQQ", LIST_MAGIC, 0, len(arrays))]
    for array in arrays:
        kind = array.dtype.newbyteorder("<")
        if kind not in _FLAGS:
            raise CodecError(f"an array of {array.dtype} has no MXNet type: use float32", contentType=FORMAT)
        if not 1 <= array.ndim <= MAX_DIMENSIONS:
            raise CodecError(
                f"an array must have 1 to {MAX_DIMENSIONS} dimensions, but has {array.ndim}", contentType=FORMAT
            )
        parts.append(struct.pack(f"<IiI{array.ndim}q", V2_MAGIC, 0, array.ndim, *array.shape))
        parts.append(struct.pack("<3i", *_CPU, _FLAGS[kind]))
        parts.append(array.astype(kind, copy=False).tobytes())
    parts.append(struct.pack("<Q", len(names)))
    for name in names:
        text = name.encode()
        parts += [struct.pack("<Q", len(text)), text]
    return b"".join(parts)


def load(body: Buffer) -> list[NDArray[Any]] | dict[str, NDArray[Any]]:
    """Return the arrays of a file: a list, or a dictionary where they have names.

    Parameters
    ----------
    body : bytes-like
        A whole file, of layout V0 to V3. Arrays of one dimension and size 0 stand for arrays that hold nothing.

    Returns
    -------
    list of ndarray or dict of str to ndarray
        Copies, writable, in C order.

    Raises
    ------
    CodecError
        If the bytes are cut short, are no NDArray list, or hold a sparse array; with the byte's offset.
    """
    reader = _Reader(bytes(body))
    magic, reserved, count = reader.numbers("QQQ")
    if magic != LIST_MAGIC:
        raise reader.error(f"a file must begin with 0x{LIST_MAGIC:X}, but got 0x{magic:X}", 0)
    if reserved:
        raise reader.error(f"the reserved word must be 0, but is {reserved}", 8)
    reader.check_count(count, 4, "arrays")
    arrays = [reader.array() for _ in range(count)]
    at = reader.at
    (named,) = reader.numbers("Q")
    if named not in (0, count):
        raise reader.error(f"{count} arrays must have as many names or none, but have {named}", at)
    names = [reader.name() for _ in range(named)]
    if reader.left:
        raise reader.error(f"{reader.left} bytes follow the last name", reader.at)
    if not named:
        return arrays
    if len(set(names)) != named:
        twice = next(n for n in names if names.count(n) > 1)
        raise reader.error(f"the name {twice!r} is there more than once", at)
    return dict(zip(names, arrays, strict=True))


class _Reader:
    """A position in the bytes; every read checks what is left."""

    def __init__(self, body: bytes) -> None:
        self.body = body
        self.at = 0

    @property
    def left(self) -> int:
        """Bytes not yet read."""
        return len(self.body) - self.at

    def error(self, message: str, offset: int) -> CodecError:
        return CodecError(message, contentType=FORMAT, offset=offset)

    def bytes(self, size: int) -> bytes:
        if size > self.left:
            raise self.error(f"{size} bytes are needed, but {self.left} are left", self.at)
        self.at += size
        return self.body[self.at - size : self.at]

    def numbers(self, form: str) -> tuple[int, ...]:
        return struct.unpack("<" + form, self.bytes(struct.calcsize("<" + form)))

    def check_count(self, count: int, least: int, what: str) -> None:
        if count * least > self.left:
            raise self.error(f"{count} {what} need more than the {self.left} bytes that are left", self.at - 8)

    def name(self) -> str:
        at = self.at
        (size,) = self.numbers("Q")
        try:
            return self.bytes(size).decode()
        except UnicodeDecodeError as problem:
            raise self.error("a name must be UTF-8", at + 8 + problem.start) from None

    def array(self) -> NDArray[Any]:
        begin = self.at
        (magic,) = self.numbers("I")
        if magic in (V2_MAGIC, V3_MAGIC):
            (storage,) = self.numbers("i")
            if storage != 0:
                raise self.error(f"only dense arrays can be read, but the storage type is {storage}", begin + 4)
        shape = self._shape(*((magic, "I") if magic < V1_MAGIC else (self.numbers("I")[0], "q")))
        if not shape and magic != V3_MAGIC:
            return np.empty(0, np.float32)
        at = self.at + 8
        _device, _device_id, flag = self.numbers("3i")
        if not 0 <= flag < len(_TYPES):
            raise self.error(f"the type flag must be 0 to {len(_TYPES) - 1}, but is {flag}", at)
        kind = np.dtype(_TYPES[flag])
        count = 1
        for size in shape:
            count *= size
        return np.frombuffer(self.bytes(count * kind.itemsize), kind).reshape(shape).copy()

    def _shape(self, dimensions: int, form: str) -> tuple[int, ...]:
        if dimensions > MAX_DIMENSIONS:
            raise self.error(
                f"an array must have at most {MAX_DIMENSIONS} dimensions, but has {dimensions}", self.at - 4
            )
        at = self.at
        shape = self.numbers(f"{dimensions}{form}")
        if any(size < 0 for size in shape):
            raise self.error(f"a shape must have no negative size, but is {shape}", at)
        return shape
