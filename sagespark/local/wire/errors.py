"""Render errors as each protocol has them."""

from __future__ import annotations

import json
from typing import Any

from sagespark.local.wire.context import AwsError, HttpRequest, HttpResponse
from sagespark.local.wire.models import KNOWN, service_model
from sagespark.local.wire.serialize import json_tree, xml_text

_QUERY_NAMESPACE = {
    "sts": "https://sts.amazonaws.com/doc/2011-06-15/",
    "iam": "https://iam.amazonaws.com/doc/2010-05-08/",
    "cloudwatch": "http://monitoring.amazonaws.com/doc/2010-08-01/",
}


def status_of(error: AwsError, shape: Any | None) -> int:
    """Return the HTTP status: the raiser's, else the model's, else 400."""
    if error.status is not None:
        return error.status
    if shape is not None:
        return int(shape.metadata.get("error", {}).get("httpStatusCode", 500 if shape.metadata.get("fault") else 400))
    return 400


def render(error: AwsError, service: str, protocol: str, request: HttpRequest, request_id: str) -> HttpResponse:
    """Return the response of an error.

    Parameters
    ----------
    error : AwsError
        What was raised.
    service : str
        botocore's name of the service; empty where it is not known, which is rendered as JSON.
    protocol : str
        ``json``, ``query``, ``rest-json`` or ``rest-xml``.
    request : HttpRequest
        S3 names the resource; a HEAD has no body.
    request_id : str
        Goes into headers and XML bodies.
    """
    if service == "s3" and error.code == "SerializationException":
        error = AwsError("InvalidArgument", error.message)
    shape = _shape(error.code, service)
    answer = HttpResponse(status_of(error, shape))
    answer.headers.extend(error.headers)
    if answer.status == 304:
        return answer
    if protocol == "rest-xml":
        answer.body = _s3(error, request, request_id) if request.method != "HEAD" else b""
        answer.headers.append(("content-type", "application/xml"))
    elif protocol == "query":
        answer.body = _query(error, answer.status, service, request_id)
        answer.headers.append(("content-type", "text/xml"))
    else:
        answer.body = _json(error, shape, protocol)
        kind = "application/json" if protocol == "rest-json" else json_type(service)
        answer.headers.append(("content-type", kind))
        answer.headers.append(("x-amzn-errortype", error.code))
    return answer


def json_type(service: str) -> str:
    """Return the content type of a service's JSON."""
    version = service_model(service).metadata.get("jsonVersion", "1.1") if service in KNOWN else "1.1"
    return f"application/x-amz-json-{version}"


def _shape(code: str, service: str) -> Any | None:
    return service_model(service).shape_for_error_code(code) if code and service in KNOWN else None


def _json(error: AwsError, shape: Any | None, protocol: str) -> bytes:
    body: dict[str, Any] = {} if protocol == "rest-json" else {"__type": error.code}
    body["Message"] = error.message
    body["message"] = error.message
    known = shape.members if shape is not None else {}
    for name, value in error.members.items():
        if value is not None:
            body[name] = json_tree(known[name], value, name) if name in known else value
    return json.dumps(body, separators=(",", ":"), ensure_ascii=False).encode("utf-8", "backslashreplace")


def _query(error: AwsError, status: int, service: str, request_id: str) -> bytes:
    kind = "Sender" if status < 500 else "Receiver"
    return (
        f'<ErrorResponse xmlns="{_QUERY_NAMESPACE.get(service, "")}"><Error><Type>{kind}</Type>'
        f"<Code>{xml_text(error.code)}</Code><Message>{xml_text(error.message)}</Message></Error>"
        f"<RequestId>{request_id}</RequestId></ErrorResponse>"
    ).encode("utf-8", "backslashreplace")


def _s3(error: AwsError, request: HttpRequest, request_id: str) -> bytes:
    more = "".join(f"<{k}>{xml_text(str(v))}</{k}>" for k, v in error.members.items() if v is not None)
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        f"<Error><Code>{xml_text(error.code)}</Code><Message>{xml_text(error.message)}</Message>{more}"
        f"<Resource>{xml_text(request.path)}</Resource><RequestId>{request_id}</RequestId></Error>"
    ).encode("utf-8", "backslashreplace")
