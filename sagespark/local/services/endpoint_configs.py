"""Endpoint configs: create, describe, list, delete."""

from __future__ import annotations

from typing import Any

from sagespark.core.clock import Clock
from sagespark.local.services import models, tags
from sagespark.local.services.arns import arn
from sagespark.local.services.resources import Resources, missing
from sagespark.local.store import Store
from sagespark.local.wire.context import AwsError, Context

KIND = "EndpointConfig"
"""Kind of the Store."""
_KEPT = (
    "EndpointConfigName",
    "DataCaptureConfig",
    "KmsKeyId",
    "AsyncInferenceConfig",
    "ExplainerConfig",
    "ExecutionRoleArn",
    "VpcConfig",
    "MetricsConfig",
    "CrossRegionTrafficConfig",
)


class EndpointConfigs:
    """The operations on endpoint configs.

    Parameters
    ----------
    store : Store
        Keeps the configs, and the models that they name.
    clock : Clock
        Stamps the configs.
    """

    service = "sagemaker"

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._configs = Resources(store, clock, KIND)

    def CreateEndpointConfig(self, ctx: Context, request: dict[str, Any]) -> dict[str, Any]:
        """Keep an endpoint config whose models exist."""
        production, shadow = request["ProductionVariants"], request.get("ShadowProductionVariants", [])
        found = _problems(production + shadow) + tags.problems(request.get("Tags", []))
        if found:
            raise AwsError("ValidationException", " ".join(found))
        for variant in production + shadow:
            name = variant["ModelName"]
            if self._store.get(models.KIND, ctx.region, name) is None:
                raise missing(models.KIND, arn(models.KIND, ctx.region, ctx.account, name))
        document = {name: request[name] for name in _KEPT if name in request}
        document["ProductionVariants"] = [_complete(v) for v in production]
        if shadow:
            document["ShadowProductionVariants"] = [_complete(v) for v in shadow]
        document["EnableNetworkIsolation"] = request.get("EnableNetworkIsolation", False)
        return self._configs.create(ctx, document, request.get("Tags", []))

    def DescribeEndpointConfig(self, ctx: Context, request: dict[str, Any]) -> dict[str, Any]:
        """Tell everything about an endpoint config."""
        return self._configs.get(ctx, request["EndpointConfigName"])

    def ListEndpointConfigs(self, ctx: Context, request: dict[str, Any]) -> dict[str, Any]:
        """List endpoint configs by filter, sort order and page."""
        rows, token = self._configs.page(ctx, request)
        return {"EndpointConfigs": rows, "NextToken": token}

    def DeleteEndpointConfig(self, ctx: Context, request: dict[str, Any]) -> dict[str, Any]:
        """Forget an endpoint config; an endpoint that uses it goes on."""
        self._configs.delete(ctx, request["EndpointConfigName"])
        return {}


def _complete(variant: dict[str, Any]) -> dict[str, Any]:
    return {"InitialVariantWeight": 1.0} | variant


def _problems(variants: list[dict[str, Any]]) -> list[str]:
    names = [variant["VariantName"] for variant in variants]
    found = [f"Variant names must be unique, but {n!r} occurs twice." for n in sorted(set(names)) if names.count(n) > 1]
    for variant in variants:
        where = f"Production variant {variant['VariantName']}"
        if "ModelName" not in variant:
            found.append(f"{where} must have a ModelName.")
        if "ServerlessConfig" in variant:
            both = [name for name in ("InstanceType", "InitialInstanceCount") if name in variant]
            if both:
                found.append(f"{where} must have either ServerlessConfig or {' and '.join(both)}.")
            continue
        absent = [name for name in ("InstanceType", "InitialInstanceCount") if name not in variant]
        if "InstancePools" in variant:
            absent = [name for name in absent if name != "InstanceType"]
        if absent:
            found.append(f"{where} must have {' and '.join(absent)}.")
    if not any(variant.get("InitialVariantWeight", 1.0) > 0 for variant in variants):
        found.append("At least one production variant must have an InitialVariantWeight above 0.")
    return found
