"""A bench for training jobs without sockets: the parts of the service, and images whose programs are shell scripts."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from sagespark.core.clock import Clock, SystemClock
from sagespark.local.containers import isolation
from sagespark.local.containers.images import Image, UnknownImage
from sagespark.local.containers.runner import ContainerRuntime
from sagespark.local.lifecycle.parts import Parts
from sagespark.local.lifecycle.supervisor import Supervisor
from sagespark.local.logs import TRAINING_JOBS, LogStore
from sagespark.local.objects.store import ObjectStore
from sagespark.local.services.endpoint_configs import EndpointConfigs
from sagespark.local.services.logs import Logs
from sagespark.local.services.models import Models
from sagespark.local.services.search import Search
from sagespark.local.services.tags import Tags
from sagespark.local.services.training_jobs import TrainingJobs
from sagespark.local.store import Document, Store
from sagespark.local.wire.context import Context

REGION = "eu-west-1"
ACCOUNT = "123456789012"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/test"
BUCKET = "bench"
ENDED = ("Completed", "Failed", "Stopped")

# Scripts find their folder as a container does, isolated or not.
HEAD = 'ML="${SAGEMAKER_BASE_DIR:-/opt/ml}"\n'


@cache
def isolated() -> bool:
    """Find out once per test run whether containers get namespaces."""
    return isolation.probe() is None


class ScriptRuntime(ContainerRuntime):
    """Real containers; an image's URI is ``script/NAME``, and its program that script of ``scripts``."""

    def __init__(self, folder: Path, scripts: dict[str, str], separate: bool | None = None) -> None:
        super().__init__(folder, isolated=isolated() if separate is None else separate)
        self.scripts = scripts

    def resolve(self, image: str) -> Image:
        name = image.removeprefix("script/")
        if name not in self.scripts:
            raise UnknownImage(f"there is no image {image!r}")
        program = ("/bin/sh", "-c", HEAD + self.scripts[name])
        return Image(uri=image, train=program, serve=program, environment={"FROM_IMAGE": "1"})


class Watched(Store):
    """A store that tells when a training job has reached a status, so that no test polls."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._changed = threading.Condition()

    def update(self, kind: str, region: str, name: str, mutate: Any) -> Document:
        document = super().update(kind, region, name, mutate)
        with self._changed:
            self._changed.notify_all()
        return document

    def wait(self, name: str, *statuses: str, timeout: float = 60.0) -> Document:
        """Return the job's document once its status or secondary status is one of ``statuses``."""

        def document() -> Document | None:
            found = self.get("TrainingJob", REGION, name)
            reached = found and {found["TrainingJobStatus"], found["SecondaryStatus"]} & set(statuses)
            return found if reached else None

        with self._changed:
            assert self._changed.wait_for(document, timeout), self.get("TrainingJob", REGION, name)
        found = document()
        assert found is not None
        return found


class Bench:
    """The parts of the service below the wire.

    Parameters
    ----------
    root : Path
        Data folder.
    scripts : dict
        Programs of the images ``script/NAME``.
    """

    def __init__(
        self,
        root: Path,
        scripts: dict[str, str] | None = None,
        *,
        grace: float = 120.0,
        limit: int | None = None,
        clock: Clock | None = None,
        isolated: bool | None = None,
        is_default_bucket: Callable[[str], bool] = lambda _: False,
    ) -> None:
        clock = clock or SystemClock()
        self.root = root
        self.store = Watched(root / "resources.sqlite")
        self.log_store = LogStore(root / "logs.sqlite")
        self.objects = ObjectStore(root / "objects")
        self.objects.create_bucket(BUCKET)
        self.runtime = ScriptRuntime(root / "containers", {"ok": "true", **(scripts or {})}, isolated)
        self.parts = Parts(
            self.store,
            self.log_store,
            self.objects,
            self.runtime,
            root / "training",
            clock,
            grace=grace,
            is_default_bucket=is_default_bucket,
        )
        self.supervisor = Supervisor(self.parts, limit)
        self.jobs = TrainingJobs(self.store, self.supervisor, clock, "secret")
        self.models = Models(self.store, self.objects, self.runtime.resolve, clock)
        self.configs = EndpointConfigs(self.store, clock)
        self.tags = Tags(self.store)
        self.logs = Logs(self.log_store)
        self.search = Search(self.store)
        self.jobs.start()

    def close(self) -> None:
        self.jobs.stop()
        self.store.close()
        self.log_store.close()
        self.objects.close()

    def put(self, key: str, data: bytes = b"x") -> str:
        self.objects.put_bytes(BUCKET, key, data)
        return f"s3://{BUCKET}/{key}"

    def run(self, name: str, image: str = "ok", **members: Any) -> Document:
        """Create a job and return its document once it has ended."""
        self.jobs.CreateTrainingJob(ctx(), job(name, image, **members))
        return self.store.wait(name, *ENDED)

    def lines(self, name: str) -> list[str]:
        return [e.message for e in self.log_store.events(REGION, TRAINING_JOBS) if e.stream.startswith(f"{name}/")]

    def body(self, key: str) -> bytes:
        return self.objects.path(BUCKET, key).read_bytes()


def ctx(region: str = REGION) -> Context:
    """Return the context of a call."""
    return Context("sagemaker", "", region, ACCOUNT, "request", "key", "http://127.0.0.1:9")


def channel(name: str, uri: str, kind: str = "S3Prefix", **members: Any) -> dict[str, Any]:
    """Return an input channel."""
    return {"ChannelName": name, "DataSource": {"S3DataSource": {"S3DataType": kind, "S3Uri": uri}}} | members


def job(name: str, image: str = "ok", **members: Any) -> dict[str, Any]:
    """Return a complete CreateTrainingJob request; ``members`` replace or add members."""
    return {
        "TrainingJobName": name,
        "AlgorithmSpecification": {"TrainingImage": f"script/{image}", "TrainingInputMode": "File"},
        "RoleArn": ROLE,
        "OutputDataConfig": {"S3OutputPath": f"s3://{BUCKET}/out/"},
        "ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 1},
        "StoppingCondition": {"MaxRuntimeInSeconds": 600},
    } | members
