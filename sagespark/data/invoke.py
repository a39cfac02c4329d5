"""``transform``: a DataFrame's rows to an endpoint, its answers as columns.

One Python UDF over the features alone: the other columns never leave the JVM. It is an iterator of batches (an Arrow
UDF from Spark 4.1, a pandas UDF before), returns one struct, and is marked nondeterministic: Spark then evaluates it
once whatever is selected and filtered behind it, and still drops it where no prediction is used.

Spark 4.2 and 4.3 fail where a scalar Python UDF stands directly on a columnar scan whose rows carry a Vector. Here it
never does: the `KIND` column is computed in a projection of its own below the UDF, which the optimiser must keep
because it names the partition. No setting is touched, columns stay pruned and earlier filters pushed down.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyspark.ml.functions import array_to_vector
from pyspark.sql import functions

from sagespark.codecs.matrix import Matrix
from sagespark.core.errors import ValidationError
from sagespark.data.batches import BadRowError, Features, Lists, from_arrow, to_matrix
from sagespark.data.columns import KIND, feature_columns
from sagespark.data.requests import Fields, Invoker, InvokeSpec, PostProcess, integers, joined, one_value

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

__all__ = ["InvokeSpec", "OutputColumn", "PostProcess", "predict", "with_predictions"]

_TYPES = {"int": "int", "double": "double", "vector": "array<double>"}


@dataclass(frozen=True)
class OutputColumn:
    """A response field and the column that it becomes.

    Parameters
    ----------
    field : str
        The service's name.
    name : str
        The column.
    type : {'int', 'double', 'vector'}
        Its Spark type.
    """

    field: str
    name: str
    type: Literal["int", "double", "vector"]


def with_predictions(df: DataFrame, spec: InvokeSpec, outputs: Sequence[OutputColumn]) -> DataFrame:
    """Return the DataFrame with the endpoint's answers as columns behind its own. Lazy: Spark calls InvokeEndpoint.

    Parameters
    ----------
    df : DataFrame
        Classic or Connect.
    spec : InvokeSpec
    outputs : sequence of OutputColumn
        At least one.

    Raises
    ------
    ValidationError
        If an output column exists already.
    """
    taken = {name.lower() for name in df.columns}
    clash = [c.name for c in outputs if c.name.lower() in taken]
    if clash:
        raise ValidationError([f"column {name!r} exists already; drop or rename it" for name in clash], "transform")
    if not outputs:
        return df
    columns = feature_columns(df.schema, spec.layout)
    kind, answer = _free("sagespark_kind", taken), _free("sagespark_answer", taken)
    # spark_partition_id() is never negative, but the optimiser cannot know: see the module's head.
    below = functions.when(functions.spark_partition_id() >= 0, columns.pop(KIND)).alias(kind)
    values, *indices = columns.values()
    called = _udf(spec, tuple(outputs))(values, functions.col(kind), *indices)
    made = [_column(functions.col(answer)[f"f{i}"], c) for i, c in enumerate(outputs)]
    return df.select("*", below).select("*", called.alias(answer)).select("*", *made).drop(kind, answer)


def _column(field: Column, output: OutputColumn) -> Column:
    return (array_to_vector(field) if output.type == "vector" else field).alias(output.name)


def _free(name: str, taken: set[str]) -> str:
    while name in taken:
        name += "_"
    return name


def _udf(spec: InvokeSpec, outputs: tuple[OutputColumn, ...]) -> Any:
    returns = "struct<" + ",".join(f"f{i}:{_TYPES[c.type]}" for i, c in enumerate(outputs)) + ">"
    if hasattr(functions, "arrow_udf"):

        def invoke_endpoint(batches: Iterator[tuple[pa.Array, ...]]) -> Iterator[pa.Array]:
            return arrow_answers(spec, outputs, batches)

        return functions.arrow_udf(invoke_endpoint, returns).asNondeterministic()
    import pandas as pd
    from pyspark.sql.pandas.functions import pandas_udf

    def invoke_endpoint_pandas(batches: Iterator[tuple[pd.Series, ...]]) -> Iterator[pd.DataFrame]:
        return pandas_answers(spec, outputs, batches)

    # Annotations are strings here and pandas is no module-level name, so they are given as objects.
    invoke_endpoint_pandas.__annotations__ = {
        "batches": Iterator[tuple[pd.Series, ...]],
        "return": Iterator[pd.DataFrame],
    }
    invoke_endpoint_pandas.__name__ = "invoke_endpoint"
    # The stubs know no iterator that returns a struct.
    make: Any = pandas_udf
    return make(invoke_endpoint_pandas, returns).asNondeterministic()


def arrow_answers(
    spec: InvokeSpec, outputs: tuple[OutputColumn, ...], batches: Iterable[tuple[pa.Array, ...]]
) -> Iterator[pa.Array]:
    """Yield one struct per row of this task's partition, a batch per request."""
    names = [f"f{i}" for i in range(len(outputs))]
    for _, fields in _answers(spec, (from_arrow(*columns) for columns in batches)):
        yield pa.StructArray.from_arrays([_arrow(a, c) for a, c in _typed(fields, spec, outputs)], names)


