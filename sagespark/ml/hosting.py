"""What a model stands on in AWS: its artifact, and the resources that host it.

A model and all its copies share one :class:`HostingRecord`: MLlib transforms copies, so whichever copy creates the
endpoint, all of them know it and ``delete()`` on any removes it. A pickled, deep-copied or loaded record is another
handle on the same resources.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sagespark.aws.endpoint import Endpoint
from sagespark.aws.endpoint_config import EndpointConfig
from sagespark.aws.model import Model
from sagespark.aws.session import SageMakerSession
from sagespark.core.errors import (
    Resource,
    ResourceNotFoundError,
    SageSparkError,
    ValidationError,
)
from sagespark.ml import candidates
from sagespark.ml.made import Made
from sagespark.ml.requests import Hosting

_SAVED = ("trainingJobName", "imageUri", "modelData", "modelName", "endpointConfigName", "endpointName")


class HostingRecord:
    """Hold what a model stands on.

    Parameters
    ----------
    session : SageMakerSession
        Where it is; looked up.
    imageUri : str or None
        Image that serves the artifact; None where only an endpoint is known.
    modelData : str or None
        S3 URI of ``model.tar.gz``.
    trainingJobName : str or None
        The job that made it.
    hyperparameters : mapping of str to str
        Of the job, as it received them.
    metrics : mapping of str to float
        Of the job, as it reported them.
    environment : mapping of str to str
        Of the serving container.
    endpointName, endpointConfigName, modelName : str or None
        What hosts it.
    created : sequence of Resource
        What of all this the package created, and may therefore delete.
    """

    def __init__(
        self,
        session: SageMakerSession,
        *,
        imageUri: str | None = None,
        modelData: str | None = None,
        trainingJobName: str | None = None,
        hyperparameters: Mapping[str, str] | None = None,
        metrics: Mapping[str, float] | None = None,
        environment: Mapping[str, str] | None = None,
        endpointName: str | None = None,
        endpointConfigName: str | None = None,
        modelName: str | None = None,
        created: Sequence[Resource] = (),
    ) -> None:
        self.session = session.lookup()
        self.imageUri = imageUri
        self.modelData = modelData
        self.trainingJobName = trainingJobName
        self.hyperparameters = dict(hyperparameters or {})
        self.metrics = dict(metrics or {})
        self.environment = dict(environment or {})
        self.endpointName = endpointName
        self.endpointConfigName = endpointConfigName
        self.modelName = modelName
        self.deleted = False
        self._made = Made(self.session, created)
        # An endpoint that this process did not create, and has not looked at yet.
        self._unseen = endpointName is not None
        self._lock = threading.RLock()
        self._cache: dict[str, Any] = {}

    # -- endpoint ---------------------------------------------------------------------------------------------------

    @property
    def created(self) -> tuple[Resource, ...]:
        """What the package created for this model and is still there, in order of creation."""
        return tuple(self._made.resources)

    def note(self, resource: Resource) -> None:
        """Note a resource that was created for the model."""
        self._made.add(resource)

    def use(self, session: SageMakerSession) -> None:
        """Reach the same resources by another session.

        Raises
        ------
        ValidationError
            If it is of another account or region.
        """
        found = session.resolve()
        here, there = _place(self.session), _place(found)
        if here != there:
            raise ValidationError(
                f"the model is in {_words(here)}, but the session is of {_words(there)}", "setSagemakerSession"
            )
        self.session = self._made.session = found

    def endpoint(self, make: Callable[[], Hosting | None], again: bool = False) -> str:
        """Return the endpoint's name, and create it where there is none.

        Parameters
        ----------
        make : callable
            Returns the requests, or None where the model's policy creates no endpoint.
        again : bool
            Whether an endpoint that ``delete()`` removed may be created again.

        Raises
        ------
        ValidationError
            If there is no endpoint and none may be created.
        SageSparkError
            If creating it failed; what was created is deleted again.
        """
        with self._lock:
            if self._unseen:
                self._look()
            if self.endpointName is not None:
                return self.endpointName
            if self.deleted and not again:
                raise ValidationError("the model's endpoint was deleted; deploy() creates another one", "transform")
            hosting = make()
            if hosting is None:
                raise ValidationError(
                    "the model has no endpoint and endpointPolicy is 'never'; call deploy(), or "
                    "setEndpointPolicy('createOnTransform')",
                    "transform",
                )
            return self.host(hosting)

    def _look(self) -> None:
        """Find out whether an endpoint that this process did not create is still there."""
        endpoint = Endpoint(self.session, self.endpointName or "")
        try:
            endpoint.describe()
        except ResourceNotFoundError:
            if not self._made.drop(endpoint.resource):
                # Somebody else's: nothing here knows how to make it again.
                raise
            self._forget()
        self._unseen = False

    def host(self, hosting: Hosting) -> str:
        """Create model, endpoint config and endpoint, wait until it is in service, return its name.

        Calls CreateModel, CreateEndpointConfig, CreateEndpoint, DescribeEndpoint.

        Raises
        ------
        SageSparkError
            If a step failed. What was created is deleted again; ``createdResources`` is what remains.
        """
        with self._lock:
            mine = Made(self.session)
            try:
                for cls, (_, request) in zip((Model, EndpointConfig, Endpoint), hosting.requests, strict=True):
                    handle = cls.create(self.session, request)
                    mine.add(handle.resource)
                endpoint = Endpoint(self.session, hosting.endpoint["EndpointName"])
                endpoint.wait()
            except BaseException as error:
                self._undo(mine, error)
                raise
            for resource in mine.resources:
                self.note(resource)
            self.modelName = hosting.model["ModelName"]
            self.endpointConfigName = hosting.endpointConfig["EndpointConfigName"]
            self.endpointName = endpoint.name
            self.deleted, self._unseen = False, False
            return endpoint.name

    def _undo(self, mine: Made, error: BaseException) -> None:
        """Leave nothing behind that is billed, and tell what is left nonetheless."""
        try:
            mine.delete_hosting()
        except SageSparkError as second:
            error.add_note(f"and cleaning up after it failed too: {second.message.splitlines()[0]}")
        if isinstance(error, SageSparkError):
            error.createdResources = (*self.created, *mine.resources)
        else:
            for resource in mine.resources:
                error.add_note(f"still there: {resource}")

    def delete(self) -> None:
        """Delete what the package created to host the model; job and artifact stay. A copy's endpoint is the same one.

        Calls DeleteEndpoint, DeleteEndpointConfig, DeleteModel.
        """
        with self._lock:
            hosted = any(r.kind == Endpoint.kind for r in self.created)
            self._made.delete_hosting()
            if hosted:
                self._forget()
                self.deleted = True

    def _forget(self) -> None:
        self.endpointName = self.endpointConfigName = self.modelName = None

    def delete_when_dropped(self) -> None:
        """Delete the hosting once no model holds this record any more. For candidates of a model selection only."""
        candidates.delete_when_dropped(self, self._made)

    # -- state ------------------------------------------------------------------------------------------------------

    def cached(self, name: str, make: Callable[[], Any]) -> Any:
        """Return a value computed once for all copies in this process."""
        with self._lock:
            if name not in self._cache:
                self._cache[name] = make()
            return self._cache[name]

    def to_json(self) -> dict[str, Any]:
        """Return what a saved model keeps. Calls STS GetCallerIdentity once per process."""
        place = _place(self.session)
        return {
            "region": place[0],
            "account": place[1],
            **{name: getattr(self, name) for name in _SAVED},
            "hyperparameters": self.hyperparameters,
            "metrics": self.metrics,
            "environment": self.environment,
            "created": [{"kind": r.kind, "name": r.name, "arn": r.arn} for r in self.created],
        }

    @classmethod
    def from_json(cls, saved: Mapping[str, Any], session: SageMakerSession) -> HostingRecord:
        """Return the record of a saved model. Creates nothing.

        Raises
        ------
        ValidationError
            If the session is of another region or account.
        """
        there, here = (saved["region"], saved["account"]), _place(session)
        if there != here:
            raise ValidationError(
                f"the model was saved in {_words(there)}, but the session is of {_words(here)}; give one of "
                "the former: read().sagemakerSession(session).load(path)",
                "load",
            )
        return cls(
            session,
            **{name: saved.get(name) for name in _SAVED},
            hyperparameters=saved.get("hyperparameters"),
            metrics=saved.get("metrics"),
            environment=saved.get("environment"),
            created=[Resource(**r) for r in saved.get("created", ())],
        )

    def __getstate__(self) -> dict[str, Any]:
        """Return the state without lock and cache; another process has not seen the endpoint."""
        left_out = ("_lock", "_cache")
        state = {k: v for k, v in self.__dict__.items() if k not in left_out}
        # The resources are the same, the list of them is this handle's own.
        state["_made"] = Made(self._made.session, self._made.resources)
        return {**state, "_unseen": self.endpointName is not None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Restore the state with a lock of its own."""
        self.__dict__.update(state)
        self._lock, self._cache = threading.RLock(), {}


def _place(session: SageMakerSession) -> tuple[str, str]:
    return session.require("region"), session.account


def _words(place: tuple[str, str]) -> str:
    return f"region {place[0]}, account {place[1]}"
