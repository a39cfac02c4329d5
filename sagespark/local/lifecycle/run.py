"""One training job from download to its end, on a thread of its own.

1. Downloading: each host's ``/opt/ml`` is made, channels as hard links of the objects in S3 where that is safe.
2. Training: a container per host; their lines go to the log, metrics are read from them.
3. Uploading: ``model.tar.gz`` and ``output.tar.gz``, also of a job that was stopped or failed.
4. The end: only now is a final status to be seen, so that whoever sees it finds the artifacts.

A stop, MaxRuntimeInSeconds or one host's failure sends SIGTERM to every container, and SIGKILL 120 s later.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sagespark.core.clock import Clock, token
from sagespark.local.containers.images import Image, UnknownImage
from sagespark.local.containers.isolation import ContainerError
from sagespark.local.containers.runner import Container, ContainerRuntime, ContainerSpec
from sagespark.local.lifecycle import artifacts, channels, status, workspace
from sagespark.local.lifecycle.failure import INTERRUPTED, JobFailure, algorithm_error, client_error, read_failure
from sagespark.local.lifecycle.hosts import Host, addresses, hosts_of
from sagespark.local.lifecycle.metrics import definitions
from sagespark.local.lifecycle.output import JobOutput
from sagespark.local.logs import LogStore
from sagespark.local.objects.model import NoSuchBucketError
from sagespark.local.objects.store import ObjectStore
from sagespark.local.store import Document, Store

GRACE_SECONDS = 120.0
"""Seconds between SIGTERM and SIGKILL."""
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Parts:
    """The parts of the service that a job needs."""

    store: Store
    logs: LogStore
    objects: ObjectStore
    runtime: ContainerRuntime
    folder: Path
    """Folder of the jobs' ``/opt/ml``; on the file system of ``objects``, or channels are copied."""
    clock: Clock
    grace: float = GRACE_SECONDS
    """Seconds between SIGTERM and SIGKILL."""
    is_default_bucket: Callable[[str], bool] = lambda _: False
    """Tells whether a bucket exists in its region from the start, and may have to be made now."""


class _Ended(Exception):  # noqa: N818 - a way out of the steps, not a defect
    """The job was asked to end before its containers ran, or its service ends."""


