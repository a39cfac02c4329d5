"""The training and serving programs of LDA under the ``/opt/ml`` contract, run inside this process."""

from __future__ import annotations

import json
import logging
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from sklearn import config_context
from sklearn.datasets import load_breast_cancer, load_digits, load_wine
from sklearn.decomposition import LatentDirichletAllocation
from sklearn.feature_extraction.text import CountVectorizer

from sagespark.algorithms.lda import LDA
from sagespark.algorithms.topics import Topics
from sagespark.codecs import ndarray
from sagespark.codecs.matrix import Csr, Mixed
from sagespark.codecs.registry import codec
from sagespark.local.containers import contract, lda_fit, lda_serve, lda_train, serving
from sagespark.local.containers.contract import ClientError
from support.asgi import ask
from support.programs import RECORDIO, SEED, Program, as_csr, encode, metrics

JSON, LINES, CSV = "application/json", "application/jsonlines", "text/csv"
K = 4
HPS = {"feature_dim": 16, "num_topics": K, "mini_batch_size": 200, "max_restarts": 2, "max_iterations": 60}
BARS = np.kron(np.eye(4), np.full(4, 0.25))
"""Four topics of four words each."""


def corpus(n: int, seed: int, length: int = 50) -> NDArray[np.float32]:
    """Return documents that mix the four topics."""
    random = np.random.default_rng(seed)
    mixtures = random.dirichlet(np.full(K, 0.25), n)
    return np.array([random.multinomial(length, m @ BARS) for m in mixtures], np.float32)


@pytest.fixture
def rows() -> NDArray[np.float32]:
    return corpus(200, 3)


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> Program:
    caplog.set_level(logging.INFO)
    return Program(lda_train.train, tmp_path, monkeypatch)


def train(program: Program, *arguments: Any, **options: Any) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    alpha, beta = program.run(*arguments, **options)
    return alpha, beta


def alone(rows: Any, seed: int, passes: int, k: int = K, alpha0: float = 1.0, tol: float = 1e-8) -> Any:
    """Return scikit-learn's own, with the hyperparameters that the job must have chosen."""
    tolerance = tol**0.5 * lda_fit.unigram_perplexity(as_matrix(rows))
    model = LatentDirichletAllocation(
        k, doc_topic_prior=alpha0 / k, learning_method="batch", max_iter=passes, evaluate_every=5,
        perp_tol=tolerance, random_state=seed,
    )  # fmt: skip
    with config_context(skip_parameter_validation=True):
        return model.fit(rows.astype(np.float64))


def as_matrix(rows: Any) -> Any:
    from scipy.sparse import csr_matrix

    return csr_matrix(rows)


def kept_seed(text: str) -> tuple[int, int]:
    seed, passes = re.findall(r"Seed (\d+): (\d+) passes", text)[-1]
    return int(seed), int(passes)


def matched(beta: NDArray[Any], expected: NDArray[Any]) -> NDArray[np.float64]:
    """Return the total variation distance of each expected topic to the found one that is matched to it."""
    distances = np.abs(expected[:, np.newaxis] - beta[np.newaxis]).sum(axis=2) / 2
    return distances[linear_sum_assignment(distances)]


def test_the_artifact_is_aws_own_and_scikit_learns_model(
    program: Program, rows: NDArray[np.float32], caplog: pytest.LogCaptureFixture
) -> None:
    """AWS's notebook: alpha, beta = mx.ndarray.load(...)."""
    test = corpus(50, 4)
    alpha, beta = train(program, HPS, {"b/2": encode(rows[:80]), "a/1": encode(as_csr(rows[80:]))}, encode(test))
    assert alpha.tolist() == [0.25] * K
    assert beta.shape == (K, 16)
    # Files are read in the order of their names.
    ordered = np.concatenate([rows[80:], rows[:80]])
    screened = {seed: alone(ordered, seed, 5).bound_ for seed in range(SEED, SEED + 2)}
    seed, passes = kept_seed(caplog.text)
    assert seed == min(screened, key=lambda s: screened[s])
    expected = alone(ordered, seed, 60)
    assert passes == expected.n_iter_
    np.testing.assert_allclose(
        beta, expected.components_ / expected.components_.sum(axis=1, keepdims=True), rtol=1e-6, atol=1e-9
    )
    found = metrics(LDA, caplog.text)
    assert found["train:perplexity"] == pytest.approx(expected.bound_, rel=1e-9)
    assert found["train:progress"] == 100
    # scikit-learn's score of the test rows holds the topics' own part beside the documents': a penalty.
    assert 0 < found["test:pwll"] + np.log(expected.perplexity(test.astype(np.float64))) < 0.1


