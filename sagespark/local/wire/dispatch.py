"""Carry out one request: identify, find, parse, verify, validate, call, serialize."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from sagespark.core.clock import Clock, SystemClock, request_id
from sagespark.local.config import LocalConfig
from sagespark.local.wire import sigv2
from sagespark.local.wire.checksums import PREFIX
from sagespark.local.wire.context import AwsError, ClientGoneError, Context, HttpRequest, HttpResponse
from sagespark.local.wire.errors import json_type, render
from sagespark.local.wire.identify import Scope, Target, identify, path_with_bucket, query_of
from sagespark.local.wire.models import operation_model
from sagespark.local.wire.parse import parse_json
from sagespark.local.wire.payload import Content
from sagespark.local.wire.query import parse_query, query_pairs
from sagespark.local.wire.rest import parse_rest, streams_input, to_rest
from sagespark.local.wire.routes import find
from sagespark.local.wire.serialize import to_json, to_query_xml
from sagespark.local.wire.sigv4 import Signed, check_expiry, verify
from sagespark.local.wire.validate import validate

log = logging.getLogger("sagespark.local.wire")

Method = Callable[[Context, dict[str, Any]], Any]


@dataclass
class Call:
    """One request on its way; filled step by step."""

    request: HttpRequest
    base_url: str
    id: str
    query: dict[str, str] = field(default_factory=dict)
    scope: Scope = field(default_factory=Scope)
    target: Target = field(default_factory=lambda: Target("", "json"))
    operation: str = ""
    labels: dict[str, str] = field(default_factory=dict)
    """Decoded labels of the path, REST only."""
    body: Any = b""
    """Read whole, or the `Content` of a streaming operation."""
    pairs: dict[str, str] = field(default_factory=dict)
    """Parameters of a query request."""

    @property
    def path(self) -> str:
        """The path, for S3 with the bucket in front."""
        request = self.request
        if self.target.service != "s3":
            return request.path
        return path_with_bucket(request.headers.get("host", ""), request.path)


class Dispatcher:
    """Route requests to providers.

    Parameters
    ----------
    providers : sequence
        Objects with an attribute ``service`` and methods named as that service's operations,
        ``(ctx, request) -> response``. A plain method runs in the service's own thread pool, ``async def`` on the event
        loop. Several providers may share a service; the first that has the method is asked.
    config : LocalConfig
        Limits, account, region.
    clock : Clock, optional
        Judges the age of signatures.
    """

    def __init__(self, providers: Sequence[Any], config: LocalConfig, clock: Clock | None = None) -> None:
        self._config = config
        self._clock = clock or SystemClock()
        self._methods: dict[tuple[str, str], Method] = {}
        self._pools: dict[str, ThreadPoolExecutor] = {}
        for provider in providers:
            for name in dir(provider):
                if name[:1].isupper() and callable(getattr(provider, name)):
                    if operation_model(provider.service, name) is None:
                        raise ValueError(f"{provider.service} has no operation {name}: {type(provider).__name__}")
                    self._methods.setdefault((provider.service, name), getattr(provider, name))
            if provider.service not in self._pools:
                self._pools[provider.service] = ThreadPoolExecutor(config.workers, f"local-{provider.service}")

    def close(self) -> None:
        """Take no more calls; those in flight go on."""
        for pool in self._pools.values():
            pool.shutdown(wait=False, cancel_futures=True)

    async def handle(self, request: HttpRequest, base_url: str) -> HttpResponse:
        """Answer one request; every error becomes a response of the request's protocol.

        Raises
        ------
        ClientGoneError
            If the client left before its body had ended.
        """
        call = Call(request, base_url, request_id())
        try:
            answer = await self._answer(call)
        except AwsError as error:
            # Clients of S3 ask for what may not be there; elsewhere a refusal is worth a line.
            level = logging.DEBUG if call.target.service == "s3" else logging.INFO
            what = call.operation or f"{request.method} {request.path}"
            log.log(level, "%s %s: %s: %s", call.target.service, what, error.code, error.message)
            answer = render(error, call.target.service, call.target.protocol, request, call.id)
        except (ClientGoneError, asyncio.CancelledError):
            raise
        except Exception:
            log.exception("%s %s failed: %s %s", call.target.service, call.operation, request.method, request.path)
            failure = AwsError("InternalFailure", "The embedded service failed; its log tells more.", status=500)
            answer = render(failure, call.target.service, call.target.protocol, request, call.id)
        answer.headers.append(("x-amzn-requestid", call.id))
        if call.target.service == "s3":
            answer.headers.append(("x-amz-request-id", call.id))
        return answer

    async def _answer(self, call: Call) -> HttpResponse:
        """Take a request through all steps, in the order of the package's docstring."""
        self._identify(call)
        await self._read(call)
        service, protocol = call.target.service, call.target.protocol
        method = self._methods.get((service, call.operation))
        if method is None:
            raise AwsError(
                "UnknownOperationException",
                f"The operation {call.operation} of {service} is not built in the embedded service.",
                status=400,
            )
        model: Any = operation_model(service, call.operation)
        if protocol == "query":
            parsed = parse_query(model.input_shape, call.pairs)
        elif protocol == "json":
            parsed = parse_json(model.input_shape, call.body)
        else:
            parsed = parse_rest(model, call.request, call.labels, call.body)
        validate(service, model.input_shape, parsed)
        response = await self._run(method, self._context(call), parsed) or {}
        if protocol == "query":
            return HttpResponse(200, [("content-type", "text/xml")], to_query_xml(model, response, call.id))
        if protocol == "json":
            return HttpResponse(200, [("content-type", json_type(service))], to_json(model.output_shape, response))
        return to_rest(model, response)

    def _identify(self, call: Call) -> None:
        """Find service and operation; the operation of a query request stands in its body."""
        call.query = query_of(call.request)
        call.scope = Scope.of(call.request, call.query)
        call.target = identify(call.request, call.scope, call.query)
        call.operation = call.target.operation
        if call.target.protocol.startswith("rest"):
            call.operation, call.labels = find(call.target.service, call.request, call.path, call.query)

    async def _read(self, call: Call) -> None:
        """Read the body and check signature and checksums; a streaming operation reads its body itself."""
        service = call.target.service
        signed = self._verify_s3(call) if service == "s3" else None
        content = Content(call.request.body, call.request.headers, signed)
        if service == "s3" and streams_input(operation_model(service, call.operation)):
            call.body = content
            return
        limit = self._config.max_payload if service == "sagemaker-runtime" else self._config.max_body
        call.body = await call.request.body.read(limit)
        if service == "s3":
            if call.body or call.request.method in ("PUT", "POST"):
                call.body = _checked(call, content)
        elif self._config.require_signature:
            now, secret = self._clock.now(), self._config.secret_key
            verify(call.request, call.scope, call.query, service, call.body, secret, now)
        if call.target.protocol == "query":
            call.pairs = query_pairs(call.request.query) | query_pairs(call.body.decode("utf-8", "replace"))
            call.operation = call.pairs.get("Action", "")

    def _verify_s3(self, call: Call) -> Signed | None:
        """Check signature and age of a request to S3; a presigned URL's age in any case."""
        now, secret = self._clock.now(), self._config.secret_key
        required = self._config.require_signature
        if sigv2.is_presigned(call.query):
            sigv2.check_expiry(call.query, now)
            if required:
                sigv2.verify(call.request, call.path, call.query, secret)
            return None
        if required:
            return verify(call.request, call.scope, call.query, "s3", None, secret, now)
        check_expiry(call.query, now)
        return None

    def _context(self, call: Call) -> Context:
        return Context(
            service=call.target.service,
            operation=call.operation,
            region=call.scope.region or self._config.region,
            account=self._config.account,
            request_id=call.id,
            access_key=call.scope.access_key,
            base_url=call.base_url,
        )

    async def _run(self, method: Method, context: Context, parsed: dict[str, Any]) -> Any:
        if inspect.iscoroutinefunction(method):
            return await method(context, parsed)
        return await asyncio.get_running_loop().run_in_executor(self._pools[context.service], method, context, parsed)


def _checked(call: Call, content: Content) -> bytes:
    """Return a body of S3's that was read whole, decoded and checked against the headers."""
    if call.operation == "CompleteMultipartUpload":
        # The checksum in its headers is that of the object, not of this body.
        kept = {k: v for k, v in content.headers.items() if not k.startswith(PREFIX)}
        content = Content(content.body, kept, content.verifier)
    checker = content.checker()
    body = b"".join(checker.feed(call.body))
    checker.finish()
    return body
