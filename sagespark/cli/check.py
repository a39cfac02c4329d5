"""One finding of ``sagespark doctor``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Check:
    """A finding.

    Parameters
    ----------
    level : {'ok', 'warn', 'fail'}
        ``fail``: something will not work; ``warn``: something may not, or works less well.
    what : str
        What was looked at and found.
    wayOut : str
        What to do about it; empty for ``ok``.
    """

    level: Literal["ok", "warn", "fail"]
    what: str
    wayOut: str = ""
