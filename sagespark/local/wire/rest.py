"""The REST protocols: members in the path, the query, headers and the body; JSON or XML.

S3 is `rest-xml`, SageMaker's runtime is `rest-json`.
"""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import parse_qsl
from xml.etree import ElementTree

from sagespark.local.wire.context import AwsError, FileRange, HttpRequest, HttpResponse, Payload
from sagespark.local.wire.parse import json_value, malformed, parse_json, text_value
from sagespark.local.wire.serialize import (
    members,
    scalar_text,
    to_json,
    xml_element,
    xml_members,
    xml_text,
)

# S3's own names of the root elements. Its model does not tell them, and SAX parsers of older SDKs look for them.
ROOTS = {
    "ListBuckets": "ListAllMyBucketsResult",
    "ListObjects": "ListBucketResult",
    "ListObjectsV2": "ListBucketResult",
    "ListObjectVersions": "ListVersionsResult",
    "ListParts": "ListPartsResult",
    "ListMultipartUploads": "ListMultipartUploadsResult",
    "CreateMultipartUpload": "InitiateMultipartUploadResult",
    "CompleteMultipartUpload": "CompleteMultipartUploadResult",
    "DeleteObjects": "DeleteResult",
    "GetObjectTagging": "Tagging",
    "GetBucketAcl": "AccessControlPolicy",
    "GetObjectAcl": "AccessControlPolicy",
    "GetBucketVersioning": "VersioningConfiguration",
    "GetObjectAttributes": "GetObjectAttributesResponse",
}
_XML_NAMESPACE = "http://s3.amazonaws.com/doc/2006-03-01/"


def streams_input(operation: Any) -> bool:
    """Tell whether the body is content that the provider reads itself (PutObject, UploadPart)."""
    return bool(operation.has_streaming_input)


# --------------------------------------------------------------------------------------------------------------- parse


def parse_rest(operation: Any, request: HttpRequest, labels: dict[str, str], body: Any) -> dict[str, Any]:
    """Parse a REST request.

    Parameters
    ----------
    operation : botocore.model.OperationModel
        The operation that `routes.find` named.
    request : HttpRequest
        Gives query and headers.
    labels : dict
        Decoded labels of the path.
    body : bytes or Content
        The body read whole, or the content itself for an operation with a streaming payload.
    """
    shape = operation.input_shape
    if shape is None:
        return {}
    result: dict[str, Any] = {}
    query: dict[str, list[str]] = {}
    for name, text in parse_qsl(request.query, keep_blank_values=True):
        query.setdefault(name, []).append(text)
    rest = False
    payload = shape.serialization.get("payload")
    for name, member in shape.members.items():
        place = member.serialization.get("location")
        wire = member.serialization.get("name", name)
        if place is None:
            rest = rest or name != payload
        elif place == "uri":
            if wire in labels:
                result[name] = text_value(member, labels[wire], name)
        elif place == "querystring":
            if wire in query:
                result[name] = _query_member(member, query[wire], name)
        elif place == "header":
            if wire.lower() in request.headers:
                result[name] = _header_member(member, request.headers[wire.lower()], name)
        elif place == "headers":
            found = {k[len(wire) :]: v for k, v in request.headers.items() if k.startswith(wire.lower())}
            if found:
                result[name] = found
    if payload is not None:
        value = _payload(shape.members[payload], body, operation.service_model.protocol)
        if value is not None:
            result[payload] = value
    elif rest and isinstance(body, bytes) and body.strip():
        result.update(_document(shape, body, operation.service_model.protocol))
    return result


def _query_member(shape: Any, texts: list[str], path: str) -> Any:
    if shape.type_name == "list":
        return [text_value(shape.member, text, path) for text in texts]
    return text_value(shape, texts[-1], path)


def _header_member(shape: Any, text: str, path: str) -> Any:
    if shape.type_name == "list":
        return [text_value(shape.member, item.strip(), path) for item in text.split(",")]
    if shape.serialization.get("jsonvalue"):
        return text_value(shape, base64.b64decode(text).decode("utf-8", "replace"), path)
    for word in shape.metadata.get("enum", ()):
        # S3 does not mind the case: Arrow sends `x-amz-checksum-mode: enabled`.
        if word.lower() == text.lower():
            return word
    return text_value(shape, text, path)


def _payload(shape: Any, body: Any, protocol: str) -> Any:
    if shape.type_name == "blob" or not isinstance(body, bytes):
        return body
    if not body:
        return None
    if shape.type_name == "string":
        return body.decode("utf-8", "replace")
    if protocol == "rest-json":
        return parse_json(shape, body)
    return _document(shape, body, protocol)


def _document(shape: Any, body: bytes, protocol: str) -> dict[str, Any]:
    if protocol == "rest-json":
        try:
            value: dict[str, Any] = json_value(shape, json.loads(body), "", 0)
        except ValueError as error:
            raise malformed(f"The request body is not JSON: {error}") from error
        return value
    value = xml_value(shape, parse_xml(body), "")
    return value if isinstance(value, dict) else {}


def parse_xml(body: bytes) -> ElementTree.Element:
    """Return the root of an XML body.

    Raises
    ------
    AwsError
        ``MalformedXML``; also for a document type, which S3's requests never have and entity tricks need.
    """
    if b"<!DOCTYPE" in body or b"<!ENTITY" in body:
        raise malformed_xml()
    try:
        return ElementTree.fromstring(body)
    except (ElementTree.ParseError, ValueError) as error:
        raise malformed_xml() from error


def malformed_xml() -> AwsError:
    """Return the error of an XML body that is not what the operation takes."""
    return AwsError(
        "MalformedXML", "The XML you provided was not well-formed or did not validate against our published schema"
    )


def _local(tag: str) -> str:
    return tag.rpartition("}")[2]


