"""The nearest training rows of each row: exact, by cells of a K-means partition, or by product quantisation.

Notation: ``n`` rows ``y`` of ``d`` features are kept, each row ``x`` asks for the ``k`` nearest. Distances are

    L2              |x - y|
    INNER_PRODUCT   - x . y
    COSINE          1 - x . y / (|x| |y|), which is an inner product of rows of length 1 (a row of zeros stays one)

so that the smallest is the nearest, as AWS's verbose answers are sorted; of equal distances the earlier row is nearer.
AWS's container uses FAISS, which is not used here:

faiss.Flat
    All ``n`` distances, as |x|^2 - 2 x . y + |y|^2 in float64; the ``k`` smallest again from ``x - y`` itself. Sparse
    rows of more than 1,024 features stay sparse.
faiss.IVFFlat
    K-means (scikit-learn's) makes ``nlists`` cells of the rows; ``x`` is compared with the rows of its ``nprobe``
    nearest cells, and of more where these hold fewer than ``k`` rows. AWS does not publish its ``nprobe``: here it is
    the square root of ``nlists``, rounded up.
faiss.IVFPQ
    As IVFFlat, but of a row the difference to its cell's centre is kept in ``m`` parts, each as the number of the
    nearest of 256 centres of such parts (Jegou, Douze and Schmid, "Product Quantization for Nearest Neighbor Search",
    2011). The distance is that of ``x`` to what the numbers stand for (their equation 13).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

_CELLS = 1 << 22
"""Most numbers of an intermediate array."""
CODES = 256
"""Centres of a part: one byte each."""
Found = tuple[NDArray[np.intp], NDArray[np.float64]]
"""Positions of the neighbours and distances to them, both of shape (n, k), the nearest first."""


@dataclass(frozen=True)
class Index:
    """Rows kept, ready for the search.

    Parameters
    ----------
    points : ndarray of float32 or scipy.sparse.csr_matrix, shape (n, d); or None
        The rows; with cells, those of the first cell first. None where codes stand for them.
    metric : {'L2', 'INNER_PRODUCT', 'COSINE'}
    centres : ndarray, shape (nlists, d), or None
        Of the cells.
    offsets : ndarray of int, shape (nlists + 1,), or None
        Cell ``c`` has the rows ``offsets[c]`` to ``offsets[c + 1]``.
    codebooks : ndarray, shape (m, codes, d / m), or None
    codes : ndarray of uint8, shape (n, m), or None
    """

    points: Any
    metric: str
    centres: NDArray[np.float32] | None = None
    offsets: NDArray[np.int32] | None = None
    codebooks: NDArray[np.float32] | None = None
    codes: NDArray[np.uint8] | None = None

    def __len__(self) -> int:
        """Return the number of rows kept."""
        return int(self.points.shape[0] if self.codes is None else len(self.codes))

    def search(self, rows: Any, k: int) -> Found:
        """Return the ``k`` nearest rows of each.

        Parameters
        ----------
        rows : ndarray or scipy.sparse.csr_matrix, shape (n, d)
        k : int
            At most as many as rows are kept.
        """
        if self.metric == "COSINE":
            rows = unit(rows)
        if self.centres is None:
            return self._flat(rows, k)
        return self._by_cells(np.asarray(rows if isinstance(rows, np.ndarray) else rows.toarray(), np.float64), k)

    @cached_property
    def _exact(self) -> tuple[Any, NDArray[np.float64]]:
        """The rows in float64 and their squared lengths, kept between searches."""
        points = self.points.astype(np.float64)
        return points, _squares(points)

    # -- every row --------------------------------------------------------------------------------------------------

    def _flat(self, rows: Any, k: int) -> Found:
        n = rows.shape[0]
        positions, distances = np.empty((n, k), np.intp), np.empty((n, k))
        points, norms = self._exact
        step = max(1, _CELLS // len(self))
        for start in range(0, n, step):
            part = slice(start, min(n, start + step))
            positions[part], distances[part] = self._nearest(rows[part].astype(np.float64), points, norms, k)
        return positions, distances

    def _nearest(self, x: Any, points: Any, norms: NDArray[np.float64], k: int) -> Found:
        """Return the nearest of some points, without regard to cells."""
        product = x @ points.T
        product = np.asarray(product if isinstance(product, np.ndarray) else product.toarray())
        if self.metric != "L2":
            return _smallest(-product + (1.0 if self.metric == "COSINE" else 0.0), k)
        squares = norms - 2 * product + _squares(x)[:, np.newaxis]
        if not (isinstance(x, np.ndarray) and isinstance(points, np.ndarray)):
            positions, found = _smallest(np.maximum(squares, 0), k)
            return positions, np.sqrt(found)
        # Some more than k, so that rounding cannot leave a neighbour out; then exactly.
        wide = min(k + 8, len(points))
        near = np.sort(_smallest(squares, wide)[0], axis=1)
        exact = np.empty(near.shape)
        step = max(1, _CELLS // (wide * x.shape[1]))
        for start in range(0, len(x), step):
            part = slice(start, start + step)
            apart = x[part, np.newaxis] - points[near[part]]
            exact[part] = np.einsum("ijk,ijk->ij", apart, apart)
        order, found = _smallest(exact, k)
        return np.take_along_axis(near, order, axis=1), np.sqrt(found)

    # -- by cells ---------------------------------------------------------------------------------------------------

    def _by_cells(self, x: NDArray[np.float64], k: int) -> Found:
        assert self.centres is not None
        assert self.offsets is not None
        query, position, distance = [], [], []
        for asked, cell in self._probes(x, k):
            begin, end = int(self.offsets[cell]), int(self.offsets[cell + 1])
            if begin == end:
                continue
            best = min(k, end - begin)
            if self.codes is None:
                points, norms = self._exact
                near, found = self._nearest(x[asked], points[begin:end], norms[begin:end], best)
            else:
                near, found = self._decoded(x[asked], cell, begin, end, best)
            query.append(np.repeat(asked, best))
            position.append(near.ravel() + begin)
            distance.append(found.ravel())
        rows, positions, distances = np.concatenate(query), np.concatenate(position), np.concatenate(distance)
        order = np.lexsort((positions, distances, rows))
        counts = np.bincount(rows, minlength=len(x))
        first = np.concatenate([[0], np.cumsum(counts)[:-1]])
        kept = order[(first[:, np.newaxis] + np.arange(k)).ravel()]
        return positions[kept].reshape(-1, k), distances[kept].reshape(-1, k)

    def _probes(self, x: NDArray[np.float64], k: int) -> Iterator[tuple[NDArray[np.intp], int]]:
        """Yield each cell that is looked at, with the rows that look at it."""
        assert self.centres is not None
        assert self.offsets is not None
        centres = self.centres.astype(np.float64)
        far = _squares(centres) - 2 * (x @ centres.T) if self.metric == "L2" else -(x @ centres.T)
        order = np.argsort(far, axis=1, kind="stable")
        enough = (np.cumsum(np.diff(self.offsets)[order], axis=1) < k).sum(axis=1) + 1
        looked = np.maximum(enough, nprobe(len(centres)))
        row, rank = np.nonzero(np.arange(len(centres)) < looked[:, np.newaxis])
        cell = order[row, rank]
        by_cell = np.argsort(cell, kind="stable")
        row, cell = row[by_cell], cell[by_cell]
        starts = np.flatnonzero(np.diff(cell, prepend=-1))
        for start, stop in zip(starts, [*starts[1:], len(cell)], strict=True):
            yield row[start:stop], int(cell[start])

    def _decoded(self, x: NDArray[np.float64], cell: int, begin: int, end: int, k: int) -> Found:
        """Return the nearest of a cell's rows by what their codes stand for."""
        assert self.centres is not None
        assert self.codebooks is not None
        assert self.codes is not None
        m, _, size = self.codebooks.shape
        residual = (x - self.centres[cell]).reshape(len(x), m, 1, size)
        codes = self.codes[begin:end]
        squares = np.zeros((len(x), end - begin))
        for part in range(m):
            apart = residual[:, part] - self.codebooks[part].astype(np.float64)
            squares += np.einsum("ijk,ijk->ij", apart, apart)[:, codes[:, part]]
        near, found = _smallest(squares, k)
        return near, np.sqrt(found)


