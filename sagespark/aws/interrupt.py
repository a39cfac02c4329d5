"""What an interrupted wait does: never silently leave a job behind that costs money.

Someone at a terminal or in a notebook is asked; a process that nobody can answer says how to stop the job and how to
attach to it again. The interrupt itself always goes on to the caller, unless the answer is to go on waiting.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Literal

from sagespark.aws.waiter import Subject

Choice = Literal["stop", "leave", "wait"]
"""``stop`` the job, ``leave`` it running, or go on to ``wait`` for it."""
OnInterrupt = Callable[[Subject], Choice]
"""Gets the job's names and returns what to do."""


def ask(subject: Subject) -> Choice:
    """Ask the user what to do about the job; ``leave`` where nobody can answer."""
    if not interactive():
        return "leave"
    question = (
        f"\nInterrupted while {subject.name!r} runs (it is billed until it ends).\n"
        "[s]top it, [l]eave it running, or go on [w]aiting? "
    )
    try:
        answer = input(question).strip().lower()[:1]
    except (KeyboardInterrupt, EOFError):
        return "leave"
    except RuntimeError:
        # A notebook run without a front end refuses input by a RuntimeError or its subclass.
        return "leave"
    choices: dict[str, Choice] = {"s": "stop", "y": "stop", "w": "wait"}
    return choices.get(answer, "leave")


def interactive() -> bool:
    """Tell whether somebody can answer: a notebook's kernel that takes input, or a terminal."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    if shell is not None and getattr(shell, "kernel", None) is not None:
        return bool(getattr(shell.kernel, "_allow_stdin", False))
    return sys.stdin is not None and not sys.stdin.closed and sys.stdin.isatty()


def tell(text: str) -> None:
    """Write to standard error, where a notebook shows it too."""
    print(text, file=sys.stderr, flush=True)
