"""What CreateHyperParameterTuningJob refuses, and in which words."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from sagespark.algorithms.registry import algorithm_of
from sagespark.local.containers.images import Image, UnknownImage
from sagespark.local.services.tuning_checks import problems
from support.tuning import METRIC, definition, request

KMEANS = "382416733822.dkr.ecr.us-east-1.amazonaws.com/kmeans:1"
Request = dict[str, Any]


def resolve(image: str) -> Image:
    if image == "nowhere":
        raise UnknownImage("there is no such image")
    return Image(uri=image, train=("train",), serve=("serve",), environment={}, algorithm=algorithm_of(image))


def builtin() -> Request:
    """Return a request that tunes K-means."""
    asked = request()
    config = asked["HyperParameterTuningJobConfig"]
    config["HyperParameterTuningJobObjective"] = {"Type": "Minimize", "MetricName": "test:msd"}
    config["ParameterRanges"] = {"IntegerParameterRanges": [{"Name": "epochs", "MinValue": "1", "MaxValue": "50"}]}
    specification = {"TrainingImage": KMEANS, "TrainingInputMode": "File"}
    asked["TrainingJobDefinition"] = definition(AlgorithmSpecification=specification)
    asked["TrainingJobDefinition"]["StaticHyperParameters"] = {"k": "3", "feature_dim": "4"}
    return asked


def config(**members: Any) -> Callable[[Request], None]:
    return lambda asked: asked["HyperParameterTuningJobConfig"].update(members)


def training(**members: Any) -> Callable[[Request], None]:
    return lambda asked: asked["TrainingJobDefinition"].update(members)


def ranges(**kinds: Any) -> Callable[[Request], None]:
    return config(ParameterRanges=kinds)


def integer(name: str, low: str, high: str, **more: str) -> dict[str, str]:
    return {"Name": name, "MinValue": low, "MaxValue": high, **more}


def several(*definitions: Request) -> Callable[[Request], None]:
    def change(asked: Request) -> None:
        del asked["TrainingJobDefinition"]
        for member in ("HyperParameterTuningJobObjective", "ParameterRanges"):
            del asked["HyperParameterTuningJobConfig"][member]
        asked["TrainingJobDefinitions"] = list(definitions)

    return change


def named(name: str, kind: str = "Minimize") -> Request:
    found = {"IntegerParameterRanges": [integer("n", "1", "9")]}
    objective = {"Type": kind, "MetricName": METRIC}
    return definition(DefinitionName=name, TuningObjective=objective, HyperParameterRanges=found)


def test_what_is_right_is_accepted() -> None:
    assert problems(request(), resolve) == []
    assert problems(builtin(), resolve) == []
    asked = request()
    several(named("a"), named("b"))(asked)
    assert problems(asked, resolve) == []


@pytest.mark.parametrize(
    ("make", "change", "text"),
    [
        (request, lambda a: a.pop("TrainingJobDefinition"), "Exactly one of TrainingJobDefinition and"),
        (request, lambda a: a.update(TrainingJobDefinitions=[named("a")]), "Exactly one of TrainingJobDefinition and"),
        (
            request,
            lambda a: a["HyperParameterTuningJobConfig"].pop("HyperParameterTuningJobObjective"),
            "HyperParameterTuningJobObjective is required",
        ),
        (request, training(TuningObjective={}), "TuningObjective is for TrainingJobDefinitions"),
        (request, several(named("a"), named("a")), "DefinitionName [a] occurs twice"),
        (request, several(named("a"), named("")), "DefinitionName is required in each"),
        (request, several(named("a"), named("b", "Maximize")), "must have the same Type"),
        (
            request,
            config(HyperParameterTuningJobObjective={"Type": "Minimize", "MetricName": "rmse"}),
            "Provide a metric in the metric definitions. (The objective is [rmse], the metric definitions have: loss.)",
        ),
        (
            builtin,
            config(HyperParameterTuningJobObjective={"Type": "Maximize", "MetricName": "test:msd"}),
            "The objective metric type, [Maximize], that you specified for objective metric, [test:msd], isn't valid",
        ),
        (
            builtin,
            config(HyperParameterTuningJobObjective={"Type": "Minimize", "MetricName": "test:auc"}),
            "The objective metric, [test:auc], isn't valid for the [kmeans] algorithm. Choose one of: test:msd",
        ),
        (
            builtin,
            ranges(IntegerParameterRanges=[integer("epochs", "0", "5")]),
            "A value of hyperparameter [epochs] isn't valid for the [kmeans] algorithm: epochs must be",
        ),
        (
            builtin,
            ranges(IntegerParameterRanges=[integer("depth", "1", "5")]),
            "The hyperparameter [depth] isn't one of the [kmeans] algorithm",
        ),
        (
            builtin,
            ranges(ContinuousParameterRanges=[integer("epochs", "1", "5")]),
            "A value of hyperparameter [epochs] isn't valid",
        ),
        (
            builtin,
            ranges(IntegerParameterRanges=[integer("k", "2", "5")]),
            "Hyperparameter [k] is both tuned and static",
        ),
        (
            request,
            ranges(IntegerParameterRanges=[integer("n", "1.5", "9")]),
            "The range of hyperparameter [n] is invalid: '1.5' is not an integer",
        ),
        (request, ranges(IntegerParameterRanges=[integer("n", "9", "1")]), "minValue <= maxValue must hold"),
        (
            request,
            ranges(ContinuousParameterRanges=[integer("x", "0", "1", ScalingType="Logarithmic")]),
            "needs minValue > 0",
        ),
        (request, ranges(ContinuousParameterRanges=[integer("x", "a", "1")]), "'a' is not a number"),
        (request, ranges(IntegerParameterRanges=[integer("n", "1", "9")] * 2), "[n] is invalid: occurs twice"),
        (request, ranges(), "No hyperparameter is tuned"),
        (
            request,
            ranges(
                IntegerParameterRanges=[integer("n", "1", "9")], AutoParameters=[{"Name": "auto", "ValueHint": "1"}]
            ),
            "AutoParameters need Autotune",
        ),
        (
            request,
            ranges(IntegerParameterRanges=[integer(f"n{i}", "1", "9") for i in range(31)]),
            "At most 30 hyperparameters can be tuned, but got 31",
        ),
        (request, config(Strategy="Grid"), "Grid search takes CategoricalParameterRanges only"),
        (request, config(Strategy="Hyperband"), "Hyperband could not infer MaxResource"),
        (
            request,
            config(
                Strategy="Hyperband",
                TrainingJobEarlyStoppingType="Auto",
                StrategyConfig={"HyperbandStrategyConfig": {"MinResource": 9, "MaxResource": 3}},
            ),
            "must be Off with Hyperband",
        ),
        (
            request,
            config(
                Strategy="Hyperband",
                StrategyConfig={"HyperbandStrategyConfig": {"MinResource": 9, "MaxResource": 3}},
            ),
            "MinResource 9 must not be above its MaxResource 3",
        ),
        (
            request,
            config(StrategyConfig={"HyperbandStrategyConfig": {"MaxResource": 3}}),
            "is for Hyperband only, but Strategy is Random",
        ),
        (
            request,
            config(ResourceLimits={"MaxNumberOfTrainingJobs": 2, "MaxParallelTrainingJobs": 3}),
            "MaxParallelTrainingJobs must not be above MaxNumberOfTrainingJobs, but got 3 and 2",
        ),
        (
            request,
            ranges(IntegerParameterRanges=[integer("n", "1", "9")]),
            "There are not enough combinations of hyperparameter ranges: MaxNumberOfTrainingJobs is 10, but the ranges "
            "have 9",
        ),
        (
            request,
            config(ResourceLimits={"MaxParallelTrainingJobs": 3}),
            "MaxNumberOfTrainingJobs is required where nothing else ends",
        ),
        (
            request,
            lambda a: a["TrainingJobDefinition"].pop("ResourceConfig"),
            "Exactly one of ResourceConfig and HyperParameterTuningResourceConfig",
        ),
        (
            request,
            training(ResourceConfig={"InstanceType": "ml.m5.large", "VolumeSizeInGB": 1}),
            "ResourceConfig must have InstanceCount",
        ),
        (
            request,
            lambda a: a["TrainingJobDefinition"]["AlgorithmSpecification"].update(TrainingImage="nowhere"),
            "Requested image nowhere not found",
        ),
        (request, lambda a: a.update(Tags=[{"Key": "aws:x", "Value": ""}]), "aws: prefixed tag key names"),
    ],
)
def test_what_is_wrong_is_refused(make: Callable[[], Request], change: Callable[[Request], Any], text: str) -> None:
    asked = make()
    change(asked)
    found = " ".join(problems(asked, resolve))
    assert text in found


@pytest.mark.parametrize("text", ["1_0", " 10", "10 ", "10\n", "\u0661\u0660", "1.0", "1e1", "0x10", "", "--1"])
def test_an_integer_is_decimal_digits(text: str) -> None:
    asked = request()
    ranges(IntegerParameterRanges=[integer("n", "1", text)])(asked)
    assert f"The range of hyperparameter [n] is invalid: {text!r} is not an integer." in problems(asked, resolve)


@pytest.mark.parametrize(
    "text",
    ["1_0", "1_0.5", " 10", "10 ", "10\n", "\u0661\u0660", "inf", "Infinity", "nan", "1e999", "0x10", "", ".", "1e"],
)
def test_a_number_is_finite_and_of_decimal_digits(text: str) -> None:
    asked = request()
    ranges(ContinuousParameterRanges=[integer("x", "1", text)])(asked)
    assert f"The range of hyperparameter [x] is invalid: {text!r} is not a number." in problems(asked, resolve)


@pytest.mark.parametrize("text", ["30", "+30", "30.", "30.25", "3e1", "3E+01", "300e-1", "030"])
def test_numbers_as_programs_write_them_are_taken(text: str) -> None:
    asked = request()
    ranges(ContinuousParameterRanges=[integer("x", ".5", text)])(asked)
    assert problems(asked, resolve) == []


@pytest.mark.parametrize(
    ("epochs", "text"),
    [
        ("\u00b2", "Hyperband could not infer MaxResource"),
        ("\u0661", "Hyperband could not infer MaxResource"),
        ("1_0", "Hyperband could not infer MaxResource"),
        ("2.5", "Hyperband could not infer MaxResource"),
        ("-3", "MinResource 1 must not be above its MaxResource -3"),
        ("20001", "Hyperband's MaxResource must be at most 20000, but got 20001."),
        ("9" * 2500, "Hyperband's MaxResource must be at most 20000"),
    ],
)
def test_epochs_that_hyperband_cannot_use_are_refused(epochs: str, text: str) -> None:
    asked = request(strategy="Hyperband")
    training(StaticHyperParameters={"epochs": epochs})(asked)
    (found,) = problems(asked, resolve)
    assert text in found
    training(StaticHyperParameters={"epochs": "20000"})(asked)
    assert problems(asked, resolve) == []


def test_all_problems_come_together() -> None:
    asked = builtin()
    config(
        Strategy="Grid",
        HyperParameterTuningJobObjective={"Type": "Minimize", "MetricName": "rmse"},
        ResourceLimits={"MaxNumberOfTrainingJobs": 2, "MaxParallelTrainingJobs": 3},
    )(asked)
    found = problems(asked, resolve)
    assert len(found) >= 3
    assert len(found) == len(set(found))
