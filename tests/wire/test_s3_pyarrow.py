"""S3 through Arrow's filesystem: AWS's C++ SDK, another client than boto3's."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyarrow.fs import FileSelector, FileType, S3FileSystem

pytestmark = pytest.mark.wire


@pytest.fixture(scope="module")
def arrow(server: Any) -> S3FileSystem:
    return S3FileSystem(
        access_key="any",
        secret_key="any",
        region="us-east-1",
        scheme="http",
        endpoint_override=urlsplit(server.url).netloc,
        allow_bucket_creation=True,
        allow_bucket_deletion=True,
    )


def test_files_and_folders(arrow: S3FileSystem, bucket: str) -> None:
    arrow.create_dir(f"{bucket}/a/b")
    with arrow.open_output_stream(f"{bucket}/a/b/ü 1.bin") as stream:
        stream.write(b"hello")
    arrow.copy_file(f"{bucket}/a/b/ü 1.bin", f"{bucket}/a/copy")
    arrow.move(f"{bucket}/a/copy", f"{bucket}/a/moved")
    found = {
        i.path: i.size for i in arrow.get_file_info(FileSelector(bucket, recursive=True)) if i.type == FileType.File
    }
    assert found == {f"{bucket}/a/b/ü 1.bin": 5, f"{bucket}/a/moved": 5}
    assert arrow.get_file_info(f"{bucket}/a/none").type == FileType.NotFound
    with arrow.open_input_file(f"{bucket}/a/moved") as file:
        file.seek(1)
        assert file.read(3) == b"ell"
    arrow.delete_dir_contents(f"{bucket}/a")
    assert [i.path for i in arrow.get_file_info(FileSelector(f"{bucket}/a", recursive=True))] == []


def test_a_stream_in_parts(arrow: S3FileSystem, bucket: str, s3: Any) -> None:
    data = np.random.default_rng(0).bytes(25_000_000)
    with arrow.open_output_stream(f"{bucket}/big") as stream:
        for start in range(0, len(data), 1_000_000):
            stream.write(data[start : start + 1_000_000])
    assert s3.head_object(Bucket=bucket, Key="big")["ETag"].endswith('-3"')
    with arrow.open_input_stream(f"{bucket}/big") as stream:
        assert stream.read() == data


def test_parquet(arrow: S3FileSystem, bucket: str) -> None:
    table = pa.table({"x": np.arange(100_000), "y": np.arange(100_000) % 7})
    pq.write_to_dataset(table, f"{bucket}/table", filesystem=arrow, partition_cols=["y"])
    read = pq.read_table(f"{bucket}/table", filesystem=arrow, filters=[("y", "=", 3)], columns=["x"])
    assert sorted(read["x"].to_pylist()) == list(range(3, 100_000, 7))
