"""Random batches and their comparison, shared by the codecs' tests."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st

from sagespark.codecs.matrix import Csr, Mixed


def random_csr(rng: np.random.Generator, counts: list[int], width: int, dtype: Any = np.float32) -> Csr:
    """Return sparse rows with the given numbers of entries."""
    indptr = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    if width < 10**6:
        rows = [rng.choice(width, c, replace=False) for c in counts]
    else:
        rows = [np.unique(rng.integers(0, width, 2 * c))[:c] for c in counts]
    indices = np.concatenate([np.empty(0), *(np.sort(r) for r in rows)]).astype(np.int64)
    return Csr(indptr, indices, rng.standard_normal(indptr[-1]).astype(dtype), width)


def random_matrix(rng: np.random.Generator, kind: str, rows: int, width: int, dtype: Any = np.float32) -> Any:
    """Return ``dense``, ``sparse`` or ``mixed`` rows, some of them empty."""
    if kind == "dense":
        return rng.standard_normal((rows, width)).astype(dtype)
    if kind == "sparse":
        return random_csr(rng, rng.integers(0, min(width, 70) + 1, rows).tolist(), width, dtype)
    is_sparse = rng.random(rows) < 0.5
    inside = int(is_sparse.sum())
    dense = random_matrix(rng, "dense", rows - inside, width, dtype)
    return Mixed(is_sparse, dense, random_matrix(rng, "sparse", inside, width, dtype))


def same(a: Any, b: Any) -> None:
    """Assert that two batches are equal bit for bit, types and all."""
    assert type(a) is type(b)
    if isinstance(a, Mixed):
        np.testing.assert_array_equal(a.is_sparse, b.is_sparse)
        same(a.dense, b.dense)
        same(a.sparse, b.sparse)
    elif isinstance(a, Csr):
        assert a.width == b.width
        np.testing.assert_array_equal(a.indptr, b.indptr)
        np.testing.assert_array_equal(a.indices, b.indices)
        same(a.values, b.values)
    else:
        assert a.dtype == b.dtype
        assert a.shape == b.shape
        assert np.ascontiguousarray(a).tobytes() == np.ascontiguousarray(b).tobytes()


def batches(kinds: tuple[str, ...] = ("dense", "sparse", "mixed"), max_rows: int = 12, max_width: int = 300) -> Any:
    """Return a strategy for batches."""
    return st.builds(
        lambda seed, kind, rows, width: random_matrix(np.random.default_rng(seed), kind, rows, width),
        st.integers(0, 2**32),
        st.sampled_from(kinds),
        st.integers(1, max_rows),
        st.integers(1, max_width),
    )
