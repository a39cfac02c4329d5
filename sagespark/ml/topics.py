"""LDA on SageMaker; ``sagespark.ml.clustering`` has the classes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial
from typing import ClassVar, Self

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyspark.ml.linalg import DenseMatrix, DenseVector
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.types import StructType

from sagespark.algorithms.lda import LDA as SPEC
from sagespark.algorithms.spec import AlgorithmSpec
from sagespark.algorithms.topics import Topics, problem
from sagespark.aws.session import SageMakerSession
from sagespark.codecs import ndarray
from sagespark.codecs.matrix import Csr, Mixed
from sagespark.core.errors import CodecError, DataError, ValidationError
from sagespark.data.batches import from_arrow, to_matrix
from sagespark.data.columns import INDICES, KIND, VALUES, feature_columns
from sagespark.data.frame import FrameLayout
from sagespark.ml.artifact import arrays
from sagespark.ml.columns import frame_layout
from sagespark.ml.estimator import AlgorithmEstimator
from sagespark.ml.held_out import HasTestDataset
from sagespark.ml.hosting import HostingRecord
from sagespark.ml.hyperparameters import Inferred
from sagespark.ml.model import HostedModel
from sagespark.ml.plan import Training
from sagespark.ml.stage_params import LDAModelParams, LDAParams


class LDAModel(LDAModelParams, HostedModel):
    """An LDA model on SageMaker, as ``pyspark.ml.clustering.LDAModel``.

    ``transform`` adds ``topicDistributionCol`` (Vector of length k): the share of each topic in the document. Topics
    are in no particular order.

    Notes
    -----
    SageMaker's model is point estimates, ``alpha`` and ``beta``; MLlib's has a distribution of the topics too. So
    `logLikelihood` is the bound of the documents given the topics, without the topics' own part, which in MLlib's
    equation (16) of Hoffman et al. lowers it.
    """

    __module__ = "sagespark.ml.clustering"
    _spec: ClassVar[AlgorithmSpec] = SPEC

    def setSeed(self, value: int | None) -> Self:
        """Set seed, as MLlib; a document's topics are found without chance here, so that it changes nothing."""
        return self._set(seed=value)

    def isDistributed(self) -> bool:
        """Return False: the topics are one array, not a distributed dataset."""
        return False

    def vocabSize(self) -> int:
        """Return the number of words of the vocabulary."""
        width = self._width()
        return self._topics().beta.shape[1] if width is None else width

    @property
    def numFeatures(self) -> int:
        """Number of features that the model takes: the words of the vocabulary."""
        return self.vocabSize()

    def topicsMatrix(self) -> DenseMatrix:
        """Return the words' probabilities, vocabSize x k, one topic a column. Reads the artifact: GetObject.

        Raises
        ------
        ValidationError
            If only the model's endpoint is known.
        """
        beta = self._topics().beta
        return DenseMatrix(beta.shape[1], beta.shape[0], beta.ravel().copy())

    def estimatedDocConcentration(self) -> DenseVector:
        """Return the prior of the document's topics, of length k: alpha0 spread over them, as it was trained with."""
        return DenseVector(self._topics().alpha.copy())

    def describeTopics(self, maxTermsPerTopic: int = 10) -> DataFrame:
        """Return the words of the largest probability of each topic.

        Parameters
        ----------
        maxTermsPerTopic : int
            Most words of a topic, 1 or more.

        Returns
        -------
        DataFrame
            ``topic`` (int), ``termIndices`` (array of int) and ``termWeights`` (array of double), the largest first.

        Raises
        ------
        ValidationError
            If maxTermsPerTopic is below 1, or only the model's endpoint is known.
        """
        if isinstance(maxTermsPerTopic, bool) or not isinstance(maxTermsPerTopic, int) or maxTermsPerTopic < 1:
            raise ValidationError(f"maxTermsPerTopic must be an integer >= 1, but got {maxTermsPerTopic!r}", self.uid)
        beta = self._topics().beta
        # Of equal ones the lower index first.
        order = np.argsort(-beta, axis=1, kind="stable")[:, :maxTermsPerTopic]
        rows = [(topic, indices.tolist(), beta[topic, indices].tolist()) for topic, indices in enumerate(order)]
        spark = SparkSession.builder.getOrCreate()
        return spark.createDataFrame(rows, "topic int, termIndices array<int>, termWeights array<double>")

    def logLikelihood(self, dataset: DataFrame) -> float:
        """Return a lower bound of the documents' log-likelihood, given the topics; one pass, without the endpoint.

        Parameters
        ----------
        dataset : DataFrame

        Raises
        ------
        ValidationError
            If its features are missing or of another width, or only the model's endpoint is known.
        DataError
            If a feature is no count.
        """
        return self._bounds(dataset, "logLikelihood")[0]

    def logPerplexity(self, dataset: DataFrame) -> float:
        """Return an upper bound of the logarithm of the perplexity: less `logLikelihood` per word; lower is better.

        Parameters
        ----------
        dataset : DataFrame

        Raises
        ------
        ValidationError, DataError
            As `logLikelihood`; also where the documents hold no word.
        """
        total, words = self._bounds(dataset, "logPerplexity")
        if not words:
            raise ValidationError("the documents hold no word: there is no row, or every count is 0", self.uid)
        return -total / words

    def _bounds(self, dataset: DataFrame, where: str) -> tuple[float, float]:
        layout = self._layout(dataset, where)
        topics = self._topics()
        columns = feature_columns(dataset.schema, layout)
        frame = dataset.select([column.alias(name) for name, column in columns.items()])
        rows = frame.mapInArrow(partial(partition_bounds, layout, topics), "bound double, words double").collect()
        return sum(row["bound"] for row in rows), sum(row["words"] for row in rows)

    def _layout(self, dataset: DataFrame, where: str) -> FrameLayout:
        layout, problems = frame_layout(self, dataset.schema, SPEC, labels=False)
        width = self.vocabSize()
        if layout is not None and layout.width not in (None, width):
            problems.append(f"the model takes {width} features, but the schema's metadata says {layout.width}")
        self._refuse(problems, where)
        assert layout is not None
        return layout

    def _topics(self) -> Topics:
        record = self._hosting()
        found: Topics = record.cached("topics", lambda: _read_topics(record))
        return found