class TrainingRun:
    """One job.

    Parameters
    ----------
    parts : Parts
        The parts of the service.
    region, name : str
        Key of the job in the Store.
    environment : dict
        Variables by which the container's own AWS clients find this service.
    """

    def __init__(self, parts: Parts, region: str, name: str, environment: dict[str, str]) -> None:
        self.region = region
        self.name = name
        self._parts = parts
        self._environment = environment
        self._folder = parts.folder / f"{name}-{token(8)}"
        self._changed = threading.Condition()
        self._stopping = False
        self._interrupted = False
        self._codes: dict[str, int] = {}

    def stop(self) -> None:
        """Ask the job to end: SIGTERM, and SIGKILL after the grace."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()

    def interrupt(self) -> None:
        """End the job's processes at once, because the service ends."""
        with self._changed:
            self._interrupted = True
            self._changed.notify_all()

    def execute(self) -> None:
        """Run the job to its end; every way leads to a final status in the Store."""
        failure = ""
        timed_out = False
        try:
            timed_out = self._steps()
        except JobFailure as error:
            failure = error.reason
        except _Ended:
            failure = INTERRUPTED if self._interrupted else ""
        except Exception:
            _log.exception("Training job %s failed inside the service", self.name)
            failure = "InternalServerError: We encountered an internal error. The embedded service's log tells more."
        workspace.remove(self._folder)
        self._update(lambda d: status.end(d, self._parts.clock.now(), failure=failure, timed_out=timed_out))

    def _steps(self) -> bool:
        """Run steps 1 to 3; return whether MaxRuntimeInSeconds ended the job."""
        self._check()
        document = self._enter("Starting", "Preparing the instances for training")
        if document["TrainingJobStatus"] == "Stopping":
            # The stop came before this run was known by its name.
            raise _Ended
        self._enter("Downloading")
        deadline = self._parts.clock.monotonic() + document["StoppingCondition"]["MaxRuntimeInSeconds"]
        hosts = hosts_of(document["ResourceConfig"])
        image = self._image(document, hosts)
        self._download(document, hosts)
        self._enter("Training")
        failure: JobFailure | None = None
        timed_out = False
        try:
            timed_out = self._train(document, image, hosts, deadline)
        except JobFailure as error:
            failure = error
        if self._interrupted:
            raise _Ended
        self._enter("Uploading")
        try:
            self._upload(document, hosts)
        except JobFailure as error:
            failure = failure or error
        if failure is not None:
            raise failure
        return timed_out

    def _check(self) -> None:
        if self._stopping or self._interrupted:
            raise _Ended

    def _update(self, mutate: Callable[[Document], None]) -> Document:
        return self._parts.store.update(status.KIND, self.region, self.name, mutate)

    def _enter(self, secondary: str, message: str | None = None) -> Document:
        def mutate(document: Document) -> None:
            if document["TrainingJobStatus"] in status.ENDED:
                # The service gave up waiting for this thread when it ended.
                raise _Ended
            status.enter(document, secondary, self._parts.clock.now(), message)

        return self._update(mutate)

    def _record(self, metrics: list[dict[str, Any]]) -> None:
        self._update(lambda document: document.update(FinalMetricDataList=metrics))

    def _image(self, document: Document, hosts: tuple[Host, ...]) -> Image:
        try:
            image = self._parts.runtime.resolve(document["AlgorithmSpecification"]["TrainingImage"])
        except UnknownImage as error:
            raise client_error(str(error)) from error
        if image.algorithm is not None and len(hosts) > 1:
            raise client_error(
                f"InstanceCount is {len(hosts)}: the embedded service trains {image.algorithm.name} on one instance"
            )
        return image

    def _download(self, document: Document, hosts: tuple[Host, ...]) -> None:
        objects = self._parts.objects
        bucket = channels.location(status.output_prefix(document)).bucket
        if self._parts.is_default_bucket(bucket):
            objects.create_bucket(bucket, self.region)
        if objects.bucket(bucket) is None:
            raise client_error(f"The bucket of OutputDataConfig.S3OutputPath does not exist: s3://{bucket}")
        found = [channels.find(objects, c, document["RoleArn"]) for c in document.get("InputDataConfig", [])]
        workspace.remove(self._folder)
        for host in hosts:
            opt_ml = self._folder / host.name
            workspace.create(opt_ml, document, hosts, host)
            for channel in found:
                # Isolated, the container writes to copies of its own; else nothing would keep it from the objects.
                channels.place(
                    objects,
                    channel,
                    channel.of(hosts, host),
                    opt_ml / "input" / "data",
                    self._check,
                    link=self._parts.runtime.isolated,
                )

    def _train(self, document: Document, image: Image, hosts: tuple[Host, ...], deadline: float) -> bool:
        """Run the containers; return whether MaxRuntimeInSeconds ended them."""
        specification = document["AlgorithmSpecification"]
        output = JobOutput(
            self._parts.logs,
            self.region,
            self.name,
            definitions(specification),
            self._record,
            self._parts.clock,
        )
        environment = {
            **image.environment,
            **self._environment,
            "TRAINING_JOB_NAME": self.name,
            "TRAINING_JOB_ARN": document["TrainingJobArn"],
            **document.get("Environment", {}),
        }
        entry = specification.get("ContainerEntrypoint", image.train)
        containers: dict[str, Container] = {}
        output.start()
        try:
            for host in hosts:
                self._check()
                spec = ContainerSpec(
                    image=image.uri,
                    program=(*entry, *specification.get("ContainerArguments", ())),
                    opt_ml=self._folder / host.name,
                    environment=environment,
                    host=host.name,
                    hosts=addresses(hosts),
                )
                containers[host.name] = self._parts.runtime.run(spec, output.of(host))
                self._watch(host.name, containers[host.name])
            timed_out = self._wait(containers, deadline)
        except ContainerError as error:
            raise JobFailure(f"InternalServerError: The container could not be started: {error}") from error
        finally:
            for container in containers.values():
                container.kill()
            output.close()
        if not timed_out and not self._stopping:
            # Of several hosts the first that failed decides: the others were only sent SIGTERM because of it.
            for name, code in self._codes.items():
                if code != 0:
                    raise algorithm_error(code, read_failure(self._folder / name))
        return timed_out

    def _watch(self, host: str, container: Container) -> None:
        """Note the container's exit code once it has ended, on a thread that waits for it."""

        def wait() -> None:
            code = container.wait()
            with self._changed:
                self._codes[host] = 1 if code is None else code
                self._changed.notify_all()

        threading.Thread(target=wait, name=f"training-{self.name}-{host}", daemon=True).start()

    def _wait(self, containers: dict[str, Container], deadline: float) -> bool:
        """Wait until every container has ended; return whether MaxRuntimeInSeconds ended them."""

        def all_ended() -> bool:
            return len(self._codes) == len(containers)

        def running() -> list[Container]:
            return [container for host, container in containers.items() if host not in self._codes]

        with self._changed:
            left = max(0.0, deadline - self._parts.clock.monotonic())
            in_time = self._changed.wait_for(
                lambda: all_ended() or self._stopping or self._interrupted or any(self._codes.values()), left
            )
        for container in running():
            container.terminate()
        with self._changed:
            self._changed.wait_for(lambda: all_ended() or self._interrupted, self._parts.grace)
        for container in running():
            container.kill()
        with self._changed:
            self._changed.wait_for(all_ended)
        return not in_time

    def _upload(self, document: Document, hosts: tuple[Host, ...]) -> None:
        folders = [self._folder / host.name for host in hosts]
        prefix = status.output_prefix(document)
        packed = status.is_packed(document)
        for folder, uri in (
            ("model", status.model_uri(document)),
            ("output/data", prefix + ("output.tar.gz" if packed else "data/")),
        ):
            files = artifacts.gather(folders, folder, lambda text: _log.warning("Training job %s: %s", self.name, text))
            if not files:
                continue
            try:
                artifacts.upload(self._parts.objects, files, channels.location(uri), self._folder / "archive")
            except NoSuchBucketError as error:
                raise client_error(f"The bucket of OutputDataConfig.S3OutputPath was deleted: {error}") from error
