"""Write an uploaded body to its file while decoding and hashing it; the event loop only passes chunks on."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from typing import TypeVar

from sagespark.local.objects.files import Files
from sagespark.local.wire.payload import Content

BATCH = 1 << 20
"""Bytes gathered before a thread writes them; two batches at most are in memory."""

T = TypeVar("T")


class Incoming:
    """One body on its way to the store.

    Parameters
    ----------
    files : Files
        Gives the id and the place.
    content : Content
        The body and what the request says of it.
    *algorithms : str
        Checksums to compute beside those that the request tells.
    """

    def __init__(self, files: Files, content: Content, *algorithms: str) -> None:
        self.content = content
        self._files = files
        self._checker = content.checker(*algorithms)
        self.body, self._path = files.new()
        self._file: int | None = None

    @property
    def size(self) -> int:
        """Bytes of content so far."""
        return self._checker.size

    @property
    def md5(self) -> str:
        """MD5 of the content, hexadecimal."""
        return self._checker.md5

    @property
    def checksums(self) -> dict[str, str]:
        """Checksums in base64 by algorithm."""
        return self._checker.checksums

    def write(self, chunks: Sequence[bytes]) -> None:
        """Decode, hash and write chunks; blocks."""
        if self._file is None:
            self._file = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        for chunk in chunks:
            for piece in self._checker.feed(chunk):
                view = memoryview(piece)
                while view:
                    view = view[os.write(self._file, view) :]

    def close(self) -> None:
        """End the file, also of an empty body, and check it against what the request said.

        Raises
        ------
        AwsError
            ``BadDigest`` and its like.
        """
        self.write(())
        self._checker.finish()
        self._shut()

    def _shut(self) -> None:
        if self._file is not None and self._file >= 0:
            os.close(self._file)
            self._file = -1

    def discard(self) -> None:
        """Delete what was written and is not yet an object or a part."""
        self._shut()
        self._path.unlink(missing_ok=True)


async def receive(incoming: Incoming, finish: Callable[[], T], pool: Executor) -> T:
    """Write a whole body, then call ``finish``, all in threads; return what it returns.

    Memory stays at two batches whatever the body's length. A small body takes one hop to a thread.

    Raises
    ------
    ClientGoneError
        If the client leaves before the end; nothing is kept then, as after any other failure.
    """
    loop = asyncio.get_running_loop()
    writing: asyncio.Future[None] | None = None
    ending: asyncio.Future[T] | None = None
    batch: list[bytes] = []
    size = 0

    def last() -> T:
        incoming.write(batch)
        incoming.close()
        return finish()

    try:
        async for chunk in incoming.content.chunks():
            batch.append(chunk)
            size += len(chunk)
            if size >= BATCH:
                if writing is not None:
                    await asyncio.shield(writing)
                writing = loop.run_in_executor(pool, incoming.write, batch)
                batch, size = [], 0
        if writing is not None:
            await asyncio.shield(writing)
        ending = loop.run_in_executor(pool, last)
        return await asyncio.shield(ending)
    except BaseException:
        # A thread may still be at work, also when this task is cancelled: what it writes is deleted only after it, and
        # not at all once it is an object.
        running = [future for future in (writing, ending) if future is not None]
        if running:
            await asyncio.wait(running)
        if ending is None or ending.exception() is not None:
            await loop.run_in_executor(pool, incoming.discard)
        raise
