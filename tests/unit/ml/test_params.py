"""Params from rows: spellings, checks, copies, pickles, grids."""

from __future__ import annotations

import copy
import inspect
import keyword
import pickle
from typing import Any

import numpy as np
import pytest
from pyspark.ml import Estimator, Model
from pyspark.ml.param import Param, Params
from pyspark.ml.param.shared import HasMaxIter, HasWeightCol
from pyspark.ml.tuning import ParamGridBuilder
from pyspark.ml.util import MLReadable, MLWritable

from sagespark.algorithms.hyperparameter import Hyperparameter, Range
from sagespark.algorithms.registry import ALGORITHMS
from sagespark.algorithms.spec import AlgorithmSpec, Channel, FixedParam, Group, Output
from sagespark.core.errors import ValidationError
from sagespark.ml import stubs
from sagespark.ml.params import StageParams, accessor
from sagespark.ml.rows import algorithm_rows
from sagespark.ml.stage import Stage
from sagespark.ml.stage_params import KMeansParams

DUMMY = AlgorithmSpec(
    name="dummy",
    version="1",
    doc="An algorithm with one of everything.",
    input_params=("featuresCol", "labelCol"),
    hyperparameters=(
        Hyperparameter("feature_dim", "int", "Width.", required=True, inferred=True),
        Hyperparameter("num_things", "int", "Things.", range=Range(1), param="k", required=True),
        Hyperparameter("bias_lr", "float", "Rate of the bias.", default=0.1, range=Range(0, low_open=True)),
        Hyperparameter("linear_lr", "float", "Rate of the rest.", default=0.2, range=Range(0, low_open=True)),
        Hyperparameter("use_bias", "bool", "Bias.", default=True, param="fitIntercept", mllib_default=False),
        Hyperparameter(
            "loss_name", "str", "Loss.", default="squared_loss", choices=("squared_loss", "hinge"),
            param="loss", spellings={"squaredError": "squared_loss"},
        ),
    ),
    groups=(Group("stepSize", ("bias_lr", "linear_lr"), "Learning rate."),),
    fixed=(FixedParam("solver", "auto", "there is one solver"),),
    channels=(Channel("train", True, ("text/csv",), "required"), Channel("validation", False, ("text/csv",))),
    metrics=(),
    outputs=(Output("score", "predictionCol", "prediction", "double"),),
    sources=("a test",),
)  # fmt: skip


class Dummy(StageParams, rows=algorithm_rows(DUMMY)):
    pass


class DummyModel(StageParams, rows=algorithm_rows(DUMMY), model=True):
    pass


def test_second_spelling_is_the_same_param() -> None:
    d = Dummy(numThings=3)
    assert d.numThings is d.k
    assert d.getK() == d.getNumThings() == 3
    assert d.setNumThings(4).getK() == 4
    assert d.setK(5).getNumThings() == 5
    assert [p.name for p in d.params].count("k") == 1
    assert "numThings" not in [p.name for p in d.params]
    assert d.copy({d.numThings: 6}).getK() == 6
    assert d.getParam("numThings") == d.k


def test_the_last_one_set_wins_and_a_contradiction_is_refused() -> None:
    assert Dummy(k=2).setParams(numThings=7).getK() == 7
    assert Dummy(k=2, numThings=2).getK() == 2
    with pytest.raises(ValidationError, match="numThings and k are the same Param, but got 3 and 2"):
        Dummy(k=2, numThings=3)


def test_unknown_names_get_a_suggestion() -> None:
    with pytest.raises(TypeError, match=r"Dummy has no Param 'num_things'; did you mean 'numThings'\?"):
        Dummy(num_things=3)
    with pytest.raises(TypeError, match=r"no Param 'fitintercept'; did you mean 'fitIntercept'\?"):
        Dummy(fitintercept=True)
    with pytest.raises(TypeError, match=r"has no Param 'zzz'$"):
        Dummy(zzz=1)


def test_all_problems_of_a_call_come_together_and_nothing_is_set() -> None:
    d = Dummy(k=2)
    with pytest.raises(ValidationError) as caught:
        d.setParams(k=0, biasLr=0.0, nope=1, loss="hing", fitIntercept=False)
    assert len(caught.value.problems) == 4
    assert "did you mean 'hinge'?" in str(caught.value)
    assert d.getK() == 2
    assert not d.isSet("fitIntercept")


def test_values_in_both_vocabularies() -> None:
    assert Dummy(loss="squaredError").getLoss() == "squared_loss"
    assert Dummy(lossName="squared_loss").getLoss() == "squared_loss"
    assert Dummy(k=np.int64(4)).getK() == 4
    assert Dummy(biasLr=np.float32(0.5)).getBiasLr() == 0.5
    assert KMeansParams(initMode="k-means||").getInitMode() == "k-means||"
    assert KMeansParams(initMode="kmeans++").getInitMode() == "kmeans++"
    assert KMeansParams(localLloydInitMethod="k-means||").getLocalLloydInitMethod() == "kmeans++"


