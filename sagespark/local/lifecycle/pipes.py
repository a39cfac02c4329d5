"""Pipe mode: a channel's objects stream into a named pipe, once per epoch.

``/opt/ml/input/data/CHANNEL_0`` gives the first epoch; once its reader has closed it the next one is ``CHANNEL_1``, and
so on, for as long as the program likes. The objects follow each other with nothing in between, decompressed where the
channel's ``CompressionType`` is ``Gzip``, and each in a RecordIO record of its own where its ``RecordWrapperType`` is
``RecordIO``.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import gzip
import io
import logging
import os
import threading
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

from sagespark.codecs.recordio.framing import frame
from sagespark.core.clock import SystemClock
from sagespark.local.lifecycle.channels import ChannelData, Member
from sagespark.local.lifecycle.hosts import Host
from sagespark.local.objects.model import NoSuchKeyError
from sagespark.local.objects.store import ObjectStore

CHUNK = 1 << 20
"""Bytes that are read at a time, and the most that a pipe holds."""
_LOOK_SECONDS = 0.01
_log = logging.getLogger(__name__)


class PipeError(Exception):
    """An epoch could not be read from S3; the message tells why."""


class Pipe:
    """Feed one channel to one host.

    Parameters
    ----------
    objects : ObjectStore
        S3.
    root : Path
        The host's ``/opt/ml/input/data``.
    data : ChannelData
        The channel.
    hosts, current : tuple of Host, Host
        All hosts of the job, and the one that reads.
    on_error : callable
        Takes the reason why the channel cannot be read.
    """

    def __init__(
        self,
        objects: ObjectStore,
        root: Path,
        data: ChannelData,
        hosts: tuple[Host, ...],
        current: Host,
        on_error: Callable[[str], None],
    ) -> None:
        self._objects = objects
        self._root = root
        self._data = data
        self._hosts = hosts
        self._current = current
        self._on_error = on_error
        # A reader comes in real time.
        self._clock = SystemClock()
        self._ended = False
        self._thread = threading.Thread(target=self._feed, name=f"pipe-{data.name}", daemon=True)

    def start(self) -> None:
        """Make the first pipe and begin to wait for its reader."""
        self._make(0)
        self._thread.start()

    def close(self) -> None:
        """Stop, once the programs have ended."""
        self._ended = True
        if self._thread.is_alive():
            self._thread.join()

    def _place(self, epoch: int) -> Path:
        return self._root / f"{self._data.name}_{epoch}"

    def _make(self, epoch: int) -> None:
        os.mkfifo(self._place(epoch))

    def _feed(self) -> None:
        epoch = 0
        try:
            while (pipe := self._open(self._place(epoch))) is not None:
                # There before the reader can have come to this one's end.
                self._make(epoch + 1)
                with pipe, contextlib.suppress(BrokenPipeError):
                    self._write(epoch, pipe)
                self._place(epoch).unlink(missing_ok=True)
                epoch += 1
        except PipeError as error:
            self._on_error(str(error))
        except OSError as error:
            if not self._ended:
                _log.exception("Pipe %s", self._place(epoch))
                self._on_error(f"the pipe broke: {error}")

    def _open(self, path: Path) -> BinaryIO | None:
        """Return the pipe's end for writing once there is a reader; None where the job has ended."""
        while not self._ended:
            try:
                descriptor = os.open(path, os.O_WRONLY | os.O_NONBLOCK)
            except OSError as error:
                if error.errno != errno.ENXIO:
                    raise
                self._clock.sleep(_LOOK_SECONDS)
                continue
            os.set_blocking(descriptor, True)
            with contextlib.suppress(OSError):
                fcntl.fcntl(descriptor, fcntl.F_SETPIPE_SZ, CHUNK)
            return open(descriptor, "wb", buffering=0)
        return None

    def _write(self, epoch: int, pipe: BinaryIO) -> None:
        for member in self._data.of(self._hosts, self._current, epoch):
            with self._body(member) as source:
                blocks = frame(source.read()) if self._data.wrap else iter(lambda: source.read(CHUNK), b"")
                for block in blocks:
                    _write_all(pipe, block)

    @contextlib.contextmanager
    def _body(self, member: Member) -> Iterator[BinaryIO]:
        if member.text is not None:
            yield io.BytesIO(member.text)
            return
        where = f"s3://{member.bucket}/{member.key}"
        try:
            source = self._objects.open(member.bucket, member.key)[1]
        except NoSuchKeyError:
            raise PipeError(f"{where} was deleted while the job ran") from None
        with source:
            if not self._data.unpack:
                yield source
                return
            try:
                with gzip.GzipFile(fileobj=io.BufferedReader(source, CHUNK), mode="rb") as plain:  # type: ignore[type-var]  # a raw file is what it reads
                    yield plain  # type: ignore[misc]  # reads bytes as a BinaryIO does
            except (gzip.BadGzipFile, zlib.error, EOFError) as error:
                raise PipeError(f"{where} is not gzip, as the channel's CompressionType says: {error}") from error


def _write_all(pipe: BinaryIO, block: bytes | memoryview) -> None:
    rest = memoryview(block)
    while rest:
        rest = rest[pipe.write(rest) :]
