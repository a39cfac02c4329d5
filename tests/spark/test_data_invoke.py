"""``transform`` over Spark against a stub endpoint: each row gets its own answer, and nothing more is asked or read."""

from __future__ import annotations

import contextlib
import io
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pyspark.ml.feature import VectorAssembler
from pyspark.ml.functions import array_to_vector
from pyspark.ml.linalg import Vectors, VectorUDT
from pyspark.sql import functions as F  # noqa: N812  # the name that every Spark user knows
from pyspark.sql.types import StructField, StructType

from sagespark.core.errors import ValidationError
from sagespark.data.failures import unwrapped
from sagespark.data.frame import layout
from sagespark.data.invoke import InvokeSpec, OutputColumn, predict, with_predictions
from support.stub_endpoint import ALL_FAILURES, RECORDIO, SILENCE, StubEndpoint

pytestmark = [pytest.mark.spark, pytest.mark.wire]
FIELDS = ("closest_cluster", "distance_to_cluster")
PREDICTION = OutputColumn("closest_cluster", "prediction", "int")
DISTANCE = OutputColumn("distance_to_cluster", "distance", "double")
ROWS = 5000


@pytest.fixture
def stub() -> Iterator[StubEndpoint]:
    with StubEndpoint() as running:
        yield running


def spec_for(df: Any, stub: StubEndpoint, **options: Any) -> InvokeSpec:
    columns = {
        k: options.pop(k) for k in list(options) if k in ("featuresCol", "featuresCols", "missing", "vectorFormat")
    }
    made, problems = layout(df.schema, **columns)
    assert made is not None, problems
    options.setdefault("maxRecordsPerRequest", 700)
    kinds = {"contentType": RECORDIO, "accept": RECORDIO} | options
    return InvokeSpec(stub.session, "some-endpoint", fields=FIELDS, layout=made, **kinds)


def predicted(df: Any, stub: StubEndpoint, *outputs: OutputColumn, **options: Any) -> Any:
    return with_predictions(df, spec_for(df, stub, **options), outputs or (PREDICTION, DISTANCE))


@pytest.fixture(scope="module")
def base(spark: Any) -> Any:
    """Rows whose features sum up to 1.5 times their id."""
    return spark.range(0, ROWS, 1, 3).select(
        "id",
        array_to_vector(F.array(F.col("id") * 0.5, F.col("id") * 1.0)).alias("features"),
    )


@pytest.fixture(scope="module")
def sources(spark: Any, base: Any, tmp_path_factory: Any) -> dict[str, Any]:
    folder = str(tmp_path_factory.mktemp("sources"))
    base.write.parquet(f"{folder}/parquet")
    base.write.orc(f"{folder}/orc")
    parquet = spark.read.parquet(f"{folder}/parquet")
    orc = spark.read.schema(base.schema).orc(f"{folder}/orc")
    return {
        "made here": base,
        "cached": base.filter("id >= 0").cache(),
        "parquet": parquet,
        "orc": orc,
        "cached parquet": parquet.filter("id >= 0").cache(),
        "joined": parquet.join(orc.select("id", (F.col("id") + 1).alias("next")), "id"),
        "joined by broadcast": parquet.join(F.broadcast(orc.select("id")), "id"),
        "shuffled": parquet.repartition(2),
        "united": parquet.filter("id < 2000").union(orc.filter("id >= 2000")),
    }


def check(rows: list[Any], count: int = ROWS) -> None:
    assert len(rows) == count
    found = {row["id"]: row for row in rows}
    assert len(found) == count
    for i, row in found.items():
        assert row["distance"] == pytest.approx(1.5 * i, rel=1e-6)
        assert row["prediction"] == int(np.float32(1.5 * i)) % 7


@pytest.mark.parametrize(
    "source",
    ["made here", "cached", "parquet", "orc", "cached parquet", "joined", "joined by broadcast", "shuffled", "united"],
)
def test_every_row_of_every_source_gets_its_own_answer(
    spark: Any, sources: dict[str, Any], stub: StubEndpoint, source: str
) -> None:
    """Parquet and ORC are where a Python UDF over vectors fails on Spark 4.2 and 4.3."""
    df = sources[source]
    made = predicted(df, stub)
    assert made.columns == [*df.columns, "prediction", "distance"]
    assert [made.schema[c].dataType.simpleString() for c in ("prediction", "distance")] == ["int", "double"]
    check(made.collect())
    assert max(rows for rows, _ in stub.requests) == 700


