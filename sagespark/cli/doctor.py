"""``sagespark doctor``: what keeps this machine, or this account, from working, and the way out of each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Annotated

import typer

from sagespark.aws.session import SageMakerSession
from sagespark.cli.check import Check
from sagespark.cli.checks_account import account_checks
from sagespark.cli.checks_machine import machine_checks

_MARKS = {"ok": ("ok  ", typer.colors.GREEN), "warn": ("warn", typer.colors.YELLOW), "fail": ("FAIL", typer.colors.RED)}


def doctor(
    machine_only: Annotated[
        bool, typer.Option("--machine-only", help="Look at this machine only; no call to AWS.")
    ] = False,
) -> None:
    """Check Java, Python, Spark, the endpoint, credentials, role and bucket; exit code 1 if anything fails."""
    counts: Counter[str] = Counter()
    groups: list[tuple[str, Iterable[Check]]] = [("This machine", machine_checks())]
    if not machine_only:
        groups.append(("SageMaker", account_checks(SageMakerSession())))
    for number, (title, checks) in enumerate(groups):
        typer.echo(("\n" if number else "") + title)
        for check in checks:
            counts[check.level] += 1
            mark, color = _MARKS[check.level]
            typer.echo(f"  {typer.style(mark, fg=color)}  {check.what}")
            if check.wayOut:
                typer.echo(f"        -> {check.wayOut}")
    typer.echo(f"\n{counts['ok']} ok, {counts['warn']} warnings, {counts['fail']} failures")
    if counts["fail"]:
        raise typer.Exit(1)
