"""Run a program of the request's own in a framework's image: ``ContainerEntrypoint`` and ``ContainerArguments``.

It gets a Python of its own to install into, as the file system of a container is its own.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from sagespark.local.scripts import code


def main() -> None:
    """Become the program that the arguments name."""
    python = Path(code.private())
    environment = dict(os.environ)
    environment["PATH"] = os.pathsep.join([str(python.parent), environment.get("PATH", os.defpath)])
    environment.pop("PYTHONPATH", None)
    try:
        os.execvpe(sys.argv[1], sys.argv[1:], environment)
    except OSError as error:
        print(f"cannot start {sys.argv[1]!r}: {error.strerror}", file=sys.stderr, flush=True)
        sys.exit(127)


if __name__ == "__main__":
    main()
