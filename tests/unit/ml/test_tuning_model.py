"""What a tuner's model says of its definitions, without Spark."""

from __future__ import annotations

from sagespark.bayesopt import Continuous, Random, Space
from sagespark.ml.tuning import HyperparameterTunerModel, Trial
from sagespark.ml.tuning_plan import Objective


def test_definitions_with_ranges_of_the_same_names_have_axes_of_their_own() -> None:
    ranges = {"a": Continuous(0.0, 1.0), "b": Continuous(0.0, 1.0)}
    rows = [{"name": name, "kind": "Continuous", "minValue": 0.0, "maxValue": 1.0} for name in ranges]
    trials: list[Trial] = []
    for definition, counts in (("first", "a"), ("second", "b")):
        search = Random(Space(ranges), seed=1)
        for _ in range(12):
            config = search.ask().config
            value = float(str(config[counts]))
            trials.append(Trial(len(trials), config, "Completed", value, f"job-{len(trials)}", definition))
    model = HyperparameterTunerModel()._fill(
        bestModel=None, trials=trials, ranges={"first": rows, "second": rows}, objective=Objective("loss", "Minimize"),
        jobName="tune", service=True, strategy="Random", seed=1,
    )  # fmt: skip
    found = {name: model.plotSurrogate(definition=name).axes[-1].get_xlabel() for name in ("first", "second")}
    assert found == {"first": "a", "second": "b"}
