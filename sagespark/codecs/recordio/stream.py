"""Records out of a stream, with memory for one block."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from sagespark.codecs.base import reported
from sagespark.codecs.recordio import framing


class Readable(Protocol):
    """A binary file, socket file or HTTP body."""

    def read(self, size: int, /) -> bytes:
        """Return at most ``size`` bytes, empty at the end."""


def pieces(stream: Readable, block_bytes: int) -> Iterator[tuple[int, NDArray[np.uint8]]]:
    """Yield the stream in pieces of whole records, with the offset of each in the stream.

    Parameters
    ----------
    stream : file-like
        Where the bytes come from; a short read is no end.
    block_bytes : int
        Bytes to read at a time; more where a record is longer.

    Raises
    ------
    CodecError
        If the stream ends inside a record, or a record does not begin where it must.
    """
    base = 0
    held = bytearray()
    target = block_bytes
    while True:
        while len(held) < target and (data := stream.read(target - len(held))):
            held += data
        if not held:
            return
        view = np.frombuffer(held, np.uint8)
        with reported(framing.CONTENT_TYPE, base):
            end = framing.whole(view)
            if not end and len(held) < target:
                framing.find(view)  # raises: the stream is over, and no whole record is left
        if end:
            yield base, view[:end].copy()
            base += end
            target = max(block_bytes, len(held) - end)
            rest = view[end:].tobytes()
            held = bytearray(rest)
        else:
            target = 2 * max(len(held), block_bytes)
