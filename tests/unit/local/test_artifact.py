"""Model artifacts are unpacked whole or not at all, and never outside their folder."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from sagespark.local.hosting.artifact import ArtifactError, place
from sagespark.local.objects.store import ObjectStore


@pytest.fixture
def objects(tmp_path: Path) -> ObjectStore:
    store = ObjectStore(tmp_path / "objects")
    store.create_bucket("models")
    return store


def tar(add: Callable[[tarfile.TarFile], None], mode: str = "w:gz") -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=mode) as archive:  # type: ignore[call-overload]  # the mode is a variable
        add(archive)
    return out.getvalue()


def member(name: str, content: bytes = b"x", **changed: object) -> Callable[[tarfile.TarFile], None]:
    def add(archive: tarfile.TarFile) -> None:
        info = tarfile.TarInfo(name)
        info.size = len(content)
        for key, value in changed.items():
            setattr(info, key, value)
        archive.addfile(info, io.BytesIO(content))

    return add


@pytest.mark.parametrize("mode", ["w:gz", "w"])
def test_an_archive_is_unpacked_once(objects: ObjectStore, tmp_path: Path, mode: str) -> None:
    objects.put_bytes("models", "m.tar.gz", tar(member("code/f", b"content"), mode))
    folder = tmp_path / "fleet" / "model"
    place(objects, "s3://models/m.tar.gz", folder, packed=True)
    assert (folder / "code" / "f").read_bytes() == b"content"
    objects.delete("models", "m.tar.gz")
    place(objects, "s3://models/m.tar.gz", folder, packed=True)
    assert (folder / "code" / "f").read_bytes() == b"content"


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"no archive",
        tar(member("f", b"x" * 100_000))[:60],
        tar(member("../../escape")),
        tar(member("link", b"", type=tarfile.SYMTYPE, linkname="/etc")),
        tar(member("link", b"", type=tarfile.LNKTYPE, linkname="../../../etc/passwd")),
        tar(member("device", b"", type=tarfile.CHRTYPE)),
    ],
    ids=["empty", "text", "cut", "dots", "symlink", "hard-link", "device"],
)
def test_what_is_refused_leaves_nothing(objects: ObjectStore, tmp_path: Path, data: bytes) -> None:
    objects.put_bytes("models", "m.tar.gz", data)
    with pytest.raises(ArtifactError, match="Failed to extract model data archive"):
        place(objects, "s3://models/m.tar.gz", tmp_path / "fleet" / "model", packed=True)
    assert list((tmp_path / "fleet").iterdir()) == []
    assert not (tmp_path / "escape").exists()


def test_an_absolute_name_stays_inside(objects: ObjectStore, tmp_path: Path) -> None:
    objects.put_bytes("models", "m.tar.gz", tar(member("/etc/model", b"content")))
    place(objects, "s3://models/m.tar.gz", tmp_path / "model", packed=True)
    assert (tmp_path / "model" / "etc" / "model").read_bytes() == b"content"


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("url", ["s3://models/none", "s3://none/none"])
def test_what_is_missing(objects: ObjectStore, tmp_path: Path, url: str, packed: bool) -> None:
    with pytest.raises(ArtifactError, match=f'Failed to download model data .* from URL: "{url}"'):
        place(objects, url, tmp_path / "model", packed=packed)


def test_plain_files_of_a_prefix(objects: ObjectStore, tmp_path: Path) -> None:
    for key in ("m/a", "m/b/c", "m/", "mother"):
        objects.put_bytes("models", key, key.encode())
    place(objects, "s3://models/m", tmp_path / "model", packed=False)
    found = {str(path.relative_to(tmp_path / "model")) for path in (tmp_path / "model").rglob("*") if path.is_file()}
    assert found == {"a", "b/c"}
    objects.put_bytes("models", "evil/../../../x", b"")
    with pytest.raises(ArtifactError, match="a name that no file can have"):
        place(objects, "s3://models/evil", tmp_path / "other", packed=False)


def test_a_url_that_is_none(objects: ObjectStore, tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="is not valid"):
        place(objects, "https://models/x", tmp_path / "model", packed=True)
