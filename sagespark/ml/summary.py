"""What a K-means fit tells about its training data, as ``pyspark.ml.clustering.KMeansSummary``."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from pyspark.sql import DataFrame

from sagespark.data.columns import feature_columns
from sagespark.data.frame import FrameLayout
from sagespark.ml.columns import frame_layout
from sagespark.ml.nearest import partition_totals

if TYPE_CHECKING:
    from sagespark.ml.clustering import KMeansModel

_SCHEMA = "cluster int, size bigint, cost double"


class KMeansSummary:
    """Summary of a K-means model on the rows that it was trained on.

    Sizes, and the cost where the job did not report it, come from one pass over these rows with the model's centres;
    no endpoint is asked. The rows are read again: a DataFrame that changes between reads gives other numbers.

    Parameters
    ----------
    model : KMeansModel
    dataset : DataFrame
        The training rows.
    """

    def __init__(self, model: KMeansModel, dataset: DataFrame) -> None:
        self._model = model
        self._dataset = dataset

    @property
    def predictions(self) -> DataFrame:
        """The training rows transformed by the model."""
        return self._model.transform(self._dataset)

    @property
    def cluster(self) -> DataFrame:
        """The predicted clusters of the training rows, one column."""
        return self.predictions.select(self.predictionCol)

    @property
    def predictionCol(self) -> str:
        """Name of the column of predicted clusters."""
        return self._model.getPredictionCol()

    @property
    def featuresCol(self) -> str:
        """Name of the column of features."""
        return self._model.getFeaturesCol()

    @property
    def k(self) -> int:
        """Number of clusters."""
        return len(self._model._centers())

    @property
    def trainingCost(self) -> float:
        """Sum of squared distances of the training rows to their closest centres."""
        reported = self._model._hosting().metrics.get("train:ssd")
        return float(self._totals()[1].sum()) if reported is None else reported

    @property
    def clusterSizes(self) -> list[int]:
        """Number of training rows in each cluster."""
        return [int(size) for size in self._totals()[0]]

    @property
    def numIter(self) -> int:
        """Number of iterations of Lloyd's algorithm.

        Raises
        ------
        RuntimeError
            If the job did not report it; AWS's container does not.
        """
        reported = self._model._hosting().metrics.get("train:iterations")
        if reported is None:
            raise RuntimeError("SageMaker's K-means did not report the number of its iterations")
        return int(reported)

    def _totals(self) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Return sizes and costs by cluster, each of shape (k,); computed once."""
        found: tuple[NDArray[np.int64], NDArray[np.float64]]
        found = self._model._hosting().cached("summary", lambda: totals(self._dataset, *self._pass()))
        return found

    def _pass(self) -> tuple[FrameLayout, NDArray[np.float64]]:
        layout, problems = frame_layout(self._model, self._dataset.schema, self._model._spec, labels=False)
        self._model._refuse(problems, "summary")
        assert layout is not None
        return layout, self._model._centers()


def totals(
    dataset: DataFrame, layout: FrameLayout, centers: NDArray[np.float64]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return how many rows are closest to each centre, and the sum of their squared distances.

    Parameters
    ----------
    dataset : DataFrame
    layout : FrameLayout
        Its features.
    centers : ndarray of shape (k, d)

    Returns
    -------
    sizes : ndarray of int64, shape (k,)
    costs : ndarray of float64, shape (k,)
    """
    columns = feature_columns(dataset.schema, layout)
    frame = dataset.select([column.alias(name) for name, column in columns.items()])
    rows = frame.mapInArrow(partial(partition_totals, layout, centers), _SCHEMA).collect()
    sizes, costs = np.zeros(len(centers), np.int64), np.zeros(len(centers))
    for row in rows:
        sizes[row.cluster] += row.size
        costs[row.cluster] += row.cost
    return sizes, costs
