from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from sagespark.cli import table

NOW = datetime(2026, 1, 10, 12, tzinfo=UTC)


def test_columns_are_aligned_without_trailing_spaces() -> None:
    text = table.render(("KIND", "NAME"), [("Endpoint", "a"), ("Model", "longer")])
    assert text == "KIND      NAME\nEndpoint  a\nModel     longer"
    assert table.render(("A",), []) == "A"


@pytest.mark.parametrize(
    ("back", "text"),
    [
        (timedelta(0), "0 s ago"),
        (timedelta(seconds=59), "59 s ago"),
        (timedelta(minutes=12), "12 min ago"),
        (timedelta(hours=3.5), "3.5 h ago"),
        (timedelta(days=3), "3 d ago"),
        (timedelta(seconds=-5), "0 s ago"),
    ],
)
def test_ages(back: timedelta, text: str) -> None:
    assert table.age(NOW - back, NOW) == text
    assert table.age((NOW - back).isoformat(), NOW) == text


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (5 << 20, "5.0 MiB"), (3 << 40, "3072.0 GiB")]
)
def test_sizes(count: int, text: str) -> None:
    assert table.size(count) == text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("90m", timedelta(minutes=90)),
        ("2h", timedelta(hours=2)),
        ("1d12h", timedelta(days=1.5)),
        ("1.5h", timedelta(minutes=90)),
        ("2w", timedelta(days=14)),
    ],
)
def test_durations(text: str, expected: timedelta) -> None:
    assert table.duration(text) == expected


@pytest.mark.parametrize("text", ["", "2", "h", "2 h", "2h!", "-2h", "2y"])
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(ValueError, match="no duration"):
        table.duration(text)