class LDA(LDAParams, HasTestDataset, AlgorithmEstimator[LDAModel]):
    """LDA on SageMaker, as ``pyspark.ml.clustering.LDA``.

    Params are MLlib's ``k maxIter featuresCol topicDistributionCol seed``, then every hyperparameter of AWS's LDA in
    camelCase; ``explainParams()`` lists them. Features are counts of words. AWS trains it on one instance.
    ``testIndicatorCol`` or ``testDataset=`` give the test channel, whose metric is ``test:pwll``, the log-likelihood
    per word. ``seed`` reaches the embedded service only: AWS's container has no such hyperparameter.

    Notes
    -----
    AWS's container finds the topics by a spectral decomposition, the embedded service by scikit-learn's variational
    Bayes, MLlib by online variational Bayes: the model is the same, and its topics are alike where the documents tell.

    Examples
    --------
    >>> from pyspark.ml.linalg import Vectors                                                    # doctest: +SKIP
    >>> df = spark.createDataFrame([(Vectors.dense([3.0, 0.0]),), (Vectors.dense([0.0, 4.0]),)], ["features"])
    >>> with LDA(k=2, seed=1).fit(df) as model:
    ...     model.describeTopics(1).show()
    ...     model.transform(df).show()
    """

    __module__ = "sagespark.ml.clustering"
    _spec: ClassVar[AlgorithmSpec] = SPEC
    _model_class: ClassVar[type[HostedModel]] = LDAModel

    def _inferred(self) -> dict[str, Inferred]:
        return {"mini_batch_size": Inferred("rows")}

    def _training(self, session: SageMakerSession, schema: StructType) -> tuple[Training | None, list[str]]:
        training, problems = super()._training(session, schema)
        if (count := self._value("instanceCount")) != 1:
            problems = [*problems, f"instanceCount must be 1, but got {count}: SageMaker's LDA trains on one instance"]
        return (None if problems else training), problems


def partition_bounds(
    layout: FrameLayout, topics: Topics, batches: Iterable[pa.RecordBatch]
) -> Iterator[pa.RecordBatch]:
    """Yield one row for a partition: the bound of its documents, and their number of words.

    Raises
    ------
    DataError
        If a feature is no count.
    """
    total = words = 0.0
    for batch in batches:
        indices = batch.column(INDICES) if INDICES in batch.schema.names else None
        rows = to_matrix(
            from_arrow(batch.column(VALUES), batch.column(KIND), indices),
            layout,
            topics.beta.shape[1],
            "there are {width}",
        )
        for part in (rows.dense, rows.sparse) if isinstance(rows, Mixed) else (rows,):
            values = part.values if isinstance(part, Csr) else part.ravel()
            if (at := problem(values)) is not None:
                raise DataError(
                    f"column {layout.title!r} holds {values[at]:g}; LDA counts words, so every feature must be a whole "
                    "number of 0 or more",
                    column=layout.title,
                    value=f"{values[at]:g}",
                )
        bound, count = topics.bounds(rows)
        total, words = total + bound, words + count
    yield pa.RecordBatch.from_arrays([pa.array([total]), pa.array([words])], names=["bound", "words"])


def _read_topics(record: HostingRecord) -> Topics:
    """Return alpha (k,) and beta (k, d)."""
    found, _ = arrays(record, "topicsMatrix")
    if [array.ndim for array in found] != [1, 2] or len(found[0]) != len(found[1]):
        raise CodecError(f"{record.modelData} holds no arrays alpha and beta of LDA", contentType=ndarray.FORMAT)
    beta: NDArray[np.float64] = found[1].astype(np.float64)
    return Topics(found[0].astype(np.float64), beta)
