"""Trials of the driver that are training jobs, against a scripted AWS."""

from __future__ import annotations

from typing import Any

import pytest

from sagespark.aws.session import SageMakerSession
from sagespark.ml import tuning_runs
from sagespark.ml.clustering import KMeans
from sagespark.ml.tuning_plan import Candidate, Objective
from sagespark.ml.tuning_trainers import JobTrainer
from support.scripted import Script, Sent, error

JOB = "km-1"


class Hosted:
    """Models, endpoint configs and endpoints, by name, as the service keeps them."""

    def __init__(self, script: Script) -> None:
        self.there: set[tuple[str, str]] = set()
        for kind in ("Model", "EndpointConfig", "Endpoint"):
            script.always |= {f"Create{kind}": self._made(kind), f"Delete{kind}": self._gone(kind)}
        script.always["DescribeEndpoint"] = self._described
        algorithm = {"TrainingImage": "382416733822.dkr.ecr.us-east-1.amazonaws.com/kmeans:1"}
        script.always["DescribeTrainingJob"] = {
            "TrainingJobName": JOB,
            "TrainingJobArn": "arn",
            "TrainingJobStatus": "Completed",
            "AlgorithmSpecification": algorithm,
            "ModelArtifacts": {"S3ModelArtifacts": "s3://bucket/model.tar.gz"},
        }

    def _made(self, kind: str) -> Any:
        def answer(sent: Sent) -> Any:
            found = (kind, sent.json[f"{kind}Name"])
            assert found not in self.there, f"{found} exists"
            self.there.add(found)
            return {f"{kind}Arn": "arn"}

        return answer

    def _gone(self, kind: str) -> Any:
        def answer(sent: Sent) -> Any:
            found = (kind, sent.json[f"{kind}Name"])
            if found not in self.there:
                return error("ValidationException", "Could not find it")
            self.there.discard(found)
            return {}

        return answer

    def _described(self, sent: Sent) -> Any:
        if ("Endpoint", sent.json["EndpointName"]) not in self.there:
            return error("ValidationException", "Could not find it")
        return {"EndpointName": sent.json["EndpointName"], "EndpointStatus": "InService"}


class Rows:
    schema = None


class Evaluator:
    """Scores everything alike, and notes what is there meanwhile."""

    def __init__(self, hosted: Hosted) -> None:
        self._hosted = hosted
        self.seen: list[set[tuple[str, str]]] = []

    def evaluate(self, frame: Any) -> float:
        self.seen.append(set(self._hosted.there))
        return 1.0


class Whole:
    def transform(self, frame: Any) -> Any:
        return frame


@pytest.fixture
def prepared(monkeypatch: pytest.MonkeyPatch) -> tuning_runs.Prepared:
    monkeypatch.setattr(tuning_runs, "assemble", lambda *given: Whole())
    km = KMeans(instanceType="ml.m5.large")
    rows: Any = Rows()
    candidate = Candidate("", km, (), Objective("", "Minimize"))
    stages = tuning_runs.Stages((), km, (), True, False)
    return tuning_runs.Prepared(candidate, stages, [], tuning_runs.Frames(rows, rows))


def test_an_endpoint_that_a_killed_driver_scored_on_is_deleted_by_the_next_one(
    session: SageMakerSession, script: Script, prepared: tuning_runs.Prepared, monkeypatch: pytest.MonkeyPatch
) -> None:
    hosted = Hosted(script)
    evaluator = Evaluator(hosted)
    names = {(kind, JOB) for kind in ("Model", "EndpointConfig", "Endpoint")}
    # A killed process deletes nothing.
    with monkeypatch.context() as dead:
        dead.setattr("sagespark.ml.made.HANDLES", ())
        JobTrainer(session, prepared, evaluator, False).run({}, JOB, None)
    assert hosted.there == names
    outcome = JobTrainer(session, prepared, evaluator, False).run({}, JOB, None)
    assert (outcome.status, outcome.value) == ("Completed", 1.0)
    assert evaluator.seen == [names, names]
    assert hosted.there == set()


def test_a_job_that_was_stopped_without_a_model_is_not_scored(
    session: SageMakerSession, script: Script, prepared: tuning_runs.Prepared
) -> None:
    hosted = Hosted(script)
    evaluator = Evaluator(hosted)
    stopped = {"TrainingJobName": JOB, "TrainingJobArn": "arn", "TrainingJobStatus": "Stopped"}
    script.always["DescribeTrainingJob"] = stopped
    outcome = JobTrainer(session, prepared, evaluator, False).run({}, JOB, None)
    assert (outcome.status, outcome.value, evaluator.seen) == ("Stopped", None, [])
