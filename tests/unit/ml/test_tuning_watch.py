"""What listeners hear of the trials of a tuning job."""

from __future__ import annotations

from typing import Any

import pytest

from sagespark.aws.session import SageMakerSession
from sagespark.aws.tuning_job import TuningJob
from sagespark.ml.clustering import KMeans
from sagespark.ml.listeners import Listener
from sagespark.ml.tuning_plan import Candidate, Objective
from sagespark.ml.tuning_service import TuningWatch
from sagespark.ml.tuning_trials import Trial
from support.scripted import Script, error


class Heard(Listener):
    def __init__(self) -> None:
        self.trials: list[Trial] = []

    def onTrial(self, trial: Trial) -> None:
        self.trials.append(trial)


class OneJob:
    """A tuning job with one training job, as far as the service tells."""

    def __init__(self, script: Script) -> None:
        self.lines: list[str] = []
        self.status = "InProgress"
        self.name = "tune-001-aaaa"
        script.always = {
            "ListTrainingJobsForHyperParameterTuningJob": lambda _: {"TrainingJobSummaries": [self._row()]},
            "DescribeTrainingJob": lambda _: self._described(),
            "DescribeLogStreams": lambda _: {"logStreams": [{"logStreamName": f"{self.name}/algo-1-1"}]},
            "GetLogEvents": self._events,
        }

    def _row(self) -> dict[str, Any]:
        facts = {"TrainingJobName": self.name, "TrainingJobArn": "arn", "TrainingJobStatus": self.status}
        return facts | {"CreationTime": 1.0, "TunedHyperParameters": {}}

    def _described(self) -> dict[str, Any]:
        algorithm = {"MetricDefinitions": [{"Name": "loss", "Regex": r"loss=(\S+)"}]}
        final = [{"MetricName": "loss", "Value": float(self.lines[-1][5:])}] if self.lines else []
        return self._row() | {"AlgorithmSpecification": algorithm, "FinalMetricDataList": final}

    def _events(self, sent: Any) -> dict[str, Any]:
        start = int(sent.json.get("nextToken", "0"))
        events = [{"timestamp": i, "message": line} for i, line in enumerate(self.lines)][start:]
        return {"events": events, "nextForwardToken": str(len(self.lines))}


def watch(session: SageMakerSession, heard: Listener) -> TuningWatch:
    candidate = Candidate("", KMeans(), (), Objective("loss", "Minimize"))
    return TuningWatch(TuningJob(session, "tune"), [heard], session.clock, candidates=[candidate])


DESCRIPTION: dict[str, Any] = {"HyperParameterTuningJobConfig": {"ResourceLimits": {}}}


def test_a_trial_comes_with_every_value_of_its_log(session: SageMakerSession, script: Script) -> None:
    heard, job = Heard(), OneJob(script)
    seen = watch(session, heard)
    seen.update(DESCRIPTION)
    for new in (["loss=3"], [], ["loss=2", "loss=2", "loss=1"]):
        job.lines += new
        seen.update(DESCRIPTION)
    job.status = "Completed"
    seen.update(DESCRIPTION)
    values = [[p.value for p in trial.history.get("loss", ())] for trial in heard.trials]
    assert values == [[], [3.0], [3.0, 2.0, 2.0, 1.0], [3.0, 2.0, 2.0, 1.0]]
    # The log is read where a metric is new, or the end.
    assert sum(sent.operation == "DescribeLogStreams" for sent in script.sent) == 3


def test_without_its_log_a_trial_is_heard_of_with_a_warning(session: SageMakerSession, script: Script) -> None:
    heard, job = Heard(), OneJob(script)
    job.lines, job.status = ["loss=3"], "Completed"
    script.always["DescribeLogStreams"] = error("AccessDeniedException", "no", 403)
    with pytest.warns(RuntimeWarning, match="last values only"):
        watch(session, heard).update(DESCRIPTION)
    assert [(t.metrics, t.history) for t in heard.trials] == [({"loss": 3.0}, {})]
