"""What a driver's run knows, and keeps in its journal: the strategy, its trials, what was staged."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

from sagespark.aws.session import SageMakerSession
from sagespark.bayesopt import Bayesian, Grid, Manual, Random, Sobol, Strategy
from sagespark.core.clock import Clock, SystemClock
from sagespark.core.errors import ValidationError
from sagespark.core.names import MAX_TUNING_JOB_NAME, Names
from sagespark.ml import tuning_attach, tuning_ranges
from sagespark.ml.tuning_journal import Journal, journal
from sagespark.ml.tuning_plan import Candidate, validation
from sagespark.ml.tuning_trials import Trial

if TYPE_CHECKING:
    from sagespark.ml.tuning import HyperparameterTuner

FORMAT = 1
_STRATEGIES: dict[str, Any] = {"Bayesian": Bayesian, "Random": Random, "Grid": Grid, "Sobol": Sobol, "Manual": Manual}


class RunState:
    """The state of one run, in memory and in its journal.

    Parameters
    ----------
    tuner : HyperparameterTuner
    candidate : Candidate
        What is tuned.
    session : SageMakerSession or None
        None: nothing of the service is needed.
    """

    def __init__(self, tuner: HyperparameterTuner, candidate: Candidate, session: SageMakerSession | None) -> None:
        self._tuner = tuner
        self._candidate = candidate
        self._session = session
        self._clock: Clock = session.clock if session is not None else SystemClock()
        names = session.names if session is not None else Names(self._clock)
        resume = tuner._resume
        self.name = (
            resume.name
            if resume is not None
            else tuner._value("tuningJobName")
            or names.make(session.prefix if session is not None else "tuning", limit=MAX_TUNING_JOB_NAME)
        )
        self.seed = int(tuner._value("seed") or 0)
        self.started = self._clock.now()
        """When the run began, whichever driver began it."""
        self._journal: Journal = journal(tuner._value("checkpointDir"), session, self.name)
        self._strategy: Strategy
        self._saved = 0
        self._trials: dict[int, Trial] = {}
        self._staged: list[str] = []
        # Held over the strategy, the trials and the journal together.
        self._lock = threading.Lock()

    def open(self) -> None:
        """Read the journal, or begin it.

        Raises
        ------
        ValidationError
            If there is another run's, or none where one is to be gone on with.
        """
        rows = self._journal.read()
        head = self._head()
        resumes = self._tuner._resume is not None or self._tuner._value("checkpointDir") is not None
        if rows and not resumes:
            raise ValidationError(
                f"a run named {self.name!r} exists; go on with it by {self.command}, or take another tuningJobName",
                self._tuner.uid,
            )
        if not rows:
            self._journal.append({**head, "name": self.name, "time": self.started.isoformat()})
        else:
            self._check(rows[0], head)
            self.name = rows[0]["name"]
            self.started = datetime.fromisoformat(rows[0]["time"])
        history = [event for row in rows for event in row.get("events", ())]
        for row in rows:
            self._staged += row.get("staged", ())
            if "trial" in row:
                self._trials[row["trial"]] = Trial(
                    row["trial"], row["config"], name=row["job"], startTime=datetime.fromisoformat(row["time"]),
                    tuner=self.name, stage=self._tuner.uid,
                )  # fmt: skip
            if "outcome" in row:
                saved = Trial.from_json(row["outcome"])
                self._trials[saved.id] = replace(saved, tuner=self.name, stage=self._tuner.uid)
        self._strategy = self._make(history)
        self._saved = len(self._strategy.history)

    @property
    def command(self) -> str:
        """The call that goes on with this run, with all that it cannot keep."""
        tuner = self._tuner
        evaluator = tuner.getEvaluator()
        kind = None if evaluator is None else type(evaluator).__name__
        made = tuning_attach.made(kind, self._candidate.objective.metric)
        dataset = tuner.getValidationDataset() is not None
        return tuning_attach.command(tuner._value("checkpointDir") or self.name, made, dataset)

    def _head(self) -> dict[str, Any]:
        """Return the row that says what is searched: a run goes on only as it began."""
        tuner, objective = self._tuner, self._candidate.objective
        evaluator = tuner.getEvaluator()
        return {
            "format": FORMAT,
            "strategy": tuner._value("strategy"),
            "ranges": tuning_ranges.as_json(self._candidate.tuned),
            "metric": objective.metric,
            "direction": objective.direction,
            "evaluator": None if evaluator is None else type(evaluator).__name__,
            "validation": validation(tuner),
            "seed": self.seed,
            "configs": tuner.getConfigs(),
            "levels": tuner._value("levels"),
            "earlyStoppingType": tuner._value("earlyStoppingType"),
            "params": tuner._given(),
        }

    def _check(self, before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
        found = [
            f"{name} was {before[name]!r} and is {now[name]!r}"
            for name in now
            # Journals of earlier versions do not say how rows were held out.
            if name != "params" and name in before and before[name] != now[name]
        ]
        if found:
            found.append("a run goes on only as it began; take another checkpointDir or name for a new one")
            raise ValidationError(found, f"{self._tuner.uid}, run {before.get('name')!r}")

    def _options(self) -> dict[str, Any]:
        """Return the strategy's arguments beside space, direction and seed."""
        v = self._tuner._values()
        more: dict[str, Any] = {"earlyStopping": "Median" if v["earlyStoppingType"] == "Auto" else "Off"}
        if v["strategy"] == "Manual":
            more["configs"] = self._tuner.getConfigs()
        elif v["strategy"] == "Grid":
            more["levels"] = v["levels"]
        return more

    def _make(self, history: list[dict[str, Any]]) -> Strategy:
        space = tuning_ranges.space(self._candidate.tuned)
        made: Strategy = _STRATEGIES[self._tuner._value("strategy")](
            space, self._candidate.objective.direction, self.seed, history=history, **self._options()
        )
        return made

    def _write(self, **members: Any) -> None:
        """Append a row with the strategy's new events."""
        events = list(self._strategy.history[self._saved :])
        self._saved += len(events)
        self._journal.append({"events": events, **members})

    def _now(self) -> datetime:
        return self._clock.now()
