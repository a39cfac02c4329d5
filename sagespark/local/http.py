"""The HTTP front: plain ASGI on uvicorn, loopback only.

Every request passes the same gates before AWS's protocols see it: the Host must name this machine (so that no web page
can reach the service by a name of its own), and so must the Origin where a browser sends one.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import re
import signal
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, MutableMapping
from concurrent.futures import Executor
from typing import Any, Protocol

import uvicorn

from sagespark.core.settings import is_loopback
from sagespark.local.admin import PREFIX, Admin
from sagespark.local.config import LocalConfig
from sagespark.local.wire.context import AwsError, ClientGoneError, FileRange, HttpRequest, HttpResponse

log = logging.getLogger("sagespark.local.http")

HEALTH = "/_sagespark/health"
CHUNK = 1 << 20
"""Bytes of a file sent at a time."""
MAX_HEADERS = 64 * 1024
"""Most bytes of all headers of a request together."""
_HOST = re.compile(r"([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(:\d{1,5})?")

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


class Handler(Protocol):
    """What answers requests: the dispatcher."""

    async def handle(self, request: HttpRequest, base_url: str) -> HttpResponse:
        """Answer one request."""
        ...


class AsgiBody:
    """The body of an ASGI request."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._ended = False
        self.touched = False
        """Whether anything asked for the body; until then a client may still wait for ``100 Continue``."""

    async def chunks(self) -> AsyncIterator[bytes]:
        """Yield the bytes as they arrive."""
        self.touched = True
        while not self._ended:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise ClientGoneError
            self._ended = not message.get("more_body", False)
            body = message.get("body", b"")
            if body:
                yield body

    async def read(self, limit: int) -> bytes:
        """Return the whole body, of at most ``limit`` bytes."""
        parts: list[bytes] = []
        size = 0
        async for chunk in self.chunks():
            size += len(chunk)
            if size > limit:
                raise AwsError(
                    "RequestEntityTooLargeException",
                    f"The request body is longer than {limit} bytes, the most that this operation takes.",
                    status=413,
                )
            parts.append(chunk)
        return b"".join(parts)


class Front:
    """The ASGI application.

    Parameters
    ----------
    handler : Handler
        Answers what passes the gates.
    files : Executor
        Threads that read files to be sent.
    admin : Admin or None
        Answers what is not AWS's.
    """

    def __init__(self, handler: Handler, files: Executor, admin: Admin | None = None) -> None:
        self._handler = handler
        self._admin = admin
        self._files = files

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return
        body = AsgiBody(receive)
        try:
            response = await self._answer(scope, body)
        except ClientGoneError:
            return
        if not body.touched and any(name == b"expect" for name, _ in scope["headers"]):
            # The client will not send the body that the connection still expects.
            response.headers.append(("connection", "close"))
        await self._send(response, receive, send)

    async def _answer(self, scope: MutableMapping[str, Any], body: AsgiBody) -> HttpResponse:
        headers: dict[str, str] = {}
        size = 0
        hosts = 0
        for raw_name, raw_value in scope["headers"]:
            name, value = raw_name.decode("latin-1"), raw_value.decode("latin-1")
            size += len(raw_name) + len(raw_value)
            hosts += name == "host"
            headers[name] = f"{headers[name]},{value}" if name in headers else value
        if size > MAX_HEADERS:
            return _plain(431, "The request's headers are longer than 65536 bytes.")
        host = headers.get("host", "")
        if hosts != 1 or not _HOST.fullmatch(host) or not is_loopback(host):
            return _plain(
                403, "The Host header must name this machine: 127.0.0.0/8, [::1], localhost or a name under .localhost."
            )
        origin = headers.get("origin")
        if origin is not None and not is_loopback(origin):
            return _plain(403, "Web pages of other origins may not use this service.")
        path = scope["raw_path"].decode("latin-1")
        if path == HEALTH:
            if scope["method"] not in ("GET", "HEAD"):
                return _plain(405, "The health check answers GET.")
            document = json.dumps({"status": "ok", "service": "sagespark"}).encode()
            return HttpResponse(200, [("content-type", "application/json")], document)
        if self._admin is not None and path.startswith(PREFIX):
            return self._admin.answer(scope["method"], path, scope["query_string"].decode("latin-1"))
        request = HttpRequest(scope["method"], path, scope["query_string"].decode("latin-1"), headers, body)
        return await self._handler.handle(request, f"http://{host}")

    async def _send(self, response: HttpResponse, receive: Receive, send: Send) -> None:
        body = response.body
        headers = [(_encode(name), _encode(value)) for name, value in response.headers]
        if not any(name == b"content-length" for name, _ in headers) and response.status not in (204, 304):
            if isinstance(body, bytes):
                headers.append((b"content-length", b"%d" % len(body)))
            elif isinstance(body, FileRange):
                headers.append((b"content-length", b"%d" % body.length))
        await send({"type": "http.response.start", "status": response.status, "headers": headers})
        if isinstance(body, bytes):
            await send({"type": "http.response.body", "body": body})
            return
        pieces = self._file(body) if isinstance(body, FileRange) else body
        gone = asyncio.ensure_future(_gone(receive))
        try:
            async for piece in pieces:
                await send({"type": "http.response.body", "body": piece, "more_body": True})
                if gone.done():
                    return
        finally:
            gone.cancel()
        await send({"type": "http.response.body", "body": b""})

    async def _file(self, body: FileRange) -> AsyncIterator[bytes]:
        loop = asyncio.get_running_loop()
        offset, left = body.offset, body.length
        with body.file as file:
            while left > 0:
                data = await loop.run_in_executor(self._files, os.pread, file.fileno(), min(left, CHUNK), offset)
                if not data:
                    raise EOFError(f"the file ends {left} bytes early")
                offset += len(data)
                left -= len(data)
                yield data


