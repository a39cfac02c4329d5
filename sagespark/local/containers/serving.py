"""The web server of a built-in algorithm's serving container: ``/ping``, ``/invocations``, ``/execution-parameters``.

Status codes as AWS's algorithm containers have them: 204 for an empty body, 400 for a body that cannot be read or
predicted, 406 and 415 for content types it does not know, 413 for a body above :data:`MAX_PAYLOAD`.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NoReturn

from numpy.typing import NDArray

from sagespark.codecs import ndarray
from sagespark.codecs.matrix import Matrix
from sagespark.codecs.registry import codec, parse_content_type
from sagespark.core.errors import CodecError, ValidationError
from sagespark.local.containers import contract
from sagespark.local.containers.job import MODEL_FILE

MAX_PAYLOAD = 6 * 1024 * 1024
"""Bytes of a request's body, as AWS's containers bound it."""
DEFAULT_PORT = 8080
_INLINE_BYTES = 64 * 1024
_KEEP_ALIVE_SECONDS = 3600
_JSON = "application/json"
ACCEPTS = ("application/x-recordio-protobuf", _JSON, "application/jsonlines", "text/csv")
"""Content types that an algorithm of numeric rows reads and writes (AWS's pages on each one's inference formats)."""
_ANY = ("", "*/*", "application/*")
_log = logging.getLogger(__name__)

Predict = Callable[[Matrix], Mapping[str, NDArray[Any]]]
"""Response fields, in the order in which the algorithm writes them, of a batch of rows."""


class Refusal(Exception):  # noqa: N818 - an answer to the caller, not a failure of the server
    """A request is answered with a status and a text."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


