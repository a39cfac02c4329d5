"""Find the operation of a REST request: method, path, and the query parameters and headers that tell them apart."""

from __future__ import annotations

import re
import threading
from dataclasses import dataclass
from urllib.parse import parse_qsl, unquote_to_bytes

from sagespark.local.wire.context import AwsError, HttpRequest
from sagespark.local.wire.models import service_model

_LABEL = re.compile(r"\{(\w+)(\+?)\}")


@dataclass(frozen=True)
class Route:
    """One REST operation."""

    operation: str
    pattern: re.Pattern[str]
    """Over the path still percent-encoded, so that a ``%2F`` in a key is no separator."""
    literals: tuple[tuple[str, str], ...]
    """Query parameters that the URI template asks for; an empty value stands for any."""
    query: frozenset[str]
    """Required query parameters."""
    headers: frozenset[str]
    """Required headers, lower case."""

    @property
    def weight(self) -> int:
        """How much the route asks for; the one that asks most wins."""
        return len(self.literals) + len(self.query) + len(self.headers)

    def match(self, path: str, query: dict[str, str], headers: dict[str, str]) -> dict[str, str] | None:
        """Return the encoded labels of the path, or None."""
        for name, value in self.literals:
            if name not in query or (value and query[name] != value):
                return None
        if not self.query <= query.keys() or not self.headers <= headers.keys():
            return None
        match = self.pattern.fullmatch(path)
        return match.groupdict() if match else None


_lock = threading.Lock()
_tables: dict[str, dict[str, list[Route]]] = {}


def routes(service: str) -> dict[str, list[Route]]:
    """Return the routes of a REST service by HTTP method, the most demanding first."""
    table = _tables.get(service)
    if table is None:
        with _lock:
            table = _tables.setdefault(service, _build(service))
    return table


def _build(service: str) -> dict[str, list[Route]]:
    table: dict[str, list[Route]] = {}
    model = service_model(service)
    for name in model.operation_names:
        operation = model.operation_model(name)
        if operation.deprecated:
            continue
        template, _, literal = operation.http["requestUri"].partition("?")
        pattern = "".join(
            f"(?P<{part}>{'.+' if greedy else '[^/]+'})" if part else re.escape(text)
            for text, part, greedy in _steps(template)
        )
        query, headers = set(), set()
        shape = operation.input_shape
        for member in shape.required_members if shape else ():
            place = shape.members[member].serialization
            if place.get("location") == "querystring":
                query.add(place["name"])
            elif place.get("location") == "header":
                headers.add(place["name"].lower())
        route = Route(
            name,
            # S3 takes `/bucket/` for the bucket itself.
            re.compile(pattern + "/?" if not template.endswith("+}") else pattern, re.DOTALL),
            tuple(parse_qsl(literal, keep_blank_values=True)),
            frozenset(query),
            frozenset(headers),
        )
        table.setdefault(operation.http["method"], []).append(route)
    for rows in table.values():
        rows.sort(key=lambda r: -r.weight)
    return table


def _steps(template: str) -> list[tuple[str, str, str]]:
    steps, at = [], 0
    for match in _LABEL.finditer(template):
        steps.append((template[at : match.start()], "", ""))
        steps.append(("", match[1], match[2]))
        at = match.end()
    steps.append((template[at:], "", ""))
    return steps


def find(service: str, request: HttpRequest, path: str, query: dict[str, str]) -> tuple[str, dict[str, str]]:
    """Return the operation of a request and the decoded labels of its path.

    Parameters
    ----------
    service : str
        botocore's name of a REST service.
    request : HttpRequest
        Gives method and headers.
    path : str
        The request's path, for S3 with the bucket in front, still percent-encoded.
    query : dict
        Its query parameters.

    Raises
    ------
    AwsError
        ``MethodNotAllowed`` (405) where no operation fits, ``InvalidURI`` where the path is not UTF-8.
    """
    for route in routes(service).get(request.method, ()):
        labels = route.match(path, query, request.headers)
        if labels is not None:
            return route.operation, {k: decode(v) for k, v in labels.items()}
    raise AwsError("MethodNotAllowed", f"No operation of {service} answers {request.method} {path[:200]}", status=405)


def decode(text: str) -> str:
    """Undo the percent-encoding of a path step or a header."""
    try:
        return unquote_to_bytes(text).decode("utf-8")
    except UnicodeDecodeError as error:
        raise AwsError("InvalidURI", "Couldn't parse the specified URI: it is not UTF-8.") from error
