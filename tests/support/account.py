"""An account with resources, as far as finding and removing them goes."""

from __future__ import annotations

import threading
from typing import Any

from sagespark.aws import tags
from support.scripted import Script, Sent, error

LISTS = {
    "HyperParameterTuningJob": "HyperParameterTuningJobSummaries",
    "TrainingJob": "TrainingJobSummaries",
    "Endpoint": "Endpoints",
    "EndpointConfig": "EndpointConfigs",
    "Model": "Models",
}
OURS = tags.as_dict(tags.of_run({}, "run-1"))


class Account:
    """An account's resources as the operations of cleanup see them; an endpoint needs two looks to be gone."""

    def __init__(self, script: Script) -> None:
        self.rows: dict[tuple[str, str], dict[str, Any]] = {}
        self.lock = threading.Lock()
        for kind in LISTS:
            script.always[f"List{kind}s"] = lambda sent, kind=kind: self.list(kind, sent)
            script.always[f"Describe{kind}"] = lambda sent, kind=kind: self.describe(kind, sent)
            script.always[f"Delete{kind}"] = lambda sent, kind=kind: self.delete(kind, sent)
        for kind in ("TrainingJob", "HyperParameterTuningJob"):
            script.always[f"Stop{kind}"] = lambda sent, kind=kind: self.stop(kind, sent)
        script.always["ListTags"] = lambda sent: self.tags_of(sent)

    def add(self, kind: str, name: str, created: float = 0.0, own: dict[str, str] = OURS, **more: Any) -> None:
        self.rows[kind, name] = {
            f"{kind}Name": name,
            f"{kind}Arn": f"arn:aws:sagemaker:us-east-1:123456789012:{kind.lower()}/{name}",
            "CreationTime": created,
            "tags": own,
            **more,
        }

    def list(self, kind: str, sent: Sent) -> dict[str, Any]:
        before = sent.json.get("CreationTimeBefore")
        status = sent.json.get("StatusEquals")
        found = [
            row
            for (k, _), row in self.rows.items()
            if k == kind
            and (before is None or row["CreationTime"] < before)
            and (status is None or row[f"{kind}Status"] == status)
        ]
        return {LISTS[kind]: found}

    def describe(self, kind: str, sent: Sent) -> Any:
        with self.lock:
            name = sent.json[f"{kind}Name"]
            row = self.rows.get((kind, name))
            if row is not None and row.get("EndpointStatus") == "Deleting":
                del self.rows[kind, name]
            return row or error("ValidationException", f'Could not find {kind} "{name}".')

    def delete(self, kind: str, sent: Sent) -> Any:
        row = self.rows[kind, sent.json[f"{kind}Name"]]
        if "refuse" in row:
            return error("AccessDeniedException", row["refuse"], 403)
        if kind == "Endpoint":
            row["EndpointStatus"] = "Deleting"
        else:
            del self.rows[kind, row[f"{kind}Name"]]
        return {}

    def stop(self, kind: str, sent: Sent) -> Any:
        self.rows[kind, sent.json[f"{kind}Name"]][f"{kind}Status"] = "Stopping"
        return {}

    def tags_of(self, sent: Sent) -> dict[str, Any]:
        row = next(r for (k, _), r in self.rows.items() if r[f"{k}Arn"] == sent.json["ResourceArn"])
        return {"Tags": [{"Key": k, "Value": v} for k, v in row["tags"].items()]}

    def hosting(self, name: str, own: dict[str, str] = OURS, created: float = 0.0) -> None:
        self.add("Model", name, created, own)
        self.add("EndpointConfig", name, created, own, ProductionVariants=[{"ModelName": name}])
        self.add("Endpoint", name, created, own, EndpointStatus="InService", EndpointConfigName=name)

    @property
    def left(self) -> set[str]:
        return {f"{kind} {name}" for kind, name in self.rows}
