"""The resources that this package created for one model, and their removal."""

from __future__ import annotations

from collections.abc import Sequence

from sagespark.aws.endpoint import Endpoint
from sagespark.aws.endpoint_config import EndpointConfig
from sagespark.aws.handle import Handle
from sagespark.aws.model import Model
from sagespark.aws.session import SageMakerSession
from sagespark.core.errors import Resource, SageSparkError

HANDLES: tuple[type[Handle], ...] = (Endpoint, EndpointConfig, Model)
"""What hosting consists of, in the order of removal."""
DELETE_TIMEOUT = 900.0
"""Seconds to wait for an endpoint to be gone, or to reach a state in which AWS lets it be deleted."""


class Made:
    """The resources that this package created for one model; apart from the record, so that a finalizer can hold it."""

    def __init__(self, session: SageMakerSession, resources: Sequence[Resource] = ()) -> None:
        self.session = session
        self.resources = list(resources)

    def add(self, resource: Resource) -> None:
        """Note a resource that was created."""
        if resource not in self.resources:
            self.resources.append(resource)

    def drop(self, resource: Resource) -> bool:
        """Forget a resource that is gone; tell whether it was one of these."""
        mine = [r for r in self.resources if (r.kind, r.name) == (resource.kind, resource.name)]
        self.resources = [r for r in self.resources if r not in mine]
        return bool(mine)

    def delete_hosting(self, wait: bool = True) -> None:
        """Delete endpoint, endpoint config and model, in this order; what is gone already is fine.

        Parameters
        ----------
        wait : bool
            Whether to wait until the endpoint is gone.

        Raises
        ------
        SageSparkError
            If something could not be deleted; ``createdResources`` is what is still there.
        """
        errors: list[SageSparkError] = []
        for cls in HANDLES:
            for resource in [r for r in self.resources if r.kind == cls.kind]:
                try:
                    handle = cls(self.session, resource.name)
                    if isinstance(handle, Endpoint):
                        handle.delete_settled(DELETE_TIMEOUT)
                        if wait:
                            handle.wait_deleted(DELETE_TIMEOUT)
                    else:
                        handle.delete()
                    self.drop(resource)
                except SageSparkError as error:
                    errors.append(error)
        if errors:
            first = errors[0]
            first.createdResources = tuple(self.resources)
            raise first
