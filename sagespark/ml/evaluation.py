"""Quality of predictions, as the summaries of ``pyspark.ml``'s models; every figure from Spark aggregates.

Notation: ``w`` weights (1 without ``weightCol``), ``y`` labels, ``f`` predictions, ``W`` the sum of the weights.
Definitions are those of ``org.apache.spark.mllib.evaluation`` (MulticlassMetrics, BinaryClassificationMetrics,
RegressionMetrics), which these are tested against.
"""

from __future__ import annotations

from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from pyspark.ml.functions import vector_to_array
from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F  # noqa: N812 - Spark's own habit

from sagespark.data.frame import quoted


def _number(name: str) -> Column:
    return F.col(quoted(name)).cast("double")


def _weight(name: str | None) -> Column:
    return F.lit(1.0) if name is None else _number(name)


class ClassificationSummary:
    """Quality of a classifier's predictions, as MLlib's ``_ClassificationSummary``.

    Parameters
    ----------
    predictions : DataFrame
        Rows with label and prediction.
    predictionCol, labelCol : str
        Columns of classes 0, 1, ...
    probabilityCol : str or None
        Column of the probabilities.
    weightCol : str or None
        Column of weights.
    numClasses : int
    """

    def __init__(
        self,
        predictions: DataFrame,
        predictionCol: str,
        labelCol: str,
        probabilityCol: str | None,
        weightCol: str | None,
        numClasses: int,
    ) -> None:
        self.predictions = predictions
        """The rows with their predictions."""
        self.predictionCol = predictionCol
        """Name of the column of predictions."""
        self.labelCol = labelCol
        """Name of the column of labels."""
        self.probabilityCol = probabilityCol
        """Name of the column of probabilities."""
        self.weightCol = weightCol
        """Name of the column of weights, None where every row weighs 1."""
        self._classes = numClasses

    @cached_property
    def _confusion(self) -> NDArray[np.float64]:
        """The sum of weights by label and prediction, shape (K, K). Runs one Spark job."""
        pairs = self.predictions.groupBy(_number(self.labelCol).alias("y"), _number(self.predictionCol).alias("f"))
        found = pairs.agg(F.sum(_weight(self.weightCol)).alias("w")).collect()
        size = max([self._classes, *(int(max(row["y"], row["f"])) + 1 for row in found)])
        out = np.zeros((size, size))
        for row in found:
            out[int(row["y"]), int(row["f"])] = row["w"]
        return out

    def _present(self) -> NDArray[np.intp]:
        """Return the classes that occur, as label or prediction."""
        return np.flatnonzero(self._confusion.sum(axis=0) + self._confusion.sum(axis=1))

    @property
    def labels(self) -> list[float]:
        """The classes that occur, in order; of the lists "by label"."""
        return [float(i) for i in self._present()]

    @property
    def accuracy(self) -> float:
        """Share of the weight that is predicted right."""
        return float(np.trace(self._confusion) / self._confusion.sum())

    def _by_label(self, over: NDArray[np.float64]) -> NDArray[np.float64]:
        hits = np.diag(self._confusion)
        return np.divide(hits, over, out=np.zeros_like(hits), where=over > 0)[self._present()]

    @property
    def precisionByLabel(self) -> list[float]:
        """Of what was predicted to be a class, the share that is."""
        return self._by_label(self._confusion.sum(axis=0)).tolist()  # type: ignore[no-any-return]  # numpy's own type

    @property
    def recallByLabel(self) -> list[float]:
        """Of what is a class, the share that was predicted so."""
        return self._by_label(self._confusion.sum(axis=1)).tolist()  # type: ignore[no-any-return]  # numpy's own type

    @property
    def truePositiveRateByLabel(self) -> list[float]:
        """Same as `recallByLabel`."""
        return self.recallByLabel

    @property
    def falsePositiveRateByLabel(self) -> list[float]:
        """Of what is not a class, the share that was predicted to be."""
        table = self._confusion
        wrong = table.sum(axis=0) - np.diag(table)
        others = table.sum() - table.sum(axis=1)
        rate = np.divide(wrong, others, out=np.zeros_like(wrong), where=others > 0)[self._present()]
        return rate.tolist()  # type: ignore[no-any-return]  # numpy's own type

    def fMeasureByLabel(self, beta: float = 1.0) -> list[float]:
        """Return (1 + b^2) P R / (b^2 P + R) of each class."""
        precision, recall = np.array(self.precisionByLabel), np.array(self.recallByLabel)
        below = beta**2 * precision + recall
        top = (1 + beta**2) * precision * recall
        return np.divide(top, below, out=np.zeros_like(top), where=below > 0).tolist()  # type: ignore[no-any-return]

    def _weighted(self, values: list[float]) -> float:
        shares = self._confusion.sum(axis=1)[self._present()] / self._confusion.sum()
        return float(shares @ np.array(values))

    @property
    def weightedTruePositiveRate(self) -> float:
        """`truePositiveRateByLabel`, weighted by the labels' shares."""
        return self._weighted(self.truePositiveRateByLabel)

    @property
    def weightedFalsePositiveRate(self) -> float:
        """`falsePositiveRateByLabel`, weighted by the labels' shares."""
        return self._weighted(self.falsePositiveRateByLabel)

    @property
    def weightedRecall(self) -> float:
        """`recallByLabel`, weighted by the labels' shares."""
        return self._weighted(self.recallByLabel)

    @property
    def weightedPrecision(self) -> float:
        """`precisionByLabel`, weighted by the labels' shares."""
        return self._weighted(self.precisionByLabel)

    def weightedFMeasure(self, beta: float = 1.0) -> float:
        """Return `fMeasureByLabel`, weighted by the labels' shares."""
        return self._weighted(self.fMeasureByLabel(beta))


