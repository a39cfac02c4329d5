"""Every public member of MLlib's twin exists here, or refuses with its reason."""

from __future__ import annotations

import functools
import inspect
from typing import Any

import pytest
from pyspark.ml import classification as their_classification
from pyspark.ml import clustering as theirs
from pyspark.ml import feature as their_feature
from pyspark.ml import regression as their_regression
from pyspark.ml.param import Param
from pyspark.ml.util import MLReadable, MLWritable

from sagespark.ml import classification, feature, regression
from sagespark.ml import clustering as ours

pytestmark = pytest.mark.spark

TWINS = [
    (theirs.KMeans, ours.KMeans),
    (theirs.KMeansModel, ours.KMeansModel),
    (theirs.LDA, ours.LDA),
    (theirs.LDAModel, ours.LDAModel),
    (their_feature.PCA, feature.PCA),
    (their_feature.PCAModel, feature.PCAModel),
]
RENAMED = [
    (their_classification.GBTClassifier, classification.XGBoostClassifier),
    (their_classification.GBTClassificationModel, classification.XGBoostClassificationModel),
    (their_regression.GBTRegressor, regression.XGBoostRegressor),
    (their_regression.GBTRegressionModel, regression.XGBoostRegressionModel),
]
"""Twins whose classes have AWS's names."""
LINEAR = [
    (their_classification.LogisticRegression, classification.LinearLearnerClassifier),
    (their_classification.LogisticRegressionModel, classification.LinearLearnerClassificationModel),
    (their_classification.LinearSVC, classification.LinearLearnerClassifier),
    (their_classification.LinearSVCModel, classification.LinearLearnerClassificationModel),
    (their_regression.LinearRegression, regression.LinearLearnerRegressor),
    (their_regression.LinearRegressionModel, regression.LinearLearnerRegressionModel),
    (their_classification.FMClassifier, classification.FactorizationMachinesClassifier),
    (their_classification.FMClassificationModel, classification.FactorizationMachinesClassificationModel),
    (their_regression.FMRegressor, regression.FactorizationMachinesRegressor),
    (their_regression.FMRegressionModel, regression.FactorizationMachinesRegressionModel),
]
"""Likewise; one class of AWS's for two of MLlib's."""
OTHERWISE = {(their_classification.LinearSVCModel, "summary")}
"""Members of another kind: MLlib's LogisticRegressionModel.summary is a property, LinearSVCModel.summary a method."""
REFUSED = {"setWeightCol": "w", "setDistanceMeasure": "cosine", "setSolver": "row", "setInitSteps": 5}
SUMMARY = ("k", "numIter", "clusterSizes", "trainingCost", "predictions", "predictionCol", "featuresCol", "cluster")


def public(cls: type) -> list[str]:
    return [name for name in dir(cls) if not name.startswith("_")]


@pytest.mark.parametrize(("their", "our"), TWINS + RENAMED + LINEAR, ids=lambda c: c.__name__)
def test_every_public_member_exists(their: type, our: type) -> None:
    missing = [name for name in public(their) if not hasattr(our, name)]
    assert not missing


@pytest.mark.parametrize(("their", "our"), TWINS + RENAMED + LINEAR, ids=lambda c: c.__name__)
def test_members_are_of_the_same_kind(their: type, our: type) -> None:
    for name in public(their):
        one, other = inspect.getattr_static(their, name), inspect.getattr_static(our, name)
        if isinstance(one, Param):
            assert isinstance(other, Param), name
        elif isinstance(one, property | functools.cached_property) or (their, name) in OTHERWISE:
            assert isinstance(other, property), name
        elif callable(getattr(their, name)):
            assert callable(getattr(our, name)), name
        else:
            assert isinstance(other, type(one)), name


def test_names_and_module_are_what_users_import() -> None:
    for their, our in TWINS:
        assert our.__name__ == their.__name__
        assert our.__module__ == their.__module__.replace("pyspark", "sagespark")


@pytest.mark.parametrize("our", [our for _, our in TWINS + RENAMED + LINEAR], ids=lambda c: c.__name__)
def test_persistence_is_mllibs(our: type) -> None:
    assert issubclass(our, MLWritable)
    assert issubclass(our, MLReadable)


@pytest.mark.parametrize(("name", "value"), REFUSED.items())
def test_what_sagemaker_lacks_refuses_with_its_reason(name: str, value: Any) -> None:
    with pytest.raises(ValueError) as caught:
        getattr(ours.KMeans(), name)(value)
    assert "SageMaker" in str(caught.value)


@pytest.mark.parametrize(("their", "our"), RENAMED[::2], ids=lambda c: c.__name__)
def test_mllibs_params_of_trees_are_accepted_as_its_defaults_or_refused(spark: Any, their: type, our: type) -> None:
    defaults = {p.name: v for p, v in their().extractParamMap().items() if p.name != "seed"}
    stage = our(**defaults)
    assert {p.name: v for p, v in stage.extractParamMap().items()}.items() >= defaults.items()
    for name, value in (("impurity", "gini"), ("leafCol", "leaf"), ("minInfoGain", 0.5), ("lossType", "absolute")):
        with pytest.raises(ValueError, match="SageMaker's XGBoost has no such setting"):
            our(**{name: value})


@pytest.mark.parametrize("param", ["distanceMeasure", "initSteps", "solver", "maxBlockSizeInMB"])
def test_mllibs_defaults_are_accepted(spark: Any, param: str) -> None:
    default = theirs.KMeans().getOrDefault(param)
    assert ours.KMeans(**{param: default}).getOrDefault(param) == default


def test_mllibs_own_keywords_of_pca_are_accepted(spark: Any) -> None:
    their = their_feature.PCA(k=3, inputCol="i", outputCol="o")
    keywords = {p.name: v for p, v in their.extractParamMap().items()}
    assert {p.name: v for p, v in feature.PCA(**keywords).extractParamMap().items()}.items() >= keywords.items()
    # Both name the column after the stage where nobody names it.
    for stage in (their_feature.PCA(k=3), feature.PCA(k=3)):
        assert stage.getOutputCol() == f"{stage.uid}__output"


def test_mllibs_own_keywords_are_accepted(spark: Any) -> None:
    their = theirs.KMeans(k=3, maxIter=5, tol=0.01, initMode="random", featuresCol="f", predictionCol="p", seed=1)
    keywords = {p.name: v for p, v in their.extractParamMap().items()}
    km = ours.KMeans(**keywords)
    for name, value in keywords.items():
        assert km.getOrDefault(name) == value


def test_the_summary_is_mllibs() -> None:
    for name in SUMMARY:
        assert name in public(theirs.KMeansSummary)
        assert name in public(ours.KMeansSummary)


@pytest.mark.parametrize(
    ("their", "our"),
    [
        (their_classification.LogisticRegression, classification.LinearLearnerClassifier),
        (their_regression.LinearRegression, regression.LinearLearnerRegressor),
        (their_classification.FMClassifier, classification.FactorizationMachinesClassifier),
        (their_regression.FMRegressor, regression.FactorizationMachinesRegressor),
    ],
    ids=lambda c: c.__name__,
)
def test_mllibs_defaults_of_linear_models_are_accepted(spark: Any, their: type, our: type) -> None:
    # MLlib's seed is a hash of the class, which need not be a seed here.
    defaults = {p.name: v for p, v in their().extractParamMap().items() if p.name != "seed"}
    found = {p.name: v for p, v in our(**defaults).extractParamMap().items()}
    # The one value that has another name here.
    expected = defaults | ({"loss": "squared_loss"} if "loss" in defaults else {})
    assert {name: found[name] for name in defaults} == expected
