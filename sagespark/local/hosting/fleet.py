"""Fleets: the instances of all production variants of one endpoint config, as one endpoint runs them.

An endpoint has one fleet that answers; an update starts another beside it and switches when that one is healthy.
"""

from __future__ import annotations

import logging
import random
import shutil
import threading
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from sagespark.core.clock import Clock
from sagespark.local.containers.images import UnknownImage, scripted
from sagespark.local.containers.isolation import ContainerError
from sagespark.local.containers.runner import SERVING_PORT, Container, ContainerRuntime, ContainerSpec
from sagespark.local.hosting.artifact import ArtifactError, place
from sagespark.local.hosting.instance import Instance, State
from sagespark.local.hosting.routing import choose_variant, least_loaded
from sagespark.local.objects.store import ObjectStore

MAX_PROCESSES = 8
"""Most serving processes of one variant on this machine, however many instances it is said to have."""
STARTUP_SECONDS = 480.0
"""Time that a container has until it answers ``/ping``, where the endpoint config names none (AWS: 8 minutes)."""
_GRACE_SECONDS = 3.0
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class VariantPlan:
    """What one production variant runs; JSON-able, so that it is there again after the service was killed."""

    name: str
    image: str
    model_data: str | None
    """S3 URL of ``model.tar.gz`` or of a prefix, None for a model without."""
    environment: Mapping[str, str]
    instances: int
    weight: float
    startup_seconds: float = STARTUP_SECONDS
    packed: bool = True
    """Whether the model data is an archive."""
    alone: bool = False
    """Whether the containers may reach nothing (``EnableNetworkIsolation``)."""

    def to_json(self) -> dict[str, Any]:
        """Return the plan as a document."""
        return asdict(self) | {"environment": dict(self.environment)}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> VariantPlan:
        """Return the plan that :meth:`to_json` gave."""
        return cls(**document)


@dataclass(frozen=True)
class FleetTools:
    """What fleets need of the service."""

    runtime: ContainerRuntime
    objects: ObjectStore
    clock: Clock
    on_line: Callable[[str, str], None]
    """Takes log stream and line."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """What every container is given, such as the region."""
    client: Mapping[str, str] = field(default_factory=dict)
    """What lets a container's own AWS clients reach the service, as a role does on AWS."""


class FleetError(Exception):
    """A fleet did not come up; the message is the endpoint's FailureReason."""


class VariantFleet:
    """The instances of one variant.

    Parameters
    ----------
    plan : VariantPlan
        What to run.
    folder : Path
        Keeps the unpacked model, and ``/opt/ml`` of each instance.
    tools : FleetTools
        See the class.
    """

    def __init__(self, plan: VariantPlan, folder: Path, tools: FleetTools) -> None:
        self.plan = plan
        self._folder = folder
        self._tools = tools
        self._lock = threading.Lock()
        self._made = 0
        self._ending = False
        self.instances: list[Instance] = []

    def start(self) -> None:
        """Unpack the model and start every instance; returns at once after that.

        Raises
        ------
        FleetError
            If there is no such image or artifact.
        """
        try:
            image = scripted(self._tools.runtime.resolve(self.plan.image), self.plan.environment)
            if self.plan.model_data:
                folder = self._folder / "model"
                place(self._tools.objects, self.plan.model_data, folder, packed=self.plan.packed)
        except UnknownImage as error:
            raise FleetError(
                f"Please make sure all images included in the model for the production variant {self.plan.name} exist, "
                f"and that the execution role used to create the model has permissions to access them: {error}"
            ) from error
        except ArtifactError as error:
            raise FleetError(str(error)) from error
        stream = f"{self.plan.name}/environment"
        try:
            self._image = self._tools.runtime.prepare(
                image, lambda line: self._tools.on_line(stream, line), self._check
            )
        except ContainerError as error:
            raise FleetError(f"The image of the production variant {self.plan.name} cannot be run: {error}") from error
        self.resize(self.plan.instances)

    def _check(self) -> None:
        if self._ending:
            raise FleetError("The embedded service ended while the image was being prepared")

    def end(self) -> None:
        """Prepare nothing more: the service ends."""
        self._ending = True

    def resize(self, count: int) -> None:
        """Start or stop instances until there are ``count``, at most :data:`MAX_PROCESSES`."""
        wanted = min(count, MAX_PROCESSES)
        if wanted < count:
            _log.warning("Variant %s asks for %d instances; %d processes stand for them", self.plan.name, count, wanted)
        with self._lock:
            surplus = self.instances[wanted:]
            kept = self.instances[:wanted]
            while len(kept) < wanted:
                kept.append(self._instance())
            self.instances = kept
        for instance in surplus:
            instance.stop(drain_seconds=60.0)

    def _instance(self) -> Instance:
        self._made += 1
        name = f"i-{self._made:05d}"
        opt_ml = self._folder / name
        stream = f"{self.plan.name}/{name}"
        # The built-in algorithms need nothing but their model.
        reaches = self._image.own and not self.plan.alone

        def launch() -> Container:
            _furnish(opt_ml, self._folder / "model")
            spec = ContainerSpec(
                image=self.plan.image,
                program=self._image.serve,
                opt_ml=opt_ml,
                environment={
                    **self._image.environment,
                    **self._tools.environment,
                    **(self._tools.client if reaches else {}),
                    **self.plan.environment,
                },
                port=SERVING_PORT,
                docker=self._image.docker,
                reaches_service=reaches,
            )
            return self._tools.runtime.run(spec, lambda line: self._tools.on_line(stream, line))

        instance = Instance(stream, launch, self.plan.startup_seconds, self._tools.clock)
        instance.start()
        return instance

    def wait(self) -> None:
        """Wait until every instance is ready.

        Raises
        ------
        FleetError
            If one did not come up.
        """
        for instance in list(self.instances):
            if instance.wait() is State.FAILED:
                raise FleetError(
                    f"The primary container for production variant {self.plan.name} did not pass the ping health "
                    "check. Please check CloudWatch logs for this endpoint."
                )

    def pick(self, turn: int) -> Instance | None:
        """Return the ready instance to ask, or None while there is none."""
        return least_loaded([i for i in self.instances if i.client is not None], turn)

    def stop(self, drain_seconds: float) -> None:
        """End every instance."""
        with self._lock:
            instances, self.instances = self.instances, []
        threads = [threading.Thread(target=i.stop, args=(drain_seconds,), daemon=True) for i in instances]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()


