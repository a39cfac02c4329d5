"""Plain tables and short texts for people."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime, timedelta

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}


def render(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table with aligned columns, no trailing spaces."""
    widths = [max(len(row[i]) for row in [header, *rows]) for i in range(len(header))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in [header, *rows]]
    return "\n".join(line.rstrip() for line in lines)


def age(since: datetime | str, now: datetime) -> str:
    """Return how long ago something was: ``45 s``, ``12 min``, ``3.5 h``, ``4 d``."""
    start = datetime.fromisoformat(since) if isinstance(since, str) else since
    seconds = max(0.0, (now - start).total_seconds())
    if seconds < 60:
        return f"{seconds:.0f} s ago"
    if seconds < 3600:
        return f"{seconds / 60:.0f} min ago"
    return f"{seconds / 3600:.1f} h ago" if seconds < 48 * 3600 else f"{seconds / 86400:.0f} d ago"


def size(count: int) -> str:
    """Return a number of bytes in words."""
    value = float(count)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if value < 1024 or unit == "GiB":
            break
        value /= 1024
    return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"


def duration(text: str) -> timedelta:
    """Return the time that ``90m``, ``2h``, ``7d`` or ``1d12h`` names.

    Raises
    ------
    ValueError
        If ``text`` is no such duration.
    """
    parts = re.findall(r"(\d+(?:\.\d+)?)([smhdw])", text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise ValueError(f"{text!r} is no duration; write a number and s, m, h, d or w, such as 90m, 2h or 7d")
    return timedelta(seconds=sum(float(number) * _UNITS[unit] for number, unit in parts))
