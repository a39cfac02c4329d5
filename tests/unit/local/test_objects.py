"""The object store by itself: what it keeps, in which order, and what is left of it after an accident."""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sagespark.local.objects.files import copy_range
from sagespark.local.objects.index import successor
from sagespark.local.objects.listing import page
from sagespark.local.objects.model import (
    Attributes,
    BucketNotEmptyError,
    NoSuchBucketError,
    NoSuchKeyError,
    NoSuchUploadError,
)
from sagespark.local.objects.store import ObjectStore
from sagespark.local.objects.uploads import Uploads


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "objects"


@pytest.fixture
def store(root: Path) -> Iterator[ObjectStore]:
    made = ObjectStore(root)
    made.create_bucket("b")
    yield made
    made.close()


def bodies(root: Path) -> list[Path]:
    return [p for p in root.rglob("*") if p.is_file() and len(p.name) == 32]


def read(store: ObjectStore, key: str) -> bytes:
    _, file = store.open("b", key)
    with file:
        return file.read()


def test_put_get_replace_delete(store: ObjectStore, root: Path) -> None:
    info = store.put_bytes("b", "k", b"one", Attributes(headers={"ContentType": "text/x"}, metadata={"m": "1"}))
    assert (info.size, info.etag) == (3, hashlib.md5(b"one").hexdigest())
    assert store.head("b", "k") == info
    assert info.path.read_bytes() == b"one"
    assert info.path.is_relative_to(root)
    assert store.path("b", "k") == info.path
    assert info.attributes.headers == {"ContentType": "text/x"}
    again = store.put_bytes("b", "k", b"two")
    assert again.attributes.headers == {"ContentType": "binary/octet-stream"}
    assert read(store, "k") == b"two"
    assert bodies(root) == [again.path]
    assert store.delete("b", "k", "none") == 1
    assert store.head("b", "k") is None
    assert bodies(root) == []
    with pytest.raises(NoSuchKeyError):
        store.open("b", "k")


def test_files_are_copied_or_taken_over(store: ObjectStore, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"x" * 3_000_000)
    copied = store.put_path("b", "copied", file)
    assert file.exists()
    moved = store.put_path("b", "moved", file, move=True)
    assert not file.exists()
    assert copied.etag == moved.etag == hashlib.md5(b"x" * 3_000_000).hexdigest()
    assert read(store, "moved") == b"x" * 3_000_000


def test_nothing_is_left_of_a_put_into_no_bucket(store: ObjectStore, root: Path, tmp_path: Path) -> None:
    with pytest.raises(NoSuchBucketError):
        store.put_bytes("none", "k", b"x")
    with pytest.raises(FileNotFoundError):
        store.put_path("b", "k", tmp_path / "none")
    assert bodies(root) == []


def test_links_outlive_the_object(store: ObjectStore, tmp_path: Path) -> None:
    info = store.put_bytes("b", "k", b"one")
    target = tmp_path / "link"
    store.link("b", "k", target)
    assert target.stat().st_ino == info.path.stat().st_ino
    assert target.stat().st_mode & 0o222 == 0
    store.put_bytes("b", "k", b"two")
    store.delete("b", "k")
    assert target.read_bytes() == b"one"
    with pytest.raises(NoSuchKeyError):
        store.link("b", "k", tmp_path / "other")
    store.put_bytes("b", "k", b"x")
    with pytest.raises(FileNotFoundError):
        store.link("b", "k", tmp_path / "no folder" / "link")


