"""PCA on SageMaker; the classes are called as MLlib's, so that changing the import is all."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pyspark.ml.linalg import DenseMatrix, DenseVector
from pyspark.sql import DataFrame

from sagespark.algorithms.pca import PCA as SPEC
from sagespark.algorithms.pca import TOTAL_METRIC
from sagespark.algorithms.spec import AlgorithmSpec
from sagespark.codecs import ndarray
from sagespark.core.errors import CodecError, ValidationError
from sagespark.data.invoke import PostProcess
from sagespark.ml.artifact import arrays
from sagespark.ml.columns import frame_layout
from sagespark.ml.estimator import AlgorithmEstimator
from sagespark.ml.held_out import HasTestDataset
from sagespark.ml.hosting import HostingRecord
from sagespark.ml.model import HostedModel
from sagespark.ml.stage_params import PCAModelParams, PCAParams
from sagespark.ml.totals import moments

__all__ = ["PCA", "PCAModel"]


class PCAModel(PCAModelParams, HostedModel):
    """A PCA model on SageMaker, as ``pyspark.ml.feature.PCAModel``.

    ``transform`` adds ``outputCol`` (Vector of length k), the component of the largest variance first as in MLlib;
    SageMaker itself answers in the opposite order.

    Notes
    -----
    MLlib's ``transform`` does not centre: it gives ``pc' x``. SageMaker's subtracts the training rows' mean first:
    ``pc' (x - mean)``. The two differ by the same vector, ``pc' mean``, in every row. ``subtractMean=False`` does not
    give MLlib's: it leaves the mean out of training too, and so finds other components.

    A component's sign is arbitrary, here, in MLlib and in AWS's container: results may be each other's negatives.
    """

    _spec: ClassVar[AlgorithmSpec] = SPEC

    @property
    def pc(self) -> DenseMatrix:
        """The principal components, one a column, that of the largest variance first.

        Reads the artifact once per process: GetObject.

        Raises
        ------
        ValidationError
            If only the model's endpoint is known.
        """
        vectors = self._arrays()["v"]
        rows, columns = vectors.shape
        return DenseMatrix(rows, columns, vectors.flatten(order="F"))

    @property
    def singularValues(self) -> DenseVector:
        """Singular values of the training rows, less their mean where ``subtractMean`` is True; the largest first."""
        return DenseVector(self._arrays()["s"].copy())

    @property
    def mean(self) -> DenseVector | None:
        """Mean of the training rows, which is subtracted from every row; None with ``subtractMean=False``."""
        found = self._arrays().get("mean")
        return None if found is None else DenseVector(found.copy())

    @property
    def explainedVariance(self) -> DenseVector:
        """Proportion of the training rows' variance along each component; of their squares with ``subtractMean=False``.

        The artifact holds no total, unless k is the number of features. It comes from the job's metrics, which the
        embedded service reports, else from one pass over the training DataFrame, and is saved with the model.

        Raises
        ------
        ValidationError
            If none of these is at hand: a model of AWS's that was not fitted here, or was saved before it was asked.
        """
        squares = self._arrays()["s"] ** 2
        total = self._total()
        return DenseVector(squares / total if total > 0 else np.zeros(len(squares)))

    @property
    def numFeatures(self) -> int:
        """Number of features that the model takes."""
        width = self._width()
        return len(self._arrays()["v"]) if width is None else width

    def _postprocess(self) -> PostProcess | None:
        return largest_first

    def _arrays(self) -> dict[str, NDArray[np.float64]]:
        record = self._hosting()
        found: dict[str, NDArray[np.float64]] = record.cached("components", lambda: _read_components(record))
        return found

    def _total(self) -> float:
        """Return the sum of all squared singular values, those of the components left out included."""
        record, found = self._hosting(), self._arrays()
        if TOTAL_METRIC not in record.metrics:
            width, k = found["v"].shape
            if k == width:
                return float(found["s"] @ found["s"])
            if "training" not in self._kept:
                raise ValidationError(
                    "the artifact holds no total variance, the job reported none, and the training DataFrame is not at "
                    "hand; ask for explainedVariance before saving, or use singularValues",
                    "explainedVariance",
                )
            stage, rows = self._kept["training"]
            layout, problems = frame_layout(stage, rows.schema, SPEC, labels=False)
            self._refuse(problems, "explainedVariance")
            assert layout is not None
            seen = moments(rows, layout, width)
            record.metrics[TOTAL_METRIC] = seen.spread if "mean" in found else seen.squares
        return float(record.metrics[TOTAL_METRIC])


class PCA(PCAParams, HasTestDataset, AlgorithmEstimator[PCAModel]):
    """PCA on SageMaker, as ``pyspark.ml.feature.PCA``.

    Params are MLlib's ``k inputCol outputCol``, then every hyperparameter of AWS's PCA in camelCase;
    ``explainParams()`` lists them. ``k`` has no default, as in MLlib. ``seed`` matters to
    ``algorithmMode='randomized'`` and reaches the embedded service only: AWS's container has no such hyperparameter.
    ``testIndicatorCol`` or ``testDataset=`` give the test channel. `PCAModel` tells how its ``transform`` differs from
    MLlib's.

    Examples
    --------
    >>> from pyspark.ml.linalg import Vectors                                                    # doctest: +SKIP
    >>> data = [(Vectors.dense([1.0, 0.0, 7.0]),), (Vectors.dense([2.0, 3.0, 4.0]),), (Vectors.dense([4.0, 6.0, 7.0]),)]
    >>> df = spark.createDataFrame(data, ["features"])
    >>> with PCA(k=2, inputCol="features", outputCol="projected").fit(df) as model:
    ...     model.transform(df).show()
    """

    _spec: ClassVar[AlgorithmSpec] = SPEC
    _model_class: ClassVar[type[HostedModel]] = PCAModel

    def _model(self, record: HostingRecord, dataset: DataFrame) -> PCAModel:
        model = super()._model(record, dataset)
        model._kept["training"] = (model.copy(), self._split(dataset)["train"])
        return model


def largest_first(fields: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """Return an answer with the values of each projection in MLlib's order."""
    return {name: values[..., ::-1] if values.ndim == 2 else values for name, values in fields.items()}


def _read_components(record: HostingRecord) -> dict[str, NDArray[np.float64]]:
    """Return ``v`` (d, k), ``s`` (k,) and, where it was subtracted, ``mean`` (d,); the largest component first."""
    _, found = arrays(record, "pc")
    if not {"s", "v"} <= set(found) or found["v"].ndim != 2:
        raise CodecError(f"{record.modelData} holds no arrays 's' and 'v' of PCA", contentType=ndarray.FORMAT)
    components = {"v": found["v"][:, ::-1].astype(np.float64), "s": found["s"].reshape(-1)[::-1].astype(np.float64)}
    if "mean" in found:
        components["mean"] = found["mean"].reshape(-1).astype(np.float64)
    return components
