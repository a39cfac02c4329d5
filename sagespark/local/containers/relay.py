"""From a socket that listens inside a container's network to the embedded service outside.

A serving container has a network of its own, so that programs may insist on port 8080; its AWS clients still find the
service at the address where everybody does.
"""

from __future__ import annotations

import contextlib
import socket
import threading

_CHUNK = 256 * 1024
_CONNECT_SECONDS = 10.0


class Relay:
    """Pass the connections of a listening socket on.

    Parameters
    ----------
    listener : socket
        Listens; closed by :meth:`close`.
    target : tuple of str and int
        Host and port that every connection is passed on to.
    """

    def __init__(self, listener: socket.socket, target: tuple[str, int]) -> None:
        self._listener = listener
        self._target = target
        threading.Thread(target=self._accept, name="relay", daemon=True).start()

    def close(self) -> None:
        """Accept no more connections; those that are open end with the container."""
        # A thread that waits in accept() is woken by the shutdown, not by the close.
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                inside, _ = self._listener.accept()
            except OSError:
                return
            try:
                outside = socket.create_connection(self._target, _CONNECT_SECONDS)
            except OSError:
                inside.close()
                continue
            outside.settimeout(None)
            inside.settimeout(None)
            for link in (inside, outside):
                link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            left = [2]
            lock = threading.Lock()
            for source, sink in ((inside, outside), (outside, inside)):
                threading.Thread(target=_pump, args=(source, sink, left, lock), name="relay-pump", daemon=True).start()


def _pump(source: socket.socket, sink: socket.socket, left: list[int], lock: threading.Lock) -> None:
    """Copy one direction to its end; the one that ends last closes both."""
    with contextlib.suppress(OSError):
        while data := source.recv(_CHUNK):
            sink.sendall(data)
    with contextlib.suppress(OSError):
        sink.shutdown(socket.SHUT_WR)
    with lock:
        left[0] -= 1
        if not left[0]:
            source.close()
            sink.close()