def test_topics_are_recovered(program: Program, rows: NDArray[np.float32], caplog: pytest.LogCaptureFixture) -> None:
    _, beta = train(program, HPS, {"part": encode(rows)}, encode(corpus(100, 9)))
    assert (matched(beta, BARS) < 0.05).all()
    # No model can tell more of a word than the one that made the documents.
    random = np.random.default_rng(9)
    mixtures = random.dirichlet(np.full(K, 0.25), 100)
    documents = corpus(100, 9)
    best = (documents * np.log(mixtures @ BARS + 1e-300)).sum() / documents.sum()
    assert best - 0.2 < metrics(LDA, caplog.text)["test:pwll"] < best


@pytest.mark.slow
def test_a_hundred_thousand_documents(program: Program) -> None:
    random = np.random.default_rng(1)
    mixtures = random.dirichlet(np.full(K, 0.25), 100_000)
    documents = as_csr(random.multinomial(20, mixtures @ BARS).astype(np.float32))
    hps = HPS | {"mini_batch_size": 100_000, "max_restarts": 1, "max_iterations": 5}
    _, beta = train(program, hps, {"part": encode(documents)})
    # Topics drawn at random are 0.75 away. More passes come nearer, and take longer.
    assert (matched(beta, BARS) < 0.15).all()


def counts_of(matrix: Any) -> Csr:
    """Return a SciPy matrix as the codecs have it."""
    matrix.sort_indices()
    return Csr(matrix.indptr.astype(np.int64), matrix.indices.astype(np.int64), matrix.data, matrix.shape[1])


def test_real_text_falls_into_its_subjects(program: Program) -> None:
    """Sentences of scikit-learn's descriptions of its data sets: a document's kin is in its own description."""
    sets = [load_breast_cancer(), load_digits(), load_wine()]
    texts, subjects = [], []
    for number, found in enumerate(sets):
        paragraphs = [p for p in found.DESCR.split("\n\n") if len(p.split()) > 8]
        texts += paragraphs
        subjects += [number] * len(paragraphs)
    counts = CountVectorizer(stop_words="english", min_df=2).fit_transform(texts).astype(np.float32)
    body = encode(counts_of(counts))
    hps = HPS | {"feature_dim": counts.shape[1], "num_topics": 3, "mini_batch_size": len(texts), "max_iterations": 30}
    alpha, beta = train(program, hps, {"part": body})
    # Two paragraphs of one description are nearer to each other than those of two, by their topics.
    mixtures = Topics(alpha.astype(np.float64), beta.astype(np.float64)).mixtures(counts_of(counts))
    near = -np.abs(mixtures[:, np.newaxis] - mixtures[np.newaxis]).sum(axis=2)
    np.fill_diagonal(near, -np.inf)
    shares = np.bincount(subjects) / len(subjects)
    assert (np.array(subjects)[near.argmax(axis=1)] == subjects).mean() > 1.4 * (shares**2).sum()


@pytest.mark.parametrize("content_type", ["text/csv", "text/csv;label_size=0"])
def test_csv(program: Program, rows: NDArray[np.float32], content_type: str) -> None:
    _, beta = train(program, HPS, {"part.csv": bytes(codec(CSV).encode(rows))}, content_type=content_type)
    assert (matched(beta, BARS) < 0.05).all()


def test_a_rows_kind_changes_nothing(program: Program, rows: NDArray[np.float32]) -> None:
    is_sparse = np.arange(200) % 3 == 0
    mixed = Mixed(is_sparse, rows[~is_sparse], as_csr(rows[is_sparse]))
    found = [train(program, HPS, {"part": encode(r)})[1] for r in (rows, as_csr(rows), mixed)]
    np.testing.assert_array_equal(found[0], found[1])
    np.testing.assert_array_equal(found[0], found[2])


def test_hyperparameters_reach_the_model(program: Program, rows: NDArray[np.float32]) -> None:
    alpha, beta = train(program, HPS | {"alpha0": 8.0, "max_restarts": 1, "max_iterations": 3}, {"part": encode(rows)})
    assert alpha.tolist() == [2.0] * K
    expected = alone(rows, SEED, 3, alpha0=8.0).components_
    np.testing.assert_allclose(beta, expected / expected.sum(axis=1, keepdims=True), rtol=1e-6, atol=1e-9)


def test_a_loose_tol_stops_early(program: Program, rows: NDArray[np.float32], caplog: pytest.LogCaptureFixture) -> None:
    train(program, HPS | {"tol": 0.01}, {"part": encode(rows)})
    assert kept_seed(caplog.text)[1] < 60
    caplog.clear()
    train(program, HPS | {"tol": 1e-30, "max_iterations": 7}, {"part": encode(rows)})
    assert "Stopped after max_iterations (7) passes, before tol was reached" in caplog.text


