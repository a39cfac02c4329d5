"""UBJSON (draft 12), in which XGBoost writes its models; read only.

Arrays of one number type come out as numpy arrays, all else as Python's own objects.
Source: ubjson.org's specification; XGBoost's "Model IO" tutorial.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from sagespark.core.errors import CodecError

FORMAT = "UBJSON"
MAX_DEPTH = 64
"""Most objects and arrays inside each other."""
_NUMBERS = {b"i": ">i1", b"U": ">u1", b"I": ">i2", b"l": ">i4", b"L": ">i8", b"d": ">f4", b"D": ">f8"}
_INTEGERS = b"iUIlL"
_CONSTANTS = {b"Z": None, b"T": True, b"F": False}


def load(body: bytes) -> Any:
    """Return the value that the bytes hold.

    Raises
    ------
    CodecError
        If they end early, hold an unknown marker, or go on behind the value.
    """
    reader = _Reader(body)
    value = reader.value(reader.marker(), 0)
    if reader.at != len(body):
        raise reader.error(f"{len(body) - reader.at} bytes follow the value")
    return value


class _Reader:
    def __init__(self, body: bytes) -> None:
        self.body = body
        self.at = 0

    def error(self, text: str) -> CodecError:
        return CodecError(text, contentType=FORMAT, offset=self.at)

    def take(self, size: int) -> bytes:
        if size < 0 or self.at + size > len(self.body):
            raise self.error(f"{size} bytes are asked for, but {len(self.body) - self.at} are left")
        self.at += size
        return self.body[self.at - size : self.at]

    def marker(self) -> bytes:
        while (found := self.take(1)) == b"N":
            pass
        return found

    def number(self, kind: bytes) -> Any:
        form = np.dtype(_NUMBERS[kind])
        return np.frombuffer(self.take(form.itemsize), form)[0].item()

    def length(self) -> int:
        kind = self.take(1)
        if kind not in _INTEGERS:
            raise self.error(f"a length must be an integer, but has the marker {kind!r}")
        return int(self.number(kind))

    def text(self) -> str:
        try:
            return self.take(self.length()).decode()
        except UnicodeDecodeError as error:
            raise self.error(f"a text is no UTF-8: {error}") from None

    def value(self, kind: bytes, depth: int) -> Any:
        if kind in _NUMBERS:
            return self.number(kind)
        if kind in _CONSTANTS:
            return _CONSTANTS[kind]
        if kind == b"S":
            return self.text()
        if kind == b"C":
            return self.take(1).decode("latin-1")
        if depth == MAX_DEPTH:
            raise self.error(f"more than {MAX_DEPTH} objects and arrays lie inside each other")
        if kind == b"[":
            return self.array(depth + 1)
        if kind == b"{":
            return self.object(depth + 1)
        raise self.error(f"the marker {kind!r} is unknown")

    def header(self) -> tuple[bytes | None, int | None]:
        """Return the type and the number of a container's members, None where it does not tell."""
        kind = None
        if self.body[self.at : self.at + 1] == b"$":
            self.at += 1
            kind = self.take(1)
            if kind in _CONSTANTS:
                # Members without bytes: a few bytes could ask for any number of them.
                raise self.error(f"a container of the type {kind!r} is not read")
        if self.body[self.at : self.at + 1] == b"#":
            self.at += 1
            return kind, self.length()
        if kind is not None:
            raise self.error("a container with a type must tell its number of members")
        return None, None

    def array(self, depth: int) -> Any:
        kind, count = self.header()
        if kind in _NUMBERS and count is not None:
            form = np.dtype(_NUMBERS[kind])
            found = np.frombuffer(self.take(form.itemsize * count), form)
            return found.astype(form.newbyteorder("="))
        out: list[Any] = []
        while count is None or len(out) < count:
            inner = kind or self.marker()
            if count is None and inner == b"]":
                break
            out.append(self.value(inner, depth))
        return out

    def object(self, depth: int) -> dict[str, Any]:
        kind, count = self.header()
        out: dict[str, Any] = {}
        while count is None or len(out) < count:
            if count is None and self.body[self.at : self.at + 1] == b"}":
                self.at += 1
                break
            name = self.text()
            out[name] = self.value(kind or self.marker(), depth)
        return out
