from __future__ import annotations

import numpy as np
import pytest
from scipy.sparse import csr_matrix, random

from sagespark.codecs.matrix import Csr, Mixed
from sagespark.ml import nearest
from sagespark.ml.nearest import assign


def csr(matrix: csr_matrix) -> Csr:
    return Csr(matrix.indptr.astype(np.int64), matrix.indices.astype(np.int64), matrix.data, matrix.shape[1])


@pytest.mark.parametrize("cells", [1, 50, 1 << 20])
def test_dense_sparse_and_mixed_rows_agree_with_the_definition(cells: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nearest, "_CELLS", cells)
    rng = np.random.default_rng(0)
    sparse = random(40, 30, 0.2, "csr", dtype=np.float32, random_state=1)
    dense = sparse.toarray()
    dense[3] = 0
    sparse = csr_matrix(dense)
    centers = rng.normal(size=(5, 30))
    exact = ((dense[:, None, :].astype(np.float64) - centers[None]) ** 2).sum(axis=2)
    is_sparse = np.arange(40) % 3 == 0
    for rows in (dense, csr(sparse), Mixed(is_sparse, dense[~is_sparse], csr(csr_matrix(dense[is_sparse])))):
        labels, squares = assign(rows, centers)
        np.testing.assert_array_equal(labels, exact.argmin(axis=1))
        np.testing.assert_allclose(squares, exact.min(axis=1), rtol=1e-12)


def test_ties_go_to_the_lowest_number_and_no_row_is_fine() -> None:
    labels, squares = assign(np.zeros((1, 2), np.float32), np.array([[1.0, 0.0], [0.0, 1.0]]))
    assert (labels.tolist(), squares.tolist()) == ([0], [1.0])
    labels, squares = assign(np.empty((0, 2), np.float32), np.ones((1, 2)))
    assert labels.shape == squares.shape == (0,)
