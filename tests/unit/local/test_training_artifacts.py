"""Artifacts: what of a container's folders reaches S3, and what never does."""

from __future__ import annotations

import io
import multiprocessing
import os
import tarfile
import tempfile
from pathlib import Path

import pytest

from sagespark.core.s3uri import S3Uri
from sagespark.local.lifecycle import artifacts, workspace
from sagespark.local.lifecycle.failure import MAX_REASON, algorithm_error, read_failure
from sagespark.local.objects.store import ObjectStore
from support.training import BUCKET

NOBODY = 65534


@pytest.fixture
def opt_ml(tmp_path: Path) -> Path:
    folder = tmp_path / "algo-1"
    (folder / "model" / "sub").mkdir(parents=True)
    (folder / "output" / "data").mkdir(parents=True)
    (folder / "model" / "a").write_text("A")
    (folder / "model" / "sub" / "b").write_text("B")
    (tmp_path / "secret").write_text("secret")
    return folder


def collect(*folders: Path) -> tuple[dict[str, str], list[str]]:
    warnings: list[str] = []
    files = artifacts.gather(folders, "model", warnings.append)
    return {name: path.read_text() for name, path in files.items()}, warnings


def test_plain_files_are_taken_with_their_folders(opt_ml: Path) -> None:
    assert collect(opt_ml) == ({"a": "A", "sub/b": "B"}, [])


def test_links_inside_count_as_what_they_lead_to(opt_ml: Path) -> None:
    model = opt_ml / "model"
    (opt_ml / "checkpoints").mkdir()
    (opt_ml / "checkpoints" / "best").write_text("C")
    (model / "absolute").symlink_to("/opt/ml/checkpoints/best")
    (model / "relative").symlink_to("../checkpoints/best")
    (model / "folder").symlink_to("sub")
    (model / "chain").symlink_to("folder/b")
    files, warnings = collect(opt_ml)
    assert files == {
        "a": "A",
        "absolute": "C",
        "relative": "C",
        "folder/b": "B",
        "chain": "B",
        "sub/b": "B",
    }
    assert warnings == []


@pytest.mark.parametrize(
    "target",
    ["/etc/hostname", "../../secret", "/opt/ml/../../secret", "../../../../../../etc/hostname", "missing", "loop", "."],
)
def test_links_that_lead_out_or_nowhere_are_left_out(opt_ml: Path, target: str) -> None:
    (opt_ml / "model" / "loop").symlink_to(target)
    files, warnings = collect(opt_ml)
    assert files == {"a": "A", "sub/b": "B"}
    assert len(warnings) == 1
    assert "loop is left out" in warnings[0]


def test_a_link_to_the_hosts_folder_by_its_real_path_is_inside(opt_ml: Path) -> None:
    # Without namespaces the container sees its folder under the machine's path.
    (opt_ml / "model" / "c").symlink_to(opt_ml.resolve() / "model" / "a")
    assert collect(opt_ml)[0]["c"] == "A"


def test_a_model_folder_that_became_a_link_out_gives_nothing(opt_ml: Path, tmp_path: Path) -> None:
    (opt_ml / "model").rename(opt_ml / "moved")
    (opt_ml / "model").symlink_to(tmp_path)
    assert collect(opt_ml) == ({}, [])


def test_what_is_no_file_is_left_out_with_a_word(opt_ml: Path) -> None:
    os.mkfifo(opt_ml / "model" / "pipe")
    (opt_ml / "model" / os.fsdecode(b"caf\xe9")).write_text("x")
    files, warnings = collect(opt_ml)
    assert sorted(files) == ["a", "sub/b"]
    assert len(warnings) == 2


