"""Staging against the embedded service's S3: what arrives is what the DataFrame holds, or nothing does."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from pyspark.ml.linalg import Vectors, VectorUDT
from pyspark.sql import functions as F  # noqa: N812  # the name that every Spark user knows
from pyspark.sql.types import DoubleType, IntegerType, StructField, StructType

from sagespark.aws import s3
from sagespark.codecs.matrix import Csr, Mixed
from sagespark.codecs.registry import codec
from sagespark.core.clock import token
from sagespark.core.errors import DataError, ResourceNotFoundError, SageSparkError, ServiceError, ValidationError
from sagespark.core.s3uri import S3Uri
from sagespark.data import shards
from sagespark.data.frame import layout
from sagespark.data.labels import LabelSummary
from sagespark.data.shards import StagingReport, StagingRequest, stage, unstage
from sagespark.data.staging_task import StagingTask

pytestmark = [pytest.mark.spark, pytest.mark.wire]
RECORDIO = "application/x-recordio-protobuf"


def request_for(
    df: Any, session: Any, contentType: str = RECORDIO, maxShardBytes: int = 1 << 20, flat: bool = False, **options: Any
) -> Any:
    made, problems = layout(df.schema, **options)
    assert problems == []
    prefix = (session.location / f"staging-{token()}").prefix
    return StagingRequest(session, prefix, "train", made, contentType, maxShardBytes, flat=flat)


def keys(session: Any, prefix: S3Uri) -> list[S3Uri]:
    return list(s3.list_keys(session, prefix))


def staged(session: Any, report: StagingReport, contentType: str = RECORDIO) -> list[Any]:
    """Return the decoded shards that the manifest names, in its order."""
    head, *names = json.loads(s3.read_bytes(session, report.manifest))
    uris = [S3Uri.parse(head["prefix"] + name) for name in names]
    assert uris == [shard.uri for shard in report.shards]
    size = None if contentType == RECORDIO else 1
    return [codec(contentType).decode(s3.read_bytes(session, uri), label_size=size) for uri in uris]


def dense(matrix: Any) -> Any:
    if isinstance(matrix, Csr):
        return matrix.to_dense()
    if isinstance(matrix, Mixed):
        out = np.zeros(matrix.shape, np.float32)
        out[matrix.is_sparse], out[~matrix.is_sparse] = matrix.sparse.to_dense(), matrix.dense
        return out
    return matrix


def vectors(spark: Any, rows: list[Any], partitions: int = 1) -> Any:
    """Return a DataFrame of vectors, in order, in equal partitions."""
    kind = StructType([StructField("features", VectorUDT())])
    return spark.createDataFrame(spark.sparkContext.parallelize([(row,) for row in rows], partitions), kind)


def test_rows_and_labels_arrive_in_order_in_shards_of_bounded_size(spark: Any, session: Any) -> None:
    df = spark.range(0, 6000, 1, 3).select(
        F.array(*(F.col("id") * k / 7 for k in range(1, 21))).alias("features"), (F.col("id") % 5).alias("label")
    )
    request = request_for(df, session, labelCol="label", maxShardBytes=100_000)
    report = stage(df, request)
    assert (report.rows, report.width) == (6000, 20)
    assert report.labels == LabelSummary(0.0, 4.0, True, (0.0, 1.0, 2.0, 3.0, 4.0))
    assert [shard.partition for shard in report.shards] == sorted(shard.partition for shard in report.shards)
    assert len(report.shards) > 3
    rows = staged(session, report)
    assert [shard.rows for shard in report.shards] == [len(r) for r in rows]
    assert [shard.bytes for shard in report.shards] == [s3.size(session, shard.uri) for shard in report.shards]
    assert max(shard.bytes for shard in report.shards) <= 100_000
    expected = (np.arange(6000)[:, None] * np.arange(1, 21) / 7).astype(np.float32)
    assert np.array_equal(np.concatenate([r.features for r in rows]), expected)
    assert np.concatenate([r.labels for r in rows]).tolist() == (np.arange(6000) % 5).tolist()
    assert set(keys(session, request.prefix)) == {report.manifest, *(shard.uri for shard in report.shards)}
    unstage(session, report)
    assert keys(session, request.prefix) == []
    unstage(session, report)


def test_files_that_lie_flat_in_a_folder_of_their_own(spark: Any, session: Any) -> None:
    df = spark.range(0, 6000, 1, 3).select(F.array(F.col("id"), F.col("id") / 7).alias("features"))
    request = request_for(df, session, "text/csv", maxShardBytes=10_000, flat=True)
    report = stage(df, request)
    assert all(shard.uri.parent == report.files for shard in report.shards)
    names = [uri.key.removeprefix(report.files.key) for uri in keys(session, report.files)]
    assert names[:2] == ["part-00000-0000.csv", "part-00000-0001.csv"]
    assert names == [shard.uri.name for shard in report.shards]
    rows = b"".join(s3.read_bytes(session, shard.uri) for shard in report.shards).splitlines()
    assert [int(float(row.split(b",")[0])) for row in rows] == list(range(6000))
    assert set(keys(session, request.prefix)) == {report.manifest, *(shard.uri for shard in report.shards)}
    assert len(staged(session, report, "text/csv")) == len(names)
    unstage(session, report)
    assert keys(session, request.prefix) == []


def test_attempts_that_do_not_count_leave_no_file_however_late_they_are(spark: Any, session: Any) -> None:
    df = spark.range(0, 100, 1, 2).select(F.array(F.col("id")).alias("features"))
    request = request_for(df, session, "text/csv", flat=True)
    task = StagingTask(session, request.prefix, request.layout, "text/csv", 1 << 20, hold=True)
    # Of every partition two attempts, to the same names.
    lost, counted = (shards._run(df, task) for _ in range(2))
    assert keys(session, request.prefix) == []
    finished = shards._finished(session, [shard for report in counted for shard in report.shards])
    assert keys(session, request.prefix) == [shard.uri for shard in finished]
    shards._sweep_losers(session, request.prefix, finished)
    for report in lost:
        with pytest.raises(ResourceNotFoundError):
            shards._finished(session, list(report.shards))
    assert keys(session, request.prefix) == [shard.uri for shard in finished]
    assert shards._sweep(session, request.prefix, frozenset()) == 2


def test_a_shard_larger_than_a_part_is_uploaded_in_parts(spark: Any, session: Any) -> None:
    df = spark.range(0, 60_000, 1, 1).select(F.array(*(F.col("id").cast("float") for _ in range(50))).alias("features"))
    report = stage(df, request_for(df, session, maxShardBytes=128 << 20))
    assert len(report.shards) == 1
    assert report.bytes > 8 << 20
    (rows,) = staged(session, report)
    assert np.array_equal(rows.features[:, 49], np.arange(60_000, dtype=np.float32))
    unstage(session, report)


def test_rows_that_mix_dense_and_sparse_and_empty_partitions(spark: Any, session: Any) -> None:
    d = 2000
    rows = [
        Vectors.sparse(d, {1: 5.0}),
        Vectors.dense([0.5] * d),
        Vectors.sparse(d, {}),
        Vectors.sparse(d, {d - 1: 1.0}),
    ]
    df = vectors(spark, rows, partitions=7)
    report = stage(df, request_for(df, session))
    assert (report.rows, report.width, report.labels) == (4, d, None)
    arrived = staged(session, report)
    assert np.array_equal(np.concatenate([dense(r.features) for r in arrived]), np.array([r.toArray() for r in rows]))
    assert report.bytes < 4 * d + 1000
    unstage(session, report)


def test_narrow_sparse_rows_arrive_dense(spark: Any, session: Any) -> None:
    df = vectors(spark, [Vectors.sparse(3, {1: 5.0}), Vectors.dense([1.0, 2.0, 3.0])])
    report = stage(df, request_for(df, session))
    (rows,) = staged(session, report)
    assert rows.features.tolist() == [[0, 5, 0], [1, 2, 3]]
    unstage(session, report)


def test_csv_carries_label_and_weight_in_front(spark: Any, session: Any) -> None:
    df = spark.createDataFrame([(1.5, 2.5, 1, 0.25)], ["a.b", "b", "y", "w"])
    report = stage(df, request_for(df, session, "text/csv", featuresCols=["a.b", "b"], labelCol="y", weightCol="w"))
    assert s3.read_bytes(session, report.shards[0].uri).split(b"\n")[0].split(b",")[1:] == [b"0.25", b"1.5", b"2.5"]
    unstage(session, report)
    with pytest.raises(ValidationError, match="weightCol"):
        stage(df, request_for(df, session, featuresCols=["b"], labelCol="y", weightCol="w"))


NAN = float("nan")


@pytest.mark.parametrize(
    ("values", "column", "partition", "position", "value"),
    [
        ([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0], [NAN, 8.0]], "features", 1, 1, "nan"),
        ([[1.0, 2.0], [3.0, 4.0], [5.0, float("-inf")], [7.0, 8.0]], "features", 1, 0, "-inf"),
        ([[1.0, 2.0], [3.0, 1e300], [5.0, 6.0], [7.0, NAN]], "features", 0, 1, "1e+300"),
        ([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0], [7.0]], "features", 1, 1, "1"),
        ([[1.0, 2.0], None, [5.0, 6.0], [7.0, 8.0]], "features", 0, 1, "null"),
        ([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0, 7.0], [7.0, 8.0, 9.0]], "features", 1, 0, "3"),
    ],
)
def test_a_bad_row_is_named_and_nothing_stays(
    spark: Any, session: Any, values: Any, column: str, partition: int, position: int, value: str
) -> None:
    df = vectors(spark, [None if v is None else Vectors.dense(v) for v in values], partitions=2)
    request = request_for(df, session)
    with pytest.raises(DataError) as caught:
        stage(df, request)
    error = caught.value
    assert (error.column, error.partition, error.position, error.value) == (column, partition, position, value)
    assert f"column '{column}', partition {partition}, row {position} of the partition (from 0)" in str(error)
    assert keys(session, request.prefix) == []


@pytest.mark.parametrize(
    ("label", "kind", "options", "value"),
    [
        (None, DoubleType(), {}, "null"),
        (NAN, DoubleType(), {}, "nan"),
        (1e39, DoubleType(), {}, "1e+39"),
        (2**24 + 1, IntegerType(), {}, "16777217.0"),
        (0.5, DoubleType(), {"labelKind": "class"}, "0.5"),
        (3.0, DoubleType(), {"labelKind": "class", "numClasses": 3}, "3.0"),
    ],
)
def test_a_bad_label_is_named_and_nothing_stays(
    spark: Any, session: Any, label: Any, kind: Any, options: dict[str, Any], value: str
) -> None:
    fields = StructType([StructField("x", DoubleType()), StructField("label", kind)])
    good = 0 if isinstance(label, int) else 0.0
    df = spark.createDataFrame(spark.sparkContext.parallelize([(1.0, good), (1.0, good), (2.0, label)], 1), fields)
    request = request_for(df, session, featuresCols=["x"], labelCol="label", **options)
    with pytest.raises(DataError) as caught:
        stage(df, request)
    assert (caught.value.column, caught.value.position, caught.value.value) == ("label", 2, value)
    assert keys(session, request.prefix) == []


@pytest.mark.parametrize("partitions", [1, 3])
def test_no_row_at_all_is_an_error(spark: Any, session: Any, partitions: int) -> None:
    df = (
        spark.range(0, 10, 1, partitions).filter("id < 0").select(F.array(F.col("id").cast("double")).alias("features"))
    )
    request = request_for(df, session)
    with pytest.raises(DataError, match="no rows"):
        stage(df, request)
    assert keys(session, request.prefix) == []


def test_no_feature_at_all_is_an_error(spark: Any, session: Any) -> None:
    df = vectors(spark, [Vectors.dense([]), Vectors.dense([])])
    with pytest.raises(DataError, match="at least one is needed"):
        stage(df, request_for(df, session))


def test_metadata_that_contradicts_the_rows_is_an_error(spark: Any, session: Any) -> None:
    df = vectors(spark, [Vectors.dense([1.0, 2.0])])
    df = df.select(F.col("features").alias("features", metadata={"ml_attr": {"num_attrs": 3}}))
    with pytest.raises(DataError, match="has 2 features, but the column's ML attributes say 3"):
        stage(df, request_for(df, session))


def test_missing_values_travel_where_they_mean_something(spark: Any, session: Any) -> None:
    df = spark.sql("select array(1.0D, double('nan'), null) as features")
    report = stage(df, request_for(df, session, missing="keep"))
    (rows,) = staged(session, report)
    assert np.array_equal(rows.features, [[1, NAN, NAN]], equal_nan=True)
    unstage(session, report)


def test_what_s3_refuses_reaches_the_driver_as_it_is(spark: Any, session: Any) -> None:
    df = vectors(spark, [Vectors.dense([1.0])])
    made, _ = layout(df.schema)
    assert made is not None
    with pytest.raises(ServiceError, match="NoSuchBucket") as caught:
        stage(df, StagingRequest(session, S3Uri("no-such-bucket-here", "x/"), "train", made, RECORDIO))
    assert str(caught.value).startswith("PutObject: NoSuchBucket")


def test_a_users_own_error_passes_as_it_is(spark: Any, session: Any) -> None:
    df = spark.range(3).select(F.array(F.expr("raise_error('of the user')").cast("double")).alias("features"))
    request = request_for(df, session)
    with pytest.raises(Exception, match="of the user") as caught:
        stage(df, request)
    assert not isinstance(caught.value, SageSparkError)
    assert keys(session, request.prefix) == []


def test_what_late_attempts_left_is_deleted_with_the_rest(spark: Any, session: Any) -> None:
    df = spark.range(0, 4, 1, 2).select(F.array(F.col("id").cast("double")).alias("features"))
    request = request_for(df, session)
    report = stage(df, request)
    stray = report.folder / "part-00000-99-aaaaaa-0000.pbr"
    s3.upload_bytes(session, stray, b"late")
    unstage(session, report)
    assert keys(session, request.prefix) == []
