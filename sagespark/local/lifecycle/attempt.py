"""One attempt of a training job: fresh ``/opt/ml`` folders, the containers on them, and what ends those.

A job has several attempts where its spot instances are interrupted, or where it is retried after an internal error.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from sagespark.core.clock import real_seconds
from sagespark.local.containers.contract import PEER_ERROR_CODE
from sagespark.local.containers.images import Image, entry
from sagespark.local.containers.isolation import ContainerError, Network
from sagespark.local.containers.runner import ContainerSpec
from sagespark.local.lifecycle import channels, checkpoints, warm_pool, workspace
from sagespark.local.lifecycle.checkpoints import Checkpoints
from sagespark.local.lifecycle.cluster import Cluster
from sagespark.local.lifecycle.failure import algorithm_error, client_error, internal_error, read_failure
from sagespark.local.lifecycle.hosts import Host, addresses
from sagespark.local.lifecycle.output import JobOutput
from sagespark.local.lifecycle.parts import Parts
from sagespark.local.lifecycle.pipes import Pipe
from sagespark.local.store import Document


class Ended(Exception):  # noqa: N818 - a way out of the steps, not a defect
    """The job was asked to end before its containers ran, or its service ends."""


class Interrupted(Exception):  # noqa: N818 - a way out of the steps, not a defect
    """The job's spot instances were taken away; there is capacity again after ``seconds``."""

    def __init__(self, seconds: float) -> None:
        super().__init__(seconds)
        self.seconds = seconds


@dataclass
class Signals:
    """What may end a job from outside. Every change is made, and told, under ``changed``."""

    changed: threading.Condition = field(default_factory=threading.Condition)
    stopping: bool = False
    """StopTrainingJob was called."""
    closing: bool = False
    """The service ends."""
    interrupted: float | None = None
    """The spot instances go; seconds until there is capacity again."""
    host_lost: bool = False
    """An instance broke."""
    broken: str = ""
    """Why a channel's pipe cannot be fed any more."""

    @property
    def any(self) -> bool:
        """Whether the containers shall end."""
        lost = self.interrupted is not None or self.host_lost
        return self.stopping or self.closing or lost or bool(self.broken)

    def check(self) -> None:
        """Leave the job's steps where it shall not go on.

        Raises
        ------
        Ended, Interrupted, JobFailure
        """
        if self.stopping or self.closing:
            raise Ended
        if self.broken:
            raise client_error(self.broken)
        with self.changed:
            seconds, self.interrupted = self.interrupted, None
            lost, self.host_lost = self.host_lost, False
        if seconds is not None:
            raise Interrupted(seconds)
        if lost:
            raise internal_error("An instance of the job failed.")


