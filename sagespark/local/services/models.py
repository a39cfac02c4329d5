"""Models: create, describe, list, delete."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sagespark.core.clock import Clock
from sagespark.core.errors import ValidationError
from sagespark.core.s3uri import S3Uri
from sagespark.local.containers.images import Image, UnknownImage, scripted
from sagespark.local.objects.store import ObjectStore
from sagespark.local.services import tags
from sagespark.local.services.resources import Resources
from sagespark.local.store import Store
from sagespark.local.wire.context import AwsError, Context

KIND = "Model"
"""Kind of the Store."""
_KEPT = ("ModelName", "InferenceExecutionConfig", "ExecutionRoleArn", "VpcConfig")


class Models:
    """The operations on models.

    Parameters
    ----------
    store : Store
        Keeps the models.
    objects : ObjectStore
        Where model data is looked for.
    resolve : callable
        Takes an image URI; raises UnknownImage.
    clock : Clock
        Stamps the models.
    """

    service = "sagemaker"

    def __init__(self, store: Store, objects: ObjectStore, resolve: Callable[[str], Image], clock: Clock) -> None:
        self._models = Resources(store, clock, KIND)
        self._objects = objects
        self._resolve = resolve

    def CreateModel(self, ctx: Context, request: dict[str, Any]) -> dict[str, Any]:
        """Keep a model after a look at its images and model data."""
        single, several = request.get("PrimaryContainer"), request.get("Containers")
        containers = ([single] if single is not None else []) + (several or [])
        found = []
        if (single is None) == (not several):
            found.append("Exactly one of PrimaryContainer and Containers must be given.")
        for container in containers:
            found += self._problems(container)
        found += tags.problems(request.get("Tags", []))
        if found:
            raise AwsError("ValidationException", " ".join(found))
        document = {name: request[name] for name in _KEPT if name in request}
        document["EnableNetworkIsolation"] = request.get("EnableNetworkIsolation", False)
        if single is not None:
            document["PrimaryContainer"] = {"Mode": "SingleModel", "Environment": {}} | single
        else:
            document["Containers"] = [{"Mode": "SingleModel", "Environment": {}} | c for c in containers]
        return self._models.create(ctx, document, request.get("Tags", []))

    def DescribeModel(self, ctx: Context, request: dict[str, Any]) -> dict[str, Any]:
        """Tell everything about a model."""
        return self._models.get(ctx, request["ModelName"])

    def ListModels(self, ctx: Context, request: dict[str, Any]) -> dict[str, Any]:
        """List models by filter, sort order and page."""
        rows, token = self._models.page(ctx, request)
        return {"Models": rows, "NextToken": token}

    def DeleteModel(self, ctx: Context, request: dict[str, Any]) -> dict[str, Any]:
        """Forget a model; endpoints that serve it go on."""
        self._models.delete(ctx, request["ModelName"])
        return {}

    def _problems(self, container: dict[str, Any]) -> list[str]:
        found = []
        if "ModelPackageName" in container:
            found.append(f'Could not find model package "{container["ModelPackageName"]}".')
        elif "Image" not in container:
            found.append("A container must have an Image.")
        else:
            try:
                if not scripted(self._resolve(container["Image"]), container.get("Environment", {})).serve:
                    found.append(f"Image {container['Image']} has no program `serve`; it cannot host a model.")
            except UnknownImage as error:
                found.append(f"Requested image {container['Image']} not found: {error}.")
        if container.get("Mode") == "MultiModel":
            found.append("Mode MultiModel: the embedded service does not run it.")
        if "ModelDataUrl" in container and "ModelDataSource" in container:
            found.append("A container must not have both ModelDataUrl and ModelDataSource.")
        if "ModelDataUrl" in container:
            found += self._data(container["ModelDataUrl"], prefix=False)
        source = container.get("ModelDataSource", {}).get("S3DataSource")
        if source is not None:
            found += self._data(source["S3Uri"], prefix=source["S3DataType"] == "S3Prefix")
        return found

    def _data(self, text: str, *, prefix: bool) -> list[str]:
        try:
            uri = S3Uri.parse(text)
        except ValidationError as error:
            return [f"Invalid model data location: {'; '.join(error.problems)}."]
        if prefix:
            there = next(iter(self._objects.list(uri.bucket, uri.key)), None) is not None
        else:
            there = self._objects.head(uri.bucket, uri.key) is not None
        return [] if there else [f"Could not find model data at {text}."]
