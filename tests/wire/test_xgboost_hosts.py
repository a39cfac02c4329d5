"""XGBoost's training program on two hosts, each a process of its own, joined over loopback."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xgboost
from sklearn.datasets import load_diabetes, load_wine

from sagespark.codecs.registry import codec
from sagespark.local.containers import contract

pytestmark = pytest.mark.wire

HOSTS = {"algo-1": "127.0.0.1", "algo-2": "127.0.0.2"}
X, Y = load_wine(return_X_y=True)
X, Y = X.astype(np.float32), Y.astype(np.float32)
PARAMS: dict[str, Any] = {"objective": "multi:softprob", "num_class": 3, "max_depth": 3}


def start(
    folder: Path, host: str, files: dict[str, bytes], params: dict[str, Any], form: str
) -> subprocess.Popen[bytes]:
    base = folder / host
    (base / "input" / "config").mkdir(parents=True)
    config = base / "input" / "config"
    config.joinpath("hyperparameters.json").write_text(
        json.dumps({"num_round": "8", **{k: str(v) for k, v in params.items()}})
    )
    channels = {name: {"TrainingInputMode": "File", "ContentType": form} for name in ("train", "validation")}
    config.joinpath("inputdataconfig.json").write_text(json.dumps(channels))
    config.joinpath("resourceconfig.json").write_text(json.dumps({"current_host": host, "hosts": list(HOSTS)}))
    for name in channels:
        (base / "input" / "data" / name).mkdir(parents=True)
        if name in files:
            (base / "input" / "data" / name / "part").write_bytes(files[name])
    environment = {**os.environ, "SAGEMAKER_BASE_DIR": str(base), contract.HOSTS_VARIABLE: json.dumps(HOSTS)}
    environment |= {contract.THREADS_VARIABLE: "1", "OMP_NUM_THREADS": "1"}
    with (base / "out").open("wb") as out:
        return subprocess.Popen(
            [sys.executable, "-m", "sagespark.local.containers.xgboost_train"],
            env=environment,
            stdout=out,
            stderr=subprocess.STDOUT,
        )


def run(
    folder: Path, *shares: dict[str, bytes], params: dict[str, Any] | None = None, form: str = "text/csv"
) -> list[int]:
    given = {"eval_metric": "mlogloss,accuracy", **PARAMS} if params is None else params
    processes = [start(folder, host, share, given, form) for host, share in zip(HOSTS, shares, strict=True)]
    try:
        return [process.wait(180) for process in processes]
    finally:
        for process in processes:
            process.kill()


def rows(part: Any, labels: np.ndarray = Y) -> bytes:
    return bytes(codec("text/csv").encode(X[part], labels[part]))


def booster(folder: Path) -> xgboost.Booster:
    """Return what the first host wrote."""
    return xgboost.Booster(model_file=bytearray((folder / "algo-1" / "model" / "xgboost-model").read_bytes()))


@pytest.mark.parametrize("second", [slice(1, None, 3), slice(0, 0)], ids=["a third of the rows", "no row"])
def test_two_hosts_train_the_model_of_one(tmp_path: Path, second: slice) -> None:
    """The sets are small enough for every value to be a bin of its own: the model is the same to the last digits."""
    rest = np.ones(len(Y), bool)
    rest[second] = False
    held = {"validation": rows(slice(0, None, 4))}
    # The first host alone has a checkpoint, of three rounds, from which both go on.
    kept = tmp_path / "algo-1" / "checkpoints"
    kept.mkdir(parents=True)
    begun = xgboost.train({**PARAMS, "nthread": 1}, xgboost.DMatrix(X, Y), 3)
    (kept / "xgboost-checkpoint.2").write_bytes(begun.save_raw("ubj"))
    assert run(tmp_path, {"train": rows(rest), **held}, {"train": rows(second), **held}) == [0, 0]
    ours = booster(tmp_path)
    assert not (tmp_path / "algo-2" / "model").exists()
    theirs = xgboost.train({**PARAMS, "nthread": 1}, xgboost.DMatrix(X, Y), 8)
    every = xgboost.DMatrix(X)
    np.testing.assert_allclose(ours.predict(every), theirs.predict(every), atol=1e-5)
    first, other = ((tmp_path / host / "out").read_text() for host in HOSTS)
    # The metrics are those of all hosts' rows, and the first host alone writes them.
    told = theirs.predict(every).argmax(axis=1)
    assert f"[4]#011train-mlogloss:{theirs.eval(xgboost.DMatrix(X, Y)).split(':')[1][:6]}" in first
    assert f"#011train-accuracy:{(told == Y).mean():.5f}" in first
    assert "[0]#011" not in other
    assert "Resuming from round 3" in other


def test_a_regressor_on_two_hosts_is_that_of_one(tmp_path: Path) -> None:
    x, y = load_diabetes(return_X_y=True)
    x, y = x.astype(np.float32), y.astype(np.float32)
    params = {"objective": "reg:squarederror", "max_depth": 3, "eta": 0.3, "tree_method": "hist", "max_bin": 512}
    csv = codec("text/csv")
    held = {"validation": bytes(csv.encode(x[::4], y[::4]))}
    shares = [{"train": bytes(csv.encode(x[part], y[part])), **held} for part in (slice(0, 150), slice(150, None))]
    assert run(tmp_path, *shares, params=params) == [0, 0]
    theirs = xgboost.train({**params, "nthread": 1}, xgboost.DMatrix(x, y), 8)
    np.testing.assert_allclose(
        booster(tmp_path).predict(xgboost.DMatrix(x)), theirs.predict(xgboost.DMatrix(x)), rtol=1e-4
    )


def test_a_ranker_on_two_hosts_that_hold_whole_queries_is_that_of_one(tmp_path: Path) -> None:
    x, y = load_diabetes(return_X_y=True)
    x, y = x.astype(np.float32), np.digitize(y, [100, 200]).astype(np.float32)
    qid = np.sort(np.random.default_rng(3).integers(0, 40, len(y)))
    lead = np.column_stack([y, np.full(len(y), np.nan), qid])
    params = {"objective": "rank:ndcg", "eval_metric": "ndcg@5", "max_depth": 3, "tree_method": "hist", "max_bin": 512}
    libsvm = codec("text/libsvm")
    cut = int(np.searchsorted(qid, 15))
    held = {"validation": bytes(libsvm.encode(x[:cut], lead[:cut]))}
    shares = [
        {"train": bytes(libsvm.encode(x[part], lead[part])), **held} for part in (slice(0, cut), slice(cut, None))
    ]
    assert run(tmp_path, *shares, params=params, form="text/libsvm") == [0, 0]
    theirs = xgboost.train({**params, "nthread": 1}, xgboost.DMatrix(x, y, qid=qid), 8)
    ours, expected = booster(tmp_path).predict(xgboost.DMatrix(x)), theirs.predict(xgboost.DMatrix(x))
    np.testing.assert_allclose(ours, expected, atol=1e-4 * np.ptp(expected))


def test_a_host_that_refuses_its_rows_ends_the_other_too(tmp_path: Path) -> None:
    codes = run(tmp_path, {"train": rows(slice(0, 90))}, {"train": b"1,2,red\n"})
    assert codes == [contract.PEER_ERROR_CODE, contract.CLIENT_ERROR_CODE]
    assert "'red' is no number" in (tmp_path / "algo-2" / "output" / "failure").read_text()
    assert "algo-2" in (tmp_path / "algo-1" / "output" / "failure").read_text()
