"""Train by a script: the program ``train`` of the frameworks' images.

1. Bring the script's files, and install its ``requirements.txt``.
2. Run the entry point as a program: Python for ``.py``, a shell for everything else, hyperparameters as arguments.
3. Where it fails, its last exception becomes the failure reason, and its exit code the container's.
"""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
import threading
from collections import deque
from pathlib import Path
from typing import IO, Any

from sagespark.local.scripts import code, layout, settings

_KEPT_LINES = 200
_MESSAGE_LENGTH = 700
_PORT = 7777


class ScriptError(Exception):
    """The script ended with another exit code than 0; the text is the toolkit's."""

    def __init__(self, exit_code: int, message: str, command: list[str]) -> None:
        line = " ".join(shlex.quote(word) for word in command)
        super().__init__(f'ExecuteUserScriptError:\nExitCode {exit_code}\nErrorMessage "{message}"\nCommand "{line}"')
        self.exit_code = exit_code


def main() -> int:
    """Run the job; return the container's exit code."""
    note = os.environ.get(layout.NOTE_VARIABLE)
    if note:
        print(note, flush=True)
    try:
        run()
    except ScriptError as error:
        _fail(str(error))
        return error.exit_code
    except code.CodeError as error:
        _fail(f"ClientError: {error}")
        return 1
    return 0


def run() -> None:
    """Run the script to its end.

    Raises
    ------
    ScriptError, CodeError
        See the classes.
    """
    values, own = settings.split(layout.config("hyperparameters"))
    program = own.get("sagemaker_program")
    if not program:
        raise code.CodeError(
            "the hyperparameter sagemaker_program is missing: the images of frameworks run a script; give entryPoint, "
            "or ContainerEntrypoint"
        )
    # An absolute submit directory is used in place; everything else is unpacked here.
    folder = code.fetch(str(own.get("sagemaker_submit_directory") or "/opt/ml/code"), layout.base() / "code")
    if not (folder / program).is_file():
        there = ", ".join(sorted(path.name for path in folder.iterdir())[:20])
        raise code.CodeError(f"there is no entry point {program!r} among the script's files: {there}")
    environment = dict(os.environ)
    # The script's own folder comes first; this package is no part of the image for it.
    environment["PYTHONPATH"] = os.pathsep.join([str(folder), os.environ.get("SAGESPARK_SCRIPT_PATH", "")]).rstrip(":")
    environment.update(settings.variables(values, own, str(folder)))
    for place in ("model", "output/data", "output/intermediate"):
        (layout.base() / place).mkdir(parents=True, exist_ok=True)
    command = _command(folder, str(program), own, code.interpreter(folder)) + settings.arguments(values)
    print("Invoking script with the following command:\n\n" + " ".join(map(shlex.quote, command)) + "\n", flush=True)
    _execute(command, folder, environment)


def _command(folder: Path, program: str, own: dict[str, Any], python: str) -> list[str]:
    if not program.endswith(".py"):
        (folder / program).chmod(0o755)
        return ["/bin/sh", "-c", f'exec ./{shlex.quote(program)} "$@"', program]
    if own.get("sagemaker_torch_distributed_enabled"):
        resources = layout.config("resourceconfig")
        hosts = sorted(resources.get("hosts", ["algo-1"]))
        rank = hosts.index(resources.get("current_host", "algo-1"))
        launch = ["-m", "torch.distributed.run", "--nnodes", str(len(hosts)), "--nproc_per_node", "1"]
        # Where containers are not isolated, names do not resolve and the addresses are told instead.
        addresses = json.loads(os.environ.get("SAGESPARK_HOSTS", "{}"))
        master = addresses.get(hosts[0], hosts[0])
        launch += ["--node_rank", str(rank), "--master_addr", master, "--master_port", str(_PORT)]
        return [python, *launch, program]
    return [python, program]


def _execute(command: list[str], folder: Path, environment: dict[str, str]) -> None:
    """Run the script; SIGTERM is passed on to it."""
    process = subprocess.Popen(command, cwd=folder, env=environment, stderr=subprocess.PIPE)
    former = signal.signal(signal.SIGTERM, lambda *_: process.send_signal(signal.SIGTERM))
    assert process.stderr is not None  # asked for above
    lines: deque[str] = deque(maxlen=_KEPT_LINES)
    reader = threading.Thread(target=_pass_on, args=(process.stderr, lines), daemon=True)
    reader.start()
    exit_code = process.wait()
    signal.signal(signal.SIGTERM, former)
    # A process that the script left behind may hold the pipe for ever.
    reader.join(5.0)
    if exit_code:
        raise ScriptError(exit_code if exit_code > 0 else 128 - exit_code, message(list(lines)), command)


def _pass_on(stream: IO[bytes], lines: deque[str]) -> None:
    for raw in stream:
        sys.stderr.buffer.write(raw)
        sys.stderr.buffer.flush()
        lines.append(raw.decode("utf-8", "replace"))


def message(lines: list[str]) -> str:
    """Return what a script wrote about its end: the end of its last traceback, else its last lines."""
    starts = [i for i, line in enumerate(lines) if line.startswith("Traceback (most recent call last)")]
    text = "".join(lines[starts[-1] :] if starts else lines[-5:]).strip()
    if len(text) <= _MESSAGE_LENGTH:
        return text
    # The exception is at the end: whole lines of it are worth more than the outermost frames.
    kept = text[-_MESSAGE_LENGTH:]
    return kept[kept.find("\n") + 1 :] if "\n" in kept[:-1] else kept


def _fail(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
    path = layout.base() / "output" / "failure"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


if __name__ == "__main__":
    sys.exit(main())
