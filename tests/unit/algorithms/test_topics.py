"""Documents under known topics: against the formulas of the paper, one document and one word at a time."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.special import gammaln, psi
from sklearn.decomposition import LatentDirichletAllocation

from sagespark.algorithms import topics
from sagespark.algorithms.topics import Topics, digamma, log_gamma, problem, to_sparse
from sagespark.codecs.matrix import Mixed

ALPHA = np.array([0.2, 0.5, 1.5])


@pytest.fixture
def beta() -> NDArray[np.float64]:
    return np.random.default_rng(1).dirichlet(np.full(30, 0.2), 3)


@pytest.fixture
def documents(beta: NDArray[np.float64]) -> NDArray[np.float32]:
    random = np.random.default_rng(2)
    rows = [random.multinomial(random.integers(0, 60), m @ beta) for m in random.dirichlet(ALPHA, 40)]
    rows[5] = np.zeros(30)
    return np.array(rows, np.float32)


def slowly(row: NDArray[np.float32], beta: NDArray[np.float64]) -> tuple[NDArray[np.float64], float]:
    """Return the posterior and the bound of one document by the figure 6 and equation 15 of Blei, Ng and Jordan."""
    gamma = ALPHA + row.sum() / 3
    for _ in range(3000):
        phi = beta.T * np.exp(psi(gamma) - psi(gamma.sum()))
        phi /= np.maximum(phi.sum(axis=1, keepdims=True), 1e-300)
        gamma = ALPHA + row @ phi
    logs = psi(gamma) - psi(gamma.sum())
    bound = gammaln(ALPHA.sum()) - gammaln(ALPHA).sum() + ((ALPHA - 1) * logs).sum()
    bound += (row[:, None] * phi * logs).sum()
    used = row > 0
    bound += (row[used, None] * phi[used] * np.log(np.maximum(beta.T[used], 1e-300))).sum()
    bound += -gammaln(gamma.sum()) + gammaln(gamma).sum() - ((gamma - 1) * logs).sum()
    bound -= (row[:, None] * phi * np.log(np.maximum(phi, 1e-300))).sum()
    return gamma, float(bound)


def test_posteriors_mixtures_and_bounds(beta: NDArray[np.float64], documents: NDArray[np.float32]) -> None:
    model = Topics(ALPHA, beta)
    expected = [slowly(row, beta) for row in documents]
    gammas = np.array([gamma for gamma, _ in expected])
    np.testing.assert_allclose(model.posteriors(documents), gammas, atol=2e-3)
    np.testing.assert_allclose(model.mixtures(documents), gammas / gammas.sum(axis=1, keepdims=True), atol=1e-4)
    total, words = model.bounds(documents)
    assert total == pytest.approx(sum(bound for _, bound in expected), rel=1e-6)
    assert words == documents.sum()
    np.testing.assert_allclose(model.mixtures(np.zeros((1, 30), np.float32))[0], ALPHA / ALPHA.sum())


def test_scikit_learns_mixtures_of_topics_that_are_certain(
    beta: NDArray[np.float64], documents: NDArray[np.float32]
) -> None:
    theirs = LatentDirichletAllocation(3, doc_topic_prior=0.5, mean_change_tol=1e-7, max_doc_update_iter=5000)
    theirs.fit(documents.astype(np.float64))
    certain = (beta + 1e-9) * 1e12
    theirs.components_ = certain
    theirs.exp_dirichlet_component_ = np.exp(psi(certain) - psi(certain.sum(axis=1, keepdims=True)))
    ours = Topics(np.full(3, 0.5), certain / certain.sum(axis=1, keepdims=True))
    np.testing.assert_allclose(ours.mixtures(documents), theirs.transform(documents.astype(np.float64)), atol=1e-4)


def test_a_rows_kind_and_the_size_of_blocks_change_nothing(
    beta: NDArray[np.float64], documents: NDArray[np.float32], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = Topics(ALPHA, beta)
    expected = model.posteriors(documents)
    is_sparse = np.arange(40) % 3 == 0
    mixed = Mixed(is_sparse, documents[~is_sparse], to_sparse(documents[is_sparse]))
    for cells in (1 << 20, 200, 1):
        monkeypatch.setattr(topics, "_CELLS", cells)
        for rows in (documents, to_sparse(documents), mixed):
            np.testing.assert_array_equal(model.posteriors(rows), expected)
            assert model.bounds(rows)[0] == pytest.approx(model.bounds(documents)[0], rel=1e-12)


def test_a_word_that_no_topic_has(beta: NDArray[np.float64]) -> None:
    beta[:, 7] = 0
    row = np.zeros((1, 30), np.float32)
    row[0, 7] = 3
    model = Topics(ALPHA, beta)
    assert np.isfinite(model.mixtures(row)).all()
    assert np.isfinite(model.bounds(row)[0])
    assert model.posteriors(np.zeros((0, 30), np.float32)).shape == (0, 3)


@given(st.floats(1e-6, 1e6))
@settings(max_examples=50)
def test_special_functions_are_scipys(x: float) -> None:
    assert float(digamma(np.array(x))) == pytest.approx(float(psi(x)), rel=1e-11, abs=1e-12)
    assert float(log_gamma(np.array(x))) == pytest.approx(float(gammaln(x)), rel=1e-10, abs=1e-11)


@pytest.mark.parametrize(("values", "at"), [([0, 2, 1e6], None), ([1, -1], 1), ([0.5], 0), ([], None)])
def test_counts(values: list[float], at: int | None) -> None:
    assert problem(np.array(values, np.float32)) == at