async def _gone(receive: Receive) -> None:
    """Return once the client has left, so that nothing more is read for it."""
    while (await receive())["type"] != "http.disconnect":
        pass


def _encode(text: str) -> bytes:
    try:
        return text.encode("latin-1")
    except UnicodeEncodeError:
        return text.encode("utf-8")


def _plain(status: int, text: str) -> HttpResponse:
    return HttpResponse(status, [("content-type", "text/plain; charset=utf-8")], text.encode() + b"\n")


def listen(config: LocalConfig) -> list[socket.socket]:
    """Return listening sockets on loopback: IPv4, and IPv6 at the same port where the machine has it.

    Raises
    ------
    OSError
        If the port is taken.
    ValueError
        If the host is no loopback address.
    """
    if not is_loopback(config.host):
        raise ValueError(f"the embedded service listens on loopback only, but got host={config.host!r}")
    first = socket.create_server((config.host, config.port), backlog=1024)
    sockets = [first]
    if config.host == "127.0.0.1" and socket.has_dualstack_ipv6():
        with contextlib.suppress(OSError):
            # `localhost` and names under it may resolve to ::1 first.
            port = first.getsockname()[1]
            sockets.append(socket.create_server(("::1", port), family=socket.AF_INET6, backlog=1024))
    return sockets


class HttpServer(uvicorn.Server):
    """uvicorn with hooks around its life, that ends quietly on SIGTERM and SIGINT.

    Parameters
    ----------
    app : Front
        The ASGI application.
    config : LocalConfig
        Gives the time that requests in flight have to end.
    start, stop : callable
        Run in a thread before the first request is accepted and after the last one has ended.
    ready : callable
        Called once requests are accepted.
    """

    def __init__(
        self,
        app: Front,
        config: LocalConfig,
        start: Callable[[], None],
        stop: Callable[[], None],
        ready: Callable[[], None],
    ) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                loop="uvloop",
                http="httptools",
                ws="none",
                lifespan="off",
                log_config=None,
                access_log=False,
                server_header=False,
                timeout_keep_alive=75,
                timeout_graceful_shutdown=config.grace,
            )
        )
        self._start, self._stop, self._ready = start, stop, ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start the service, then accept."""
        await asyncio.to_thread(self._start)
        await super().startup(sockets)
        self._ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop accepting, let requests end, then stop the service."""
        await super().shutdown(sockets)
        await asyncio.to_thread(self._stop)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Turn SIGTERM and SIGINT into a graceful end with exit code 0; uvicorn would raise them again afterwards."""
        loop = asyncio.get_running_loop()
        signals = (signal.SIGTERM, signal.SIGINT)
        for number in signals:
            loop.add_signal_handler(number, self.handle_exit, number, None)
        try:
            yield
        finally:
            for number in signals:
                loop.remove_signal_handler(number)
