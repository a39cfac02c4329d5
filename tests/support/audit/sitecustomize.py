"""Loaded by every Python process of the loopback test: writes down each address that it connects to."""

import os
import sys

_record = os.environ.get("SAGESPARK_TEST_CONNECTIONS")


def _hook(event: str, args: tuple) -> None:
    if event == "socket.connect" and isinstance(args[1], tuple):
        line = f"{args[1][0]}\n".encode()
    elif event == "socket.getaddrinfo":
        line = f"{args[0].decode() if isinstance(args[0], bytes) else args[0]}\n".encode()
    else:
        return
    handle = os.open(_record, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(handle, line)
    os.close(handle)


if _record:
    sys.addaudithook(_hook)
