"""All tuning jobs of the service: a thread each, begun again where a former service left them."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from sagespark.core.clock import Clock
from sagespark.local.logs import TRAINING_JOBS
from sagespark.local.store import Store
from sagespark.local.tuning import document as documents
from sagespark.local.tuning.coordinator import Coordinator, Trainer, tuning_job_of
from sagespark.local.wire.context import AwsError

INTERVAL = 0.1
"""Seconds between two steps of a tuning job, at most."""
_REST = 0.01
"""Seconds between two steps, at least: what came in meanwhile is heard at once."""
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
        self._news: dict[tuple[str, str], threading.Event] = {}
        """What wakes the threads."""
        self._eager: set[tuple[str, str]] = set()
        """Tuning jobs that what their training jobs write wakes."""
        self._closed = threading.Event()

    def start(self) -> None:
        """Go on with every tuning job that has not ended."""
        self._closed.clear()
        for region, name, document in self._store.items(documents.KIND):
            if document["HyperParameterTuningJobStatus"] not in documents.ENDED:
                _log.info("Tuning job %s goes on where a former service left it", name)
                self.submit(region, name)

    def heard(self, region: str, group: str, stream: str) -> None:
        """Let a tuning job know at once that one of its training jobs has written something."""
        key = (region, tuning_job_of(stream))
        if group == TRAINING_JOBS and key in self._eager and (news := self._news.get(key)):
            news.set()

    def stop(self) -> None:
        """End all threads; the tuning jobs go on with the next service."""
        self._closed.set()
        with self._lock:
            threads = list(self._threads.values())
            for news in self._news.values():
                news.set()
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
            news = threading.Event()
            with self._lock:
                self._news[region, name] = news
                if coordinator.watches:
                    # A job that does badly shall not run longer than it takes to see that.
                    self._eager.add((region, name))
            try:
                while True:
                    # Cleared first: what comes in from here on is heard by the next step.
                    news.clear()
                    if self._closed.is_set() or coordinator.step():
                        break
                    self._closed.wait(_REST)
                    news.wait(INTERVAL - _REST)
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
                self._news.pop((region, name), None)
                self._eager.discard((region, name))
