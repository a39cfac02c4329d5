"""Principal components against scikit-learn's, which keeps all rows in memory.

Tolerances: 'regular' agrees to 1e-9 in singular values and coefficients (float64, eigenvalues of the scatter matrix);
'randomized' to 1e-6 in singular values and 1e-3 in coefficients where the spectrum falls slowly.
"""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import sparse
from sklearn import decomposition
from sklearn.datasets import load_breast_cancer, load_digits

from sagespark.algorithms.pca import PCA
from sagespark.codecs.matrix import Matrix, Mixed
from sagespark.local.containers import pca_fit
from sagespark.local.containers.contract import ClientError
from sagespark.local.containers.pca_fit import Components, fit
from support.programs import as_csr

K = 6
MODES = {"regular": (1e-9, 1e-8), "randomized": (1e-6, 1e-3)}
MEMORY = 1 << 30


def values(width: int, **changed: Any) -> dict[str, Any]:
    wire = {"feature_dim": str(width), "num_components": str(K), "mini_batch_size": "300"}
    return PCA.parse(wire | {name: str(value) for name, value in changed.items()})


def blocks(rows: Matrix, size: int = 777) -> Iterable[Matrix]:
    return (rows[start : start + size] for start in range(0, rows.shape[0], size))


def found(rows: Matrix, **changed: Any) -> Components:
    return fit(lambda: blocks(rows), values(rows.shape[1], **changed), 1, MEMORY)


def kinds(rows: NDArray[np.float32]) -> dict[str, Matrix]:
    is_sparse = np.random.default_rng(0).random(len(rows)) < 0.5
    mixed = Mixed(is_sparse, rows[~is_sparse], as_csr(rows[is_sparse]))
    return {"dense": rows, "sparse": as_csr(rows), "mixed": mixed}


def synthetic() -> NDArray[np.float32]:
    """Return 10^5 rows of 50 features, far from zero, of which 12 directions matter."""
    random = np.random.default_rng(0)
    rows = (random.normal(size=(100_000, 12)) * np.arange(12, 0, -1)) @ random.normal(size=(12, 50))
    return (rows + 0.3 * random.normal(size=(100_000, 50)) + 1000).astype(np.float32)


DATA = {"digits": lambda: load_digits().data, "breast cancer": lambda: load_breast_cancer().data, "10^5": synthetic}


@pytest.mark.parametrize("name", DATA)
def test_equal_to_scikit_learn_whatever_the_rows_kind(name: str) -> None:
    rows = DATA[name]().astype(np.float32)
    alone = decomposition.PCA(K, svd_solver="full").fit(rows.astype(np.float64))
    for mode, (singular, coefficients) in MODES.items():
        for kind, matrix in kinds(rows).items():
            one = found(matrix, algorithm_mode=mode)
            where = f"{mode}, {kind}"
            np.testing.assert_allclose(one.singular[::-1], alone.singular_values_, rtol=singular, err_msg=where)
            # scikit-learn too makes the largest coefficient positive.
            np.testing.assert_allclose(one.vectors[:, ::-1], alone.components_.T, atol=coefficients, err_msg=where)
            np.testing.assert_allclose(one.mean, alone.mean_, rtol=1e-12, atol=1e-12)
            total = alone.explained_variance_[0] / alone.explained_variance_ratio_[0] * (len(rows) - 1)
            assert one.total == pytest.approx(total, rel=1e-9)
            assert one.rows == len(rows)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("kind", ["dense", "sparse", "mixed"])
def test_without_the_mean_it_is_a_singular_value_decomposition(mode: str, kind: str) -> None:
    rows = load_digits().data.astype(np.float32)
    one = found(kinds(rows)[kind], algorithm_mode=mode, subtract_mean="false")
    _, s, vt = np.linalg.svd(rows.astype(np.float64), full_matrices=False)
    singular, coefficients = MODES[mode]
    np.testing.assert_allclose(one.singular[::-1], s[:K], rtol=singular)
    np.testing.assert_allclose(np.abs((one.vectors[:, ::-1] * vt[:K].T).sum(axis=0)), 1, atol=coefficients)
    assert one.mean is None
    assert one.total == pytest.approx((s**2).sum(), rel=1e-9)


