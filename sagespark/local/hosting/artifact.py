"""Model artifacts: from ``model.tar.gz`` in S3 to a folder, never writing outside it."""

from __future__ import annotations

import shutil
import tarfile
from pathlib import Path

from sagespark.core.clock import token
from sagespark.core.errors import ValidationError
from sagespark.core.s3uri import S3Uri
from sagespark.local.objects.model import NoSuchKeyError
from sagespark.local.objects.store import ObjectStore


class ArtifactError(Exception):
    """The artifact cannot be used; the message is what the endpoint's FailureReason says."""


def place(objects: ObjectStore, url: str, folder: Path, *, packed: bool) -> None:
    """Put the artifact at ``url`` into ``folder``, which appears whole or not at all; one that is there is kept.

    Parameters
    ----------
    objects : ObjectStore
        Where the artifact is.
    url : str
        An archive's, or the prefix of the model's files.
    folder : Path
        Where it goes.
    packed : bool
        Whether it is an archive.

    Raises
    ------
    ArtifactError
        If there is no such object, it is no tar archive, or a member would leave the folder.
    """
    if folder.exists():
        return
    try:
        uri = S3Uri.parse(url)
    except ValidationError as error:
        raise ArtifactError(f'The model data URL "{url}" is not valid: {error}') from error
    fresh = folder.with_name(f"{folder.name}.{token()}")
    fresh.mkdir(parents=True)
    try:
        if packed:
            _unpack(objects, uri, fresh)
        else:
            _copy(objects, uri, fresh)
    except BaseException:
        shutil.rmtree(fresh, ignore_errors=True)
        raise
    fresh.rename(folder)


def _missing(uri: S3Uri) -> ArtifactError:
    return ArtifactError(
        f'Failed to download model data for container "container_1" from URL: "{uri}". Please ensure that there is an '
        "object located at the URL and that the role passed to CreateModel has permissions to download the object."
    )


def _unpack(objects: ObjectStore, uri: S3Uri, folder: Path) -> None:
    try:
        _, stream = objects.open(uri.bucket, uri.key)
    except NoSuchKeyError:
        raise _missing(uri) from None
    try:
        with stream, tarfile.open(fileobj=stream, mode="r:*") as archive:
            # The filter refuses absolute names, "..", links and devices that lead outside (PEP 706).
            archive.extractall(folder, filter="data")
    except (tarfile.TarError, OSError, EOFError, ValueError) as error:
        raise ArtifactError(
            f'Failed to extract model data archive for container "container_1" from URL: "{uri}". Please ensure that '
            f"the object is a valid tar.gz archive: {error}"
        ) from error


def _copy(objects: ObjectStore, uri: S3Uri, folder: Path) -> None:
    prefix = uri.key if uri.key.endswith("/") else uri.key + "/"
    found = [info.key for info in objects.list(uri.bucket, prefix) if not info.key.endswith("/")]
    if not found:
        raise _missing(uri)
    for key in found:
        steps = key[len(prefix) :].split("/")
        if any(step in ("", ".", "..") for step in steps):
            raise ArtifactError(f'The object "{key}" of the model data "{uri}" has a name that no file can have')
        target = folder.joinpath(*steps)
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            objects.link(uri.bucket, key, target)
        except (NoSuchKeyError, OSError) as error:
            raise ArtifactError(f'Failed to download model data "{uri}", object "{key}": {error}') from error
