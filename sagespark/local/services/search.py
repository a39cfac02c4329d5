"""Search over training jobs, endpoints and models by any property.

Facts: the API reference of ``Search``, ``SearchExpression``, ``Filter`` and ``NestedFilters``. Text filters are
case-insensitive; a property is a path such as ``TrainingJobStatus``, ``HyperParameters.k``, ``Tags.team`` or
``Metrics.test:msd``, and of a list it is every item's.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any

from botocore.utils import parse_timestamp

from sagespark.local.services import paging
from sagespark.local.services.tags import get_tags
from sagespark.local.store import Document, Store
from sagespark.local.wire.context import AwsError, Context

_KINDS = ("TrainingJob", "Endpoint", "Model", "HyperParameterTuningJob")
_ORDERED: dict[str, Callable[[Any, Any], bool]] = {
    "GreaterThan": lambda a, b: bool(a > b),
    "GreaterThanOrEqualTo": lambda a, b: bool(a >= b),
    "LessThan": lambda a, b: bool(a < b),
    "LessThanOrEqualTo": lambda a, b: bool(a <= b),
}


class Search:
    """The operation Search.

    Parameters
    ----------
    store : Store
        Keeps the resources and their tags.
    """

    service = "sagemaker"

    def __init__(self, store: Store) -> None:
        self._store = store

    def Search(self, ctx: Context, request: dict[str, Any]) -> dict[str, Any]:
        """Find resources of one kind by an expression, newest change first by default."""
        kind = request["Resource"]
        if kind not in _KINDS:
            raise AwsError(
                "ValidationException",
                f"Resource {kind}: the embedded service searches {', '.join(_KINDS)}.",
            )
        expression = request.get("SearchExpression", {})
        rows = [d for d in self._documents(kind, ctx.region) if _matches(d, expression)]
        member = request.get("SortBy", "LastModifiedTime")

        def place(document: Document) -> tuple[Any, ...]:
            value = next(_values(document, member.split(".")), None)
            # Documents without the property come first, and texts, numbers and times never meet in one comparison.
            rank = 0 if value is None else 1 if isinstance(value, int | float | datetime) else 2
            text = value.timestamp() if isinstance(value, datetime) else value if rank == 1 else str(value)
            return (rank, text, document[f"{kind}Name"])

        # The token tells requests apart by their texts, so the nested expression goes in as one.
        flat = request | {"SearchExpression": json.dumps(expression, sort_keys=True)}
        descending = request.get("SortOrder", "Descending") == "Descending"
        found, token = paging.cut(rows, place, flat, descending=descending, default=10)
        total = {"Value": len(rows), "Relation": "EqualTo"}
        return {"Results": [{kind: _shown(kind, d)} for d in found], "NextToken": token, "TotalHits": total}

    def _documents(self, kind: str, region: str) -> Iterator[Document]:
        for document in self._store.list(kind, region):
            document.setdefault("LastModifiedTime", document["CreationTime"])
            yield document | {"Tags": get_tags(self._store, document[f"{kind}Arn"])}


def _shown(kind: str, document: Document) -> Document:
    """Return the record of a kind as Search answers it."""
    if kind == "Model":
        return {"Model": {k: v for k, v in document.items() if k != "LastModifiedTime"}}
    return document


def _matches(document: Document, expression: dict[str, Any]) -> bool:
    tests = [_filter(document, f) for f in expression.get("Filters", [])]
    tests += [_nested(document, n) for n in expression.get("NestedFilters", [])]
    tests += [_matches(document, e) for e in expression.get("SubExpressions", [])]
    if not tests:
        return True
    return any(tests) if expression.get("Operator", "And") == "Or" else all(tests)


def _nested(document: Document, nested: dict[str, Any]) -> bool:
    """Tell whether one and the same item of a list passes all filters."""
    name = nested["NestedPropertyName"]
    items = list(_values(document, name.split("."), whole=True))
    filters = [f | {"Name": f["Name"].removeprefix(name + ".")} for f in nested["Filters"]]
    return any(isinstance(item, dict) and all(_filter(item, f) for f in filters) for item in items)


def _filter(document: Document, condition: dict[str, Any]) -> bool:
    operator = condition.get("Operator", "Equals")
    values = list(_values(document, condition["Name"].split(".")))
    if operator in ("Exists", "NotExists"):
        return bool(values) is (operator == "Exists")
    wanted = condition.get("Value")
    if wanted is None:
        raise AwsError("ValidationException", f"Filter {condition['Name']} with operator {operator} needs a Value.")
    if operator == "NotEquals":
        return not any(_equals(value, wanted) for value in values)
    if operator == "In":
        return any(_equals(value, word.strip()) for value in values for word in wanted.split(","))
    if operator == "Contains":
        return any(wanted.lower() in str(value).lower() for value in values)
    if operator in _ORDERED:
        return any(_compare(_ORDERED[operator], value, wanted) for value in values)
    return any(_equals(value, wanted) for value in values)


def _equals(value: Any, wanted: str) -> bool:
    other = _like(value, wanted)
    if isinstance(value, str) and isinstance(other, str):
        return value.lower() == other.lower()
    return bool(value == other)


def _compare(test: Callable[[Any, Any], bool], value: Any, wanted: str) -> bool:
    if isinstance(value, str):
        # Hyperparameters are numbers in texts.
        try:
            value = float(value)
        except ValueError:
            return test(value.lower(), wanted.lower())
    other = _like(value, wanted)
    return other is not None and test(value, other)


def _like(value: Any, text: str) -> Any:
    """Return a filter's text as the type of the value that it is compared with; None where it is none."""
    try:
        if isinstance(value, bool):
            return {"true": True, "false": False}.get(text.lower())
        if isinstance(value, int | float):
            return float(text)
        if isinstance(value, datetime):
            return parse_timestamp(text)
    except (ValueError, TypeError):
        return None
    return text


def _values(node: Any, path: list[str], *, whole: bool = False) -> Iterator[Any]:
    """Yield the values at a path; ``whole`` gives structures too, else scalars only."""
    if isinstance(node, list):
        for item in node:
            yield from _values(item, path, whole=whole)
    elif not path:
        if node is not None and (whole or not isinstance(node, dict)):
            yield node
    elif isinstance(node, dict):
        if path[0] == "Tags" and len(path) == 2 and path[1] not in ("Key", "Value"):
            yield from (tag["Value"] for tag in node.get("Tags", []) if tag["Key"] == path[1])
        elif path[0] == "Metrics" and len(path) == 2:
            yield from (m["Value"] for m in node.get("FinalMetricDataList", []) if m["MetricName"] == path[1])
        else:
            # A key of a map may hold dots itself.
            for count in range(len(path), 0, -1):
                key = ".".join(path[:count])
                if key in node:
                    yield from _values(node[key], path[count:], whole=whole)
                    return
