"""Serializers and deserializers of the user's own, and compressed shards."""

from __future__ import annotations

import gzip
import json
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from numpy.typing import NDArray

from sagespark.codecs.matrix import Csr, Mixed
from sagespark.core.errors import CodecError, DataError, ValidationError
from sagespark.data import staging_task
from sagespark.data.formats import Deserializer, Serializer, codec_of, decode, record_batch
from sagespark.data.frame import FrameLayout
from sagespark.data.staging_task import ShardWriter, StagingTask

VECTOR = FrameLayout("vector", ("features",))
COLUMNS = FrameLayout("columns", ("a", "b"), label="y", weight="w")
DENSE = np.array([[1, 0], [0, 4]], np.float32)
SPARSE = Csr(np.array([0, 1, 2]), np.array([0, 1]), np.array([1, 4], np.float32), 2)


def test_dense_rows_are_lists_or_columns_by_name() -> None:
    assert record_batch(DENSE, VECTOR).to_pylist() == [{"features": [1, 0]}, {"features": [0, 4]}]
    lead = np.array([[7, 2], [8, 3]], np.float32)
    assert record_batch(DENSE, COLUMNS, lead).to_pylist() == [
        {"a": 1, "b": 0, "y": 7, "w": 2}, {"a": 0, "b": 4, "y": 8, "w": 3}
    ]  # fmt: skip
    assert record_batch(DENSE, COLUMNS, lead[:, 0]).schema.names == ["a", "b", "y"]


@pytest.mark.parametrize("rows", [SPARSE, Mixed(np.array([False, True]), DENSE[:1], SPARSE[1:])])
def test_sparse_rows_are_structs(rows: Any) -> None:
    assert record_batch(rows, VECTOR).to_pylist() == [
        {"features": {"size": 2, "indices": [0], "values": [1]}},
        {"features": {"size": 2, "indices": [1], "values": [4]}},
    ]


@pytest.mark.parametrize("answer", ["[1]", b"[1]", bytearray(b"[1]")])
def test_a_serializer_gives_text_or_bytes(answer: Any) -> None:
    form = codec_of(Serializer(lambda batch: answer, "text/x"), VECTOR)
    assert (form.content_type, bytes(form.encode(DENSE))) == ("text/x", b"[1]")


def test_what_goes_wrong_in_a_serializer_is_told() -> None:
    def broken(batch: Any) -> bytes:
        raise KeyError("nope")

    with pytest.raises(DataError, match="the serializer of text/x raised KeyError: 'nope'"):
        codec_of(Serializer(broken, "text/x"), VECTOR).encode(DENSE)
    with pytest.raises(DataError, match="must return bytes or text, but returned int"):
        codec_of(Serializer(lambda batch: 5, "text/x"), VECTOR).encode(DENSE)
    with pytest.raises(ValidationError, match=r"content type 'text/y' is unknown; .*Serializer\(function, 'text/y'\)"):
        codec_of("text/y", VECTOR)
    for bad in (5, "text/csv"):
        with pytest.raises(TypeError, match="Serializer takes a function"):
            Serializer(bad)  # type: ignore[arg-type]  # what is tested
    with pytest.raises(TypeError, match="contentType must be a content type such as 'text/csv', but got 'csv'"):
        Serializer(len, "csv")


@pytest.mark.parametrize(
    "answer",
    [
        {"p": [1.5, 2.5], "q": [[1, 2], [3, 4]], "more": ["x", "y"]},
        pa.RecordBatch.from_pydict({"p": [1.5, 2.5], "q": [[1, 2], [3, 4]]}),
        pa.table({"p": [1.5, 2.5], "q": [[1, 2], [3, 4]]}),
    ],
)
def test_a_deserializer_gives_fields(answer: Any) -> None:
    found = decode(Deserializer(lambda body: answer), b"", ("p", "q"))
    np.testing.assert_array_equal(found["p"], [1.5, 2.5])
    np.testing.assert_array_equal(found["q"], [[1, 2], [3, 4]])


def test_one_field_needs_no_name() -> None:
    found = decode(Deserializer(json.loads), b"[1, 2]", ("p",))
    np.testing.assert_array_equal(found["p"], [1, 2])


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ([1], r"returned list, but the fields \['p', 'q'\] are asked for"),
        ({"p": [1]}, r"returned the fields \['p'\], but not 'q'"),
        ({"p": ["x"], "q": [1]}, "returned 'p' of what are no numbers of one shape"),
        ({"p": [1], "q": [[[1]]]}, r"returned 'q' of shape \(1, 1, 1\)"),
    ],
)
def test_answers_that_are_none_are_told(answer: Any, words: str) -> None:
    with pytest.raises(CodecError, match=words):
        decode(Deserializer(lambda body: answer), b"", ("p", "q"))
    with pytest.raises(CodecError, match="the deserializer of application/octet-stream raised JSONDecodeError"):
        decode(Deserializer(json.loads), b"{", ("p",))


class Written:
    """Stands for S3: keeps what each object was given."""

    bodies: dict[str, bytes]

    def __init__(self, session: Any, uri: Any, *, contentType: str) -> None:
        self.uri, self.written, self.contentType = uri, 0, contentType
        self._parts: list[bytes] = []

    def write(self, data: Any) -> None:
        self._parts.append(bytes(data))
        self.written += len(data)

    def close(self) -> None:
        Written.bodies[self.uri] = b"".join(self._parts)


def shards(monkeypatch: pytest.MonkeyPatch, rows: NDArray[np.float32], **options: Any) -> dict[str, bytes]:
    Written.bodies = {}
    monkeypatch.setattr(staging_task, "MultipartWriter", Written)

    class Folder(str):
        def __truediv__(self, name: str) -> str:
            return self + name

    contentType = options.pop("contentType", "text/csv")
    task = StagingTask(None, Folder("s3://b/"), VECTOR, contentType, options.pop("size", 1 << 20), **options)  # type: ignore[arg-type]  # no session is asked for
    writer = ShardWriter(task, 0, "part")
    for part in np.array_split(rows, 10):
        writer.write(codec_of(contentType, VECTOR), part, None)
    found = writer.close()
    assert [shard.bytes for shard in found] == [len(body) for body in Written.bodies.values()]
    assert sum(shard.rows for shard in found) == len(rows)
    return Written.bodies


def test_compressed_shards_are_one_gzip_member_each_and_smaller(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = np.zeros((2000, 3), np.float32)
    plain = shards(monkeypatch, rows)
    packed = shards(monkeypatch, rows, gzip=True)
    assert list(packed) == ["s3://b/part-0000.csv.gz"]
    assert [gzip.decompress(body) for body in packed.values()] == list(plain.values())
    assert sum(map(len, packed.values())) < sum(map(len, plain.values())) / 5
    noise = np.random.default_rng(0).random((20000, 3), np.float32)
    several = shards(monkeypatch, noise, gzip=True, size=200_000)
    assert len(several) > 1
    assert b"".join(map(gzip.decompress, several.values())) == b"".join(shards(monkeypatch, noise).values())


def test_shards_of_an_own_format(monkeypatch: pytest.MonkeyPatch) -> None:
    def lines(batch: pa.RecordBatch) -> str:
        return "".join(f"{row['features'][0]}|\n" for row in batch.to_pylist())

    found = shards(monkeypatch, np.ones((20, 2), np.float32), contentType=Serializer(lines, "text/x-lines"))
    assert found == {"s3://b/part-0000.data": b"1.0|\n" * 20}
