"""Requests to an ASGI application without a server."""

from __future__ import annotations

import asyncio
from typing import Any

from sagespark.local.containers.serving import ServingApp


def ask(
    app: ServingApp,
    method: str,
    path: str,
    *parts: bytes,
    content_type: str | None = None,
    accept: str | None = None,
    declared: int | None = None,
) -> tuple[int, str, bytes]:
    """Send one request and return status, content type and body."""
    headers = []
    for name, value in (("content-type", content_type), ("accept", accept), ("content-length", declared)):
        if value is not None:
            headers.append((name.encode(), str(value).encode()))
    chunks = list(parts or (b"",))
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        chunk = chunks.pop(0)
        return {"type": "http.request", "body": chunk, "more_body": bool(chunks)}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    scope = {"type": "http", "method": method, "path": path, "headers": headers}
    asyncio.run(app(scope, receive, send))
    found = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
    assert found["content-length"] == str(len(sent[1]["body"]))
    return sent[0]["status"], found["content-type"], sent[1]["body"]