class ServingApp:
    """ASGI application around one prediction function.

    Parameters
    ----------
    predict : callable
        Takes a batch of rows and returns the response fields; raises :class:`ValidationError` for rows it refuses.
    width : int
        Number of features that a row must have.
    threads : int
        Predictions at a time.
    accepts : tuple of str
        Content types it reads and writes.
    wrapper : str
        Name of the list in a JSON answer.
    reads : tuple of str or None
        Content types it reads; None: those it writes.
    default : str
        Content type of answers where neither the request nor the environment asks for one.
    verbose : callable or None
        Predicts instead of ``predict`` where the Accept header has the parameter ``verbose=true``.
    """

    def __init__(
        self,
        predict: Predict,
        width: int,
        threads: int,
        accepts: tuple[str, ...] = ACCEPTS,
        wrapper: str = "predictions",
        reads: tuple[str, ...] | None = None,
        default: str = _JSON,
        verbose: Predict | None = None,
    ) -> None:
        self._predict = predict
        self._verbose = verbose or predict
        self._width = width
        self._accepts = accepts
        self._reads = accepts if reads is None else reads
        self._threads = threads
        self._wrapper = wrapper
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="predict")
        self._default = os.environ.get("SAGEMAKER_DEFAULT_INVOCATIONS_ACCEPT", default)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return
        method, path = scope["method"], scope["path"]
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        try:
            if path == "/ping" and method in ("GET", "HEAD"):
                status, kind, body = 200, _JSON, b""
            elif path == "/execution-parameters" and method == "GET":
                status, kind, body = 200, _JSON, self._execution_parameters()
            elif path == "/invocations" and method == "POST":
                status, kind, body = await self._invoke(headers, receive)
            else:
                raise Refusal(404 if path not in ("/ping", "/invocations") else 405, f"{method} {path} is not served")
        except Refusal as refusal:
            status, kind, body = refusal.status, "text/plain", str(refusal).encode()
        except Exception as error:
            _log.exception("Prediction failed")
            status, kind, body = 500, "text/plain", f"{type(error).__name__}: {error}".encode()
        start = [(b"content-type", kind.encode("latin-1")), (b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": status, "headers": start})
        await send({"type": "http.response.body", "body": body})

    def _execution_parameters(self) -> bytes:
        return json.dumps(
            {
                "MaxConcurrentTransforms": self._threads,
                "BatchStrategy": "MULTI_RECORD",
                "MaxPayloadInMB": MAX_PAYLOAD >> 20,
            }
        ).encode()

    async def _invoke(self, headers: Mapping[str, str], receive: Any) -> tuple[int, str, bytes]:
        content_type = headers.get("content-type") or _JSON
        accept, predict = self._accept(headers.get("accept", ""))
        if parse_content_type(content_type)[0] not in self._reads:
            raise Refusal(415, f"Content type {content_type!r} is not supported; send {', '.join(self._reads)}")
        if int(headers.get("content-length") or 0) > MAX_PAYLOAD:
            raise Refusal(413, f"The body exceeds {MAX_PAYLOAD} bytes")
        body = await _read(receive)
        if not body:
            return 204, accept, b""
        if len(body) <= _INLINE_BYTES:
            return 200, accept, self._answer(body, content_type, accept, predict)
        loop = asyncio.get_running_loop()
        answer = await loop.run_in_executor(self._pool, self._answer, body, content_type, accept, predict)
        return 200, accept, answer

    def _accept(self, text: str) -> tuple[str, Predict]:
        """Return the first content type of an Accept header that is served, and what predicts for it."""
        for part in text.split(","):
            kind, parameters = parse_content_type(part)
            predict = self._verbose if parameters.get("verbose", "").lower() == "true" else self._predict
            if kind in _ANY:
                return self._default, predict
            if kind in self._accepts:
                return kind, predict
        raise Refusal(406, f"Accept {text!r} is not supported; accept one of {', '.join(self._accepts)}")

    def _answer(self, body: bytes, content_type: str, accept: str, predict: Predict) -> bytes:
        try:
            rows = self._decode(body, content_type)
            if not rows.shape[0]:
                return b""
            return self._encode(predict(rows), accept)
        except (CodecError, ValidationError) as error:
            raise Refusal(400, str(error)) from error

    def _decode(self, body: bytes, content_type: str) -> Matrix:
        """Return the rows of a request."""
        return codec(content_type).decode(body, width=self._width).features

    def _encode(self, fields: Mapping[str, NDArray[Any]], accept: str) -> bytes:
        """Return the body of an answer."""
        return bytes(codec(accept).encode_predictions(fields, wrapper=self._wrapper))


async def _read(receive: Any) -> bytes:
    parts, size = [], 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Refusal(400, "The connection ended before the body")
        part = message.get("body", b"")
        size += len(part)
        if size > MAX_PAYLOAD:
            raise Refusal(413, f"The body exceeds {MAX_PAYLOAD} bytes")
        parts.append(part)
        if not message.get("more_body"):
            return parts[0] if len(parts) == 1 else b"".join(parts)


def arrays() -> list[NDArray[Any]] | dict[str, NDArray[Any]]:
    """Return the arrays of the model's one file."""
    return ndarray.load((contract.base() / "model" / MODEL_FILE).read_bytes())


def serve(make: Callable[[], ServingApp]) -> NoReturn:
    """Load a model and serve it on ``SAGEMAKER_BIND_TO_PORT`` of the loopback address, until SIGTERM."""
    contract.log_to_stdout()
    app = make()
    import uvicorn

    port = int(os.environ.get("SAGEMAKER_BIND_TO_PORT", DEFAULT_PORT))
    _log.info("Serving on port %d", port)
    uvicorn.run(
        app,
        host="127.0.0.1",
        port=port,
        loop="uvloop",
        http="httptools",
        ws="none",
        interface="asgi3",
        lifespan="off",
        access_log=False,
        log_config=None,
        log_level="warning",
        server_header=False,
        date_header=False,
        timeout_keep_alive=_KEEP_ALIVE_SECONDS,
        backlog=2048,
    )
    os._exit(0)