@pytest.mark.parametrize(
    ("changed", "text"),
    [
        ({"num_topics": 0}, "k (num_topics) must be an integer >= 1, but got 0"),
        ({"feature_dim": 9}, "rows from 0 on have 16 features, but feature_dim is 9"),
        ({"epochs": 2}, "Unknown hyperparameter 'epochs'"),
    ],
)
def test_what_the_user_got_wrong(
    program: Program, rows: NDArray[np.float32], changed: dict[str, Any], text: str
) -> None:
    with pytest.raises(ClientError, match=re.escape(text)):
        program.run(HPS | changed, {"part": encode(rows)})


@pytest.mark.parametrize(
    ("value", "text"),
    [(-1.0, "row 7 holds -1; LDA counts words, so every feature must be a whole number of 0 or more"),
     (2.5, "row 7 holds 2.5; LDA counts words")],
)  # fmt: skip
@pytest.mark.parametrize("sparse", [False, True])
def test_what_is_no_count(program: Program, rows: NDArray[np.float32], value: float, text: str, sparse: bool) -> None:
    rows[7, 2] = value
    with pytest.raises(ClientError, match=re.escape(f"channel 'train': {text}")):
        program.run(HPS, {"part": encode(as_csr(rows) if sparse else rows)})
    with pytest.raises(ClientError, match=re.escape(f"channel 'test': {text}")):
        program.run(HPS, {"part": encode(rows[:7])}, encode(as_csr(rows) if sparse else rows))


def test_channels_without_words(program: Program, rows: NDArray[np.float32], monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ClientError, match="the train channel holds no row"):
        program.run(HPS, {"part": b""})
    with pytest.raises(ClientError, match="the test channel holds no word"):
        program.run(HPS, {"part": encode(rows)}, b"")
    monkeypatch.setattr(contract, "available_memory", lambda: 1000)
    with pytest.raises(ClientError, match="6 copies of the train channel in memory, and 1000 bytes are free"):
        program.run(HPS, {"part": encode(rows)})


# -- serving ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def app(program: Program, rows: NDArray[np.float32], monkeypatch: pytest.MonkeyPatch) -> serving.ServingApp:
    """What the serving program serves after training."""
    program.run(HPS | {"max_restarts": 1}, {"part": encode(rows)})
    made: list[serving.ServingApp] = []
    monkeypatch.setattr(serving, "serve", lambda make: made.append(make()))
    lda_serve.main()
    return made[0]


def test_mixtures_in_every_format(app: serving.ServingApp, rows: NDArray[np.float32]) -> None:
    """As scikit-learn's transform; theirs takes the expected logarithms of the topics, ours their probabilities."""
    expected = alone(rows, SEED, 60).transform(rows[:4].astype(np.float64))
    for kind, name in ((RECORDIO, "dense"), (RECORDIO, "sparse"), (CSV, "dense"), (JSON, "dense"), (LINES, "dense")):
        body = bytes(codec(kind).encode(rows[:4] if name == "dense" else as_csr(rows[:4])))
        for accept in (RECORDIO, JSON, LINES, CSV):
            status, answered, answer = ask(app, "POST", "/invocations", body, content_type=kind, accept=accept)
            assert (status, answered) == (200, accept)
            if accept == CSV:
                given = np.loadtxt(answer.decode().splitlines(), delimiter=",")
            else:
                given = codec(accept).decode_predictions(answer, ["topic_mixture"])["topic_mixture"]
            np.testing.assert_allclose(given, expected, atol=0.01, err_msg=f"{kind} {name} -> {accept}")
            np.testing.assert_allclose(given.sum(axis=1), 1, atol=1e-6)


def test_the_documentations_answer(app: serving.ServingApp) -> None:
    """lda.md: predictions with topic_mixture."""
    body = json.dumps({"instances": [{"features": [1.0] * 16}]}).encode()
    _, _, answer = ask(app, "POST", "/invocations", body, content_type=JSON, accept=JSON)
    (row,) = json.loads(answer)["predictions"]
    assert list(row) == ["topic_mixture"]
    np.testing.assert_allclose(row["topic_mixture"], 0.25, atol=0.05)


def test_what_is_no_count_is_refused(app: serving.ServingApp) -> None:
    body = b",".join([b"0"] * 16) + b"\n" + b",".join([b"-1"] * 16) + b"\n"
    status, _, answer = ask(app, "POST", "/invocations", body, content_type=CSV)
    assert (status, b"row 1 holds -1; LDA counts words" in answer) == (400, True)


def test_a_model_file_of_another_algorithm_is_refused(program: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    (program.folder / "model").mkdir()
    (program.folder / "model" / "model_algo-1").write_bytes(ndarray.dump_list([np.zeros((2, 2), np.float32)]))
    monkeypatch.setattr(serving, "serve", lambda make: make())
    with pytest.raises(ValueError, match=re.escape("an NDArray list of alpha (k,) and beta (k, feature_dim)")):
        lda_serve.main()
