"""Write an uploaded body to its file while hashing it; the event loop only passes chunks on."""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from typing import Any, Protocol

from sagespark.local.objects.files import Files
from sagespark.local.wire.context import Body

BATCH = 1 << 20
"""Bytes gathered before a thread writes them; two batches at most are in memory."""


class Decoder(Protocol):
    """Undoes a transfer coding of S3's (``aws-chunked``)."""

    def feed(self, data: bytes) -> Sequence[bytes | memoryview]:
        """Return the content that ``data`` completes."""
        ...

    def end(self) -> None:
        """Check that the coding ended properly."""
        ...


class Incoming:
    """One body on its way to the store.

    Parameters
    ----------
    files : Files
        Gives the id and the place.
    digests : dict
        Objects with ``update`` by name, fed with every byte of content; ``md5`` is always there.
    decoder : Decoder, optional
        For content that arrives coded.
    raw : object with ``update``, optional
        Fed with the bytes as they arrive, before decoding.
    """

    def __init__(
        self, files: Files, digests: dict[str, Any], decoder: Decoder | None = None, raw: Any | None = None
    ) -> None:
        self._files = files
        self.body, self._path = files.new()
        self._file: int | None = None
        self.size = 0
        self.digests = {"md5": hashlib.md5(usedforsecurity=False), **digests}
        self._decoder = decoder
        self._raw = raw

    @property
    def md5(self) -> str:
        """MD5 of the content, hexadecimal."""
        return str(self.digests["md5"].hexdigest())

    def write(self, chunks: Sequence[bytes]) -> None:
        """Decode, write and hash chunks; blocks."""
        if self._file is None:
            self._file = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        pieces: Sequence[bytes | memoryview] = chunks
        if self._raw is not None:
            for chunk in chunks:
                self._raw.update(chunk)
        if self._decoder is not None:
            pieces = [piece for chunk in chunks for piece in self._decoder.feed(chunk)]
        for piece in pieces:
            for digest in self.digests.values():
                digest.update(piece)
            view = memoryview(piece)
            self.size += len(view)
            while view:
                view = view[os.write(self._file, view) :]

    def close(self) -> None:
        """End the file; an empty body has one too."""
        self.write(())
        if self._decoder is not None:
            self._decoder.end()
        self._shut()

    def _shut(self) -> None:
        if self._file is not None and self._file >= 0:
            os.close(self._file)
            self._file = -1

    def discard(self) -> None:
        """Delete what was written; harmless after the store has taken it over."""
        self._shut()
        self._files.drop(self.body)


async def receive(body: Body, incoming: Incoming, finish: Callable[[], Any], pool: Executor) -> Any:
    """Write a whole body, then call ``finish``, all in threads; return what it returns.

    Memory stays at two batches whatever the body's length. A small body takes one hop to a thread.

    Raises
    ------
    ClientGoneError
        If the client leaves before the end; nothing is kept then, as after any other failure.
    """
    loop = asyncio.get_running_loop()
    writing: asyncio.Future[None] | None = None
    batch: list[bytes] = []
    size = 0
    try:
        async for chunk in body.chunks():
            batch.append(chunk)
            size += len(chunk)
            if size >= BATCH:
                if writing is not None:
                    await writing
                writing = loop.run_in_executor(pool, incoming.write, batch)
                batch, size = [], 0
        if writing is not None:
            await writing

        def last() -> Any:
            incoming.write(batch)
            incoming.close()
            return finish()

        writing = None
        return await loop.run_in_executor(pool, last)
    except BaseException:
        if writing is not None:
            # A thread may still be writing: the file is deleted only after it.
            await asyncio.wait([writing])
        await loop.run_in_executor(pool, incoming.discard)
        raise