def _arrow(values: NDArray[Any], output: OutputColumn) -> pa.Array:
    if output.type != "vector":
        return pa.array(values)
    rows, size = values.shape
    return pa.ListArray.from_arrays(pa.array(np.arange(rows + 1, dtype=np.int32) * size), pa.array(values.reshape(-1)))


def pandas_answers(
    spec: InvokeSpec, outputs: tuple[OutputColumn, ...], batches: Iterable[tuple[Any, ...]]
) -> Iterator[Any]:
    """Yield one row per row of this task's partition, a pandas DataFrame per request."""
    import pandas as pd

    for _, fields in _answers(spec, (_from_pandas(*columns) for columns in batches)):
        typed = _typed(fields, spec, outputs)
        yield pd.DataFrame({f"f{i}": list(a) if c.type == "vector" else a for i, (a, c) in enumerate(typed)})


def _from_pandas(values: Any, kind: Any, indices: Any = None) -> Features:
    """Return the features of pandas columns: lists are arrays, a null kind is NaN."""
    null = kind.isna().to_numpy()
    kinds = kind.fillna(-1).to_numpy().astype(np.int64)
    return Features.of(_lists(values), kinds, null, None if indices is None else _lists(indices))


def _lists(series: Any) -> Lists:
    arrays = series.to_numpy()
    lengths = np.fromiter(map(len, arrays), np.int64, len(arrays))
    flat = np.concatenate(arrays) if len(arrays) else np.empty(0, np.float64)
    return Lists(flat, np.concatenate([[0], np.cumsum(lengths)]))


def _answers(spec: InvokeSpec, batches: Iterable[Features]) -> Iterator[tuple[int, Fields]]:
    return Invoker(spec).answers(_matrices(spec, batches))


def _matrices(spec: InvokeSpec, batches: Iterable[Features]) -> Iterator[Matrix]:
    """Yield checked batches; a refused row is named by its position among the rows sent by this task."""
    from pyspark import TaskContext

    context = TaskContext.get()
    partition = -1 if context is None else context.partitionId()
    told = "the model takes {width}" if spec.width is not None else "the column's ML attributes say {width}"
    width, before = spec.width or spec.layout.width, 0
    for rows in batches:
        if not len(rows.sizes):
            continue
        try:
            matrix = to_matrix(rows, spec.layout, width, told)
        except BadRowError as error:
            # Not chained: Spark would print both tracebacks, the inner one first.
            raise error.located(partition, before) from None
        if width is None:
            width, told = matrix.shape[1], "the rows before have {width}"
        before += matrix.shape[0]
        yield matrix


def _typed(
    fields: Fields, spec: InvokeSpec, outputs: tuple[OutputColumn, ...]
) -> list[tuple[NDArray[Any], OutputColumn]]:
    """Return each output column's values with the type that Spark is told: int32, float64, or (n, m) float64."""
    return [(_cast(fields[c.field], c, spec.endpointName), c) for c in outputs]


def _cast(values: NDArray[Any], output: OutputColumn, endpointName: str) -> NDArray[Any]:
    if output.type == "int":
        return integers(values, output.field, endpointName)
    if output.type == "double":
        return one_value(values, output.field, endpointName).astype(np.float64)
    # One value per row is a vector of one: PCA with one component, LDA with one topic.
    return (values if values.ndim == 2 else values[:, np.newaxis]).astype(np.float64)


def predict(spec: InvokeSpec, matrix: Matrix) -> Fields:
    """Return the endpoint's answer to rows that are at hand in this process. Calls InvokeEndpoint.

    Parameters
    ----------
    spec : InvokeSpec
    matrix : ndarray of shape (n, d), Csr or Mixed
        float32, checked; ``n`` is at least 1.

    Returns
    -------
    dict of str to ndarray of shape (n,) or (n, m)
        The fields, after ``postprocess``.

    Raises
    ------
    DataError
        If a single row is larger than a request may be.
    InvocationError
        If the endpoint refused or failed a request, or its answer does not fit the rows.
    """
    return joined([fields for _, fields in Invoker(spec).answers([matrix])])
