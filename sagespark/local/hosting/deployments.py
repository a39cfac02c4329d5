"""Endpoints as they run: which fleet answers, and how it is created, updated, scaled, deleted and found again."""

from __future__ import annotations

import contextlib
import logging
import random
import shutil
import threading
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from sagespark.core.clock import Clock
from sagespark.local.containers.runner import ContainerRuntime
from sagespark.local.hosting import documents
from sagespark.local.hosting.documents import FLEET_KIND, KIND
from sagespark.local.hosting.fleet import Fleet, FleetError, FleetTools, VariantPlan
from sagespark.local.logs import ENDPOINTS, LogStore
from sagespark.local.objects.store import ObjectStore
from sagespark.local.services.tags import drop_tags
from sagespark.local.store import Document, Missing, Store

DRAIN_SECONDS = 60.0
"""Longest time that requests under way have to end when a fleet goes."""
_INTERNAL = "InternalServerError: We encountered an internal error. The embedded service's log tells more."
_SETTLE_SECONDS = 0.2
_STOP_SECONDS = 5.0
_log = logging.getLogger(__name__)
Key = tuple[str, str]
"""Region and name of an endpoint."""
Begin = Callable[[], None]
"""Begins an operation; returns at once."""


class Deployments:
    """All endpoints of the service.

    Parameters
    ----------
    store, logs, objects, runtime, clock
        The service's own.
    folder : Path
        Keeps the fleets' folders.
    client : mapping or None
        Environment by which AWS clients in containers reach the service.
    """

    def __init__(
        self,
        store: Store,
        logs: LogStore,
        objects: ObjectStore,
        runtime: ContainerRuntime,
        folder: Path,
        clock: Clock,
        client: Mapping[str, str] | None = None,
    ) -> None:
        self._store = store
        self._logs = logs
        self._objects = objects
        self._runtime = runtime
        self._folder = folder
        self._clock = clock
        self._client = dict(client or {})
        self._rng = random.Random()
        self._live: dict[Key, Fleet] = {}
        self._fleets: set[Fleet] = set()
        self._threads: set[threading.Thread] = set()
        self._lock = threading.Lock()
        self._stopping = False

    def fleet(self, region: str, name: str) -> Fleet | None:
        """Return the fleet that answers for an endpoint, None where it is not in service."""
        return self._live.get((region, name))

    def start(self) -> None:
        """Bring back what a former service ran, and go on with what it was doing; returns at once.

        Raises nothing: an endpoint that does not come back becomes Failed, and its FailureReason says why.
        """
        known = set()
        for region, name, record in self._store.items(FLEET_KIND):
            endpoint = self._store.get(KIND, region, name)
            if endpoint is None:
                self._store.delete(FLEET_KIND, region, name)
                continue
            known |= {part["id"] for part in (record["live"], record["next"]) if part}
            self._run((region, name), partial(self._recover, (region, name), endpoint, record))
        if self._folder.exists():
            for folder in self._folder.iterdir():
                if folder.name not in known:
                    shutil.rmtree(folder, ignore_errors=True)

    def stop(self) -> None:
        """End every container; the endpoints stay as they are, for the next service to find."""
        with self._lock:
            self._stopping = True
            fleets, threads = list(self._fleets), list(self._threads)
        self._live.clear()
        for fleet in fleets:
            fleet.kill()
        for thread in threads:
            thread.join(_STOP_SECONDS)

    # Operations. Each writes down what is to be done, for the transaction of the caller, which has put the endpoint
    # into a transitional status, and returns what begins with it, to be called once that is committed.

    def create(self, key: Key, plans: list[VariantPlan], config: str) -> Begin:
        """Start the first fleet."""
        part = documents.part(plans, config)
        self._store.put(FLEET_KIND, *key, {"live": None, "next": part}, unique=False)
        self._pending(key, part)
        return lambda: self._run(key, lambda: self._create(key, part))

    def update(self, key: Key, plans: list[VariantPlan], config: str) -> Begin:
        """Start another fleet beside the one that answers, and switch when it is healthy."""
        part = documents.part(plans, config)
        self._store.update(FLEET_KIND, *key, lambda record: record.update(next=part))
        self._pending(key, part)
        return lambda: self._run(key, lambda: self._update(key, part))

    def scale(self, key: Key, wanted: Mapping[str, tuple[float | None, int | None]]) -> Begin:
        """Give variants of the fleet that answers another weight or number of instances, None: as it is."""
        return lambda: self._run(key, lambda: self._scale(key, wanted))

    def delete(self, key: Key) -> Begin:
        """End the fleet that answers, then forget the endpoint."""
        return lambda: self._run(key, lambda: self._delete(key))

    def _run(self, key: Key, work: Callable[[], None]) -> None:
        def guarded() -> None:
            try:
                work()
            except Missing:
                _log.info("Endpoint %s is gone", key[1])
            except Exception:
                if not self._stopping:
                    _log.exception("Endpoint %s: the operation failed", key[1])
                    with contextlib.suppress(Missing):
                        self._rest(key, EndpointStatus="Failed", FailureReason=_INTERNAL)
            finally:
                with self._lock:
                    self._threads.discard(threading.current_thread())

        thread = threading.Thread(target=guarded, name=f"endpoint-{key[1]}", daemon=True)
        with self._lock:
            if self._stopping:
                return
            self._threads.add(thread)
        thread.start()

    def _recover(self, key: Key, endpoint: Document, record: Document) -> None:
        status = endpoint["EndpointStatus"]
        live, upcoming = record["live"], record["next"]
        if status == "Failed":
            return
        if status == "Deleting":
            self._forget(key)
            for part in (live, upcoming):
                if part is not None:
                    shutil.rmtree(self._folder / part["id"], ignore_errors=True)
            return
        if live is not None:
            fleet = self._make(key, live)
            # It answers from here on: requests wait until its containers are ready again.
            self._live[key] = fleet
            try:
                fleet.start()
            except FleetError as error:
                self._live.pop(key, None)
                self._discard(fleet)
                self._rest(key, EndpointStatus="Failed", FailureReason=str(error))
                return
            if self._stopping:
                return
            _log.info("Endpoint %s is in service again", key[1])
        if upcoming is not None and status == "Updating":
            self._update(key, upcoming)
        elif upcoming is not None and status == "Creating":
            self._create(key, upcoming)
        elif status == "Updating":
            self._rest(key, EndpointStatus="InService")

    def _create(self, key: Key, part: Document) -> None:
        fleet = self._make(key, part)
        try:
            fleet.start()
        except FleetError as error:
            self._discard(fleet)
            if not self._stopping:
                self._rest(key, EndpointStatus="Failed", FailureReason=str(error))
            return
        if self._stopping:
            return
        self._live[key] = fleet
        self._in_service(key, part)

    def _update(self, key: Key, part: Document) -> None:
        former = self._live.get(key)
        fleet = self._make(key, part)
        try:
            fleet.start()
        except FleetError as error:
            self._discard(fleet)
            if self._stopping:
                return
            with self._store.transaction():
                self._store.update(FLEET_KIND, *key, lambda record: record.update(next=None))
                self._rest(key, EndpointStatus="InService", FailureReason=str(error))
            return
        if self._stopping:
            return
        self._live[key] = fleet
        self._in_service(key, part)
        if former is not None:
            # A request that has just picked the former fleet must be counted before its end is decided.
            self._clock.sleep(_SETTLE_SECONDS)
            self._discard(former)

    def _scale(self, key: Key, wanted: Mapping[str, tuple[float | None, int | None]]) -> None:
        fleet = self._live[key]
        part = self._record(key)["live"]
        former = {plan["name"]: plan["instances"] for plan in part["plans"]}
        for plan in part["plans"]:
            weight, count = wanted.get(plan["name"], (None, None))
            plan["weight"] = plan["weight"] if weight is None else weight
            plan["instances"] = plan["instances"] if count is None else count
            fleet.variants[plan["name"]].resize(plan["instances"])
        try:
            fleet.wait()
        except FleetError as error:
            for name, count in former.items():
                fleet.variants[name].resize(count)
            self._rest(key, EndpointStatus="InService", FailureReason=str(error))
            return
        if self._stopping:
            return
        fleet.weights = {plan["name"]: plan["weight"] for plan in part["plans"]}
        self._in_service(key, part)

    def _delete(self, key: Key) -> None:
        fleet = self._live.pop(key, None)
        if fleet is not None:
            self._clock.sleep(_SETTLE_SECONDS)
            self._discard(fleet)
        self._forget(key)

    def _make(self, key: Key, part: Document) -> Fleet:
        region, name = key
        group = ENDPOINTS + name

        def on_line(stream: str, line: str) -> None:
            milliseconds = int(self._clock.now().timestamp() * 1000)
            self._logs.append(region, group, stream, [(milliseconds, line)])

        environment = {"AWS_REGION": region, "AWS_DEFAULT_REGION": region, "SAGEMAKER_REGION": region}
        tools = FleetTools(self._runtime, self._objects, self._clock, on_line, environment, self._client)
        plans = [VariantPlan.from_json(plan) for plan in part["plans"]]
        fleet = Fleet(plans, self._folder / part["id"], tools, self._rng)
        with self._lock:
            self._fleets.add(fleet)
        return fleet

    def _discard(self, fleet: Fleet) -> None:
        fleet.stop(0.0 if self._stopping else DRAIN_SECONDS)
        with self._lock:
            self._fleets.discard(fleet)

    def _record(self, key: Key) -> Document:
        record = self._store.get(FLEET_KIND, *key)
        if record is None:
            raise Missing(key[1])
        return record

    def _pending(self, key: Key, part: Document) -> None:
        summary = documents.pending(part, self._clock.now())
        self._store.update(KIND, *key, lambda document: document.update(PendingDeploymentSummary=summary))

    def _in_service(self, key: Key, part: Document) -> None:
        """Say that a fleet answers, in both documents at once."""
        with self._store.transaction():
            self._store.update(FLEET_KIND, *key, lambda record: record.update(live=part, next=None))
            self._store.update(KIND, *key, lambda document: documents.in_service(document, part, self._clock.now()))

    def _rest(self, key: Key, **members: Any) -> None:
        self._store.update(KIND, *key, lambda document: documents.at_rest(document, self._clock.now(), **members))

    def _forget(self, key: Key) -> None:
        with self._store.transaction():
            document = self._store.get(KIND, *key)
            if document is not None:
                drop_tags(self._store, document["EndpointArn"])
            self._store.delete(FLEET_KIND, *key)
            self._store.delete(KIND, *key)
