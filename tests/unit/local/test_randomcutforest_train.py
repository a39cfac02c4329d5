"""The programs of the random cut forest under the ``/opt/ml`` contract, run inside this process."""

from __future__ import annotations

import json
import logging
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.metrics import accuracy_score, precision_recall_fscore_support

from sagespark.algorithms.random_cut_forest import RANDOM_CUT_FOREST
from sagespark.algorithms.random_cuts import Forest
from sagespark.codecs import ndarray
from sagespark.codecs.registry import codec
from sagespark.local.containers import contract, randomcutforest_serve, randomcutforest_train, serving
from sagespark.local.containers.contract import ClientError
from sagespark.local.containers.randomcutforest_train import quality
from sagespark.local.containers.reservoir import Reservoir
from support.asgi import ask
from support.programs import RECORDIO, Program, as_csr, encode, metrics

JSON, LINES, CSV = "application/json", "application/jsonlines", "text/csv"
HPS = {"feature_dim": 4, "num_trees": 50, "num_samples_per_tree": 32}


@pytest.fixture
def rows() -> NDArray[np.float32]:
    """Rows of which the last five are far from the others."""
    random = np.random.default_rng(8)
    usual = random.normal(size=(2000, 4))
    return np.concatenate([usual, random.normal(size=(5, 4)) + 12]).astype(np.float32)


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> Program:
    caplog.set_level(logging.INFO)
    return Program(randomcutforest_train.train, tmp_path, monkeypatch)


def train(program: Program, *arguments: Any, **options: Any) -> Forest:
    arrays = program.run(*arguments, **options)
    assert isinstance(arrays, dict)
    return Forest.of(arrays)


def encode_labelled(rows: NDArray[np.float32], labels: Any, kind: str = RECORDIO) -> bytes:
    return bytes(codec(kind).encode(rows, np.asarray(labels, np.float32)))


def test_anomalies_score_highest_and_metrics_tell(
    program: Program, rows: NDArray[np.float32], caplog: pytest.LogCaptureFixture
) -> None:
    truth = np.arange(len(rows)) >= 2000
    found = train(program, HPS, {"b/2": encode(rows[:900]), "a/1": encode(as_csr(rows[900:2000]))},
                  encode_labelled(rows, truth))  # fmt: skip
    scores = found.scores(rows)
    assert set(np.argsort(-scores)[:5]) == set(range(2000, 2005))
    assert (found.trees, found.mass[0]) == (50, 32)
    threshold = scores.mean() + 3 * scores.std()
    precision, recall, f1, _ = precision_recall_fscore_support(truth, scores > threshold, average="binary")
    logged = metrics(RANDOM_CUT_FOREST, caplog.text)
    assert logged["test:accuracy"] == pytest.approx(accuracy_score(truth, scores > threshold))
    assert logged["test:precision"] == pytest.approx(precision)
    assert logged["test:recall"] == pytest.approx(recall) == 1
    assert logged["test:f1"] == pytest.approx(f1)
    assert logged["train:progress"] == 100
    assert logged["train:throughput"] > 0


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=30))
@settings(max_examples=40)
def test_metrics_are_scikit_learns(pairs: list[tuple[bool, bool]]) -> None:
    truth, found = (np.array(side) for side in zip(*pairs, strict=True))
    given_ = quality(truth, found)
    theirs = precision_recall_fscore_support(truth, found, labels=[True, False], zero_division=0)
    for name, values in zip(("precision", "recall", "f1"), theirs, strict=False):
        assert given_[name] == pytest.approx(values[0])
        assert given_[name + "_negative"] == pytest.approx(values[1])
    assert given_["accuracy"] == pytest.approx(accuracy_score(truth, found))


def test_each_tree_has_rows_of_its_own(program: Program, rows: NDArray[np.float32]) -> None:
    """50 x 32 of 2005 rows: no row is in two trees."""
    found = train(program, HPS, {"part": encode(rows)})
    points = found.arrays()["points"]
    assert len(points) == len(np.unique(points, axis=0)) == 1600
    known = {row.tobytes() for row in rows}
    assert all(point.tobytes() in known for point in points)


def test_a_hundred_thousand_rows_with_few_anomalies(program: Program) -> None:
    random = np.random.default_rng(4)
    rows = random.normal(size=(100_000, 10)).astype(np.float32)
    odd = np.arange(0, 100_000, 1000)
    rows[odd] += random.choice([-6, 6], (100, 10)).astype(np.float32)
    found = train(program, HPS | {"feature_dim": 10, "num_samples_per_tree": 256}, {"part": encode(rows)})
    usual = np.arange(5, 100_000, 50)
    assert found.scores(rows[odd]).min() > np.quantile(found.scores(rows[usual]), 0.999)


def test_few_rows_are_shared(program: Program, rows: NDArray[np.float32], caplog: pytest.LogCaptureFixture) -> None:
    found = train(program, HPS, {"part": encode(rows[:20])})
    assert (found.mass[:50] == 20).all()
    assert "The train channel holds 20 rows: fewer than 50 trees of 32; trees share rows" in caplog.text
    found = train(program, HPS, {"part": encode(rows[:100])})
    assert (found.mass[:50] == 32).all()


@pytest.mark.parametrize("content_type", ["text/csv", "text/csv;label_size=0"])
def test_csv(program: Program, rows: NDArray[np.float32], content_type: str) -> None:
    found = train(program, HPS, {"part.csv": bytes(codec(CSV).encode(rows))}, content_type=content_type)
    assert set(np.argsort(-found.scores(rows))[:5]) == set(range(2000, 2005))


