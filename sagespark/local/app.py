"""The embedded service as a whole: what it is made of and in which order that starts."""

from __future__ import annotations

import fcntl
import logging
import os
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from typing import Any, Self

from sagespark.core.clock import Clock, ScaledClock, SystemClock
from sagespark.local.admin import Admin
from sagespark.local.config import LocalConfig, default_bucket
from sagespark.local.containers import own_images
from sagespark.local.containers.runner import ContainerRuntime
from sagespark.local.hosting.deployments import Deployments
from sagespark.local.http import Front
from sagespark.local.lifecycle import status as training_status
from sagespark.local.lifecycle.parts import Parts
from sagespark.local.lifecycle.supervisor import Supervisor
from sagespark.local.logs import LogStore
from sagespark.local.objects.store import ObjectStore
from sagespark.local.services.endpoint_configs import EndpointConfigs
from sagespark.local.services.endpoints import Endpoints
from sagespark.local.services.iam import Iam
from sagespark.local.services.logs import Logs
from sagespark.local.services.metrics import Metrics
from sagespark.local.services.models import Models
from sagespark.local.services.runtime import Runtime
from sagespark.local.services.s3 import S3Buckets
from sagespark.local.services.s3_listing import S3Listing
from sagespark.local.services.s3_multipart import S3Multipart
from sagespark.local.services.s3_objects import S3Objects
from sagespark.local.services.s3_settings import S3Settings
from sagespark.local.services.search import Search
from sagespark.local.services.sts import Sts
from sagespark.local.services.tags import Tags
from sagespark.local.services.training_jobs import TrainingJobs
from sagespark.local.services.tuning_jobs import TuningJobs
from sagespark.local.store import Store
from sagespark.local.tuning import document as tuning_document
from sagespark.local.wire.dispatch import Dispatcher

log = logging.getLogger("sagespark.local")


class FolderInUseError(RuntimeError):
    """Another service already uses the data folder."""


class FolderLock:
    """An exclusive lock on the data folder, held until the process ends, however it ends.

    Parameters
    ----------
    folder : Path
        Made if missing.

    Raises
    ------
    FolderInUseError
        Names the process that has it.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._file = (folder / "service.lock").open("a+")
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self._file.seek(0)
            holder = self._file.read().strip() or "unknown"
            self._file.close()
            raise FolderInUseError(
                f"the data folder {folder} is in use by another embedded service (process {holder}); "
                "stop that one or give another --data"
            ) from error
        self._file.truncate(0)
        self._file.write(f"{os.getpid()}\n")
        self._file.flush()

    def release(self) -> None:
        """Let others use the folder."""
        self._file.close()


class Service:
    """Everything behind the HTTP front.

    Parameters
    ----------
    config : LocalConfig
        Settings.
    lock : FolderLock
        Held for the service's life.
    objects : ObjectStore
        S3's objects.
    store : Store
        Every other resource.
    logs : LogStore
        Log events.
    providers : list
        Objects with AWS operations as methods, in the order in which they start.
    pool : ThreadPoolExecutor
        Threads that move objects' bytes.
    admin : Admin or None
        Answers what is not AWS's.
    """

    def __init__(
        self,
        config: LocalConfig,
        lock: FolderLock,
        objects: ObjectStore,
        store: Store,
        logs: LogStore,
        providers: list[Any],
        pool: ThreadPoolExecutor,
        admin: Admin | None = None,
    ) -> None:
        self.config = config
        self.objects = objects
        self._store = store
        self._logs = logs
        self._lock = lock
        self._pool = pool
        self._providers = providers
        self._dispatcher = Dispatcher(providers, config)
        self.front = Front(self._dispatcher, pool, admin)

    @classmethod
    def build(cls, config: LocalConfig) -> Self:
        """Put the service together on its data folder.

        Raises
        ------
        FolderInUseError
            If another service has the folder.
        """
        lock = FolderLock(config.data)
        objects = ObjectStore(config.data / "objects")
        pool = ThreadPoolExecutor(config.workers, "local-objects")
        shared = (objects, config, pool)
        store = Store(config.data / "resources.sqlite")
        clock = SystemClock()
        # Tuning jobs go on after a restart, when what they have taken so far must not lie in the future.
        jobs_clock: Clock = clock if config.time_scale == 1 else ScaledClock(config.time_scale, _last_change(store))
        logs = LogStore(config.data / "logs.sqlite")
        images = own_images.OwnImages(config.data / own_images.FILE_NAME)
        address = (config.host, config.port)
        runtime = ContainerRuntime(config.data / "containers", clock=clock, images=images, service=address)
        parts = Parts(
            store,
            logs,
            objects,
            runtime,
            config.data / "training",
            jobs_clock,
            is_default_bucket=config.is_default_bucket,
        )
        training = Supervisor(parts)
        hosting = Deployments(store, logs, objects, runtime, config.data / "hosting", clock, config.client_environment)
        jobs = TrainingJobs(store, training, jobs_clock, config.secret_key)
        providers: list[Any] = [
            S3Buckets(*shared),
            S3Objects(*shared),
            S3Listing(*shared),
            S3Multipart(*shared),
            S3Settings(*shared),
            Sts(secret_key=config.secret_key),
            Iam(),
            Logs(logs),
            Metrics(store, logs),
            Tags(store),
            # Training starts before hosting: it ends what containers a former service left, of both.
            jobs,
            # Tuning starts after training, which has ended by then what a former service left running.
            TuningJobs(store, logs, jobs, runtime.resolve, jobs_clock, config.url),
            Models(store, objects, runtime.resolve, clock),
            EndpointConfigs(store, clock),
            Search(store),
            Endpoints(store, hosting, clock),
            Runtime(hosting),
        ]
        return cls(config, lock, objects, store, logs, providers, pool, Admin(training))

    def start(self) -> None:
        """Start the parts in order; each recovers what a killed process left behind."""
        self.objects.create_bucket(default_bucket(self.config.region, self.config.account), self.config.region)
        for provider in self._providers:
            if hasattr(provider, "start"):
                provider.start()

    def stop(self) -> None:
        """Stop the parts in reverse order and close the stores."""
        for provider in reversed(self._providers):
            if hasattr(provider, "stop"):
                try:
                    provider.stop()
                except Exception:
                    log.exception("%s did not stop cleanly", type(provider).__name__)
        self._dispatcher.close()
        self._pool.shutdown(wait=False, cancel_futures=True)
        self.objects.close()
        self._store.close()
        self._logs.close()
        self._lock.release()


def _last_change(store: Store) -> datetime | None:
    """Return the latest time in what a former service has written about training and tuning jobs."""
    jobs = [job for kind in (training_status.KIND, tuning_document.KIND) for job in store.list(kind)]
    return max((job["LastModifiedTime"] for job in jobs), default=None)
