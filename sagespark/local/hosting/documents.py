"""What the Store keeps of an endpoint.

Kind ``Endpoint`` is DescribeEndpoint's answer. Kind ``EndpointFleet`` says which fleet answers (``live``) and which one
is being made (``next``), each with all that starting it takes: it is there again after ``kill -9`` even where its model
or endpoint config was deleted meanwhile.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sagespark.core.clock import token
from sagespark.local.hosting.fleet import VariantPlan
from sagespark.local.store import Document

KIND = "Endpoint"
"""Kind of the documents that DescribeEndpoint answers."""
FLEET_KIND = "EndpointFleet"
"""Kind of the documents that say what runs."""


def part(plans: Sequence[VariantPlan], config: str) -> Document:
    """Return a fleet's part of an ``EndpointFleet`` document: its id, the config's name and the variants."""
    return {"id": token(16), "config": config, "plans": [plan.to_json() for plan in plans]}


def pending(fleet: Document, now: datetime) -> Document:
    """Return ``PendingDeploymentSummary`` of a fleet that is being made."""
    status = [{"Status": "Creating", "StartTime": now}]
    rows = [
        _image(plan, now, None)
        | {"VariantName": plan["name"], "DesiredWeight": float(plan["weight"])}
        | {"CurrentInstanceCount": 0, "DesiredInstanceCount": plan["instances"], "VariantStatus": status}
        for plan in fleet["plans"]
    ]
    return {"EndpointConfigName": fleet["config"], "ProductionVariants": rows, "StartTime": now}


def in_service(document: Document, fleet: Document, now: datetime) -> None:
    """Make an ``Endpoint`` document say that a fleet answers."""
    former = {variant["VariantName"]: variant for variant in document.get("ProductionVariants", [])}
    document["ProductionVariants"] = [_variant(plan, now, former.get(plan["name"])) for plan in fleet["plans"]]
    document["EndpointConfigName"] = fleet["config"]
    at_rest(document, now, EndpointStatus="InService")


def at_rest(document: Document, now: datetime, **members: Any) -> None:
    """Make an ``Endpoint`` document say that nothing is under way; ``members`` give the status, and why it failed."""
    for name in ("PendingDeploymentSummary", "FailureReason"):
        document.pop(name, None)
    document.update(members, LastModifiedTime=now)


def _variant(plan: Mapping[str, Any], now: datetime, former: Document | None) -> Document:
    return _image(plan, now, former) | {
        "VariantName": plan["name"],
        "CurrentWeight": float(plan["weight"]),
        "DesiredWeight": float(plan["weight"]),
        "CurrentInstanceCount": plan["instances"],
        "DesiredInstanceCount": plan["instances"],
    }


def _image(plan: Mapping[str, Any], now: datetime, former: Document | None) -> Document:
    """Return ``DeployedImages``; an image that was there before keeps its time of resolution."""
    image = {"SpecifiedImage": plan["image"], "ResolvedImage": plan["image"], "ResolutionTime": now}
    if former is not None and former["DeployedImages"][0]["SpecifiedImage"] == plan["image"]:
        image = former["DeployedImages"][0]
    return {"DeployedImages": [image]}
