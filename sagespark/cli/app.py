"""The commands put together, and how an error looks: one message, no traceback, exit code 1."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from sagespark.aws.clients import version
from sagespark.cli import local
from sagespark.cli.doctor import doctor
from sagespark.cli.resources import cleanup, ls
from sagespark.core.errors import SageSparkError

app = typer.Typer(
    name="sagespark",
    help="Amazon SageMaker from Spark: the embedded service, and what this package has created on AWS.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.add_typer(local.app, name="local")
app.command()(ls)
app.command()(cleanup)
app.command()(doctor)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"sagespark {version()}")
        raise typer.Exit


@app.callback()
def _options(
    show: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Take the options before a command."""


def run() -> None:
    """Run the command line of this process and exit."""
    try:
        app()
    except SageSparkError as error:
        typer.echo(f"sagespark: {error}", err=True)
        for note in getattr(error, "__notes__", ()):
            typer.echo(note, err=True)
        sys.exit(1)
