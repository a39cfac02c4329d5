"""Start one container's program in namespaces of its own, and end its whole tree with it.

Runs as a script by its path under ``python -I -S``: standard library only, a process of its own per container.
The kernel's rules ask for the shape (``unshare(2)``, ``pid_namespaces(7)``, ``user_namespaces(7)``)::

    the service ── launcher ── init (process 1 of the namespace) ── program

1. The launcher reads its orders (JSON) from standard input, and holds one end of a socket; the other is the service's.
2. Isolated, it enters user, process and (for serving) network namespaces of its own and forks init, which makes the
   mounts, sets the host name and starts the program. Not isolated, it starts the program itself and adopts orphans.
   The hosts of a job without outside network share one network: it is made by a launcher that only hands over the
   namespaces as file descriptors, and joined by the launchers of the hosts.
3. ``connect`` on the socket is answered with a TCP connection to the program's port, made inside the network namespace
   and handed over as a file descriptor: the service then speaks to the program with nothing in between. The other way
   round, a program that may reach the service finds a socket listening at its address, whose other end is the
   service's too (``relay``).
4. The socket's end of file (the service died, or asks for it) kills the whole tree: the kernel does it once init is
   killed; without namespaces every descendant falls to the launcher, which kills until none is left.
5. The program's exit code becomes the launcher's (128 + n for signal n, as shells have it).
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import json
import os
import select
import signal
import socket
import struct
import sys
from typing import Any, NoReturn

_CLONE_NEWNS = 0x00020000
_CLONE_NEWUTS = 0x04000000
_CLONE_NEWUSER = 0x10000000
_CLONE_NEWPID = 0x20000000
_CLONE_NEWNET = 0x40000000
_MS_RDONLY = 0x1
_MS_NOSUID_NODEV_NOEXEC = 0x2 | 0x4 | 0x8
_MS_REMOUNT = 0x20
_MS_BIND = 0x1000
_MS_REC = 0x4000
_MS_PRIVATE = 0x40000
_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_SIOCGIFFLAGS = 0x8913
_SIOCSIFFLAGS = 0x8914
_IFF_UP = 0x1
_INPUT = "/opt/ml/input/data"
_KILLED = 128 + signal.SIGKILL

_libc = ctypes.CDLL(None, use_errno=True)


def _call(name: str, *arguments: Any) -> None:
    if getattr(_libc, name)(*arguments) != 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{name}{arguments}: {os.strerror(code)}")


def _mount(source: str, target: str, kind: str | None, flags: int, options: str | None = None) -> None:
    encoded = [None if text is None else os.fsencode(text) for text in (source, target, kind)]
    _call("mount", *encoded, ctypes.c_ulong(flags), None if options is None else os.fsencode(options))


def _enter(network: bool, join: list[int]) -> None:
    """Enter new user and process (and network) namespaces; the user outside is root inside.

    ``join`` holds the descriptors of a user and a network namespace to enter instead of new ones.
    """
    if join:
        for descriptor, kind in zip(join, (_CLONE_NEWUSER, _CLONE_NEWNET), strict=True):
            _call("setns", descriptor, kind)
            os.close(descriptor)
        _call("unshare", _CLONE_NEWPID)
        return
    user, group = os.geteuid(), os.getegid()
    _call("unshare", _CLONE_NEWUSER | _CLONE_NEWPID | (_CLONE_NEWNET if network else 0))
    for name, text in (("setgroups", "deny"), ("uid_map", f"0 {user} 1"), ("gid_map", f"0 {group} 1")):
        with open(f"/proc/self/{name}", "w") as file:
            file.write(text)
    if network:
        with socket.socket() as probe:
            request = struct.pack("16sh14x", b"lo", 0)
            flags = struct.unpack("16sh14x", fcntl.ioctl(probe, _SIOCGIFFLAGS, request))[1]
            fcntl.ioctl(probe, _SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", flags | _IFF_UP))


def _make_mount_point(path: str) -> None:
    """Make ``path`` a folder to mount on, leaving the host's file system as it is.

    Where it is missing, its parent is covered by an empty file system that shows every former entry again: making a
    folder in the real parent needs rights there, and would stay behind.
    """
    if os.path.isdir(path):
        return
    parent = os.path.dirname(path)
    below = os.open(parent, os.O_PATH | os.O_DIRECTORY)
    entries = list(os.scandir(parent))
    _mount("tmpfs", parent, "tmpfs", 0)
    for entry in entries:
        target = os.path.join(parent, entry.name)
        if entry.is_symlink():
            os.symlink(os.readlink(f"/proc/self/fd/{below}/{entry.name}"), target)
            continue
        if entry.is_dir():
            os.mkdir(target)
        else:
            os.close(os.open(target, os.O_CREAT | os.O_WRONLY))
        _mount(f"/proc/self/fd/{below}/{entry.name}", target, None, _MS_BIND | _MS_REC)
    os.close(below)
    os.mkdir(path)


def _shield(folder: str, scratch: str) -> None:
    """Let the program change files below ``folder`` without changing the host's, which may be links of S3's objects.

    What it writes goes to ``scratch``. Where the kernel or the file system has no overlays the folder is read-only.
    """
    places = []
    for name in ("upper", "work"):
        own = os.path.join(scratch, name, os.path.basename(folder))
        os.mkdir(own)
        places.append(os.open(own, os.O_PATH | os.O_DIRECTORY))
    upper, work = (f"/proc/self/fd/{place}" for place in places)
    options = f"lowerdir={folder},upperdir={upper},workdir={work},userxattr"
    try:
        _mount("overlay", folder, "overlay", 0, options)
    except OSError:
        _mount(folder, folder, None, _MS_BIND | _MS_REC)
        _mount("none", folder, None, _MS_BIND | _MS_REMOUNT | _MS_RDONLY)
    for place in places:
        os.close(place)


def _furnish(orders: dict[str, Any]) -> None:
    """Make the mounts of the container and set its host name."""
    _call("unshare", _CLONE_NEWNS | _CLONE_NEWUTS)
    _mount("none", "/", None, _MS_REC | _MS_PRIVATE)
    _make_mount_point("/opt/ml")
    _mount(orders["opt_ml"], "/opt/ml", None, _MS_BIND | _MS_REC)
    # A channel each: the pipes beside the folders must be this machine's own, and an overlay would copy them.
    for entry in sorted(os.listdir(_INPUT)) if os.path.isdir(_INPUT) else ():
        folder = os.path.join(_INPUT, entry)
        if os.path.isdir(folder) and not os.path.islink(folder):
            _shield(folder, orders["scratch"])
    if os.path.exists("/etc/hosts"):
        _mount(orders["hosts"], "/etc/hosts", None, _MS_BIND)
    # Where parts of the host's /proc are covered (as inside Docker) a fresh one is refused; the host's then stays.
    with contextlib.suppress(OSError):
        _mount("proc", "/proc", "proc", _MS_NOSUID_NODEV_NOEXEC)
    socket.sethostname(orders["host"])


def _listen(address: list[Any]) -> socket.socket:
    """Return a socket that listens inside the network namespace where the service does outside; it answers there."""
    family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
    listener = socket.socket(family)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((address[0], address[1]))
    listener.listen(128)
    return listener


def _start(orders: dict[str, Any]) -> int:
    """Fork the program and return its process id."""
    # A SIGTERM that comes between fork and exec would end in this program's handler and be lost.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    pid = os.fork()
    if pid:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
        return pid
    os.setsid()
    _call("prctl", _PR_SET_PDEATHSIG, signal.SIGKILL)
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD, signal.SIGPIPE):
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
    program = orders["program"]
    try:
        os.chdir(orders["folder"])
        os.execvpe(program[0], program, orders["environment"])
    except OSError as error:
        os.write(2, f"cannot start {program[0]!r}: {error.strerror}\n".encode())
        os._exit(127 if error.errno == errno.ENOENT else 126)


def _code(status: int) -> int:
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code


def _init(orders: dict[str, Any], lifeline: socket.socket) -> NoReturn:
    """Be process 1 of the namespace: start the program, pass SIGTERM on, bury orphans, end with the program."""
    _call("prctl", _PR_SET_PDEATHSIG, signal.SIGKILL)
    signal.set_wakeup_fd(-1)
    try:
        _furnish(orders)
        # Handlers come first: process 1 ignores every signal that it has no handler for.
        child, early = 0, False

        def pass_on(*_: object) -> None:
            nonlocal early
            if child:
                os.kill(child, signal.SIGTERM)
            else:
                early = True

        signal.signal(signal.SIGTERM, pass_on)
        relay = _listen(orders["relay"]) if orders.get("relay") else None
        child = _start(orders)
        if early:
            os.kill(child, signal.SIGTERM)
        if relay is None:
            lifeline.send(b"{}")
        else:
            with relay:
                socket.send_fds(lifeline, [b"{}"], [relay.fileno()])
    except OSError as error:
        lifeline.send(json.dumps({"error": str(error)}).encode())
        os._exit(126)
    lifeline.close()
    _silence()
    while True:
        pid, status = os.wait()
        if pid == child:
            os._exit(_code(status))


def _silence() -> None:
    """Let go of the output pipe, so that it ends with the program."""
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(null, descriptor)


def _answer_connect(lifeline: socket.socket, port: int) -> None:
    """Hand over a TCP connection to the program; whether it was accepted is for the service to find out."""
    with socket.socket() as connection:
        connection.setblocking(False)
        connection.connect_ex(("127.0.0.1", port))
        socket.send_fds(lifeline, [b"c"], [connection.fileno()])


def _bury(child: int, wait: bool) -> int | None:
    """Reap what has ended; return the child's exit code once it is among them."""
    while True:
        try:
            pid, status = os.waitpid(-1, 0 if wait else os.WNOHANG)
        except ChildProcessError:
            return None
        if pid == child:
            return _code(status)
        if pid == 0:
            return None


