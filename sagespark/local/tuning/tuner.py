"""All tuning jobs of the service: a thread each, begun again where a former service left them."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from sagespark.core.clock import Clock
from sagespark.local.store import Store
from sagespark.local.tuning import document as documents
from sagespark.local.tuning.coordinator import Coordinator, Trainer
from sagespark.local.wire.context import AwsError

INTERVAL = 0.1
"""Seconds between two steps of a tuning job."""
_END_SECONDS = 20.0
_log = logging.getLogger(__name__)


class Tuner:
    """Run the tuning jobs.

    Parameters
    ----------
    store : Store
        Keeps them.
    trainer : callable
        Takes a region and a tuning job's name; returns what runs its training jobs.
    clock : Clock
        Stamps them.
    """

    def __init__(self, store: Store, trainer: Callable[[str, str], Trainer], clock: Clock) -> None:
        self._store = store
        self._trainer = trainer
        self._clock = clock
        self._lock = threading.Lock()
        self._threads: dict[tuple[str, str], threading.Thread] = {}
        self._closed = threading.Event()

    def start(self) -> None:
        """Go on with every tuning job that has not ended."""
        self._closed.clear()
        for region, name, document in self._store.items(documents.KIND):
            if document["HyperParameterTuningJobStatus"] not in documents.ENDED:
                _log.info("Tuning job %s goes on where a former service left it", name)
                self.submit(region, name)

    def stop(self) -> None:
        """End all threads; the tuning jobs go on with the next service."""
        self._closed.set()
        with self._lock:
            threads = list(self._threads.values())
        for thread in threads:
            thread.join(_END_SECONDS)

    def submit(self, region: str, name: str) -> None:
        """Run a tuning job that is in the Store."""
        thread = threading.Thread(target=self._run, args=(region, name), name=f"tuning-{name}", daemon=True)
        with self._lock:
            if self._closed.is_set():
                return
            self._threads[region, name] = thread
        thread.start()

    def _run(self, region: str, name: str) -> None:
        try:
            coordinator = Coordinator(self._store, self._trainer(region, name), self._clock, region, name)
            try:
                while not self._closed.is_set() and not coordinator.step():
                    self._closed.wait(INTERVAL)
            except AwsError as error:
                coordinator.fail(f"A training job could not be created: {error.message}")
            except Exception:
                if self._closed.is_set():
                    return
                _log.exception("Tuning job %s failed inside the service", name)
                coordinator.fail("InternalServerError: We encountered an internal error. The service's log tells more.")
        except Exception:
            # The store itself failed; the next start goes on.
            _log.exception("The end of tuning job %s could not be recorded", name)
        finally:
            with self._lock:
                self._threads.pop((region, name), None)
