"""Input channels: which objects reach which host, in which order, under which names."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from sagespark.local.lifecycle import channels
from sagespark.local.lifecycle.failure import JobFailure
from sagespark.local.lifecycle.hosts import Host, addresses, hosts_of, resource_config
from sagespark.local.objects.store import ObjectStore
from support.training import BUCKET, ROLE, channel

ONE = hosts_of({"InstanceType": "ml.m5.large", "InstanceCount": 1})
THREE = hosts_of({"InstanceType": "ml.m5.large", "InstanceCount": 3})


@pytest.fixture
def objects(tmp_path: Path) -> ObjectStore:
    store = ObjectStore(tmp_path / "objects")
    store.create_bucket(BUCKET)
    return store


def fill(objects: ObjectStore, *keys: str) -> None:
    for key in keys:
        objects.put_bytes(BUCKET, key, key.encode())


def place(
    objects: ObjectStore,
    root: Path,
    source: dict[str, Any],
    hosts: tuple[Host, ...] = ONE,
    current: int = 0,
) -> dict[str, str]:
    """Place a channel and return the files below its folder with their texts."""
    data = channels.find(objects, source, ROLE)
    root.mkdir()
    channels.place(objects, data, data.of(hosts, hosts[current]), root, lambda: None)
    folder = root / data.name
    return {str(p.relative_to(folder)): p.read_text() for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.mark.parametrize(
    ("uri", "names"),
    [
        ("data/", ["a", "sub/b"]),
        ("data", ["data/a", "data/sub/b", "data2"]),
        ("data/a", ["a"]),
        ("data/su", ["sub/b"]),
        ("data/sub/b", ["b"]),
        ("data/sub", ["b"]),
        ("", ["data/a", "data/sub/b", "data2"]),
    ],
)
def test_a_prefix_gives_what_follows_its_folder(
    objects: ObjectStore, tmp_path: Path, uri: str, names: list[str]
) -> None:
    fill(objects, "data/a", "data/sub/b", "data2", "data/sub/")
    files = place(objects, tmp_path / "in", channel("train", f"s3://{BUCKET}/{uri}"))
    assert sorted(files) == names
    (prefix, *rows) = json.loads((tmp_path / "in" / "train-manifest").read_text())
    # The manifest's own rule: prefix + path is the object.
    assert sorted(f"{prefix['prefix']}{row}" for row in rows) == sorted(f"s3://{BUCKET}/{files[row]}" for row in rows)
    assert sorted(rows) == names


def test_files_are_the_objects_own_bytes_not_copies(objects: ObjectStore, tmp_path: Path) -> None:
    fill(objects, "data/a")
    place(objects, tmp_path / "in", channel("train", f"s3://{BUCKET}/data/"))
    assert os.path.samefile(tmp_path / "in" / "train" / "a", objects.path(BUCKET, "data/a"))
    objects.put_bytes(BUCKET, "data/a", b"newer")
    assert (tmp_path / "in" / "train" / "a").read_bytes() == b"data/a"


def manifest(objects: ObjectStore, *rows: Any) -> dict[str, Any]:
    objects.put_bytes(BUCKET, "the.manifest", json.dumps(rows).encode())
    return channel("train", f"s3://{BUCKET}/the.manifest", "ManifestFile")


def test_a_manifest_gives_its_objects_in_its_order(objects: ObjectStore, tmp_path: Path) -> None:
    fill(objects, "p/z", "p/a", "p/m", "p/unlisted")
    source = manifest(objects, {"prefix": f"s3://{BUCKET}/p/"}, "z", "a", "m")
    assert sorted(place(objects, tmp_path / "in", source)) == ["p/a", "p/m", "p/z"]
    assert json.loads((tmp_path / "in" / "train-manifest").read_text()) == [
        {"prefix": f"s3://{BUCKET}/"},
        "p/z",
        "p/a",
        "p/m",
    ]


def test_shards_go_to_the_hosts_in_turn_and_to_one_host_all(objects: ObjectStore, tmp_path: Path) -> None:
    fill(objects, *(f"p/{i}" for i in range(7)))
    source = channel("train", f"s3://{BUCKET}/p/")
    source["DataSource"]["S3DataSource"]["S3DataDistributionType"] = "ShardedByS3Key"
    shares = [sorted(place(objects, tmp_path / str(i), source, THREE, i)) for i in range(3)]
    assert shares == [["0", "3", "6"], ["1", "4"], ["2", "5"]]
    assert len(place(objects, tmp_path / "one", source)) == 7


def test_a_channel_may_be_for_one_instance_group(objects: ObjectStore, tmp_path: Path) -> None:
    groups = [
        {"InstanceGroupName": "cpu", "InstanceType": "ml.m5.large", "InstanceCount": 1},
        {"InstanceGroupName": "gpu", "InstanceType": "ml.p3.2xlarge", "InstanceCount": 2},
    ]
    hosts = hosts_of({"InstanceGroups": groups})
    fill(objects, "p/0", "p/1")
    source = channel("train", f"s3://{BUCKET}/p/")
    source["DataSource"]["S3DataSource"] |= {
        "S3DataDistributionType": "ShardedByS3Key",
        "InstanceGroupNames": ["gpu"],
    }
    assert [sorted(place(objects, tmp_path / str(i), source, hosts, i)) for i in range(3)] == [[], ["0"], ["1"]]
    config = resource_config(hosts, hosts[1])
    assert config["current_instance_type"] == "ml.p3.2xlarge"
    assert config["instance_groups"][1] == {
        "instance_group_name": "gpu",
        "instance_type": "ml.p3.2xlarge",
        "hosts": ["algo-2", "algo-3"],
    }
    assert len(set(addresses(hosts).values())) == 3


def refusal(objects: ObjectStore, source: dict[str, Any]) -> str:
    with pytest.raises(JobFailure) as error:
        channels.find(objects, source, ROLE)
    assert error.value.reason.startswith("ClientError: Data download failed:")
    return error.value.reason


def test_missing_data_is_told_with_location_and_role(objects: ObjectStore) -> None:
    reason = refusal(objects, channel("train", f"s3://{BUCKET}/none/"))
    assert f'No S3 objects found under S3 URL "s3://{BUCKET}/none/"' in reason
    assert ROLE in reason
    assert "bucket does not exist" in refusal(objects, channel("train", "s3://absent/x"))
    assert "manifest does not exist" in refusal(objects, channel("train", f"s3://{BUCKET}/none", "ManifestFile"))


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ({"prefix": "x"}, "must be a JSON list"),
        ([], "must be a JSON list"),
        (["a"], "must be a JSON list"),
        ([{"prefix": ""}], "must begin with"),
        ([{"prefix": "s3://bench/", "more": 1}], "must begin with"),
        ([{"prefix": "s3://bench/"}], "lists no object"),
        ([{"prefix": "s3://bench/"}, 3], "but has 3"),
        ([{"prefix": "s3://bench/"}, "absent"], 'under S3 URL "s3://bench/absent"'),
        ([{"prefix": "ftp://bench/"}, "a"], "is no S3 location"),
        ([{"prefix": "s3://"}, "bench/a", "other/a"], "several buckets"),
    ],
)
def test_bad_manifests_are_refused_with_their_fault(objects: ObjectStore, rows: Any, words: str) -> None:
    fill(objects, "a")
    objects.create_bucket("other")
    objects.put_bytes("other", "a", b"")
    objects.put_bytes(BUCKET, "the.manifest", json.dumps(rows).encode())
    assert words in refusal(objects, channel("train", f"s3://{BUCKET}/the.manifest", "ManifestFile"))


def test_a_manifest_that_is_not_json_is_refused(objects: ObjectStore) -> None:
    objects.put_bytes(BUCKET, "the.manifest", b"[" * 200_000)
    assert "is not JSON" in refusal(objects, channel("train", f"s3://{BUCKET}/the.manifest", "ManifestFile"))


@pytest.mark.parametrize("key", ["p/../../../escape", "p/./x", "p/..", "p/../x"])
def test_no_key_leads_out_of_the_folder(objects: ObjectStore, key: str) -> None:
    fill(objects, "p/ok", key)
    assert "'..' step" in refusal(objects, channel("train", f"s3://{BUCKET}/p/"))


def test_a_key_that_is_file_and_folder_at_once_is_refused(objects: ObjectStore) -> None:
    fill(objects, "p/a", "p/a/b/c")
    assert "lies below the object 'a'" in refusal(objects, channel("train", f"s3://{BUCKET}/p/"))


def test_a_name_that_the_file_system_refuses_is_the_users_error(objects: ObjectStore, tmp_path: Path) -> None:
    fill(objects, "p/" + "x" * 300)
    with pytest.raises(JobFailure, match="cannot be a file: File name too long"):
        place(objects, tmp_path / "in", channel("train", f"s3://{BUCKET}/p/"))