@pytest.mark.parametrize("mode", MODES)
def test_wide_sparse_rows_are_equal_to_scipys(mode: str) -> None:
    random = np.random.default_rng(2)
    left = sparse.random(3000, 8, 0.3, random_state=1, dtype=np.float64)
    right = sparse.random(8, 1200, 0.2, random_state=2, dtype=np.float64)
    matrix = sparse.csr_matrix(left.multiply(np.arange(9, 1, -1)) @ right, dtype=np.float32)
    matrix.data += random.normal(scale=0.01, size=matrix.nnz).astype(np.float32)
    rows = as_csr(matrix)
    one = found(rows, algorithm_mode=mode)
    alone = decomposition.PCA(K, svd_solver="arpack", random_state=0).fit(matrix.astype(np.float64))
    np.testing.assert_allclose(one.singular[::-1], alone.singular_values_, rtol=1e-6)
    np.testing.assert_allclose(np.abs((one.vectors[:, ::-1] * alone.components_.T).sum(axis=0)), 1, atol=1e-4)


def test_extra_components_make_it_more_accurate(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a single pass, which is what they are for in AWS's own scheme."""
    monkeypatch.setattr(pca_fit, "MAX_PASSES", 1)
    rows = load_digits().data.astype(np.float32)
    exact = found(rows).singular
    errors = []
    for extra in (0, -1, 30, 58):
        one = found(rows, algorithm_mode="randomized", extra_components=extra)
        errors.append(float(np.abs(one.singular / exact - 1).max()))
    assert errors[0] > errors[1] > errors[2] > errors[3]
    # -1 is the larger of 10 and k.
    assert errors[1] == float(
        np.abs(found(rows, algorithm_mode="randomized", extra_components=10).singular / exact - 1).max()
    )
    # 6 and 58 are all 64 features: the answer is exact.
    assert errors[3] < 1e-9


def test_one_seed_gives_one_answer() -> None:
    rows = load_digits().data.astype(np.float32)
    run = values(64, algorithm_mode="randomized")
    one, same, other = (fit(lambda: blocks(rows), run, seed, MEMORY).vectors for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, same)
    assert not np.array_equal(one, other)
    np.testing.assert_allclose(one, other, atol=1e-3)


@pytest.mark.parametrize("mode", MODES)
def test_memory_is_flat(mode: str) -> None:
    """20 times the rows take no more memory: a batch of them, and d x d or d x l."""
    block = np.random.default_rng(0).normal(size=(500, 40)).astype(np.float32)
    peaks = []
    for count in (5, 100):
        tracemalloc.start()
        run = values(40, algorithm_mode=mode)
        fit(lambda n=count: (block + i for i in range(n)), run, 1, MEMORY)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.2 * peaks[0]
    assert peaks[1] < 20 * block.nbytes


@pytest.mark.parametrize("mode", MODES)
def test_fewer_rows_than_components_leave_singular_values_of_zero(mode: str) -> None:
    rows = np.random.default_rng(0).normal(size=(3, 10)).astype(np.float32)
    one = found(rows, algorithm_mode=mode)
    scale = one.singular[-1]
    np.testing.assert_allclose(one.singular[:-2] / scale, 0, atol=1e-7)
    assert (one.singular[-2:] > 0.1 * scale).all()
    np.testing.assert_allclose(one.vectors.T @ one.vectors, np.eye(K), atol=1e-12)
    np.testing.assert_allclose(found(rows[:1], algorithm_mode=mode).singular, 0, atol=1e-6)


@pytest.mark.parametrize("mode", MODES)
def test_what_the_user_got_wrong(mode: str) -> None:
    with pytest.raises(ClientError, match="num_components is 6, but there are 5 features"):
        found(np.zeros((9, 5), np.float32), algorithm_mode=mode)
    with pytest.raises(ClientError, match="the train channel holds no row"):
        found(np.zeros((0, 8), np.float32), algorithm_mode=mode)


def test_regular_needs_room_for_its_matrix() -> None:
    rows = np.random.default_rng(0).normal(size=(50, 100)).astype(np.float32)
    with pytest.raises(ClientError, match=r"takes 160000 bytes of memory for 100 features, .*; use 'randomized'"):
        fit(lambda: blocks(rows), values(100), 1, 150_000)
    assert fit(lambda: blocks(rows), values(100, algorithm_mode="randomized"), 1, 150_000).rows == 50
