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
    held = b""
    target = block_bytes
    while True:
        parts, size = [held], len(held)
        while size < target and (data := stream.read(target - size)):
            parts.append(data)
            size += len(data)
        if not size:
            return
        held = b"".join(parts)
        view = np.frombuffer(held, np.uint8)
        with reported(framing.CONTENT_TYPE, base):
            end = framing.whole(view)
            if not end and size < target:
                framing.find(view)  # raises: the stream is over, and no whole record is left
        if end:
            yield base, view[:end]
            base += end
            held = held[end:]
        target = max(block_bytes, 0 if end else 2 * size)
