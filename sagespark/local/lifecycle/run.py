"""One training job from download to its end, on a thread of its own.

1. Downloading: each host's ``/opt/ml`` is made, channels as hard links of the objects in S3 where that is safe.
2. Training: a container per host; their lines go to the log, metrics are read from them.
3. Uploading: ``model.tar.gz`` and ``output.tar.gz``, also of a job that was stopped or failed.
4. The end: only now is a final status to be seen, so that whoever sees it finds the artifacts.

A stop, MaxRuntimeInSeconds, MaxWaitTimeInSeconds or one host's failure sends SIGTERM to every container, and SIGKILL
120 s later. Where spot instances are interrupted, steps 1 and 2 begin again, from the checkpoints; so they do after an
InternalServerError, as often as RetryStrategy says.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from sagespark.core.clock import real_seconds, token
from sagespark.local.containers.images import Image, UnknownImage, scripted
from sagespark.local.containers.isolation import ContainerError
from sagespark.local.lifecycle import artifacts, channels, status, warm_pool, workspace
from sagespark.local.lifecycle.attempt import Attempt, Ended, Interrupted, Signals
from sagespark.local.lifecycle.failure import INTERRUPTED, JobFailure, client_error, internal_error
from sagespark.local.lifecycle.hosts import Host, hosts_of
from sagespark.local.lifecycle.metrics import definitions
from sagespark.local.lifecycle.output import JobOutput
from sagespark.local.lifecycle.parts import Parts
from sagespark.local.objects.model import NoSuchBucketError
from sagespark.local.store import Document

_log = logging.getLogger(__name__)


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
        self._signals = Signals()

    def stop(self) -> None:
        """Ask the job to end: SIGTERM, and SIGKILL after the grace."""
        self._signal(stopping=True)

    def close(self) -> None:
        """End the job's processes at once, because the service ends."""
        self._signal(closing=True)

    def interrupt(self, seconds: float) -> None:
        """Take the job's spot instances away; there are others after ``seconds``."""
        self._signal(interrupted=seconds)

    def lose_host(self) -> None:
        """Let an instance of the job break."""
        self._signal(host_lost=True)

    def _signal(self, **changes: Any) -> None:
        with self._signals.changed:
            for name, value in changes.items():
                setattr(self._signals, name, value)
            self._signals.changed.notify_all()

    def execute(self) -> None:
        """Run the job to its end; every way leads to a final status in the Store."""
        failure = ""
        try:
            self._steps()
        except JobFailure as error:
            failure = error.reason
        except Ended:
            failure = INTERRUPTED if self._signals.closing else ""
        except Exception as error:
            failure = self._internal(error).reason
        workspace.remove(self._folder)

        def finish(document: Document) -> None:
            now = self._parts.clock.now()
            status.end(document, now, failure=failure)
            warm_pool.keep(document, now)

        self._update(finish)

    def _internal(self, error: Exception) -> JobFailure:
        _log.error("Training job %s failed inside the service", self.name, exc_info=error)
        return internal_error("We encountered an internal error. The embedded service's log tells more.")

    def _steps(self) -> None:
        """Run attempts until one is the last."""
        self._signals.check()
        document = self._enter("Starting", "Preparing the instances for training")
        if document["TrainingJobStatus"] == "Stopping":
            # The stop came before this run was known by its name.
            raise Ended
        output = JobOutput(
            self._parts.logs,
            self.region,
            self.name,
            definitions(document["AlgorithmSpecification"]),
            self._record,
            self._parts.clock,
        )
        retries = document.get("RetryStrategy", {}).get("MaximumRetryAttempts", 0)
        output.start()
        try:
            while not self._late(document):
                try:
                    self._attempt(document, output, retry=retries > 0)
                    return
                except Interrupted as interruption:
                    document = self._enter("Interrupted")
                    self._wait_for_capacity(document, interruption.seconds)
                except Ended:
                    raise
                except Exception as error:
                    failure = error if isinstance(error, JobFailure) else self._internal(error)
                    if not failure.internal or not retries:
                        raise failure from error
                    retries -= 1
                    _log.warning("Training job %s is retried after: %s", self.name, failure.reason)
                output.restart()
                document = self._enter("Starting", "Preparing the instances for training")
        finally:
            output.close()

    def _late(self, document: Document) -> bool:
        """Tell whether the job's time is over, and note it."""
        left, secondary = status.seconds_left(document, self._parts.clock.now())
        if left <= 0:
            self._exceed(secondary)
        return left <= 0

    def _exceed(self, secondary: str) -> None:
        self._update(lambda document: status.exceed(document, self._parts.clock.now(), secondary))

    def _wait_for_capacity(self, document: Document, seconds: float) -> None:
        left = status.wait_left(document, self._parts.clock.now())
        with self._signals.changed:
            self._signals.changed.wait_for(
                lambda: self._signals.stopping or self._signals.closing,
                real_seconds(self._parts.clock, max(0.0, min(seconds, left))),
            )
        if self._signals.stopping or self._signals.closing:
            raise Ended

    def _attempt(self, document: Document, output: JobOutput, *, retry: bool) -> None:
        """Run steps 1 to 3; of an attempt that is to be repeated nothing is uploaded but its checkpoints."""
        document = self._enter("Downloading")
        hosts = hosts_of(document["ResourceConfig"])
        image = self._image(document, hosts, output)
        self._check_output(document)
        attempt = Attempt(self._parts, self._signals, document, hosts, image, self._folder)
        attempt.download()
        document = self._enter("Training")
        left, secondary = status.seconds_left(document, self._parts.clock.now())
        failure: JobFailure | None = None
        try:
            attempt.train(output, self._variables(document, image), left, lambda: self._exceed(secondary))
        except JobFailure as error:
            if error.internal and retry:
                raise
            failure = error
        self._enter("Uploading")
        try:
            self._upload(document, hosts)
        except JobFailure as error:
            failure = failure or error
        warm_pool.store(self._parts.folder, document, [self._folder / host.name for host in hosts])
        if failure is not None:
            raise failure

    def _update(self, mutate: Callable[[Document], None]) -> Document:
        return self._parts.store.update(status.KIND, self.region, self.name, mutate)

    def _enter(self, secondary: str, message: str | None = None) -> Document:
        def mutate(document: Document) -> None:
            if document["TrainingJobStatus"] in status.ENDED:
                # The service gave up waiting for this thread when it ended.
                raise Ended
            status.enter(document, secondary, self._parts.clock.now(), message)

        return self._update(mutate)

    def _record(self, metrics: list[dict[str, Any]]) -> None:
        self._update(lambda document: document.update(FinalMetricDataList=metrics))

    def _image(self, document: Document, hosts: tuple[Host, ...], output: JobOutput) -> Image:
        runtime, on_line = self._parts.runtime, output.of(hosts[0])

        def say(text: str) -> None:
            on_line(text)
            self._enter("Downloading", text)

        try:
            image = runtime.resolve(document["AlgorithmSpecification"]["TrainingImage"])
            image = scripted(image, document.get("HyperParameters", {}))
            image = runtime.prepare(image, say, self._signals.check)
        except (UnknownImage, ContainerError) as error:
            raise client_error(str(error)) from error
        if image.algorithm is not None and len(hosts) > 1 and not image.algorithm.distributed:
            raise client_error(
                f"InstanceCount is {len(hosts)}: the embedded service trains {image.algorithm.name} on one instance"
            )
        return image

    def _check_output(self, document: Document) -> None:
        objects = self._parts.objects
        bucket = channels.location(status.output_prefix(document)).bucket
        if self._parts.is_default_bucket(bucket):
            objects.create_bucket(bucket, self.region)
        if objects.bucket(bucket) is None:
            raise client_error(f"The bucket of OutputDataConfig.S3OutputPath does not exist: s3://{bucket}")

    def _variables(self, document: Document, image: Image) -> dict[str, str]:
        return {
            **image.environment,
            **self._environment,
            "TRAINING_JOB_NAME": self.name,
            "TRAINING_JOB_ARN": document["TrainingJobArn"],
            **document.get("Environment", {}),
        }

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