def test_links_become_copies_across_filesystems(
    store: ObjectStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.put_bytes("b", "k", b"one")

    def no_link(source: Path, target: Path) -> None:
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", no_link)
    store.link("b", "k", tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == b"one"


def test_a_reader_keeps_what_it_opened(store: ObjectStore) -> None:
    store.put_bytes("b", "k", b"one")
    _, file = store.open("b", "k")
    store.put_bytes("b", "k", b"two")
    store.delete("b", "k")
    with file:
        assert file.read() == b"one"


def test_keys_are_listed_by_their_bytes(store: ObjectStore) -> None:
    keys = ["a", "a/", "a/b", "a\x00", "a0", "b", "\uffff", "\U0001f600", "é"]
    for key in keys:
        store.put_bytes("b", key, b"")
    assert [o.key for o in store.list("b")] == sorted(keys, key=str.encode)
    assert [o.key for o in store.list("b", "a/")] == ["a/", "a/b"]
    assert list(store.list("b", "none")) == []
    assert list(store.list("none")) == []


def test_more_objects_than_one_query_gives(store: ObjectStore) -> None:
    keys = [f"p/{i:04d}" for i in range(2001)]
    for key in keys:
        store.put_bytes("b", key, b"")
    assert [o.key for o in store.list("b", "p/")] == keys


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=4), st.binary(max_size=6))
def test_the_successor_bounds_a_prefix(prefix: bytes, other: bytes) -> None:
    end = successor(prefix)
    inside = other >= prefix and (end is None or other < end)
    assert inside == other.startswith(prefix)


def test_a_page_passes_over_many_keys_of_one_prefix(store: ObjectStore) -> None:
    for i in range(300):
        store.put_bytes("b", f"a/{i}", b"")
    store.put_bytes("b", "b", b"")
    found = page(store, "b", "", "/", "", 1)
    assert (found.prefixes, found.objects, found.truncated, found.last) == (["a/"], [], True, "a/")
    rest = page(store, "b", "", "/", found.last, 1)
    assert ([o.key for o in rest.objects], rest.truncated) == (["b"], False)


def test_buckets(store: ObjectStore) -> None:
    assert store.create_bucket("c", "eu-west-1")
    assert not store.create_bucket("c")
    assert [(n, r) for n, r, _ in store.buckets()] == [("b", "us-east-1"), ("c", "eu-west-1")]
    store.put_bytes("c", "k", b"")
    with pytest.raises(BucketNotEmptyError):
        store.delete_bucket("c")
    store.delete("c", "k")
    store.delete_bucket("c")
    assert store.bucket("c") is None
    with pytest.raises(NoSuchBucketError):
        store.delete_bucket("c")


# ------------------------------------------------------------------------------------------------------------ accidents


def test_everything_is_there_again(store: ObjectStore, root: Path) -> None:
    info = store.put_bytes("b", "k", b"one", Attributes(tags={"t": "1"}, checksums={"CRC32": "x"}, parts=((1, 3),)))
    store.close()
    again = ObjectStore(root)
    assert again.head("b", "k") == info
    again.close()


def test_what_a_killed_process_left_is_put_right(store: ObjectStore, root: Path) -> None:
    kept = store.put_bytes("b", "kept", b"kept")
    half = store.put_bytes("b", "half", b"half")
    old = store.put_bytes("b", "old", b"old")
    # Killed between the commit and the move of the body, in the middle of an upload, and before a body was deleted.
    os.replace(half.path, root / "tmp" / half.body)
    (root / "tmp" / ("0" * 32)).write_bytes(b"unfinished")
    with store.index.write() as db:
        db.execute("DELETE FROM objects WHERE key=?", (b"old",))
        store.garbage.note(db, [old.body])
    assert read(store, "half") == b"half"
    assert old.path.exists()
    store.close()
    again = ObjectStore(root)
    assert sorted(bodies(root)) == sorted([kept.path, half.path])
    assert list((root / "tmp").iterdir()) == []
    assert read(again, "half") == b"half"
    again.close()


def test_a_failed_transaction_changes_nothing(store: ObjectStore, root: Path) -> None:
    before = store.put_bytes("b", "k", b"one")

    def refuse(present: object) -> None:
        raise RuntimeError("refused")

    body, path = store.files.new()
    path.write_bytes(b"two")
    with pytest.raises(RuntimeError):
        store.commit("b", "k", body, 3, "etag", guard=refuse)
    assert store.head("b", "k") == before
    assert bodies(root) == [before.path]
    store.put_bytes("b", "k", b"three")