def _kill_descendants(child: int) -> None:
    """Kill the program's process group, then whatever falls to this process, until nothing is left."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(child, signal.SIGKILL)
    while True:
        children = _children()
        for pid in children:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        try:
            os.waitpid(-1, 0)
        except ChildProcessError:
            return


def _children() -> list[int]:
    own = []
    for name in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError), open(f"/proc/{name}/stat") as file:
            if int(file.read().rpartition(")")[2].split()[1]) == os.getpid():
                own.append(int(name))
    return own


def _make_network(lifeline: socket.socket) -> NoReturn:
    """Make a network that only its members reach, and hand over its two namespaces; they live while those are open."""
    try:
        _enter(network=True, join=[])
        spaces = [os.open(f"/proc/self/ns/{kind}", os.O_RDONLY) for kind in ("user", "net")]
        socket.send_fds(lifeline, [b"{}"], spaces)
    except OSError as error:
        lifeline.send(json.dumps({"error": str(error)}).encode())
        os._exit(126)
    os._exit(0)


def main() -> NoReturn:
    """Run the container that standard input describes; the argument is the number of the socket."""
    lifeline = socket.socket(fileno=int(sys.argv[1]))
    lifeline.set_inheritable(False)
    orders = json.load(sys.stdin.buffer)
    if orders.get("make_network"):
        _make_network(lifeline)
    for descriptor in orders["join"]:
        os.set_inheritable(descriptor, False)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    isolated = orders["isolated"]
    woken, wake = os.pipe()
    os.set_blocking(wake, False)
    os.set_blocking(woken, False)
    signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
    terminated = False

    def on_term(*_: object) -> None:
        nonlocal terminated
        terminated = True

    signal.signal(signal.SIGTERM, on_term)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        if isolated:
            _enter(orders["network"], orders["join"])
            child = os.fork()
            if child == 0:
                _init(orders, lifeline)
        else:
            _call("prctl", _PR_SET_CHILD_SUBREAPER, 1)
            child = _start(orders)
            lifeline.send(b"{}")
    except OSError as error:
        lifeline.send(json.dumps({"error": str(error)}).encode())
        os._exit(126)
    _silence()
    while True:
        readable, _, _ = select.select([lifeline.fileno(), woken], [], [])
        if woken in readable:
            with contextlib.suppress(BlockingIOError):
                os.read(woken, 512)
            code = _bury(child, wait=False)
            if code is not None:
                break
            if terminated:
                terminated = False
                os.kill(child, signal.SIGTERM)
        if lifeline.fileno() in readable:
            order = lifeline.recv(16)
            if not order:
                os.kill(child, signal.SIGKILL)
                code = _KILLED
                break
            _answer_connect(lifeline, orders["port"])
    if isolated:
        _bury(child, wait=True)
    else:
        _kill_descendants(child)
    os._exit(code)


if __name__ == "__main__":
    main()
