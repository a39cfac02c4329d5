from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from sagespark.aws.session import SageMakerSession
from sagespark.cli import checks_machine, doctor
from sagespark.cli.app import app
from sagespark.cli.check import Check
from sagespark.cli.checks_account import account_checks
from support.scripted import REFUSED, Answer, Script, error

CALLER = (
    b"<GetCallerIdentityResponse><GetCallerIdentityResult><Account>123456789012</Account>"
    b"<Arn>arn:aws:iam::123456789012:user/u</Arn></GetCallerIdentityResult></GetCallerIdentityResponse>"
)
ROLE = (
    b"<GetRoleResponse><GetRoleResult><Role><Path>/</Path><RoleName>sagespark</RoleName><RoleId>x</RoleId>"
    b"<Arn>a</Arn><CreateDate>2026-01-01T00:00:00Z</CreateDate></Role></GetRoleResult></GetRoleResponse>"
)


def query_error(code: str, message: str = "no", status: int = 403) -> Answer:
    text = f"<ErrorResponse><Error><Code>{code}</Code><Message>{message}</Message></Error></ErrorResponse>"
    return Answer(status, text.encode())


def program(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


@pytest.mark.parametrize(
    ("printed", "major"),
    [
        ('openjdk version "17.0.15" 2025-04-15', 17),
        ('java version "1.8.0_392"', 8),
        ('openjdk version "21" 2023-09-19', 21),
        ('openjdk version "23-ea" 2024-09-17', 23),
        ("command not found", None),
    ],
)
def test_java_versions(printed: str, major: int | None) -> None:
    assert checks_machine.java_version(printed) == major


@pytest.mark.parametrize(
    ("printed", "level", "words"),
    [
        ('openjdk version \\"17.0.1\\"', "ok", "Java 17"),
        ('openjdk version \\"21\\"', "warn", "Java 21"),
        ('java version \\"1.8.0_1\\"', "fail", "Java 8"),
        ("nothing", "fail", "no version"),
    ],
)
def test_java(tmp_path: Path, printed: str, level: str, words: str) -> None:
    program(tmp_path, "bin/java", f'echo "{printed}" >&2')
    check = checks_machine.java({"JAVA_HOME": str(tmp_path)})
    assert check.level == level
    assert words in check.what
    assert bool(check.wayOut) == (level != "ok")


def test_no_java(tmp_path: Path) -> None:
    check = checks_machine.java({"JAVA_HOME": str(tmp_path)})
    assert check.level == "fail"
    assert "openjdk-17" in check.wayOut


def test_workers_of_another_python(tmp_path: Path) -> None:
    other = program(tmp_path, "python3", 'echo \'{"python": [3, 9, 1], "missing": []}\'')
    check = checks_machine.workers({"PYSPARK_PYTHON": str(other)})
    assert check.level == "fail"
    assert "3.9.1" in check.what
    assert check.wayOut == f"export PYSPARK_PYTHON={sys.executable}"


def test_workers_without_the_package(tmp_path: Path) -> None:
    version = f"[{sys.version_info[0]}, {sys.version_info[1]}, 0]"
    other = program(tmp_path, "python3", f'echo \'{{"python": {version}, "missing": ["pyarrow"]}}\'')
    check = checks_machine.workers({"PYSPARK_PYTHON": str(other)})
    assert (check.level, "lacks pyarrow" in check.what) == ("fail", True)


def test_workers_that_do_not_run(tmp_path: Path) -> None:
    assert checks_machine.workers({"PYSPARK_PYTHON": str(tmp_path / "none")}).level == "fail"


def test_workers_of_this_python() -> None:
    assert checks_machine.workers({"PYSPARK_PYTHON": sys.executable}).level == "ok"


@pytest.mark.parametrize(
    ("found", "levels"),
    [
        ({"pyspark": None}, ["fail"]),
        ({"pyspark": "3.4.1", "pandas": "2.2"}, ["fail"]),
        ({"pyspark": "5.0.0", "pandas": "2.2"}, ["fail"]),
        ({"pyspark": "4.3.0", "pandas": "2.3"}, ["ok"]),
        ({"pyspark": "4.3.0.dev1", "pandas": None}, ["ok"]),
        ({"pyspark": "4.3.0", "pandas": "3.0"}, ["ok", "warn"]),
        ({"pyspark": "4.0.1", "pandas": None}, ["ok", "fail"]),
    ],
)
def test_spark(monkeypatch: pytest.MonkeyPatch, found: dict[str, str | None], levels: list[str]) -> None:
    monkeypatch.setattr(checks_machine, "_installed", found.get)
    monkeypatch.setattr(sys, "version_info", (3, 11, 7))
    assert [check.level for check in checks_machine.spark()] == levels


def test_the_embedded_services_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    assert checks_machine.embedded_packages().level == "ok"
    monkeypatch.setattr(checks_machine, "find_spec", lambda name: None)
    assert "sagespark[local]" in checks_machine.embedded_packages().wayOut


def test_namespaces_that_are_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sagespark.local.containers.isolation.probe", lambda: "Operation not permitted")
    check = checks_machine.namespaces()
    assert (check.level, "Operation not permitted" in check.what) == ("warn", True)


def account(script: Script, session: SageMakerSession, **answers: Any) -> dict[str, Check]:
    good = {"GetCallerIdentity": CALLER, "ListTrainingJobs": {}, "GetRole": ROLE, "HeadBucket": b""}
    script.always = {**good, **answers}
    return {check.what.partition(" ")[0].rstrip(":"): check for check in account_checks(session)}


def test_an_account_that_works(script: Script, session: SageMakerSession) -> None:
    checks = account(script, session)
    assert {check.level for check in checks.values()} == {"ok"}
    assert list(checks) == ["endpoint", "credentials", "SageMaker", "role", "bucket"]
    assert "123456789012" in checks["credentials"].what


def test_no_region_is_the_only_finding() -> None:
    (check,) = account_checks(SageMakerSession())
    assert (check.level, "AWS_REGION" in check.wayOut) == ("fail", True)


def test_an_endpoint_that_does_not_answer(script: Script, session: SageMakerSession) -> None:
    checks = account(script, session, GetCallerIdentity=REFUSED)
    assert [check.level for check in checks.values()] == ["fail"]
    assert "sagespark local status" in checks["endpoint"].wayOut


def test_keys_that_aws_does_not_know(script: Script, session: SageMakerSession) -> None:
    refusal = query_error("InvalidClientTokenId", "The security token is invalid.")
    checks = account(script, session, GetCallerIdentity=refusal)
    assert [check.level for check in checks.values()] == ["fail"]
    assert "AWS_ACCESS_KEY_ID" in checks["credentials"].what


def test_no_access_to_sagemaker_role_and_bucket(script: Script, session: SageMakerSession) -> None:
    checks = account(
        script,
        session,
        ListTrainingJobs=error("AccessDeniedException", "no", 403),
        GetRole=query_error("AccessDenied"),
        HeadBucket=Answer(404, b""),
    )
    assert {name: check.level for name, check in checks.items()} == {
        "endpoint": "ok",
        "credentials": "ok",
        "SageMaker": "fail",
        "role": "warn",
        "bucket": "fail",
    }
    assert "aws s3 mb s3://bucket" in checks["bucket"].wayOut


def test_a_default_bucket_is_made_later(script: Script, session: SageMakerSession) -> None:
    checks = account(script, replace(session, bucket=None), HeadBucket=Answer(404, b""))
    assert checks["bucket"].level == "ok"
    assert "sagemaker-us-east-1-123456789012 does not exist yet" in checks["bucket"].what


def test_a_role_that_is_missing_or_none(script: Script, session: SageMakerSession) -> None:
    gone = query_error("NoSuchEntity", status=404)
    assert "does not exist" in account(script, session, GetRole=gone)["role"].what
    assert "SAGESPARK_ROLE" in account(script, replace(session, role=None))["role"].what


def test_the_screen(monkeypatch: pytest.MonkeyPatch) -> None:
    checks = [Check("ok", "one"), Check("warn", "two", "do this"), Check("fail", "three", "do that")]
    monkeypatch.setattr(doctor, "machine_checks", lambda: checks)
    result = CliRunner().invoke(app, ["doctor", "--machine-only"])
    assert result.exit_code == 1
    assert result.output.splitlines() == [
        "This machine",
        "  ok    one",
        "  warn  two",
        "        -> do this",
        "  FAIL  three",
        "        -> do that",
        "",
        "1 ok, 1 warnings, 1 failures",
    ]
    monkeypatch.setattr(doctor, "machine_checks", lambda: checks[:2])
    assert CliRunner().invoke(app, ["doctor", "--machine-only"]).exit_code == 0
