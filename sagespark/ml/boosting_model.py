"""What the models of XGBoost share: trees, importances and leaves, which their artifact tells."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, ClassVar, NoReturn, Self

import numpy as np
from pyspark.ml.linalg import DenseVector, SparseVector
from pyspark.sql import DataFrame

from sagespark.core.errors import ValidationError
from sagespark.data.batches import as_sent
from sagespark.data.frame import FrameLayout
from sagespark.data.invoke import InvokeSpec
from sagespark.ml.artifact import member
from sagespark.ml.hosting import HostingRecord
from sagespark.ml.supervised import PredictorModel
from sagespark.ml.trees import Trees, parse
from sagespark.ml.vectors import to_row

SCORE = "score"
"""Response field of XGBoost's container."""
SUBSETS, IMPURITIES = ["all"], ["variance"]
"""What MLlib's boosted trees call supported; SageMaker's has other settings for both."""


class BoostingModel(PredictorModel):
    """What the three models share."""

    _response: ClassVar[tuple[str, ...]] = (SCORE,)
    supportedFeatureSubsetStrategies: ClassVar[list[str]] = SUBSETS
    """MLlib's name."""
    supportedImpurities: ClassVar[list[str]] = IMPURITIES
    """MLlib's name."""

    @property
    def numFeatures(self) -> int:
        """Number of features that the model takes. Reads the artifact once per process: GetObject."""
        return self._trees().numFeatures

    @property
    def featureImportances(self) -> SparseVector:
        """Each feature's share of the gain of all splits (XGBoost's ``total_gain``), of sum 1. Reads the artifact.

        Raises
        ------
        ValidationError
            If the model is linear, or only its endpoint is known.
        """
        shares = self._trees().importances()
        at = np.flatnonzero(shares)
        return SparseVector(len(shares), at, shares[at])

    @property
    def getNumTrees(self) -> int:
        """Number of trees; of several classes each round grows one per class. Reads the artifact."""
        return len(self._trees().trees)

    @property
    def totalNumNodes(self) -> int:
        """Number of nodes of all trees. Reads the artifact."""
        return self._trees().nodes()

    @property
    def treeWeights(self) -> list[float]:
        """What each tree's answer is multiplied by: 1, but for booster 'dart'. Reads the artifact."""
        return [float(weight) for weight in self._trees().weights]

    @property
    def trees(self) -> list[dict[str, Any]]:
        """The trees, each as XGBoost's model format has it: arrays by name. Reads the artifact."""
        return [dict(tree) for tree in self._trees().trees]

    @property
    def toDebugString(self) -> str:
        """All trees in words. Reads the artifact."""
        return self._trees().text()

    def predictLeaf(self, value: Any) -> DenseVector:
        """Return the node at which a vector ends in each tree, as XGBoost counts nodes. Asks no endpoint.

        Parameters
        ----------
        value : Vector, sequence of numbers or ndarray of shape (numFeatures,)

        Raises
        ------
        DataError
            If it has another width.
        ValidationError
            If the model is linear, or only its endpoint is known.
        """
        trees, layout = self._trees(), self._driver_layout()
        sent: Any = as_sent(to_row(value, width=trees.numFeatures, missing=layout.missing), layout)
        row = sent
        if not isinstance(sent, np.ndarray):
            row = np.full((1, trees.numFeatures), np.nan, np.float32)
            row[0, sent.indices] = sent.values
        return DenseVector(trees.leaves(row[0]))

    def evaluateEachIteration(self, dataset: DataFrame, *loss: Any) -> NoReturn:
        """Refuse: an endpoint answers with all trees.

        Raises
        ------
        ValidationError
            Always, with the way to such numbers.
        """
        raise ValidationError(
            "SageMaker's XGBoost answers with all trees, not with the first ones; the metrics after each round are "
            "those of the validation channel (validationIndicatorCol, evalMetric), which a Listener hears of",
            "evaluateEachIteration",
        )

    def _invocation(self, layout: FrameLayout, columns: Any) -> InvokeSpec:
        spec = super()._invocation(layout, columns)
        if self._value("weightCol") is None and self._value("qidCol") is None:
            return spec
        # LibSVM told the job no width: where no row had the last features, the model knows fewer than the rows have.
        return replace(spec, columns=self._trees().numFeatures)

    def _trees(self) -> Trees:
        record = self._hosting()
        found: Trees = record.cached("trees", lambda: _read(record))
        return found

    def setLeafCol(self, value: str) -> Self:
        """Set ``leafCol``, of which only MLlib's default is accepted: answers hold no leaves."""
        return self._set(leafCol=value)


def _read(record: HostingRecord) -> Trees:
    if record.modelData is None:
        raise ValidationError("only the model's endpoint is known, not its artifact", "trees")
    return parse(member(record.session, record.modelData, "xgboost-model"))
