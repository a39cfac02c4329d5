"""Endpoints: Create, Describe, List, Update, UpdateEndpointWeightsAndCapacities and Delete."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from sagespark.core.clock import Clock, SystemClock
from sagespark.local.hosting.deployments import Deployments
from sagespark.local.hosting.documents import KIND
from sagespark.local.hosting.fleet import STARTUP_SECONDS, VariantPlan
from sagespark.local.services import paging
from sagespark.local.services.arns import arn
from sagespark.local.services.tags import problems, put_tags
from sagespark.local.store import Conflict, Document, Store
from sagespark.local.wire.context import AwsError, Context

_BUSY = ("Creating", "Updating", "SystemUpdating", "RollingBack", "Deleting")
_SUMMARY = ("EndpointName", "EndpointArn", "CreationTime", "LastModifiedTime", "EndpointStatus")
_PROPERTIES = {"DesiredInstanceCount": "instances", "DesiredWeight": "weight"}


class Endpoints:
    """SageMaker's operations on endpoints.

    Parameters
    ----------
    store : Store
        The service's resources.
    deployments : Deployments
        Runs the containers.
    clock : Clock
        Gives creation times.
    """

    service = "sagemaker"

    def __init__(self, store: Store, deployments: Deployments, clock: Clock | None = None) -> None:
        self._store = store
        self._deployments = deployments
        self._clock = clock or SystemClock()

    def start(self) -> None:
        """Bring the endpoints of a former service back."""
        self._deployments.start()

    def stop(self) -> None:
        """End their containers."""
        self._deployments.stop()

    def CreateEndpoint(self, ctx: Context, request: dict[str, Any]) -> dict[str, Any]:
        """Start the containers of an endpoint config."""
        name = request["EndpointName"]
        own = arn("Endpoint", ctx.region, ctx.account, name)
        tags = request.get("Tags", [])
        _refuse_deployment(request.get("DeploymentConfig", {}))
        if wrong := problems(tags):
            raise _invalid(" ".join(wrong))
        plans = self._plans(ctx, request["EndpointConfigName"])
        now = self._clock.now()
        document: Document = {
            "EndpointName": name,
            "EndpointArn": own,
            "EndpointConfigName": request["EndpointConfigName"],
            "EndpointStatus": "Creating",
            "CreationTime": now,
            "LastModifiedTime": now,
        }
        with self._store.transaction():
            try:
                self._store.put(KIND, ctx.region, name, document)
            except Conflict:
                raise _invalid(f'Cannot create already existing endpoint "{own}".') from None
            put_tags(self._store, own, tags)
            begin = self._deployments.create((ctx.region, name), plans, request["EndpointConfigName"])
        begin()
        return {"EndpointArn": own}

    def DescribeEndpoint(self, ctx: Context, request: dict[str, Any]) -> dict[str, Any]:
        """Tell everything about an endpoint."""
        return self._get(ctx, request["EndpointName"])

    def ListEndpoints(self, ctx: Context, request: dict[str, Any]) -> dict[str, Any]:
        """List endpoints, page by page."""
        rows = paging.select(self._store.list(KIND, ctx.region), request, name="EndpointName", status="EndpointStatus")
        keys = {"Name": "EndpointName", "CreationTime": "CreationTime", "Status": "EndpointStatus"}
        found, token = paging.page(rows, request, name="EndpointName", keys=keys, order="Descending")
        return {"Endpoints": [{k: row[k] for k in _SUMMARY} for row in found], "NextToken": token}

    def UpdateEndpoint(self, ctx: Context, request: dict[str, Any]) -> dict[str, Any]:
        """Give an endpoint another config: blue/green, the former fleet answers until the new one is healthy."""
        name = request["EndpointName"]
        _refuse_deployment(request.get("DeploymentConfig", {}))
        current = self._get(ctx, name)
        # AWS needs the config in use for an update, and lets it be deleted nevertheless.
        self._config(ctx, current["EndpointConfigName"])
        plans = self._plans(ctx, request["EndpointConfigName"])
        if request.get("RetainAllVariantProperties"):
            excluded = {p["VariantPropertyType"] for p in request.get("ExcludeRetainedVariantProperties", [])}
            plans = [_retain(plan, current, excluded) for plan in plans]
        with self._store.transaction():
            document = self._begin(ctx, name, "Updating")
            begin = self._deployments.update((ctx.region, name), plans, request["EndpointConfigName"])
        begin()
        return {"EndpointArn": document["EndpointArn"]}

    def UpdateEndpointWeightsAndCapacities(self, ctx: Context, request: dict[str, Any]) -> dict[str, Any]:
        """Change weights and numbers of instances of the fleet that runs."""
        name = request["EndpointName"]
        current = self._get(ctx, name)
        known = {variant["VariantName"] for variant in current.get("ProductionVariants", [])}
        wanted = {
            entry["VariantName"]: (entry.get("DesiredWeight"), entry.get("DesiredInstanceCount"))
            for entry in request["DesiredWeightsAndCapacities"]
        }
        if unknown := sorted(set(wanted) - known):
            raise _invalid(f'The variant name(s) "{", ".join(unknown)}" is/are not present within endpoint "{name}".')
        with self._store.transaction():
            document = self._begin(ctx, name, "Updating")
            begin = self._deployments.scale((ctx.region, name), wanted)
        begin()
        return {"EndpointArn": document["EndpointArn"]}

    def DeleteEndpoint(self, ctx: Context, request: dict[str, Any]) -> dict[str, Any]:
        """End the containers; the endpoint is gone once they are."""
        name = request["EndpointName"]
        with self._store.transaction():
            self._begin(ctx, name, "Deleting", failed_too=True)
            begin = self._deployments.delete((ctx.region, name))
        begin()
        return {}

    def _get(self, ctx: Context, name: str) -> Document:
        document = self._store.get(KIND, ctx.region, name)
        if document is None:
            raise _invalid(f'Could not find endpoint "{arn("Endpoint", ctx.region, ctx.account, name)}".')
        return document

    def _config(self, ctx: Context, name: str) -> Document:
        document = self._store.get("EndpointConfig", ctx.region, name)
        if document is None:
            own = arn("EndpointConfig", ctx.region, ctx.account, name)
            raise _invalid(f'Could not find endpoint configuration "{own}".')
        return document

    def _begin(self, ctx: Context, name: str, status: str, *, failed_too: bool = False) -> Document:
        """Enter a transitional status, which only an endpoint at rest can."""
        document = self._get(ctx, name)
        if document["EndpointStatus"] in _BUSY:
            raise _invalid(f'Cannot update in-progress endpoint "{document["EndpointArn"]}".')
        if document["EndpointStatus"] != "InService" and not failed_too:
            raise _invalid(
                f'Cannot update endpoint "{document["EndpointArn"]}" in status {document["EndpointStatus"]}; '
                "it can only be deleted."
            )
        return self._store.update(
            KIND,
            ctx.region,
            name,
            lambda d: d.update(EndpointStatus=status, LastModifiedTime=self._clock.now()),
        )

    def _plans(self, ctx: Context, config_name: str) -> list[VariantPlan]:
        config = self._config(ctx, config_name)
        _refuse_config(config)
        plans = []
        for variant in config["ProductionVariants"]:
            model = self._store.get("Model", ctx.region, variant["ModelName"])
            if model is None:
                raise _invalid(f'Could not find model "{arn("Model", ctx.region, ctx.account, variant["ModelName"])}".')
            plans.append(_plan(variant, model))
        return plans


def _refuse_config(config: Document) -> None:
    """Say so where a config asks for what would not be carried out."""
    found = []
    if config.get("ShadowProductionVariants"):
        found.append("ShadowProductionVariants")
    if "AsyncInferenceConfig" in config:
        found.append("AsyncInferenceConfig")
    if config.get("DataCaptureConfig", {}).get("EnableCapture"):
        found.append("DataCaptureConfig.EnableCapture")
    if any("ServerlessConfig" in variant for variant in config["ProductionVariants"]):
        found.append("ServerlessConfig")
    if found:
        raise _invalid(
            f'Endpoint configuration "{config["EndpointConfigName"]}" asks for {", ".join(found)}, '
            "which the embedded service does not have."
        )


def _refuse_deployment(deployment: Document) -> None:
    """Say so where a deployment is asked for that would not be carried out as asked."""
    routing = deployment.get("BlueGreenUpdatePolicy", {}).get("TrafficRoutingConfiguration", {})
    kind = "ROLLING" if "RollingUpdatePolicy" in deployment else routing.get("Type", "ALL_AT_ONCE")
    if kind != "ALL_AT_ONCE":
        raise _invalid(f"The embedded service shifts traffic ALL_AT_ONCE only, but {kind} was asked for.")
    if deployment.get("AutoRollbackConfiguration", {}).get("Alarms"):
        raise _invalid("The embedded service has no alarms for AutoRollbackConfiguration.")


def _plan(variant: Document, model: Document) -> VariantPlan:
    containers = model.get("Containers") or [model.get("PrimaryContainer") or {}]
    if len(containers) != 1:
        raise _invalid(
            f'Model "{model["ModelName"]}" has {len(containers)} containers; '
            "the embedded service hosts models of one container."
        )
    container = containers[0]
    source = container.get("ModelDataSource", {}).get("S3DataSource", {})
    return VariantPlan(
        name=variant["VariantName"],
        image=container["Image"],
        model_data=container.get("ModelDataUrl") or source.get("S3Uri"),
        environment=container.get("Environment", {}),
        instances=variant.get("InitialInstanceCount", 1),
        weight=variant.get("InitialVariantWeight", 1.0),
        startup_seconds=variant.get("ContainerStartupHealthCheckTimeoutInSeconds", STARTUP_SECONDS),
        packed="ModelDataUrl" in container or source.get("CompressionType", "Gzip") != "None",
        alone=model["EnableNetworkIsolation"],
    )


def _retain(plan: VariantPlan, current: Document, excluded: set[str]) -> VariantPlan:
    """Return the plan with the weight and the number of instances that its variant has now."""
    now = {variant["VariantName"]: variant for variant in current.get("ProductionVariants", [])}.get(plan.name)
    if now is None:
        return plan
    kept = {field: now[name] for name, field in _PROPERTIES.items() if name not in excluded}
    return replace(plan, **kept)


def _invalid(text: str) -> AwsError:
    return AwsError("ValidationException", text)
