"""Endpoint configs: Create, Describe, List and Delete EndpointConfig."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from sagespark.aws.handle import Handle


@dataclass(frozen=True)
class EndpointConfig(Handle):
    """Name one endpoint config of an account and region; see `Handle` for the verbs."""

    kind: ClassVar[str] = "EndpointConfig"

    def model_names(self) -> tuple[str, ...]:
        """Return the models of its production and shadow variants. Calls DescribeEndpointConfig."""
        description = self.describe()
        variants = [*description.get("ProductionVariants", ()), *description.get("ShadowProductionVariants", ())]
        return tuple(v["ModelName"] for v in variants if "ModelName" in v)
