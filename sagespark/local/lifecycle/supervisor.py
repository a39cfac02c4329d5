"""All training jobs of the service: how many run at a time, how they are stopped, and what a restart makes of them."""

from __future__ import annotations

import logging
import os
import threading
from collections import deque

from sagespark.core.errors import ValidationError
from sagespark.local.containers.images import Image
from sagespark.local.lifecycle import status, warm_pool, workspace
from sagespark.local.lifecycle.parts import Parts
from sagespark.local.lifecycle.run import TrainingRun
from sagespark.local.store import Document, Missing

_log = logging.getLogger(__name__)
_END_SECONDS = 20.0


def default_limit() -> int:
    """Return how many jobs run at a time: as many as there are cores, and four at least."""
    return max(4, os.cpu_count() or 1)


class Supervisor:
    """Run the training jobs, each on a thread of its own, in the order of their creation.

    Parameters
    ----------
    parts : Parts
        The parts of the service that jobs need.
    limit : int, optional
        Most jobs at a time; those above it wait in ``Pending``.
    """

    def __init__(self, parts: Parts, limit: int | None = None) -> None:
        self._parts = parts
        self._limit = default_limit() if limit is None else limit
        self._lock = threading.Lock()
        # By run and not by name: a job may be deleted and its name taken while the former run is at its last step.
        self._running: dict[TrainingRun, threading.Thread] = {}
        self._waiting: deque[TrainingRun] = deque()
        self._closed = False

    def resolve(self, image: str) -> Image:
        """Return what an image URI stands for; raises UnknownImage."""
        return self._parts.runtime.resolve(image)

    def start(self) -> None:
        """End every job that a former service left unfinished, after its processes.

        Nothing of a job is kept in memory only, but a program that was killed cannot go on: AWS reports such a job as
        failed by an internal error, and so do we.
        """
        self._parts.runtime.start()
        count = self._interrupt_all()
        if count:
            _log.warning("%d training jobs were interrupted when the service ended the last time", count)
        workspace.remove(self._parts.folder)
        with self._lock:
            self._closed = False

    def stop(self) -> None:
        """End every job and its processes at once."""
        with self._lock:
            self._closed = True
            self._waiting.clear()
            running = dict(self._running)
        for run in running:
            run.close()
        for thread in running.values():
            thread.join(_END_SECONDS)
        self._interrupt_all()

    def submit(self, region: str, name: str, environment: dict[str, str]) -> None:
        """Start a job that is in the Store, now or when one before it has ended.

        Parameters
        ----------
        region, name : str
            Its key.
        environment : dict
            Variables by which the container's own AWS clients find this service.
        """
        run = TrainingRun(self._parts, region, name, environment)
        with self._lock:
            if self._closed:
                return
            if len(self._running) < self._limit:
                self._begin(run)
                return
            self._waiting.append(run)
            self._parts.store.update(
                status.KIND, region, name, lambda document: status.enter(document, "Pending", self._parts.clock.now())
            )

    def end(self, region: str, name: str) -> None:
        """Carry out a stop that is in the Store already."""
        with self._lock:
            for run in self._running:
                if (run.region, run.name) == (region, name):
                    run.stop()
            waiting = [run for run in self._waiting if (run.region, run.name) == (region, name)]
            for run in waiting:
                self._waiting.remove(run)
        if waiting:
            now = self._parts.clock.now()
            self._parts.store.update(status.KIND, region, name, lambda document: status.end(document, now))

    def interrupt(self, region: str, name: str, seconds: float) -> None:
        """Take a managed spot job's instances away, as AWS does when it needs them.

        Parameters
        ----------
        region, name : str
            The job.
        seconds : float
            Seconds until there is capacity again.

        Raises
        ------
        ValidationError
            If there is no such job, it has no spot instances, or none now.
        """
        run, document = self._found(region, name)
        if not document["EnableManagedSpotTraining"]:
            raise ValidationError(
                f"training job {name!r} runs on on-demand instances, which are not interrupted; "
                "create it with EnableManagedSpotTraining (useSpotInstances=True)",
                "interrupt",
            )
        run.interrupt(seconds)

    def lose_host(self, region: str, name: str) -> None:
        """Let an instance of a job break: an InternalServerError, which RetryStrategy retries.

        Raises
        ------
        ValidationError
            If there is no such job, or it has no instances now.
        """
        self._found(region, name)[0].lose_host()

    def _found(self, region: str, name: str) -> tuple[TrainingRun, Document]:
        """Return a job that has instances now."""
        document = self._parts.store.get(status.KIND, region, name)
        if document is None:
            raise ValidationError(f"there is no training job {name!r} in region {region}", "interrupt")
        with self._lock:
            run = next((run for run in self._running if (run.region, run.name) == (region, name)), None)
        if run is None or document["SecondaryStatus"] not in ("Downloading", "Training"):
            raise ValidationError(
                f"training job {name!r} has no instances now: it is {document['TrainingJobStatus']} "
                f"({document['SecondaryStatus']})",
                "interrupt",
            )
        return run, document

    def _begin(self, run: TrainingRun) -> None:
        thread = threading.Thread(target=self._run, args=(run,), name=f"training-{run.name}", daemon=True)
        self._running[run] = thread
        thread.start()

    def _run(self, run: TrainingRun) -> None:
        try:
            run.execute()
        except Exception:
            # The store itself failed; the job is reported as interrupted at the next start.
            _log.exception("The end of training job %s could not be recorded", run.name)
        with self._lock:
            del self._running[run]
            if self._waiting and not self._closed:
                self._begin(self._waiting.popleft())

    def _interrupt_all(self) -> int:
        """Mark every unfinished job as interrupted; return how many there were."""
        store = self._parts.store
        count = 0
        for region, name, document in store.items(status.KIND):
            if document["TrainingJobStatus"] in status.ENDED:
                if warm_pool.waits(document):
                    store.update(status.KIND, region, name, lambda d: warm_pool.terminate(d, self._parts.clock.now()))
                continue
            try:
                store.update(status.KIND, region, name, lambda d: status.interrupt(d, self._parts.clock.now()))
            except Missing:
                continue
            count += 1
        return count
