"""Tuning jobs: Create, Describe, List, Stop and Delete HyperParameterTuningJob, and their training jobs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

from sagespark.aws import logs
from sagespark.aws.errors import call
from sagespark.aws.job import Job
from sagespark.aws.waiter import TUNING_JOB, WaitSpec
from sagespark.core.errors import SageSparkError

FAILURES = 5
"""Failed training jobs that a failure shows."""


@dataclass(frozen=True)
class TuningJob(Job):
    """Name one tuning job of an account and region; see `Job` and `Handle` for the verbs."""

    kind: ClassVar[str] = "HyperParameterTuningJob"
    spec: ClassVar[WaitSpec] = TUNING_JOB
    log_group: ClassVar[str] = logs.TRAINING_GROUP
    attach_with: ClassVar[str] = "HyperparameterTuner.attach({name!r})"

    def trials(self, **filters: Any) -> Iterator[dict[str, Any]]:
        """Yield the summaries of its training jobs, page by page. Calls ListTrainingJobsForHyperParameterTuningJob.

        Parameters
        ----------
        **filters
            The operation's members: ``StatusEquals``, ``SortBy``, ``SortOrder``.
        """
        client = self.session.client("sagemaker")
        while True:
            page = call(
                client, "ListTrainingJobsForHyperParameterTuningJob", **{"MaxResults": 100, **self._key, **filters}
            )
            yield from page["TrainingJobSummaries"]
            if not page.get("NextToken"):
                return
            filters = {**filters, "NextToken": page["NextToken"]}

    def _evidence(self) -> str:
        try:
            failed = list(self.trials(StatusEquals="Failed", SortBy="CreationTime", SortOrder="Descending"))
        except SageSparkError as error:
            return f"Its training jobs could not be listed: {error.message}"
        if not failed:
            return "None of its training jobs failed."
        rows = [f"  {t['TrainingJobName']}: {t.get('FailureReason', '')}" for t in failed[:FAILURES]]
        return "\n".join([f"{len(failed)} of its training jobs failed; the last ones:", *rows])

    def _has_result(self, description: dict[str, Any]) -> bool:
        # A tuning job that was stopped has its best training job so far.
        return "BestTrainingJob" in description


def objective(summary: dict[str, Any]) -> float | None:
    """Return the final value of the objective of a training job's summary, None where it has none."""
    final = summary.get("FinalHyperParameterTuningJobObjectiveMetric")
    return None if final is None else float(final["Value"])