def test_what_an_ordinary_user_may_not_read_is_left_out_and_removed() -> None:
    """As root nothing is refused, so this runs as another user where the tests run as root."""
    root = Path(tempfile.mkdtemp())
    try:
        model = root / "algo-1" / "model"
        (model / "closed").mkdir(parents=True)
        (model / "open").write_text("O")
        (model / "closed" / "x").write_text("X")
        (model / "unreadable").write_text("U")
        for path in (root, root / "algo-1", model, model / "open", model / "closed" / "x"):
            os.chmod(path, 0o755)
        os.chmod(model / "unreadable", 0)
        os.chmod(model / "closed", 0)
        results = multiprocessing.get_context("fork").SimpleQueue()

        def look() -> None:
            if os.geteuid() == 0:
                for path in (root, root / "algo-1", model, *model.iterdir()):
                    os.chown(path, NOBODY, NOBODY)
                os.setgid(NOBODY)
                os.setuid(NOBODY)
            results.put(collect(root / "algo-1"))
            workspace.remove(root / "algo-1")

        process = multiprocessing.get_context("fork").Process(target=look)
        process.start()
        files, warnings = results.get()
        process.join(30)
        assert files == {"open": "O"}
        assert [w.split(" is left out")[0] for w in warnings] == ["closed/", "unreadable"]
        assert not (root / "algo-1").exists()
    finally:
        workspace.remove(root)


def test_the_first_host_wins_where_two_wrote_one_name(opt_ml: Path, tmp_path: Path) -> None:
    second = tmp_path / "algo-2"
    (second / "model").mkdir(parents=True)
    (second / "model" / "a").write_text("2")
    (second / "model" / "z").write_text("Z")
    files, warnings = collect(opt_ml, second)
    assert files == {"a": "A", "sub/b": "B", "z": "Z"}
    assert warnings == ["a is left out: algo-2 and a host before it wrote it"]


def test_the_archive_holds_plain_members_owned_by_root(opt_ml: Path) -> None:
    os.link(opt_ml / "model" / "a", opt_ml / "model" / "same")
    (opt_ml / "model" / "link").symlink_to("a")
    os.chmod(opt_ml / "model" / "a", 0o750)
    packed = io.BytesIO()
    artifacts.pack(artifacts.gather([opt_ml], "model", pytest.fail), packed)
    packed.seek(0)
    with tarfile.open(fileobj=packed, mode="r:gz") as archive:
        members = {m.name: m for m in archive}
        assert set(members) == {"a", "link", "same", "sub/b"}
        # A hard link inside an archive is a member that some readers refuse.
        assert all(m.isfile() and m.uid == m.gid == 0 and m.uname == "root" for m in members.values())
        assert members["a"].mode == 0o750
        body = archive.extractfile("same")
        assert body is not None
        assert body.read() == b"A"


def test_upload_as_archive_and_as_objects(opt_ml: Path, tmp_path: Path) -> None:
    objects = ObjectStore(tmp_path / "objects")
    objects.create_bucket(BUCKET)
    files = artifacts.gather([opt_ml], "model", pytest.fail)
    artifacts.upload(objects, files, S3Uri(BUCKET, "j/output/model.tar.gz"), tmp_path / "scratch")
    artifacts.upload(objects, files, S3Uri(BUCKET, "j/output/model/"), tmp_path / "scratch")
    assert [o.key for o in objects.list(BUCKET)] == [
        "j/output/model.tar.gz",
        "j/output/model/a",
        "j/output/model/sub/b",
    ]
    with tarfile.open(objects.path(BUCKET, "j/output/model.tar.gz")) as archive:
        assert archive.getnames() == ["a", "sub/b"]
    objects.close()


def test_the_failure_file_is_read_but_no_link_and_no_pipe(opt_ml: Path, tmp_path: Path) -> None:
    path = opt_ml / "output" / "failure"
    assert read_failure(opt_ml) == ""
    path.write_text("ü" * 3000)
    assert read_failure(opt_ml) == "ü" * MAX_REASON
    path.write_bytes(b"\xff bad")
    assert read_failure(opt_ml) == "� bad"
    path.unlink()
    path.symlink_to(tmp_path / "secret")
    assert read_failure(opt_ml) == ""
    path.unlink()
    os.mkfifo(path)
    assert read_failure(opt_ml) == ""


@pytest.mark.parametrize(
    ("code", "text", "reason"),
    [
        (1, "", "AlgorithmError: Exit Code: 1"),
        (137, " \n", "AlgorithmError: Exit Code: 137"),
        (1, "broken", "AlgorithmError: broken"),
        (1, "ClientError: bad data", "ClientError: bad data"),
        (1, "x" * 2000, "AlgorithmError: " + "x" * (MAX_REASON - 16)),
    ],
)
def test_failure_reasons(code: int, text: str, reason: str) -> None:
    assert algorithm_error(code, text).reason == reason