def test_many_threads_on_one_key(store: ObjectStore, root: Path) -> None:
    """Readers see whole objects only; at the end one body is left."""
    stop = threading.Event()

    def write(number: int) -> None:
        for i in range(60):
            store.put_bytes("b", "k", f"{number}-{i}".encode() * 50)
            if i % 20 == 19:
                store.delete("b", "k")

    def check() -> int:
        seen = 0
        while not stop.is_set():
            try:
                info, file = store.open("b", "k")
            except NoSuchKeyError:
                continue
            with file:
                data = file.read()
            assert len(data) == info.size
            assert hashlib.md5(data).hexdigest() == info.etag
            seen += 1
        return seen

    with ThreadPoolExecutor(5) as pool:
        readers = [pool.submit(check) for _ in range(2)]
        writers = [pool.submit(write, n) for n in range(3)]
        for writer in writers:
            writer.result()
        stop.set()
        assert sum(r.result() for r in readers) > 0
    store.put_bytes("b", "k", b"last")
    assert len(bodies(root)) == 1


# -------------------------------------------------------------------------------------------------------------- uploads


def part(store: ObjectStore, data: bytes) -> tuple[str, int, str]:
    body, path = store.files.new()
    path.write_bytes(data)
    return body, len(data), hashlib.md5(data).hexdigest()


def test_an_upload_joins_its_parts(store: ObjectStore, root: Path) -> None:
    uploads = Uploads(store)
    upload = uploads.create("b", "k", Attributes(metadata={"m": "1"}), "", "")
    for number, data in ((2, b"two"), (1, b"old"), (1, b"one")):
        uploads.put(upload, number, *part(store, data), {})
    parts = uploads.parts(upload.id)
    assert [(p.number, p.size) for p in parts] == [(1, 3), (2, 3)]
    info = uploads.complete(upload, parts, upload.attributes)
    assert read(store, "k") == b"onetwo"
    assert info.attributes.parts == ((1, 3), (2, 3))
    assert info.attributes.metadata == {"m": "1"}
    assert bodies(root) == [info.path]
    assert uploads.completed("b", "k", upload.id) == info
    with pytest.raises(NoSuchUploadError):
        uploads.complete(upload, parts, upload.attributes)
    with pytest.raises(NoSuchUploadError):
        uploads.put(upload, 3, *part(store, b"late"), {})
    assert bodies(root) == [info.path]
    store.put_bytes("b", "k", b"other")
    assert uploads.completed("b", "k", upload.id) is None


def test_uploads_go_with_their_bucket(store: ObjectStore, root: Path) -> None:
    uploads = Uploads(store)
    store.create_bucket("c")
    upload = uploads.create("c", "k", Attributes(), "", "")
    uploads.put(upload, 1, *part(store, b"x"), {})
    store.delete_bucket("c")
    assert bodies(root) == []
    with pytest.raises(NoSuchUploadError):
        uploads.find("c", "k", upload.id)
    with pytest.raises(NoSuchBucketError):
        uploads.create("c", "k", Attributes(), "", "")


def test_parts_survive_a_restart(store: ObjectStore, root: Path) -> None:
    uploads = Uploads(store)
    upload = uploads.create("b", "k", Attributes(), "CRC32", "COMPOSITE")
    made = uploads.put(upload, 1, *part(store, b"x"), {"CRC32": "abc"})
    store.close()
    again = ObjectStore(root)
    assert Uploads(again).find("b", "k", upload.id) == upload
    assert list(Uploads(again).parts(upload.id)) == [made]
    again.close()


def test_bytes_are_copied_where_the_kernel_cannot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_bytes(bytes(range(256)) * 10_000)

    def cannot(*arguments: object) -> int:
        raise OSError(18, "Invalid cross-device link")

    for broken in (False, True):
        if broken:
            monkeypatch.setattr(os, "copy_file_range", cannot)
        with source.open("rb") as s, target.open("wb") as t:
            copy_range(s.fileno(), t.fileno(), 5, 2_000_000)
        assert target.read_bytes() == source.read_bytes()[5:2_000_005]
    with source.open("rb") as s, target.open("wb") as t, pytest.raises(EOFError):
        copy_range(s.fileno(), t.fileno(), 0, 99_999_999)
