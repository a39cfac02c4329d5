"""Values that a plan cannot know: only the staging pass over the rows can."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from sagespark.data.shards import StagingReport

Source = Literal["width", "rows", "classes", "manifest", "files"]
"""What of a staging report: number of features, of rows, of classes (the largest label plus 1), the manifest, or the
folder of the files alone."""


def _classes(report: StagingReport) -> int:
    assert report.labels is not None
    return int(report.labels.max) + 1


_READ: dict[Source, Callable[[StagingReport], object]] = {
    "width": lambda report: report.width,
    "rows": lambda report: report.rows,
    "classes": _classes,
    "manifest": lambda report: report.manifest,
    "files": lambda report: report.files,
}


@dataclass(frozen=True)
class Deferred:
    """A value that the staging report fills in.

    Parameters
    ----------
    name : str
        What it is, as the request names it: ``feature_dim``, ``S3Uri``.
    source : {'width', 'rows', 'classes', 'manifest', 'files'}
        What of the report gives it.
    channel : str
        Whose report.
    then : callable
        From that to the string of the request; None leaves the field out.
    """

    name: str
    source: Source
    channel: str = "train"
    then: Callable[[Any], str | None] = str

    def read(self, reports: Mapping[str, StagingReport]) -> str | None:
        """Return the value as the request carries it, None where the field is left out."""
        return self.then(_READ[self.source](reports[self.channel]))

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
    """Return a request with every deferred value filled in; the request itself is left as it is.

    A field whose deferred value turns out to be None is left out.
    """
    if isinstance(value, Deferred):
        return value.read(reports)
    if isinstance(value, Mapping):
        filled = {key: fill(inner, reports) for key, inner in value.items()}
        return {k: v for k, v in filled.items() if v is not None}
    if isinstance(value, list | tuple):
        return [fill(inner, reports) for inner in value]
    return value
