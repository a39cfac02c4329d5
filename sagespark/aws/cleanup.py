"""Finding and removing what this package left behind, by its tags.

Nothing without the package's tag is ever deleted or stopped, and nothing that something else still uses. The order is
what keeps every step valid: endpoints, then endpoint configs, then models.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, TypeVar

from sagespark.aws import tags
from sagespark.aws.endpoint import Endpoint
from sagespark.aws.endpoint_config import EndpointConfig
from sagespark.aws.handle import Handle
from sagespark.aws.job import Job
from sagespark.aws.model import Model
from sagespark.aws.session import SageMakerSession
from sagespark.aws.training_job import TrainingJob
from sagespark.aws.tuning_job import TuningJob
from sagespark.core.errors import Resource, ResourceNotFoundError, SageSparkError
from sagespark.core.settings import TAG_CREATOR, TAG_PACKAGE, TAG_RUN

H = TypeVar("H", bound=Handle)

KINDS: tuple[type[Handle], ...] = (TuningJob, TrainingJob, Endpoint, EndpointConfig, Model)
"""Kinds that are looked for, in the order of removal: a tuning job would go on to launch training jobs."""
THREADS = 8
"""ListTags and Describe calls in flight."""


@dataclass(frozen=True)
class Found:
    """One resource with the package's tag.

    Parameters
    ----------
    resource : Resource
        Kind, name and ARN.
    created : datetime
        When it was created, UTC.
    status : str
        In AWS's words; empty for a kind that has none.
    tags : tuple of (key, value)
        All its tags.
    """

    resource: Resource
    created: datetime
    status: str
    tags: tuple[tuple[str, str], ...]

    @property
    def run(self) -> str:
        """Uid of the fit or deploy that created it."""
        return dict(self.tags).get(TAG_RUN, "")

    @property
    def creator(self) -> str:
        """``user@host`` that created it."""
        return dict(self.tags).get(TAG_CREATOR, "")


@dataclass(frozen=True)
class Outcome:
    """What became of one resource; ``kept`` tells why it is still there, empty where it is gone."""

    found: Found
    kept: str = ""


def find(
    session: SageMakerSession,
    *,
    olderThan: timedelta | None = None,
    run: str | None = None,
    creator: str | None = None,
    kinds: Sequence[type[Handle]] = KINDS,
) -> list[Found]:
    """Return the resources with the package's tag: endpoints, configs, models, and training jobs that still run.

    Parameters
    ----------
    session : SageMakerSession
    olderThan : timedelta or None
        Only what was created longer ago.
    run, creator : str or None
        Only what carries this value of the tag; a creator without ``@`` matches that user on any host.
    kinds : sequence of Handle classes
        What to look for.

    Returns
    -------
    list of Found
        In the order of removal, the oldest first.
    """
    session = session.lookup()
    filters: dict[str, Any] = {}
    if olderThan is not None:
        filters["CreationTimeBefore"] = session.clock.now() - olderThan
    found: list[Found] = []
    with ThreadPoolExecutor(THREADS) as pool:
        for kind in kinds:
            running = {"StatusEquals": "InProgress"} if issubclass(kind, Job) else {}
            summaries = list(kind.list(session, **filters, **running))
            tagged = pool.map(lambda arn: _tags(session, arn), [s[f"{kind.kind}Arn"] for s in summaries])
            rows = [
                Found(
                    Resource(kind.kind, s[f"{kind.kind}Name"], s[f"{kind.kind}Arn"]),
                    s["CreationTime"],
                    str(s.get(f"{kind.kind}Status", "")),
                    tuple(sorted(own.items())),
                )
                for s, own in zip(summaries, tagged, strict=True)
                if TAG_PACKAGE in own
            ]
            found += sorted(rows, key=lambda row: row.created)
    return [f for f in found if (run is None or f.run == run) and (creator is None or _is_of(f.creator, creator))]


def delete(
    session: SageMakerSession,
    found: Sequence[Found],
    *,
    onOutcome: Callable[[Outcome], None] | None = None,
    timeout: float = 1800.0,
) -> list[Outcome]:
    """Stop tuning and training jobs and delete endpoints, configs and models; one that fails does not keep the others.

    Parameters
    ----------
    session : SageMakerSession
    found : sequence of Found
        From `find`; each one's tags are read again before it goes.
    onOutcome : callable or None
        Gets each outcome as it comes.
    timeout : float
        Seconds to wait for endpoints to be gone.

    Returns
    -------
    list of Outcome
    """
    outcomes: list[Outcome] = []
    for kind in KINDS:
        rows = [f for f in found if f.resource.kind == kind.kind]
        in_use = _in_use(session, kind) if rows else {}
        done = []
        for row in rows:
            user = in_use.get(row.resource.name)
            outcome = Outcome(row, f"{user} uses it") if user else _remove(session, kind, row, timeout)
            done.append(outcome)
            if kind is not Endpoint and onOutcome is not None:
                onOutcome(outcome)
        if kind is Endpoint:
            # A config must outlive the endpoint that is still being deleted.
            done = [_gone(session, outcome, timeout) for outcome in done]
            for outcome in done:
                if onOutcome is not None:
                    onOutcome(outcome)
        outcomes += done
    return outcomes


def _remove(session: SageMakerSession, kind: type[Handle], row: Found, timeout: float) -> Outcome:
    handle = kind(session, row.resource.name)
    try:
        if TAG_PACKAGE not in tags.of(session, row.resource.arn):
            return Outcome(row, f"it has no tag {TAG_PACKAGE!r} any more")
        if isinstance(handle, Job):
            handle.stop()
        elif isinstance(handle, Endpoint):
            handle.delete_settled(timeout)
        else:
            handle.delete()
    except ResourceNotFoundError:
        return Outcome(row)
    except SageSparkError as error:
        return Outcome(row, error.message.splitlines()[0])
    return Outcome(row)


def _gone(session: SageMakerSession, outcome: Outcome, timeout: float) -> Outcome:
    if outcome.kept:
        return outcome
    try:
        Endpoint(session, outcome.found.resource.name).wait_deleted(timeout)
    except SageSparkError as error:
        return Outcome(outcome.found, error.message.splitlines()[0])
    return outcome


def _in_use(session: SageMakerSession, kind: type[Handle]) -> dict[str, str]:
    """Return what uses the account's configs or models now, by their name."""
    if kind is EndpointConfig:
        endpoints = [Endpoint(session, s["EndpointName"]) for s in Endpoint.list(session)]
        return dict(_each(endpoints, lambda e: ((e.config_name(), f"endpoint {e.name!r}"),)))
    if kind is Model:
        configs = [EndpointConfig(session, s["EndpointConfigName"]) for s in EndpointConfig.list(session)]
        return dict(_each(configs, lambda c: tuple((m, f"endpoint config {c.name!r}") for m in c.model_names())))
    return {}


def _each(handles: Sequence[H], ask: Callable[[H], tuple[tuple[str, str], ...]]) -> Iterator[tuple[str, str]]:
    def one(handle: H) -> tuple[tuple[str, str], ...]:
        try:
            return ask(handle)
        except ResourceNotFoundError:
            # Gone since it was listed.
            return ()

    with ThreadPoolExecutor(THREADS) as pool:
        for pairs in pool.map(one, handles):
            yield from pairs


def _tags(session: SageMakerSession, arn: str) -> dict[str, str]:
    try:
        return tags.of(session, arn)
    except ResourceNotFoundError:
        return {}


def _is_of(creator: str, wanted: str) -> bool:
    return creator == wanted or ("@" not in wanted and creator.partition("@")[0] == wanted)