def test_columns_that_arrow_cannot_carry_pass_untouched(base: Any, stub: StubEndpoint) -> None:
    """An interval of months, a map with struct keys to vectors, and a null of no type."""
    df = base.withColumn("interval", F.expr("make_ym_interval(1, cast(id as int))"))
    df = df.withColumn("map", F.create_map(F.struct("id"), F.col("features"))).withColumn("void", F.lit(None))
    made = predicted(df, stub).filter("id = 6").select(F.col("interval").cast("string"), "map", "void", "prediction")
    assert [tuple(row) for row in made.collect()] == [
        ("INTERVAL '1-6' YEAR TO MONTH", {(6,): Vectors.dense([3.0, 6.0])}, None, 2)
    ]


def plan(df: Any) -> str:
    text = io.StringIO()
    with contextlib.redirect_stdout(text):
        df.explain()
    return text.getvalue()


def test_columns_stay_pruned_and_an_earlier_filter_is_pushed(spark: Any, stub: StubEndpoint, tmp_path: Path) -> None:
    wide = spark.range(100).select(
        "id",
        array_to_vector(F.array(F.col("id") * 1.0)).alias("features"),
        *(F.lit(1.0).alias(f"c{i}") for i in range(9)),
    )
    wide.write.parquet(str(tmp_path / "wide"))
    df = spark.read.parquet(str(tmp_path / "wide"))
    made = predicted(df.filter("c3 > 0.5"), stub).select("id", "prediction")
    text = plan(made.filter("prediction >= 0"))
    assert "PushedFilters: [IsNotNull(c3), GreaterThan(c3,0.5)]" in text
    # Three columns of eleven.
    assert re.search(r"FileScan parquet \[id#\d+L?,features#\d+,c3#\d+\]", text)
    # Evaluated once, though a field is both filtered and selected.
    assert text.count("invoke_endpoint(") == 1
    assert made.count() == 100


def test_an_unused_prediction_asks_nothing(sources: dict[str, Any], stub: StubEndpoint) -> None:
    made = predicted(sources["parquet"], stub)
    assert made.count() == ROWS
    assert made.select("id").filter("id > 10").count() == ROWS - 11
    assert "invoke_endpoint" not in plan(made.select("id"))
    assert "features" not in plan(made.select("id")).split("ReadSchema: ")[1]
    assert stub.requests == []


def test_each_row_is_sent_once_whatever_is_selected_behind(base: Any, stub: StubEndpoint) -> None:
    made = predicted(base, stub).filter("id >= 1000").filter("prediction = 3")
    rows = made.select("id", "prediction", "distance", (F.col("distance") * 2).alias("twice")).collect()
    assert all(row["prediction"] == 3 and row["id"] >= 1000 for row in rows)
    assert sum(count for count, _ in stub.requests) == ROWS


def test_no_setting_of_the_user_is_changed(spark: Any, sources: dict[str, Any], stub: StubEndpoint) -> None:
    before = settings(spark)
    predicted(sources["parquet"], stub).collect()
    assert settings(spark) == before


def settings(spark: Any) -> dict[str, str]:
    return {row["key"]: row["value"] for row in spark.sql("SET -v").collect()}


def test_requests_are_cut_and_joined_across_arrow_batches(spark: Any, base: Any, stub: StubEndpoint) -> None:
    name = "spark.sql.execution.arrow.maxRecordsPerBatch"
    before = spark.conf.get(name)
    try:
        for size in ("64", "100000"):
            spark.conf.set(name, size)
            stub.requests.clear()
            check(predicted(base, stub, maxRecordsPerRequest=500).collect())
            # Partitions of 1667, 1667 and 1666 rows.
            assert sorted(rows for rows, _ in stub.requests) == [166, 167, 167, *[500] * 9]
    finally:
        spark.conf.set(name, before)


def test_requests_are_cut_by_bytes(base: Any, stub: StubEndpoint) -> None:
    check(predicted(base, stub, maxRecordsPerRequest=None, maxPayloadBytes=10_000).collect())
    assert max(size for _, size in stub.requests) <= 10_000
    # No request is smaller than it has to be, but the last of each partition.
    row = stub.requests[0][1] // stub.requests[0][0]
    assert sum(size + row <= 10_000 for _, size in stub.requests) <= 3