def build(points: Any, values: dict[str, Any], seed: int) -> tuple[Index, NDArray[np.intp]]:
    """Return the index of rows, and the order in which it keeps them.

    Parameters
    ----------
    points : ndarray of float32 or scipy.sparse.csr_matrix, shape (n, d)
        Dense for anything but 'faiss.Flat'.
    values : dict
        Hyperparameters of KNN by wire string.
    seed : int
        Of K-means.
    """
    metric, kind = values["index_metric"], values["index_type"]
    if metric == "COSINE":
        points = unit(points)
    if kind == "faiss.Flat":
        return Index(points, metric), np.arange(points.shape[0])
    asked = values["faiss_index_ivf_nlists"]
    lists = min(len(points), max(1, math.isqrt(len(points))) if asked == "auto" else asked)
    m = values["faiss_index_pq_m"] if kind == "faiss.IVFPQ" else 1
    points = padded(points, m)
    centres, cells = _partition(points, lists, seed)
    order = np.argsort(cells, kind="stable")
    offsets = np.concatenate([[0], np.cumsum(np.bincount(cells, minlength=lists))]).astype(np.int32)
    if kind == "faiss.IVFFlat":
        return Index(points[order], metric, centres, offsets), order
    residuals = (points - centres[cells])[order].reshape(len(points), m, -1)
    books, codes = [], []
    for part in range(m):
        book, numbers = _partition(np.ascontiguousarray(residuals[:, part]), min(CODES, len(points)), seed)
        books.append(book)
        codes.append(numbers.astype(np.uint8))
    return Index(None, metric, centres, offsets, np.stack(books), np.column_stack(codes)), order