def test_none_means_unset() -> None:
    d = Dummy(k=3, seed=None)
    assert d.getSeed() is None
    assert d.setSeed(5).getSeed() == 5
    assert not d.setSeed(None).isSet("seed")
    assert d.copy({d.k: None}).getK() is None


def test_groups_have_no_default_and_no_side_effect() -> None:
    d = Dummy().setStepSize(0.5)
    assert Dummy().getStepSize() is None
    assert d.getStepSize() == 0.5
    assert d.getBiasLr() == 0.1
    assert not d.isSet("biasLr")


def test_fixed_params_accept_mllibs_default_and_give_the_reason() -> None:
    assert Dummy(solver="auto").getSolver() == "auto"
    with pytest.raises(ValueError, match="there is one solver; only 'auto' is accepted, but got 'row'"):
        Dummy().setSolver("row")
    km = KMeansParams()
    assert km.getWeightCol() is None
    assert km.setWeightCol(None).getWeightCol() is None
    with pytest.raises(ValueError, match="weightCol: SageMaker's K-means has no row weights"):
        km.setWeightCol("w")
    with pytest.raises(ValueError, match="maxBlockSizeInMB"):
        km.setMaxBlockSizeInMB(True)
    assert km.setMaxBlockSizeInMB(0).getMaxBlockSizeInMB() == 0.0


def test_setters_chain_and_pyspark_refuses_as_it_does() -> None:
    km = KMeansParams().setK(3).setMaxIter(5).setFeaturesCol("f").setEndpointPolicy("never")
    assert (km.getK(), km.getMaxIter(), km.getFeaturesCol(), km.getEndpointPolicy()) == (3, 5, "f", "never")
    with pytest.raises(ValueError, match=r"k must be an integer >= 2"):
        km.set(km.k, 1)
    with pytest.raises(TypeError, match='Invalid param value given for param "k"'):
        km.setK("three")
    km.clear(km.k)
    assert km.getK() == 2


def test_copies_pickles_and_deep_copies_carry_values() -> None:
    km = KMeansParams(k=3, evalMetrics=["msd", "ssd"], environment={"A": 1})
    for other in (km.copy(), copy.copy(km), copy.deepcopy(km), pickle.loads(pickle.dumps(km))):
        assert other.uid == km.uid
        assert other.extractParamMap() == km.extractParamMap()
        other.setK(9)
        assert km.getK() == 3
    assert km.copy({km.k: 4}).getK() == 4
    assert km.getEnvironment() == {"A": "1"}


def test_copy_replays_in_any_order() -> None:
    # pyspark's copy sets Params in alphabetical order: no setter may write another Param.
    km = KMeansParams(initMode="random", initMethod="kmeans++", localLloydMaxIter=4)
    other = km.copy()
    assert other._given() == km._given()


def test_defaults_are_not_shared_between_instances() -> None:
    a, b = KMeansParams(), KMeansParams()
    a.getEvalMetrics().append("ssd")
    a.getTags()["x"] = "y"
    assert b.getEvalMetrics() == ["msd"]
    assert b.getTags() == {}


def test_grids_build_over_either_spelling() -> None:
    km = KMeansParams()
    grid = ParamGridBuilder().addGrid(km.k, [2, 3]).addGrid(km.localLloydMaxIter, [5, 6]).build()
    assert [(g[km.k], g[km.maxIter]) for g in grid] == [(2, 5), (2, 6), (3, 5), (3, 6)]
    assert [km.copy(g).getMaxIter() for g in grid] == [5, 6, 5, 6]


def test_explain_shows_amazons_default_and_mllibs() -> None:
    text = KMeansParams(k=3).explainParams()
    assert "MLlib's default is 20, SageMaker's 300" in text
    assert "default: 2, current: 3" in text
    assert text.count("\n") + 1 == len(KMeansParams._rows)
    assert KMeansParams().explainParam("localLloydTol").startswith("tol: ")


def test_models_have_getters_for_all_and_setters_for_columns() -> None:
    model = DummyModel()
    assert DummyModel.getK.__doc__.startswith("Return the value of k. None while it is unset.")
    assert model.setPredictionCol("p").setFeaturesCol("f").getPredictionCol() == "p"
    assert not hasattr(model, "setK")
    assert not hasattr(model, "deleteStagingData")
    estimator = Dummy(k=3, numThings=3)
    assert estimator._copyValues(model).getK() == 3


