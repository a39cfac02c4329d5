"""What latent Dirichlet allocation says of documents, once its topics are known.

After Blei, Ng and Jordan, "Latent Dirichlet Allocation", 2003, sections 5.2 and 5.3. Notation: a document counts each
word ``w`` of its vocabulary ``n_w`` times, ``N`` words in all; topic ``j`` of ``k`` gives the word the probability
``b_jw``; ``a`` is the Dirichlet prior of the topics. The document's topics have the variational posterior
Dirichlet(``g``), found by repeating, with psi the digamma function,

    e_j = exp(psi(g_j) - psi(sum g)),    g_j = a_j + e_j sum_w n_w b_jw / (sum_i e_i b_iw).                         (1)

Since the shares of a word add up to one, ``sum g = sum a + N``. The topic mixture is ``g / sum g``, and the bound of
the document's log-likelihood is

    L = sum_w n_w log(sum_j e_j b_jw) + sum_j [(a_j - g_j) log e_j + lgamma(g_j) - lgamma(a_j)]
        + lgamma(sum a) - lgamma(sum g).                                                                            (2)

Documents go through (1) together; those that have settled leave.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sagespark.codecs.matrix import Csr, Matrix, Mixed

MAX_ROUNDS = 1000
"""Most rounds of (1)."""
SETTLED = 1e-5
"""Mean change of ``g`` below which a document has settled; scikit-learn's is 1e-3."""
_CELLS = 1 << 20
"""Most numbers of an intermediate array."""


@dataclass(frozen=True)
class Topics:
    """A model.

    Parameters
    ----------
    alpha : ndarray, shape (k,)
        The prior, above 0.
    beta : ndarray, shape (k, d)
        Probabilities of the words, one topic a row.
    """

    alpha: NDArray[np.float64]
    beta: NDArray[np.float64]

    def mixtures(self, rows: Matrix) -> NDArray[np.float64]:
        """Return the topic mixture of each document, shape (n, k); its values add up to 1."""
        found = self.posteriors(rows)
        mixtures: NDArray[np.float64] = found / found.sum(axis=1, keepdims=True)
        return mixtures

    def bounds(self, rows: Matrix) -> tuple[float, float]:
        """Return the sum of equation (2) over the documents, and their number of words."""
        total = words = 0.0
        for _, block in _blocks(rows, len(self.alpha)):
            posterior = self._posterior(block)
            logs = digamma(posterior) - digamma(posterior.sum(axis=1))[:, np.newaxis]
            row = _row_of(block)
            by_word = np.einsum("ij,ij->i", np.exp(logs)[row], self._by_entry(block))
            counts = block.values.astype(np.float64)
            total += float(counts @ np.log(np.maximum(by_word, np.finfo(float).tiny)))
            total += float(((self.alpha - posterior) * logs).sum())
            total += float((log_gamma(posterior) - log_gamma(self.alpha)).sum())
            total += float((log_gamma(self.alpha.sum()) - log_gamma(posterior.sum(axis=1))).sum())
            words += float(counts.sum())
        return total, words

    def posteriors(self, rows: Matrix) -> NDArray[np.float64]:
        """Return ``g`` of each document, shape (n, k).

        Parameters
        ----------
        rows : ndarray of shape (n, d), Csr or Mixed
            Counts, 0 or more. Sparse rows stay sparse.
        """
        out = np.empty((rows.shape[0], len(self.alpha)))
        for where, block in _blocks(rows, len(self.alpha)):
            out[where] = self._posterior(block)
        return out

    def _by_entry(self, block: Csr) -> NDArray[np.float64]:
        by_entry: NDArray[np.float64] = self.beta.T[block.indices]
        return by_entry

    def _posterior(self, block: Csr) -> NDArray[np.float64]:
        n, k = block.shape[0], len(self.alpha)
        counts = np.diff(block.indptr)
        words = np.zeros(n)
        filled = np.flatnonzero(counts)
        if len(filled):
            words[filled] = np.add.reduceat(block.values.astype(np.float64), block.indptr[filled])
        posterior = self.alpha + words[:, np.newaxis] / k
        # From here on: the documents that have words and have not settled, and their entries.
        left, by_entry, values = filled, self._by_entry(block), block.values.astype(np.float64)
        sizes = counts[filled]
        for _ in range(MAX_ROUNDS):
            if not len(left):
                break
            current = posterior[left]
            weights = np.exp(digamma(current) - digamma(current.sum(axis=1))[:, np.newaxis])
            row = np.repeat(np.arange(len(left)), sizes)
            shares = np.einsum("ij,ij->i", weights[row], by_entry)
            # A word that no topic has tells nothing: its share is spread as the document's others are.
            scaled = values / np.maximum(shares, np.finfo(float).tiny)
            starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
            new = self.alpha + weights * np.add.reduceat(by_entry * scaled[:, np.newaxis], starts)
            change = np.abs(new - current).mean(axis=1)
            posterior[left] = new
            going = change >= SETTLED
            if not going.all():
                kept = np.repeat(going, sizes)
                left, sizes = left[going], sizes[going]
                by_entry, values = by_entry[kept], values[kept]
        return posterior