def test_empty_partitions_ask_nothing(spark: Any, stub: StubEndpoint) -> None:
    kind = StructType([StructField("features", VectorUDT())])
    df = spark.createDataFrame(spark.sparkContext.parallelize([(Vectors.dense([1.0]),)], 8), kind)
    assert [row["distance"] for row in predicted(df, stub).collect()] == [1.0]
    assert stub.requests == [(1, stub.requests[0][1])]
    assert predicted(df.filter("false"), stub).collect() == []


def test_several_requests_are_in_flight_and_connections_are_kept(base: Any, stub: StubEndpoint) -> None:
    for _ in range(2):
        check(predicted(base, stub, maxRecordsPerRequest=50, maxConcurrentRequests=3).collect())
    assert 1 < stub.most_flying <= 6
    assert len(stub.requests) > 200
    # Two workers, three requests each; another worker may take over in between.
    assert stub.connections <= 18


@pytest.mark.parametrize("form", ["array", "columns", "assembled", "mixed", "wide"])
def test_features_of_every_form(spark: Any, stub: StubEndpoint, form: str) -> None:
    df = spark.range(0, 300, 1, 2).withColumn("a", F.col("id") * 0.5).withColumn("b", F.col("id").cast("int"))
    columns: dict[str, Any] = {}
    if form == "array":
        df = df.withColumn("features", F.array(F.col("a").cast("float"), F.col("b").cast("float")))
    elif form == "columns":
        columns["featuresCols"] = ["a", "b"]
    elif form == "assembled":
        # Takes the smaller form of each row: sparse where most values are zero.
        df = df.withColumn("z", F.lit(0.0)).withColumn(
            "a", F.when(F.col("id") % 3 == 0, 0).otherwise(1.5 * F.col("id"))
        )
        df = df.withColumn("b", F.col("id") * 1.5 - F.col("a"))
        df = VectorAssembler(inputCols=["a", "z", "b", "z"], outputCol="features").transform(df)
    else:
        d = 3000
        rows = [
            (
                i,
                Vectors.sparse(d, {7: 1.5 * i})
                if form == "wide" or i % 2
                else Vectors.dense([1.5 * i] + [0.0] * (d - 1)),
            )
            for i in range(300)
        ]
        df = spark.createDataFrame(rows, ["id", "features"])
    check(predicted(df, stub, **columns).collect(), 300)
    if form == "wide":
        assert max(size for _, size in stub.requests) < 700 * 60


@pytest.mark.parametrize("accept", ["application/json", "text/csv", "application/jsonlines"])
@pytest.mark.parametrize("content", ["application/json", "text/csv", "application/jsonlines"])
def test_every_content_type(spark: Any, stub: StubEndpoint, content: str, accept: str) -> None:
    df = spark.range(0, 50).select("id", F.array(F.col("id") * 0.5, F.col("id") * 1.0).alias("features"))
    made = predicted(df, stub, contentType=content, accept=accept, maxPayloadBytes=400, maxRecordsPerRequest=None)
    check(made.collect(), 50)
    assert max(size for _, size in stub.requests) <= 400


def test_vector_outputs(base: Any, stub: StubEndpoint) -> None:
    stub.answer = lambda x: {"closest_cluster": x[:, 0], "distance_to_cluster": np.repeat(x[:, 1:], 3, axis=1)}
    one = OutputColumn("closest_cluster", "one", "vector")
    three = OutputColumn("distance_to_cluster", "three", "vector")
    rows = predicted(base, stub, one, three).filter("id = 8").collect()
    assert [(row["one"], row["three"]) for row in rows] == [(Vectors.dense([4.0]), Vectors.dense([8.0, 8.0, 8.0]))]


@pytest.mark.parametrize("kind", ALL_FAILURES)
def test_failing_calls_change_no_row(base: Any, kind: str) -> None:
    patience = 0.5 if kind == SILENCE else 20.0
    with StubEndpoint(failing=0.2, failures=[kind], seed=3) as stub:
        check(predicted(base, stub, maxRecordsPerRequest=250, timeoutSeconds=patience, maxRetries=8).collect())
        assert stub.failed
        assert sum(rows for rows, _ in stub.requests) == ROWS


