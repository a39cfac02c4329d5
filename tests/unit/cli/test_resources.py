from __future__ import annotations

import json
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from sagespark.aws.session import SageMakerSession
from sagespark.cli import resources
from sagespark.cli.app import app
from support.account import Account
from support.clocks import FakeClock
from support.scripted import Script

CALLER = (
    b"<GetCallerIdentityResponse><GetCallerIdentityResult><Account>123456789012</Account>"
    b"</GetCallerIdentityResult></GetCallerIdentityResponse>"
)


@pytest.fixture
def account(script: Script, session: SageMakerSession, monkeypatch: pytest.MonkeyPatch) -> Account:
    script.always["GetCallerIdentity"] = CALLER
    monkeypatch.setattr(resources, "_session", lambda region, url: session)
    return Account(script)


def run(*arguments: str, typed: str | None = None) -> Result:
    return CliRunner().invoke(app, arguments, input=typed, catch_exceptions=False)


def test_ls_shows_what_costs_money(account: Account, clock: FakeClock) -> None:
    account.hosting("ours", created=clock.now().timestamp() - 7200)
    account.hosting("theirs", {})
    rows = run("ls").output.splitlines()
    assert rows[0] == "account 123456789012, region us-east-1 at http://127.0.0.1:9"
    assert rows[2].split() == ["KIND", "NAME", "STATUS", "CREATED", "RUN", "CREATOR"]
    assert rows[3].split()[:3] == ["Endpoint*", "ours", "InService"]
    assert "2.0 h ago" in rows[3]
    assert [row.split()[0] for row in rows[4:6]] == ["EndpointConfig", "Model"]
    assert "1 of them billed" in rows[-1]
    assert "theirs" not in "".join(rows)


def test_ls_of_nothing(account: Account) -> None:
    assert (
        run("ls").output == "nothing of this package in account 123456789012, region us-east-1 at http://127.0.0.1:9\n"
    )


def test_ls_as_json(account: Account) -> None:
    account.hosting("ours")
    rows: list[dict[str, Any]] = [json.loads(line) for line in run("ls", "--json").output.splitlines()]
    assert [(row["kind"], row["name"]) for row in rows] == [
        ("Endpoint", "ours"),
        ("EndpointConfig", "ours"),
        ("Model", "ours"),
    ]
    assert rows[0]["tags"]["sagespark:run"] == "run-1"


def test_cleanup_asks_first(account: Account) -> None:
    account.hosting("ours")
    before = set(account.left)
    result = run("cleanup", typed="n\n")
    assert result.exit_code == 1
    assert "Remove these 3 from account 123456789012" in result.output
    assert account.left == before


def test_cleanup_without_an_answer_removes_nothing(account: Account) -> None:
    account.hosting("ours")
    assert run("cleanup", typed="").exit_code == 1
    assert len(account.left) == 3


def test_cleanup_dry_run(account: Account, script: Script) -> None:
    account.hosting("ours")
    result = run("cleanup", "--dry-run", "--yes")
    assert result.exit_code == 0
    assert "Nothing was removed" in result.output
    assert not [operation for operation in script.operations if operation.startswith(("Delete", "Stop"))]


def test_cleanup_removes_and_tells(account: Account) -> None:
    account.hosting("ours")
    account.add("TrainingJob", "running", TrainingJobStatus="InProgress")
    result = run("cleanup", typed="y\n")
    assert result.exit_code == 0
    assert result.output.splitlines()[-5:] == [
        "  TrainingJob running  stopped",
        "  Endpoint ours  deleted",
        "  EndpointConfig ours  deleted",
        "  Model ours  deleted",
        "4 removed, 0 kept",
    ]
    assert account.left == {"TrainingJob running"}


def test_cleanup_that_keeps_something_fails(account: Account) -> None:
    account.hosting("ours")
    account.rows["Endpoint", "ours"]["refuse"] = "not authorized"
    result = run("cleanup", "--yes")
    assert result.exit_code == 1
    assert "kept: DeleteEndpoint: AccessDeniedException: not authorized" in result.output
    assert "0 removed, 3 kept" in result.output


def test_older_than(account: Account, clock: FakeClock) -> None:
    account.add("Model", "old", clock.now().timestamp() - 7200)
    account.add("Model", "new", clock.now().timestamp())
    assert run("cleanup", "--yes", "--older-than", "1h").exit_code == 0
    assert account.left == {"Model new"}


def test_an_age_that_is_none_is_refused(account: Account) -> None:
    result = run("cleanup", "--yes", "--older-than", "soon")
    assert result.exit_code == 2
    assert "soon" in result.output
