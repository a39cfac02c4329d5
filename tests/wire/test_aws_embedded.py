"""LocalSageMaker: one process per block, the session active inside, everything gone after."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from sagespark.aws import s3
from sagespark.aws.session import SageMakerSession
from sagespark.core.clock import SystemClock
from sagespark.core.errors import SageSparkError
from sagespark.embedded import LocalSageMaker
from sagespark.local.process import running

pytestmark = pytest.mark.wire


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_the_session_is_active_inside_and_the_former_after(session: SageMakerSession) -> None:
    local = LocalSageMaker(prefix="mine", tags={"team": "blue"})
    with local as inner:
        found: list[Any] = []
        thread = threading.Thread(target=lambda: found.append(SageMakerSession.getOrCreate()))
        thread.start()
        thread.join()
        assert found == [inner]
        assert SageMakerSession.getActiveSession() is inner
        assert (inner.prefix, inner.tags) == ("mine", {"team": "blue"})
        assert inner.endpointUrl == local.url != session.endpointUrl
        assert inner.problems() == ()
        assert inner.account == "123456789012"
        data, pid = local.data, local.pid
        assert local.log.exists()
    assert SageMakerSession.getActiveSession() is session
    assert not local.running
    assert not alive(pid)
    assert not data.exists()


def test_data_that_is_given_stays_and_is_there_again(tmp_path: Path) -> None:
    folder = tmp_path / "kept"
    with LocalSageMaker(data=folder) as session:
        s3.upload_bytes(session, session.location / "x", b"abc")
    with LocalSageMaker(data=folder) as session:
        assert s3.read_bytes(session, session.location / "x") == b"abc"
    assert running(folder) is None


def test_blocks_are_nested_with_a_service_each(service: SageMakerSession) -> None:
    with service.activated(), LocalSageMaker() as inner:
        s3.upload_bytes(inner, inner.location / "only-here", b"")
        assert not s3.exists(service, service.location / "only-here")


def test_start_and_stop_without_a_block(tmp_path: Path) -> None:
    local = LocalSageMaker(data=tmp_path)
    former = SageMakerSession.getActiveSession()
    session = local.start()
    try:
        assert SageMakerSession.getActiveSession() is session
        with pytest.raises(SageSparkError, match="runs already"):
            local.start()
        with pytest.raises(SageSparkError, match=r"in use by the embedded service at http://127"):
            LocalSageMaker(data=tmp_path).start()
    finally:
        local.stop()
    local.stop()
    assert SageMakerSession.getActiveSession() is former
    with pytest.raises(SageSparkError, match="not running"):
        local.url


def test_a_start_that_fails_shows_the_log(tmp_path: Path, service: SageMakerSession) -> None:
    taken = int(str(service.endpointUrl).rpartition(":")[2])
    with pytest.raises(SageSparkError, match="exit code 1") as caught:
        LocalSageMaker(data=tmp_path, port=taken).start()
    assert str(tmp_path / "service.log") in str(caught.value)
    assert "in use" in str(caught.value)


def test_an_error_after_the_service_died_says_so() -> None:
    local = LocalSageMaker()

    def die() -> None:
        with local:
            os.kill(local.pid, signal.SIGKILL)
            while local.running:
                pass
            raise KeyError

    with pytest.raises(KeyError) as caught:
        die()
    assert "ended by itself" in "".join(caught.value.__notes__)


def test_restart_keeps_url_session_and_data() -> None:
    local = LocalSageMaker()
    with local as session:
        s3.upload_bytes(session, session.location / "x", b"abc")
        former = local.pid
        os.kill(former, signal.SIGKILL)
        assert local.restart() is session
        assert local.pid != former
        assert s3.read_bytes(session, session.location / "x") == b"abc"


def test_the_service_ends_with_the_interpreter() -> None:
    code = "from sagespark.embedded import LocalSageMaker as L; l = L(); l.start(); print(l.pid, l.data)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    pid, data = done.stdout.split()
    assert not alive(int(pid))
    assert not Path(data).exists()


def test_the_service_ends_when_the_interpreter_is_killed(tmp_path: Path) -> None:
    code = (
        "import os, sys; from sagespark.embedded import LocalSageMaker as L; l = L(data=sys.argv[1]); l.start();"
        "print(l.pid, flush=True); os.kill(os.getpid(), 9)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, timeout=120)
    assert done.returncode == -signal.SIGKILL
    clock = SystemClock()
    deadline = clock.monotonic() + 60
    while running(tmp_path) is not None and clock.monotonic() < deadline:
        clock.sleep(0.1)
    assert running(tmp_path) is None


def test_a_forked_child_does_not_stop_its_parents_service() -> None:
    local = LocalSageMaker()
    with local as session:
        child = os.fork()
        if child == 0:
            local.stop()
            os._exit(0 if SageMakerSession.getActiveSession() is session else 1)
        assert os.waitpid(child, 0)[1] == 0
        assert local.running
        assert session.client("sts").get_caller_identity()["Account"] == "123456789012"
