"""Topics of documents, by scikit-learn's variational Bayes.

AWS's container decomposes a tensor of the words' moments instead (its page "How LDA Works"); the model is the same, the
way to it is not. What its hyperparameters mean here:

1. ``alpha0`` is spread over the topics: the prior of each is ``alpha0 / num_topics``.
2. ``max_restarts`` seeds take the first :data:`SCREENING` passes; the one of the lowest perplexity goes on. Seeds are
   the job's seed, the job's seed plus 1, and so on.
3. The chosen one takes up to ``max_iterations`` passes. Every :data:`EVALUATED` passes its perplexity is compared with
   the former one: it stops at a change below ``sqrt(tol)`` times the perplexity of the words' overall frequencies,
   which is the most that topics can better. AWS's ``tol`` is a squared error, hence the root.

The model is scikit-learn's for that seed, number for number.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

SCREENING = 5
"""Passes that every restart takes."""
EVALUATED = 5
"""Passes between two looks at the perplexity."""
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Found:
    """What was found."""

    alpha: NDArray[np.float64]
    """Shape (k,)."""
    beta: NDArray[np.float64]
    """Probabilities of the words, shape (k, d)."""
    perplexity: float
    """Of the training rows."""
    passes: int
    seed: int
    """Of the restart that was kept."""


def fit(counts: Any, values: dict[str, Any], seed: int) -> Found:
    """Find the topics.

    Parameters
    ----------
    counts : scipy.sparse.csr_matrix of float64, shape (n, d)
        At least one entry.
    values : dict
        Hyperparameters of LDA by wire string.
    seed : int
    """
    from sklearn import config_context
    from sklearn.decomposition import LatentDirichletAllocation

    limit, restarts, k = values["max_iterations"], values["max_restarts"], values["num_topics"]
    tolerance = float(np.sqrt(values["tol"])) * unigram_perplexity(counts)

    def run(passes: int, seed: int) -> Any:
        model = LatentDirichletAllocation(
            k,
            doc_topic_prior=values["alpha0"] / k,
            learning_method="batch",
            max_iter=passes,
            evaluate_every=EVALUATED,
            perp_tol=tolerance,
            random_state=seed,
        )
        # Its check of a prior has the upper limit 1, which neither the mathematics nor AWS's alpha0 has.
        with config_context(skip_parameter_validation=True):
            return model.fit(counts)

    first = min(SCREENING, limit)
    best = None
    for number in range(restarts):
        tried = run(first, (seed + number) % 2**31)
        _log.info(
            "Restart %d, seed %d: perplexity %r after %d passes", number, tried.random_state, float(tried.bound_), first
        )
        if best is None or tried.bound_ < best.bound_:
            best = tried
    assert best is not None
    if limit > first:
        # From its beginning: scikit-learn has no public way to go on, and a few passes are little beside the rest.
        best = run(limit, best.random_state)
    if best.n_iter_ == limit:
        _log.warning("Stopped after max_iterations (%d) passes, before tol was reached", limit)
    beta = best.components_ / best.components_.sum(axis=1, keepdims=True)
    return Found(np.full(k, values["alpha0"] / k), beta, float(best.bound_), int(best.n_iter_), int(best.random_state))


def unigram_perplexity(counts: Any) -> float:
    """Return the perplexity of the words' overall frequencies: the exponential of their entropy."""
    totals = np.asarray(counts.sum(axis=0), np.float64).ravel()
    shares = totals[totals > 0] / totals.sum()
    return float(np.exp(-(shares * np.log(shares)).sum()))
