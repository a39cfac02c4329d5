"""SageMaker Runtime: InvokeEndpoint."""

from __future__ import annotations

import asyncio
from typing import Any

from sagespark.local.hosting.client import Answer, ContainerGoneError
from sagespark.local.hosting.deployments import Deployments
from sagespark.local.hosting.fleet import Fleet
from sagespark.local.hosting.instance import Instance
from sagespark.local.logs import ENDPOINTS
from sagespark.local.services.arns import partition
from sagespark.local.wire.context import AwsError, Context

INVOCATION_SECONDS = 60.0
"""Seconds that a container has for an answer."""
READY_SECONDS = 10.0
"""Seconds that a request waits for a container that is being replaced."""
_TRIES = 3
_MESSAGE_LENGTH = 4096
_TIMED_OUT = (
    "Your invocation timed out while waiting for a response from container primary. Review the latency metrics for "
    "each container in Amazon CloudWatch, resolve the issue, and try again."
)
_EXITED = "An error occurred while handling request as the model process exited."
_PASSED = {
    "ContentType": "content-type",
    "Accept": "accept",
    "CustomAttributes": "x-amzn-sagemaker-custom-attributes",
    "TargetModel": "x-amzn-sagemaker-target-model",
    "InferenceId": "x-amzn-sagemaker-inference-id",
}


class Runtime:
    """The runtime's operations.

    Parameters
    ----------
    deployments : Deployments
        Knows which fleet answers.
    timeout : float
        Seconds that a container has for an answer.
    """

    service = "sagemaker-runtime"

    def __init__(self, deployments: Deployments, timeout: float = INVOCATION_SECONDS) -> None:
        self._deployments = deployments
        self._timeout = timeout

    async def InvokeEndpoint(self, ctx: Context, request: dict[str, Any]) -> dict[str, Any]:
        """Send the request's body to a container of the endpoint, and its answer back."""
        name = request["EndpointName"]
        headers = {header: request[member] for member, header in _PASSED.items() if request.get(member)}
        body = bytes(request.get("Body", b""))
        variant, instance, answer = await self._ask(ctx, name, request.get("TargetVariant"), headers, body)
        if answer.status >= 300:
            text = answer.body.decode("utf-8", "replace")[:_MESSAGE_LENGTH]
            raise _model_error(ctx, name, instance.name, answer.status, text)
        return {
            "Body": answer.body,
            "ContentType": answer.headers.get("content-type", "application/octet-stream"),
            "InvokedProductionVariant": variant,
            "CustomAttributes": answer.headers.get("x-amzn-sagemaker-custom-attributes"),
        }

    async def _ask(
        self, ctx: Context, name: str, target: str | None, headers: dict[str, str], body: bytes
    ) -> tuple[str, Instance, Answer]:
        """Return variant, instance and answer; a request that reached no container is sent to another one."""
        for attempt in range(_TRIES):
            variant, instance = await self._instance(ctx, name, target)
            client = instance.client
            if client is None:
                continue
            instance.in_flight += 1
            try:
                async with asyncio.timeout(self._timeout):
                    return variant, instance, await client.post("/invocations", headers, body)
            except TimeoutError:
                raise _model_error(ctx, name, instance.name, 0, _TIMED_OUT) from None
            except ContainerGoneError as error:
                if error.sent:
                    raise _model_error(ctx, name, instance.name, 0, _EXITED) from error
                await asyncio.sleep(0.02 * (attempt + 1))
            finally:
                instance.in_flight -= 1
        raise _unavailable(name)

    async def _instance(self, ctx: Context, name: str, target: str | None) -> tuple[str, Instance]:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + READY_SECONDS
        while True:
            fleet = self._fleet(ctx, name)
            try:
                variant, instance = fleet.pick(target)
            except KeyError:
                raise AwsError(
                    "ValidationError",
                    f"Variant {target} of endpoint {name} not found; it has {', '.join(fleet.variants)}.",
                ) from None
            if instance is not None:
                return variant, instance
            if loop.time() >= deadline:
                raise _unavailable(name)
            await asyncio.sleep(0.02)

    def _fleet(self, ctx: Context, name: str) -> Fleet:
        fleet = self._deployments.fleet(ctx.region, name)
        if fleet is None:
            raise AwsError("ValidationError", f"Endpoint {name} of account {ctx.account} not found.")
        return fleet


def _unavailable(name: str) -> AwsError:
    return AwsError("ServiceUnavailable", f"No container of endpoint {name} is ready; try your call again.")


def _model_error(ctx: Context, endpoint: str, stream: str, status: int, text: str) -> AwsError:
    side = "client" if 400 <= status < 500 else "server"
    group = ENDPOINTS + endpoint
    page = (
        f"https://{ctx.region}.console.aws.amazon.com/cloudwatch/home?region={ctx.region}#logEventViewer:group={group}"
    )
    return AwsError(
        "ModelError",
        f'Received {side} error ({status}) from primary with message "{text}". '
        f"See {page} in account {ctx.account} for more information.",
        OriginalStatusCode=status,
        OriginalMessage=text,
        LogStreamArn=f"arn:{partition(ctx.region)}:logs:{ctx.region}:{ctx.account}:log-group:{group}:log-stream:{stream}",
    )