def test_two_of_ten_calls_failing_in_every_way_change_no_row(base: Any) -> None:
    with StubEndpoint(failing=0.2, seed=11) as stub:
        check(predicted(base, stub, maxRecordsPerRequest=100, timeoutSeconds=1.0, maxRetries=8).collect())
        assert set(stub.failed) == set(ALL_FAILURES)
        assert sum(rows for rows, _ in stub.requests) == ROWS


def test_a_container_that_takes_less_gets_less(base: Any) -> None:
    with StubEndpoint(limit=8000) as stub:
        check(predicted(base, stub, maxRecordsPerRequest=None).collect())
        assert stub.refused
        assert max(size for _, size in stub.requests) <= 8000


def failure(action: Any) -> Exception:
    with pytest.raises(Exception, match="sagespark") as caught:
        action()
    return caught.value


def one_row(spark: Any, vector: Any) -> Any:
    kind = StructType([StructField("features", VectorUDT())])
    return spark.createDataFrame(spark.sparkContext.parallelize([(Vectors.dense([1.0, 1.0]),), (vector,)], 1), kind)


@pytest.mark.parametrize(
    ("vector", "options", "says"),
    [
        (None, {}, "column 'features', partition 0, row 1 of the partition (from 0): there is no value (null)"),
        (Vectors.dense([1.0, float("nan")]), {}, "row 1 of the partition (from 0): element 1 is NaN"),
        (Vectors.dense([1.0, 1e39]), {}, "element 1 is 1e+39, beyond float32"),
        (Vectors.dense([1.0]), {}, "it has 1 features, but the rows before have 2"),
        (Vectors.dense([1.0, 1.0]), {"width": 3}, "row 0 of the partition (from 0): it has 2 features, but the model"),
        (Vectors.dense([1.0, 1.0]), {"maxPayloadBytes": 20}, "but a request to endpoint 'some-endpoint' may have 20"),
    ],
)
def test_a_row_that_cannot_be_sent_is_named(
    spark: Any, stub: StubEndpoint, vector: Any, options: dict[str, Any], says: str
) -> None:
    error = failure(predicted(one_row(spark, vector), stub, **options).collect)
    own = unwrapped(error)
    assert type(own).__name__ == "DataError"
    assert says in str(own).splitlines()[0]
    assert f"sagespark.core.errors.DataError: {str(own).splitlines()[0]}" in str(error).splitlines()


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (lambda x: {"closest_cluster": x[:-1, 0], "distance_to_cluster": x[:-1, 1]}, "answered 1 rows"),
        (lambda x: {"closest_cluster": x[:, 0] + 0.5, "distance_to_cluster": x[:, 1]}, "which must be an integer"),
        (lambda x: {"closest_cluster": x[:, 0], "distance_to_cluster": x}, "answered 2 values of distance_to_cluster"),
        (lambda x: {"closest_cluster": x[:, 0]}, "with a body that cannot be read"),
    ],
)
def test_an_answer_that_does_not_fit_is_refused(spark: Any, stub: StubEndpoint, answer: Any, says: str) -> None:
    stub.answer = answer
    own = unwrapped(failure(predicted(one_row(spark, Vectors.dense([2.0, 2.0])), stub).collect))
    assert type(own).__name__ == "InvocationError"
    assert "endpoint 'some-endpoint' answered" in str(own)
    assert says in str(own).splitlines()[0]


def test_a_name_that_is_taken_is_refused(base: Any, stub: StubEndpoint) -> None:
    with pytest.raises(ValidationError, match="column 'ID' exists already"):
        predicted(base, stub, OutputColumn("x", "ID", "int"))
    both = base.withColumn("sagespark_kind", F.lit(1)).withColumn("sagespark_answer", F.lit(2))
    row = predicted(both, stub).filter("id = 1").first()
    assert (row["sagespark_kind"], row["sagespark_answer"], row["prediction"]) == (1, 2, 1)


def test_predict_on_the_driver(base: Any, stub: StubEndpoint) -> None:
    spec = spec_for(base, stub, maxRecordsPerRequest=3)
    found = predict(spec, np.arange(20, dtype=np.float32).reshape(10, 2))
    assert found["distance_to_cluster"].tolist() == [4.0 * i + 1 for i in range(10)]
    assert sorted(rows for rows, _ in stub.requests) == [1, 3, 3, 3]
