"""List operations: filters, sort orders and pages, the same for every resource.

A page's token holds the place of its last row in the sort order, so resources that come and go between two pages
neither repeat a row nor skip one.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, TypeVar

from sagespark.local.wire.context import AwsError

DEFAULT_PAGE = 10
"""Rows of a page where the request has no MaxResults, as SageMaker's list operations have it."""

Row = TypeVar("Row")
_PLACE = ("NextToken", "MaxResults")


def select(
    documents: Sequence[dict[str, Any]], request: dict[str, Any], *, name: str, status: str | None = None
) -> list[dict[str, Any]]:
    """Return the documents that a list request's filters let through.

    Parameters
    ----------
    documents : sequence of dict
        Resources with ``CreationTime`` and, where the request filters by it, ``LastModifiedTime``.
    request : dict
        NameContains, CreationTimeAfter/Before, LastModifiedTimeAfter/Before and StatusEquals are honoured.
    name, status : str
        Members that hold name and status.
    """
    wanted = request.get("NameContains", "").lower()
    rows = [d for d in documents if wanted in d[name].lower()]
    for member in ("CreationTime", "LastModifiedTime"):
        after, before = request.get(f"{member}After"), request.get(f"{member}Before")
        if after is not None:
            rows = [d for d in rows if _shown(d[member]) >= _shown(after)]
        if before is not None:
            rows = [d for d in rows if _shown(d[member]) <= _shown(before)]
    if status is not None and "StatusEquals" in request:
        rows = [d for d in rows if d[status] == request["StatusEquals"]]
    return rows


def page(
    rows: Sequence[dict[str, Any]],
    request: dict[str, Any],
    *,
    name: str,
    keys: dict[str, str],
    order: str,
    default: int = DEFAULT_PAGE,
) -> tuple[list[dict[str, Any]], str | None]:
    """Sort and cut one page.

    Parameters
    ----------
    rows : sequence of dict
        What :func:`select` let through.
    request : dict
        SortBy, SortOrder, MaxResults and NextToken are honoured.
    name : str
        Member that holds the name; it decides between equal rows.
    keys : dict
        Members by the values of SortBy.
    order : {'Ascending', 'Descending'}
        Default of SortOrder.
    default : int
        Default of MaxResults.

    Returns
    -------
    list of dict, str or None
        The rows, and the token of the next page.

    Raises
    ------
    AwsError
        ``ValidationException`` if the token is not of this list.
    """
    member = keys[request.get("SortBy", "CreationTime")]

    def place(row: dict[str, Any]) -> tuple[Any, ...]:
        return (_plain(row.get(member)), row[name])

    return cut(rows, place, request, descending=request.get("SortOrder", order) == "Descending", default=default)


def cut(
    rows: Sequence[Row],
    place: Callable[[Row], Any],
    request: dict[str, Any],
    *,
    descending: bool = False,
    default: int = DEFAULT_PAGE,
) -> tuple[list[Row], str | None]:
    """Sort by ``place``, which must tell all rows apart and be JSON-able, and cut one page.

    Raises
    ------
    AwsError
        ``ValidationException`` if the token is not of this list.
    """
    ordered = sorted(rows, key=place, reverse=descending)
    if token := request.get("NextToken"):
        last = _open(token, request)
        ordered = [r for r in ordered if (place(r) < last if descending else place(r) > last)]
    limit = request.get("MaxResults", default)
    taken = ordered[:limit]
    return taken, (_seal(place(taken[-1]), request) if len(ordered) > limit else None)


def _shown(time: datetime) -> float:
    """Return a time as clients see it, in milliseconds, so that a filter by a time that was shown includes it."""
    return round(time.timestamp(), 3)


def _plain(value: Any) -> Any:
    return value.timestamp() if isinstance(value, datetime) else value


def _digest(request: dict[str, Any]) -> str:
    """Tell lists with other filters apart: their tokens do not fit each other."""
    rest = {k: str(v) for k, v in sorted(request.items()) if k not in _PLACE}
    return hashlib.sha256(json.dumps(rest).encode()).hexdigest()[:16]


def _seal(place: Any, request: dict[str, Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps([_digest(request), place]).encode()).decode()


def _open(token: str, request: dict[str, Any]) -> Any:
    try:
        digest, place = json.loads(base64.urlsafe_b64decode(token.encode()))
    except (ValueError, TypeError):
        digest, place = None, None
    if digest != _digest(request):
        raise AwsError("ValidationException", "The pagination token is invalid: it belongs to another list.")
    return tuple(place) if isinstance(place, list) else place
