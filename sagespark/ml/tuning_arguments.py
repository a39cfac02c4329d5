"""The tuner's arguments: keywords that are no Params, copies and persistence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, ClassVar, Self

from pyspark.ml import Estimator
from pyspark.sql import DataFrame

from sagespark.aws.session import SageMakerSession
from sagespark.core.errors import ValidationError
from sagespark.ml.requests import Request
from sagespark.ml.stage import Stage
from sagespark.ml.stage_params import TunerParams
from sagespark.ml.tuning_model import HyperparameterTunerModel, Parts
from sagespark.ml.tuning_plan import Candidate
from sagespark.ml.tuning_ranges import Tuned, as_json, from_json, nested

MOST_PARENTS = 5


@dataclass(frozen=True)
class WarmStart:
    """Earlier tuning jobs that a new one learns from.

    Parameters
    ----------
    parents : sequence of str or HyperparameterTunerModel
        One to five tuning jobs that have ended, by name or by the model that they gave.
    type : {'IdenticalDataAndAlgorithm', 'TransferLearning'}
        Whether they had the same data and algorithm, so that their results count as own ones; or how much they tell is
        learned.

    Raises
    ------
    ValidationError
        If there are no parents, more than five, or the type is another.
    """

    parents: Sequence[Any]
    type: str = "IdenticalDataAndAlgorithm"

    # Pickles name the class by the path that users import.
    __module__ = "sagespark.ml.tuning"

    def __post_init__(self) -> None:
        given = (self.parents,) if isinstance(self.parents, str | HyperparameterTunerModel) else tuple(self.parents)
        names = tuple(p.tuningJobName if isinstance(p, HyperparameterTunerModel) else p for p in given)
        problems = []
        if not 1 <= len(names) <= MOST_PARENTS or not all(isinstance(n, str) and n for n in names):
            problems.append(f"parents must be 1 to {MOST_PARENTS} names of tuning jobs, but got {self.parents!r}")
        if self.type not in ("IdenticalDataAndAlgorithm", "TransferLearning"):
            problems.append(f"type must be 'IdenticalDataAndAlgorithm' or 'TransferLearning', but got {self.type!r}")
        if problems:
            raise ValidationError(problems, "WarmStart")
        object.__setattr__(self, "parents", names)

    @property
    def request(self) -> Request:
        """``WarmStartConfig``."""
        parents = [{"HyperParameterTuningJobName": name} for name in self.parents]
        return {"ParentHyperParameterTuningJobs": parents, "WarmStartType": self.type}


class TunerArguments(TunerParams, Parts):
    """What a tuner is given; see `HyperparameterTuner`."""

    _keywords: ClassVar[tuple[str, ...]] = (
        *Stage._keywords, "estimator", "ranges", "evaluator", "validationDataset", "warmStart", "configs",
    )  # fmt: skip
    _unread: Mapping[str, Any] = MappingProxyType({})
    _folders: tuple[str, ...] = ()
    """Folders of a saved tuner that are still to be read."""

    # -- keywords that are no Params ----------------------------------------------------------------------------------

    def setEstimator(self, value: Any) -> Self:
        """Set what is tuned."""
        for each in value.values() if isinstance(value, Mapping) else [] if value is None else [value]:
            if not isinstance(each, Estimator):
                raise TypeError(f"estimator must be an Estimator, or a dict of names to Estimators, but got {value!r}")
        self._kept["estimator"] = value
        return self

    def getEstimator(self) -> Any:
        """Return what is tuned."""
        return self._kept.get("estimator")

    def setRanges(self, value: Mapping[Any, Any] | None) -> Self:
        """Set the ranges."""
        if value is not None and not isinstance(value, Mapping):
            raise TypeError(f"ranges must be a dict of Params or names to ranges, but got {value!r}")
        self._kept["ranges"] = dict(value or {})
        return self

    def getRanges(self) -> dict[Any, Any]:
        """Return the ranges."""
        return dict(self._kept.get("ranges", {}))

    def setEvaluator(self, value: Any) -> Self:
        """Set MLlib's Evaluator that scores the transformed validation rows; None: the objective metric."""
        if value is not None and not (hasattr(value, "evaluate") and hasattr(value, "isLargerBetter")):
            raise TypeError(f"evaluator must be an Evaluator of pyspark.ml, but got {value!r}")
        self._kept["evaluator"] = value
        return self

    def getEvaluator(self) -> Any:
        """Return the evaluator, None where the objective is a metric."""
        return self._kept.get("evaluator")

    def setValidationDataset(self, value: DataFrame | None) -> Self:
        """Set the held-out rows. Kept by ``copy``, not saved."""
        self._kept["validationDataset"] = value
        return self

    def getValidationDataset(self) -> DataFrame | None:
        """Return the held-out rows, None where they are split off."""
        return self._kept.get("validationDataset")

    def setWarmStart(self, value: WarmStart | None) -> Self:
        """Set the earlier tuning jobs to learn from."""
        if value is not None and not isinstance(value, WarmStart):
            raise TypeError(f"warmStart must be a WarmStart, but got {value!r}")
        self._kept["warmStart"] = value
        return self

    def getWarmStart(self) -> WarmStart | None:
        """Return the earlier tuning jobs to learn from."""
        return self._kept.get("warmStart")

    def setConfigs(self, value: Sequence[Mapping[str, Any]] | None) -> Self:
        """Set the configurations of strategy Manual."""
        self._kept["configs"] = [dict(config) for config in value or ()]
        return self

    def getConfigs(self) -> list[dict[str, Any]]:
        """Return the configurations of strategy Manual."""
        return list(self._kept.get("configs", ()))

    def _candidates(self) -> tuple[list[Candidate], list[str]]:
        """Return the estimators with their ranges and objectives, and every problem in words."""
        raise NotImplementedError

    # -- copies and persistence ---------------------------------------------------------------------------------------

    def copy(self, extra: Any = None) -> Self:
        """Return a copy with a copy of the estimator, which ``extra`` may set Params of, as CrossValidator's."""
        that = super().copy(extra)
        estimator, evaluator = self.getEstimator(), self.getEvaluator()
        if isinstance(estimator, Mapping):
            that._kept["estimator"] = {name: one.copy(extra) for name, one in estimator.items()}
        elif estimator is not None:
            that._kept["estimator"] = estimator.copy(extra)
        if evaluator is not None:
            that._kept["evaluator"] = evaluator.copy(extra)
        return that

    @property
    def _saved_parts(self) -> tuple[str, ...]:
        return self._folders

    def _parts(self) -> dict[str, Any]:
        estimator, evaluator = self.getEstimator(), self.getEvaluator()
        each = estimator if isinstance(estimator, Mapping) else {"": estimator} if estimator is not None else {}
        found = {f"estimator{'-' if name else ''}{name}": one for name, one in each.items()}
        return found if evaluator is None else {**found, "evaluator": evaluator}

    def _saved(self) -> dict[str, Any]:
        candidates, problems = self._candidates()
        self._refuse(problems, "save")
        warm = self.getWarmStart()
        return {
            "tuner": {
                "parts": list(self._parts()),
                "ranges": {
                    c.name: [{**row, "owner": _owner(t)} for row, t in zip(as_json(c.tuned), c.tuned, strict=True)]
                    for c in candidates
                },
                "warmStart": None if warm is None else {"parents": list(warm.parents), "type": warm.type},
                "configs": self.getConfigs(),
            }
        }

    def _restore(self, saved: dict[str, Any], session: SageMakerSession | None) -> None:
        super()._restore(saved, session)
        kept = saved["tuner"]
        self._folders, self._unread = tuple(kept["parts"]), kept["ranges"]
        self.setConfigs(kept["configs"])
        if kept["warmStart"] is not None:
            self.setWarmStart(WarmStart(**kept["warmStart"]))

    def _take_part(self, name: str, part: Any) -> None:
        if name == "evaluator":
            self.setEvaluator(part)
            return
        definition = name.removeprefix("estimator").removeprefix("-")
        rows = self._unread[definition]
        plain = from_json([{k: v for k, v in row.items() if k != "owner"} for row in rows])
        ranges = {_key(row["owner"], part): plain[row["name"]] for row in rows}
        if definition:
            self.setEstimator({**(self.getEstimator() or {}), definition: part})
            self.setRanges({**self.getRanges(), definition: ranges})
        else:
            self.setEstimator(part).setRanges(ranges)


def _owner(tuned: Tuned) -> dict[str, Any]:
    """Return which stage's Param a range is for; stages keep their uids when they are saved."""
    return {"uid": tuned.stage.uid, "param": None if tuned.param is None else tuned.param.name, "wire": tuned.wire}


def _key(owner: Mapping[str, Any], estimator: Any) -> Any:
    """Return the key in ``ranges`` that `_owner` described."""
    if owner["param"] is None:
        return owner["wire"]
    stage = next(s for s in nested(estimator) if s.uid == owner["uid"])
    return stage.getParam(owner["param"])
