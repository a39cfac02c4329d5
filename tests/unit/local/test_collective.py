"""Sums and other exchanges among hosts: threads stand for them, each with its own end of the sockets."""

from __future__ import annotations

import contextlib
import socket
import struct
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from sagespark.local.containers import collective
from sagespark.local.containers.collective import Collective, CollectiveError
from support.together import LOOPBACK, free_port


def together(count: int, work: Callable[[Collective], Any], **options: Any) -> list[Any]:
    """Run ``work`` on that many hosts; return each one's result or error."""
    hosts, port = tuple(f"algo-{i}" for i in range(1, count + 1)), free_port()
    options = {"port": port, "connect": 10.0, "answer": 10.0, "linger": 0.1} | options

    def run(host: str) -> Any:
        try:
            with Collective(host, hosts, dict.fromkeys(hosts, LOOPBACK), **options) as group:
                return work(group)
        except (CollectiveError, ValueError) as error:
            return error

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(run, hosts))


@pytest.mark.parametrize("count", [1, 2, 3])
@pytest.mark.parametrize("kind", [np.float64, np.float32, np.int64])
def test_every_host_gets_the_same(count: int, kind: type) -> None:
    random = np.random.default_rng(5)
    parts = [(random.normal(size=(40, 3)) * 100).astype(kind) for _ in range(count)]

    def work(group: Collective) -> Any:
        mine = parts[group.rank]
        total = group.allreduce(mine)
        least, most = group.allreduce(mine, "min"), group.allreduce(mine, "max")
        told = group.broadcast(mine[: group.rank + 1] if group.leads else np.empty((1, 3), kind))
        rows = group.gather(mine[: group.rank])
        return total, least, most, told, rows

    expected = parts[0].copy()
    for part in parts[1:]:
        expected += part
    for total, least, most, told, rows in together(count, work):
        np.testing.assert_array_equal(total, expected)
        np.testing.assert_array_equal(least, np.min(parts, axis=0))
        np.testing.assert_array_equal(most, np.max(parts, axis=0))
        np.testing.assert_array_equal(told, parts[0][:1])
        assert [len(part) for part in rows] == list(range(count))
        np.testing.assert_array_equal(np.concatenate(rows), np.concatenate([p[:i] for i, p in enumerate(parts)]))


def test_large_and_empty_arrays() -> None:
    def work(group: Collective) -> Any:
        return group.allreduce(np.full(1 << 20, group.rank + 1.0)), group.allreduce(np.zeros((0, 4)))

    for big, empty in together(3, work):
        assert (big == 6).all()
        assert empty.shape == (0, 4)


def test_a_host_that_fails_takes_the_others_along_with_its_reason() -> None:
    def work(group: Collective) -> Any:
        group.allreduce(np.zeros(2))
        if group.rank == 1:
            raise ValueError("row 7 holds nan")
        return group.allreduce(np.zeros(2))

    first, second, third = together(3, work)
    assert str(second) == "row 7 holds nan"
    assert isinstance(first, CollectiveError)
    assert "host 'algo-2' failed: row 7 holds nan" in str(first)
    assert isinstance(third, CollectiveError)
    assert "algo-2" in str(third)


def test_a_host_that_ends_is_named() -> None:
    first, second, third = together(3, lambda group: None if group.rank == 2 else group.allreduce(np.zeros(2)))
    assert third is None
    for error in (first, second):
        assert "host 'algo-3' ended before the training did" in str(error)


def test_a_silent_host_is_given_up() -> None:
    def work(group: Collective) -> Any:
        if group.rank == 1:
            # Waits for the leader's message, which is that it gave up.
            group._peers["algo-1"].settimeout(10)
            group._receive("algo-1", "allreduce", np.zeros(2))
        return group.allreduce(np.zeros(2))

    first, second = together(2, work, answer=0.3)
    assert "host 'algo-2' gave no answer for 0.3 seconds" in str(first)
    assert isinstance(second, CollectiveError)


def test_a_host_that_does_not_come() -> None:
    hosts = ("algo-1", "algo-2")
    with pytest.raises(CollectiveError, match="the hosts algo-2 did not come in time"):
        Collective("algo-1", hosts, {"algo-1": LOOPBACK}, port=free_port(), connect=0.2)
    with pytest.raises(CollectiveError, match="host 'algo-1' did not listen on port"):
        Collective("algo-2", hosts, {"algo-1": LOOPBACK}, port=free_port(), connect=0.2)
    with pytest.raises(CollectiveError, match="must be one of the job's"):
        Collective("algo-3", hosts, {})


@pytest.mark.parametrize(
    ("theirs", "text"),
    [
        (lambda group: group.gather(np.zeros(2)), r"host 'algo-2' is at step 1 \(gather\), but 'algo-1' at 1 "),
        (
            lambda group: group.allreduce(np.zeros(3)),
            r"sent float64 of shape \(3,\) to allreduce, but 'algo-1'",
        ),
        (lambda group: group.allreduce(np.zeros(2, np.float32)), "sent float32 of shape"),
    ],
)
def test_hosts_that_call_different_things(theirs: Any, text: str) -> None:
    first, second = together(2, lambda group: group.allreduce(np.zeros(2)) if group.leads else theirs(group))
    with pytest.raises(CollectiveError, match=text):
        raise first
    assert isinstance(second, CollectiveError)


def test_strangers_are_turned_away() -> None:
    """A connection that is from no host of the job neither joins nor ends it."""
    port = free_port()
    hosts = ("algo-1", "algo-2")

    def stranger(body: bytes) -> bytes:
        for _ in range(200):
            try:
                with socket.create_connection((LOOPBACK, port), timeout=5) as peer:
                    peer.sendall(body)
                    with contextlib.suppress(OSError):
                        peer.shutdown(socket.SHUT_WR)
                    return peer.recv(1)
            except ConnectionRefusedError:
                collective.SystemClock().sleep(0.02)
        raise AssertionError("nobody listens")

    join = struct.Struct("<4sIBBBBQ").pack(b"SGC1", 0, 0, 4, 1, 0, 6) + struct.pack("<Q", 6)
    with ThreadPoolExecutor(1) as pool:
        leader = pool.submit(Collective, "algo-1", hosts, {"algo-1": LOOPBACK}, port=port, connect=20)
        for body in (b"GET / HTTP/1.1\r\n\r\n" + bytes(40), join + b"algo-9", b""):
            with contextlib.suppress(ConnectionResetError):
                assert stranger(body) == b""
        with Collective("algo-2", hosts, {"algo-1": LOOPBACK}, port=port) as second, leader.result(20) as first:
            assert (first.size, second.leads) == (2, False)


def test_what_cannot_be_exchanged() -> None:
    first, _ = together(2, lambda group: group.allreduce(np.zeros(2, np.complex128)))
    assert isinstance(first, CollectiveError)
    with pytest.raises(CollectiveError, match="an array of <U1"):
        raise together(2, lambda group: group.gather(np.array(["a"])))[1]


def test_from_config_of_one_host_needs_no_network() -> None:
    group = Collective.from_config({"current_host": "algo-1", "hosts": ["algo-1"]})
    assert (group.leads, group.size) == (True, 1)
    np.testing.assert_array_equal(group.allreduce(np.arange(3.0)), np.arange(3.0))
