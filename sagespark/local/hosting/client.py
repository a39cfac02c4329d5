"""HTTP to one serving container: asyncio, connections kept open, nothing more than the container contract needs.

A general client costs more than the prediction itself where a request is small, and wants to open sockets on its own;
here they come out of the container's network (:meth:`sagespark.local.containers.runner.Container.connect`).
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import cast

import httptools

_JOIN_BYTES = 64 * 1024
_MAX_IDLE = 64


class ContainerGoneError(Exception):
    """The container refused the connection, or closed it before the answer was whole.

    Parameters
    ----------
    sent : bool
        Whether it may have seen the request.
    answered : bool
        Whether its answer had begun.
    """

    def __init__(self, message: str, *, sent: bool, answered: bool = False) -> None:
        super().__init__(message)
        self.sent = sent
        self.answered = answered


@dataclass(frozen=True)
class Answer:
    """A container's answer."""

    status: int
    headers: Mapping[str, str]
    """By lower-case name."""
    body: bytes


class _Connection(asyncio.Protocol):
    """One connection; one request at a time."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._transport: asyncio.Transport | None = None
        self._waiter: asyncio.Future[Answer] | None = None
        self._reset()
        self.closed = False

    def _reset(self) -> None:
        self._parser = httptools.HttpResponseParser(self)
        self._headers: dict[str, str] = {}
        self._parts: list[bytes] = []
        self._started = False
        self._headers_done = False

    async def request(self, head: bytes, body: bytes) -> Answer:
        """Send a request and wait for its answer."""
        if self._transport is None or self.closed:
            raise ContainerGoneError("the connection is closed", sent=False)
        self._waiter = self._loop.create_future()
        if len(body) <= _JOIN_BYTES:
            self._transport.write(head + body)
        else:
            self._transport.write(head)
            self._transport.write(body)
        return await self._waiter

    def close(self) -> None:
        """Close at once."""
        self.closed = True
        if self._transport is not None:
            self._transport.abort()

    # asyncio.Protocol
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._started = True
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._fail(ContainerGoneError(f"the container's answer is not HTTP: {error}", sent=True, answered=True))
            self.close()

    def connection_lost(self, error: Exception | None) -> None:
        self.closed = True
        if self._waiter is None or self._waiter.done():
            return
        if self._headers_done and not {"content-length", "transfer-encoding"} & self._headers.keys():
            self._finish()
        else:
            text = str(error or "the container closed the connection")
            self._fail(ContainerGoneError(text, sent=True, answered=self._started))

    # httptools
    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        self._headers_done = True

    def on_body(self, body: bytes) -> None:
        self._parts.append(body)

    def on_message_complete(self) -> None:
        if self._parser.get_status_code() < 200:
            self._headers.clear()
            return
        if not self._parser.should_keep_alive():
            self.close()
        self._finish()

    def _finish(self) -> None:
        body = self._parts[0] if len(self._parts) == 1 else b"".join(self._parts)
        answer = Answer(self._parser.get_status_code(), self._headers, body)
        waiter = self._waiter
        self._reset()
        if waiter is not None and not waiter.done():
            waiter.set_result(answer)

    def _fail(self, error: Exception) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_exception(error)


class ContainerClient:
    """Requests to one container, from one event loop.

    Parameters
    ----------
    connect : callable
        Returns a socket that is connected, or about to be; it may block for a moment.
    """

    def __init__(self, connect: Callable[[], socket.socket]) -> None:
        self._connect = connect
        self._idle: list[_Connection] = []

    async def post(self, path: str, headers: Mapping[str, str], body: bytes) -> Answer:
        """Send one POST request.

        A kept connection that the container closes before it answers is not the caller's concern: containers close idle
        connections whenever they like, and as other clients do, this one takes a new one (RFC 9112, section 9.3.1).

        Raises
        ------
        ContainerGoneError
            If there is no answer because the container ended or refused.
        """
        rows = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        head = f"POST {path} HTTP/1.1\r\nhost: model\r\ncontent-length: {len(body)}\r\n{rows}\r\n".encode("latin-1")
        while self._idle:
            connection = self._idle.pop()
            try:
                return await self._on(connection, head, body)
            except ContainerGoneError as error:
                if error.answered:
                    raise
                if error.sent:
                    return await self._on(await self._open(sent=True), head, body)
        return await self._on(await self._open(sent=False), head, body)

    async def _on(self, connection: _Connection, head: bytes, body: bytes) -> Answer:
        try:
            answer = await connection.request(head, body)
        except BaseException:
            connection.close()
            raise
        if not connection.closed and len(self._idle) < _MAX_IDLE:
            self._idle.append(connection)
        else:
            connection.close()
        return answer

    def close(self) -> None:
        """Close the idle connections."""
        for connection in self._idle:
            connection.close()
        self._idle.clear()

    async def _open(self, *, sent: bool) -> _Connection:
        loop = asyncio.get_running_loop()
        try:
            link = await loop.run_in_executor(None, self._connect)
        except OSError as error:
            raise ContainerGoneError(f"the container refuses connections: {error}", sent=sent) from error
        try:
            link.setblocking(False)
            _, connection = await loop.create_connection(lambda: _Connection(loop), sock=link)
        except OSError as error:
            with contextlib.suppress(OSError):
                link.close()
            raise ContainerGoneError(f"the container refuses connections: {error}", sent=sent) from error
        return connection
