"""A stage's columns: which go to SageMaker, and which come back.

The spec row tells which Params name them; nothing here assumes ``featuresCol`` or ``predictionCol``.
"""

from __future__ import annotations

from collections.abc import Sequence

from pyspark.ml.linalg import VectorUDT
from pyspark.sql.types import DataType, DoubleType, IntegerType, StructField, StructType

from sagespark.algorithms.spec import AlgorithmSpec, Output
from sagespark.data.frame import FrameLayout, layout
from sagespark.data.invoke import OutputColumn
from sagespark.ml.params import StageParams


def frame_layout(
    stage: StageParams, schema: StructType, spec: AlgorithmSpec | None, *, labels: bool = True
) -> tuple[FrameLayout | None, list[str]]:
    """Return which columns travel and how, or None, and every problem in words.

    Parameters
    ----------
    stage : StageParams
    schema : StructType
    spec : AlgorithmSpec or None
        None: ``featuresCol`` and ``labelCol`` as they are set.
    labels : bool
        Whether the label column travels: to a training job it does, to an endpoint it does not.
    """
    inputs = ("featuresCol",) if spec is None else spec.input_params
    features = inputs[0]
    several = stage._value("featuresCols") if features == "featuresCol" else None
    problems: list[str] = []
    if several and stage.isSet(features):
        problems.append(f"{features} and featuresCols are both set; set one of them")
    found, more = layout(
        schema,
        featuresCol=stage._value(features),
        featuresParam=features,
        featuresCols=several,
        labelCol=stage._value("labelCol") if labels else None,
        weightCol=stage._value("weightCol") if labels else None,
        qidCol=stage._value("qidCol") if labels else None,
        labelKind=stage._labelKind,
        numClasses=stage._classes(),
        vectorFormat=stage._value("vectorFormat") or "auto",
        missing="refuse" if spec is None else spec.missing,
    )
    return found, problems + more


def output_columns(
    stage: StageParams, schema: StructType, outputs: Sequence[Output]
) -> tuple[tuple[OutputColumn, ...], list[str]]:
    """Return the columns that ``transform`` adds, and every name that is taken, in words."""
    columns: list[OutputColumn] = []
    problems: list[str] = []
    # Spark resolves names without regard to case unless it is told otherwise.
    taken = {name.lower(): name for name in schema.names}
    named: dict[str, str] = {}
    for output in outputs:
        # A stage without a Param of that name has no say: the column is called as the row says.
        known = bool(output.param) and stage.hasParam(output.param)
        name = stage._value(output.param) if known else output.default_column or output.field
        if not name:
            continue
        if name.lower() in taken:
            problems.append(
                f"{output.param or output.field}: column {taken[name.lower()]!r} exists already; drop or rename it"
                + (f", or set {output.param} to another name" if known else "")
            )
        if name.lower() in named:
            problems.append(f"{output.param or output.field} and {named[name.lower()]} both name the column {name!r}")
        named[name.lower()] = output.param or output.field
        columns.append(OutputColumn(output.field, name, output.type))
    return tuple(columns), problems


def with_outputs(schema: StructType, columns: Sequence[OutputColumn]) -> StructType:
    """Return the schema with the columns that ``transform`` adds."""
    types: dict[str, DataType] = {"int": IntegerType(), "double": DoubleType(), "vector": VectorUDT()}
    return StructType([*schema.fields, *(StructField(c.name, types[c.type]) for c in columns)])
