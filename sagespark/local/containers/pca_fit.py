"""Principal components of rows that are read in pieces, with flat memory.

After "How PCA Works" of the SageMaker Developer Guide. Notation: ``n`` rows ``x`` of ``d`` features and mean ``m``
(zero without ``subtract_mean``), ``k`` components; ``X`` is the matrix of the rows ``x - m``, and the components are
its right singular vectors of the largest singular values. All arithmetic is in float64; sparse rows stay sparse, since
``m`` enters through sums.

regular
    One pass adds up the scatter matrix (:mod:`sagespark.local.containers.scatter`), whose eigenvectors are the
    components and whose eigenvalues are their squared singular values. Singular values below 1e-8 of the largest are
    rounding:

        X'X = sum x'x - n m'm.                                                                                      (1)

randomized
    AWS's one pass multiplies each mini-batch by ``l = k + extra_components`` rows of random signs and adds up,

        C = sum H_t X_t - (1/n) (sum of H's columns) (sum of rows),                                                 (2)

    whose right singular vectors are its answer. Here they are only the first guess: subspace iteration follows,

        Q = orth(C'),  Z = X'(X Q),  Q'Z = W diag(s^2) W',  v = Q W,  next C' = Z,                                  (3)

    (Halko, Martinsson and Tropp, 2011, sections 4.5 and 5) until the ``k`` values ``s`` settle. Memory is d x l.

Rows that lie on several hosts enter through sums alone: (1), (2) and Z are added up over the hosts.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import linalg

from sagespark.algorithms.moments import Moments
from sagespark.codecs.matrix import Csr, Matrix, Mixed
from sagespark.local.containers.batches import cut
from sagespark.local.containers.contract import ClientError
from sagespark.local.containers.hosts import ALONE, Hosts, joined
from sagespark.local.containers.scatter import Scatter, to_float64

MAX_PASSES = 8
"""Most passes of subspace iteration; scikit-learn's randomized solver makes 5 or 8."""
SETTLED = 1e-7
"""Change of the squared singular values, as a share of the largest one, below which they have settled."""
MATRICES = 2
"""Matrices of d x d that the mode 'regular' holds at its end: the scatter matrix and what its solver copies."""
_log = logging.getLogger(__name__)

Read = Callable[[], Iterable[Matrix]]
"""Returns the blocks of float32 rows from the first one on."""


@dataclass(frozen=True)
class Components:
    """What was found."""

    vectors: NDArray[np.float64]
    """Shape (d, k), one component a column, in increasing order of their singular values."""
    singular: NDArray[np.float64]
    """Singular values, shape (k,)."""
    mean: NDArray[np.float64] | None
    """Shape (d,); None without ``subtract_mean``."""
    rows: int
    total: float
    """Sum of all squared singular values, those of the components left out included."""


def fit(read: Read, values: dict[str, Any], seed: int, available: int, hosts: Hosts | None = None) -> Components:
    """Find the components.

    Parameters
    ----------
    read : callable
        Called once by 'regular', once per pass by 'randomized'.
    values : dict
        Hyperparameters of PCA by wire string.
    seed : int
        Of the random signs.
    available : int
        Bytes of memory that may be taken.
    hosts : Hosts or None
        The hosts that have a part of the rows each, and all get the same components; None: this one has them all.

    Raises
    ------
    ClientError
        If there is no row, fewer features than components, or no room for 'regular'.
    """
    d, k = values["feature_dim"], values["num_components"]
    if k > d:
        raise ClientError(f"num_components is {k}, but there are {d} features; there can be at most as many components")
    if values["algorithm_mode"] == "randomized":
        return _randomized(read, values, seed, hosts or ALONE)
    need = 8 * d * d * MATRICES
    if need > available:
        raise ClientError(
            f"algorithm_mode 'regular' takes {need} bytes of memory for {d} features, but {available} are free; "
            "use 'randomized'"
        )
    return _regular(read, values, hosts or ALONE)


# -- regular ----------------------------------------------------------------------------------------------------------


def _regular(read: Read, values: dict[str, Any], hosts: Hosts) -> Components:
    d, k, centred = values["feature_dim"], values["num_components"], values["subtract_mean"]
    scatter = Scatter(d, centred)
    for batch in cut(read(), values["mini_batch_size"]):
        scatter.add(batch)
    matrix = scatter.joined(hosts)
    total = float(np.trace(matrix))
    # Increasing eigenvalues, as AWS's artifact has them.
    squares, vectors = linalg.eigh(
        matrix, lower=True, overwrite_a=True, check_finite=False, subset_by_index=(d - k, d - 1)
    )
    return _components(squares, vectors, scatter.moments, centred, total)


