"""Endpoints: Create, Describe, List, Update and Delete Endpoint."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, ClassVar

from sagespark.aws import logs
from sagespark.aws.errors import call
from sagespark.aws.handle import Handle
from sagespark.aws.waiter import ENDPOINT, ENDPOINT_DELETED, Subject, Waiter, WaitSpec
from sagespark.core.errors import EndpointFailedError, ServiceError

CHANGING = frozenset({"Creating", "Updating", "SystemUpdating", "RollingBack"})
"""Statuses in which AWS refuses to delete an endpoint."""
LOG_LINES = 15
"""Lines of the log that a failure shows."""


@dataclass(frozen=True)
class Endpoint(Handle):
    """Name one endpoint of an account and region; see `Handle` for the verbs."""

    kind: ClassVar[str] = "Endpoint"

    def wait(
        self,
        on_update: Callable[[dict[str, Any]], None] | None = None,
        timeout: float | None = None,
        *,
        noAnswerTimeout: float | None = None,
    ) -> dict[str, Any]:
        """Wait until it is in service and return the description. Calls DescribeEndpoint.

        Parameters
        ----------
        on_update : callable or None
            Gets every description.
        timeout : float or None
            Seconds until the waiting is given up; None: never.
        noAnswerTimeout : float or None
            Seconds without any answer; see `sagespark.aws.waiter.no_answer_timeout`.

        Raises
        ------
        EndpointFailedError
            If it failed; carries the endpoint in ``createdResources``, since a failed one still exists.
        WaitTimeoutError
            If there was no answer, or no end, in time.
        """
        description = self._wait(ENDPOINT, on_update, timeout, noAnswerTimeout)
        if ENDPOINT.outcome(description) != "succeeded":
            reason = str(description.get("FailureReason", ""))
            raise EndpointFailedError(
                f"endpoint {self.name!r} ended {ENDPOINT.status(description)}"
                + (f": {reason}" if reason else "")
                + f"\n{logs.excerpt(self.session, logs.endpoint_group(self.name), '', LOG_LINES)}",
                endpointName=self.name,
                failureReason=reason,
                createdResources=(self.resource,),
            )
        return description

    def wait_deleted(self, timeout: float | None = None, *, noAnswerTimeout: float | None = None) -> None:
        """Wait until it is gone. Calls DescribeEndpoint.

        Raises
        ------
        WaitTimeoutError
            If there was no answer, or it is still there, in time.
        """
        self._wait(ENDPOINT_DELETED, None, timeout, noAnswerTimeout)

    def delete_settled(self, timeout: float | None = None) -> None:
        """Delete it, in whatever state it is: while it is being created or updated AWS refuses, so that ends first.

        Calls DeleteEndpoint; it is gone some time later, see `wait_deleted`.

        Parameters
        ----------
        timeout : float or None
            Seconds to wait for the end of what goes on; None: for ever.

        Raises
        ------
        ServiceError
            If the service refused for another reason.
        WaitTimeoutError
            If what goes on did not end in time.
        """
        try:
            self.delete()
        except ServiceError:
            if str(self.describe().get("EndpointStatus")) not in CHANGING:
                raise
            with suppress(EndpointFailedError):
                self.wait(timeout=timeout)
            self.delete()

    def _wait(
        self,
        spec: WaitSpec,
        on_update: Callable[[dict[str, Any]], None] | None,
        timeout: float | None,
        noAnswerTimeout: float | None,
    ) -> dict[str, Any]:
        subject = Subject(self.name, self.url, f"SageMakerModel.fromEndpoint({self.name!r})")
        waiter = Waiter(self.session.clock)
        return waiter.wait(self._look, spec, subject, on_update, timeout=timeout, noAnswerTimeout=noAnswerTimeout)

    def update(self, configName: str, **members: Any) -> None:
        """Give it another endpoint config; the old fleet serves until the new one does. Calls UpdateEndpoint.

        Parameters
        ----------
        configName : str
            The endpoint config.
        **members
            More of the operation's members, such as ``DeploymentConfig``.
        """
        call(
            self.session.client("sagemaker"),
            "UpdateEndpoint",
            EndpointName=self.name,
            EndpointConfigName=configName,
            **members,
        )

    def config_name(self) -> str:
        """Return the name of its endpoint config. Calls DescribeEndpoint."""
        return str(self.describe()["EndpointConfigName"])

    def follow_logs(self) -> logs.LogFollower:
        """Return a reader of its containers' log; each ``read()`` gives what is new."""
        return logs.LogFollower(self.session, logs.endpoint_group(self.name), "")