def xml_value(shape: Any, node: ElementTree.Element, path: str) -> Any:
    """Return the value that an element holds for ``shape``."""
    kind = shape.type_name
    if kind == "structure":
        children: dict[str, list[ElementTree.Element]] = {}
        for child in node:
            children.setdefault(_local(child.tag), []).append(child)
        attributes = {_local(k): v for k, v in node.attrib.items()}
        result = {}
        for name, member in shape.members.items():
            if member.serialization.get("location"):
                continue
            where = f"{path}.{name}" if path else name
            if member.serialization.get("xmlAttribute"):
                text = attributes.get(member.serialization["name"].rpartition(":")[2])
                if text is not None:
                    result[name] = text_value(member, text, where)
                continue
            found = children.get(_element_name(name, member))
            if found:
                flat = member.serialization.get("flattened")
                result[name] = xml_rows(member, found, where) if flat else xml_value(member, found[0], where)
        return result
    if kind == "list":
        return [xml_value(shape.member, child, f"{path}[{i}]") for i, child in enumerate(node)]
    if kind == "map":
        return xml_rows(shape, list(node), path)
    return text_value(shape, node.text or "", path)


def _element_name(name: str, shape: Any) -> str:
    wire: str = shape.serialization.get("name", name)
    if shape.serialization.get("flattened") and shape.type_name == "list" and "name" not in shape.serialization:
        wire = shape.member.serialization.get("name", wire)
    return wire


def xml_rows(shape: Any, nodes: list[ElementTree.Element], path: str) -> Any:
    """Return the list or map that repeated elements hold."""
    if shape.type_name == "list":
        return [xml_value(shape.member, node, f"{path}[{i}]") for i, node in enumerate(nodes)]
    key_name = shape.key.serialization.get("name", "key")
    value_name = shape.value.serialization.get("name", "value")
    result = {}
    for node in nodes:
        children = {_local(child.tag): child for child in node}
        if key_name in children and value_name in children:
            key = children[key_name].text or ""
            result[key] = xml_value(shape.value, children[value_name], f"{path}.{key}")
    return result


# ----------------------------------------------------------------------------------------------------------- serialize


def to_rest(operation: Any, response: dict[str, Any]) -> HttpResponse:
    """Render a response: status, headers and body where the model puts each member."""
    answer = HttpResponse(operation.http.get("responseCode", 200))
    shape = operation.output_shape
    if shape is None:
        return answer
    protocol = operation.service_model.protocol
    payload = shape.serialization.get("payload")
    has_body = False
    for name, member, value in members(shape, response, ""):
        place = member.serialization.get("location")
        wire = member.serialization.get("name", name)
        if place == "header":
            answer.headers.append((wire.lower(), _header_text(member, value)))
        elif place == "headers":
            answer.headers.extend((wire + k, str(v)) for k, v in value.items())
        elif place == "statusCode":
            answer.status = int(value)
    if response.get("ContentRange"):
        answer.status = 206
    for name, member in shape.members.items():
        has_body = has_body or (not member.serialization.get("location") and name != payload)
    if payload is not None:
        if response.get(payload) is not None:
            answer.body = _payload_bytes(shape.members[payload], response[payload], payload, protocol, answer)
    elif protocol == "rest-json":
        body = {k: v for k, v in response.items() if not shape.members[k].serialization.get("location")}
        answer.body = to_json(shape, body)
        answer.headers.append(("content-type", "application/json"))
    elif operation.name == "GetBucketLocation":
        answer.body = xml_document("LocationConstraint", xml_text(response.get("LocationConstraint") or ""))
        answer.headers.append(("content-type", "application/xml"))
    elif has_body:
        parts: list[str] = []
        # Lists come last, as S3 writes them: AWS's SDK for Java 1.x takes the bucket of each listed object from the
        # `Name` that it has read before.
        rows = {k: v for k, v in response.items() if k in shape.members and shape.members[k].type_name == "list"}
        xml_members(shape, {k: v for k, v in response.items() if k not in rows}, parts.append)
        xml_members(shape, rows, parts.append)
        answer.body = xml_document(ROOTS.get(operation.name, shape.name), "".join(parts))
        answer.headers.append(("content-type", "application/xml"))
    return answer


def _header_text(shape: Any, value: Any) -> str:
    if shape.type_name == "list":
        return ",".join(scalar_text(shape.member, item, "rfc822") for item in value)
    if shape.type_name == "timestamp" and isinstance(value, str):
        # S3's Expires comes back as the client wrote it.
        return value
    return scalar_text(shape, value, "rfc822")


def _payload_bytes(shape: Any, value: Any, name: str, protocol: str, answer: HttpResponse) -> Payload:
    if shape.type_name == "blob":
        if isinstance(value, FileRange | AsyncIterator):
            return value
        return bytes(value)
    if shape.type_name == "string":
        return str(value).encode("utf-8")
    if protocol == "rest-json":
        answer.headers.append(("content-type", "application/json"))
        return to_json(shape, value)
    answer.headers.append(("content-type", "application/xml"))
    parts: list[str] = []
    root = shape.serialization.get("name", name)
    xml_element(shape, value, root, parts.append, name)
    text = "".join(parts)
    if not shape.serialization.get("xmlNamespace"):
        text = text.replace(f"<{root}", f'<{root} xmlns="{_XML_NAMESPACE}"', 1)
    return b'<?xml version="1.0" encoding="UTF-8"?>\n' + text.encode("utf-8")


def xml_document(root: str, inner: str) -> bytes:
    """Return an S3 document with its declaration and namespace."""
    head = '<?xml version="1.0" encoding="UTF-8"?>\n'
    return f'{head}<{root} xmlns="{_XML_NAMESPACE}">{inner}</{root}>'.encode()