class BinaryClassificationSummary(ClassificationSummary):
    """Quality of a classifier of two classes, as MLlib's ``_BinaryClassificationSummary``."""

    @property
    def scoreCol(self) -> str | None:
        """Name of the column whose second element tells how likely class 1 is."""
        return self.probabilityCol

    def _curve(self) -> DataFrame:
        """Return, by falling score, the weight of class 1 (tp) and of class 0 (fp) at or above it, and both totals."""
        assert self.probabilityCol is not None
        score = vector_to_array(F.col(quoted(self.probabilityCol)))[1]
        positive = F.when(_number(self.labelCol) > 0.5, _weight(self.weightCol)).otherwise(0.0)
        rows = self.predictions.select(
            score.alias("threshold"), positive.alias("p"), (_weight(self.weightCol) - positive).alias("n")
        )
        by_score = rows.groupBy("threshold").agg(F.sum("p").alias("p"), F.sum("n").alias("n"))
        falling = Window.orderBy(F.desc("threshold"))
        whole = Window.partitionBy()
        return by_score.select(
            "threshold",
            F.sum("p").over(falling).alias("tp"),
            F.sum("n").over(falling).alias("fp"),
            F.sum("p").over(whole).alias("P"),
            F.sum("n").over(whole).alias("N"),
        )

    @property
    def roc(self) -> DataFrame:
        """False positive rate (``FPR``) and true positive rate (``TPR``) by falling threshold, from (0, 0)."""
        curve = self._curve().orderBy(F.desc("threshold"))
        points = curve.select((F.col("fp") / F.col("N")).alias("FPR"), (F.col("tp") / F.col("P")).alias("TPR"))
        ends = points.sparkSession.createDataFrame([(0.0, 0.0)], points.schema)
        return ends.union(points).orderBy("FPR", "TPR")

    @property
    def pr(self) -> DataFrame:
        """``recall`` and ``precision`` by falling threshold."""
        return (
            self._curve()
            .orderBy(F.desc("threshold"))
            .select(_recall().alias("recall"), _precision().alias("precision"))
        )

    @property
    def areaUnderROC(self) -> float:
        """Area under `roc`, by trapezoids."""
        curve = self.roc.collect()
        return float(np.trapezoid([row["TPR"] for row in curve], [row["FPR"] for row in curve]))

    def fMeasureByThreshold(self, beta: float = 1.0) -> DataFrame:
        """Return ``threshold`` and ``F-Measure``."""
        below = beta**2 * _precision() + _recall()
        measure = F.when(below > 0, (1 + beta**2) * _precision() * _recall() / below).otherwise(0.0)
        return self._by_threshold(measure, "F-Measure")

    @property
    def precisionByThreshold(self) -> DataFrame:
        """``threshold`` and ``precision``."""
        return self._by_threshold(_precision(), "precision")

    @property
    def recallByThreshold(self) -> DataFrame:
        """``threshold`` and ``recall``."""
        return self._by_threshold(_recall(), "recall")

    def _by_threshold(self, value: Column, name: str) -> DataFrame:
        return self._curve().orderBy(F.desc("threshold")).select("threshold", value.alias(name))


