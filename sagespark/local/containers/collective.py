"""Sums and other exchanges of arrays among the hosts of a training job, over sockets.

All hosts make the same calls in the same order. The first host of ``resourceconfig.json`` leads: every other one keeps
one connection to it, sends its part and takes the result. The leader adds up in the order of the hosts, so that a sum
has the same bits on every host and in every run. A host that ends early, calls something else or keeps silent ends the
exchange on all others with an error that names it; nothing waits without limit.

A message is a header, then the values; numbers are little endian::

    4 bytes b"SGC1", u32 step, u8 operation, u8 type, u8 dimensions, u8 0, u64 bytes, dimensions x u64, values

Values are plain bytes of one of :data:`_TYPES`: nothing that is received is executed.
"""

from __future__ import annotations

import contextlib
import socket
import struct
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Literal, NoReturn, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from sagespark.core.clock import Clock, SystemClock
from sagespark.local.containers import contract

PORT = 7766
"""Port on which the leader listens, at its own address."""
CONNECT_SECONDS = 120.0
"""Seconds after which a host that has not come is missed: containers of one job start together."""
ANSWER_SECONDS = 3600.0
"""Seconds after which a silent host is given up: it may still be reading its data."""
LINGER_SECONDS = 5.0
"""Seconds that a host waits for the end of one that failed, so that the job's reason is that host's own."""
MAX_BYTES = 1 << 34
"""Most bytes of one message."""

_MAGIC = b"SGC1"
_HEADER = struct.Struct("<4sIBBBBQ")
_TYPES = ("<f8", "<f4", "<i8", "<i4", "|u1")
_FLAGS = {np.dtype(t): flag for flag, t in enumerate(_TYPES)}
_OPERATIONS = ("join", "allreduce", "broadcast", "gather", "abort")
_RETRY_SECONDS = 0.05
_MAX_DIMENSIONS = 8

A = TypeVar("A", bound=np.generic)
T = TypeVar("T")
Reduction = Literal["sum", "min", "max"]
_REDUCTIONS: Mapping[str, Any] = {"sum": np.add, "min": np.minimum, "max": np.maximum}


class CollectiveError(contract.PeerError):
    """An exchange among the hosts failed; the message names the host at fault."""