def problem(values: NDArray[Any]) -> int | None:
    """Return the position of the first value that is no count (negative or with a fraction), or None."""
    wrong = (values < 0) | (values != np.floor(values))
    return int(np.flatnonzero(wrong)[0]) if wrong.any() else None


def _row_of(block: Csr) -> NDArray[np.intp]:
    return np.repeat(np.arange(block.shape[0]), np.diff(block.indptr))


def _blocks(rows: Matrix, k: int) -> list[tuple[NDArray[np.intp], Csr]]:
    """Return sparse blocks of bounded size, each with the positions of its rows."""
    if isinstance(rows, Mixed):
        parts = [
            (np.flatnonzero(~rows.is_sparse), to_sparse(rows.dense)),
            (np.flatnonzero(rows.is_sparse), rows.sparse),
        ]
    else:
        parts = [(np.arange(rows.shape[0]), rows if isinstance(rows, Csr) else to_sparse(rows))]
    found = []
    for where, part in parts:
        start, n = 0, part.shape[0]
        while start < n:
            # Whole rows up to the limit, and at least one.
            last = int(np.searchsorted(part.indptr, part.indptr[start] + _CELLS // k, side="right")) - 1
            stop = min(n, max(start + 1, last))
            found.append((where[start:stop], part[start:stop]))
            start = stop
    return found


def to_sparse(dense: NDArray[Any]) -> Csr:
    """Return dense rows as sparse ones, without their zeros."""
    row, column = np.nonzero(dense)
    indptr = np.concatenate([[0], np.cumsum(np.bincount(row, minlength=len(dense)))]).astype(np.int64)
    return Csr(indptr, column.astype(np.int64), dense[row, column], dense.shape[1])


def digamma(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the digamma function of numbers above 0; accurate to 1e-12 of its value or of 1.

    Abramowitz and Stegun, 6.3.5 (recurrence up to 8 and more) and 6.3.18 (asymptotic series).
    """
    x = np.asarray(x, np.float64)
    shift = np.zeros_like(x)
    for _ in range(8):
        low = x < 8
        if not low.any():
            break
        shift = shift - np.where(low, 1 / x, 0.0)
        x = np.where(low, x + 1, x)
    inverse = 1 / (x * x)
    series = inverse * (
        1 / 12
        - inverse * (1 / 120 - inverse * (1 / 252 - inverse * (1 / 240 - inverse * (1 / 132 - inverse * 691 / 32760))))
    )
    found: NDArray[np.float64] = np.log(x) - 0.5 / x - series + shift
    return found


def log_gamma(x: NDArray[np.float64] | np.float64) -> NDArray[np.float64]:
    """Return the logarithm of the gamma function of numbers above 0.

    Abramowitz and Stegun, 6.1.15 (recurrence up to 8 and more) and 6.1.41 (Stirling's series).
    """
    x = np.asarray(x, np.float64)
    product = np.ones_like(x)
    for _ in range(8):
        low = x < 8
        if not low.any():
            break
        product = product * np.where(low, x, 1.0)
        x = np.where(low, x + 1, x)
    inverse = 1 / (x * x)
    series = (1 / 12 - inverse * (1 / 360 - inverse * (1 / 1260 - inverse * (1 / 1680 - inverse / 1188)))) / x
    found: NDArray[np.float64] = (x - 0.5) * np.log(x) - x + 0.5 * np.log(2 * np.pi) + series - np.log(product)
    return found