def test_only_honoured_mixins() -> None:
    assert isinstance(KMeansParams(), HasMaxIter)
    assert not isinstance(KMeansParams(), HasWeightCol)


def test_columns_and_ranges() -> None:
    for name, value, words in [
        ("featuresCol", "", "featuresCol must be the name of a column"),
        ("seed", -1, "seed must be an integer in [0, 2147483647], but got -1"),
        ("seed", 2**31, "but got 2147483648"),
        ("vectorFormat", "spars", "did you mean 'sparse'?"),
        ("instanceType", "m5", "must be an instance type such as 'ml.m5.xlarge', but got 'm5'"),
        ("instanceCount", 0, "an integer >= 1, but got 0"),
        ("maxPayloadInMB", 0, "a number > 0, but got 0"),
        ("checkpointS3Uri", "hdfs://x/y", "is not an S3 URI"),
        ("featuresCols", ["a", "a"], "must not name anything twice"),
        ("keepAlivePeriodInSeconds", 3601, "in [0, 3600]"),
    ]:
        with pytest.raises(ValueError) as caught:
            KMeansParams(**{name: value})
        assert words in str(caught.value)
    for name, value in {
        "seed": 1.5, "featuresCol": 3, "featuresCols": "ab", "deleteStagingData": 1, "tags": [("a", "b")],
        "environment": {"a": None}, "instanceType": 5, "vectorFormat": None.__class__, "checkpointS3Uri": 1,
    }.items():  # fmt: skip
        with pytest.raises(TypeError, match=name):
            KMeansParams(**{name: value})
    assert KMeansParams(predictionCol="").getPredictionCol() == ""
    assert KMeansParams(checkpointS3Uri="s3a://bucket/x").getCheckpointS3Uri() == "s3://bucket/x"


def _taken() -> set[str]:
    # Attributes that pyspark's stages have already, and the words of Python.
    taken = set(keyword.kwlist)
    for cls in (Params, Estimator, Model, MLReadable, MLWritable):
        taken |= set(dir(cls)) | set(cls.__init__.__code__.co_names if hasattr(cls.__init__, "__code__") else ())
    instance = Params()
    return taken | set(vars(instance))


@pytest.mark.parametrize("cls", [*stubs.classes(), Dummy, DummyModel], ids=lambda c: c.__name__)
def test_no_generated_name_clashes(cls: type[StageParams]) -> None:
    taken = _taken()
    seen: set[str] = set()
    for row in cls._rows:
        for spelling in row.spellings:
            names = {spelling, accessor("get", spelling), accessor("set", spelling)}
            assert not names & taken, f"{cls.__name__}: {names & taken}"
            assert not names & seen, f"{cls.__name__}: {names & seen} is generated twice"
            assert spelling not in ("numFeatures", "numClasses")
            seen |= names


def test_a_name_that_clashes_is_seen() -> None:
    # The check above can fail: `fit` is an attribute of Estimator, `lambda` a word of Python.
    assert {"fit", "copy", "params", "uid", "lambda", "getParam", "write"} <= _taken()


@pytest.mark.parametrize("spec", ALGORITHMS.values(), ids=lambda s: s.name)
def test_every_hyperparameter_has_one_param(spec: AlgorithmSpec) -> None:
    rows = {row.name: row for row in algorithm_rows(spec)}
    for h in spec.params:
        assert rows[h.name].convert == h.convert
        assert h.camel in rows[h.name].spellings or keyword.iskeyword(h.camel)
        assert h.wire in rows[h.name].doc
    for inferred in (h for h in spec.hyperparameters if h.inferred):
        assert inferred.name not in rows


def test_the_committed_stub_is_current() -> None:
    assert stubs.STUB.read_text(encoding="utf-8") == stubs.stub(), "run `python -m sagespark.ml.stubs`"


def test_the_stub_names_what_exists() -> None:
    namespace: dict[str, Any] = {}
    exec(compile(stubs.stub(), "stub", "exec"), namespace)
    for cls in stubs.classes():
        declared = namespace[cls.__name__]
        instance = cls()
        for name in declared.__annotations__:
            assert isinstance(getattr(instance, name), Param)
        for name, member in vars(declared).items():
            if inspect.isfunction(member):
                assert callable(getattr(instance, name))
        keywords = set(inspect.signature(declared.setParams).parameters) - {"self", "kwargs", *Stage._keywords}
        assert keywords == {s for row in cls._rows for s in row.spellings}


def test_the_table_lists_every_param() -> None:
    text = stubs.table(KMeansParams)
    assert "| `maxIter` = `localLloydMaxIter` | `300` |" in text
    assert text.count("\n") == len(KMeansParams._rows) + 1
