"""Random cut forests on SageMaker: how anomalous each row is. MLlib has no such stage."""

from __future__ import annotations

from typing import Any, ClassVar

from sagespark.algorithms.random_cut_forest import RANDOM_CUT_FOREST
from sagespark.algorithms.spec import AlgorithmSpec
from sagespark.data.invoke import predict
from sagespark.ml.estimator import AlgorithmEstimator
from sagespark.ml.held_out import HasTestDataset
from sagespark.ml.model import HostedModel
from sagespark.ml.stage_params import RandomCutForestModelParams, RandomCutForestParams
from sagespark.ml.vectors import to_row

__all__ = ["RandomCutForest", "RandomCutForestModel"]


class RandomCutForestModel(RandomCutForestModelParams, HostedModel):
    """A random cut forest on SageMaker.

    ``transform`` adds ``scoreCol`` (double): the larger, the more anomalous the row. AWS's practice is to take scores
    of more than three standard deviations above their mean for those of anomalies.
    """

    _spec: ClassVar[AlgorithmSpec] = RANDOM_CUT_FOREST

    @property
    def numFeatures(self) -> int:
        """Number of features that the model takes; -1 where nothing tells."""
        width = self._width()
        return -1 if width is None else width

    def score(self, value: Any) -> float:
        """Return the score of one vector. Calls InvokeEndpoint.

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
        row = to_row(value, width=self._width(), missing=RANDOM_CUT_FOREST.missing)
        return float(predict(self._driver_invocation(("score",)), row)["score"][0])


class RandomCutForest(RandomCutForestParams, HasTestDataset, AlgorithmEstimator[RandomCutForestModel]):
    """A random cut forest on SageMaker.

    Params are ``featuresCol scoreCol seed`` and every hyperparameter of AWS's algorithm in camelCase;
    ``explainParams()`` lists them. Training takes no labels. ``testIndicatorCol`` or ``testDataset=`` give the test
    channel, whose rows have a label in ``labelCol``: 1 for an anomaly, 0 for any other row. Its metrics are
    ``test:f1 test:precision test:recall test:accuracy``. ``seed`` reaches the embedded service only: AWS's
    container has no such hyperparameter.

    Notes
    -----
    The embedded service grows the robust random cut trees of Guha et al., 2016, and scores rows by the depth that they
    would get. Its artifact and AWS's cannot be exchanged: AWS does not publish the format of its own.

    Examples
    --------
    >>> from pyspark.ml.linalg import Vectors                                                    # doctest: +SKIP
    >>> df = spark.createDataFrame([(Vectors.dense([x / 9, 1.0]),) for x in [*range(99), 5000]], ["features"])
    >>> with RandomCutForest(seed=1).fit(df) as model:
    ...     model.transform(df).orderBy("score", ascending=False).show(1)
    """

    _spec: ClassVar[AlgorithmSpec] = RANDOM_CUT_FOREST
    _model_class: ClassVar[type[HostedModel]] = RandomCutForestModel

    def _labelled(self, channel: str) -> bool:
        return channel == "test"
