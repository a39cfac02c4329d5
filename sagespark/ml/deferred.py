"""Values that a plan cannot know: only the staging pass over the rows can."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from sagespark.data.shards import StagingReport

Source = Literal["width", "manifest"]

_READ: dict[Source, Callable[[StagingReport], str]] = {
    "width": lambda report: str(report.width),
    "manifest": lambda report: str(report.manifest),
}


@dataclass(frozen=True)
class Deferred:
    """A value that the staging report fills in.

    Parameters
    ----------
    name : str
        What it is, as the request names it: ``feature_dim``, ``S3Uri``.
    source : {'width', 'manifest'}
        What of the report gives it.
    channel : str
        Whose report.
    """

    name: str
    source: Source
    channel: str = "train"

    def read(self, reports: Mapping[str, StagingReport]) -> str:
        """Return the value as the request carries it."""
        return _READ[self.source](reports[self.channel])

    def __str__(self) -> str:
        """Return a placeholder that tells what comes."""
        return f"<{self.name}: {self.source} of the staged {self.channel} channel>"


Value = str | Deferred
"""A string of a request, or what will become one."""


def find(value: Any) -> Iterator[Deferred]:
    """Yield every deferred value inside a request."""
    if isinstance(value, Deferred):
        yield value
    elif isinstance(value, Mapping):
        for inner in value.values():
            yield from find(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from find(inner)


def fill(value: Any, reports: Mapping[str, StagingReport]) -> Any:
    """Return a request with every deferred value filled in; the request itself is left as it is."""
    if isinstance(value, Deferred):
        return value.read(reports)
    if isinstance(value, Mapping):
        return {key: fill(inner, reports) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [fill(inner, reports) for inner in value]
    return value
