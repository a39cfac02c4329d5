"""Which objects a channel gives to each host, and under which names.

``/opt/ml/input/data/CHANNEL`` holds the objects, and ``/opt/ml/input/data/CHANNEL-manifest`` names them in order: a
JSON list of ``{"prefix": ...}`` and the paths below it. For a prefix the paths are what follows it in the keys; for a
manifest they are the whole keys, as AWS lays them out (aws/sagemaker-python-sdk issue 723). An augmented manifest's
lines (:mod:`sagespark.local.lifecycle.augmented`) come by pipe only.
"""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from sagespark.core.errors import ValidationError
from sagespark.core.s3uri import S3Uri
from sagespark.local.lifecycle import augmented
from sagespark.local.lifecycle.failure import JobFailure, client_error
from sagespark.local.lifecycle.hosts import Host
from sagespark.local.objects.model import NoSuchKeyError
from sagespark.local.objects.store import ObjectStore

_COPY_BYTES = 1024 * 1024
_MAX_MANIFEST = 64 * 1024 * 1024


@dataclass(frozen=True)
class Member:
    """One object of a channel."""

    path: str
    """Where it lies below the channel's folder."""
    bucket: str
    key: str
    text: bytes | None = None
    """What an augmented manifest holds itself, in place of an object."""


@dataclass(frozen=True)
class ChannelData:
    """What a channel gives to a job."""

    name: str
    prefix: str
    """URI that, followed by a member's path, is the member's URI."""
    units: tuple[tuple[Member, ...], ...]
    """Objects, or the lines of an augmented manifest, in the manifest's order, or that of the keys."""
    sharded: bool
    """Whether each host gets a part of the units instead of all."""
    groups: tuple[str, ...]
    """Instance groups that get it; empty: all."""
    pipe: bool = False
    """Whether it comes by pipe."""
    unpack: bool = False
    """Whether the objects are gzip-compressed and come decompressed."""
    wrap: bool = False
    """Whether each member becomes a RecordIO record."""
    seed: int | None = None
    """Seed of ``ShuffleConfig``: another order in every epoch."""

    def of(self, hosts: tuple[Host, ...], current: Host, epoch: int = 0) -> tuple[Member, ...]:
        """Return the members that ``current`` gets in an epoch; shuffled over all hosts, as AWS does."""
        sharing = [h for h in hosts if not self.groups or h.group in self.groups]
        if current not in sharing:
            return ()
        units = list(self.units)
        if self.seed is not None:
            random.Random(f"{self.seed}/{epoch}").shuffle(units)
        chosen = units[sharing.index(current) :: len(sharing)] if self.sharded else units
        return tuple(member for unit in chosen for member in unit)


def find(objects: ObjectStore, channel: dict[str, Any], role: str, mode: str = "File") -> ChannelData:
    """Return what a channel of the request gives.

    Parameters
    ----------
    objects : ObjectStore
        Where the objects are.
    channel : dict
        A ``Channel`` with an ``S3DataSource``.
    role : str
        The job's role, named by the message that tells of a missing object.
    mode : str
        ``TrainingInputMode``, which the channel's own wins over.

    Raises
    ------
    JobFailure
        ``ClientError`` if there is nothing, a manifest cannot be read, or a key cannot be a file.
    """
    source = channel["DataSource"]["S3DataSource"]
    name = channel["ChannelName"]
    uri = location(source["S3Uri"])
    members: list[Member] = []
    if source["S3DataType"] == "AugmentedManifestFile":
        prefix = f"s3://{uri.bucket}/"
        units = augmented.lines(read_manifest(objects, uri, role), source.get("AttributeNames", []), str(uri))
        for kind, text in (attribute for line in units for attribute in line):
            if kind == "object":
                _exists(objects, location(text), role, f"The augmented manifest {uri} names it.")
        found = [tuple(_attribute(*attribute) for attribute in line) for line in units]
    else:
        if source["S3DataType"] == "ManifestFile":
            prefix, members = _manifest(objects, uri, role)
        else:
            prefix, members = _prefix(objects, uri, role)
        _check(name, members)
        found = [(member,) for member in members]
    shuffle = channel.get("ShuffleConfig")
    return ChannelData(
        name,
        prefix,
        tuple(found),
        source.get("S3DataDistributionType", "FullyReplicated") == "ShardedByS3Key",
        tuple(source.get("InstanceGroupNames", ())),
        pipe=channel.get("InputMode", mode) == "Pipe",
        unpack=channel.get("CompressionType", "None") == "Gzip",
        wrap=channel.get("RecordWrapperType", "None") == "RecordIO",
        seed=None if shuffle is None else shuffle["Seed"],
    )


def _attribute(kind: str, text: str) -> Member:
    if kind == "object":
        uri = location(text)
        return Member(uri.key, uri.bucket, uri.key)
    return Member("", "", "", text.encode())