class Collective:
    """The hosts of a job, joined.

    Parameters
    ----------
    host : str
        This one.
    hosts : sequence of str
        All of them, in the order that every one of them knows; the first leads.
    addresses : mapping of str to str
        Addresses by host.
    port : int
        The leader's.
    connect, answer, linger : float
        Seconds to wait for hosts to come, for an answer, and for the end of a host that failed.
    """

    def __init__(
        self,
        host: str,
        hosts: tuple[str, ...],
        addresses: Mapping[str, str],
        *,
        port: int = PORT,
        connect: float = CONNECT_SECONDS,
        answer: float = ANSWER_SECONDS,
        linger: float = LINGER_SECONDS,
        clock: Clock | None = None,
    ) -> None:
        if host not in hosts or len(set(hosts)) != len(hosts):
            raise CollectiveError(f"the host {host!r} must be one of the job's, each named once, but they are {hosts}")
        self.host = host
        """Name of this host."""
        self.hosts = hosts
        """Names of all hosts."""
        self.rank = hosts.index(host)
        """Position of this host among them; 0 leads."""
        self._step = 0
        self._peers: dict[str, socket.socket] = {}
        # Whether a message is read of a connection that may be a stranger's.
        self._unknown = False
        self._answer = answer
        self._linger = linger
        self._clock = clock or SystemClock()
        if len(hosts) > 1:
            try:
                self._join((addresses[hosts[0]], port), self._clock.monotonic() + connect)
            except BaseException:
                self.close()
                raise

    @classmethod
    def from_config(cls, config: Mapping[str, Any], **options: Any) -> Self:
        """Join the hosts of a ``resourceconfig.json``; one host alone needs no network.

        Parameters
        ----------
        config : mapping
            Its content.
        **options
            Of the class.

        Raises
        ------
        CollectiveError
            If a host does not come in time.
        """
        hosts = tuple(config["hosts"])
        addresses = {hosts[0]: contract.address(hosts[0])} if len(hosts) > 1 else {}
        return cls(config["current_host"], hosts, addresses, **options)

    @property
    def leads(self) -> bool:
        """Whether this host is the first one: it writes the model and the job's metrics."""
        return self.rank == 0

    @property
    def size(self) -> int:
        """Number of hosts."""
        return len(self.hosts)

    # -- exchanges --------------------------------------------------------------------------------------------------

    def allreduce(self, array: NDArray[A], how: Reduction = "sum") -> NDArray[A]:
        """Return the sum (least, greatest) of all hosts' arrays, element by element, on every host.

        Parameters
        ----------
        array : ndarray
            Of the same shape and type on every host: float64, float32, int64, int32 or uint8.
        how : {'sum', 'min', 'max'}

        Raises
        ------
        CollectiveError
            If a host ended, is silent, calls something else, or has another shape or type.
        """
        array = np.ascontiguousarray(array)
        if self.size == 1:
            return array.copy()
        if not self.leads:
            self._send(self.hosts[0], "allreduce", array)
            return self._end(self._receive(self.hosts[0], "allreduce", array))
        total = array.copy()
        for peer in self.hosts[1:]:
            _REDUCTIONS[how](total, self._receive(peer, "allreduce", array), out=total)
        for peer in self.hosts[1:]:
            self._send(peer, "allreduce", total)
        return self._end(total)

    def broadcast(self, array: NDArray[A]) -> NDArray[A]:
        """Return the first host's array on every host; the others' arrays tell shape and type alone.

        Raises
        ------
        CollectiveError
            As :meth:`allreduce`.
        """
        array = np.ascontiguousarray(array)
        if self.size == 1:
            return array.copy()
        if not self.leads:
            return self._end(self._receive(self.hosts[0], "broadcast", array))
        for peer in self.hosts[1:]:
            self._send(peer, "broadcast", array)
        return self._end(array.copy())

    def gather(self, array: NDArray[A]) -> list[NDArray[A]]:
        """Return every host's array, in the order of the hosts, on every host.

        Parameters
        ----------
        array : ndarray
            Of the same type on every host; shapes may differ.

        Raises
        ------
        CollectiveError
            As :meth:`allreduce`.
        """
        array = np.ascontiguousarray(array)
        if self.size == 1:
            return [array.copy()]
        first = self.hosts[0]
        if not self.leads:
            self._send(first, "gather", array)
            return self._end([self._receive(first, "gather", array, shaped=False) for _ in self.hosts])
        parts = [array.copy(), *(self._receive(peer, "gather", array, shaped=False) for peer in self.hosts[1:])]
        for peer in self.hosts[1:]:
            for part in parts:
                self._send(peer, "gather", part)
        return self._end(parts)

    def close(self) -> None:
        """End the connections."""
        for peer in self._peers.values():
            peer.close()
        self._peers.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None and not isinstance(error, CollectiveError):
            # Tell the others why this host goes, so that their error names the cause.
            self._abort(f"host {self.host!r} failed: {error}")
            # The end of this process closes the connections, which the others wait for.
            return
        self.close()

    # -- joining ----------------------------------------------------------------------------------------------------

    def _join(self, leader: tuple[str, int], deadline: float) -> None:
        if self.leads:
            self._accept(leader, deadline)
            return
        peer = self._connect(leader, deadline)
        peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        peer.settimeout(self._answer)
        self._peers[self.hosts[0]] = peer
        self._send(self.hosts[0], "join", np.frombuffer(self.host.encode(), np.uint8))
        self._end(self._receive(self.hosts[0], "join", np.zeros(0, np.uint8), shaped=False))

    def _connect(self, leader: tuple[str, int], deadline: float) -> socket.socket:
        while True:
            try:
                return socket.create_connection(leader, timeout=max(0.1, deadline - self._clock.monotonic()))
            except OSError as error:
                if self._clock.monotonic() > deadline:
                    raise CollectiveError(
                        f"host {self.hosts[0]!r} did not listen on port {leader[1]} in time: {error}"
                    ) from error
                self._clock.sleep(_RETRY_SECONDS)

    def _accept(self, leader: tuple[str, int], deadline: float) -> None:
        with socket.create_server(leader, backlog=self.size) as server:
            while len(self._peers) < self.size - 1:
                server.settimeout(max(0.1, deadline - self._clock.monotonic()))
                try:
                    peer, _ = server.accept()
                except TimeoutError:
                    missing = [h for h in self.hosts[1:] if h not in self._peers]
                    raise CollectiveError(f"the hosts {', '.join(missing)} did not come in time") from None
                peer.settimeout(max(0.1, deadline - self._clock.monotonic()))
                name = self._name(peer)
                if name is None:
                    peer.close()
                    continue
                peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                peer.settimeout(self._answer)
                self._peers[name] = peer
        for peer_name in self.hosts[1:]:
            self._send(peer_name, "join", np.zeros(0, np.uint8))
        self._end(None)

    def _name(self, peer: socket.socket) -> str | None:
        """Return the host that a connection is from, None where it is not one that is waited for."""
        self._peers[""], self._unknown = peer, True
        try:
            told = bytes(self._receive("", "join", np.zeros(0, np.uint8), shaped=False)).decode("utf-8", "replace")
        except CollectiveError:
            return None
        finally:
            del self._peers[""]
            self._unknown = False
        return told if told in self.hosts[1:] and told not in self._peers else None

    # -- messages ---------------------------------------------------------------------------------------------------

    def _end(self, result: T) -> T:
        self._step += 1
        return result

    def _send(self, peer: str, operation: str, array: NDArray[Any]) -> None:
        kind = array.dtype.newbyteorder("<")
        if kind not in _FLAGS or array.ndim > _MAX_DIMENSIONS:
            raise CollectiveError(f"an array of {array.dtype} and {array.ndim} dimensions cannot be exchanged")
        head = _HEADER.pack(
            _MAGIC, self._step & 0xFFFFFFFF, _OPERATIONS.index(operation), _FLAGS[kind], array.ndim, 0, array.nbytes
        )
        shape = struct.pack(f"<{array.ndim}Q", *array.shape)
        try:
            self._peers[peer].sendall(head + shape)
            if array.nbytes:
                self._peers[peer].sendall(array.astype(kind, copy=False).reshape(-1).view(np.uint8).data)
        except (OSError, KeyError) as error:
            if isinstance(error, ConnectionError) and not self.leads:
                # A leader that goes has said why before: that waits to be read, and is what the user should see.
                self._receive(peer, "abort", array, shaped=False)
            self._lost(peer, error)

    def _receive(self, peer: str, operation: str, like: NDArray[Any], shaped: bool = True) -> NDArray[Any]:
        """Return what a host sends; it must be of this operation and type and, unless told, of this shape."""
        magic, step, code, flag, dimensions, _, size = _HEADER.unpack(self._read(peer, _HEADER.size))
        good = magic == _MAGIC and code < len(_OPERATIONS) and flag < len(_TYPES) and dimensions <= _MAX_DIMENSIONS
        if not good or size > MAX_BYTES:
            self._fail(f"host {peer!r} sent what is no message")
        kind = np.dtype(_TYPES[flag])
        shape = struct.unpack(f"<{dimensions}Q", self._read(peer, 8 * dimensions))
        if size != int(np.prod(shape, dtype=object)) * kind.itemsize:
            self._fail(f"host {peer!r} sent {size} bytes for an array of shape {shape}")
        values: NDArray[Any] = np.frombuffer(self._read(peer, size), kind).reshape(shape)
        if _OPERATIONS[code] == "abort":
            text = values.tobytes().decode("utf-8", "replace")
            with contextlib.suppress(OSError):
                self._peers[peer].settimeout(self._linger)
                self._peers[peer].recv(1)
            if self.leads:
                # The others hear of it by the leader alone.
                self._fail(text)
            raise CollectiveError(text)
        if (_OPERATIONS[code], step) != (operation, self._step & 0xFFFFFFFF):
            self._fail(
                f"host {peer!r} is at step {step} ({_OPERATIONS[code]}), but {self.host!r} at {self._step} "
                f"({operation}); all hosts must make the same exchanges in the same order"
            )
        if kind != like.dtype or (shaped and shape != like.shape):
            self._fail(
                f"host {peer!r} sent {kind} of shape {shape} to {operation}, but {self.host!r} has {like.dtype} of "
                f"shape {like.shape}"
            )
        return values

    def _read(self, peer: str, size: int) -> bytearray:
        body = bytearray(size)
        view, at = memoryview(body), 0
        while at < size:
            try:
                count = self._peers[peer].recv_into(view[at:])
            except (OSError, KeyError) as error:
                self._lost(peer, error)
            if not count:
                self._lost(peer, None)
            at += count
        return body

    def _lost(self, peer: str, error: BaseException | None) -> NoReturn:
        if isinstance(error, TimeoutError):
            text = f"host {peer!r} gave no answer for {self._answer:g} seconds"
        else:
            text = f"host {peer!r} ended before the training did" + (f" ({error})" if error else "")
        self._fail(text)

    def _fail(self, text: str) -> NoReturn:
        """Tell the other hosts, and raise."""
        if not self._unknown:
            self._abort(text)
        raise CollectiveError(text)

    def _abort(self, text: str) -> None:
        body = np.frombuffer(text.encode(), np.uint8)
        head = _HEADER.pack(_MAGIC, 0, _OPERATIONS.index("abort"), _FLAGS[body.dtype], 1, 0, body.nbytes)
        for peer in self._peers.values():
            with contextlib.suppress(OSError):
                peer.settimeout(1.0)
                peer.sendall(head + struct.pack("<Q", len(body)) + body.tobytes())