def _recall() -> Column:
    return F.when(F.col("P") > 0, F.col("tp") / F.col("P")).otherwise(0.0)


def _precision() -> Column:
    return F.col("tp") / (F.col("tp") + F.col("fp"))


class RegressionSummary:
    """Quality of a regressor's predictions, as MLlib's ``LinearRegressionSummary``.

    Parameters
    ----------
    predictions : DataFrame
        Rows with label and prediction.
    predictionCol, labelCol : str
    featuresCol : str or None
    weightCol : str or None
    numFeatures : int
        For `r2adj`.
    """

    def __init__(
        self,
        predictions: DataFrame,
        predictionCol: str,
        labelCol: str,
        featuresCol: str | None,
        weightCol: str | None,
        numFeatures: int,
    ) -> None:
        self.predictions = predictions
        """The rows with their predictions."""
        self.predictionCol = predictionCol
        """Name of the column of predictions."""
        self.labelCol = labelCol
        """Name of the column of labels."""
        self.featuresCol = featuresCol
        """Name of the column of features."""
        self._weightCol = weightCol
        self._width = numFeatures

    @cached_property
    def _sums(self) -> dict[str, float]:
        """Weighted sums over the rows. Runs two Spark jobs: the second takes differences from the mean of the first."""
        y, f, w = _number(self.labelCol), _number(self.predictionCol), _weight(self._weightCol)
        frame = self.predictions.select(y.alias("y"), f.alias("f"), w.alias("w"))
        first = frame.agg(
            F.count("*").alias("n"), F.sum("w").alias("W"), F.sum(F.col("w") * F.col("y")).alias("y")
        ).first()
        assert first is not None
        mean = first["y"] / first["W"]
        error = F.col("y") - F.col("f")
        second = frame.agg(
            F.sum(F.col("w") * F.abs(error)).alias("absolute"),
            F.sum(F.col("w") * error * error).alias("error"),
            F.sum(F.col("w") * (F.col("y") - mean) * (F.col("y") - mean)).alias("total"),
            F.sum(F.col("w") * (F.col("f") - mean) * (F.col("f") - mean)).alias("explained"),
        ).first()
        assert second is not None
        return {"n": float(first["n"]), "W": float(first["W"]), **{k: float(v) for k, v in second.asDict().items()}}

    @property
    def numInstances(self) -> int:
        """Number of rows."""
        return int(self._sums["n"])

    @property
    def meanAbsoluteError(self) -> float:
        """Mean of w |y - f|."""
        return self._sums["absolute"] / self._sums["W"]

    @property
    def meanSquaredError(self) -> float:
        """Mean of w (y - f)^2."""
        return self._sums["error"] / self._sums["W"]

    @property
    def rootMeanSquaredError(self) -> float:
        """Square root of `meanSquaredError`."""
        return float(np.sqrt(self.meanSquaredError))

    @property
    def explainedVariance(self) -> float:
        """Mean of w (f - mean(y))^2."""
        return self._sums["explained"] / self._sums["W"]

    @property
    def r2(self) -> float:
        """1 - sum w (y - f)^2 / sum w (y - mean(y))^2."""
        return 1 - self._sums["error"] / self._sums["total"]

    @property
    def degreesOfFreedom(self) -> int:
        """Rows less features less 1."""
        return self.numInstances - self._width - 1

    @property
    def r2adj(self) -> float:
        """1 - (1 - r2) (n - 1) / (n - d - 1)."""
        return 1 - (1 - self.r2) * (self.numInstances - 1) / self.degreesOfFreedom

    @property
    def residuals(self) -> DataFrame:
        """Label less prediction, one column ``residuals``."""
        return self.predictions.select((_number(self.labelCol) - _number(self.predictionCol)).alias("residuals"))