def place(
    objects: ObjectStore,
    data: ChannelData,
    members: tuple[Member, ...],
    root: Path,
    check: Callable[[], None],
    *,
    link: bool = True,
) -> None:
    """Put a host's share of a channel below ``root``, its ``/opt/ml/input/data``.

    Parameters
    ----------
    objects : ObjectStore
        Where the objects are.
    data : ChannelData
        The channel.
    members : tuple of Member
        The host's share.
    root : Path
        Exists.
    check : callable
        Called before each object; raises to end the download.
    link : bool
        Take hard links of the objects instead of copies.

    Raises
    ------
    JobFailure
        ``ClientError`` if an object is gone, or the file system refuses a name.
    """
    folder = root / data.name
    folder.mkdir()
    for member in members:
        check()
        target = folder / member.path
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            if link:
                objects.link(member.bucket, member.key, target)
            else:
                with objects.open(member.bucket, member.key)[1] as source, target.open("wb") as copy:
                    shutil.copyfileobj(source, copy, _COPY_BYTES)
        except NoSuchKeyError:
            raise _download_failed(f"s3://{member.bucket}/{member.key} was deleted while the job started") from None
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else str(error)
            raise _download_failed(f"s3://{member.bucket}/{member.key} cannot be a file: {reason}") from error
    rows: list[Any] = [{"prefix": data.prefix}, *(member.path for member in members)]
    (root / f"{data.name}-manifest").write_text(json.dumps(rows), encoding="utf-8")


def _download_failed(text: str) -> JobFailure:
    return client_error(f"Data download failed:{text}")


def location(text: str) -> S3Uri:
    """Return the location that a URI of a request names.

    Raises
    ------
    JobFailure
        ``ClientError`` if it is none that SageMaker takes.
    """
    try:
        return S3Uri.parse(text)
    except ValidationError as error:
        raise _download_failed(f"{text} is no S3 location: {'; '.join(error.problems)}") from error


def _nothing(uri: str, role: str, more: str) -> JobFailure:
    return _download_failed(
        f'No S3 objects found under S3 URL "{uri}" given in input data source. Please ensure that the bucket exists, '
        f'that objects exist under that S3 prefix, and that the role "{role}" has "s3:ListBucket" permissions on the '
        f"bucket. {more}"
    )


def _prefix(objects: ObjectStore, uri: S3Uri, role: str) -> tuple[str, list[Member]]:
    if objects.bucket(uri.bucket) is None:
        raise _nothing(str(uri), role, "The specified bucket does not exist.")
    # Empty objects that end in "/" are folders made by S3's console.
    keys = [info.key for info in objects.list(uri.bucket, uri.key) if not info.key.endswith("/")]
    if not keys:
        raise _nothing(str(uri), role, "The prefix has no object.")
    # s3://b/data/ and s3://b/data give what is below; s3://b/da, or a key itself, the names in its folder.
    base = uri.key if not uri.key or uri.key.endswith("/") else uri.key + "/"
    if not all(key.startswith(base) for key in keys):
        base = uri.parent.key
    return f"s3://{uri.bucket}/{base}", [Member(key[len(base) :], uri.bucket, key) for key in keys]


def read_manifest(objects: ObjectStore, uri: S3Uri, role: str) -> bytes:
    """Return the bytes of a manifest.

    Raises
    ------
    JobFailure
        ``ClientError`` if it does not exist or is too large.
    """
    info = objects.head(uri.bucket, uri.key)
    if info is None:
        raise _nothing(str(uri), role, "The manifest does not exist.")
    if info.size > _MAX_MANIFEST:
        raise _download_failed(f"the manifest {uri} has {info.size} bytes; at most {_MAX_MANIFEST} are read")
    return objects.path(uri.bucket, uri.key).read_bytes()


def _exists(objects: ObjectStore, uri: S3Uri, role: str, more: str) -> None:
    if objects.head(uri.bucket, uri.key) is None:
        raise _nothing(str(uri), role, more)


def _manifest(objects: ObjectStore, uri: S3Uri, role: str) -> tuple[str, list[Member]]:
    body = read_manifest(objects, uri, role)
    try:
        rows = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise _download_failed(f"the manifest {uri} is not JSON: {error}") from error
    if not isinstance(rows, list) or not rows or not isinstance(rows[0], dict):
        raise _download_failed(f'the manifest {uri} must be a JSON list that begins with {{"prefix": "s3://..."}}')
    head = rows[0].get("prefix")
    if list(rows[0]) != ["prefix"] or not isinstance(head, str) or not head:
        raise _download_failed(
            f'the manifest {uri} must begin with {{"prefix": "s3://..."}}, but begins with {rows[0]}'
        )
    members = []
    for row in rows[1:]:
        if not isinstance(row, str):
            raise _download_failed(f"the manifest {uri} must list paths behind its prefix, but has {row!r}")
        target = location(head + row)
        _exists(objects, target, role, f"The manifest {uri} names it.")
        members.append(Member(target.key, target.bucket, target.key))
    if not members:
        raise _nothing(str(uri), role, "The manifest lists no object.")
    buckets = {member.bucket for member in members}
    if len(buckets) > 1:
        raise _download_failed(f"the manifest {uri} names objects of several buckets: {', '.join(sorted(buckets))}")
    return f"s3://{members[0].bucket}/", list(dict.fromkeys(members))


def _check(channel: str, members: list[Member]) -> None:
    """Refuse keys that cannot be files of their own inside the channel's folder."""
    files = {member.path for member in members}
    for member in members:
        steps = member.path.split("/")
        where = f"channel {channel}: s3://{member.bucket}/{member.key}"
        if any(step in ("", ".", "..") for step in steps):
            raise _download_failed(f"{where} has an empty, '.' or '..' step in its key, which no file name can hold")
        above = {str(parent) for parent in PurePosixPath(member.path).parents}
        if taken := above & files:
            raise _download_failed(f"{where} lies below the object {min(taken)!r}, and no file can also be a folder")
