"""``sagespark ls`` and ``sagespark cleanup``: what this package created and left behind."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Annotated

import typer

from sagespark.aws import cleanup as aws_cleanup
from sagespark.aws.cleanup import Found, Outcome
from sagespark.aws.session import SageMakerSession
from sagespark.cli import table

JOBS = ("TrainingJob", "HyperParameterTuningJob")
"""Kinds that are billed while they run, and are stopped instead of deleted."""

Region = Annotated[str | None, typer.Option(help="AWS region; unset: as boto3 finds it.")]
EndpointUrl = Annotated[
    str | None, typer.Option("--endpoint-url", help="One URL for all services, such as the embedded one's.")
]
Run = Annotated[str | None, typer.Option(help="Only what this run (a fit's or deploy's uid) created.")]
Creator = Annotated[str | None, typer.Option(help="Only what this user, or user@host, created.")]


def _duration(text: str | None) -> timedelta | None:
    if text is None:
        return None
    try:
        return table.duration(text)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error


OlderThan = Annotated[
    str | None, typer.Option("--older-than", help="Only what was created longer ago, such as 90m, 2h or 7d.")
]


def _session(region: str | None, url: str | None) -> SageMakerSession:
    return replace(SageMakerSession(), region=region, endpointUrl=url).lookup()


def _where(session: SageMakerSession) -> str:
    at = f" at {session.endpointUrl}" if session.endpointUrl else ""
    return f"account {session.account}, region {session.region}{at}"


def ls(
    region: Region = None,
    endpoint_url: EndpointUrl = None,
    older_than: OlderThan = None,
    run: Run = None,
    creator: Creator = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
) -> None:
    """Show what this package created and is still there: running jobs, endpoints, configs, models."""
    session = _session(region, endpoint_url)
    found = aws_cleanup.find(session, olderThan=_duration(older_than), run=run, creator=creator)
    if as_json:
        for row in found:
            typer.echo(json.dumps(_as_json(row)))
        return
    _show(session, found)
    billed = [row for row in found if row.resource.billed or row.resource.kind in JOBS]
    if billed:
        typer.echo(f"\n{len(billed)} of them billed while they exist (*). `sagespark cleanup` removes them.")


def cleanup(
    region: Region = None,
    endpoint_url: EndpointUrl = None,
    older_than: OlderThan = None,
    run: Run = None,
    creator: Creator = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would go, and remove nothing.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Remove what this package created: stop running jobs, delete endpoints, configs and models.

    Nothing without the package's tag is touched, nor what something else still uses. Exit code 1 if anything stays.
    """
    session = _session(region, endpoint_url)
    found = aws_cleanup.find(session, olderThan=_duration(older_than), run=run, creator=creator)
    _show(session, found)
    if not found:
        return
    if dry_run:
        typer.echo("\nNothing was removed (--dry-run).")
        return
    if not yes:
        typer.echo()
        typer.confirm(f"Remove these {len(found)} from {_where(session)}?", abort=True)
    outcomes = aws_cleanup.delete(session, found, onOutcome=_tell)
    kept = sum(1 for outcome in outcomes if outcome.kept)
    typer.echo(f"{len(outcomes) - kept} removed, {kept} kept")
    if kept:
        raise typer.Exit(1)


def _tell(outcome: Outcome) -> None:
    verb = "stopped" if outcome.found.resource.kind in JOBS else "deleted"
    text = f"kept: {outcome.kept}" if outcome.kept else verb
    typer.echo(f"  {outcome.found.resource}  {text}")


def _show(session: SageMakerSession, found: Sequence[Found]) -> None:
    if not found:
        typer.echo(f"nothing of this package in {_where(session)}")
        return
    now = session.clock.now()
    rows = [
        (
            row.resource.kind + ("*" if row.resource.billed or row.resource.kind in JOBS else ""),
            row.resource.name,
            row.status or "-",
            table.age(row.created, now),
            row.run or "-",
            row.creator or "-",
        )
        for row in found
    ]
    typer.echo(f"{_where(session)}\n")
    typer.echo(table.render(("KIND", "NAME", "STATUS", "CREATED", "RUN", "CREATOR"), rows))


def _as_json(row: Found) -> dict[str, object]:
    return {
        "kind": row.resource.kind,
        "name": row.resource.name,
        "arn": row.resource.arn,
        "status": row.status,
        "created": row.created.isoformat(),
        "tags": dict(row.tags),
    }
