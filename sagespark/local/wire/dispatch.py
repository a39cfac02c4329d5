"""Carry out one request: identify, find, parse, verify, validate, call, serialize."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from sagespark.core.clock import Clock, SystemClock, request_id
from sagespark.local.config import LocalConfig
from sagespark.local.wire import sigv2
from sagespark.local.wire.checksums import PREFIX
from sagespark.local.wire.context import AwsError, ClientGoneError, Context, HttpRequest, HttpResponse
from sagespark.local.wire.errors import render
from sagespark.local.wire.identify import Scope, Target, identify, path_with_bucket, query_of
from sagespark.local.wire.models import operation_model
from sagespark.local.wire.parse import parse_json, parse_query, query_pairs
from sagespark.local.wire.payload import Content
from sagespark.local.wire.rest import parse_rest, streams_input, to_rest
from sagespark.local.wire.routes import find
from sagespark.local.wire.serialize import to_json, to_query_xml
from sagespark.local.wire.sigv4 import check_expiry, verify
from sagespark.local.wire.validate import validate

log = logging.getLogger("sagespark.local.wire")

Method = Callable[[Context, dict[str, Any]], Any]


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
        """Stop the threads; calls in flight end first."""
        for pool in self._pools.values():
            pool.shutdown(wait=True, cancel_futures=True)

    async def handle(self, request: HttpRequest, base_url: str) -> HttpResponse:
        """Answer one request; every error becomes a response of the request's protocol.

        Raises
        ------
        ClientGoneError
            If the client left before its body had ended.
        """
        identifier = request_id()
        target = Target("", "json")
        operation = ""
        try:
            query = query_of(request)
            scope = Scope.of(request, query)
            target = identify(request, scope, query)
            operation, answer = await self._call(request, target, scope, query, identifier, base_url)
        except AwsError as error:
            answer = render(error, target.service, target.protocol, request, identifier)
        except (ClientGoneError, asyncio.CancelledError):
            raise
        except Exception:
            log.exception("%s %s: %s failed", request.method, request.path, operation or target.service)
            failure = AwsError("InternalFailure", "The embedded service failed; its log tells more.", status=500)
            answer = render(failure, target.service, target.protocol, request, identifier)
        answer.headers.append(("x-amzn-requestid", identifier))
        if target.service == "s3":
            answer.headers.append(("x-amz-request-id", identifier))
        return answer

    async def _call(
        self,
        request: HttpRequest,
        target: Target,
        scope: Scope,
        query: dict[str, str],
        identifier: str,
        base_url: str,
    ) -> tuple[str, HttpResponse]:
        service, protocol = target.service, target.protocol
        operation = target.operation
        labels: dict[str, str] = {}
        if protocol.startswith("rest"):
            path = request.path if service != "s3" else path_with_bucket(request.headers["host"], request.path)
            operation, labels = find(service, request, path, query)
        body = await self._body(request, target, operation, scope, query)
        pairs: dict[str, str] = {}
        if protocol == "query":
            pairs = query_pairs(request.query) | query_pairs(body.decode("utf-8", "replace"))
            operation = pairs.get("Action", "")
        method = self._methods.get((service, operation))
        model = operation_model(service, operation)
        if method is None or model is None:
            raise AwsError(
                "UnknownOperationException",
                f"The operation {operation} of {service} is not built in the embedded service.",
                status=400,
            )
        if protocol == "query":
            parsed = parse_query(model.input_shape, pairs)
        elif protocol == "json":
            parsed = parse_json(model.input_shape, body)
        else:
            parsed = parse_rest(model, request, labels, body)
        validate(service, model.input_shape, parsed)
        context = Context(
            service=service,
            operation=operation,
            region=scope.region or self._config.region,
            account=self._config.account,
            request_id=identifier,
            access_key=scope.access_key,
            base_url=base_url,
        )
        response = await self._run(service, method, context, parsed)
        return operation, self._serialize(model, protocol, response or {}, identifier)

    async def _body(
        self, request: HttpRequest, target: Target, operation: str, scope: Scope, query: dict[str, str]
    ) -> Any:
        """Return the body, read and checked; of a streaming operation the `Content` that it reads itself."""
        service = target.service
        if service != "s3":
            limit = self._config.max_payload if service == "sagemaker-runtime" else self._config.max_body
            body = await request.body.read(limit)
            if self._config.require_signature:
                verify(request, scope, query, service, body, self._config.secret_key, self._clock.now())
            return body
        signed = None
        now, secret = self._clock.now(), self._config.secret_key
        if sigv2.is_presigned(query):
            sigv2.check_expiry(query, now)
            if self._config.require_signature:
                sigv2.verify(request, path_with_bucket(request.headers["host"], request.path), query, secret)
        elif self._config.require_signature:
            signed = verify(request, scope, query, service, None, secret, now)
        else:
            check_expiry(query, now)
        content = Content(request.body, request.headers, signed)
        model = operation_model(service, operation)
        if streams_input(model):
            return content
        if operation == "CompleteMultipartUpload":
            # The checksum in its headers is that of the object, not of this body.
            kept = {k: v for k, v in request.headers.items() if not k.startswith(PREFIX)}
            content = Content(request.body, kept, signed)
        body = await request.body.read(self._config.max_body)
        if not body and request.method not in ("PUT", "POST"):
            return body
        checker = content.checker()
        body = b"".join(checker.feed(body))
        checker.finish()
        return body

    async def _run(self, service: str, method: Method, context: Context, parsed: dict[str, Any]) -> Any:
        if inspect.iscoroutinefunction(method):
            return await method(context, parsed)
        return await asyncio.get_running_loop().run_in_executor(self._pools[service], method, context, parsed)

    @staticmethod
    def _serialize(model: Any, protocol: str, response: dict[str, Any], identifier: str) -> HttpResponse:
        if protocol == "json":
            version = model.service_model.metadata.get("jsonVersion", "1.1")
            kind = f"application/x-amz-json-{version}"
            return HttpResponse(200, [("content-type", kind)], to_json(model.output_shape, response))
        if protocol == "query":
            return HttpResponse(200, [("content-type", "text/xml")], to_query_xml(model, response, identifier))
        return to_rest(model, response)
