from __future__ import annotations

import json
import os
import pickle
import sys
from pathlib import Path

import pytest

from sagespark.aws.session import SageMakerSession
from sagespark.core.errors import SageSparkError, WaitTimeoutError
from sagespark.embedded import LocalSageMaker, session_of
from sagespark.local import process
from sagespark.local.process import launch, running
from support.clocks import FakeClock


def test_the_session_of_a_service_is_complete() -> None:
    session = session_of("http://127.0.0.1:4599", region="eu-west-1", prefix="mine")
    assert session.problems() == ()
    assert session.bucket == "sagemaker-eu-west-1-123456789012"
    assert session.role == "arn:aws:iam::123456789012:role/sagespark"
    assert session.prefix == "mine"
    # The one kind of keys that travels: those of the embedded service.
    assert pickle.loads(pickle.dumps(session)) == session


def test_nothing_happens_in_the_constructor(tmp_path: Path) -> None:
    former = SageMakerSession.getActiveSession()
    local = LocalSageMaker(data=tmp_path / "data")
    assert not (tmp_path / "data").exists()
    assert not local.running
    assert SageMakerSession.getActiveSession() is former
    for name in ("session", "url", "data", "log", "pid"):
        with pytest.raises(SageSparkError, match="not running"):
            getattr(local, name)
    local.stop()


@pytest.mark.parametrize("text", ["", "{", "[]", '{"pid": 1}', '{"pid": "x", "url": "", "started": ""}'])
def test_a_record_that_is_none_means_not_running(tmp_path: Path, text: str) -> None:
    (tmp_path / "service.json").write_text(text)
    assert running(tmp_path) is None
    assert running(tmp_path / "nothing") is None


def test_a_process_id_given_to_another_program_is_not_the_service(tmp_path: Path) -> None:
    record = {"pid": os.getpid(), "url": "http://127.0.0.1:1", "started": "2026-01-01T00:00:00+00:00"}
    (tmp_path / "service.json").write_text(json.dumps(record))
    assert running(tmp_path) is None


def python(tmp_path: Path, code: str) -> str:
    """Return a program that stands in for Python and runs this code instead of the service."""
    path = tmp_path / "python"
    path.write_text(f"#!{sys.executable}\n{code}\n")
    path.chmod(0o755)
    return str(path)


def test_a_service_that_ends_at_once_shows_its_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        sys, "executable", python(tmp_path, "import sys; print('no luck', file=sys.stderr); sys.exit(3)")
    )
    with pytest.raises(SageSparkError, match="exit code 3") as caught:
        launch(tmp_path / "data")
    assert "  | no luck" in str(caught.value)
    assert str(tmp_path / "data" / "service.log") in str(caught.value)


def test_a_service_that_says_nothing_is_given_up_and_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code = f"import os, time; open({str(tmp_path / 'pid')!r}, 'w').write(str(os.getpid())); time.sleep(600)"
    monkeypatch.setattr(sys, "executable", python(tmp_path, code))
    monkeypatch.setattr(process, "START_TIMEOUT", 2.0)
    with pytest.raises(WaitTimeoutError, match="within 2 s"):
        launch(tmp_path / "data", clock=FakeClock())
    pid = int((tmp_path / "pid").read_text())
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_another_programs_words_are_not_ready(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", python(tmp_path, "print('Python 3.11')"))
    with pytest.raises(SageSparkError, match="where READY"):
        launch(tmp_path / "data")


def test_missing_packages_are_named_before_anything_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "find_spec", lambda name: None if name == "uvicorn" else object())
    with pytest.raises(SageSparkError, match=r"needs uvicorn.*sagespark\[local\]"):
        launch(tmp_path / "data")
    assert not (tmp_path / "data").exists()