# -- randomized -------------------------------------------------------------------------------------------------------


def _randomized(read: Read, values: dict[str, Any], seed: int, hosts: Hosts) -> Components:
    d, k, extra, centred = (
        values[name] for name in ("feature_dim", "num_components", "extra_components", "subtract_mean")
    )
    wanted = min(d, k + (max(10, k) if extra == -1 else extra))
    size = values["mini_batch_size"]
    # Hosts draw signs of their own for their rows; the first one draws as a host alone does.
    random = np.random.default_rng([seed, hosts.rank] if hosts.rank else seed)
    guess, moments = _sketch(cut(read(), size), wanted, d, centred, random, hosts)
    total = moments.spread if centred else moments.squares
    mean = moments.mean if centred else np.zeros(d)
    squares = np.zeros(k)
    for number in range(MAX_PASSES):
        basis = np.linalg.qr(guess)[0]
        guess = np.zeros((d, wanted))
        for batch in cut(read(), size):
            guess += _applied(batch, basis, mean)
        guess = hosts.allreduce(guess)
        found, rotation = linalg.eigh(basis.T @ guess)
        former, squares = squares, found[-k:]
        vectors = basis @ rotation[:, -k:]
        change = float(np.abs(squares - former).max()) / max(float(np.abs(squares).max()), np.finfo(float).tiny)
        _log.info("Pass %d: squared singular values change by %.3g of the largest", number + 1, change)
        if change < SETTLED or wanted == d:
            break
    return _components(squares, vectors, moments, centred, total)


def _sketch(
    batches: Iterable[Matrix], wanted: int, d: int, centred: bool, random: np.random.Generator, hosts: Hosts
) -> tuple[NDArray[np.float64], Moments]:
    """Return ``C'`` of equation (2), shape (d, l), and the moments of the rows."""
    moments = Moments(d)
    product, signs = np.zeros((d, wanted)), np.zeros(wanted)
    for batch in batches:
        moments.add(batch)
        h = 2.0 * random.integers(0, 2, (batch.shape[0], wanted)) - 1
        for rows, part in _halves(batch, h):
            product += to_float64(rows).T @ part if isinstance(rows, Csr) else rows.T.astype(np.float64) @ part
        signs += h.sum(axis=0)
    moments, signs, product = joined(moments, hosts), hosts.allreduce(signs), hosts.allreduce(product)
    if centred:
        product -= np.outer(moments.mean, signs)
    return product, moments


def _applied(batch: Matrix, basis: NDArray[np.float64], mean: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return ``X_t'(X_t Q)``, shape (d, l)."""
    out = np.zeros(basis.shape)
    for rows, _ in _halves(batch, None):
        if isinstance(rows, Csr):
            x = to_float64(rows)
            projected = x @ basis - mean @ basis
            out += x.T @ projected
            out -= np.outer(mean, projected.sum(axis=0))
        else:
            dense = rows - mean
            out += dense.T @ (dense @ basis)
    return out


def _halves(batch: Matrix, beside: NDArray[Any] | None) -> list[tuple[Any, Any]]:
    """Return the dense and the sparse rows of a batch, with what lies beside them."""
    if not isinstance(batch, Mixed):
        return [(batch, beside)]
    masks = ((~batch.is_sparse, batch.dense), (batch.is_sparse, batch.sparse))
    return [(rows, None if beside is None else beside[mask]) for mask, rows in masks]


# -- both -------------------------------------------------------------------------------------------------------------


def _components(
    squares: NDArray[np.float64], vectors: NDArray[np.float64], moments: Moments, centred: bool, total: float
) -> Components:
    if not moments.count:
        raise ClientError("the train channel holds no row")
    # A component's sign is arbitrary: the coefficient of the largest magnitude is made positive, as scikit-learn does.
    largest = np.abs(vectors).argmax(axis=0)
    signs = np.where(vectors[largest, np.arange(vectors.shape[1])] < 0, -1.0, 1.0)
    singular = np.sqrt(np.maximum(squares, 0))
    return Components(vectors * signs, singular, moments.mean if centred else None, moments.count, total)
