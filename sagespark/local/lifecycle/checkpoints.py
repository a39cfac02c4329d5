"""Checkpoints: a folder of the containers that is kept in S3 while they run, and is there again when they restart.

``CheckpointConfig`` names an S3 prefix and a local folder, ``/opt/ml/checkpoints`` where it names none. What is below
the prefix when the hosts start is put into the folder of every host; what the programs write there goes to S3 soon
after, and once more when they have ended. Nothing is deleted in S3, and of two hosts' files of one name the last one
written stays, as on AWS: programs on several hosts write different names.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Sequence
from pathlib import Path

from sagespark.core.clock import Clock, real_seconds
from sagespark.core.s3uri import S3Uri
from sagespark.local.lifecycle import artifacts
from sagespark.local.objects.model import NoSuchBucketError
from sagespark.local.objects.store import ObjectStore
from sagespark.local.store import Document

DEFAULT_PATH = "/opt/ml/checkpoints"
"""Local folder of checkpoints where the request names none."""
INTERVAL_SECONDS = 5.0
"""Seconds between two looks at the folder; a file goes to S3 once two looks found it the same."""
_LONGEST_REAL_INTERVAL = 1.0
_log = logging.getLogger(__name__)

State = tuple[int, int, int]
"""Size, time of change and inode of a file."""


def inside(config: Document) -> str:
    """Return the folder of a ``CheckpointConfig`` relative to ``/opt/ml``; one that lies elsewhere begins with ``..``.

    A program that writes to a folder elsewhere would write to this machine's own.
    """
    return os.path.relpath(config.get("LocalPath") or DEFAULT_PATH, artifacts.INSIDE)


class Checkpoints:
    """Keep the checkpoint folders of a job's hosts and an S3 prefix alike.

    Parameters
    ----------
    objects : ObjectStore
        S3.
    uri : S3Uri
        The prefix, ending in ``/``.
    folders : sequence of (Path, str)
        Each host's ``/opt/ml`` and the folder of checkpoints relative to it.
    clock : Clock
        Measures the interval.
    """

    def __init__(self, objects: ObjectStore, uri: S3Uri, folders: Sequence[tuple[Path, str]], clock: Clock) -> None:
        self._objects = objects
        self._uri = uri
        self._folders = folders
        self._interval = min(real_seconds(clock, INTERVAL_SECONDS), _LONGEST_REAL_INTERVAL)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="training-checkpoints", daemon=True)
        self._seen: dict[Path, State] = {}
        self._kept: dict[Path, State] = {}

    def restore(self) -> int:
        """Put what is in S3 into every host's folder; return the number of objects."""
        if self._objects.bucket(self._uri.bucket) is None:
            return 0
        count = 0
        for info in self._objects.list(self._uri.bucket, self._uri.key):
            name = info.key[len(self._uri.key) :]
            if not name or any(step in ("", ".", "..") for step in name.split("/")):
                continue
            count += 1
            for opt_ml, folder in self._folders:
                target = opt_ml / folder / name
                target.parent.mkdir(parents=True, exist_ok=True)
                with self._objects.open(info.bucket, info.key)[1] as source, target.open("wb") as copy:
                    while block := source.read(1 << 20):
                        copy.write(block)
                self._kept[target] = self._seen[target] = _state(target)
        return count

    def start(self) -> None:
        """Begin to upload what is written."""
        self._thread.start()

    def close(self, *, upload: bool = True) -> None:
        """Upload what is left, once the programs have ended, and stop."""
        self._ended.set()
        if self._thread.is_alive():
            self._thread.join()
        if upload:
            self._upload(final=True)

    def _watch(self) -> None:
        while not self._ended.wait(self._interval):
            self._upload(final=False)

    def _upload(self, *, final: bool) -> None:
        for opt_ml, folder in self._folders:
            for name, path in artifacts.files_of(opt_ml, folder, _log.debug):
                try:
                    state = _state(path)
                    if self._kept.get(path) == state:
                        continue
                    # One that is being written differs at the next look; then it waits.
                    if final or self._seen.get(path) == state:
                        self._objects.put_path(self._uri.bucket, self._uri.key + name, path)
                        self._kept[path] = state
                    self._seen[path] = state
                except NoSuchBucketError:
                    _log.warning("Checkpoints are lost: there is no bucket %s", self._uri.bucket)
                    return
                except OSError as error:
                    # The program replaced or deleted it meanwhile.
                    _log.info("Checkpoint %s is left out for now: %s", name, error)


def _state(path: Path) -> State:
    facts = path.stat()
    return facts.st_size, facts.st_mtime_ns, facts.st_ino