class Attempt:
    """One attempt.

    Parameters
    ----------
    parts : Parts
        The parts of the service.
    signals : Signals
        What may end it.
    document : dict
        The job.
    hosts : tuple of Host
        Its hosts.
    image : Image
        Its programs.
    folder : Path
        Of the job; each host's ``/opt/ml`` is below it.
    """

    def __init__(
        self, parts: Parts, signals: Signals, document: Document, hosts: tuple[Host, ...], image: Image, folder: Path
    ) -> None:
        self._parts = parts
        self._signals = signals
        self._document = document
        self._hosts = hosts
        self._image = image
        self._folder = folder
        self._piped: list[channels.ChannelData] = []
        self._checkpoints: Checkpoints | None = None

    def download(self) -> None:
        """Make the folders and put channels and checkpoints into them.

        Raises
        ------
        JobFailure, Ended, Interrupted
        """
        objects, document = self._parts.objects, self._document
        mode = document["AlgorithmSpecification"]["TrainingInputMode"]
        found = [channels.find(objects, c, document["RoleArn"], mode) for c in document.get("InputDataConfig", [])]
        self._piped = [channel for channel in found if channel.pipe]
        workspace.remove(self._folder)
        for host in self._hosts:
            opt_ml = self._folder / host.name
            workspace.create(opt_ml, document, self._hosts, host)
            for channel in found:
                if channel.pipe:
                    continue
                # Isolated, the container writes to copies of its own; else nothing would keep it from the objects.
                channels.place(
                    objects,
                    channel,
                    channel.of(self._hosts, host),
                    opt_ml / "input" / "data",
                    self._signals.check,
                    link=self._parts.runtime.isolated,
                )
        warm_pool.furnish(self._parts.folder, document, [self._folder / host.name for host in self._hosts])
        self._checkpoints = self._restored()

    def _restored(self) -> Checkpoints | None:
        if "CheckpointConfig" not in self._document:
            return None
        folder = checkpoints.inside(self._document["CheckpointConfig"])
        folders = [(self._folder / host.name, folder) for host in self._hosts]
        for opt_ml, _ in folders:
            (opt_ml / folder).mkdir(parents=True, exist_ok=True)
        uri = channels.location(self._document["CheckpointConfig"]["S3Uri"]).prefix
        found = Checkpoints(self._parts.objects, uri, folders, self._parts.clock)
        found.restore()
        return found

    def train(self, output: JobOutput, environment: dict[str, str], left: float, on_late: Callable[[], None]) -> None:
        """Run the containers to their end.

        Parameters
        ----------
        output : JobOutput
            Takes their lines.
        environment : dict
            Their environment.
        left : float
            Seconds after which they are ended.
        on_late : callable
            Called when that time is over, before they are asked to end.

        Raises
        ------
        JobFailure, Ended, Interrupted
        """
        signals = self._signals
        cluster = Cluster(self._parts.runtime, signals.changed, self._document["TrainingJobName"])
        pipes = [
            Pipe(
                self._parts.objects,
                self._folder / host.name / "input" / "data",
                channel,
                self._hosts,
                host,
                self._broken(channel.name),
            )
            for channel in self._piped
            for host in self._hosts
        ]
        network = None
        try:
            if self._document["EnableNetworkIsolation"]:
                network = self._parts.runtime.network()
            for pipe in pipes:
                pipe.start()
            if self._checkpoints is not None:
                self._checkpoints.start()
            known = addresses(self._hosts, int(self._folder.name.rpartition("-")[2], 16))
            for host in self._hosts:
                signals.check()
                cluster.start(host.name, self._spec(host, environment, known, network), output.of(host))
            self._wait(cluster, left, on_late)
        except ContainerError as error:
            raise internal_error(f"The container could not be started: {error}") from error
        finally:
            cluster.kill()
            for pipe in pipes:
                pipe.close()
            if network is not None:
                network.close()
            if self._checkpoints is not None:
                self._checkpoints.close(upload=not signals.closing)

    def _spec(
        self, host: Host, environment: dict[str, str], known: dict[str, str], network: Network | None
    ) -> ContainerSpec:
        specification = self._document["AlgorithmSpecification"]
        program = self._image.train
        if "ContainerEntrypoint" in specification:
            program = entry(self._image, tuple(specification["ContainerEntrypoint"]))
        opt_ml = self._folder / host.name
        return ContainerSpec(
            image=self._image.uri,
            program=(*program, *specification.get("ContainerArguments", ())),
            opt_ml=opt_ml,
            environment=environment,
            host=host.name,
            hosts=known,
            network=network,
            docker=self._image.docker,
            alone=self._document["EnableNetworkIsolation"],
        )

    def _broken(self, channel: str) -> Callable[[str], None]:
        """Return what takes the reason why a channel's pipe cannot be fed any more."""

        def note(reason: str) -> None:
            with self._signals.changed:
                self._signals.broken = f"Channel {channel!r} could not be read: {reason}"
                self._signals.changed.notify_all()

        return note

    def _wait(self, cluster: Cluster, left: float, on_late: Callable[[], None]) -> None:
        """Wait until every container has ended, or end them.

        Raises
        ------
        JobFailure, Ended, Interrupted
        """
        signals, clock = self._signals, self._parts.clock
        with signals.changed:
            in_time = signals.changed.wait_for(
                lambda: cluster.ended or cluster.failed or signals.any, max(0.0, real_seconds(clock, left))
            )
            done, failed = cluster.ended, cluster.failed
        if not in_time:
            on_late()
        cluster.end(real_seconds(clock, self._parts.grace), lambda: signals.closing)
        if signals.closing:
            raise Ended
        if not in_time or signals.stopping:
            return
        if failed:
            # Of several hosts the first that failed decides: the others were sent SIGTERM because of it, or noticed.
            own = [f for f in cluster.failures if self._image.algorithm is None or f[1] != PEER_ERROR_CODE]
            host, code = (own or cluster.failures)[0]
            raise algorithm_error(code, read_failure(self._folder / host))
        if not done:
            signals.check()
