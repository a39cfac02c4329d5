"""What the rows of supervised algorithms share: MLlib's output columns and inputs."""

from __future__ import annotations

from sagespark.algorithms.spec import FixedParam, Output

PREDICTION, RAW_PREDICTION, PROBABILITY = "prediction", "rawPrediction", "probability"
"""What an answer is decoded to, before it becomes columns."""

REGRESSION: tuple[Output, ...] = (Output(PREDICTION, "predictionCol", "prediction", "double", "The predicted value."),)
"""The columns that a regressor adds, as MLlib's."""

CLASSIFICATION: tuple[Output, ...] = (
    Output(
        RAW_PREDICTION, "rawPredictionCol", "rawPrediction", "vector", "A score per class, the larger the likelier."
    ),
    Output(PROBABILITY, "probabilityCol", "probability", "vector", "The probability of each class."),
    Output(PREDICTION, "predictionCol", "prediction", "double", "The predicted class, from 0."),
)
"""The columns that a classifier adds, in MLlib's order."""


def no_weights(algorithm: str) -> FixedParam:
    """Return the Param ``weightCol`` of an algorithm that has no weights."""
    return FixedParam("weightCol", None, f"SageMaker's {algorithm} has no row weights")
