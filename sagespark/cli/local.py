"""``sagespark local``: the embedded service in the background."""

from __future__ import annotations

import os
import shlex
import sys
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from sagespark.cli import images, table
from sagespark.cli.images import DATA_VARIABLE as DATA_VARIABLE
from sagespark.cli.images import DEFAULT_DATA, Data
from sagespark.core.clock import Clock, SystemClock
from sagespark.core.errors import SageSparkError
from sagespark.core.settings import DEFAULT_REGION
from sagespark.embedded import session_of
from sagespark.local.config import DEFAULT_PORT, ServiceInfo
from sagespark.local.process import LOG_NAME, Running, launch, running, tell_job

FOLLOW_INTERVAL = 0.3
"""Seconds between looks at the log of ``logs --follow``."""

app = typer.Typer(help="Start, stop and look at the embedded SageMaker on this machine.", no_args_is_help=True)
app.add_typer(images.app, name="images")


def folder(data: Path) -> Path:
    """Return the data folder's full path."""
    return data.expanduser().resolve()


def exports(url: str, region: str) -> list[str]:
    """Return the shell lines that point this package and AWS's tools at the service."""
    return [f"export {name}={shlex.quote(value)}" for name, value in ServiceInfo(url, region).environment().items()]


def say(text: str) -> None:
    """Write to standard error: standard output is for ``eval``."""
    typer.echo(text, err=True)


@app.command()
def start(
    port: Annotated[
        int, typer.Option(help="TCP port on loopback; 0 takes any free one.", min=0, max=65535)
    ] = DEFAULT_PORT,
    data: Data = DEFAULT_DATA,
    region: Annotated[str, typer.Option(help="Region that the exported lines name.")] = DEFAULT_REGION,
    require_signature: Annotated[
        bool, typer.Option("--require-signature", help="Refuse requests without a valid signature (SigV4).")
    ] = False,
    time_scale: Annotated[
        float, typer.Option("--time-scale", help="Seconds of training and tuning jobs' time per real second.")
    ] = 1.0,
) -> None:
    """Start the service in the background and print what to export.

    Use it as: eval "$(sagespark local start)"
    """
    where = folder(data)
    there = running(where)
    if there is None:
        options = ["--require-signature"] if require_signature else []
        if time_scale != 1:
            options += ["--time-scale", str(time_scale)]
        there = launch(where, port, options=tuple(options))
        say(f"started at {there.url} (process {there.pid}, data {there.data}, log {there.log})")
    else:
        asked = int(there.url.rpartition(":")[2])
        if port not in (0, DEFAULT_PORT, asked):
            raise SageSparkError(
                f"the embedded service on {where} runs already at {there.url}, not at port {port}; stop it by "
                f"`sagespark local stop`, or take another folder by --data"
            )
        say(f"runs already at {there.url} (process {there.pid}, data {there.data})")
    for line in exports(there.url, region):
        typer.echo(line)
    if sys.stdout.isatty():
        say('To take these over into your shell: eval "$(sagespark local start)"')


@app.command()
def stop(data: Data = DEFAULT_DATA) -> None:
    """Stop the service; its data stays and is there again at the next start."""
    there = running(folder(data))
    if there is None:
        say(f"nothing runs on {folder(data)}")
        return
    there.stop(SystemClock())
    say(f"stopped (process {there.pid}); its data stays in {there.data}")


@app.command()
def interrupt(
    job: Annotated[str, typer.Argument(help="A managed spot training job that runs.")],
    seconds: Annotated[float, typer.Option(help="Seconds until there are other instances.", min=0)] = 0.0,
    data: Data = DEFAULT_DATA,
    region: Annotated[str, typer.Option(help="Region of the job.")] = DEFAULT_REGION,
) -> None:
    """Take a spot training job's instances away, as AWS does; it goes on from its checkpoints."""
    there = running(folder(data))
    if there is None:
        raise SageSparkError(f"nothing runs on {folder(data)}; start it by `sagespark local start`")
    say(tell_job(there.url, job, "interrupt", region=region, seconds=str(seconds)))


@app.command()
def status(
    data: Data = DEFAULT_DATA, region: Annotated[str, typer.Option(help="Region to count in.")] = DEFAULT_REGION
) -> None:
    """Show whether the service runs, where, and what it holds; exit code 3 if it doesn't run."""
    where = folder(data)
    there = running(where)
    if there is None:
        typer.echo(f"not running ({where}); start it by `sagespark local start`")
        raise typer.Exit(3)
    rows = [
        ("url", there.url),
        ("process", str(there.pid)),
        ("started", table.age(there.started, SystemClock().now())),
        ("data", f"{there.data} ({table.size(_bytes_in(there.data))})"),
        ("log", str(there.log)),
        *_counts(there, region),
    ]
    width = max(len(name) for name, _ in rows)
    for name, value in rows:
        typer.echo(f"{name:<{width}}  {value}")


def _counts(there: Running, region: str) -> Iterator[tuple[str, str]]:
    """Yield what the service holds, by kind."""
    from sagespark.aws.endpoint import Endpoint
    from sagespark.aws.model import Model
    from sagespark.aws.training_job import TrainingJob

    session = session_of(there.url, region=region)
    for title, handle in (("training jobs", TrainingJob), ("models", Model), ("endpoints", Endpoint)):
        states: dict[str, int] = {}
        for summary in handle.list(session):
            state = str(summary.get(f"{handle.kind}Status", ""))
            states[state] = states.get(state, 0) + 1
        parts = ", ".join(f"{count} {state}" for state, count in sorted(states.items()) if state)
        yield title, str(sum(states.values())) + (f" ({parts})" if parts else "")


def _bytes_in(path: Path) -> int:
    """Return the bytes on disk below a folder; a file with several names counts once."""
    seen: dict[tuple[int, int], int] = {}
    for parent, _, names in os.walk(path):
        for name in names:
            try:
                facts = os.lstat(os.path.join(parent, name))
            except FileNotFoundError:
                continue
            seen[facts.st_dev, facts.st_ino] = facts.st_blocks * 512
    return sum(seen.values())


@app.command()
def logs(
    data: Data = DEFAULT_DATA,
    lines: Annotated[int, typer.Option("--lines", "-n", help="Lines to show from the end.", min=0)] = 50,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on as lines come, until Ctrl-C.")] = False,
) -> None:
    """Show the service's own log (a job's own is in CloudWatch Logs, /aws/sagemaker/TrainingJobs)."""
    path = folder(data) / LOG_NAME
    if not path.exists():
        raise SageSparkError(f"there is no log at {path}; the service has not been started on this folder")
    try:
        for line in tail(path, lines, follow, SystemClock()):
            typer.echo(line)
    except KeyboardInterrupt:
        return


def tail(path: Path, count: int, follow: bool, clock: Clock) -> Iterator[str]:
    """Yield a file's last lines and, where asked, the lines that come."""
    with path.open(errors="replace") as file:
        yield from (line.rstrip("\n") for line in deque(file, maxlen=count))
        part = ""
        while follow:
            part += file.readline()
            if part.endswith("\n"):
                yield part.rstrip("\n")
                part = ""
            else:
                clock.sleep(FOLLOW_INTERVAL)
