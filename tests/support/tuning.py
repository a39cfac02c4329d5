"""Tuning jobs without sockets, threads and containers: a trainer whose training jobs end when the test says so."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from sagespark.local.store import Document, Store
from sagespark.local.tuning import document as documents
from sagespark.local.tuning import warm_start
from sagespark.local.tuning.coordinator import Coordinator
from sagespark.local.tuning.definitions import definitions
from sagespark.local.tuning.journal import Journal
from sagespark.local.tuning.strategies import strategies
from support.clocks import FakeClock

REGION = "eu-west-1"
ROLE = "arn:aws:iam::123456789012:role/test"
METRIC = "loss"


def definition(**members: Any) -> dict[str, Any]:
    """Return a training job definition of an own image."""
    return {
        "AlgorithmSpecification": {
            "TrainingImage": "own",
            "TrainingInputMode": "File",
            "MetricDefinitions": [{"Name": METRIC, "Regex": r"loss=(\S+)"}],
        },
        "RoleArn": ROLE,
        "OutputDataConfig": {"S3OutputPath": "s3://bench/out"},
        "ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 1},
        "StoppingCondition": {"MaxRuntimeInSeconds": 600},
        **members,
    }


RANGES = {
    "ContinuousParameterRanges": [{"Name": "x", "MinValue": "-2", "MaxValue": "2", "ScalingType": "Linear"}],
    "IntegerParameterRanges": [{"Name": "n", "MinValue": "1", "MaxValue": "9"}],
}


def request(name: str = "tune", strategy: str = "Random", **config: Any) -> dict[str, Any]:
    """Return a complete CreateHyperParameterTuningJob; ``config`` replaces members of its config."""
    return {
        "HyperParameterTuningJobName": name,
        "HyperParameterTuningJobConfig": {
            "Strategy": strategy,
            "HyperParameterTuningJobObjective": {"Type": "Minimize", "MetricName": METRIC},
            "ResourceLimits": {"MaxNumberOfTrainingJobs": 10, "MaxParallelTrainingJobs": 2},
            "ParameterRanges": RANGES,
            "RandomSeed": 7,
            **config,
        },
        "TrainingJobDefinition": definition(),
    }


def square(values: dict[str, str]) -> float:
    """An objective with its minimum, 0, at x = 1 and n = 3."""
    return (float(values["x"]) - 1) ** 2 + 0.1 * (int(values["n"]) - 3) ** 2


class Bench:
    """A store, a clock, and training jobs that the test ends; ``restart`` forgets all that is in memory."""

    def __init__(self, root: Path) -> None:
        self.store = Store(root / "tuning.sqlite")
        self.clock = FakeClock()
        self.jobs: dict[str, Document] = {}
        self.written: dict[str, list[float]] = {}
        self.asked_to_stop: list[str] = []
        self.coordinator: Coordinator | None = None
        self._tokens = (f"{i:08x}" for i in itertools.count())

    # -- what a tuning job asks for ---------------------------------------------------------------------------------

    def create(self, request: dict[str, Any]) -> None:
        name = request["TrainingJobName"]
        assert name not in self.jobs
        self.jobs[name] = {
            "TrainingJobName": name,
            "TrainingJobArn": f"arn:aws:sagemaker:{REGION}:123456789012:training-job/{name}",
            "TrainingJobStatus": "InProgress",
            "CreationTime": self.clock.now(),
            "HyperParameters": request["HyperParameters"],
        }

    def describe(self, name: str) -> Document | None:
        return self.jobs.get(name)

    def stop(self, name: str) -> None:
        self.asked_to_stop.append(name)
        written = self.written.get(name)
        self.end(name, written[-1] if written else None, "Stopped")

    def values(self, job: Document, metric: str) -> Sequence[float]:
        return self.written.get(job["TrainingJobName"], [])

    # -- what the test does -----------------------------------------------------------------------------------------

    def begin(self, request: dict[str, Any]) -> Coordinator:
        """Accept a request as the service does, and take no step yet."""
        name = request["HyperParameterTuningJobName"]
        document = documents.new(request, f"arn:tuning/{name}", self.clock.now())
        self.store.put(documents.KIND, REGION, name, document)
        journal = Journal(self.store, REGION, name)
        found = strategies(document, journal)
        warm_start.teach(self.store, REGION, document, definitions(document), found)
        for index, strategy in enumerate(found):
            if strategy.history:
                journal.append(index, strategy.history)
        return self.restart(name)

    def restart(self, name: str) -> Coordinator:
        """Go on from the store alone."""
        self.coordinator = Coordinator(self.store, self, self.clock, REGION, name, lambda n: next(self._tokens)[:n])
        return self.coordinator

    def end(self, name: str, value: float | None = None, status: str = "Completed", reason: str = "") -> None:
        """End a training job."""
        job = self.jobs[name] | {"TrainingJobStatus": status}
        if value is not None:
            job["FinalMetricDataList"] = [{"MetricName": METRIC, "Value": value, "Timestamp": self.clock.now()}]
        if reason:
            job["FailureReason"] = reason
        self.jobs[name] = job

    @property
    def running(self) -> list[str]:
        return [name for name, job in self.jobs.items() if job["TrainingJobStatus"] == "InProgress"]

    def tuned(self, name: str) -> dict[str, str]:
        return dict(self.jobs[name]["HyperParameters"])

    def document(self, name: str) -> Document:
        found = self.store.get(documents.KIND, REGION, name)
        assert found is not None
        return found

    def run(
        self,
        request: dict[str, Any],
        objective: Callable[[dict[str, str]], float] = square,
        *,
        restarts: bool = False,
    ) -> Document:
        """Run a tuning job to its end, its jobs ending first come first served; maybe restarted before every step."""
        name = request["HyperParameterTuningJobName"]
        coordinator = self.begin(request)
        for _ in range(500):
            if coordinator.step():
                return self.document(name)
            if self.running:
                first = self.running[0]
                self.end(first, objective(self.tuned(first)))
            if restarts:
                coordinator = self.restart(name)
        raise AssertionError(f"tuning job {name} does not end: {self.document(name)}")