def test_the_seed_decides(program: Program, rows: NDArray[np.float32], monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = (train(program, HPS, {"part": encode(rows)}) for _ in range(2))
    np.testing.assert_array_equal(first.cut, second.cut)
    monkeypatch.setenv("SAGESPARK_SEED", "12")
    assert not np.array_equal(train(program, HPS, {"part": encode(rows)}).cut, first.cut)


@pytest.mark.parametrize("block", [7, 100, 5000])
def test_a_reservoir_draws_evenly_and_keeps_what_belongs_together(block: int) -> None:
    counts = np.zeros(500)
    for seed in range(200):
        found = Reservoir(50, np.random.default_rng(seed))
        for start in range(0, 500, block):
            part = np.arange(start, min(500, start + block), dtype=np.float32)
            found.add(part[:, np.newaxis], part * 2)
        rows, beside = found.rows()
        assert (len(rows), found.seen) == (50, 500)
        np.testing.assert_array_equal(rows[:, 0] * 2, beside)
        assert (np.diff(rows[:, 0]) > 0).all()
        counts[rows[:, 0].astype(int)] += 1
    # 200 draws of one in ten: 20 each, of a deviation of 4.2, which the whole spread must show.
    assert counts.std() == pytest.approx(4.24, rel=0.15)
    assert counts[:250].mean() == pytest.approx(20, abs=0.6)


@pytest.mark.parametrize(
    ("changed", "text"),
    [
        ({"num_samples_per_tree": 2049}, "must be an integer in [1, 2048], but got 2049"),
        ({"eval_metrics": '["f1"]'}, "a list of 'accuracy' and/or 'precision_recall_fscore'"),
        ({"feature_dim": 9}, "rows from 0 on have 4 features, but feature_dim is 9"),
        ({"feature_dim": 10001}, "must be an integer in [1, 10000]"),
    ],
)
def test_what_the_user_got_wrong(
    program: Program, rows: NDArray[np.float32], changed: dict[str, Any], text: str
) -> None:
    with pytest.raises(ClientError, match=re.escape(text)):
        program.run(HPS | changed, {"part": encode(rows)})


def test_channels_without_rows_or_labels(
    program: Program, rows: NDArray[np.float32], monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ClientError, match="the train channel holds no row"):
        program.run(HPS, {"part": b""})
    with pytest.raises(ClientError, match="the test channel holds no row"):
        program.run(HPS, {"part": encode(rows)}, b"")
    with pytest.raises(ClientError, match="must have one label per row"):
        program.run(HPS, {"part": encode(rows)}, encode(rows))
    monkeypatch.setattr(contract, "available_memory", lambda: 1000)
    with pytest.raises(ClientError, match="lower num_trees or num_samples_per_tree"):
        program.run(HPS, {"part": encode(rows)})


# -- serving ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def app(program: Program, rows: NDArray[np.float32], monkeypatch: pytest.MonkeyPatch) -> serving.ServingApp:
    """What the serving program serves after training."""
    program.run(HPS, {"part": encode(rows)})
    made: list[serving.ServingApp] = []
    monkeypatch.setattr(serving, "serve", lambda make: made.append(make()))
    randomcutforest_serve.main()
    return made[0]


def test_scores_in_every_format(app: serving.ServingApp, program: Program, rows: NDArray[np.float32]) -> None:
    arrays = ndarray.load((program.folder / "model" / "model_algo-1").read_bytes())
    assert isinstance(arrays, dict)
    asked = rows[-4:]
    expected = Forest.of(arrays).scores(asked)
    for kind, name in ((RECORDIO, "dense"), (RECORDIO, "sparse"), (CSV, "dense"), (JSON, "dense"), (LINES, "dense")):
        body = bytes(codec(kind).encode(asked if name == "dense" else as_csr(asked)))
        for accept in (RECORDIO, JSON, LINES, CSV):
            status, answered, answer = ask(app, "POST", "/invocations", body, content_type=kind, accept=accept)
            assert (status, answered) == (200, accept)
            if accept == CSV:
                given_ = np.loadtxt(answer.decode().splitlines())
            else:
                given_ = codec(accept).decode_predictions(answer, ["score"])["score"]
            np.testing.assert_allclose(given_.ravel(), expected, rtol=1e-6, err_msg=f"{kind} {name} -> {accept}")


def test_the_documentations_answers(app: serving.ServingApp) -> None:
    """rcf-in-formats: {"scores": [{"score": 0.02}, {"score": 0.25}]}, and one object per line."""
    body = b"1,2,3,4\n0,0,0,0\n"
    _, _, answer = ask(app, "POST", "/invocations", body, content_type=CSV, accept=JSON)
    found = json.loads(answer)
    assert [list(row) for row in found["scores"]] == [["score"], ["score"]]
    assert list(found) == ["scores"]
    _, _, lines = ask(app, "POST", "/invocations", body, content_type=CSV, accept=LINES)
    assert [json.loads(line) for line in lines.splitlines()] == found["scores"]
    assert ask(app, "POST", "/invocations", b"1,2\n", content_type=CSV)[0] == 400


def test_a_model_file_of_another_algorithm_is_refused(program: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    (program.folder / "model").mkdir()
    (program.folder / "model" / "model_algo-1").write_bytes(ndarray.dump_list([np.zeros((2, 2), np.float32)]))
    monkeypatch.setattr(serving, "serve", lambda make: make())
    with pytest.raises(ValueError, match="an NDArray dictionary of a forest"):
        randomcutforest_serve.main()
