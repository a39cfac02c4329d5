"""Containers: the contract inside, isolation from each other and from the machine, and their end in every way."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from sagespark.core.clock import SystemClock, token
from sagespark.local.containers.runner import ContainerRuntime, ContainerSpec
from support.containers import PYTHON, RUN, SERVER, Lines, isolated, opt_ml, processes, run_shell, wait_gone

# Both ways on a kernel that gives user namespaces, else the other one only.
NAMESPACES = [pytest.param(True, id="isolated")] if isolated() else []
BOTH = [*NAMESPACES, pytest.param(False, id="shared")]
BASE = 'ML="${SAGEMAKER_BASE_DIR:-/opt/ml}"\n'


@pytest.fixture(params=BOTH)
def runtime(request: pytest.FixtureRequest, tmp_path: Path) -> ContainerRuntime:
    return ContainerRuntime(tmp_path / "containers", isolated=request.param)


@pytest.fixture(params=NAMESPACES)
def namespaces(request: pytest.FixtureRequest, tmp_path: Path) -> ContainerRuntime:
    return ContainerRuntime(tmp_path / "containers", isolated=request.param)


@pytest.fixture
def ml(tmp_path: Path) -> Path:
    return opt_ml(tmp_path / "ml")


def test_output_environment_files_and_exit_code(runtime: ContainerRuntime, ml: Path, tmp_path: Path) -> None:
    script = BASE + 'echo "$GREETING"; echo oops >&2; printf "a\\tb\\r\\n"; printf made > "$ML/model/file"; exit 7'
    container, lines = run_shell(runtime, ml, script, environment={"GREETING": "hello"})
    assert container.wait(30) == 7
    assert container.poll() == 7
    assert lines.lines == ["hello", "oops", "a\tb"]
    assert (ml / "model" / "file").read_text() == "made"
    assert list((tmp_path / "containers").iterdir()) == []


def test_a_program_that_is_missing_ends_with_127(runtime: ContainerRuntime, ml: Path) -> None:
    lines = Lines()
    container = runtime.run(ContainerSpec("test", ("no-such-program",), ml, {}), lines)
    assert container.wait(30) == 127
    assert lines.lines == ["cannot start 'no-such-program': No such file or directory"]


def test_a_signal_shows_in_the_exit_code(runtime: ContainerRuntime, ml: Path) -> None:
    container, _ = run_shell(runtime, ml, "kill -SEGV $$; sleep 60")
    assert container.wait(30) == 128 + signal.SIGSEGV


def test_very_long_lines_are_cut_and_bad_text_is_kept_readable(runtime: ContainerRuntime, ml: Path) -> None:
    script = f"{PYTHON} -c \"import sys; sys.stdout.buffer.write(b'x' * 600000 + b'\\n' + bytes([0xff, 0x0a]))\""
    container, lines = run_shell(runtime, ml, script)
    assert container.wait(30) == 0
    assert [len(line) for line in lines.lines] == [262144, 262144, 75712, 1]
    assert lines.lines[-1] == "\N{REPLACEMENT CHARACTER}"


def test_a_slow_reader_slows_the_program_down(runtime: ContainerRuntime, ml: Path) -> None:
    clock = SystemClock()
    seen: list[str] = []

    def slow(line: str) -> None:
        clock.sleep(0.02)
        seen.append(line)

    # 100 lines of 8 KiB are far more than a pipe and one buffer hold; the last one tells the file after it was taken.
    script = BASE + (
        "i=0; while [ $i -lt 100 ]; do i=$((i+1)); printf '%08190d\\n' $i; echo $i >> \"$ML/output/count\"; done"
    )
    container = runtime.run(ContainerSpec("test", ("/bin/sh", "-c", script), ml, {}), slow)
    while len(seen) < 5:
        clock.sleep(0.01)
    assert len((ml / "output" / "count").read_text().splitlines()) < 60
    assert container.wait(60) == 0
    assert len(seen) == 100


def test_a_receiver_that_fails_does_not_block_the_program(runtime: ContainerRuntime, ml: Path) -> None:
    def broken(line: str) -> None:
        raise RuntimeError("the log is full")

    script = "i=0; while [ $i -lt 300 ]; do i=$((i+1)); printf '%01023d\\n' $i; done; exit 3"
    container = runtime.run(ContainerSpec("test", ("/bin/sh", "-c", script), ml, {}), broken)
    assert container.wait(60) == 3


def test_terminate_reaches_the_program_which_may_end_as_it_likes(runtime: ContainerRuntime, ml: Path) -> None:
    script = "trap 'echo saving; exit 5' TERM; echo ready; while true; do sleep 0.05; done"
    container, lines = run_shell(runtime, ml, script)
    lines.wait_for("ready")
    container.terminate()
    assert container.wait(30) == 5
    assert lines.lines == ["ready", "saving"]


def test_terminate_ends_a_program_without_a_handler(runtime: ContainerRuntime, ml: Path) -> None:
    container, lines = run_shell(runtime, ml, "echo ready; exec sleep 100")
    lines.wait_for("ready")
    container.terminate()
    assert container.wait(30) == 128 + signal.SIGTERM


def test_kill_takes_the_whole_tree(runtime: ContainerRuntime, ml: Path) -> None:
    mark = f"mark{token()}"
    # Children in sessions of their own, orphans, and a program that ignores SIGTERM.
    script = textwrap.dedent(f"""
        trap '' TERM
        setsid sh -c 'sleep 300; : {mark}' &
        (setsid sh -c 'setsid sleep 300 & sleep 300; : {mark}' &)
        echo ready
        sleep 300; : {mark}
    """)
    container, lines = run_shell(runtime, ml, script)
    lines.wait_for("ready")
    assert len(processes(mark)) >= 3
    container.terminate()
    assert container.wait(0.3) is None
    container.kill()
    assert container.poll() == 128 + signal.SIGKILL
    assert processes(mark) == []


def test_children_end_with_the_program(runtime: ContainerRuntime, ml: Path) -> None:
    mark = f"mark{token()}"
    container, _ = run_shell(runtime, ml, f"setsid sh -c 'sleep 300; : {mark}' & exit 0")
    assert container.wait(30) == 0
    wait_gone(mark)


def test_a_server_is_reached_by_its_port(runtime: ContainerRuntime, ml: Path) -> None:
    clock = SystemClock()
    lines = Lines()
    container = runtime.run(ContainerSpec("test", (PYTHON, "-c", SERVER + RUN), ml, {}, port=8080), lines)
    try:
        for _ in range(500):
            try:
                with container.connect() as link:
                    link.sendall(b"POST / HTTP/1.0\r\ncontent-length: 4\r\n\r\nabcd")
                    answer = b"".join(iter(lambda: link.recv(65536), b""))
            except OSError:
                assert container.poll() is None, lines.lines
                clock.sleep(0.02)
            else:
                break
        assert answer.startswith(b"HTTP/1.1 200") and answer.endswith(b"abcd")  # noqa: PT018 - one answer
    finally:
        container.kill()
    with pytest.raises(OSError):
        container.connect()


# What only namespaces give.


def test_each_container_has_a_hard_coded_opt_ml_port_hosts_and_name(
    namespaces: ContainerRuntime, tmp_path: Path
) -> None:
    clock = SystemClock()
    program = SERVER + textwrap.dedent("""
        import socket
        def invoke(self, body):
            own = open("/opt/ml/model/name").read()
            hosts = open("/etc/hosts").read()
            self.answer(f"{own} {socket.gethostname()} {socket.gethostbyname('algo-2')}".encode())
        Handler.invoke = invoke
        Server(("127.0.0.1", 8080), Handler).serve_forever()
    """)
    containers = []
    before = sorted(os.listdir("/opt")), Path("/etc/hosts").read_text(), os.uname().nodename
    try:
        for name in ("one", "two"):
            ml = opt_ml(tmp_path / name)
            (ml / "model" / "name").write_text(name)
            spec = ContainerSpec("test", (PYTHON, "-c", program), ml, {}, hosts={"algo-2": "127.0.0.2"}, port=8080)
            containers.append(namespaces.run(spec, Lines()))
        for name, container in zip(("one", "two"), containers, strict=True):
            for _ in range(500):
                try:
                    with container.connect() as link:
                        link.sendall(b"POST / HTTP/1.0\r\ncontent-length: 0\r\n\r\n")
                        answer = b"".join(iter(lambda link=link: link.recv(65536), b""))
                except OSError:
                    clock.sleep(0.02)
                else:
                    break
            assert answer.endswith(f"{name} algo-1 127.0.0.2".encode())
        assert (sorted(os.listdir("/opt")), Path("/etc/hosts").read_text(), os.uname().nodename) == before
    finally:
        for container in containers:
            container.kill()


def test_inside_one_sees_only_ones_own_processes_and_is_root(namespaces: ContainerRuntime, ml: Path) -> None:
    container, lines = run_shell(namespaces, ml, "id -u; ls -d /proc/[0-9]* | wc -l; ls /opt/ml")
    assert container.wait(30) == 0
    assert lines.lines[0] == "0"
    assert int(lines.lines[1]) <= 5
    assert lines.lines[2:] == ["input", "model", "output"]


def test_what_a_program_does_to_its_input_does_not_reach_s3(namespaces: ContainerRuntime, ml: Path) -> None:
    # The channel's file is a hard link of the object.
    stored = ml.parent / "object"
    stored.write_text("original")
    stored.chmod(0o444)
    os.link(stored, ml / "input" / "data" / "train" / "file")
    script = textwrap.dedent("""
        cd /opt/ml/input/data/train || exit 9
        cat file
        (echo changed > file && cat file) || echo refused
        (echo more > other && cat other) || echo refused
        rm -f file
    """)
    container, lines = run_shell(namespaces, ml, script)
    container.wait(30)
    assert lines.lines[0].startswith("original")
    assert stored.read_text() == "original"
    assert [path.name for path in (ml / "input" / "data" / "train").iterdir()] == ["file"]


def test_a_launcher_that_is_killed_takes_the_container_along(namespaces: ContainerRuntime, ml: Path) -> None:
    mark = f"mark{token()}"
    container, lines = run_shell(
        namespaces, ml, f"setsid sh -c 'sleep 300; : {mark}' & echo ready; sleep 300; : {mark}"
    )
    lines.wait_for("ready")
    os.kill(container.pid, signal.SIGKILL)
    container.wait(30)
    wait_gone(mark)


# The death of the service.

_SERVICE = """
import sys, time
from pathlib import Path
from sagespark.local.containers.runner import ContainerRuntime, ContainerSpec
folder, isolated, script = Path(sys.argv[1]), sys.argv[2] == "True", sys.argv[3]
runtime = ContainerRuntime(folder / "containers", isolated=isolated)
runtime.run(ContainerSpec("test", ("/bin/sh", "-c", script), folder / "ml", {}), lambda line: print(line, flush=True))
time.sleep(300)
"""


@pytest.mark.parametrize("isolate", BOTH)
def test_containers_die_with_a_killed_service(isolate: bool, ml: Path, tmp_path: Path) -> None:
    mark = f"mark{token()}"
    script = f"trap '' TERM; setsid sh -c 'sleep 300; : {mark}' & echo ready; sleep 300; : {mark}"
    command = [sys.executable, "-c", _SERVICE, str(tmp_path), str(isolate), script]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as service:
        assert service.stdout is not None
        assert service.stdout.readline() == "ready\n"
        records = list((tmp_path / "containers").glob("*.container"))
        assert len(records) == 1
        service.kill()
        # The next service waits for them, however soon it comes.
        ContainerRuntime(tmp_path / "containers", isolated=isolate).start()
        wait_gone(mark, timeout=5.0 if not isolate else 2.0)
    assert list((tmp_path / "containers").iterdir()) == []


def test_a_container_that_outlives_its_service_is_killed_by_the_next(tmp_path: Path) -> None:
    from sagespark.local.containers import orphans

    class Impatient(SystemClock):
        def monotonic(self) -> float:
            return 1000 * super().monotonic()

    folder = tmp_path / "containers"
    folder.mkdir()
    with subprocess.Popen(["sleep", "300"], start_new_session=True) as stuck:
        orphans.record(folder, stuck.pid)
        # The same number given to another process since is left alone.
        other = orphans.record(folder, os.getpid())
        other.write_text(other.read_text().rsplit(" ", 1)[0] + " 1")
        assert orphans.end_all(folder, Impatient()) == 1
        assert stuck.wait(10) == -signal.SIGKILL
    assert list(folder.iterdir()) == []


def test_the_log_says_loudly_where_namespaces_are_off(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from sagespark.local.containers import isolation

    monkeypatch.setattr(isolation, "probe", lambda folder: "unshare: Operation not permitted")
    assert isolation.detect() is False
    assert "USER NAMESPACES ARE OFF (unshare: Operation not permitted)" in caplog.text
    assert "SAGEMAKER_BASE_DIR" in caplog.text