def nprobe(lists: int) -> int:
    """Return how many cells are looked at."""
    return math.isqrt(lists - 1) + 1


def padded(rows: NDArray[Any], m: int) -> NDArray[Any]:
    """Return rows with zeros behind them, so that their width is a multiple of ``m``."""
    return np.pad(rows, ((0, 0), (0, -rows.shape[1] % m)))


def unit(rows: Any) -> Any:
    """Return rows of length 1; those of zeros stay as they are."""
    lengths = np.sqrt(_squares(rows.astype(np.float64)))
    inverse = 1 / np.where(lengths > 0, lengths, 1)
    if isinstance(rows, np.ndarray):
        return (rows * inverse[:, np.newaxis]).astype(np.float32)
    from scipy.sparse import diags

    return (diags(inverse) @ rows).tocsr().astype(np.float32)


def _partition(rows: NDArray[np.float32], count: int, seed: int) -> tuple[NDArray[np.float32], NDArray[np.intp]]:
    """Return K-means centres and each row's number, as FAISS trains: 25 passes over at most 256 rows a centre."""
    from sklearn.cluster import KMeans

    from sagespark.local.containers.nearest import Centres

    random = np.random.default_rng(seed)
    sample = rows
    if len(rows) > CODES * count:
        sample = rows[np.sort(random.choice(len(rows), CODES * count, replace=False))]
    distinct = np.unique(sample, axis=0)
    if len(distinct) <= count:
        # No more places than centres: each is one; the others repeat the first, and stay empty.
        centres = np.concatenate([distinct, np.repeat(distinct[:1], count - len(distinct), axis=0)])
    else:
        start = sample[random.choice(len(sample), count, replace=False)]
        centres = KMeans(count, init=start, n_init=1, max_iter=25).fit(sample).cluster_centers_
    return centres.astype(np.float32), Centres(centres).closest(rows)[0]


def _squares(rows: Any) -> NDArray[np.float64]:
    if isinstance(rows, np.ndarray):
        return np.asarray(np.einsum("ij,ij->i", rows, rows))
    return np.asarray(rows.multiply(rows).sum(axis=1), np.float64).ravel()


def _all(distances: NDArray[np.float64]) -> NDArray[np.intp]:
    return np.tile(np.arange(distances.shape[1]), (len(distances), 1))


def _smallest(distances: NDArray[np.float64], k: int) -> Found:
    """Return the ``k`` smallest of each row in order; of equal ones the first comes first."""
    n, width = distances.shape
    if k < width:
        limit = np.partition(distances, k - 1, axis=1)[:, k - 1 : k]
        chosen = distances <= limit
        # Where more are as small as the k-th smallest, the first ones of them.
        for row in np.flatnonzero(np.count_nonzero(chosen, axis=1) > k):
            equal = np.flatnonzero(distances[row] == limit[row])
            surplus = np.count_nonzero(chosen[row]) - k
            chosen[row, equal[len(equal) - surplus :]] = False
        near = np.nonzero(chosen)[1].reshape(n, k)
    else:
        near = _all(distances)
    found = np.take_along_axis(distances, near, axis=1)
    order = np.argsort(found, axis=1, kind="stable")
    return np.take_along_axis(near, order, axis=1), np.take_along_axis(found, order, axis=1)
