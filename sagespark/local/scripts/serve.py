"""Serve a script's model: the program ``serve`` of the frameworks' images.

``GET /ping`` answers once the model is loaded; ``POST /invocations`` runs one request at a time, since scripts are
written for servers whose worker processes do. One process: ``SAGEMAKER_MODEL_SERVER_WORKERS`` starts no more.
"""

from __future__ import annotations

import http.server
import os
import sys
import threading
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sagespark.local.scripts import code, formats, handler, layout
from sagespark.local.scripts.handler import Answer

_INTERPRETER = "SAGESPARK_SCRIPT_READY"


class Server(http.server.ThreadingHTTPServer):
    """The server; a connection each has a thread, predictions take turns."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, address: tuple[str, int], answer: Callable[[bytes, str, str], Answer]) -> None:
        super().__init__(address, _Request)
        self.answer = answer
        self.turn = threading.Lock()


class _Request(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # One packet per answer, sent at once: otherwise small answers wait for acknowledgements.
    disable_nagle_algorithm = True
    wbufsize = -1
    server: Server

    def do_GET(self) -> None:
        self._send(200 if self.path == "/ping" else 404, b"", "text/plain")

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        if self.path != "/invocations":
            self._send(404, b"", "text/plain")
            return
        try:
            with self.server.turn:
                found, kind = self.server.answer(
                    body, self.headers.get("content-type") or "", self.headers.get("accept") or ""
                )
            self._send(200, found if isinstance(found, bytes) else found.encode(), kind)
        except formats.FormatError as error:
            self._send(415, str(error).encode(), "text/plain")
        except Exception as error:
            traceback.print_exc()
            self._send(500, f"{type(error).__name__}: {error}".encode(), "text/plain")

    def _send(self, status: int, body: bytes, kind: str) -> None:
        self.send_response_only(status)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        self.wfile.flush()

    def log_message(self, format: str, *values: Any) -> None:
        """Write no line per request."""


def find_code() -> tuple[Path | None, str | None]:
    """Return the folder of the script's files and its name, as the model's environment or artifact tell them.

    Raises
    ------
    CodeError
        If the environment names a script that is not there.
    """
    program = os.environ.get("SAGEMAKER_PROGRAM")
    place = os.environ.get("SAGEMAKER_SUBMIT_DIRECTORY")
    inside = layout.base() / "model" / "code"
    if place:
        folder = code.fetch(place, layout.base() / "code")
    elif inside.is_dir():
        folder = inside
    else:
        return None, None
    name = program or "inference.py"
    if (folder / name).is_file():
        return folder, name
    if program:
        there = ", ".join(sorted(path.name for path in folder.iterdir())[:20])
        raise code.CodeError(f"there is no script {program!r} among the model's files: {there}")
    return folder, None


def make(folder: Path | None, program: str | None) -> Callable[[bytes, str, str], Answer]:
    """Load the model."""
    model = layout.base() / "model"
    if layout.framework() != "tensorflow":
        return handler.load(folder, program, layout.framework(), model)
    from sagespark.local.scripts.tensorflow_serving import TensorFlowHandler

    module: Any = None
    if folder is not None and program is not None:
        module = handler.module_of(folder, program)
    return TensorFlowHandler(module, model)


def main() -> int:
    """Serve until SIGTERM."""
    try:
        folder, program = find_code()
        if folder is not None and _INTERPRETER not in os.environ:
            python = code.interpreter(folder)
            if python != sys.executable:
                # What requirements.txt asked for is in another environment: go on there.
                os.environ[_INTERPRETER] = "1"
                os.execv(python, [python, "-m", "sagespark.local.scripts.serve"])
        note = os.environ.get(layout.NOTE_VARIABLE)
        if note:
            print(note, flush=True)
        answer = make(folder, program)
    except code.CodeError as error:
        print(f"ClientError: {error}", file=sys.stderr, flush=True)
        return 1
    port = int(os.environ.get("SAGEMAKER_BIND_TO_PORT", "8080"))
    print(f"Serving {program or 'the model'} on port {port}", flush=True)
    Server(("127.0.0.1", port), answer).serve_forever()
    return 0


if __name__ == "__main__":
    sys.exit(main())
