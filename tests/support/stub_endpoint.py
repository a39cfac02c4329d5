"""A tiny endpoint on loopback: REST-JSON InvokeEndpoint, with failures on demand.

``python -m support.stub_endpoint`` (with ``tests`` on the path) answers constants at once, for benchmarks.
"""

from __future__ import annotations

import json
import random
import socket
import struct
import sys
import threading
from collections.abc import Callable, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

import numpy as np

from sagespark.aws.session import SageMakerSession
from sagespark.codecs.recordio import framing
from sagespark.codecs.registry import codec

RECORDIO = "application/x-recordio-protobuf"
THROTTLE, SERVER_ERROR, MODEL_ERROR, RESET, SILENCE = "throttle", "500", "model", "reset", "silence"
ALL_FAILURES = (THROTTLE, SERVER_ERROR, MODEL_ERROR, RESET, SILENCE)


def sums(features: Any) -> dict[str, Any]:
    """The answer that tests check: the row's sum as distance, and the integer below it modulo 7 as cluster."""
    dense = features if isinstance(features, np.ndarray) else _dense(features)
    total = dense.astype(np.float64).sum(axis=1).astype(np.float32)
    return {"closest_cluster": np.mod(np.floor(total), 7), "distance_to_cluster": total}


def _dense(features: Any) -> Any:
    if hasattr(features, "to_dense"):
        return features.to_dense()
    out = np.zeros(features.shape, np.float32)
    out[features.is_sparse], out[~features.is_sparse] = features.sparse.to_dense(), features.dense
    return out


class StubEndpoint:
    """A server on a free port; ``with`` starts and stops it.

    Parameters
    ----------
    answer : callable
        From features to response fields.
    failing : float
        Share of calls that fail, drawn with ``seed``.
    failures : sequence of str
        Of what kinds.
    limit : int
        Bytes above which it answers 413.
    """

    def __init__(
        self,
        answer: Callable[[Any], dict[str, Any]] = sums,
        *,
        failing: float = 0.0,
        failures: Sequence[str] = ALL_FAILURES,
        seed: int = 0,
        limit: int = 6 << 20,
    ) -> None:
        self.answer, self.failing, self.failures, self.limit = answer, failing, failures, limit
        self.requests: list[tuple[int, int]] = []
        """Rows and bytes of each request that was answered."""
        self.failed: list[str] = []
        """Kind of each failure."""
        self.refused = 0
        """Requests above the limit."""
        self.connections = 0
        self.flying = self.most_flying = 0
        """Requests at work now, and at most at once."""
        self.lock = threading.Lock()
        self._rng = random.Random(seed)
        self._server = _Server(("127.0.0.1", 0), self)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    @property
    def session(self) -> SageMakerSession:
        """A session that reaches it."""
        return SageMakerSession(
            endpointUrl=self.url,
            region="us-east-1",
            bucket="some-bucket",
            role="arn:aws:iam::123456789012:role/sagespark",
            accessKeyId="a",
            secretAccessKey="b",
        )

    def draw(self) -> str | None:
        """Return the kind of failure of the next call, or None."""
        with self.lock:
            if self._rng.random() >= self.failing:
                return None
            kind = self._rng.choice(list(self.failures))
            self.failed.append(kind)
            return kind

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.stopped.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(10)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def __init__(self, address: tuple[str, int], stub: StubEndpoint) -> None:
        super().__init__(address, _Handler)
        self.stub = stub
        self.stopped = threading.Event()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing where the other side went away."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1
    server: _Server

    def setup(self) -> None:
        super().setup()
        with self.server.stub.lock:
            self.server.stub.connections += 1

    def log_message(self, format: str, *args: Any) -> None:
        """Keep standard error quiet."""

    def do_POST(self) -> None:
        stub = self.server.stub
        with stub.lock:
            stub.flying += 1
            stub.most_flying = max(stub.most_flying, stub.flying)
        try:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            self._answer(stub, body)
        finally:
            with stub.lock:
                stub.flying -= 1

    def _answer(self, stub: StubEndpoint, body: bytes) -> None:
        if len(body) > stub.limit:
            with stub.lock:
                stub.refused += 1
            return self._error(413, "ValidationError", f"the body has {len(body)} bytes")
        match stub.draw():
            case "throttle":
                return self._error(400, "ThrottlingException", "Rate exceeded")
            case "500":
                return self._error(500, "InternalFailure", "something broke")
            case "model":
                return self._error(424, "ModelError", "Received server error (500)", OriginalStatusCode=500)
            case "reset":
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                self.connection.close()
                self.close_connection = True
                return None
            case "silence":
                # Longer than the caller's patience.
                self.server.stopped.wait(30)
                self.close_connection = True
                return None
        rows = codec(self.headers["Content-Type"]).decode(body).features
        accept = self.headers.get("Accept") or RECORDIO
        answer = codec(accept).encode_predictions(stub.answer(rows))
        with stub.lock:
            stub.requests.append((rows.shape[0], len(body)))
        return self._send(200, accept, answer)

    def _error(self, status: int, code: str, message: str, **more: Any) -> None:
        text = json.dumps({"__type": code, "Message": message, "message": message, **more}).encode()
        self._send(status, "application/json", text, ("x-amzn-ErrorType", code))

    def _send(self, status: int, kind: str, body: bytes, *headers: tuple[str, str]) -> None:
        self.send_response(status)
        for name, value in (("Content-Type", kind), ("Content-Length", str(len(body))), *headers):
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)
        self.wfile.flush()


class _Constant(_Handler):
    """Answers zeros at once: looks at the rows' frames only."""

    _bodies: dict[int, bytes] = {}  # noqa: RUF012  # shared on purpose

    def _answer(self, stub: StubEndpoint, body: bytes) -> None:
        count = len(framing.find(np.frombuffer(body, np.uint8)))
        found = self._bodies.get(count)
        if found is None:
            zeros = np.zeros(count, np.float32)
            fields = {"closest_cluster": zeros, "distance_to_cluster": zeros}
            found = self._bodies[count] = bytes(codec(RECORDIO).encode_predictions(fields))
        self._send(200, RECORDIO, found)


def main() -> None:
    """Serve constants until standard input ends; print the URL first."""
    stub = StubEndpoint()
    stub._server.RequestHandlerClass = _Constant
    with stub:
        print(stub.url, flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main()
