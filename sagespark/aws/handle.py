"""What the handles of all resources share: frozen, picklable, the same verbs.

A handle is a session and a name. It holds no client and no state of the resource: whoever has it asks AWS.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from sagespark.aws import tags
from sagespark.aws.errors import call, is_conflict
from sagespark.aws.session import SageMakerSession
from sagespark.core.errors import Resource, ResourceNotFoundError, ServiceError

DESCRIBE_TIMEOUT = 30.0
"""Seconds without a byte after which one look at a resource is given up."""


@dataclass(frozen=True)
class Handle:
    """Name one resource of an account and region.

    Parameters
    ----------
    session : SageMakerSession
        Where it is.
    name : str
        Its name.
    """

    session: SageMakerSession
    name: str

    kind: ClassVar[str]
    """AWS's word, as in ``CreateTrainingJob``."""

    @classmethod
    def create(cls, session: SageMakerSession, request: Mapping[str, Any]) -> Self:
        """Create the resource and return its handle. Calls Create{kind}.

        Parameters
        ----------
        session : SageMakerSession
            Its tags and the package's are added where the request lacks them.
        request : mapping
            The operation's members in AWS's words.

        Raises
        ------
        ServiceError
            If the service refused, or did not answer after botocore's tries.
        """
        session = session.lookup()
        name = str(request[f"{cls.kind}Name"])
        complete = {**request, "Tags": tags.completed(request.get("Tags", ()), session.tags)}
        client = session.client("sagemaker")
        handle = cls(session, name)
        try:
            call(client, f"Create{cls.kind}", **complete)
        except ServiceError as error:
            if not (is_conflict(error) and handle._created_by_a_lost_answer(error, complete)):
                raise
        return handle

    def _created_by_a_lost_answer(self, error: ServiceError, request: Mapping[str, Any]) -> bool:
        """Tell whether an earlier try of the same call made it: its answer was lost and botocore tried again."""
        response = getattr(error.__cause__, "response", {})
        if not response.get("ResponseMetadata", {}).get("RetryAttempts"):
            return False
        return self.tags() == tags.as_dict(request["Tags"])

    @classmethod
    def list(cls, session: SageMakerSession, **filters: Any) -> Iterator[dict[str, Any]]:
        """Yield the summaries of the account's resources of this kind, page by page. Calls List{kind}s.

        Parameters
        ----------
        session : SageMakerSession
        **filters
            The operation's members, such as ``NameContains`` and ``CreationTimeBefore``.
        """
        client = session.client("sagemaker")
        while True:
            page = call(client, f"List{cls.kind}s", **{"MaxResults": 100, **filters})
            yield from next((v for k, v in page.items() if isinstance(v, list)), [])
            if not page.get("NextToken"):
                return
            filters = {**filters, "NextToken": page["NextToken"]}

    def describe(self) -> dict[str, Any]:
        """Return AWS's description. Calls Describe{kind}.

        Raises
        ------
        ResourceNotFoundError
            If there is none of that name.
        ServiceError
            If the service refused or did not answer.
        """
        return call(self.session.client("sagemaker"), f"Describe{self.kind}", **self._key)

    def _look(self) -> dict[str, Any]:
        """Describe once: the waiter is the one that tries again."""
        client = self.session.client("sagemaker", attempts=1, timeout=DESCRIBE_TIMEOUT)
        return call(client, f"Describe{self.kind}", **self._key)

    def exists(self) -> bool:
        """Tell whether it exists. Any error but "not found" is raised: no access is not absence."""
        try:
            self.describe()
        except ResourceNotFoundError:
            return False
        return True

    def delete(self, missing_ok: bool = True) -> None:
        """Delete it. Calls Delete{kind}.

        Parameters
        ----------
        missing_ok : bool
            Whether it may be gone already.

        Raises
        ------
        ServiceError
            If the service refused; ResourceNotFoundError if it is gone and must not be.
        """
        try:
            call(self.session.client("sagemaker"), f"Delete{self.kind}", **self._key)
        except ResourceNotFoundError:
            if not missing_ok:
                raise

    @property
    def arn(self) -> str:
        """Its ARN, from AWS's description."""
        return str(self.describe()[f"{self.kind}Arn"])

    def tags(self) -> dict[str, str]:
        """Return its tags. Calls ListTags."""
        return tags.of(self.session, self.arn)

    @property
    def resource(self) -> Resource:
        """The entry for an error's or a model's ``createdResources``."""
        return Resource(self.kind, self.name)

    @property
    def url(self) -> str:
        """Where the resource is: the session's endpoint URL, or SageMaker's in the region."""
        session = self.session.lookup()
        return session.endpointUrl or f"https://api.sagemaker.{session.region}.amazonaws.com"

    @property
    def _key(self) -> dict[str, str]:
        return {f"{self.kind}Name": self.name}

    def __str__(self) -> str:
        """Return ``kind name``."""
        return f"{self.kind} {self.name}"
