"""CloudWatch's metrics of training jobs, as SageMaker publishes them: read again from the jobs' log lines when asked.

Facts: "SageMaker AI metrics in CloudWatch" of the developer guide (namespace ``/aws/sagemaker/TrainingJobs``, dimension
``TrainingJobName``); the API references of ``GetMetricStatistics``, ``GetMetricData`` and ``ListMetrics``. The reader
that most users have is the SageMaker SDK's ``TrainingJobAnalytics``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sagespark.local.lifecycle import status
from sagespark.local.lifecycle.metrics import MetricReader, definitions
from sagespark.local.logs import TRAINING_JOBS, LogStore
from sagespark.local.services import paging
from sagespark.local.store import Document, Store
from sagespark.local.wire.context import AwsError, Context

DIMENSION = "TrainingJobName"
_PAGE = 500
_MOST_POINTS = 1440
_MOST_VALUES = 1_000_000
"""Most values of one metric that are read; a job of that many lines is longer than any limit of CloudWatch's."""


@dataclass(frozen=True)
class Bin:
    """The values of one period."""

    start: int
    """Seconds since the epoch."""
    values: list[float]

    @property
    def time(self) -> datetime:
        """The period's begin."""
        return datetime.fromtimestamp(self.start, UTC)


_STATISTICS: dict[str, Callable[[list[float]], float]] = {
    "SampleCount": lambda values: float(len(values)),
    "Average": lambda values: sum(values) / len(values),
    "Sum": sum,
    "Minimum": min,
    "Maximum": max,
}


class Metrics:
    """GetMetricStatistics, GetMetricData and ListMetrics over the metrics of training jobs.

    Parameters
    ----------
    store : Store
        Keeps the jobs, with their metric definitions.
    logs : LogStore
        Keeps their lines.
    """

    service = "cloudwatch"

    def __init__(self, store: Store, logs: LogStore) -> None:
        self._store = store
        self._logs = logs

    def GetMetricStatistics(self, ctx: Context, request: dict[str, Any]) -> dict[str, Any]:
        """Return statistics of one metric by period; a metric that nobody published has none."""
        wanted = request.get("Statistics", [])
        if not wanted:
            raise AwsError(
                "InvalidParameterCombination",
                "The parameter Statistics must be specified: the embedded service computes no percentiles.",
            )
        bins = self._bins(ctx, request, request["Period"], request)
        if len(bins) > _MOST_POINTS:
            raise AwsError(
                "InvalidParameterCombination",
                f"You have requested up to {len(bins)} datapoints, which exceeds the limit of {_MOST_POINTS}. "
                "You may reduce the datapoints requested by increasing Period, or decreasing the time range.",
            )
        points = [
            {"Timestamp": b.time, "Unit": "None"} | {name: _STATISTICS[name](b.values) for name in wanted} for b in bins
        ]
        return {"Label": request["MetricName"], "Datapoints": points}

    def GetMetricData(self, ctx: Context, request: dict[str, Any]) -> dict[str, Any]:
        """Return one statistic of several metrics by period, newest first by default."""
        newest = request.get("ScanBy", "TimestampDescending") == "TimestampDescending"
        results = []
        for query in request["MetricDataQueries"]:
            stat = query.get("MetricStat")
            if stat is None or stat["Stat"] not in _STATISTICS:
                raise AwsError(
                    "ValidationError",
                    f"The query {query['Id']!r} must have a MetricStat with a Stat of {', '.join(_STATISTICS)}: "
                    "the embedded service computes no expressions and no percentiles.",
                )
            if not query.get("ReturnData", True):
                continue
            bins = self._bins(ctx, stat["Metric"], stat["Period"], request, stat.get("Unit"))
            bins = bins[::-1] if newest else bins
            results.append(
                {
                    "Id": query["Id"],
                    "Label": query.get("Label", stat["Metric"].get("MetricName")),
                    "Timestamps": [b.time for b in bins],
                    "Values": [_STATISTICS[stat["Stat"]](b.values) for b in bins],
                    "StatusCode": "Complete",
                }
            )
        return {"MetricDataResults": results, "Messages": []}

    def ListMetrics(self, ctx: Context, request: dict[str, Any]) -> dict[str, Any]:
        """List the metrics of jobs that have published at least one value."""
        dimensions = {d["Name"]: d.get("Value") for d in request.get("Dimensions", [])}
        jobs = self._store.list(status.KIND, ctx.region) if dimensions.keys() <= {DIMENSION} else []
        rows = [
            (document["TrainingJobName"], metric["MetricName"])
            for document in jobs
            if request.get("Namespace", TRAINING_JOBS) == TRAINING_JOBS
            and dimensions.get(DIMENSION) in (None, document["TrainingJobName"])
            for metric in document.get("FinalMetricDataList", [])
            if request.get("MetricName", metric["MetricName"]) == metric["MetricName"]
        ]
        taken, token = paging.cut(rows, lambda row: row, request, default=_PAGE)
        metrics = [
            {"Namespace": TRAINING_JOBS, "MetricName": metric, "Dimensions": [{"Name": DIMENSION, "Value": job}]}
            for job, metric in taken
        ]
        return {"Metrics": metrics, "NextToken": token}

    def _bins(
        self, ctx: Context, metric: dict[str, Any], period: int, window: dict[str, Any], unit: str | None = None
    ) -> list[Bin]:
        """Return the values of a metric by period, oldest first.

        Raises
        ------
        AwsError
            ``InvalidParameterValue`` for a period or a window that cannot be.
        """
        begin, end = window["StartTime"].timestamp(), window["EndTime"].timestamp()
        if begin >= end:
            raise _invalid("The parameter StartTime must be less than the parameter EndTime.")
        if period not in (1, 5, 10, 20, 30) and (period < 60 or period % 60):
            raise _invalid("The parameter Period must be 1, 5, 10, 20, 30, or a multiple of 60.")
        dimensions = {d["Name"]: d["Value"] for d in metric.get("Dimensions", [])}
        if metric.get("Namespace") != TRAINING_JOBS or dimensions.keys() != {DIMENSION}:
            return []
        if metric.get("Unit", unit) not in (None, "None"):
            return []
        document = self._store.get(status.KIND, ctx.region, dimensions[DIMENSION])
        if document is None:
            return []
        # CloudWatch drops the seconds of the begin.
        values = self._values(ctx.region, document, metric["MetricName"], int(begin // 60) * 60_000, int(end * 1000))
        bins: dict[int, Bin] = {}
        for time, value in values:
            start = time // 1000 // period * period
            bins.setdefault(start, Bin(start, [])).values.append(value)
        return sorted(bins.values(), key=lambda b: b.start)

    def _values(
        self, region: str, document: Document, metric: str, start: int, end: int
    ) -> Iterable[tuple[int, float]]:
        """Yield (milliseconds since the epoch, value) of one metric of a job, in order of time."""
        reader = MetricReader(d for d in definitions(document["AlgorithmSpecification"]) if d[0] == metric)
        prefix = f"{document['TrainingJobName']}/"
        streams = [stream.name for stream in self._logs.streams(region, TRAINING_JOBS, prefix)]
        events = self._logs.events(
            region,
            TRAINING_JOBS,
            streams,
            start=start,
            end=end,
            limit=_MOST_VALUES,
            keep=lambda message: any(True for _ in reader.values(message)),
        )
        for event in events:
            for _, value in reader.values(event.message):
                yield event.time, value


def _invalid(message: str) -> AwsError:
    return AwsError("InvalidParameterValue", message)
