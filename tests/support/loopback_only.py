"""Run a command in a network namespace that has loopback and nothing else: ``python loopback_only.py COMMAND ...``."""

import fcntl
import os
import socket
import struct
import sys

SIOCSIFFLAGS = 0x8914
IFF_UP = 0x1

if __name__ == "__main__":
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        fcntl.ioctl(control, SIOCSIFFLAGS, struct.pack("16sh", b"lo", IFF_UP))
    os.execvp(sys.argv[1], sys.argv[1:])
