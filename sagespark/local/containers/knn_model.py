"""A model of k-nearest neighbours: its index, its labels, what they predict; and the arrays that it is kept as.

AWS does not publish the format of its artifact (a FAISS index among others), so ours is one that AWS's container cannot
read: an MXNet NDArray dictionary, as AWS's other algorithms write, of

    settings    int32: k, 1 for a classifier, the metric's number (L2, INNER_PRODUCT, COSINE), feature_dim
    labels      (n,), in the order of the index
    points      (n, d), or indptr, indices, values of sparse rows; neither with codes
    projection  (feature_dim, d), where features are reduced
    centres     (nlists, d) and offsets (nlists + 1,), where the index has cells
    codebooks   (m, codes, d / m) and codes (n, m) of bytes, where it is quantised

It needs no pickle, so that a model of unknown origin can be read safely.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sagespark.codecs.matrix import Matrix
from sagespark.local.containers.channels import dense, to_csr
from sagespark.local.containers.nearest import MAX_DENSE_WIDTH
from sagespark.local.containers.neighbours import Index, padded

METRICS = ("L2", "INNER_PRODUCT", "COSINE")


@dataclass(frozen=True)
class Neighbours:
    """A model.

    Parameters
    ----------
    index : Index
    labels : ndarray of float32, shape (n,)
        Of the rows of the index.
    k : int
    classifier : bool
        Whether the commonest label is predicted, or the mean.
    width : int
        ``feature_dim``.
    projection : ndarray, shape (feature_dim, d), or None
    """

    index: Index
    labels: NDArray[np.float32]
    k: int
    classifier: bool
    width: int
    projection: NDArray[np.float32] | None = None

    def predict(self, rows: Matrix) -> dict[str, NDArray[Any]]:
        """Return ``predicted_label`` (n,); ``distances`` and ``labels`` of the neighbours (n, k), the nearest first.

        Parameters
        ----------
        rows : ndarray of shape (n, feature_dim), Csr or Mixed
        """
        positions, distances = self.index.search(self.prepared(rows), self.k)
        labels = self.labels[positions]
        return {
            "predicted_label": (commonest(labels) if self.classifier else labels.mean(axis=1)).astype(np.float32),
            "distances": distances.astype(np.float32),
            "labels": labels,
        }

    def prepared(self, rows: Matrix) -> Any:
        """Return rows as the index takes them."""
        return prepare(rows, self.projection, self.index.codebooks)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return the arrays by name."""
        index = self.index
        settings = [self.k, int(self.classifier), METRICS.index(index.metric), self.width]
        found: dict[str, NDArray[Any]] = {"settings": np.array(settings, np.int32), "labels": self.labels}
        if isinstance(index.points, np.ndarray):
            found["points"] = index.points
        elif index.points is not None:
            found["indptr"] = index.points.indptr.astype(np.int64)
            found["indices"] = index.points.indices.astype(np.int64)
            found["values"] = index.points.data
        beside: dict[str, NDArray[Any] | None]
        beside = {"projection": self.projection, "centres": index.centres, "offsets": index.offsets}
        beside |= {"codebooks": index.codebooks, "codes": index.codes}
        return found | {name: array for name, array in beside.items() if array is not None}

    @staticmethod
    def of(arrays: Mapping[str, NDArray[Any]]) -> Neighbours:
        """Return the model of the arrays that :meth:`arrays` gave.

        Raises
        ------
        ValueError
            If they are not of such a model.
        """
        if not {"settings", "labels"} <= set(arrays) or not {"points", "values", "codes"} & set(arrays):
            raise ValueError("a model of k-nearest neighbours has the arrays settings, labels, and points or codes")
        k, classifier, metric, width = (int(value) for value in arrays["settings"])
        points: Any = arrays.get("points")
        if "values" in arrays:
            from scipy.sparse import csr_matrix

            shape = (len(arrays["labels"]), width if "projection" not in arrays else arrays["projection"].shape[1])
            points = csr_matrix((arrays["values"], arrays["indices"], arrays["indptr"]), shape=shape)
        index = Index(
            points,
            METRICS[metric],
            *(arrays.get(name) for name in ("centres", "offsets", "codebooks", "codes")),
        )
        return Neighbours(index, arrays["labels"], k, bool(classifier), width, arrays.get("projection"))


def prepare(rows: Matrix, projection: NDArray[np.float32] | None, codebooks: NDArray[np.float32] | None = None) -> Any:
    """Return rows reduced and padded; sparse ones of many features stay sparse where they are not reduced.

    A row's kind changes nothing but digits: narrow rows are computed as dense ones.
    """
    found: Any = rows
    if not isinstance(rows, np.ndarray):
        found = to_csr(rows) if rows.shape[1] > MAX_DENSE_WIDTH else dense(rows)
    if projection is not None:
        found = np.asarray(found.astype(np.float64) @ projection.astype(np.float64), np.float32)
    return found if codebooks is None else padded(found, codebooks.shape[0])


def commonest(labels: NDArray[Any]) -> NDArray[np.float64]:
    """Return the commonest number of each row, the lowest where several are.

    Parameters
    ----------
    labels : ndarray, shape (n, k)
        Whole numbers of 0 or more.
    """
    ordered = np.sort(labels, axis=1)
    n, k = ordered.shape
    # The length of the run that ends at each place.
    begins = np.ones((n, k), bool)
    begins[:, 1:] = ordered[:, 1:] != ordered[:, :-1]
    place = np.broadcast_to(np.arange(k), (n, k))
    length = place - np.maximum.accumulate(np.where(begins, place, 0), axis=1)
    # argmax takes the first place where the longest run ends, and so the lowest label.
    return np.take_along_axis(ordered, length.argmax(axis=1)[:, np.newaxis], axis=1)[:, 0].astype(np.float64)
