"""Model artifacts: from ``model.tar.gz`` in S3 to a folder, never writing outside it."""

from __future__ import annotations

import shutil
import tarfile
from pathlib import Path

from sagespark.core.clock import token
from sagespark.core.errors import ValidationError
from sagespark.core.s3uri import S3Uri
from sagespark.local.objects.store import ObjectStore


class ArtifactError(Exception):
    """The artifact cannot be used; the message is what the endpoint's FailureReason says."""


def unpack(objects: ObjectStore, url: str, folder: Path) -> None:
    """Unpack the artifact at ``url`` as ``folder``, which appears whole or not at all; one that is there is kept.

    Raises
    ------
    ArtifactError
        If there is no such object, it is no gzip-compressed tar archive, or a member would leave the folder.
    """
    if folder.exists():
        return
    try:
        place = S3Uri.parse(url)
        info = objects.head(place.bucket, place.key)
    except ValidationError as error:
        raise ArtifactError(f'The model data URL "{url}" is not valid: {error}') from error
    if info is None:
        raise ArtifactError(
            f'Failed to download model data for container "container_1" from URL: "{url}". Please ensure that there '
            "is an object located at the URL and that the role passed to CreateModel has permissions to download the "
            "object."
        )
    fresh = folder.with_name(f"{folder.name}.{token()}")
    fresh.mkdir(parents=True)
    try:
        _, stream = objects.open(place.bucket, place.key)
        with stream, tarfile.open(fileobj=stream, mode="r:*") as archive:
            # The filter refuses absolute names, "..", links and devices that lead outside (PEP 706).
            archive.extractall(fresh, filter="data")
    except (tarfile.TarError, OSError, EOFError) as error:
        shutil.rmtree(fresh, ignore_errors=True)
        raise ArtifactError(
            f'Failed to extract model data archive for container "container_1" from URL: "{url}". Please ensure that '
            f"the object is a valid tar.gz archive: {error}"
        ) from error
    fresh.rename(folder)
