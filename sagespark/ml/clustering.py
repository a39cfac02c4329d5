"""K-means and LDA on SageMaker; the classes are called as MLlib's, so that changing the import is all."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pyspark.sql import DataFrame

from sagespark.algorithms.kmeans import KMEANS
from sagespark.algorithms.spec import AlgorithmSpec
from sagespark.codecs import ndarray
from sagespark.core.errors import CodecError
from sagespark.data.invoke import predict
from sagespark.ml.artifact import arrays
from sagespark.ml.estimator import AlgorithmEstimator
from sagespark.ml.held_out import HasTestDataset
from sagespark.ml.hosting import HostingRecord
from sagespark.ml.model import HostedModel
from sagespark.ml.stage_params import KMeansModelParams, KMeansParams
from sagespark.ml.summary import KMeansSummary
from sagespark.ml.topics import LDA, LDAModel
from sagespark.ml.vectors import to_row

__all__ = ["LDA", "KMeans", "KMeansModel", "KMeansSummary", "LDAModel"]


class KMeansModel(KMeansModelParams, HostedModel):
    """A K-means model on SageMaker, as ``pyspark.ml.clustering.KMeansModel``.

    ``transform`` adds ``predictionCol`` (int: number of the closest cluster) and ``distanceCol`` (double: Euclidean
    distance to its centre).
    """

    _spec: ClassVar[AlgorithmSpec] = KMEANS

    def clusterCenters(self) -> list[NDArray[np.float64]]:
        """Return the centres, each of shape (numFeatures,). Reads the artifact once per process: GetObject.

        Raises
        ------
        ValidationError
            If only the model's endpoint is known.
        """
        return [centre.copy() for centre in self._centers()]

    @property
    def numFeatures(self) -> int:
        """Number of features that the model takes."""
        width = self._width()
        return self._centers().shape[1] if width is None else width

    def predict(self, value: Any) -> int:
        """Return the number of the cluster closest to one vector. Calls InvokeEndpoint.

        Parameters
        ----------
        value : Vector, sequence of numbers or ndarray of shape (numFeatures,)

        Raises
        ------
        DataError
            If it has another width, or a value that cannot be a feature.
        InvocationError
            If the endpoint refused it.
        """
        row = to_row(value, width=self._width(), missing=KMEANS.missing)
        return int(predict(self._driver_invocation(("closest_cluster",)), row)["closest_cluster"][0])

    @property
    def hasSummary(self) -> bool:
        """Whether the model was fitted in this process and has a training summary."""
        return "training" in self._kept

    @property
    def summary(self) -> KMeansSummary:
        """The training summary.

        Raises
        ------
        RuntimeError
            If there is none: after ``load``, and for models that were not fitted here.
        """
        if not self.hasSummary:
            raise RuntimeError(f"No training summary available for this {type(self).__name__}")
        return KMeansSummary(*self._kept["training"])

    def _centers(self) -> NDArray[np.float64]:
        record = self._hosting()
        found: NDArray[np.float64] = record.cached("centers", lambda: _read_centers(record))
        return found


class KMeans(KMeansParams, HasTestDataset, AlgorithmEstimator[KMeansModel]):
    """K-means on SageMaker, as ``pyspark.ml.clustering.KMeans``.

    Params are MLlib's, then every hyperparameter of AWS's K-means in camelCase; ``explainParams()`` lists them.
    Defaults are AWS's. ``seed`` reaches the embedded service only: AWS's container has no such hyperparameter.
    ``testIndicatorCol`` or ``testDataset=`` give the test channel, whose metrics are ``test:msd`` and ``test:ssd``.

    Examples
    --------
    >>> from pyspark.ml.linalg import Vectors                                                    # doctest: +SKIP
    >>> df = spark.createDataFrame([(Vectors.dense([0.0, 0.0]),), (Vectors.dense([9.0, 8.0]),)], ["features"])
    >>> with KMeans(k=2, seed=1).fit(df) as model:
    ...     model.transform(df).show()
    """

    _spec: ClassVar[AlgorithmSpec] = KMEANS
    _model_class: ClassVar[type[HostedModel]] = KMeansModel

    def _model(self, record: HostingRecord, dataset: DataFrame) -> KMeansModel:
        model = super()._model(record, dataset)
        # The summary goes by the columns of now: the model's may be set to others later.
        model._kept["training"] = (model.copy(), self._split(dataset)["train"])
        return model


def _read_centers(record: HostingRecord) -> NDArray[np.float64]:
    """Return the centres, shape (k, d)."""
    found, _ = arrays(record, "clusterCenters")
    if not found or found[0].ndim != 2:
        raise CodecError(f"{record.modelData} holds no array of k x feature_dim", contentType=ndarray.FORMAT)
    return found[0].astype(np.float64)