def _furnish(opt_ml: Path, model: Path) -> None:
    """Make a fresh ``/opt/ml`` with a copy of the model, which the program may write to."""
    if opt_ml.exists():
        shutil.rmtree(opt_ml)
    opt_ml.mkdir(parents=True)
    if model.exists():
        shutil.copytree(model, opt_ml / "model", symlinks=True)
    else:
        (opt_ml / "model").mkdir()


class Fleet:
    """The variants of one endpoint.

    Parameters
    ----------
    plans : sequence of VariantPlan
        In the endpoint config's order.
    folder : Path
        The fleet's own.
    tools : FleetTools
        See the class.
    rng : random.Random
        Draws variants.
    """

    def __init__(self, plans: list[VariantPlan], folder: Path, tools: FleetTools, rng: random.Random) -> None:
        self.folder = folder
        self._rng = rng
        self._turn = 0
        self.variants = {plan.name: VariantFleet(plan, folder / plan.name, tools) for plan in plans}
        self.weights = {plan.name: plan.weight for plan in plans}

    def start(self) -> None:
        """Start every variant and wait until all are healthy.

        Raises
        ------
        FleetError
            If one does not come up; everything that was started is ended.
        """
        try:
            for variant in self.variants.values():
                variant.start()
            self.wait()
        except BaseException:
            self.stop(0.0)
            raise

    def wait(self) -> None:
        """Wait until every instance of every variant is ready.

        Raises
        ------
        FleetError
            If one did not come up.
        """
        for variant in self.variants.values():
            variant.wait()

    def pick(self, target: str | None) -> tuple[str, Instance | None]:
        """Return the variant that answers, drawn by weight unless ``target`` names it, and its instance to ask.

        Raises
        ------
        KeyError
            If there is no such variant.
        """
        name = target or choose_variant(self.weights, self._rng)
        self._turn += 1
        return name, self.variants[name].pick(self._turn)

    def stop(self, drain_seconds: float) -> None:
        """End every variant, letting requests under way end for up to ``drain_seconds``, and delete the folder."""
        for variant in self.variants.values():
            variant.stop(drain_seconds)
        shutil.rmtree(self.folder, ignore_errors=True)

    def kill(self) -> None:
        """End every container soon, whatever requests are under way; the folder stays."""
        for variant in self.variants.values():
            variant.end()
        instances = [instance for variant in self.variants.values() for instance in variant.instances]
        for instance in instances:
            instance.terminate()
        for instance in instances:
            instance.kill(_GRACE_SECONDS)
